"""Run the steps of transitions in one transaction: in the scratch database that proves them and in the one that counts.

What is dropped and made again keeps what its database says of it. What depends on it and is declared by no release is
dropped with it and made again at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import psycopg2
import psycopg2.extensions as pg

from dbt_cicd_toolkit.errors import Refused
from dbt_cicd_toolkit.postgres.session import error_text
from dbt_cicd_toolkit.schema import roles
from dbt_cicd_toolkit.schema.dependents import Dependent, dependents
from dbt_cicd_toolkit.schema.keep import GONE, Address, Kept, address, addresses, identities, save
from dbt_cicd_toolkit.schema.objects import settings
from dbt_cicd_toolkit.schema.renames import renames
from dbt_cicd_toolkit.schema.sources import plain
from dbt_cicd_toolkit.schema.step import Check, Step

Tell = Callable[[str], None]
_TRIES = 20
_WITH_BODIES = """select p.oid
from pg_catalog.pg_proc p join pg_catalog.pg_language l on l.oid = p.prolang and l.lanname = 'sql'
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
where n.nspname = any (%s) and p.prosqlbody is null and not exists (
    select from pg_catalog.pg_depend d
    where d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass and d.objid = p.oid and d.deptype = 'e')"""
_FUNCTIONS = 1255  # the oid of pg_proc
_VALIDATE = "select pg_catalog.fmgr_sql_validator(x) from pg_catalog.unnest(%s::pg_catalog.oid[]) x"
_DEFERRED = """select pg_catalog.string_agg(distinct pg_catalog.format('%I.%I', n.nspname, c.conname), ', ')
from pg_catalog.pg_constraint c join pg_catalog.pg_namespace n on n.oid = c.connamespace where c.condeferred"""


def others_are_in_the_way(error: psycopg2.Error) -> bool:
    """A lock, a deadlock: it may be gone the next time."""
    return error.pgcode is None or error.pgcode.startswith(("40", "55"))


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
        self._called: dict[str, str] = {}
        self._broken: set[int] = set()
        self.restoring = ""  # the statement that gives an object back what it had, for a message
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
        if renamed := renames(step):
            self._make_what_can_be()
        at = addresses(self.connection, set(self._called.values())) if renamed else {}
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
                self.restoring = sql
                self.cursor.execute(sql)
            self.restoring = ""
        if at:
            names = identities(self.connection, at.values())
            now = {identity: names[place] for identity, place in at.items() if place in names}
            self._called = {first: now.get(each, each) for first, each in self._called.items()}

    def follow(self, objects: Iterable[str]) -> None:
        """Keep track of what these are called. A step that renames something leaves everything at its address; others
        may build things anew (a constraint, when a column gets another type), with the names they have."""
        self._called = {identity: identity for identity in objects}

    @property
    def called(self) -> Mapping[str, str]:
        """{identity at the beginning: identity now, or when it went} of what follow() was told."""
        return self._called

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
                self._make(stranger, kept)
            except psycopg2.Error as error:
                if others_are_in_the_way(error):
                    raise
                raise Refused(
                    f"{stranger.identity} is declared by no release and cannot be made again as it was: "
                    f"{error.diag.message_primary}. Drop it, or change it, and run again."
                ) from error
        self.strangers.clear()
        self._recheck()

    def _make(self, stranger: Dependent, kept: Kept) -> None:
        if stranger.create:
            self.cursor.execute(stranger.create)
        for sql in kept.restore(self.connection):
            self.cursor.execute(sql)

    def _make_what_can_be(self) -> None:
        """Something is to be renamed that the definitions of strangers name as it is called now. The server keeps what
        is there up to date."""
        left = []
        for stranger, kept in reversed(self.strangers):
            self.cursor.execute("savepoint dbt_cicd_stranger")
            try:
                self._make(stranger, kept)
            except (psycopg2.Error, Refused) as error:
                if isinstance(error, psycopg2.Error) and others_are_in_the_way(error):
                    raise
                self.cursor.execute("rollback to savepoint dbt_cicd_stranger")
                left.append((stranger, kept))
            self.cursor.execute("release savepoint dbt_cicd_stranger")
        self.strangers = left[::-1]

    def _recheck(self) -> None:
        # What they are is asked under a search_path in which nobody can put an operator or a function of his own.
        self.cursor.execute("set local search_path = pg_catalog, pg_temp")
        self.cursor.execute(_WITH_BODIES, [self.schemas])
        functions = [number for (number,) in self.cursor.fetchall() if number not in self._broken]
        self.cursor.execute("savepoint dbt_cicd_body")
        try:
            self._validate(functions)
        except psycopg2.Error as error:
            if others_are_in_the_way(error):
                raise
            self.cursor.execute("rollback to savepoint dbt_cicd_body")
            raise Refused(self._broken_one(functions, error)) from error
        self.cursor.execute("release savepoint dbt_cicd_body")

    def _broken_one(self, functions: Sequence[int], error: psycopg2.Error) -> str:
        """The message names the first of the functions that makes the server say this."""
        for each in functions:
            try:
                self._validate([each])
            except psycopg2.Error as said:
                self.cursor.execute("rollback to savepoint dbt_cicd_body")
                name = identities(self.connection, [Address(_FUNCTIONS, each)]).get(Address(_FUNCTIONS, each), "")
                return (
                    f"{name}, in SQL, does not work any more: {error_text(said)}\nChange it or drop it, or write it "
                    "into the sources. Everything was rolled back."
                )
        return f"{error_text(error)}\nEverything was rolled back."

    def _validate(self, functions: Sequence[int]) -> None:
        self.cursor.execute(f"{self._settings}; set local check_function_bodies = on; {_VALIDATE}", [functions])
        self.cursor.execute("set local search_path = pg_catalog, pg_temp")

    def excuse(self, functions: Iterable[int]) -> None:
        """Do not have the bodies checked of those of these functions, by oid, that do not work now."""
        for each in functions:
            self.cursor.execute("savepoint dbt_cicd_body")
            try:
                self._validate([each])
            except psycopg2.Error as error:
                if others_are_in_the_way(error):
                    raise
                self._broken.add(each)
            self.cursor.execute("rollback to savepoint dbt_cicd_body; release savepoint dbt_cicd_body")

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
        self._lock([step.object])  # whoever makes something of it is waited for, and then it is found
        at = address(self.connection, step.object)
        if at is None:
            return
        for each in self._held(at, step.columns):
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

    def _held(self, at: Address, columns: Sequence[str]) -> list[Dependent]:
        """What depends on an object: nobody else changes it any more, so that it can be made again as it was."""
        held: set[tuple[Address, str]] = set()
        found = dependents(self.connection, at, columns)
        for _ in range(_TRIES):
            theirs = {(each.address, each.relation) for each in found if each.create and each.relation} - held
            if not theirs:
                break
            held |= {(where, relation) for where, relation in sorted(theirs) if self._hold(relation)}
            found = dependents(self.connection, at, columns)
        return found

    def _hold(self, relation: str) -> bool:
        """Keep others from changing a table or view, which only reading it does; False: it is not there any more."""
        self.cursor.execute("savepoint dbt_cicd_hold")
        try:
            self.cursor.execute(f"prepare dbt_cicd_hold as select from {relation}; deallocate dbt_cicd_hold")
        except psycopg2.Error as error:
            if error.pgcode not in GONE:
                raise
            self.cursor.execute("rollback to savepoint dbt_cicd_hold")
            return False
        self.cursor.execute("release savepoint dbt_cicd_hold")
        return True

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
