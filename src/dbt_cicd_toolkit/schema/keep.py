"""What only the database knows of an object that must be dropped and made again: owner, privileges, comments, labels,
options, and what hangs on it and vanishes with it: triggers, rules, indexes, extended statistics, column defaults.

Options of a view and everything that is in the definition of a function are as the new definition says, as CREATE OR
REPLACE does it; storage options and the tablespace of a materialized view stay where it says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import psycopg2
import psycopg2.extensions as pg
from psycopg2 import errorcodes

from dbt_cicd_toolkit.errors import Refused
from dbt_cicd_toolkit.postgres import catalog
from dbt_cicd_toolkit.postgres.reader import Reader

# Little is asked for at a time: catalog.py's way of reading everything would take longer.
_SETTINGS = {"enable_nestloop": "on", "plan_cache_mode": "force_generic_plan"}
# What the server says of something that another session has dropped since it was looked up.
GONE = {errorcodes.INTERNAL_ERROR, errorcodes.UNDEFINED_TABLE, errorcodes.UNDEFINED_OBJECT}
_TRIES = 20
# What is called so has one name in the catalog, and it stands first, perhaps behind that of a schema.
_NAMED = re.compile(
    "((materialized )?view|(foreign )?table|sequence|index|function|procedure|aggregate|type|domain|constraint|trigger"
    "|rule|policy|statistics) "
)
_INCLUDED = re.compile(r"^\{(\w+)\}", re.MULTILINE)


class Address(NamedTuple):
    """An object by its oids, as in pg_depend; ``objsubid`` is the number of a column, or 0."""

    classid: int
    objid: int
    objsubid: int = 0


class _Facet(NamedTuple):
    """One thing that can be said of an object.

    Attributes:
        column: of which of its columns; None: of itself.
        about: what is said, 'comment' for example; two objects are equal in it when ``value`` is.
        weak: it gives way to what the new object has of its kind.
        undo: SQL that takes it away from a new object; None: a new object does not get it by itself.
        set: SQL that brings it about.
    """

    column: str | None
    about: str
    value: str
    weak: bool
    undo: str | None
    set: str


@dataclass(frozen=True)
class _Part:
    """The object itself, what hangs on it, or what comes with one of these (the index of a constraint …).

    Attributes:
        part: identity of what it comes with, which may be its own.
        make: SQL that makes it; None: it comes with its part.
        columns: those of the object that it names; of the object itself all.
    """

    identity: str
    part: str
    make: str | None
    columns: frozenset[str]
    facets: tuple[_Facet, ...]


@dataclass(frozen=True)
class Kept:
    """What was said of an object when it was saved."""

    identity: str
    _parts: tuple[_Part, ...]

    @property
    def identities(self) -> set[str]:
        """The object, and what hangs on it."""
        return {each.identity for each in self._parts}

    def restore(self, connection: pg.connection, declared: Collection[str] = ()) -> list[str]:
        """SQL, to be run in this order, that gives the new object of the same identity what the old one had.

        The object was made again in the transaction of ``connection``, by the role that will run the SQL; only what it
        lacks, and privileges that it has beyond the old one, are in the list. What names a column it no longer has is
        left out: see lost().

        Args:
            declared: identities of triggers, rules, indexes … that somebody else makes.
        Raises:
            Refused: there is no such object.
        """
        at = address(connection, self.identity)
        if at is None:
            raise Refused(f"{self.identity} is to get back what it had, but it was not made again.")
        found = _read(connection, at)
        new = {each.identity: each for each in found}
        columns = found[0].columns
        undo: list[str] = []
        change: list[str] = []
        for old in self._parts:
            if old.part in declared or (old.part != self.identity and not self._columns_of(old.part) <= columns):
                continue
            if old.identity not in new and self._is_copy(old) and any(map(self._is_copy, found)):
                continue  # the partitions have theirs, which get other names when it is of other columns
            facets = [facet for facet in old.facets if facet.column is None or facet.column in columns]
            if here := new.get(old.identity):
                undo += _undone(facets, here.facets)
                change += _missing(facets, here.facets)
            else:
                change += [old.make] if old.make else []
                change += [facet.set for facet in facets]
        return undo + change

    def _is_copy(self, part: _Part) -> bool:
        """Is it a partition's copy of this index?"""
        return self.identity.startswith("index ") and part.part.startswith("index ") and part.part != self.identity

    def lost(self, columns: Collection[str]) -> list[str]:
        """What restore() leaves out when the new object has no more than these columns, for people."""
        lines = []
        for each in self._parts:
            gone = sorted(self._columns_of(each.part) - set(columns)) if each.part != self.identity else []
            if gone and each.identity == each.part:
                lines.append(f"{each.identity}, which names {', '.join(gone)}")
            lines += [facet.set for facet in each.facets if not gone and facet.column not in (None, *columns)]
        return lines

    def _columns_of(self, part: str) -> frozenset[str]:
        return next(each.columns for each in self._parts if each.identity == part)


