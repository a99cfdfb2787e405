"""One table before and after, and what is found about it: work to do, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum, auto
from functools import cached_property
from typing import Any, NamedTuple

from dbt_cicd_toolkit.postgres.catalog import CANONICAL
from dbt_cicd_toolkit.postgres.reader import Name
from dbt_cicd_toolkit.schema.delta import Delta, Op, written
from dbt_cicd_toolkit.schema.step import Check, Kind, Step
from dbt_cicd_toolkit.schema.tables import Table

# In Python \M, the end of a word, is written otherwise.
_REWRITTEN = [(re.compile(pattern.replace(r"\M", r"(?!\w)")), replacement) for pattern, replacement in CANONICAL]


class Phase(IntEnum):
    """When a step is due. The steps of all tables are ordered by it: foreign keys go first and come last."""

    DETACH = auto()
    RENAME = auto()
    DROP_FOREIGN_KEY = auto()
    DROP_CONSTRAINT = auto()
    CLEAR = auto()  # defaults, identities, expressions, generated columns
    RETYPE = auto()
    SEQUENCE = auto()
    ADD = auto()
    SET = auto()  # what columns of their final type have
    DROP_SEQUENCE = auto()
    KEY = auto()
    CHECK = auto()
    ATTACH = auto()
    FOREIGN_KEY = auto()
    METADATA = auto()


class Work(NamedTuple):
    """A step, and when it is due."""

    phase: Phase
    step: Step


@dataclass(frozen=True, slots=True)
class Refusal:
    """A change that is not provably safe, and what to do.

    Attributes:
        table: as in SQL: business.customer.
        message: what it is, for people.
        delta: the line to enter, or several; None where no line is enough, or the message offers a choice.
        column: which column, without quotes, where it is one.
    """

    table: str
    message: str
    delta: str | None = None
    column: str | None = None

    def __str__(self) -> str:
        commands = "\n".join(f"dbt-cicd schema delta {_argument(line)}" for line in (self.delta or "").splitlines())
        return f"{self.table}: {self.message}" + (f" Enter: {commands}" if commands else "")


@dataclass(frozen=True)
class Pair:
    """A table before and after, and the pairs of the tables it is a partition of, or inherits from."""

    before: Table
    after: Table
    parents: tuple[Pair, ...] = ()

    @property
    def name(self) -> str:
        """The table in SQL."""
        return self.after.name

    @property
    def follows(self) -> bool:
        """Whether its parents stay, so that it gets from them what they get."""
        return (self.before.parents, self.before.bound) == (self.after.parents, self.after.bound)

    @property
    def attached(self) -> bool:
        """Whether it becomes a partition. Until then it is a table of its own."""
        return bool(self.after.bound) and not self.before.parents

    @property
    def detached(self) -> bool:
        """Whether it is a partition no longer. From then on it is a table of its own."""
        return bool(self.before.bound) and not self.after.parents

    @cached_property
    def anew(self) -> frozenset[str]:
        """The generated columns that are dropped and added: how they are computed, or from what, is another."""
        both = [
            (was, self.after.columns[name]) for name, was in self.before.columns.items() if name in self.after.columns
        ]
        retyped = {now.name for was, now in both if was.collated != now.collated}
        return frozenset(
            now.name
            for was, now in both
            if was.generated
            and now.generated
            and (
                (was.generated, was.collated) != (now.generated, now.collated)
                or not same_expression(was.default, now.default)
                or retyped.intersection(was.reads)
            )
        )

    def inherits(self, column: str) -> bool:
        """Whether a column goes with the parents."""
        sides = (table.columns[column] for table in (self.before, self.after) if column in table.columns)
        return self.follows and all(each.inherited for each in sides)

    def parent(self, column: str) -> Pair | None:
        """From where an inherited column comes."""
        return next((each for each in self.parents if column in each.after.columns), None)

    def alter(
        self,
        phase: Phase,
        action: str,
        *,
        kind: Kind = "alter",
        check: Check | None = None,
        columns: tuple[str, ...] = (),
    ) -> Work:
        """ALTER TABLE of this table."""
        return Work(phase, Step(f"alter table {self.name} {action}", kind, self.after.identity, check, columns))

    def refuse(self, message: str, delta: str | None = None, column: str | None = None) -> Refusal:
        """A refusal of a change of this table."""
        return Refusal(self.name, message, delta, column)

    def delta(self, op: Op, column: str = "", **rest: Any) -> str:
        """A line of schema.delta about this table."""
        return str(Delta(op, Name(self.after.schema, self.after.relation), column, **rest))

    def another_table(self) -> str:
        """What to do where a table cannot become what it is to be."""
        old, new = (written(Name(self.after.schema, self.after.relation + end)) for end in ("", "_new"))
        return (
            f"Give the table another name in the sources, such as {new}, and enter: `{new} update insert into {new} "
            f"select * from {old}`, then `{old} drop table`."
        )


def _argument(line: str) -> str:
    """As an argument in a shell: deltas are full of single quotes."""
    return '"' + re.sub(r'([\\"$`])', r"\\\1", line) + '"'


def literal(text: str) -> str:
    """A string in SQL."""
    return "'" + text.replace("'", "''") + "'"


def options_changed(before: Sequence[str], after: Sequence[str]) -> Iterator[str]:
    """SET and RESET of what has storage options, given as 'name=value'."""
    old, new = (dict(option.split("=", 1) for option in options) for options in (before, after))
    if gone := [name for name in old if name not in new]:
        yield f"reset ({', '.join(gone)})"
    if changed := [f"{name} = {literal(value)}" for name, value in new.items() if old.get(name) != value]:
        yield f"set ({', '.join(changed)})"


def same_expression(one: str | None, other: str | None) -> bool:
    """Whether the server has written the same, which it does differently once it has read its own text."""
    return one == other or (None not in (one, other) and _canonical(str(one)) == _canonical(str(other)))


def _canonical(text: str) -> str:
    for pattern, replacement in _REWRITTEN:
        text = pattern.sub(replacement, text)
    return text
