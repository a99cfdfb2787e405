"""The structure of tables, as far as ALTER TABLE changes it: what changes.py compares.

Not here, because others look after it: indexes that no constraint has made, triggers, rules, policies, extended
statistics, grants, comments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import psycopg2.extensions as pg

from dbt_cicd_toolkit.postgres import catalog
from dbt_cicd_toolkit.postgres.catalog import Selection


@dataclass(frozen=True, slots=True)
class OwnedSequence:
    """The sequence of a serial or identity column. ``schema`` and ``name`` are quoted where SQL needs it."""

    schema: str
    name: str
    type: str
    increment: int
    minimum: int
    maximum: int
    start: int
    cache: int
    cycle: bool
    unlogged: bool

    @property
    def qualified(self) -> str:
        """Its name in SQL."""
        return f"{self.schema}.{self.name}"

    @property
    def options(self) -> str:
        """What CREATE SEQUENCE and ALTER SEQUENCE take, but for the type."""
        return (
            f"increment by {self.increment} minvalue {self.minimum} maxvalue {self.maximum} start with {self.start} "
            f"cache {self.cache} {'cycle' if self.cycle else 'no cycle'}"
        )

    def as_identity(self, kind: str) -> str:
        """What makes a column an identity, ``kind`` of Column.identity."""
        return f"generated {kind} as identity (sequence name {self.qualified} {self.options})"


@dataclass(frozen=True, slots=True)
class NotNull:
    """A column's NOT NULL. Before PostgreSQL 18 it has no name and is valid; children have it and lose it with parents.

    ``local``: the table's own, also when a parent has it, and stays when the parent's goes.
    """

    name: str
    quoted: str
    validated: bool
    no_inherit: bool
    local: bool


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        quoted: the name in SQL.
        type: by format_type(), as SQL writes it; base and modifier: the same in two.
        category: pg_type.typcategory.
        assigned_to: the types, as base, to which PostgreSQL turns its values by itself when they are assigned.
        collation: '' where it is the type's.
        domain_not_null, domain_default: the type is a domain that takes no null; that has a default.
        default: an expression; that of a generated column, too.
        generated: '', 'stored' or 'virtual'.
        reads: the columns that the expression of a generated column reads.
        bound: what would go with a generated column if that was dropped, but for views and constraints.
        identity: '', 'always' or 'by default'.
        sequence: what the column owns.
        storage, type_storage: its own, and what columns of its type have at first.
        statistics: -1 where it has no target.
        inherited: from a parent, or the partitioned table.
    """

    name: str
    quoted: str
    type: str
    base: str
    modifier: int
    category: str
    assigned_to: tuple[str, ...]
    collation: str
    not_null: NotNull | None
    domain_not_null: bool
    domain_default: bool
    default: str | None
    generated: Literal["", "stored", "virtual"]
    reads: tuple[str, ...]
    bound: tuple[str, ...]
    identity: Literal["", "always", "by default"]
    sequence: OwnedSequence | None
    storage: str
    type_storage: str
    compression: str
    statistics: int
    options: tuple[str, ...]
    inherited: bool

    @property
    def collated(self) -> str:
        """Its type and collation in SQL."""
        return f"{self.type} collate {self.collation}" if self.collation else self.type


@dataclass(frozen=True, slots=True)
class Constraint:
    """A check, a key, an exclusion or a foreign key.

    Attributes:
        quoted: the name in SQL.
        kind: pg_constraint.contype.
        columns: those of its table, in the order of the key.
        inherited: it is no more than a copy of the parent's.
        refers_to: of a foreign key the other table; refers_by: the index there, whose name is that of its constraint.
        options: of its index.
        rows: a query that lists the rows that break it; None where there is none, or it is not validated.
    """

    name: str
    quoted: str
    kind: Literal["c", "p", "u", "x", "f"]
    definition: str
    columns: tuple[str, ...]
    inherited: bool
    refers_to: str | None
    refers_by: str | None
    options: tuple[str, ...]
    rows: str | None


@dataclass(frozen=True, slots=True)
class Table:
    """One table.

    Attributes:
        name: in SQL, with its schema; schema and relation: the same in two, without quotes.
        kind: pg_class.relkind: ordinary, partitioned or foreign.
        of_type: the composite type of a typed table, or ''.
        method: the access method; '' where there is none.
        partition_by: its partition key, or ''; partition_columns: those in it that are no expressions.
        has_children: it has partitions, or tables inherit from it.
        parents: of which it is a partition or from which it inherits.
        bound: of a partition: FOR VALUES …; in_bound: the expression that is true for its rows.
        options: of storage, 'fillfactor=70', those of its toast table beginning with 'toast.'.
        replica_identity: what identifies rows to replicas; replica_index: the index of 'index'.
        cluster_on: the index by which CLUSTER sorts.
        indexes: the names of all of them in SQL.
        columns: by their names, in order; constraints: by their names.
    """

    name: str
    schema: str
    quoted_schema: str
    relation: str
    kind: Literal["r", "p", "f"]
    of_type: str
    method: str
    persistence: Literal["logged", "unlogged"]
    partition_by: str
    partition_columns: tuple[str, ...]
    has_children: bool
    parents: tuple[str, ...]
    bound: str
    in_bound: str
    options: tuple[str, ...]
    row_security: bool
    forced_row_security: bool
    replica_identity: Literal["default", "full", "nothing", "index"]
    replica_index: str | None
    cluster_on: str | None
    indexes: tuple[str, ...]
    columns: Mapping[str, Column]
    constraints: Mapping[str, Constraint]

    @property
    def identity(self) -> str:
        """As catalog.describe() has it."""
        return f"foreign table {self.name}" if self.kind == "f" else f"table {self.name}"


def read(connection: pg.connection, schemas: Sequence[str]) -> dict[str, Table]:
    """Return {Table.name: Table} of all tables in these schemas.

    The connection may be in autocommit or in a transaction. psycopg2.Error passes through.
    """
    text = catalog.sql_text("tables", connection.server_version // 10000, "dbt_cicd_toolkit.schema")
    rows = catalog.query(connection, Selection(schemas=tuple(schemas)), text)
    return {document["name"]: _table(document) for (document,) in rows}


def _table(document: dict[str, Any]) -> Table:
    columns = {each["name"]: _column(each) for each in document["columns"]}
    constraints = {each["name"]: Constraint(**_tuples(each)) for each in document["constraints"]}
    return Table(**_tuples(document) | {"columns": columns, "constraints": constraints})


def _column(document: dict[str, Any]) -> Column:
    not_null, sequence = document["not_null"], document["sequence"]
    return Column(
        **_tuples(document)
        | {"not_null": not_null and NotNull(**not_null), "sequence": sequence and OwnedSequence(**sequence)}
    )


def _tuples(document: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in document.items()}
