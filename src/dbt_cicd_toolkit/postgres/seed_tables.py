"""The tables that are to get a row, with all that decides what may stand in it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import psycopg2.extensions as pg

from dbt_cicd_toolkit.postgres import catalog
from dbt_cicd_toolkit.postgres.catalog import Selection
from dbt_cicd_toolkit.postgres.seed_values import Type

_LEAVES = 3  # partitions that are tried
_BOUND = re.compile(r"(?:FROM|IN) \((.*?)\)(?: TO \(|$)", re.DOTALL)
_BOUND_VALUE = re.compile(r"'((?:[^']|'')*)'|(MINVALUE|MAXVALUE|NULL)|([^,\s]+)")

Values = Mapping[str, "str | None"]
"""By column: a text that is cast to its type, or NULL."""


@dataclass(frozen=True)
class Column:
    """A column: its type as oid and as SQL; ``required``: not null; where else its value may come from."""

    name: str
    type: int
    sql: str
    typmod: int
    required: bool
    default: bool
    identity: bool
    generated: bool

    @property
    def automatic(self) -> bool:
        """Does the server find a value by itself?"""
        return self.default or self.identity or self.generated


@dataclass(frozen=True)
class ForeignKey:
    """A foreign key to the table ``parent``."""

    name: str
    parent: int
    parent_name: str
    columns: Sequence[str]
    parent_columns: Sequence[str]


@dataclass(frozen=True)
class Table:
    """A table that is no partition.

    Attributes:
        name: qualified and quoted.
        kind: 'r', or 'p' for a partitioned one.
        checks: text and columns of each check constraint.
        leaves: of a partitioned table the bounds on the way to each partition.
        keys: the columns it is partitioned by; None for an expression.
    """

    oid: int
    name: str
    kind: str
    columns: Mapping[str, Column]
    foreign_keys: Sequence[ForeignKey]
    checks: Mapping[str, tuple[str, Sequence[str]]]
    leaves: Sequence[Sequence[Sequence[object]]]

    def needs(self, key: ForeignKey) -> bool:
        """Must a row have a parent by this foreign key?"""
        return all(self.columns[name].required for name in key.columns)

    def bounds(self) -> Iterator[Values]:
        """Values of the partition key that some partition takes, and at last none in particular."""
        for path in self.leaves[:_LEAVES]:
            values: dict[str, str | None] = {}
            for keys, bound in path:
                values |= _of_bound(keys, bound)  # type: ignore[arg-type]
            if values:
                yield values
        yield {}


def read(connection: pg.connection, selection: Selection) -> tuple[dict[int, Table], dict[int, Type]]:
    """Return the selected tables and the types of their columns, by oid."""
    tables = {}
    for (row,) in catalog.query(connection, selection, catalog.sql_text("seed_tables", 0)):
        tables[row["oid"]] = Table(
            row["oid"],
            row["name"],
            row["kind"],
            {column["name"]: Column(**column) for column in row["columns"]},
            [ForeignKey(**key) for key in row["foreign_keys"]],
            {check["name"]: (check["text"], check["columns"]) for check in row["checks"]},
            row["leaves"],
        )
    rows = catalog.query(connection, selection, catalog.sql_text("seed_types", 0))
    return tables, {row["oid"]: Type(**row) for (row,) in rows}


def _of_bound(keys: Sequence[str | None], bound: str) -> dict[str, str | None]:
    """The values at the lower end of FROM (…), the first of IN (…); nothing for hashes and the default partition.

    The texts are those of get_rule_expr() for PartitionBoundSpec in PostgreSQL's ruleutils.c.
    """
    found = _BOUND.search(bound)
    if not found:
        return {}
    listed = " IN (" in bound
    values: dict[str, str | None] = {}
    for key, match in zip(keys, _BOUND_VALUE.finditer(found[1]), strict=False):
        quoted, word, other = match.groups()
        if key is None or (word and not (listed and word == "NULL")):
            continue
        values[key] = None if word else quoted.replace("''", "'") if quoted is not None else other
    return values
