"""What `migrate --dry-run` does: say what would be executed and parse it; run it in a scratch database; or run one file
on the database itself, inside a transaction that is rolled back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from typing import Any

import psycopg2
from psycopg2 import errorcodes

from dbt_cicd_toolkit.db import apply
from dbt_cicd_toolkit.db.files import Migration, Version
from dbt_cicd_toolkit.db.history import History
from dbt_cicd_toolkit.db.plan import plan
from dbt_cicd_toolkit.db.project import Project, Silent
from dbt_cicd_toolkit.db.run import Run, Watcher
from dbt_cicd_toolkit.db.snapshots import load
from dbt_cicd_toolkit.errors import Refused
from dbt_cicd_toolkit.postgres import dump, runner
from dbt_cicd_toolkit.postgres.scratch import scratch
from dbt_cicd_toolkit.postgres.script import Script, split
from dbt_cicd_toolkit.postgres.session import RETRIED, ServerError, Session, connect
from dbt_cicd_toolkit.postgres.statements import action, cluster_wide, reason_to_run_singly

# The server parses the whole of a message before it executes the first statement of it (exec_simple_query() in
# src/backend/tcop/postgres.c). One that fails at once therefore has everything behind it parsed and nothing executed.
_STOP = "select 1 operator(pg_catalog./) 0"
_RELATIONS = """select c.oid, pg_catalog.format('%I.%I', n.nspname, c.relname), c.relfilenode
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'm', 'i', 'I', 'v', 'S', 'f')
and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'"""
_LOCKS = """select relation, mode from pg_catalog.pg_locks
where locktype = 'relation' and pid = pg_catalog.pg_backend_pid() and granted and mode <> 'AccessShareLock'"""
_SEQUENCES = "select pg_catalog.format('%I.%I', schemaname, sequencename), last_value from pg_catalog.pg_sequences"


@dataclass
class Rehearsal:
    """What running a migration did. ``locks`` and ``rewrites`` are of relations that were there before it.

    Attributes:
        milliseconds: on tables that hold no rows, or on the real ones with --on-target.
        locks: {relation: modes stronger than ACCESS SHARE}.
        rewrites: relations whose storage was written anew.
        warnings: what a rollback did not take back, and what was not looked at.
    """

    script: str
    milliseconds: int = 0
    locks: dict[str, list[str]] = field(default_factory=dict)
    rewrites: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass
class DryRun:
    """What `migrate` would do.

    Attributes:
        scripts: what it would execute, in order.
        rehearsals: what executing them did, where that was asked for, and ``where`` that was.
        notes: what could not be checked.
    """

    scripts: list[str]
    rehearsals: list[Rehearsal] = field(default_factory=list)
    where: str = ""
    notes: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {"dry_run": True, **asdict(self)}


def dry_run(
    project: Project,
    watcher: Watcher,
    *,
    to: Version | None,
    out_of_order: bool,
    execute: bool,
    on_target: bool,
    scratch_url: str | None,
) -> DryRun:
    """Say what `migrate` would do; with ``execute`` do it, in a scratch database or with ``on_target`` in the real one.

    Without a server only the files are checked, and a note says so.

    Raises:
        Differs, InvalidInput: as migrate().
        Refused: a syntax error, or with ``execute`` a migration that fails.
    """
    try:
        session = project.connect("dry run")
    except Refused as error:
        # A server that answers and refuses is no missing server: libpq says FATAL before what it said.
        if execute or "FATAL" in str(error) or not str(error).startswith("Connection failed"):
            raise
        return _without_server(project, str(error).splitlines()[0])
    with session:
        run = project.run(session, watcher)
        todo = pending(run, to=to, out_of_order=out_of_order)
        names = [f"{one.path}: {why}" for one in todo if (why := run.folder.warnings.get(one.path))]
        found = DryRun([migration.script for migration in todo], notes=names)
        if execute and on_target and todo:
            found.rehearsals, found.where = [rehearse_on_target(run, todo[0])], "the database itself, rolled back"
        elif execute and todo:
            found.rehearsals = in_scratch(project, run, todo, scratch_url)
            found.where = "a scratch database without rows"
        return found


def _without_server(project: Project, why: str) -> DryRun:
    todo = [*project.folder.versioned, *project.folder.repeatable]
    plan(project.folder, []).refuse_problems()
    for migration in todo:
        apply.load(migration)
    note = f"{why}. Only the files were checked: their syntax was not, and which of them are pending is not known."
    return DryRun([migration.script for migration in todo], notes=[note])


def pending(run: Run, *, to: Version | None = None, out_of_order: bool = False) -> list[Migration]:
    """What `migrate` would apply, refused where it would be. Reads, and parses every file on the server.

    Raises:
        Differs, InvalidInput: as migrate().
        Refused: a syntax error; the message has file:line:column.
    """
    if run.history.unused():
        run.drift.refuse_without_baseline()
    run.applied = run.history.read()
    todo = plan(run.folder, run.applied, to=to, out_of_order=out_of_order)
    todo.refuse_problems()
    if todo.pending and run.history.exists():
        run.drift.refuse()
    for migration in todo.pending:
        parse(run.session, apply.load(migration))
    return list(todo.pending)


