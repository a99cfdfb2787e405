"""Other sessions in the way: a catalog is read again until it can be, and what never ends is told with its holder."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

import psycopg2
import psycopg2.extensions
from psycopg2 import errorcodes

from dbt_cicd_toolkit.errors import Refused
from dbt_cicd_toolkit.postgres.session import ServerError, Session, error_text
from dbt_cicd_toolkit.schema import fingerprint
from dbt_cicd_toolkit.schema.fingerprint import Mark

Result = TypeVar("Result")
Tell = Callable[[str], None]
# The strongest lock of each session on each table first.
_HOLDERS = """select distinct on (a.pid, c.oid)
    case c.relkind when 'v' then 'view' when 'm' then 'materialized view' else 'table' end
        || pg_catalog.format(' %%I.%%I', n.nspname, c.relname),
    l.mode, a.pid, a.usename::text, a.application_name, a.state,
    pg_catalog.date_trunc('second', pg_catalog.clock_timestamp() - a.xact_start)::text
from pg_catalog.pg_locks l
join pg_catalog.pg_class c on c.oid = l.relation and c.relkind in ('r', 'p', 'f', 'v', 'm')
join pg_catalog.pg_namespace n on n.oid = c.relnamespace and n.nspname = any (%s)
join pg_catalog.pg_stat_activity a on a.pid = l.pid
where l.granted and l.pid <> pg_catalog.pg_backend_pid()
    and l.database = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())
order by a.pid, c.oid, pg_catalog.array_position(array['AccessExclusiveLock', 'ExclusiveLock',
    'ShareRowExclusiveLock', 'ShareLock', 'ShareUpdateExclusiveLock', 'RowExclusiveLock', 'RowShareLock'], l.mode)"""
# The server translates none of its internal messages.
_CHANGED = re.compile("tuple concurrently |could not open relation with OID |cache lookup failed ")
_TOLD = 5  # who holds many tables is told often enough


class Changed(psycopg2.Error):
    """Another session has changed what was about to be changed: Session.retrying() tries again, as after a
    serialization failure."""

    pgcode = errorcodes.SERIALIZATION_FAILURE

    def __init__(self, error: psycopg2.Error) -> None:
        super().__init__(str(error))
        self.error = error

    @property
    def diag(self) -> psycopg2.extensions.Diagnostics:  # type: ignore[override]
        """What the server said."""
        return self.error.diag


def raise_if_changed(error: BaseException | None) -> None:
    """Raise Changed when the server found a row of its catalog, or a whole object, changed or gone meanwhile."""
    said = error.error if isinstance(error, ServerError) else error
    if isinstance(said, psycopg2.Error) and said.pgcode == errorcodes.INTERNAL_ERROR and _CHANGED.match(str(said)):
        raise Changed(said) from error


def read(session: Session, schemas: Sequence[str], tell: Tell) -> dict[str, Mark]:
    """fingerprint.read(), again for as long as the session waits while others have locked what it reads.

    Raises Refused naming them when they do not end in time.
    """
    return retrying(
        session, schemas, lambda: fingerprint.read(session.connection, schemas), tell, "reading the catalog"
    )


def retrying(session: Session, schemas: Sequence[str], work: Callable[[], Result], tell: Tell, doing: str) -> Result:
    """Session.retrying() of what only reads. Raises Refused with what it was ``doing`` and who was in the way."""
    try:
        return session.retrying(work, tell)
    except (psycopg2.Error, ServerError) as error:
        said = error.error if isinstance(error, ServerError) else error
        session.raise_if_lost(said)
        if said.pgcode != errorcodes.LOCK_NOT_AVAILABLE:
            raise ServerError(said) from error
        raise Refused(f"{error_text(said)}\n  in: {doing}{holders(session, schemas)}") from error


def holders(session: Session, schemas: Sequence[str]) -> str:
    """Lines for people: which tables of these schemas other sessions have locked, and who that is."""
    rows = session.execute(_HOLDERS, [list(schemas)])
    lines = [
        f"\n  {table} is locked ({mode}) by server process {pid} ({user}, {name or 'no name'}, {state}, for {age}). "
        f"Let it end, or: select pg_terminate_backend({pid});"
        for table, mode, pid, user, name, state, age in rows[:_TOLD]
    ]
    return "".join([*lines, f"\n  and {len(rows) - _TOLD} more" if len(rows) > _TOLD else ""])
