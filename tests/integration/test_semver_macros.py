"""The SemVer macros give, for every vector of tests/vectors/semver.json, what versions.py gives."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from dbt_cicd_toolkit import versions
from support.shop import Shop

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/semver.json").read_text(encoding="utf-8"))
REPORT = """
{% macro semver_report(vectors) %}
    {% set t = dbt_cicd_toolkit %}
    {% set report = {'valid': [], 'hints': [], 'keys': [], 'bumps': []} %}
    {% for text in vectors.valid %}
        {% do report.valid.append((t._semver_parse(text) or {}).version) %}
    {% endfor %}
    {% for case in vectors.invalid %}
        {% do report.hints.append([t._semver_parse(case.text), t._semver_hint(case.text)]) %}
    {% endfor %}
    {% for text in vectors.ordered %}
        {% do report['keys'].append(t._semver_key(t._semver_parse(text))) %}
    {% endfor %}
    {% for case in vectors.bumps %}
        {% do report.bumps.append(t._semver_bump(t._semver_parse(case.version), case.part)) %}
    {% endfor %}
    {% do print(tojson(report)) %}
{% endmacro %}
"""


@pytest.mark.matrix
def test_vectors(every_tiny: Callable[[Mapping[str, str]], Shop]) -> None:
    project = every_tiny({"macros/semver_report.sql": REPORT})
    vectors: dict[str, list[Any]] = {
        "valid": VECTORS["valid"],
        "invalid": VECTORS["invalid"],
        "ordered": [*VECTORS["ordered"], *VECTORS["keys"]],
        "bumps": [case for case in VECTORS["bumps"] if not case["pre"]],
    }
    report = project.op("semver_report", vectors=vectors)
    assert report["valid"] == vectors["valid"]
    assert [parsed for parsed, _ in report["hints"]] == [None] * len(vectors["invalid"])
    wrong = {
        case["text"]: (hint, case["meant"])
        for case, (_, hint) in zip(vectors["invalid"], report["hints"], strict=True)
        if hint != case["meant"]
    }
    assert wrong == {}, "text: (what the macros guess, what was meant)"
    assert report["keys"] == [versions.precedence_key(text) for text in vectors["ordered"]]
    wrong = {
        (case["version"], case["part"]): (new, case["new"])
        for case, new in zip(vectors["bumps"], report["bumps"], strict=True)
        if new != case["new"]
    }
    assert wrong == {}