def parse(session: Session, script: Script) -> None:
    """Have the server parse every statement of a script, and execute none. Raises Refused with file:line:column."""
    statements = script.statements
    if not statements:
        return
    texts = [_STOP, *(statement.text for statement in statements)]
    starts = list(accumulate((len(text) + 2 for text in texts), initial=1))[1:-1]  # 1-based, of each statement
    try:
        session.execute(";\n".join(texts))
    except ServerError as refused:
        error = refused.error
        if error.pgcode == errorcodes.DIVISION_BY_ZERO:
            return
        at = int(error.diag.statement_position or 0)
        index = max((number for number, start in enumerate(starts) if start <= at), default=0)
        offset = statements[index].offset + max(0, at - starts[index])
        place = ":".join(map(str, (script.name, *script.position(offset))))
        raise Refused(f"{place}: {error.diag.message_primary} (SQLSTATE {error.pgcode})") from error
    raise AssertionError(f"the server executed '{_STOP}' without an error")


def in_scratch(
    project: Project, run: Run, todo: Sequence[Migration], scratch_url: str | None = None
) -> list[Rehearsal]:
    """Run migrations in a scratch database that has the structure of the real one, and no rows.

    Raises:
        Refused: one fails, or there is no scratch database to be had.
    """
    scripts = {migration.script: apply.load(migration) for migration in todo}
    everywhere = any(cluster_wide(action(s.text)) for script in scripts.values() for s in script.statements)
    structure = dump.dump(project.settings, run.drift.selection, run.session.connection)
    with (
        scratch(
            project.settings,
            url=scratch_url or project.config.scratch_url,
            local=project.root / ".local",
            cluster_wide=everywhere,
            major=run.session.major,
        ) as made,
        connect(made.settings, "db rehearsal", role=None, lock_timeout=project.config.lock_timeout) as session,
        session.lock(),
    ):
        history = History(session, run.history.schema, run.history.table, lambda: None)
        history.create()
        there = Run(session, history, run.folder, run.schemas, Silent(run.watcher.tell))
        load(session.connection, split(structure, "the structure of the database"), may_make_roles=made.embedded)
        return [_rehearse(there, migration, scripts[migration.script]) for migration in todo]


def _rehearse(run: Run, migration: Migration, script: Script) -> Rehearsal:
    found = Rehearsal(migration.script)
    singly = reason_to_run_singly(script, run.session.connection.server_version)
    if singly:
        found.warnings.append(f"runs statement by statement ({singly[1]}): its locks were not looked at")
    before = _relations(run.session)
    started = time.perf_counter()

    def finish() -> str:
        found.milliseconds = round((time.perf_counter() - started) * 1000)
        _look(run.session, before, found)
        return "select 1"

    apply.execute_script(run, script, migration.script, finish)
    return found


def rehearse_on_target(run: Run, migration: Migration) -> Rehearsal:
    """Run one migration on the database itself and roll it back, deferred constraints checked.

    Raises:
        Refused: it fails, or it holds a statement that cannot be rolled back.
    """
    script = apply.load(migration)
    singly = reason_to_run_singly(script, run.session.connection.server_version)
    if singly:
        statement, why = singly
        raise Refused(
            f"{script.name}:{statement.line}:{statement.column}: {why}, it is not rolled back: leave out --on-target."
        )
    found = Rehearsal(migration.script)
    sequences = dict(run.session.execute(_SEQUENCES))
    before = _relations(run.session)

    def attempt() -> None:
        run.session.begin()
        started = time.perf_counter()
        for statement in script.statements:
            try:
                runner.execute(run.session, statement)
            except psycopg2.Error as error:
                if error.pgcode in RETRIED:
                    raise
                raise runner.failure(script, statement, error) from error
        try:
            run.session.execute("set constraints all immediate")
        except ServerError as error:
            raise runner.failure(script, None, error.error) from error
        run.session.be_ourselves()
        found.milliseconds = round((time.perf_counter() - started) * 1000)
        _look(run.session, before, found)

    with run.session.lock(run.watcher.tell):
        try:
            run.session.retrying(attempt, run.watcher.tell)
        finally:
            run.session.rollback()
    moved = [name for name, value in run.session.execute(_SEQUENCES) if name in sequences and sequences[name] != value]
    found.warnings += [f"the sequence {name} has moved on: that is not rolled back" for name in moved]
    return found


def _relations(session: Session) -> dict[int, tuple[str, int]]:
    return {oid: (name, filenode) for oid, name, filenode in session.execute(_RELATIONS)}


def _look(session: Session, before: dict[int, tuple[str, int]], found: Rehearsal) -> None:
    """Inside the transaction: which locks it holds and what it wrote anew, of what was there before."""
    for oid, mode in session.execute(_LOCKS):
        if oid in before:
            found.locks.setdefault(before[oid][0], []).append(mode)
    after = _relations(session)
    found.locks = {name: sorted(modes) for name, modes in sorted(found.locks.items())}
    found.rewrites = sorted(
        name for oid, (name, filenode) in before.items() if oid in after and after[oid][1] != filenode
    )
