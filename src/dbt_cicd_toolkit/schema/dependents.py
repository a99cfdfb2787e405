"""What depends on an object: everything that DROP … CASCADE would take along, in an order in which it can be dropped
one by one without CASCADE, and the SQL that makes it again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple

import psycopg2.extensions as pg

from dbt_cicd_toolkit.errors import Refused
from dbt_cicd_toolkit.schema.keep import Address, query

# How an object can be a part of another (see sql/graph.sql): made with it, or a member of an extension; inherited; the
# partition's copy of something of the partitioned table, which belongs to the partition as well. The first that applies
# counts. What is a part in one of the first two ways cannot be dropped but with the whole.
_TRIES = 20
_RELATION = re.compile("(materialized )?view |(foreign )?table ")
_ALWAYS = "ie"
_PART_OF = f"{_ALWAYS}hPS"
_VANISHES = f"{_PART_OF}ao"


class _Edge(NamedTuple):
    """One row of sql/graph.sql: ``dependent`` needs ``needed``, and how."""

    dependent: Address
    needed: Address
    how: str
    own: bool


@dataclass(frozen=True, slots=True)
class Dependent:
    """Something that must be dropped before an object can be.

    Attributes:
        address: for save(), which tells what ``create`` does not: owner, privileges, comments, what hangs on it.
        identity: as in catalog.describe(); 'column s.t.c', 'default s.t.c', 'publication table s.t in publication p'.
        kind: the beginning of the identity: 'view', 'constraint' …
        table: identity of the table or view that it belongs to; None: it stands for itself.
        drop: SQL without CASCADE.
        create: SQL, one statement or several, that makes it again as it is now; it works with the search_path
            pg_catalog, pg_temp. None: it holds data, or nothing is known of how to make it.
    """

    address: Address
    identity: str
    kind: str
    table: str | None
    drop: str
    create: str | None

    @property
    def relation(self) -> str | None:
        """The name of the table or view that it is, or that it belongs to; None: it is something else."""
        for identity in (self.identity, self.table or ""):
            if found := _RELATION.match(identity):
                return identity[found.end() :]
        return None

    @property
    def holds_rows(self) -> bool:
        """Would rows, or a part of each, be lost with it?"""
        return self.create is None and self.kind in ("table", "foreign table", "column")


def dependents(connection: pg.connection, address: Address, columns: Sequence[str] = ()) -> list[Dependent]:
    """What must be dropped before the object, or before these of its columns, can be, in an order that works.

    Made again in the reverse order it is complete, save()d before and restore()d after. Not in the list is what goes
    with the object by itself, or with another one in the list: its indexes, triggers, rules, defaults, own constraints
    and sequences, unless they need something else in the list.

    Raises:
        Refused: objects that depend on each other in a circle.
    """
    for _ in range(_TRIES):
        found = _dependents(connection, address, columns)
        if all(each.identity for each in found):
            return found
    return found  # others make and drop them faster than they can be told


def _dependents(connection: pg.connection, address: Address, columns: Sequence[str]) -> list[Dependent]:
    """dependents(); what was dropped by others while it was looked at has no identity."""
    asked = _columns(connection, address, columns) if columns else [address]
    if not asked:  # columns that are not there
        return []
    rows = query(connection, "graph", _turned(asked))
    try:
        order = _Graph(asked, rows).order()
    except CycleError as error:
        circle = query(connection, "dependents", _turned(set(error.args[1])))
        raise Refused(
            f"{' and '.join(sorted(row[3] for row in circle))} depend on each other, so that none can be dropped "
            "before the other: break the circle (CREATE OR REPLACE one of them without it), and run again."
        ) from error
    if not order:
        return []
    found = (Dependent(Address(*row[:3]), *row[3:]) for row in query(connection, "dependents", _turned(order)))
    known = {each.address: each for each in found}
    return [known[each] for each in order]


def bound_columns(connection: pg.connection, address: Address, relation: Address) -> set[str]:
    """The columns of ``relation`` that an object names: without them it cannot be made again as it is."""
    return {name for (name,) in query(connection, "bound_columns", [*address, relation.objid])}


def _columns(connection: pg.connection, relation: Address, names: Sequence[str]) -> list[Address]:
    with connection.cursor() as cursor:
        cursor.execute(
            "select attnum from pg_catalog.pg_attribute"
            " where attrelid = %s and attname = any (%s) and not attisdropped",
            [relation.objid, list(names)],
        )
        return [relation._replace(objsubid=number) for (number,) in cursor.fetchall()]


def _turned(addresses: Iterable[Address]) -> list[list[int]]:
    """As parameters of a query: classids, objids, objsubids."""
    return [list(numbers) for numbers in zip(*addresses, strict=True)] or [[], [], []]


class _Graph:
    """What depends on what was asked about, taken together to what one DROP drops."""

    def __init__(self, asked: Sequence[Address], rows: Iterable[tuple[Any, ...]]) -> None:
        self.asked = asked[0]  # stands for all
        self.needs: dict[Address, list[_Edge]] = {}
        for row in sorted(rows, reverse=True):
            edge = _Edge(Address(*row[:3]), Address(*row[3:6]), *row[6:])
            self.needs.setdefault(edge.dependent, []).append(edge)
        self.roots = set(asked)
        self.units = dict.fromkeys(asked, self.asked)

    def order(self) -> list[Address]:
        """What must be dropped by a statement of its own, in an order that works; where there is a choice the newest
        first, so that columns are made again in their order. Raises CycleError."""
        sorter: TopologicalSorter[Address] = TopologicalSorter()
        for at, edges in self.needs.items():
            unit, taken_by = self.unit(at), self.taken_by(at)
            for edge in edges:
                other = self.unit(edge.needed)
                if other not in taken_by:
                    sorter.add(*((unit, other) if edge.how == "o" else (other, unit)))
        return [each for each in sorter.static_order() if each != self.asked]

    def unit(self, at: Address) -> Address:
        """What must be dropped to drop this: itself, or what it goes with."""
        if at not in self.units:
            self.units[at] = at  # meanwhile
            self.units[at] = self._unit(at)
        return self.units[at]

    def _unit(self, at: Address) -> Address:
        if holder := self.holder(at):
            return self.unit(holder)
        edges = self.needs.get(at, [])
        owners = {self.unit(edge.needed) for edge in edges if edge.how == "a"}
        if edges and not edges[0].own and owners.issuperset(self.unit(e.needed) for e in edges if e.how != "o"):
            if self.asked in owners:
                return self.asked
            if len(owners) == 1:
                return owners.pop()
        return at

    def holder(self, at: Address) -> Address | None:
        """What this is a part of: the table of a column; otherwise see _PART_OF."""
        whole = at._replace(objsubid=0)
        if whole != at and (whole in self.roots or whole in self.needs):
            return whole
        holders = ((_PART_OF.index(edge.how), edge.needed) for edge in self.needs.get(at, ()) if edge.how in _PART_OF)
        return min(holders, default=(0, None))[1]

    def taken_by(self, at: Address) -> set[Address]:
        """The units that this goes with by itself when they are dropped."""
        unit, edges = self.unit(at), self.needs.get(at, [])
        hows = _PART_OF if unit == at else _VANISHES
        if unit != at and any(edge.how in _ALWAYS for edge in edges) and (holder := self.holder(at)):
            return {unit} | self.taken_by(holder)
        return {unit, *(self.unit(edge.needed) for edge in edges if edge.how in hows)}
