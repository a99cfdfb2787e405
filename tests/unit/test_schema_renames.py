"""What the names of later statements of an upgrade were at its beginning."""

from __future__ import annotations

import pytest

from dbt_cicd_toolkit.schema.renames import Names, renames
from dbt_cicd_toolkit.schema.step import Step


def names(*statements: tuple[str, str]) -> Names:
    """After these statements, each with its object."""
    made = Names()
    for sql, about in statements:
        made.follow(Step(sql, "rename", about))
    return made


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("alter table s.t rename to u", True),
        ("alter table s.t rename column a to b", True),
        ("alter table s.t rename a to b", True),
        ("alter type s.m rename value 'a' to 'b'", True),
        ("ALTER TABLE s.t SET SCHEMA r", True),
        ("alter table s.t rename constraint a to b", False),
        ("alter index s.i rename to j", False),
        ("alter sequence s.q rename to r", False),
        ("alter table s.t add column renamed text", False),
    ],
)
def test_what_writes_definitions_otherwise(sql: str, expected: bool) -> None:
    assert renames(Step(sql, "alter", "table s.t")) is expected


def test_nothing_is_renamed() -> None:
    assert names().first("table s.t") == "table s.t"
    assert names().first("index s.i") == "index s.i"
    assert names().first_columns("table s.t", ("a", "b")) == {"a": "a", "b": "b"}


def test_a_table_and_its_column() -> None:
    found = names(
        ('alter table "s"."t" rename column "a" to "b"', "table s.t"),
        ('alter table "s"."t" rename to "u"', "table s.t"),
        ('alter table "s"."u" rename column "b" to "C d"', "table s.u"),
        ("alter table s.u set schema r", "table s.u"),
    )
    assert found.first("table r.u") == "table s.t"
    assert found.first("table s.t") is None
    assert found.first("table s.u") is None
    assert found.first_columns("table s.t", ("C d", "b", "other")) == {"C d": "a", "other": "other"}


def test_two_tables_and_two_columns_swap_their_names() -> None:
    found = names(
        ("alter table s.a rename to aside", "table s.a"),
        ("alter table s.b rename to a", "table s.b"),
        ("alter table s.aside rename to b", "table s.aside"),
        ("alter table s.a rename column x to z", "table s.a"),
        ("alter table s.a rename column y to x", "table s.a"),
        ("alter table s.a rename column z to y", "table s.a"),
    )
    assert (found.first("table s.a"), found.first("table s.b")) == ("table s.b", "table s.a")
    assert found.first_columns("table s.b", ("x", "y")) == {"x": "y", "y": "x"}
    assert found.first_columns("table s.a", ("x", "y")) == {"x": "x", "y": "y"}


def test_a_view_of_a_delta_that_names_it_without_its_schema() -> None:
    found = names(
        ("alter table t rename to u", "table s.t"),
        ("alter materialized view s.v rename to w", "table s.t"),
        ("alter table elsewhere rename to nobody", "table s.t"),
    )
    assert found.first("table s.u") == "table s.t"
    assert found.first("materialized view s.w") == "materialized view s.v"
