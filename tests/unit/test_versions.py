"""versions.py against tests/vectors/semver.json (which the macros are held to as well) and against python-semver."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest
import semver
from hypothesis import given
from hypothesis import strategies as st

from dbt_cicd_toolkit import versions
from dbt_cicd_toolkit.cli.version import bump_version
from dbt_cicd_toolkit.errors import InvalidInput

ROOT = Path(__file__).parents[2]
VECTORS = json.loads((ROOT / "tests/vectors/semver.json").read_text(encoding="utf-8"))

NUMBER = st.integers(0, 10**12)
TEXT = st.from_regex(r"[0-9A-Za-z-]{0,6}[A-Za-z-][0-9A-Za-z-]{0,6}", fullmatch=True)
IDENTIFIERS = st.lists(st.one_of(NUMBER.map(str), st.sampled_from(["rc", "a", "A", "-", "0a"]), TEXT), max_size=4)


@st.composite
def version_text(draw: st.DrawFn) -> str:
    core = ".".join(str(draw(st.one_of(st.integers(0, 11), NUMBER))) for _ in range(3))
    pre, build = ".".join(draw(IDENTIFIERS)), ".".join(draw(IDENTIFIERS))
    return core + (f"-{pre}" if pre else "") + (f"+{build}" if build else "")


@pytest.mark.parametrize("text", VECTORS["valid"])
def test_valid(text: str) -> None:
    assert str(versions.parse(text)) == text


@pytest.mark.parametrize("case", VECTORS["invalid"], ids=lambda c: repr(c["text"]))
def test_invalid_says_what_was_meant(case: dict[str, str]) -> None:
    with pytest.raises(InvalidInput) as error:
        versions.parse(case["text"])
    assert case["text"] in str(error.value)
    assert f"write {case['meant'] or 'MAJOR.MINOR.PATCH'}" in str(error.value)


@pytest.mark.parametrize("value", [1.1, 1, None, True, b"1.0.0"])
def test_not_text(value: object) -> None:
    with pytest.raises(InvalidInput, match="Quote it"):
        versions.parse(value)


def test_too_long() -> None:
    with pytest.raises(InvalidInput, match="has 256"):
        versions.parse("1.0.0-" + "a" * 250)


def test_ordered() -> None:
    texts = VECTORS["ordered"]
    keys = [versions.precedence_key(text).encode("ascii") for text in texts]
    assert keys == sorted(keys) and len(set(keys)) == len(keys)
    assert all(versions.compare(a, b) == -1 for a, b in itertools.pairwise(texts))


@pytest.mark.parametrize(("text", "key"), VECTORS["keys"].items())
def test_key(text: str, key: str) -> None:
    assert versions.precedence_key(text) == key


@given(version_text(), version_text())
def test_key_order_is_precedence(a: str, b: str) -> None:
    left, right = versions.precedence_key(a).encode("ascii"), versions.precedence_key(b).encode("ascii")
    assert (left > right) - (left < right) == semver.Version.parse(a).compare(b) == versions.compare(a, b)


@given(version_text(), st.sampled_from(versions.PARTS), st.sampled_from([None, "rc"]))
def test_bump_is_higher(text: str, part: str, pre: str | None) -> None:
    try:
        new = versions.bump(text, part, pre)
    except InvalidInput as error:
        assert pre and "would not be higher" in str(error)
    else:
        assert versions.compare(new, text) == 1
        assert pre or new == str(semver.Version.parse(text).next_version(part))


@given(st.text())
def test_a_guess_is_always_valid(text: str) -> None:
    guess = versions.meant(text)
    assert guess is None or semver.Version.is_valid(guess)


@pytest.mark.parametrize("case", VECTORS["bumps"], ids=lambda c: "-".join(map(str, c.values())))
def test_bump(case: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    pre = ["--pre", case["pre"]] if case["pre"] else []
    assert bump_version([case["version"], case["part"], *pre]) == 0
    assert capsys.readouterr() == (case["new"] + "\n", "")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["v1.0.0", "patch"], "write 1.0.0"),
        (["1.0.0", "micro"], "patch, minor, major"),
        (["1.0.0", "patch", "--pre", "r c"], "'r c' is not a pre-release name"),
        (["1.0.0", "patch", "--pre", "rc+1"], "'rc+1' is not a pre-release name"),
        (["1.3.0-rc.1", "minor", "--pre", "beta"], "1.3.0-beta.1 would not be higher than 1.3.0-rc.1"),
        (["1.0.0"], "Missing argument"),
        (["1.0.0", "patch", "--nope"], "No such option"),
    ],
)
def test_bump_refuses(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert bump_version(argv) == 2
    out, err = capsys.readouterr()
    assert out == "" and said in err and len(err.splitlines()) == 1


def test_script_from_a_clone() -> None:
    script = ROOT / "scripts/bump_version.py"
    done = subprocess.run([sys.executable, script, "1.2.3", "minor"], capture_output=True, text=True, cwd="/")
    assert (done.returncode, done.stdout, done.stderr) == (0, "1.3.0\n", "")
