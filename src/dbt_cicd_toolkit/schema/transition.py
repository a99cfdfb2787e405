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
from dbt_cicd_toolkit.schema.records import ATTACHED, Record
from dbt_cicd_toolkit.schema.said import implied, unsaid
from dbt_cicd_toolkit.schema.sources import Source
from dbt_cicd_toolkit.schema.stateful import alterations
from dbt_cicd_toolkit.schema.step import Step
from dbt_cicd_toolkit.schema.table_refusals import table_refusals, undone

# What other work may need before it can be done, and what does nothing by being there.
_EARLY: tuple[str, ...] = ("schema", "extension", "collation", "type", "domain", "sequence", "table")
_EARLY += ("function", "procedure", "aggregate", "operator")
_REPLACEABLE = ("view", "function", "procedure", "aggregate", "trigger")
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
            declared.run(self.bench, line, self.lines[number + 1 :], self.wanted_tables)
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
        self._refuse_needed()
        return self.bench.steps

    # Tables

    def _change_tables(self) -> None:
        for _ in range(_ROUNDS):
            there = tables.read(self.connection, self.schemas)
            found = changes(there, self.wanted_tables)
            new = [each for name, each in self.wanted_tables.items() if f"table {name}" not in self.before]
            if refusals := [*table_refusals(there, self.wanted_tables, new), *found.refusals]:
                raise Refused("\n".join(self._refusal(each) for each in refusals))
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
        refusal = undone(refusal, self.lines, self.wanted_tables)
        source = self.sources.get(f"table {refusal.table}")
        place = source and (source.place_of(refusal.column) if refusal.column else source.place)
        return f"{place}: {refusal}" if place else str(refusal)

    # Other objects

    def _make(self, *, early: bool = False) -> None:
        """Create what is missing and replace what differs, each behind what it needs; ``early``: only what is new and
        can be made already."""
        found = {} if early else self.bench.describe()
        for key, record in self.after.items():
            if record.attached or (early and record.type not in _EARLY):
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
            source = self.sources.get(record.key)
            place = f"{source.place_of_error(error)}: " if source else ""
            raise Refused(f"{place}{record.key}: {error_text(error)}{later(error)}")

    def _differs(self, key: str, found: Mapping[str, str]) -> bool:
        """Whether or not its source was changed: a view over select * has the columns of what it selects from."""
        here, there = (fingerprint.mark(each.get(key, "")) for each in (found, self.wanted))
        return here.hash != there.hash or (key.startswith("view ") and _options(here) != _options(there))

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
        name = re.sub(r"\(\)$", "(*)", record.name) if record.type == "aggregate" else record.name
        self.bench.do(Step(f"drop {record.type} {name}", "drop", record.key), record.key)

    def _drop_removed(self, *, bound: bool) -> None:
        """Drop what the new release does not have; ``bound``: with what depends on it."""
        for key, record in reversed(list(self.before.items())):
            if key in self.after or record.type in (*ATTACHED, "constraint", "extension", "table"):
                continue  # tables are dropped by deltas only
            at = address(self.connection, key)
            if at is None or (not bound and dependents(self.connection, at)):
                continue
            if record.type == "sequence":
                raise Refused(
                    f"{key} is in the sources no longer, and where it stands would be lost. Enter what becomes of it: "
                    f"`{record.name} update alter sequence {record.name} rename to …`, or `{record.name} update drop "
                    f"sequence {record.name}`."
                )
            self._drop(record)

    def _rename_indexes(self) -> None:
        """An index whose definition is the same but for its name is renamed: PostgreSQL names it after its columns."""
        found = self.bench.describe()
        gone = [key for key in self.before if key.startswith("index ") and key not in self.after and key in found]
        new = [key for key in self.after if key.startswith("index ") and key not in found]
        for old in gone:
            for key in new:
                if _nameless(old, found[old]) == _nameless(key, self.wanted[key]):
                    name = Reader(key.removeprefix("index ")).name()
                    assert name
                    sql = f"alter index {old.removeprefix('index ')} rename to {identifier(name.name)}"
                    self.bench.do(Step(sql, "rename", old), old)
                    new.remove(key)
                    break

    # What is said of objects

    def _attach(self) -> None:
        found = self.bench.describe()
        for key, record in self.after.items():
            if record.attached and self._newly_said(record):
                if all(found.get(need) == self.wanted.get(need) for need in record.dependencies):
                    continue
                self.bench.do(Step(record.source, "metadata", key), key)
        found = self.bench.describe()
        for identity in sorted(found.keys() & self.wanted.keys()):
            here, there = (fingerprint.mark(text).besides for text in (found[identity], self.wanted[identity]))
            if (sql := implied(identity)) and fingerprint.IMPLIED[identity.partition(" ")[0]] in there - here:
                self.bench.do(Step(sql, "metadata", identity), identity)
            for said in sorted(here - there):
                if sql := unsaid(identity, said):
                    self.bench.do(Step(sql, "metadata", identity), identity)

    def _newly_said(self, record: Record) -> bool:
        old = self.before.get(record.key)
        return old is None or old.version != record.version

    def _refuse_needed(self) -> None:
        """What an upgrade builds after its COMMIT cannot be needed in its transaction."""
        for step in self.bench.steps:
            if step.kind != "post":
                continue
            for key, record in self.after.items():
                if step.object in record.dependencies and self._newly_said(record):
                    raise Refused(
                        f"{step.object} is built after the commit of an upgrade, and {key} needs it before. Leave out "
                        f"concurrently, or make {key} in the next release."
                    )

    def _refuse_difference(self) -> None:
        text = catalog.diff_text(
            self.bench.describe(), self.wanted, "the release before, upgraded", "the sources, installed"
        )
        if text:
            raise Refused(
                "the release before cannot be made equal to the sources; declare what is missing with a delta "
                f'(`dbt-cicd schema delta "TABLE update SQL"`):\n{text}'
            )


def _options(mark: fingerprint.Mark) -> set[str]:
    return {said for said in mark.besides if said.startswith("option ")}


def _nameless(identity: str, definition: str) -> str:
    _, _, name = identity.removeprefix("index ").rpartition(".")
    return definition.removeprefix(identity).replace(f"INDEX {name} ON", "INDEX ON", 1)
