"""What became of a statement that cannot run in a transaction, read from the catalog.

PostgreSQL leaves traces of most of them: an index is valid or not ("Building Indexes Concurrently" in the documentation
of CREATE INDEX), a partition's detachment is pending, a database is there or not. Those that may simply be run again
need no trace. Of the rest nothing is said.
"""

from __future__ import annotations

from typing import NamedTuple

from dbt_cicd_toolkit.errors import Refused
from dbt_cicd_toolkit.postgres.session import Session, identifier
from dbt_cicd_toolkit.postgres.statements import Action, Name

ABSENT, PRESENT, INVALID, PENDING, UNKNOWN = "absent", "present", "invalid", "pending", "unknown"
_AGAIN = ("VACUUM", "ANALYZE", "CLUSTER", "REINDEX", "CHECKPOINT", "ALTER SYSTEM", "ALTER DATABASE")
_CATALOGS = {
    "DATABASE": "select datconnlimit = -2 from pg_catalog.pg_database where datname = %s",
    "TABLESPACE": "select false from pg_catalog.pg_tablespace where spcname = %s",
}


class Verdict(NamedTuple):
    """Was it done, or is it to be run again; ``told`` says it in words."""

    done: bool
    told: str


def observe(session: Session, action: Action) -> str:
    """The state of what ``action`` makes or drops: ABSENT, PRESENT, INVALID, PENDING; UNKNOWN when there is no telling.

    Raises Refused when another session is building the index.
    """
    words = action.verb.split()
    if "INDEX" in words[:2] and words[0] in ("CREATE", "DROP") and len(action.names) == 1:
        return _index(session, action)
    if "DETACH" in words and action.table and len(action.names) == 1:
        oids = [session.resolve(str_of(name)) for name in (action.names[0], action.table)]
        sql = "select inhdetachpending from pg_catalog.pg_inherits where inhrelid = %s::oid and inhparent = %s::oid"
        rows = session.execute(sql, oids)
        return (PENDING if rows[0][0] else PRESENT) if rows else ABSENT
    if len(words) == 2 and words[0] in ("CREATE", "DROP") and words[1] in _CATALOGS and action.names:
        rows = session.execute(_CATALOGS[words[1]], [action.names[0].name])
        return (INVALID if rows[0][0] else PRESENT) if rows else ABSENT
    return UNKNOWN


def _index(session: Session, action: Action) -> str:
    name = action.names[0]
    # CREATE INDEX makes it in the schema of its table, and names it without one.
    table = session.resolve(str_of(action.table)) if action.table else None
    own = None if action.table else session.resolve(str_of(name))
    rows = session.execute(
        "select i.indisvalid, p.pid from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid "
        "left join pg_catalog.pg_stat_progress_create_index p on p.index_relid = i.indexrelid "
        "where i.indexrelid = %s::oid or (i.indrelid = %s::oid and c.relname = %s::name)",
        [own, table, name.name],
    )
    if not rows:
        return ABSENT
    if rows[0][1]:
        raise Refused(f"server process {rows[0][1]} is building the index {str_of(name)}: let it end.")
    return PRESENT if rows[0][0] else INVALID


def decide(action: Action, before: str | None, now: str) -> Verdict | None:
    """What became of a statement that was begun when the state was ``before`` and of which nothing more is known.

    None: it cannot be told.
    """
    if action.verb.startswith(_AGAIN):
        return Verdict(False, "it may be run again, and is")
    if now == UNKNOWN or before is None:
        return None
    # What was there before it was not made by it: then the server will say so once more.
    if done(action, now) and (before != now or action.if_exists):
        return Verdict(True, "the catalog says that it was done")
    return Verdict(False, f"the catalog says that it was not finished ({now}): it is run again")


def done(action: Action, now: str) -> bool:
    """Is this the state after it was done?"""
    return now == (PRESENT if action.verb.startswith("CREATE") else ABSENT)


def leftovers(session: Session, action: Action) -> list[str]:
    """SQL that takes away what an attempt of ours left behind, before it is run again."""
    words = action.verb.split()
    if words[0] == "REINDEX" and action.concurrently and action.names:
        return _transient_indexes(session, action.names[0])
    if words[:2] == ["CREATE", "INDEX"] and action.names and action.table and observe(session, action) == INVALID:
        rows = session.execute(
            "select n.nspname from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
            "where c.oid = %s::oid",
            [session.resolve(str_of(action.table))],
        )
        return [f"drop index concurrently {identifier(rows[0][0])}.{identifier(action.names[0].name)}"]
    return []


def finish(session: Session, action: Action) -> str | None:
    """SQL that finishes what an attempt of ours began, instead of running it again; None: there is no such thing."""
    if "DETACH" in action.verb and action.table and action.names and observe(session, action) == PENDING:
        return f"alter table {str_of(action.table)} detach partition {str_of(action.names[0])} finalize"
    return None


def _transient_indexes(session: Session, name: Name) -> list[str]:
    """The invalid copies that REINDEX CONCURRENTLY makes, name_ccnew and name_ccold, of the index or table it named."""
    oid = session.resolve(str_of(name))
    rows = session.execute(
        "select pg_catalog.format('%%I.%%I', n.nspname, c.relname) from pg_catalog.pg_index i "
        "join pg_catalog.pg_class c on c.oid = i.indexrelid join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
        "where not i.indisvalid and c.relname ~ '_cc(new|old)[0-9]*$' and i.indrelid in "
        "(select %s::oid union select indrelid from pg_catalog.pg_index where indexrelid = %s::oid) order by 1",
        [oid, oid],
    )
    return [f"drop index concurrently {row[0]}" for row in rows]


def str_of(name: Name) -> str:
    """A name as SQL."""
    return ".".join(identifier(part) for part in (name.schema, name.name) if part)
