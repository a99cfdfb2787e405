"""What is called otherwise on the way from a release to a later one: which of the names at the beginning it had."""

from __future__ import annotations

import re

from dbt_cicd_toolkit.postgres.reader import Name, Reader
from dbt_cicd_toolkit.schema.delta import written
from dbt_cicd_toolkit.schema.step import Step

_KINDS = ("TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE")
# After one of these, what was written down of a dependent names something that is not there any more.
_RENAMES = re.compile(r"\brename\s+(?!constraint\b)|\bset\s+schema\b", re.IGNORECASE)
_NAMELESS = re.compile(r"\s*alter\s+(index|sequence)\b", re.IGNORECASE)


def renames(step: Step) -> bool:
    """May the definition of something else be written otherwise after this step?"""
    return bool(_RENAMES.search(step.sql)) and not _NAMELESS.match(step.sql)


class Names:
    """The names of tables and views, and of their columns, as the steps that were followed leave them."""

    def __init__(self) -> None:
        self._objects: dict[Name, str | None] = {}  # {name now: identity at the beginning, None: there was none}
        self._columns: dict[tuple[str, str], str | None] = {}  # {(identity at the beginning, column now): column then}

    def first(self, identity: str) -> str | None:
        """The identity at the beginning of what is called so now; None: it was not there."""
        name = _name(identity)
        return self._objects.get(name, identity) if name else identity

    def first_columns(self, identity: str, columns: tuple[str, ...]) -> dict[str, str]:
        """{name now: name at the beginning} of these columns of an object, those that were there."""
        then = {each: self._columns.get((identity, each), each) for each in columns}
        return {now: first for now, first in then.items() if first}

    def follow(self, step: Step) -> None:
        """Note what a step calls otherwise."""
        reader = Reader(step.sql)
        kind = reader.accept_any(*_KINDS) if renames(step) and reader.accept("ALTER") else ""
        reader.accept("ONLY")
        name = _called(reader.name(), step) if kind else None
        if name is None or name.schema is None:
            return
        first = self._objects.get(
            name, step.object if _name(step.object) == name else f"{kind.lower()} {written(name)}"
        )
        if reader.accept("SET SCHEMA"):
            schema = reader.name()
            self._object(first, name, Name(schema.name, name.name) if schema else None)
        elif reader.accept("RENAME TO"):
            new = reader.name()
            self._object(first, name, Name(name.schema, new.name) if new else None)
        elif reader.accept("RENAME"):
            reader.accept("COLUMN")
            old, _, new = reader.name(), reader.accept("TO"), reader.name()
            if old and new:
                self._column(first, old.name, new.name)

    def _object(self, first: str | None, old: Name, new: Name | None) -> None:
        if new:
            self._objects[new] = first
            self._objects[old] = None

    def _column(self, identity: str | None, old: str, new: str) -> None:
        if identity:
            self._columns[identity, new] = self._columns.get((identity, old), old)
            self._columns[identity, old] = None


def _called(name: Name | None, step: Step) -> Name | None:
    """With its schema: that of the object of the step where it is the same name."""
    about = _name(step.object)
    return about if name and about and name == Name(None, about.name) else name


def _name(identity: str) -> Name | None:
    """The name in 'table s.t', 'materialized view s.v'."""
    reader = Reader(identity)
    return reader.name() if reader.accept_any(*_KINDS) else None
