"""Sequences of serial and identity columns: made, renamed, changed, handed over; they go on from where they were."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from dbt_cicd_toolkit.schema.pair import Pair, Phase, Work, literal
from dbt_cicd_toolkit.schema.step import Check, Step
from dbt_cicd_toolkit.schema.tables import Column, OwnedSequence

_ASIDE = "dbt_cicd_sequence_before"
_NEXT = re.compile(r"nextval\('((?:[^']|'')+)'::regclass\)")
_INTEGERS = ("smallint", "integer", "bigint")


def renamed(was: Column, now: Column) -> str | None:
    """The default of a column when its sequence has its new name."""
    if was.default is None or was.sequence is None or now.sequence is None:
        return was.default
    old, new = (f"{literal(each.qualified)}::regclass" for each in (was.sequence, now.sequence))
    return was.default.replace(old, new)


def sequence_changes(pair: Pair, was: Column, now: Column) -> Iterator[Work]:
    """What is to be done about a column's identity and the sequence that it owns."""
    column, old, new, after = f"alter column {now.quoted}", was.sequence, now.sequence, _drawn_from(now)
    if old is None and new and now.identity and _drawn_from(was) == new.qualified:
        old = new  # it was nobody's, and the identity gets its name
    if old and new and bool(was.identity) == bool(now.identity):
        if was.identity != now.identity:
            yield pair.alter(Phase.SET, f"{column} set generated {now.identity}")
        yield from _same(old, new)
    elif old and new:
        aside = replace(old, name=_ASIDE)
        yield _sequence(Phase.SET, f"alter sequence {old.qualified} rename to {_ASIDE}", old)
        yield _made(pair, now, new, Phase.SET)
        position = f"select pg_catalog.setval({literal(new.qualified)}, last_value, is_called) from {aside.qualified}"
        yield _sequence(Phase.SET, position, new)
        yield pair.alter(Phase.SET, f"{column} drop identity") if was.identity else _dropped(aside, Phase.SET)
    elif new:
        yield _made(pair, now, new, Phase.SET if now.identity else Phase.SEQUENCE)
        if (before := _drawn_from(was)) and before != new.qualified:
            yield _goes_on(Phase.SET, before, new.qualified)
        elif was.default != now.default or now.identity:
            yield from _behind_the_rows(pair, now, new)
    elif old and old.qualified == after:
        yield _sequence(Phase.SET, f"alter sequence {old.qualified} owned by none", old)
    elif old:
        if after:
            yield _goes_on(Phase.CLEAR, old.qualified, after)
        if was.identity:
            yield pair.alter(Phase.CLEAR, f"{column} drop identity")
        else:
            yield _dropped(old, Phase.DROP_SEQUENCE)
    elif after and (before := _drawn_from(was)) and before != after:
        yield _goes_on(Phase.SET, before, after)
    if new and not now.identity and (old is None or was.identity):
        yield _sequence(Phase.SET, f"alter sequence {new.qualified} owned by {pair.name}.{now.quoted}", new)


def _drawn_from(column: Column) -> str | None:
    """The sequence from which its default takes a number, in SQL."""
    found = _NEXT.fullmatch(column.default or "")
    return found[1].replace("''", "'") if found else None


def _goes_on(phase: Phase, before: str, after: str) -> Work:
    """Where rows got their numbers from another sequence, this one goes on where that one is, and never back."""
    first, then = "(b.last_value, b.is_called)", "(a.last_value, a.is_called)"
    sql = (
        f"select pg_catalog.setval({literal(after)}, b.last_value, b.is_called) from {before} b, {after} a, "
        f"pg_catalog.pg_sequence s where s.seqrelid = {literal(after)}::pg_catalog.regclass and case when "
        f"s.seqincrement > 0 then {first} > {then} else {first} < {then} end"
    )
    return Work(phase, Step(sql, "alter", f"sequence {after}"))


def _same(old: OwnedSequence, new: OwnedSequence) -> Iterator[Work]:
    if old.name != new.name:
        step = Step(f"alter sequence {old.qualified} rename to {new.name}", "rename", _name(old))
        yield Work(Phase.RENAME, step)
    if (old.type, old.options) != (new.type, new.options):
        limits = f"{new.minimum} and {new.maximum}"
        check = Check(
            f"the position of {_name(new)} between {limits}",
            f"select last_value from {new.qualified} where last_value not between {limits}",
        )
        sql = f"alter sequence {new.qualified} as {new.type} {new.options}"
        yield Work(Phase.SET, Step(sql, "alter", _name(new), check))


def _made(pair: Pair, column: Column, new: OwnedSequence, phase: Phase) -> Work:
    """A source of its own may have made the sequence of a default already."""
    if column.identity:
        return pair.alter(phase, f"alter column {column.quoted} add {new.as_identity(column.identity)}")
    made = f"create {'unlogged ' if new.unlogged else ''}sequence if not exists {new.qualified}"
    return Work(phase, Step(f"{made} as {new.type} {new.options}", "create", _name(new)))


def _dropped(old: OwnedSequence, phase: Phase) -> Work:
    return Work(phase, Step(f"drop sequence {old.qualified}", "drop", _name(old)))


def _behind_the_rows(pair: Pair, column: Column, new: OwnedSequence) -> Iterator[Work]:
    """Where rows have their numbers already, the sequence goes on behind them."""
    if column.base in _INTEGERS:
        last, beyond = (f"max({column.quoted})", ">=") if new.increment > 0 else (f"min({column.quoted})", "<=")
        rows = f"from {pair.name} having {last} {beyond} {new.start}"
        yield _sequence(Phase.SET, f"select pg_catalog.setval({literal(new.qualified)}, {last}) {rows}", new)


def _sequence(phase: Phase, sql: str, sequence: OwnedSequence) -> Work:
    return Work(phase, Step(sql, "alter", _name(sequence)))


def _name(sequence: OwnedSequence) -> str:
    return f"sequence {sequence.qualified}"
