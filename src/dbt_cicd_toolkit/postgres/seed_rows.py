"""Put one row into every table that is empty, so that what is tried next is tried on rows.

Columns without a default get a value, the nullable ones too where that works; foreign keys take the row of their
parent; check constraints are met by trying what stands in them. What cannot be filled is told with the server's reason.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import psycopg2
import psycopg2.extensions as pg

from dbt_cicd_toolkit.postgres.catalog import Selection
from dbt_cicd_toolkit.postgres.seed_insert import Failed, Rows, pairs
from dbt_cicd_toolkit.postgres.seed_tables import ForeignKey, Table, Values, read
from dbt_cicd_toolkit.postgres.seed_values import Type
from dbt_cicd_toolkit.postgres.session import identifier


@dataclass(frozen=True)
class Seeded:
    """Tables (qualified and quoted) by what became of them; ``unfilled`` gives the reason. Partitions are left out."""

    filled: list[str] = field(default_factory=list)
    had_rows: list[str] = field(default_factory=list)
    unfilled: dict[str, str] = field(default_factory=dict)


def seed_rows(connection: pg.connection, selection: Selection, *, complete: Collection[str] = ()) -> Seeded:
    """Put one row into every selected table that is empty.

    ``complete``: tables of which the rows are ours already; columns that are null there get a value where that works.

    In a transaction everything happens in savepoints of it, and deferrable constraints are immediate afterwards; in
    autocommit mode in a transaction of its own, which is committed. A trigger, rule or policy that refuses a row is no
    error: the table stays unfilled. psycopg2.Error passes through when the catalog cannot be read.
    """
    own = connection.autocommit and connection.info.transaction_status == pg.TRANSACTION_STATUS_IDLE
    with connection.cursor() as cursor:
        tables, types = read(connection, selection)
        cursor.execute("begin" if own else "savepoint dbt_cicd_seeds")
        try:
            result = _Seeder(cursor, tables, types).run(complete)
        except BaseException:
            if not connection.closed:
                cursor.execute("rollback" if own else "rollback to savepoint dbt_cicd_seeds")
            raise
        cursor.execute("commit" if own else "release savepoint dbt_cicd_seeds")
    return result


class _Seeder:
    def __init__(self, cursor: pg.cursor, tables: Mapping[int, Table], types: Mapping[int, Type]) -> None:
        self.cursor = cursor
        self.tables = tables
        self.rows = Rows(cursor, types)
        self.result = Seeded()

    def run(self, complete: Collection[str]) -> Seeded:
        empty = self._empty()
        waiting = {oid: table for oid, table in self.tables.items() if oid in empty}
        parents = {key.parent for table in self.tables.values() for key in table.foreign_keys}
        self.rows.settled = (set(self.tables) | parents) - empty
        self.result.had_rows.extend(table.name for table in self.tables.values() if table.oid not in empty)
        self.cursor.execute("set constraints all immediate")
        while waiting:
            ready = self._ready(waiting)
            for table in ready:
                self._fill(table)
            group = [] if ready else self._circle(waiting)
            if group:
                self._fill_circle(group)
            for table in ready or group:
                del waiting[table.oid]
        for table in self.tables.values():
            if table.name in complete and table.oid not in empty:
                self._complete(table)
        self.result.filled.sort()
        return self.result

    def _empty(self) -> set[int]:
        if not self.tables:
            return set()
        names = {oid: table.name for oid, table in self.tables.items()}
        names |= {key.parent: key.parent_name for table in self.tables.values() for key in table.foreign_keys}
        parts = [f"select {oid} where not exists (select from {name})" for oid, name in names.items()]
        self.cursor.execute(" union all ".join(parts))
        return {oid for (oid,) in self.cursor.fetchall()}

    def _ready(self, waiting: Mapping[int, Table]) -> list[Table]:
        """Tables whose parents are settled; where there are none, those that can do without a parent."""
        for only_needed in (False, True):
            ready = [
                table
                for table in waiting.values()
                if all(
                    key.parent == table.oid or key.parent not in waiting or (only_needed and not table.needs(key))
                    for key in table.foreign_keys
                )
            ]
            if ready:
                return ready if not only_needed else ready[:1]
        return []

    def _circle(self, waiting: Mapping[int, Table]) -> list[Table]:
        """The smallest group of tables that need rows of each other only."""
        groups = []
        for start in waiting:
            group: dict[int, Table] = {}
            left = [start]
            while left:
                oid = left.pop()
                if oid not in group:
                    group[oid] = waiting[oid]
                    left += [key.parent for key in self._needed(waiting[oid]) if key.parent in waiting]
            groups.append(group)
        return list(min(groups, key=len).values())

    def _needed(self, table: Table) -> list[ForeignKey]:
        return [key for key in table.foreign_keys if table.needs(key)]

    def _fill(self, table: Table) -> None:
        """One row for a table whose parents are settled."""
        for key in self._needed(table):
            if key.parent != table.oid and key.parent not in self.rows.settled:
                self.result.unfilled[table.name] = f"{key.parent_name}, which it refers to, has no row"
                return
        if table.kind == "p" and not table.leaves:
            self.result.unfilled[table.name] = "it has no partition"
            return
        reasons = []
        for bound, sparse in itertools.product(table.bounds(), (False, True)):
            try:
                self.rows.solve(table, {**self.rows.plain(table, sparse), **bound, **self.rows.parents(table, bound)})
            except Failed as failed:
                reasons.append(str(failed))
            else:
                self._filled(table)
                return
        self.result.unfilled[table.name] = reasons[0]

    def _complete(self, table: Table) -> None:
        keys = {name for key in table.foreign_keys for name in key.columns}
        for column in table.columns.values():
            if not (column.required or column.automatic or column.name in keys):
                value = f"cast({self.rows.literal(self.rows.first(table, column.name))} as {column.sql})"
                name = identifier(column.name)
                with suppress(psycopg2.Error):  # a check constraint, a trigger
                    self.rows.execute(f"update {table.name} set {name} = {value} where {name} is null")

    def _filled(self, table: Table) -> None:
        self.rows.settled.add(table.oid)
        self.result.filled.append(table.name)

    def _fill_circle(self, group: Sequence[Table]) -> None:
        """A row for each, with keys that are chosen beforehand and checked at the end."""
        self.rows.release()
        self.cursor.execute("savepoint dbt_cicd_circle; set constraints all deferred")
        try:
            for table, values in self._chosen(group):
                self.rows.solve(table, values)
            self.rows.execute("set constraints all immediate")
        except (Failed, psycopg2.Error) as error:
            self.rows.forget()
            self.cursor.execute("rollback to savepoint dbt_cicd_circle; set constraints all immediate")
            said = str(error).splitlines()[0]
            for table in group:
                others = ", ".join(other.name for other in group if other is not table)
                self.result.unfilled[table.name] = f"it and {others} need a row of each other: {said}"
        else:
            for table in group:
                self._filled(table)

    def _chosen(self, group: Sequence[Table]) -> list[tuple[Table, Values]]:
        oids = {table.oid: table for table in group}
        chosen = {oid: {**self.rows.plain(table, False), **self.rows.parents(table, {})} for oid, table in oids.items()}
        inside = [(table, key) for table in group for key in table.foreign_keys if key.parent in oids]
        for _, key in inside:
            for name in key.parent_columns:
                chosen[key.parent].setdefault(name, self.rows.first(oids[key.parent], name))
        for table, key in inside:
            for name, parent in pairs(key):
                chosen[table.oid][name] = chosen[key.parent][parent]
        return [(oids[oid], values) for oid, values in chosen.items()]
