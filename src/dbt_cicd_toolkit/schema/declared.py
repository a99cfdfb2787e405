"""Do what a delta declares, in the database where a transition is worked out."""

from __future__ import annotations

import re
from collections.abc import Mapping

from dbt_cicd_toolkit.errors import Refused
from dbt_cicd_toolkit.postgres.session import error_text, identifier
from dbt_cicd_toolkit.schema import tables
from dbt_cicd_toolkit.schema.bench import Bench
from dbt_cicd_toolkit.schema.delta import Delta, resolve
from dbt_cicd_toolkit.schema.delta_file import Line
from dbt_cicd_toolkit.schema.step import Kind, Step

_STRUCTURE = re.compile(r"(?:alter|create|drop)\b", re.IGNORECASE)
_QUALIFIED = """select pg_catalog.format('%%I.%%I', n.nspname, c.relname)
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.oid = pg_catalog.to_regclass(%s)"""


def run(bench: Bench, line: Line, wanted: Mapping[str, tables.Table]) -> None:
    """Run the statements of a line of schema.delta; ``wanted``: the tables of the new release.

    Raises:
        InvalidInput: there is no such table.
        Refused: the server refuses it. Both name the line.
    """
    place = f"schema.delta:{line.number}"
    delta = _resolved(bench, line.delta, place)
    table = ".".join(identifier(part) for part in (delta.table.schema, delta.table.name) if part is not None)
    bench.cursor.execute(_QUALIFIED, [table])
    row = bench.cursor.fetchone()
    owner = f"table {row[0] if row else table}"
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
    bench.do(Step(sql, kind, owner, columns=columns), place)


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
