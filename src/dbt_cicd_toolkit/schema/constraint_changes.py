"""What turns the constraints of tables into others: renamed where only the name differs, else dropped and added."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from dbt_cicd_toolkit.schema.pair import Pair, Phase, Work, options_changed, same_expression
from dbt_cicd_toolkit.schema.step import Check, Step
from dbt_cicd_toolkit.schema.tables import Constraint

_NOT_VALID = " NOT VALID"
_INDEXED = ("p", "u", "x")  # made by an index of the same name, and a partition's copy has a name of its own
Match = dict[str, str]


def constraint_changes(pairs: Collection[Pair]) -> Iterator[Work]:
    """All that is to be done about the constraints of all tables, which foreign keys bind together."""
    kept = {pair.name: matches(pair) for pair in pairs}
    dropped = {(pair.name, name) for pair in pairs for name in pair.before.constraints if name not in kept[pair.name]}
    for pair in pairs:  # a foreign key needs the key that it refers to
        for name in list(kept[pair.name]):
            old = pair.before.constraints[name]
            if (old.refers_to, old.refers_by) in dropped:
                del kept[pair.name][name]
    for pair in pairs:
        yield from _changes(pair, kept[pair.name])


def matches(pair: Pair) -> Match:
    """{name before: name after} of the constraints that stay. A new name is one that was not there: it is free."""
    after = dict(pair.after.constraints)
    found: Match = {}
    for same_name in (True, False):
        for old in pair.before.constraints.values():
            if old.name in found or (not old.inherited and pair.anew.intersection(old.columns)):
                continue
            names = [old.name] if same_name else [name for name in after if name not in pair.before.constraints]
            name = next((each for each in names if each in after and _stays(pair, old, after[each])), None)
            if name is not None:
                found[old.name] = name
                del after[name]
    return found


def _stays(pair: Pair, old: Constraint, new: Constraint) -> bool:
    """Whether one can be turned into the other without dropping it.

    A copy of the parent's goes with that. Of its own, a check would stay its own beside the parent's; a key becomes the
    copy.
    """
    if pair.follows and old.inherited != new.inherited and (old.inherited or old.kind == "c"):
        return False
    definition = old.definition if new.definition.endswith(_NOT_VALID) else old.definition.removesuffix(_NOT_VALID)
    return old.kind == new.kind and same_expression(definition, new.definition)


def _changes(pair: Pair, kept: Mapping[str, str]) -> Iterator[Work]:
    for old in pair.before.constraints.values():
        new = pair.after.constraints.get(kept.get(old.name, ""))
        if new:
            yield from _change(pair, old, new)
        elif not old.inherited or pair.detached:
            phase = Phase.DROP_FOREIGN_KEY if old.kind == "f" else Phase.DROP_CONSTRAINT
            sql = f"alter table {pair.name} drop constraint {old.quoted}"
            yield Work(phase, Step(sql, "drop", f"constraint {old.quoted} on {pair.name}"))
    for new in pair.after.constraints.values():
        if new.name not in kept.values() and (not new.inherited or (pair.attached and new.kind != "f")):
            yield pair.alter(_phase(new), f"add constraint {new.quoted} {new.definition}", check=_check(pair, new))
            yield from _options(pair, replace(new, options=()), new)


def _change(pair: Pair, old: Constraint, new: Constraint) -> Iterator[Work]:
    """Those that only come from the parent follow it, but for the names of indexes."""
    inherited = old.inherited and new.inherited and pair.follows
    if old.name != new.name and (not inherited or new.kind in _INDEXED):
        yield pair.alter(Phase.RENAME, f"rename constraint {old.quoted} to {new.quoted}", kind="rename")
    if old.definition.endswith(_NOT_VALID) and not new.definition.endswith(_NOT_VALID) and not inherited:
        yield pair.alter(_phase(new), f"validate constraint {new.quoted}", check=_check(pair, new))
    yield from _options(pair, old, new)


def _options(pair: Pair, old: Constraint, new: Constraint) -> Iterator[Work]:
    """Storage options of the index, which the definition leaves out."""
    for action in options_changed(old.options, new.options):
        sql = f"alter index {pair.after.quoted_schema}.{new.quoted} {action}"
        yield Work(Phase.METADATA, Step(sql, "metadata", f"constraint {new.quoted} on {pair.name}"))


def _phase(constraint: Constraint) -> Phase:
    if constraint.kind == "f":
        return Phase.FOREIGN_KEY
    return Phase.KEY if constraint.kind in _INDEXED else Phase.CHECK


def _check(pair: Pair, constraint: Constraint) -> Check | None:
    if constraint.rows is None:
        return None
    return Check(f"constraint {constraint.quoted} on {pair.name}, {constraint.definition}", constraint.rows)
