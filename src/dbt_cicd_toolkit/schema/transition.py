"""Work out how a release becomes the next one, by doing it in a scratch database.

Every statement that ends up in the transition has been run there, in the transaction that an upgrade will use, and at
the end the catalog of that database equals that of a fresh installation. What cannot be reached is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import psycopg2.extensions as pg
from psycopg2 import errorcodes

from dbt_cicd_toolkit.errors import Refused
from dbt_cicd_toolkit.postgres import catalog
from dbt_cicd_toolkit.postgres.catalog import Selection
from dbt_cicd_toolkit.postgres.reader import Reader
from dbt_cicd_toolkit.postgres.session import error_text, identifier
from dbt_cicd_toolkit.schema import declared, fingerprint, tables, unique_index
from dbt_cicd_toolkit.schema.bench import Bench, later
from dbt_cicd_toolkit.schema.changes import changes
from dbt_cicd_toolkit.schema.delta_file import Line
from dbt_cicd_toolkit.schema.dependents import dependents
from dbt_cicd_toolkit.schema.keep import address
from dbt_cicd_toolkit.schema.objects import MISSING
from dbt_cicd_toolkit.schema.pair import Refusal
from dbt_cicd_toolkit.schema.records import Record
from dbt_cicd_toolkit.schema.said import unsaid
from dbt_cicd_toolkit.schema.sources import Source
from dbt_cicd_toolkit.schema.stateful import alterations
from dbt_cicd_toolkit.schema.step import Check, Step

# What other work may need before it can be done, and what does nothing by being there.
_EARLY: tuple[str, ...] = ("schema", "extension", "collation", "type", "domain", "sequence", "table")
_EARLY += ("function", "procedure", "aggregate", "operator")
_REPLACEABLE = ("view", "function", "procedure", "aggregate", "trigger")
_ATTACHED = ("comment", "grant", "revoke", "alter", "security label")
_STATEFUL = ("schema", "extension", "type", "domain", "sequence", "table", "constraint")
_CREATE = re.compile(r"create\s+(?:or\s+replace\s+)?", re.IGNORECASE)
_TAKEN = {errorcodes.DUPLICATE_TABLE, errorcodes.DUPLICATE_OBJECT, errorcodes.DUPLICATE_FUNCTION}
_ROUNDS = 4


class Planner:
    """Turns the database of a connection, which holds one release, into the next.

    Args:
        connection: in a transaction, at the release before.
        schemas: that are managed.
        before, after: the objects of both releases; sources: of the new one, by key.
        new: a connection to a fresh installation of the new one.
        lines: the deltas of the new release.
    """

    def __init__(
        self,
        connection: pg.connection,
        schemas: Sequence[str],
        before: Mapping[str, Record],
        after: Mapping[str, Record],
        sources: Mapping[str, Source],
        new: pg.connection,
        lines: Sequence[Line],
    ) -> None:
        self.connection = connection
        self.schemas = tuple(schemas)
        self.before, self.after, self.sources = before, after, sources
        self.new = new
        self.wanted = catalog.describe(new, Selection(schemas=self.schemas))
        self.wanted_tables = tables.read(new, self.schemas)
        self.lines = lines
        self.bench = Bench(connection, schemas, lambda: self._make(early=True))
        self._promised: set[str] = set()  # names of tables that a delta is still to give

    def plan(self) -> list[Step]:
        """The steps. Raises Refused saying what cannot be reached, with the delta to enter where there is one."""
        for number, line in enumerate(self.lines):
            self._promised = {each.delta.new for each in self.lines[number:] if each.delta.op == "rename table"}
            declared.run(self.bench, line, self.wanted_tables)
        self._promised = set()
        self._make(early=True)
        self._change_tables()
        self._rename_indexes()
        self._drop_removed(bound=False)
        self._make()
        self._drop_removed(bound=True)
        self._make()  # what was bound to that
        self._change_tables()
        self._attach()
        self._refuse_difference()
        return self.bench.steps

    # Tables

    def _change_tables(self) -> None:
        for _ in range(_ROUNDS):
            found = changes(tables.read(self.connection, self.schemas), self.wanted_tables)
            if found.refusals:
                raise Refused("\n".join(self._refusal(each) for each in found.refusals))
            if not found.steps:
                return
            for step in found.steps:
                self._rename(step) if step.kind == "rename" else self.bench.do(step, step.object)
        raise Refused(f"the tables do not settle: {found.steps[0].sql}")

    def _rename(self, step: Step) -> None:
        """Step aside while something that is to be renamed still has the name; the next round goes on from there."""
        error = self.bench.attempt(step)
        if error and error.pgcode in _TAKEN:
            step = replace(step, sql=f"{step.sql.rpartition(' to ')[0]} to dbt_cicd_aside_{len(self.bench.steps)}")
        if error:
            self.bench.do(step, step.object)

    def _refusal(self, refusal: Refusal) -> str:
        source = self.sources.get(f"table {refusal.table}")
        place = source and (source.place_of(refusal.column) if refusal.column else source.place)
        return f"{place}: {refusal}" if place else str(refusal)

    # Other objects

    def _make(self, *, early: bool = False) -> None:
        """Create what is missing and replace what differs, each behind what it needs; ``early``: only what is new and
        can be made already."""
        found = {} if early else self.bench.describe()
        for key, record in self.after.items():
            if record.type in _ATTACHED or (early and record.type not in _EARLY):
                continue
            if record.type == "table" and (name := Reader(record.name).name()) and name.name in self._promised:
                continue
            if not self.bench.exists(key):
                self._create(record, early)
            elif not early and record.type not in ("table", "constraint") and self._differs(key, found):
                self._replace(record)

    def _create(self, record: Record, early: bool) -> None:
        check = unique_index.check(self.new, record.name) if record.type == "index" else None
        step = Step(record.source, "post" if record.concurrently else "create", record.key, check)
        error = self.bench.attempt(step)
        if error and error.pgcode in _TAKEN and not early:
            self._drop_removed(bound=True)
            error = self.bench.attempt(step)
        if error and not (early and error.pgcode in MISSING | _TAKEN):
            raise Refused(f"{record.key}: {error_text(error)}{later(error)}")

    def _differs(self, key: str, found: Mapping[str, str]) -> bool:
        """Whether or not its source was changed: a view over select * has the columns of what it selects from."""
        return fingerprint.mark(found.get(key, "")).hash != fingerprint.mark(self.wanted.get(key, "")).hash

    def _replace(self, record: Record) -> None:
        if record.type in _REPLACEABLE:
            text = _CREATE.sub("create or replace ", record.source, count=1)
            if self.bench.attempt(Step(text, "replace", record.key)) is None:
                return
        if record.type in _STATEFUL:
            for step in (steps := alterations(self.connection, self.new, record.type, record.name)):
                self.bench.do(step, record.key)
            if steps:
                return
            raise Refused(
                f"{record.key} cannot be changed in place by itself. Say how, in a delta: "
                f"`{record.name} update alter {record.type} {record.name} …`."
            )
        self._drop(record)
        self._create(record, early=False)

    def _drop(self, record: Record) -> None:
        self.bench.do(Step(f"drop {record.type} {record.name}", "drop", record.key), record.key)

    def _drop_removed(self, *, bound: bool) -> None:
        """Drop what the new release does not have; ``bound``: with what depends on it."""
        for key, record in reversed(list(self.before.items())):
            if key in self.after or record.type in (*_ATTACHED, "constraint", "extension"):
                continue
            at = address(self.connection, key)
            if at is None or (not bound and dependents(self.connection, at)):
                continue
            if record.type == "table":
                self._drop_table(record)
            else:
                self._drop(record)

    def _drop_table(self, record: Record) -> None:
        """Without a delta, only while it is empty."""
        rule = f"{record.key} is in the sources no longer, and may be dropped only by a delta: {record.name} drop table"
        check = Check(rule, f"select * from {record.name}")
        self.bench.do(Step(f"drop table {record.name}", "drop", record.key, check), record.key)

    def _rename_indexes(self) -> None:
        """An index whose definition is the same but for its name is renamed: PostgreSQL names it after its columns."""
        found = self.bench.describe()
        gone = [key for key in self.before if key.startswith("index ") and key not in self.after and key in found]
        new = [key for key in self.after if key.startswith("index ") and key not in found]
        for old in gone:
            for key in new:
                if _nameless(old, found[old]) == _nameless(key, self.wanted[key]):
                    name = key.rpartition(".")[2] if '"' not in key else identifier(key.rpartition('."')[2][:-1])
                    sql = f"alter index {old.removeprefix('index ')} rename to {name}"
                    self.bench.do(Step(sql, "rename", old), old)
                    new.remove(key)
                    break

    # What is said of objects

    def _attach(self) -> None:
        found = self.bench.describe()
        for key, record in self.after.items():
            if record.type in _ATTACHED and self._newly_said(record):
                if all(found.get(need) == self.wanted.get(need) for need in record.dependencies):
                    continue
                self.bench.do(Step(record.source, "metadata", key), key)
        found = self.bench.describe()
        for identity in sorted(found.keys() & self.wanted.keys()):
            here, there = (fingerprint.mark(text).besides for text in (found[identity], self.wanted[identity]))
            for said in sorted(here - there):
                if sql := unsaid(identity, said):
                    self.bench.do(Step(sql, "metadata", identity), identity)

    def _newly_said(self, record: Record) -> bool:
        old = self.before.get(record.key)
        return old is None or old.hash != record.hash

    def _refuse_difference(self) -> None:
        text = catalog.diff_text(
            self.bench.describe(), self.wanted, "the release before, upgraded", "the sources, installed"
        )
        if text:
            raise Refused(
                "the release before cannot be made equal to the sources; declare what is missing with a delta "
                f'(`dbt-cicd schema delta "TABLE update SQL"`):\n{text}'
            )


def _nameless(identity: str, definition: str) -> str:
    _, _, name = identity.removeprefix("index ").rpartition(".")
    return definition.removeprefix(identity).replace(f"INDEX {name} ON", "INDEX ON", 1)
