"""Run the steps of transitions in one transaction: in the scratch database that proves them and in the one that counts.

What is dropped and made again keeps what its database says of it. What depends on it and is declared by no release is
dropped with it and made again at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import psycopg2
import psycopg2.extensions as pg

from dbt_cicd_toolkit.errors import Refused
from dbt_cicd_toolkit.schema import roles
from dbt_cicd_toolkit.schema.dependents import Dependent, dependents
from dbt_cicd_toolkit.schema.keep import Kept, address, save
from dbt_cicd_toolkit.schema.objects import settings
from dbt_cicd_toolkit.schema.sources import plain
from dbt_cicd_toolkit.schema.step import Check, Step

Tell = Callable[[str], None]
_WITH_BODIES = """select p.oid
from pg_catalog.pg_proc p join pg_catalog.pg_language l on l.oid = p.prolang and l.lanname = 'sql'
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
where n.nspname = any (%s) and p.prosqlbody is null and not exists (
    select from pg_catalog.pg_depend d
    where d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass and d.objid = p.oid and d.deptype = 'e')"""
_VALIDATE = "select pg_catalog.fmgr_sql_validator(x) from pg_catalog.unnest(%s::pg_catalog.oid[]) x"
_DEFERRED = """select pg_catalog.string_agg(distinct pg_catalog.format('%I.%I', n.nspname, c.conname), ', ')
from pg_catalog.pg_constraint c join pg_catalog.pg_namespace n on n.oid = c.connamespace where c.condeferred"""


class Executor:
    """One transaction that runs steps. The caller begins and commits it."""

    def __init__(
        self,
        connection: pg.connection,
        schemas: Sequence[str],
        tell: Tell = lambda _: None,
        *,
        make_roles: bool = False,
    ) -> None:
        """``make_roles``: the server is one of our own, see roles."""
        self.connection = connection
        self.cursor = connection.cursor()
        self.tell = tell
        self.make_roles = make_roles
        self.schemas = list(schemas)
        self.strangers: list[tuple[Dependent, Kept]] = []
        self._kept: dict[str, Kept] = {}
        self._gone: set[str] = set()
        # A body that is a string may name what a later step makes: finish() has them checked. Rows that a policy hides
        # from us would be lost without a word: the server is to refuse instead.
        self._settings = "; set local ".join(
            (settings(schemas, "set local"), "check_function_bodies = off", "row_security = off")
        )
        self._ran: list[str] = []
        self._moved = False  # rows were changed since deferred constraints were checked
        self.before: dict[Check, int] = {}  # how many rows broke a rule at the beginning, where that could be asked
        self.cursor.execute(self._settings)

    def run(self, step: Step) -> None:
        """Run a step, one that is for after the COMMIT as well: an index is built without CONCURRENTLY then.

        Raises Refused where rows stand in its way; psycopg2.Error passes through.
        """
        if step.check:
            if step.kind == "drop":
                self._lock([step.object])  # whoever writes rows there is waited for, and then they are counted
            self.refuse_rows(step.check, self.count(step.check))
        if step.kind != "data":
            self._settle()
        if step.columns or step.kind == "drop":
            self._release(step)
        for role in roles.run(self.cursor, plain(step.sql) if step.kind == "post" else step.sql, self.make_roles):
            self.tell(f"role {role} is made, without any right of its own")
        if step.kind == "data" and self.cursor.description and self.cursor.rowcount:
            raise Refused(
                f"{step.object}: {self.cursor.rowcount} rows do not pass a check of the release. List them:\n"
                f"{self._in_turn(step.sql)}"
            )
        self._moved = self._moved or step.kind == "data"
        self._ran.append(step.sql)
        if step.kind == "create" and (kept := self._kept.pop(step.object, None)):
            for sql in kept.restore(self.connection):
                self.cursor.execute(sql)

    @property
    def gone(self) -> set[str]:
        """What was dropped and not made again, with what hung on it: the indexes of a table …"""
        return self._gone.union(*(kept.identities for kept in self._kept.values()))

    def forget(self) -> None:
        """End a release: what a later one makes under the name of something that went is something else."""
        self._gone = self.gone
        self._kept.clear()

    def hold(self, steps: Sequence[Step]) -> None:
        """Before rows are saved somewhere else, lock what will be altered or dropped after that: a row that came in
        between would be lost."""
        first = next((place for place, step in enumerate(steps) if step.kind == "data"), len(steps))
        self._lock(dict.fromkeys(step.object for step in steps[first:] if step.kind in ("alter", "drop", "rename")))

    def _lock(self, objects: Iterable[str]) -> None:
        for each in objects:
            if each.startswith("table ") and address(self.connection, each):
                self.cursor.execute(f"lock {each} in access exclusive mode")

    def finish(self) -> None:
        """Make again what no release declares, and have the bodies of SQL functions checked, which nothing else does
        where they are strings. Raises Refused naming what cannot be made any more; psycopg2.Error of a body."""
        self._settle()
        for stranger, kept in reversed(self.strangers):
            try:
                if stranger.create:
                    self.cursor.execute(stranger.create)
                for sql in kept.restore(self.connection):
                    self.cursor.execute(sql)
            except psycopg2.Error as error:
                if error.pgcode is None or error.pgcode.startswith(("40", "55")):  # others are in the way
                    raise
                raise Refused(
                    f"{stranger.identity} is declared by no release and cannot be made again as it was: "
                    f"{error.diag.message_primary}. Drop it, or change it, and run again."
                ) from error
        self.strangers.clear()
        self._recheck()

    def _recheck(self) -> None:
        # What they are is asked under a search_path in which nobody can put an operator or a function of his own.
        self.cursor.execute("set local search_path = pg_catalog, pg_temp")
        self.cursor.execute(_WITH_BODIES, [self.schemas])
        numbers = [number for (number,) in self.cursor.fetchall()]
        self.cursor.execute(f"{self._settings}; set local check_function_bodies = on; {_VALIDATE}", [numbers])
        self.cursor.execute("set local search_path = pg_catalog, pg_temp")

    def count(self, check: Check) -> int:
        """The rows that break a rule now. psycopg2.Error passes through."""
        self.cursor.execute(f"select pg_catalog.count(*) from (\n{check.rows}\n) broken")
        row = self.cursor.fetchone()
        return int(row[0]) if row else 0

    def refuse_rows(self, check: Check, number: int) -> None:
        """Raise Refused, with their number and a query that lists them, when rows break a rule."""
        if number:
            listing = f"{check.rows};" if number == self.before.get(check) else self._in_turn(check.rows)
            raise Refused(f"{check.rule}: {number} rows break it. List them:\n{listing}")

    def _in_turn(self, query: str) -> str:
        """What shows, when all has been rolled back, what a query shows now."""
        return "".join(f"{sql};\n" for sql in ("begin", self._settings, *self._ran, query)) + "rollback;"

    def _release(self, step: Step) -> None:
        """Take off the object of a step, or off some of its columns, what depends on it; keep what is said of it."""
        at = address(self.connection, step.object)
        if at is None:
            return
        for each in dependents(self.connection, at, step.columns):
            if each.create is None:
                raise Refused(
                    f"{each.identity} depends on {step.object}, is declared by no release and cannot be made again. "
                    "Drop it, or change it, and run again."
                )
            self.tell(f"{each.identity}, which no release declares, is dropped and made again")
            self.strangers.append((each, save(self.connection, each.address)))
            self.cursor.execute(each.drop)
        if step.kind == "drop":
            self._kept[step.object] = save(self.connection, at)

    def _settle(self) -> None:
        """Have deferred constraints checked now: nothing can be done to a table with pending events."""
        if not self._moved:
            return
        self._moved = False
        self.cursor.execute("set constraints all immediate")
        self.cursor.execute(_DEFERRED)
        row = self.cursor.fetchone()
        if row and row[0]:
            self.cursor.execute(f"set constraints {row[0]} deferred")
