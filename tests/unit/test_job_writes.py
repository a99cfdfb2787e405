"""Do two sets of PEP 440 specifiers admit a version both?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet

from dbt_cicd_toolkit.jobs.writes import disjoint

NUMBERS = st.lists(st.integers(0, 2), min_size=2, max_size=3).map(lambda parts: ".".join(map(str, parts)))
ONE = st.one_of(
    st.tuples(st.sampled_from(["==", "~=", ">=", "<=", "<", ">", "!="]), NUMBERS).map("".join),
    NUMBERS.map(lambda version: f"=={version}.*"),
)
SETS = st.lists(ONE, max_size=2).map(lambda texts: SpecifierSet(",".join(texts)))


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("<2", ">=2", True),
        ("<2", ">=1.9", False),
        ("==1.4.*", "~=1.5", True),
        ("~=1.4", "==1.9.3", False),
        (">1,<1.1", ">=1.0.5", False),
        ("==2.0", "!=2.0", True),
        ("", "==1", False),
        ("==1!2.0", "==2.0", True),
    ],
)
def test_disjoint(left: str, right: str, expected: bool) -> None:
    assert disjoint(SpecifierSet(left), SpecifierSet(right)) is expected


@given(SETS, SETS)
def test_it_is_what_packaging_says_where_it_can_tell(left: SpecifierSet, right: SpecifierSet) -> None:
    tell = getattr(left, "is_disjoint", None)
    if tell is not None:
        assert disjoint(left, right) is tell(right)
    assert disjoint(left, right) is disjoint(right, left)
