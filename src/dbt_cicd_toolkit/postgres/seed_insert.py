"""Make a row for one table: values for its columns, the row of its parents, and what its check constraints want."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import psycopg2
import psycopg2.extensions as pg
from psycopg2 import errorcodes

from dbt_cicd_toolkit.postgres.seed_tables import ForeignKey, Table, Values
from dbt_cicd_toolkit.postgres.seed_values import Type, candidates, certain
from dbt_cicd_toolkit.postgres.session import identifier

_TRIES = 300  # of one table
_DEEPEST = 5  # check constraints that are satisfied one after the other


class Failed(Exception):
    """No row can be had; the text says why."""


class Rows:
    """Inserts rows in a transaction; ``settled`` are the tables (oids) that have one."""

    def __init__(self, cursor: pg.cursor, types: Mapping[int, Type]) -> None:
        self.cursor = cursor
        self.types = types
        self.settled: set[int] = set()
        self._saved = False
        self._known: dict[tuple[str, tuple[str, ...]], list[str]] = {}

    def plain(self, table: Table, sparse: bool) -> dict[str, str | None]:
        """Values for the columns that have no other; with ``sparse`` only where there must be one."""
        return {
            column.name: self.first(table, column.name)
            for column in table.columns.values()
            if not column.automatic and (column.required or self.types[column.type].type == "d" or not sparse)
        }

    def first(self, table: Table, name: str) -> str | None:
        """The most likely value of a column."""
        column = table.columns[name]
        if certain(self.types, column.type, column.typmod):
            return next(iter(candidates(self.types, column.type, column.typmod)), None)
        return next(iter(self.of(table, name)), None)

    def of(self, table: Table, name: str) -> list[str]:
        """Candidates for a column, all of them values of its type."""
        column = table.columns[name]
        checks = tuple(text for text, columns in table.checks.values() if name in columns)
        if (column.sql, checks) not in self._known:
            found = candidates(self.types, column.type, column.typmod, checks)
            self._known[column.sql, checks] = [value for value in found if self._is_value(value, column.sql)]
        return self._known[column.sql, checks]

    def _is_value(self, value: str, sql: str) -> bool:
        try:
            self.execute(f"select cast({self.literal(value)} as {sql})")
        except psycopg2.Error:
            return False
        return True

    def parents(self, table: Table, bound: Values) -> dict[str, str | None]:
        """The columns of foreign keys, with the values of a parent's row."""
        values: dict[str, str | None] = {}
        for key in table.foreign_keys:
            free = [name for name in key.columns if not table.columns[name].required]
            if key.parent in self.settled:
                values |= self._parent_row(key, {**bound, **values})
            elif free:
                values |= dict.fromkeys(free)
            elif key.parent == table.oid:  # a row that refers to itself
                own = {name: self.first(table, name) for name in key.parent_columns}
                values |= {**own, **{name: own[parent] for name, parent in pairs(key)}}
        return values

    def _parent_row(self, key: ForeignKey, known: Values) -> dict[str, str | None]:
        """A row of the parent that has the values which are known already, where there is one."""
        known_as = [(name, f"{identifier(parent)}::text") for name, parent in pairs(key)]
        where = [f"{column} is not null" for _, column in known_as]
        where += [f"{column} = {self.literal(known[name])}" for name, column in known_as if known.get(name) is not None]
        columns = ", ".join(column for _, column in known_as)
        rows = self.execute(f"select {columns} from {key.parent_name} where {' and '.join(where)} limit 1")
        return dict(zip(key.columns, rows[0], strict=True)) if rows else {}

    def solve(self, table: Table, values: Values, tries: Iterator[int] | None = None, depth: int = 0) -> None:
        """Insert a row; where a check constraint refuses it, try other values in its columns. Raises Failed."""
        tries = tries or itertools.count()
        violated = self._insert(table, values)
        if violated is None:
            return
        failed = Failed(f"nothing that was tried satisfies the check constraint {violated}")
        if depth == _DEEPEST:
            raise failed
        parents = {name for key in table.foreign_keys for name in key.columns if values.get(name) is not None}
        names = [n for n in table.checks[violated][1] if not table.columns[n].generated and n not in parents]
        for combination in self._combinations(table, names):
            if next(tries) > _TRIES:
                break
            tried = {**values, **dict(zip(names, combination, strict=True))}
            now = self._insert(table, tried)
            if now is None:
                return
            if now != violated:
                try:
                    return self.solve(table, tried, tries, depth + 1)
                except Failed as deeper:
                    failed = deeper
        raise failed

    def _combinations(self, table: Table, names: Sequence[str]) -> Iterator[tuple[str | None, ...]]:
        """Values for some columns, so many of each that trying all together ends."""
        if not names:
            return
        most = max(2, int(_TRIES ** (1 / len(names))))
        lists = []
        for name in names:
            found: list[str | None] = list(self.of(table, name)[:most])
            lists.append(found if table.columns[name].required else [*found, None])
        yield from itertools.product(*lists)

    def _insert(self, table: Table, values: Values) -> str | None:
        """Insert a row; return the check constraint that refuses it. Raises Failed for every other refusal."""
        columns = f" ({', '.join(map(identifier, values))})" if values else ""
        casts = ", ".join(f"cast({self.literal(v)} as {table.columns[name].sql})" for name, v in values.items())
        overriding = " overriding system value" if any(table.columns[name].identity for name in values) else ""
        rows = f"values ({casts})" if values else "default values"
        try:
            self.execute(f"insert into {table.name}{columns}{overriding} {rows}")
        except psycopg2.Error as error:
            if error.pgcode == errorcodes.CHECK_VIOLATION and error.diag.constraint_name in table.checks:
                return str(error.diag.constraint_name)
            raise Failed(error.diag.message_primary or str(error).strip()) from error
        if self.cursor.rowcount == 0:
            raise Failed("the row was swallowed by a rule or a trigger")
        return None

    def literal(self, value: str | None) -> str:
        """A text as SQL."""
        return self.cursor.mogrify("%s", [value]).decode()

    def execute(self, sql: str) -> list[tuple[str, ...]]:
        """Run SQL inside a savepoint; on failure everything is as it was before."""
        before = "release savepoint dbt_cicd_seed; " if self._saved else ""
        try:
            self.cursor.execute(f"{before}savepoint dbt_cicd_seed; {sql}")
        except psycopg2.Error:
            if not self.cursor.connection.closed:
                self.cursor.execute("rollback to savepoint dbt_cicd_seed")
            raise
        finally:
            self._saved = True
        return self.cursor.fetchall() if self.cursor.description else []

    def release(self) -> None:
        """Give the savepoint up that what was run last stands in."""
        if self._saved:
            self.cursor.execute("release savepoint dbt_cicd_seed")
        self._saved = False

    def forget(self) -> None:
        """What was run last was rolled back with its savepoint."""
        self._saved = False


def pairs(key: ForeignKey) -> Iterator[tuple[str, str]]:
    """The columns of a foreign key, each with the parent's."""
    return zip(key.columns, key.parent_columns, strict=True)
