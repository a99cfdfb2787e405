"""Which changes of columns are not safe, and the deltas that declare them. A rename is never guessed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from dbt_cicd_toolkit.schema.pair import Pair, Refusal
from dbt_cicd_toolkit.schema.tables import Column
from dbt_cicd_toolkit.schema.widening import widens

# What fills a new column, by its type or the category of that (pg_type.typcategory): users copy it.
_FILLING = {"uuid": "gen_random_uuid()", "json": "'{}'", "jsonb": "'{}'", "bytea": "''"}
_FILLING |= {"N": "0", "S": "''", "B": "false", "D": "now()", "T": "'0'", "A": "'{}'"}


def column_refusals(pair: Pair) -> Iterator[Refusal]:
    """All that is not to be done about the columns of a table, or not without being told."""
    if pair.after.of_type:
        yield from _typed(pair)
        return
    undeclared = list(_undeclared(pair))
    yield from undeclared or _order(pair)
    for now in pair.after.columns.values():
        was = pair.before.columns.get(now.name)
        if was and not pair.inherits(now.name):
            yield from _retyped(pair, was, now)
            if was.bound and now.name in pair.anew:
                message = f"to compute column {now.quoted} otherwise it is made anew"
                going = f"{message}: {', '.join(was.bound)} would go with it."
                yield pair.refuse(going, pair.delta("drop", now.name), now.name)


def _typed(pair: Pair) -> Iterator[Refusal]:
    type_ = pair.after.of_type
    if _shape(pair.before.columns.values()) != _shape(pair.after.columns.values()):
        yield pair.refuse(
            f"its columns are those of {type_}: change that, with `… update alter type {type_} … cascade`."
        )


def _shape(columns: Iterable[Column]) -> list[tuple[str, str]]:
    return [(each.name, each.collated) for each in columns]


def _undeclared(pair: Pair) -> Iterator[Refusal]:
    """Columns that are gone, and new ones that nothing fills."""
    before, after = pair.before.columns, pair.after.columns
    new = [each for each in after.values() if each.name not in before and not pair.inherits(each.name)]
    offered: set[str] = set()
    for gone in before.values():
        if gone.name in after or pair.inherits(gone.name):
            continue
        message, drop = f"column {gone.quoted} is no longer in the source", pair.delta("drop", gone.name)
        similar = [each for each in new if each.type == gone.type]
        if similar:
            offered.update(each.name for each in similar)
            yield pair.refuse(f"{message}, {_choice(pair, gone, similar)}", column=gone.name)
        else:
            yield pair.refuse(f"{message}, and its data would be lost.", drop, gone.name)
    for each in new:
        if _needs_value(each) and each.name not in offered:
            yield pair.refuse(f"nothing fills the new column {each.quoted} of old rows.", _add(pair, each), each.name)
        elif each.identity and pair.before.has_children:
            message = (
                f"PostgreSQL adds no identity {each.quoted} to a table with partitions or children: add a column first."
            )
            yield pair.refuse(message, _add(pair, each), each.name)


def _choice(pair: Pair, gone: Column, similar: Sequence[Column]) -> str:
    renames = [pair.delta("rename", gone.name, new=each.name) for each in similar]
    others = [pair.delta("drop", gone.name), *(_add(pair, each) for each in similar if _needs_value(each))]
    return (
        f"and {', '.join(each.quoted for each in similar)} of the same type is new. If it was renamed, enter "
        f"{_listed(renames, 'or')}; if these are different columns, {_listed(others, 'and')}."
    )


def _listed(lines: Sequence[str], word: str) -> str:
    return f" {word} ".join(f"`{line}`" for line in lines)


def _needs_value(column: Column) -> bool:
    required = column.domain_not_null or bool(column.not_null and column.not_null.validated)
    return required and not (column.default or column.generated or column.identity or column.domain_default)


def _add(pair: Pair, column: Column) -> str:
    filling = (
        "<expression>"
        if column.identity
        else _FILLING.get(column.base) or _FILLING.get(column.category, "<expression>")
    )
    type_ = f"{column.collated} not null" if column.not_null else column.collated
    return pair.delta("add", column.name, type=type_, sql=filling)


def _order(pair: Pair) -> Iterator[Refusal]:
    """An upgraded table has its new columns at the end. Inherited ones stand where the parents have them."""
    if not pair.follows:
        return
    columns = pair.after.columns
    source = [name for name in columns if not pair.inherits(name)]
    kept = [name for name in pair.before.columns if name in source and name not in pair.anew]
    due = kept + [name for name in source if name not in kept]
    wrong = next(((name, there) for name, there in zip(source, due, strict=True) if name != there), None)
    if wrong:
        name, there = (columns[each].quoted for each in wrong)
        anew_too = (
            " A generated column that is computed otherwise is made anew, and counts as new." if pair.anew else ""
        )
        yield pair.refuse(
            f"in the source, column {name} stands where an upgraded table has {there}: new columns go last in the "
            f"source, because a view over select * would differ.{anew_too} Write the columns in this order: "
            f"{', '.join(columns[each].quoted for each in due)}.",
            column=wrong[0],
        )


def _assigned(was: Column, now: Column) -> bool:
    """Whether PostgreSQL turns a value into one of the new type by itself, as an assignment does: no cast is needed."""
    return was.base == now.base or now.base in was.assigned_to or now.category == "S"


def _retyped(pair: Pair, was: Column, now: Column) -> Iterator[Refusal]:
    name = f"column {now.quoted}"
    if now.generated:
        if not was.generated:
            message = f"{name} becomes a generated one, and its data would be lost."
            yield pair.refuse(message, pair.delta("drop", now.name), now.name)
    elif was.generated == "virtual":
        lines = [pair.delta("drop", now.name), pair.delta("add", now.name, type=now.collated, sql=was.default)]
        yield pair.refuse(
            f"{name} is virtual and becomes an ordinary one, which goes last.", "\n".join(lines), now.name
        )
    elif was.collated != now.collated:
        message = f"{name} is {was.collated} and becomes {now.collated}"
        if now.name in pair.before.partition_columns:
            yield pair.refuse(f"{message}, but a partition key cannot change. {pair.another_table()}", column=now.name)
        elif not widens(was, now):
            using = "" if _assigned(was, now) else f"{now.quoted}::{now.type}"
            delta = pair.delta("alter", now.name, type=now.collated, sql=using)
            yield pair.refuse(f"{message}, which is no plain widening.", delta, now.name)