def address(connection: pg.connection, identity: str) -> Address | None:
    """Where the object that catalog.describe() calls so is, or 'column s.t.c', 'default s.t.c'; None: nowhere."""
    return addresses(connection, [identity]).get(identity)


def addresses(connection: pg.connection, identities: Collection[str]) -> dict[str, Address]:
    """address() of many, those that are there."""
    if not identities:
        return {}
    rows = query(connection, "address", [list(identities), [_simple_name(each) for each in identities]])
    return {identity: Address(*at) for identity, *at in rows}


def _simple_name(identity: str) -> str | None:
    """The name in the catalog of what is called so; None where it is not plain."""
    kind = _NAMED.match(identity)
    name = Reader(identity[kind.end() :]).name() if kind else None
    return name.name if name else None


def identities(connection: pg.connection, addresses: Collection[Address]) -> dict[Address, str]:
    """What they are called now, of those that are still there."""
    if not addresses:
        return {}
    rows = query(connection, "identities", [list(numbers) for numbers in zip(*addresses, strict=True)])
    return {Address(*at): identity for identity, *at in rows}


def save(connection: pg.connection, address: Address) -> Kept:
    """Remember what is said of an object that is about to be dropped.

    Of objects that depend on each other, save each when those before it were dropped: then what hangs on two of them is
    kept once.

    Raises:
        Refused: it belongs to an extension, or an invalid index that could not be made again hangs on it.
    """
    parts = _read(connection, address)
    return Kept(parts[0].identity, parts)


def _read(connection: pg.connection, address: Address) -> tuple[_Part, ...]:
    parts: list[_Part] = []
    for identity, part, make, columns, extension, facets in query(connection, "kept", address):
        if extension:
            raise Refused(
                f"{identity} belongs to the extension {extension} and cannot be dropped alone: take it out with "
                "ALTER EXTENSION … DROP, or leave it as it is."
            )
        if make is None and identity.startswith("index ") and part == identity and parts:
            raise Refused(
                f"{identity} hangs on {parts[0].identity}, which must be dropped and made again, but it is invalid and "
                "could not be made again: REINDEX or drop it, and run again."
            )
        parts.append(_Part(identity, part, make, frozenset(columns), tuple(_Facet(*facet) for facet in facets)))
    return tuple(parts)


def _undone(old: Collection[_Facet], new: Collection[_Facet]) -> Iterator[str]:
    """Of a new object what the old one had not; a facet with another value is overwritten."""
    had = {(facet.column, facet.about) for facet in old}
    return (facet.undo for facet in new if facet.undo and (facet.column, facet.about) not in had)


def _missing(old: Collection[_Facet], new: Collection[_Facet]) -> Iterator[str]:
    has = {(facet.column, facet.about): facet.value for facet in new}
    for facet in old:
        value = has.get((facet.column, facet.about))
        if value is None or (value != facet.value and not facet.weak):
            yield facet.set


def query(connection: pg.connection, name: str, parameters: Collection[Any]) -> list[tuple[Any, ...]]:
    """Run the query in sql/``name``.sql, which is prepared the first time: planning it takes longer than running it.

    It is tried again a number of times when what it asks about was dropped meanwhile.
    """
    for left in reversed(range(_TRIES)):
        try:
            return _query(connection, name, parameters)
        except psycopg2.Error as error:
            if error.pgcode not in GONE or not left:
                raise
    raise AssertionError("the last try returns or raises")


def _query(connection: pg.connection, name: str, parameters: Collection[Any]) -> list[tuple[Any, ...]]:
    settings = "".join(
        f"select pg_catalog.set_config('{name}', '{value}', true);\n" for name, value in _SETTINGS.items()
    )
    call = f"execute dbt_cicd_{name} ({', '.join(['%s'] * len(parameters))})"
    for prepare in ("", f"prepare dbt_cicd_{name} as {_text(name, connection.server_version // 10000)};\n"):
        with catalog.pinned(connection) as prefix, connection.cursor() as cursor:
            try:
                cursor.execute((prefix + settings + prepare).encode() + cursor.mogrify(call, list(parameters)))
                return list(cursor.fetchall())
            except psycopg2.errors.InvalidSqlStatementName:
                if prepare:
                    raise
    raise AssertionError("the second try returns or raises")


@lru_cache
def _text(name: str, major: int) -> str:
    text = catalog.sql_text(name, major, "dbt_cicd_toolkit.schema").rstrip()
    return _INCLUDED.sub(lambda found: _text(found[1], major), text)
