"""What tables there are, which of their rows a transaction took, and how many rows or values they hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from psycopg2 import errorcodes

from dbt_cicd_toolkit.postgres.session import ServerError, Session, identifier

# Temporary tables and what the server can make again (indexes, materialized views) hold no rows that could be lost;
# those of a foreign table are not ours.
_OURS = "c.relkind = 'r' and c.relpersistence <> 't'"
_SNAPSHOT = f"""select c.oid, 0, c.relfilenode, pg_catalog.pg_stat_get_xact_tuples_deleted(c.oid),
    pg_catalog.pg_stat_get_xact_tuples_inserted(c.oid)
from pg_catalog.pg_class c
where {_OURS} and c.relnamespace <> all (array['pg_catalog', 'information_schema']::pg_catalog.regnamespace[])
union all select attrelid, attnum, null, null, null from pg_catalog.pg_attribute where attisdropped"""
_NAMES = f"""select c.oid, pg_catalog.format('%%I.%%I', n.nspname, c.relname) from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace where c.oid = any (%s::oid[]) and {_OURS} order by 1"""
_COLUMNS = """select attrelid, attnum, attname from pg_catalog.pg_attribute
where attrelid = any (%s::oid[]) and attnum > 0 and not attisdropped"""
# Columns that hold rows of a relation or a composite type: as such (direct), or in an array, a domain, a range, another
# composite type.
_HOLDERS = f"""with recursive inside (inner_type, outer_type) as (
    select typelem, oid from pg_catalog.pg_type where typelem <> 0
    union all select typbasetype, oid from pg_catalog.pg_type where typtype = 'd'
    union all select rngsubtype, rngtypid from pg_catalog.pg_range
    union all select rngsubtype, rngmultitypid from pg_catalog.pg_range
    union all select a.atttypid, c.reltype from pg_catalog.pg_attribute a
        join pg_catalog.pg_class c on c.oid = a.attrelid where a.attnum > 0 and not a.attisdropped and c.reltype <> 0
), types (relation, type, direct) as (
    select oid, reltype, true from pg_catalog.pg_class where oid = any (%s::oid[]) and reltype <> 0
    union select types.relation, inside.outer_type, false from types join inside on inside.inner_type = types.type
)
select types.relation, a.attrelid, a.attnum, a.attname, pg_catalog.bool_or(types.direct)
from types join pg_catalog.pg_attribute a on a.atttypid = types.type and a.attnum > 0 and not a.attisdropped
join pg_catalog.pg_class c on c.oid = a.attrelid where {_OURS} group by 1, 2, 3, 4 order by 2, 3, 1"""
_AT_ONCE = 100  # tables of which the rows are counted in one query

GONE, REWRITTEN, COLUMN = "gone", "rewritten", "column"
Missing = tuple[str, int, int]  # one of these, the table's oid and the column's number


class Written(NamedTuple):
    """Rows of a table that this transaction has deleted and inserted so far, or differences of such numbers."""

    deleted: int
    inserted: int


@dataclass(frozen=True)
class Snapshot:
    """The tables at one time: storage and Written by oid; columns (oid, number) that were dropped."""

    storage: dict[int, int] = field(default_factory=dict)
    written: dict[int, Written] = field(default_factory=dict)
    dropped: set[tuple[int, int]] = field(default_factory=set)


class Target(NamedTuple):
    """Something to be counted: the rows of a table (column 0), or the values of an expression that are not null.

    ``of``: the (relation, attribute) whose values the column holds inside its own."""

    table: int
    column: int
    name: str
    expression: str
    label: str
    of: tuple[int, int] | None = None


def ask(session: Session, sql: str) -> list[tuple[Any, ...]]:
    """Read as ourselves within a transaction of a file, which goes on with its own settings and role."""
    session.execute("savepoint dbt_cicd_ask")
    session.be_ourselves()
    rows = session.execute(sql)
    session.execute("rollback to savepoint dbt_cicd_ask; release savepoint dbt_cicd_ask")
    return rows


def snapshot(session: Session) -> Snapshot:
    """The tables as they are now."""
    now = Snapshot()
    for oid, column, storage, deleted, inserted in ask(session, _SNAPSHOT):
        if column:
            now.dropped.add((oid, column))
        else:
            now.storage[oid] = storage
            now.written[oid] = Written(deleted, inserted)
    return now


def missing(before: Snapshot, after: Snapshot) -> set[Missing]:
    """What rows may have gone with: tables, columns, and tables whose storage is another (TRUNCATE, ALTER TABLE)."""
    still = {oid: storage for oid, storage in before.storage.items() if oid in after.storage}
    found = {(GONE, oid, 0) for oid in before.storage if oid not in still}
    found |= {(REWRITTEN, oid, 0) for oid, storage in still.items() if after.storage[oid] != storage}
    gone = {oid for _, oid, _ in found if oid not in still}
    return found | {(COLUMN, oid, number) for oid, number in after.dropped - before.dropped if oid not in gone}


def targets(session: Session, wanted: Iterable[Missing]) -> list[Target]:
    """What to count, while all of it is there."""
    wanted = set(wanted)
    rewritten = {oid for kind, oid, _ in wanted if kind == REWRITTEN}
    columns = {(oid, number) for kind, oid, number in wanted if kind == COLUMN}
    holders = _rows(session, _HOLDERS, {oid for oid, _ in columns}) if columns else []
    names = dict(_rows(session, _NAMES, {oid for _, oid, _ in wanted} | {row[1] for row in holders}))
    rows = {oid for kind, oid, _ in wanted if kind != COLUMN and oid in names}
    found = [Target(oid, 0, names[oid], "*", names[oid]) for oid in sorted(rows)]
    attributes: dict[tuple[int, int], str] = {}
    for oid, number, column in _rows(session, _COLUMNS, rewritten | {oid for oid, _ in columns}):
        attributes[oid, number] = column
        if oid in names and (oid in rewritten or (oid, number) in columns):
            found.append(Target(oid, number, names[oid], identifier(column), f"{names[oid]}.{column}"))
    for relation, oid, number, column, direct in holders:
        for of in sorted(columns):
            if of[0] == relation and of in attributes:
                inner = attributes[of]
                expression = f"({identifier(column)}).{identifier(inner)}" if direct else identifier(column)
                found.append(
                    Target(oid, number, names[oid], expression, f"{names[oid]}.{column}.{inner}", (relation, of[1]))
                )
    return found


def _rows(session: Session, sql: str, oids: Iterable[int]) -> list[tuple[Any, ...]]:
    return ask(session, session.literal(sql, [list(oids)]))


def count(session: Session, wanted: Sequence[Target]) -> dict[Target, int | None]:
    """Count these, locked against those who would add more; None: we may not see all of them."""
    tables: dict[str, list[Target]] = {}
    for target in wanted:
        tables.setdefault(target.name, []).append(target)
    names = list(tables)
    counts: dict[Target, int | None] = {}
    for start in range(0, len(names), _AT_ONCE):
        chosen = names[start : start + _AT_ONCE]
        try:
            counts |= _count(session, {name: tables[name] for name in chosen})
        except _Denied:
            for name in chosen:
                try:
                    counts |= _count(session, {name: tables[name]})
                except _Denied:
                    counts |= dict.fromkeys(tables[name])
    return counts


class _Denied(Exception):
    """We may not read a table, or row security hides rows of it from us."""


def _count(session: Session, tables: dict[str, list[Target]]) -> dict[Target, int | None]:
    parts = []
    for name, wanted in tables.items():
        values = ", ".join(f"pg_catalog.count({target.expression})" for target in wanted)
        parts.append(f"select array[{values}] from only {name}")
    only = ", ".join(f"only {name}" for name in tables)
    try:
        # Rolling back to the first savepoint would give the lock up, to the second only the settings.
        session.execute(
            f"savepoint dbt_cicd_count; lock table {only} in access exclusive mode; savepoint dbt_cicd_settings"
        )
        session.be_ourselves()
        rows = session.execute(f"set local row_security = off; {' union all '.join(parts)}")
    except ServerError as error:
        if error.error.pgcode != errorcodes.INSUFFICIENT_PRIVILEGE:
            raise
        session.execute("rollback to savepoint dbt_cicd_count; release savepoint dbt_cicd_count")
        raise _Denied from error
    session.execute("rollback to savepoint dbt_cicd_settings; release savepoint dbt_cicd_count")
    counts: dict[Target, int | None] = {}
    for wanted, row in zip(tables.values(), rows, strict=True):
        counts |= dict(zip(wanted, row[0], strict=True))
    return counts
