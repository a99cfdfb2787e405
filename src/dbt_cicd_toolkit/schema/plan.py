"""What an upgrade would do: every statement, the tables it writes anew, its locks, the rows in its way. Writes nothing:
the statements are run in a scratch database, and the target is only asked questions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

import psycopg2.extensions as pg

from dbt_cicd_toolkit.errors import InvalidInput, Refused
from dbt_cicd_toolkit.postgres import embedded
from dbt_cicd_toolkit.postgres.session import ServerError, Session
from dbt_cicd_toolkit.schema import fingerprint, locked
from dbt_cicd_toolkit.schema.executor import Executor
from dbt_cicd_toolkit.schema.foresee import NOT_YET
from dbt_cicd_toolkit.schema.install import connect, install_records
from dbt_cicd_toolkit.schema.installed import Log
from dbt_cicd_toolkit.schema.look import compared
from dbt_cicd_toolkit.schema.project import Project
from dbt_cicd_toolkit.schema.records import History
from dbt_cicd_toolkit.schema.step import Check, Step
from dbt_cicd_toolkit.schema.upgrade import Reference

Tell = Callable[[str], None]
_STORAGE = """select pg_catalog.format('%%I.%%I', n.nspname, c.relname), c.relfilenode
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and n.nspname = any (%s)"""
_LOCKS = """select pg_catalog.count(*) from pg_catalog.pg_locks
where pid = pg_catalog.pg_backend_pid() and granted and locktype in ('relation', 'object')"""
_ALLOWED = """select current_setting('max_locks_per_transaction')::bigint
    * (current_setting('max_connections')::bigint + current_setting('max_prepared_transactions')::bigint)"""
_ROWS = "select pg_catalog.count(*) from (\n{}\n) broken"


@dataclass
class Plan:
    """From one release to another.

    Attributes:
        steps: (label of the release it leads to, statement).
        commits: the labels at which a transaction ends, ``after`` the last.
        rewrites: tables that are written anew, which takes as long as they are large.
        locks: that one of the transactions holds at its end, at most; allowed: what the target has room for in all,
            None unknown.
        differences: what the target has otherwise than its release: an upgrade refuses that.
        rows: {rule: number of rows that break it now}; those that a statement before may still mend are among them.
        unknown: rules that cannot be asked of the target as it is now.
    """

    before: str
    after: str
    steps: list[tuple[str, Step]]
    commits: list[str]
    rewrites: list[str]
    locks: int
    allowed: int | None = None
    rows: dict[str, int] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)


def plan(project: Project, history: History, start: int, major: int) -> Plan:
    """The plan from release number ``start`` to the newest of ``history``, worked out in a scratch database."""
    newest = history.newest
    assert newest is not None
    if start > newest.number:
        raise InvalidInput(f"release {start} is above {newest.label}: releases are not taken back.")
    later = history.releases[start:]
    steps = [(release.label, step) for release in later for step in release.steps_for(major)]
    ends = history.commits(start)
    parts = [history.transitions(begin, end, major) for begin, end in pairwise([start, *ends])]
    with project.scratch(major) as made, closing(connect(made.settings)) as connection:
        install_records(connection, history.at(start), history.schemas, make_roles=made.embedded)
        connection.autocommit = False
        rewrites, locks = _run(parts, connection, history.schemas, made.embedded)
    commits = [history.releases[end - 1].label for end in ends]
    return Plan(history.releases[start - 1].label, newest.label, steps, commits, rewrites, locks)


def _run(
    transactions: Sequence[Sequence[Sequence[Step]]],
    connection: pg.connection,
    schemas: Sequence[str],
    make_roles: bool,
) -> tuple[list[str], int]:
    found: dict[str, None] = {}
    locks = 0
    with connection.cursor() as cursor:
        for releases in transactions:
            executor = Executor(connection, schemas, make_roles=make_roles)
            for steps in releases:
                for step in steps:
                    before = _storage(cursor, schemas)
                    executor.run(step)
                    after = _storage(cursor, schemas)
                    found |= {name: None for name, node in before.items() if after.get(name, node) != node}
                executor.forget()
            cursor.execute(_LOCKS)
            row = cursor.fetchone()
            locks = max(locks, row[0] if row else 0)
            connection.commit()
    return list(found), locks


def _storage(cursor: pg.cursor, schemas: Sequence[str]) -> dict[str, int]:
    cursor.execute(_STORAGE, [list(schemas)])
    return dict(cursor.fetchall())


def ask(made: Plan, session: Session, history: History, reference: Reference, tell: Tell) -> None:
    """Ask the target whether it is the release that it has, for the rows in the way of a plan, and how many locks the
    server has room for."""
    made.allowed = session.execute(_ALLOWED)[0][0]
    released = history.until(history.find(made.before).number)
    there = Log(session, history.module, history.schemas, only_read=True).current()
    if there and not there.post:  # an upgrade begins with what is missing after the last one's COMMIT
        made.differences = fingerprint.differences(*compared(session, released, reference, tell))
    for check in dict.fromkeys(step.check for _, step in made.steps if step.check):
        rows = locked.retrying(session, history.schemas, partial(_count, session, check), tell, check.rows)
        if rows is None:
            made.unknown.append(check.rule)
        elif rows:
            made.rows[check.rule] = rows


def _count(session: Session, check: Check) -> int | None:
    """The rows that break a rule; None where that cannot be asked yet."""
    session.execute("begin read only; set local row_security = off")
    try:
        return int(session.send(_ROWS.format(check.rows))[0][0])
    except ServerError as error:
        if not str(error.error.pgcode).startswith(NOT_YET):
            raise
        return None
    finally:
        session.rollback()


def current(session: Session, history: History) -> int:
    """The number of the release that the target has. Raises Refused when it has none."""
    found = Log(session, history.module, history.schemas, only_read=True).current()
    if found is None:
        raise Refused(f"the database has no release of {history.module}. Say --from, or `dbt-cicd schema install`.")
    return found.number


def newest_major() -> int:
    """Of the servers that scratch databases can be made on without a target."""
    return max(embedded.majors(), default=max(embedded.BUNDLED))
