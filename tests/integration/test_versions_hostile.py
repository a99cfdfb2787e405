"""Texts that mean something to SQL, Jinja, YAML or JSON come back as they went in; as names they are refused."""

from __future__ import annotations

from typing import Any

import pytest

from dbt_cicd_toolkit.errors import ToolkitError
from support.shop import Shop

HOSTILE = [
    'O\'Brien said "no"',
    "''''",
    "x'); drop table dbt_cicd.dbt_cicd_versions; --",
    "'; rollback; begin; --",
    "back\\slash \\n \\' \\",
    "C:\\temp\\new\\x41",
    "{{ 1 + 1 }} {% do x %} {# gone #}",
    "{{ exceptions.raise_compiler_error('no') }}",
    "key: value\n- item\n# no comment\n&anchor *alias !tag |",
    "lines\nwith\r\nall\rends\tand tabs",
    "  blanks around  ",
    "$$ dollar $tag$ %s %(name)s %% :name ? @x",
    "/* comment */ -- and ; more",
    "naïve 日本語 \u202eright to left\u202c 🦆👩\u200d👩\u200d👧",
    "\u0085\u2028\u2029\ufeff",
    "null",
    "None",
    "true",
    "1.10",
    "2023-06-15",
    "[]",
    "x'" * 5_000,
    "\x01\x02\x1b[31m\x7f",
    "ä" * 1_000,
]
# Every text in every text argument, in one start of dbt.
RELEASE = """
{% macro release(texts) %}
    {% set t = dbt_cicd_toolkit %}
    {% set seen = [] %}
    {% for text in texts %}
        {% set version = '1.0.' ~ loop.index %}
        {% set entry = t.register_version('customers', version, text) %}
        {% do t.deploy_version('customers', version, 'staging', approved_by=text, description=text) %}
        {% set plan = t.promote_to_environment('production', 'orders', approved_by=text, description=text) %}
        {% do seen.append([entry.description, plan.approved_by, plan.description]) %}
    {% endfor %}
    {% do print(tojson(seen)) %}
{% endmacro %}
"""


@pytest.mark.matrix
def test_texts_come_back(every_shop: Shop) -> None:
    shop = every_shop
    shop.write("macros/release.sql", RELEASE)
    assert shop.op("release", texts=HOSTILE) == [[text] * 3 for text in HOSTILE]
    assert [row["description"] for row in shop.rows("versions")] == HOSTILE
    for environment in ("staging", "production"):
        rows = shop.rows("promotions", environment=environment)
        assert [(row["description"], row["approved_by"]) for row in rows] == [(text, text) for text in HOSTILE]
    history = shop.op("get_version_history", model_name="customers")
    assert [entry["description"] for entry in history["versions"]] == HOSTILE[::-1]
    if shop.engine == 1:
        assert shop.document("versions/customers.json") == history
        promotions = shop.document("promotion_states/production.json")["promotions"]
        assert [row["approved_by"] for row in promotions] == HOSTILE[:-11:-1]


@pytest.mark.matrix
def test_through_the_arguments_of_each_operation(every_shop: Shop) -> None:
    text = "\n".join(HOSTILE)
    shop = every_shop
    # dbt v2 renders what env_var() gives.
    actor = "\n".join(line for line in HOSTILE if shop.engine == 1 or "{{" not in line)[:2000]
    env = {"GITHUB_ACTOR": actor, "GITHUB_SHA": actor}
    entry = shop.op("register_version", model_name="customers", version="1.0.0", description=text, env=env)
    assert (entry["description"], entry["registered_by"], entry["git_commit"]) == (text, actor, actor)
    shop.op(
        "deploy_version",
        model_name="customers",
        version="1.0.0",
        environment="staging",
        description=text,
        approved_by=text,
    )
    plan = shop.op(
        "promote_to_environment", target_environment="qa", models="customers", description=text, approved_by=text
    )
    assert (plan["description"], plan["approved_by"]) == (text, text)
    assert [(row["description"], row["approved_by"]) for row in shop.rows("promotions")] == [(text, text)] * 2
    changed = shop.op("register_changed_models", models="orders", description=text)
    assert changed["registered"][0]["version"] == "1.0.0"
    assert shop.rows("versions", name="orders")[0]["description"] == text


NAMES = [
    "x'); drop table dbt_cicd.dbt_cicd_versions; --",
    "{{ exceptions.raise_compiler_error('mine') }}",
    'back\\slash "and" quotes',
    "../../etc/passwd",
    "two\nlines",
    "🦆",
    "ä" * 10_000,
]


def test_as_names_they_are_refused(every_shop: Shop) -> None:
    shop = every_shop
    shop.op("register_version", model_name="customers", version="1.0.0")
    before = shop.counts()
    for name in NAMES if shop.engine == 1 else NAMES[:4]:
        errors: list[ToolkitError] = [
            shop.error(macro, **args)
            for macro, args in [
                ("register_version", {"model_name": name, "version": "1.0.0"}),
                ("register_version", {"model_name": "customers", "version": name}),
                ("deploy_version", {"model_name": "customers", "version": "1.0.0", "environment": name}),
                ("promote_to_environment", {"target_environment": name, "models": "customers"}),
                ("get_version_history", {"model_name": name}),
                ("get_latest_version", {"model_name": "customers", "environment": name}),
            ]
        ]
        shown = name[:50].replace("\n", " ")
        for error in errors:
            assert shown[:20] in str(error).replace("\n", " ") and "mine" not in type(error).__name__
            assert len(str(error)) < 1000, "a message stays readable"
            assert "is not in this project" in str(error) or "Allowed: " in str(error)
    assert shop.counts() == before


def test_an_unknown_name_in_a_set_is_recorded_as_what_it_is(any_shop: Shop) -> None:
    names = [name for name in NAMES if "," not in name]
    any_shop.error("promote_to_environment", target_environment="production", models=["customers", *names])
    (promotion,) = any_shop.rows("promotions")
    assert promotion["status"] == "failed" and any_shop.rows("deployments") == []
    state: dict[str, Any] = any_shop.document("promotion_states/production.json")["promotions"][0]
    assert len(state["reasons"]) == len(names)
