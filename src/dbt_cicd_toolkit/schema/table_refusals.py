"""Tables that are gone from the sources, with the deltas that declare it; and deltas that the sources do not follow."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from dbt_cicd_toolkit.postgres.reader import Name
from dbt_cicd_toolkit.schema.declared import called
from dbt_cicd_toolkit.schema.delta import Delta, written
from dbt_cicd_toolkit.schema.delta_file import Line
from dbt_cicd_toolkit.schema.pair import Refusal
from dbt_cicd_toolkit.schema.tables import Table

WRITE = "Write it there, or take the delta back (`dbt-cicd schema delta pop`)."


def table_refusals(
    there: Mapping[str, Table], wanted: Mapping[str, Table], new: Collection[Table]
) -> Iterator[Refusal]:
    """The tables that the sources do not have any longer; ``new``: those that the release before does not have."""
    gone = [each for name, each in there.items() if name not in wanted and each.kind != "f"]
    names = {each.name for each in gone}
    # Partitions go with their table; what inherits from one must go before it.
    asked = [each for each in gone if not (each.bound and names.intersection(each.parents))]
    for table in sorted(asked, key=lambda each: -_depth(each, there)):
        drop = str(Delta("drop table", _name(table)))
        same = [each for each in new if each.schema == table.schema and _columns(each) == _columns(table)]
        if same:
            renames = " or ".join(f"`{Delta('rename table', _name(table), new=each.relation)}`" for each in same)
            message = (
                f"the table is no longer in the sources, and {', '.join(each.name for each in same)} with the same "
                f"columns is new. If it was renamed, enter {renames}; if these are different tables, `{drop}`."
            )
            yield Refusal(table.name, message)
        else:
            yield Refusal(table.name, "the table is no longer in the sources, and its rows would be lost.", drop)


def _depth(table: Table, there: Mapping[str, Table]) -> int:
    return max((1 + _depth(there[name], there) for name in table.parents if name in there), default=0)


def _columns(table: Table) -> list[tuple[str, str]]:
    return [(each.name, each.collated) for each in table.columns.values()]


def _name(table: Table) -> Name:
    return Name(table.schema, table.relation)


def undone(refusal: Refusal, lines: Sequence[Line], wanted: Mapping[str, Table]) -> Refusal:
    """A refusal of what only a delta has made: the sources do not have it yet. Any other as it is."""
    source = wanted.get(refusal.table)
    for number, line in enumerate(lines):
        delta, later = line.delta, [each.delta for each in lines[number + 1 :]]
        place = f"schema.delta:{line.number}"
        if source is None and delta.op == "rename table" and _same(called(delta.table, [delta, *later]), refusal.table):
            message = f"{place} renames {written(delta.table)} so, and the sources have no such table."
            return replace(refusal, message=f"{message} {WRITE}", delta=None)
        if source is None or refusal.column is None or refusal.column in source.columns:
            continue
        if _same(called(delta.table, later), refusal.table):
            if delta.op == "add" and delta.column == refusal.column:
                message = f"{place} adds column {delta.column}, and the source does not have it."
                return replace(refusal, message=f"{message} {WRITE}", delta=None, column=None)
            if delta.op == "rename" and delta.new == refusal.column:
                message = f"{place} renames column {delta.column} to {delta.new}, which the source does not have."
                kept = delta.column if delta.column in source.columns else None
                return replace(refusal, message=f"{message} {WRITE}", delta=None, column=kept)
    return refusal


def _same(name: Name, table: str) -> bool:
    return written(name) in (table, table.rpartition(".")[2])
