"""What turns the columns of a table into others. What is not safe is in column_refusals.py."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dbt_cicd_toolkit.schema.pair import Pair, Phase, Work, options_changed, same_expression
from dbt_cicd_toolkit.schema.sequence_changes import renamed, sequence_changes
from dbt_cicd_toolkit.schema.step import Check
from dbt_cicd_toolkit.schema.tables import Column, NotNull

# What ALTER TABLE of a parent changes in its children, too.
_RECURSING = ("default", "generated", "statistics", "storage")


def column_changes(pair: Pair) -> Iterator[Work]:
    """All that is to be done about the columns of a table that has no refusals."""
    for now in pair.after.columns.values():
        was = pair.before.columns.get(now.name)
        if not pair.inherits(now.name):
            yield from _make(pair, was, now) if was is None or now.name in pair.anew else _retype(pair, was, now)
        was = _before(pair, now)
        yield from _not_null(pair, was, now)
        if not pair.inherits(now.name) and not pair.after.bound:
            yield from sequence_changes(pair, was, now)
        yield from _default(pair, was, now)
        yield from _metadata(pair, was, now)


def _before(pair: Pair, now: Column) -> Column:
    """The column as it is when the parents have their new structure, and it has its new type."""
    was = pair.before.columns.get(now.name)
    parent = pair.parent(now.name) if pair.inherits(now.name) else None
    above = parent.after.columns[now.name] if parent else now
    if was is None or now.name in pair.anew:
        was = _as_added(above)
    elif was.collated != now.collated:
        was = replace(was, storage=now.type_storage, compression="default")
    if was.generated and not now.generated:
        was = replace(was, generated="", default=None)
    if pair.before.bound:
        was = replace(was, identity="", sequence=None)  # the partitioned table has them
    if parent:
        first = parent.before.columns.get(now.name, _as_added(above))
        then = _before(parent, above)
        for name in _RECURSING:
            if any(getattr(each, name) != getattr(above, name) for each in (first, then)):
                was = replace(was, **{name: getattr(above, name)})
        if _inherited_not_null(pair, now.name) == (True, False) and not (was.not_null and was.not_null.local):
            was = replace(was, not_null=None)
    return was


def _as_added(column: Column) -> Column:
    """What ADD COLUMN, as written by _definition(), makes of a column."""
    return replace(
        column,
        not_null=column.not_null if column.not_null and column.not_null.validated else None,
        sequence=column.sequence if column.identity else None,
        storage=column.type_storage,
        compression="default",
        statistics=-1,
        options=(),
    )


def _make(pair: Pair, was: Column | None, now: Column) -> Iterator[Work]:
    if was:
        yield pair.alter(Phase.CLEAR, f"drop column {was.quoted}", columns=(was.name,))
    yield pair.alter(Phase.ADD, f"add column {_definition(pair, now)}")


def _definition(pair: Pair, column: Column) -> str:
    words = [column.quoted, column.collated]
    if column.generated:
        words.append(f"generated always as ({column.default}) {column.generated}")
    elif column.identity and column.sequence:
        words.append(column.sequence.as_identity(column.identity))
    elif column.default is not None:
        words.append(f"default {column.default}")
    if column.not_null and column.not_null.validated:
        named = "" if _names_itself(pair, column, column.not_null) else f"constraint {column.not_null.quoted} "
        words.append(f"{named}not null{' no inherit' if column.not_null.no_inherit else ''}")
    return " ".join(words)


def _retype(pair: Pair, was: Column, now: Column) -> Iterator[Work]:
    if was.generated and not now.generated:
        yield pair.alter(Phase.CLEAR, f"alter column {now.quoted} drop expression")
    if was.collated != now.collated:
        yield pair.alter(Phase.RETYPE, f"alter column {now.quoted} type {now.collated}", columns=(now.name,))


def _names_itself(pair: Pair, column: Column, not_null: NotNull) -> bool:
    """Whether PostgreSQL gives a not-null constraint this name."""
    return not_null.name in ("", f"{pair.after.relation}_{column.name}_not_null")


def _inherited_not_null(pair: Pair, column: str) -> tuple[bool, bool]:
    """Whether the parents hand a NOT NULL down before, and after."""
    parent = pair.parent(column) if pair.inherits(column) else None
    sides = [side.columns.get(column) for side in (parent.before, parent.after)] if parent else [None, None]
    before, after = (bool(each and each.not_null and not each.not_null.no_inherit) for each in sides)
    return before, after


def _not_null(pair: Pair, was: Column, now: Column) -> Iterator[Work]:
    old, new, column = was.not_null, now.not_null, f"alter column {now.quoted}"
    before, after = _inherited_not_null(pair, now.name)
    if after:
        if not before and old and new and old.name != new.name:
            yield pair.alter(Phase.CLEAR, f"{column} drop not null")  # that of the parents would get its name
        return
    if old and new and old.name != new.name:
        phase = Phase.SET if before else Phase.RENAME  # what is inherited cannot be renamed
        yield pair.alter(phase, f"rename constraint {old.quoted} to {new.quoted}", kind="rename")
    if old and (new is None or (old.validated and not new.validated)):
        yield pair.alter(Phase.SET, f"{column} drop not null")
        old = None
    if new is None:
        return
    if old is None:
        check = _filled(pair, now, new)
        if new.validated and not new.no_inherit and _names_itself(pair, now, new):
            yield pair.alter(Phase.SET, f"{column} set not null", check=check)
        else:
            ending = f"{' no inherit' if new.no_inherit else ''}{'' if new.validated else ' not valid'}"
            action = f"add constraint {new.quoted} not null {now.quoted}{ending}"
            yield pair.alter(Phase.SET, action, check=check)
        return
    if old.no_inherit != new.no_inherit:
        yield pair.alter(Phase.SET, f"alter constraint {new.quoted} {'no ' if new.no_inherit else ''}inherit")
    if not old.validated and new.validated:
        yield pair.alter(Phase.SET, f"validate constraint {new.quoted}", check=_filled(pair, now, new))


def _filled(pair: Pair, column: Column, not_null: NotNull) -> Check | None:
    if not not_null.validated or pair.after.kind == "f":
        return None
    only = "only " if not_null.no_inherit else ""
    rows = f"select * from {only}{pair.name} where {column.quoted} is null"
    return Check(f"not null on {pair.name}.{column.quoted}", rows)


def _default(pair: Pair, was: Column, now: Column) -> Iterator[Work]:
    if now.generated or same_expression(renamed(was, now), now.default):
        return
    if now.default is None:
        phase = Phase.SET if pair.inherits(now.name) else Phase.CLEAR  # what the parents get reaches it in between
        yield pair.alter(phase, f"alter column {now.quoted} drop default")
    else:
        yield pair.alter(Phase.SET, f"alter column {now.quoted} set default {now.default}")


def _metadata(pair: Pair, was: Column, now: Column) -> Iterator[Work]:
    actions = list(options_changed(was.options, now.options))
    for what in ("storage", "compression", "statistics"):
        if getattr(was, what) != (value := getattr(now, what)):
            actions.append(f"set {what} {value}")
    for action in actions:
        yield pair.alter(Phase.METADATA, f"alter column {now.quoted} {action}", kind="metadata")
