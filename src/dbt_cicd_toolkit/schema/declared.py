"""Do what a delta declares, in the database where a transition is worked out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from dbt_cicd_toolkit.errors import Refused
from dbt_cicd_toolkit.postgres.reader import Name
from dbt_cicd_toolkit.postgres.session import error_text, identifier
from dbt_cicd_toolkit.schema import tables
from dbt_cicd_toolkit.schema.bench import Bench
from dbt_cicd_toolkit.schema.delta import Delta, resolve, same_table, written
from dbt_cicd_toolkit.schema.delta_file import Line
from dbt_cicd_toolkit.schema.step import Check, Kind, Step

TAKE_BACK = "Take it out there, or take the delta back (`dbt-cicd schema delta pop`)."
_STRUCTURE = re.compile(r"(?:alter|create|drop)\b", re.IGNORECASE)
_QUALIFIED = """select pg_catalog.format('%%I.%%I', n.nspname, c.relname)
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.oid = pg_catalog.to_regclass(%s)"""


def run(bench: Bench, line: Line, later: Sequence[Line], wanted: Mapping[str, tables.Table]) -> None:
    """Run the statements of a line of schema.delta.

    Args:
        later: the lines below it.
        wanted: the tables of the new release.
    Raises:
        InvalidInput: there is no such table.
        Refused: the server refuses it, or it drops what is still in the sources. Both name the line.
    """
    place = f"schema.delta:{line.number}"
    delta = _resolved(bench, line.delta, place)
    table = ".".join(identifier(part) for part in (delta.table.schema, delta.table.name) if part is not None)
    bench.cursor.execute(_QUALIFIED, [table])
    row = bench.cursor.fetchone()
    owner = f"table {row[0] if row else table}"
    before = tables.read(bench.connection, bench.schemas)
    if lost := _still_there(delta, [each.delta for each in later], before, wanted):
        raise Refused(f"{place}: {lost} {TAKE_BACK}")
    if delta.op == "add":
        _add(bench, delta, table, owner, wanted, place)
        return
    column, new = identifier(delta.column), identifier(delta.new)
    using = f" using {delta.sql}" if delta.sql else ""
    columns = (delta.column,) if delta.op in ("drop", "alter") else ()
    forms: dict[str, tuple[Kind, str]] = {
        "drop": ("alter", f"alter table {table} drop column {column}"),
        "rename": ("rename", f"alter table {table} rename column {column} to {new}"),
        "alter": ("alter", f"alter table {table} alter column {column} type {delta.type}{using}"),
        "rename table": ("rename", f"alter table {table} rename to {new}"),
        "drop table": ("drop", f"drop table {table}"),
        "update": ("alter" if _STRUCTURE.match(delta.sql) else "data", delta.statement),
    }
    kind, sql = forms[delta.op]
    bench.do(Step(sql, kind, owner, _check(bench, delta, before.get(owner.removeprefix("table "))), columns), place)


def called(table: Name, later: Iterable[Delta]) -> Name:
    """What a table is called behind these lines."""
    for each in later:
        if each.op == "rename table" and same_table(each.table, table):
            table = Name(table.schema, each.new)
    return table


def _still_there(
    delta: Delta, later: Sequence[Delta], before: Mapping[str, tables.Table], wanted: Mapping[str, tables.Table]
) -> str:
    """What a line would drop though it is in the sources; '' for nothing. The name may be that of another thing: a
    later line gives it."""
    names = {Name(each.schema, each.relation): each for each in wanted.values()}
    if delta.op == "drop table":
        if any(each.op == "rename table" and each.new == delta.table.name for each in later):
            return ""
        if delta.table in names:
            return f"{written(delta.table)} is still in the sources."
        for child in _below(delta.table, before):
            if called(child, later) in names:
                return f"{written(child)}, which is a partition of it or inherits from it, is still in the sources."
    if delta.op == "drop":
        source = names.get(called(delta.table, later))
        column = source.columns.get(delta.column) if source else None
        given = any(
            (each.op, each.column) == ("add", delta.column) or (each.op, each.new) == ("rename", delta.column)
            for each in later
        )
        if column and not column.generated and not given:
            return f"column {column.quoted} is still in the source of {written(delta.table)}."
    return ""


def _below(table: Name, there: Mapping[str, tables.Table]) -> Iterator[Name]:
    """The partitions of a table and those that inherit from it, at any depth."""
    own = next((name for name, each in there.items() if Name(each.schema, each.relation) == table), None)
    for each in there.values():
        if own in each.parents:
            child = Name(each.schema, each.relation)
            yield from (child, *_below(child, there))


def _check(bench: Bench, delta: Delta, table: tables.Table | None) -> Check | None:
    """What the rows must satisfy: a value is not rounded or cut unless an expression says so; a table is empty."""
    if table is None:
        return None
    if delta.if_empty:
        return Check(f"{table.name} is dropped only if it is empty", f"select * from {table.name}")
    column = table.columns.get(delta.column)
    if delta.op != "alter" or delta.sql or column is None:
        return None
    back = f"({column.quoted}::{delta.type})::{column.collated}"
    rows = f"select * from {table.name} where {back} is distinct from {column.quoted}"
    # Not everything can be turned back, or be compared.
    return Check(f"{table.name}.{column.quoted} keeps its values as {delta.type}", rows) if bench.can(rows) else None


def _resolved(bench: Bench, delta: Delta, place: str) -> Delta:
    """With its table as it is called now: by its new name where a delta before has given it one."""
    if delta.op == "update" and delta.statement == delta.sql:  # it names what it means
        return delta
    return resolve(delta, tables.read(bench.connection, bench.schemas), place)


def _add(bench: Bench, delta: Delta, table: str, owner: str, wanted: Mapping[str, tables.Table], place: str) -> None:
    """A column with what fills it: as its default, which costs nothing while it is constant; else by an UPDATE."""
    column = identifier(delta.column)
    whole = f"alter table {table} add column {column} {delta.type}"
    if not delta.sql:
        bench.do(Step(whole, "alter", owner), place)
        return
    error = bench.attempt_with_missing(Step(f"{whole} default ({delta.sql})", "alter", owner))
    there = wanted.get(owner.removeprefix("table "))
    source = there.columns.get(delta.column) if there else None
    if error is None:
        if delta.stays and source and source.default is None:
            raise Refused(
                f"{place}: {delta.sql} is to stay as the default of {column}, and the source has none. Write it there, "
                "or leave out the word default here."
            )
        return
    if source is None or delta.stays:
        raise Refused(f"{place}: {error_text(error)}")
    bench.do(Step(f"alter table {table} add column {column} {source.collated}", "alter", owner), place)
    bench.do(Step(f"update {table} set {column} = {delta.sql}", "data", owner), place)
