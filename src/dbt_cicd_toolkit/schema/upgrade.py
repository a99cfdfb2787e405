"""Install a release, or take a database to any later one, in one transaction, proven before it commits.

A release that needs what an earlier one must have committed (a new value of an enum) begins another one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import psycopg2

from dbt_cicd_toolkit.errors import Differs, Refused, ToolkitError
from dbt_cicd_toolkit.postgres.session import RETRIED, ConnectionLost, ServerError, Session, connect, error_text
from dbt_cicd_toolkit.schema import fingerprint, foresee, locked, managed, roles
from dbt_cicd_toolkit.schema.executor import Executor
from dbt_cicd_toolkit.schema.fingerprint import Mark
from dbt_cicd_toolkit.schema.installed import Current, Log, PostJournal
from dbt_cicd_toolkit.schema.keep import address, addresses
from dbt_cicd_toolkit.schema.objects import settings
from dbt_cicd_toolkit.schema.records import History, Release
from dbt_cicd_toolkit.schema.step import Step

Tell = Callable[[str], None]
Reference = Callable[[History, int], Mapping[str, Mark]]
_ROUTINES = ("function ", "procedure ")


@dataclass(frozen=True)
class Done:
    """What was done: from which release (None: from nothing) to which; ``steps`` that were run; what the database has
    beyond the release."""

    before: Current | None
    release: Release
    steps: Sequence[Step]
    additions: Sequence[str]


def install(session: Session, history: History, reference: Reference, tell: Tell, *, make_roles: bool = False) -> Done:
    """Make all objects of the newest release of ``history`` in a database whose managed schemas are empty; with
    ``make_roles``, on the project's own server, also the roles that they name.

    Raises Refused, and nothing was done.
    """
    return _Run(session, history, reference, tell, make_roles).install()


def upgrade(
    session: Session,
    history: History,
    reference: Reference,
    tell: Tell,
    *,
    strict: bool = False,
    make_roles: bool = False,
) -> Done:
    """Take a database to the newest release of ``history``.

    Args:
        session: on the database; the lock is taken here.
        history: of the file of the release that is wanted.
        reference: what a server of a major that the release did not see shows of it.
        strict: refuse what the database has beyond its release.
        make_roles: make the roles that it names: the server is the project's own.
    Raises:
        Differs: the database, or its release, is not what was released.
        Refused: anything else stands in the way. Nothing was done in either case.
    """
    return _Run(session, history, reference, tell, make_roles).upgrade(strict)


def _postponed(steps: Sequence[Step]) -> list[Step]:
    """What is run after the COMMIT: of the last release only, for a later one may need it, or drop what it is of."""
    return [step for step in steps if step.kind == "post"]


def _listed(lines: Sequence[str]) -> str:
    return "".join(f"\n  - {line}" for line in lines)


class _Run:
    def __init__(self, session: Session, history: History, reference: Reference, tell: Tell, make_roles: bool) -> None:
        self.session = session
        self.history = history
        self.reference = reference
        self.tell = tell
        self.make_roles = make_roles
        self._running = ""  # the statement, for a message
        self.log = Log(session, history.module, history.schemas)
        newest = history.newest
        assert newest is not None
        self.target: Release = newest
        self._references: dict[int, Mapping[str, Mark]] = {}

    def install(self) -> Done:
        with self.session.lock(self.tell):
            current = self.log.current()
            if current:
                raise Refused(
                    f"the database has release {current.label} of {self.history.module} already. Nothing was done. "
                    "Go on with `dbt-cicd schema upgrade`."
                )
            managed.refuse(self.session, self.history.schemas, self.log)
            found = self._waited()
            taken = sorted(found.keys() - {f"schema {name}" for name in self._schema_names()})
            if taken:
                raise Refused(
                    f"the schemas of {self.history.module} are not empty: {len(taken)} objects, {taken[0]} for one. "
                    "Nothing was done. Install into an empty database."
                )
            steps = [Step(record.plain, "create", key) for key, record in self.history.at(self.target.number).items()]
            steps = [step for step in steps if not self._there(step)]
            return self._commit("install", None, self.target, [steps], {})

    def upgrade(self, strict: bool) -> Done:
        with self.session.lock(self.tell):
            current = self.log.current()
            if current is None:
                raise Refused(
                    f"the database has no release of {self.history.module}. Nothing was done. Begin with "
                    "`dbt-cicd schema install`."
                )
            self._refuse_other(current)
            self._after(self.history.releases[current.number - 1], current.post)
            wanted = self._reference(current.number)
            found = self._waited()
            beyond = fingerprint.additions(wanted, found)
            if current.number == self.target.number:
                return Done(current, self.target, [], beyond)
            managed.refuse(self.session, self.history.schemas, self.log)
            if lines := fingerprint.differences(wanted, found):
                raise Differs(
                    f"the database is not release {current.label} as it was released, {len(lines)} differences:"
                    f"{_listed(lines)}\nNothing was done. Put it back (`dbt-cicd schema check` shows it) and run again."
                )
            if strict and beyond:
                raise Refused(f"--strict: the database has beyond release {current.label}:{_listed(beyond)}")
            return self._in_transactions(current, found)

    def _in_transactions(self, start: Current, found: Mapping[str, Mark]) -> Done:
        """One, and one more at each release that needs what was committed before it; each leaves a proven release."""
        steps: list[Step] = []
        current = start
        for number in self.history.commits(start.number):
            release = self.history.releases[number - 1]
            releases = self.history.transitions(current.number, number, self.session.major)
            try:
                done = self._commit("upgrade", current, release, releases, found)
            except ToolkitError as error:
                if current == start:
                    raise
                raise type(error)(f"{error}\nThe database has release {current.label} now, and is whole.") from error
            steps += done.steps
            if number < self.target.number:
                self.tell(f"release {release.label} is committed: the next needs a value that an enum has got there")
                current, found = self._now(), self._waited()
        return Done(start, self.target, steps, done.additions)

    def _now(self) -> Current:
        current = self.log.current()
        assert current is not None
        return current

    def _refuse_other(self, current: Current) -> None:
        if current.number > self.target.number:
            raise Refused(
                f"the database has release {current.label}, which is above {self.target.label}. Nothing was done: "
                "releases are not taken back."
            )
        known = self.history.releases[current.number - 1]
        if known.hash != current.hash:
            raise Differs(
                f"the database has a release {current.label} of {self.history.module} that is not the one in the files "
                f"(hash {current.hash[:12]}, there {known.hash[:12]}). Nothing was done."
            )

    def _commit(
        self,
        action: str,
        current: Current | None,
        target: Release,
        releases: Sequence[Sequence[Step]],
        found: Mapping[str, Mark],
    ) -> Done:
        """Run the steps of ``releases``, of which ``target`` is the last, and commit."""
        later = _postponed(releases[-1] if current else ())

        def attempt() -> Done:
            try:
                return self._attempt(action, current, target, releases, later, found)
            except (psycopg2.Error, ServerError) as error:
                locked.raise_if_changed(error)
                raise
            except Refused as error:
                locked.raise_if_changed(error.__cause__)
                raise

        try:
            done = self.session.retrying(attempt, self.tell)
        except ConnectionLost as error:
            self.session.reconnect(self.tell)
            now = self.log.current()
            if now is None or now.hash != target.hash:
                raise Refused(f"{error}. The log was looked up: nothing was done. Run it again.") from error
            self.tell(f"the log was looked up: release {now.label} was committed")
            done = Done(current, target, list(chain(*releases)), [])
        except (psycopg2.Error, ServerError) as error:
            self.session.rollback()
            said = error.error if isinstance(error, ServerError) else error
            holders = locked.holders(self.session, self.history.schemas) if said.pgcode in RETRIED else ""
            raise Refused(f"{error_text(said)}\n  in: {self._running}{holders}\nEverything was rolled back.") from error
        except BaseException:
            self.session.rollback()
            raise
        self._after(target, [step.sql for step in later])
        return done

    def _attempt(
        self,
        action: str,
        current: Current | None,
        target: Release,
        releases: Sequence[Sequence[Step]],
        later: Sequence[Step],
        found: Mapping[str, Mark],
    ) -> Done:
        steps = list(chain(*releases))
        self.session.begin()
        self.session.be_ourselves()
        executor = Executor(self.session.connection, self.history.schemas, self.tell, make_roles=self.make_roles)
        before = self._reference(current.number) if current else {}
        reference = self._reference(target.number)
        inherited = fingerprint.inherited(self.session.connection)
        theirs = fingerprint.undeclared(found, before).keys() - inherited
        self._running = "looking at what no release declares"
        bodies = addresses(self.session.connection, [each for each in theirs if each.startswith(_ROUTINES)])
        executor.excuse(at.objid for at in bodies.values())
        beyond = fingerprint.beyond_views(before, found)
        executor.follow([*theirs, *beyond])
        self._running = "looking for rows in the way"
        foresee.refuse(executor, steps, before, reference)
        executor.hold(steps)
        for each in releases:
            for step in each:
                if not (each is releases[-1] and step in later):
                    self._run(executor, step)
            executor.forget()
        self._running = "making again what no release declares"
        executor.finish()
        self._refuse_taken(later)
        changed = {step.object for step in steps}
        for identity, sql in fingerprint.view_options(beyond, executor.called, reference):
            if identity in changed:
                self.session.execute(sql)
        built_later = {step.object for step in later}
        wanted = {identity: mark for identity, mark in reference.items() if identity not in built_later}
        self._running = "reading the catalog"
        now = self._read()
        if lines := fingerprint.differences(wanted, now):
            raise Refused(
                f"the result is not release {target.label}, {len(lines)} differences:{_listed(lines)}\n"
                "Everything was rolled back."
            )
        known = now.keys() | executor.gone
        lost = [each for each in theirs if executor.called[each] not in known]
        if lost := self._there_for_others(lost):
            raise Refused(
                f"objects that no release declares would be gone:{_listed(lost)}\nDrop them, or write them into the "
                "sources. Everything was rolled back."
            )
        for line in fingerprint.gone_with_columns(beyond, executor.called, now):
            self.tell(f"gone with its column: {line}")
        create = "" if self.log.exists() else f"{self.log.create()}; "
        detail = {"steps": len(steps), "post": [step.sql for step in later]}
        self.session.commit(create + self.log.append(action, target, current, detail))
        return Done(current, target, steps, fingerprint.additions(wanted, now))

    def _there_for_others(self, identities: Sequence[str]) -> list[str]:
        """Those of these objects that another session still sees: what it does not see was dropped by others."""
        if not identities:
            return []
        with connect(self.session.settings, "schema upgrade, looking", wait=self.session.wait) as other:
            return sorted(addresses(other.connection, identities))

    def _refuse_taken(self, later: Sequence[Step]) -> None:
        """After the COMMIT it would be too late to find that somebody has the name of an index."""
        for step in later:
            if address(self.session.connection, step.object):
                raise Refused(
                    f"{step.object} is there already, and no release has made it. Drop it, and run again. Everything "
                    "was rolled back."
                )

    def _after(self, release: Release, statements: Sequence[str]) -> None:
        """Run what a release has for after its COMMIT, or go on with it where a run died."""
        if not statements:
            return
        from dbt_cicd_toolkit.postgres import runner
        from dbt_cicd_toolkit.postgres.script import split

        journal = PostJournal(self.log, release)
        script = split(";\n".join([settings(self.history.schemas), *statements]), journal.name)
        self.tell(f"release {release.label} is committed; now {'; '.join(' '.join(sql.split()) for sql in statements)}")
        begun = bool(journal.steps())
        runner.run(
            self.session, script, journal, lambda: self.log.append("post", release, None, {}), self.tell, begun=begun
        )

    def _run(self, executor: Executor, step: Step) -> None:
        self._running = step.sql
        try:
            executor.run(step)
        except psycopg2.Error as error:
            self.session.raise_if_lost(error)
            if error.pgcode is None or error.pgcode.startswith(("40", "55")):
                raise
            raise Refused(
                f"{step.object}: {error_text(error)}\n  in: {executor.restoring or step.sql}{roles.advice(error)}\n"
                "Everything was rolled back."
            ) from error

    def _reference(self, number: int) -> Mapping[str, Mark]:
        if number not in self._references:
            known = self.history.fingerprint(number, self.session.major)
            if known is None:
                known = dict(self.reference(self.history.until(number), self.session.major))
            self._references[number] = known
        return self._references[number]

    def _waited(self) -> dict[str, Mark]:
        """_read() outside of a transaction."""
        return locked.read(self.session, self.history.schemas, self.tell)

    def _read(self) -> dict[str, Mark]:
        try:
            return fingerprint.read(self.session.connection, self.history.schemas)
        except psycopg2.Error as error:
            self.session.raise_if_lost(error)
            raise ServerError(error) from error

    def _schema_names(self) -> list[str]:
        rows = self.session.execute(
            "select quote_ident(nspname) from pg_namespace where nspname = any(%s)", [list(self.history.schemas)]
        )
        return [row[0] for row in rows]

    def _there(self, step: Step) -> bool:
        """A schema or an extension that somebody made before is taken as it is."""
        kind, _, name = step.object.partition(" ")
        if kind == "extension":
            return bool(self.session.execute("select 1 from pg_extension where quote_ident(extname) = %s", [name]))
        return kind == "schema" and name in self._schema_names()
