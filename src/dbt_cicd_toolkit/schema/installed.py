"""Which release a database has: a log in the database itself, only appended to."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from psycopg2 import errorcodes

from dbt_cicd_toolkit.errors import Refused
from dbt_cicd_toolkit.postgres.journal import Step
from dbt_cicd_toolkit.postgres.session import ServerError, Session
from dbt_cicd_toolkit.schema.records import Release

NAME = "dbt_cicd.dbt_cicd_schema_log"
_DDL = f"""create schema if not exists dbt_cicd;
create table if not exists {NAME} (
    id bigint generated always as identity primary key,
    run_id uuid not null,
    at timestamp with time zone not null default clock_timestamp(),
    installed_by text not null default session_user,
    action text not null,
    module text not null,
    schemas text[] not null,
    from_release integer,
    release integer not null,
    label text not null,
    hash text not null,
    detail jsonb
);
comment on table {NAME} is 'What dbt-cicd schema did to this database; only appended to.'"""
_TRUSTED = f"""select r.rolname, r.rolsuper or r.rolname in (current_user, session_user) or r.oid = d.datdba,
    c.relhastriggers or c.relhasrules or c.relrowsecurity
from pg_class c join pg_roles r on r.oid = c.relowner join pg_database d on d.datname = current_database()
where c.oid = to_regclass('{NAME}')"""


@dataclass(frozen=True, slots=True)
class Current:
    """The release that a database has of a module. ``post`` are the statements that it had to run after its COMMIT and
    that have not all been run."""

    number: int
    label: str
    hash: str
    at: str
    post: tuple[str, ...] = ()


class Log:
    """The log, read and written through a session."""

    def __init__(self, session: Session, module: str, schemas: tuple[str, ...], *, only_read: bool = False) -> None:
        """``only_read``: what it says is shown, and nothing is done by it."""
        self.session = session
        self.module = module
        self.schemas = schemas
        self.only_read = only_read

    @cached_property
    def run_id(self) -> str:
        """A UUID of this run."""
        return str(uuid.uuid4())

    def exists(self) -> bool:
        """Is the table there? Raises Refused when somebody else could change what it says."""
        try:
            rows = self.session.execute(_TRUSTED)
        except ServerError as error:
            if error.error.pgcode != errorcodes.INSUFFICIENT_PRIVILEGE:
                raise
            raise Refused(
                f"{error}\nThe log, {NAME}, belongs to somebody else. Say the --role with which it was installed, or "
                "none where there was none."
            ) from error
        for owner, trusted, active in rows:
            if not self.only_read and (not trusted or active):
                raise Refused(
                    f"{NAME} belongs to {owner} or has triggers, rules or row security: what it says could be somebody "
                    "else's. Take it over (ALTER TABLE … OWNER TO) and drop them."
                )
        return bool(rows)

    def create(self) -> str:
        """SQL that makes the table."""
        return _DDL

    def current(self) -> Current | None:
        """What the database has of the module; None when it was never installed."""
        if not self.exists():
            return None
        rows = self.session.execute(
            "select release, label, hash, to_char(at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS'), "
            "case when not exists "
            f"(select from {NAME} p where p.module = l.module and p.action = 'post' and p.id > l.id) "
            "then detail -> 'post' end "
            f"from {NAME} l where module = %s and action in ('install', 'upgrade') order by id desc limit 1",
            [self.module],
        )
        if not rows:
            return None
        number, label, digest, at, post = rows[0]
        return Current(number, label, digest, at, tuple(post or ()))

    def others(self) -> list[tuple[str, str]]:
        """(schema, module) of the managed schemas that another module has."""
        if not self.exists():
            return []
        rows = self.session.execute(
            f"select distinct s, module from {NAME}, unnest(schemas) s where module <> %s and s = any(%s) "
            "order by 1, 2",
            [self.module, list(self.schemas)],
        )
        return [(row[0], row[1]) for row in rows]

    def append(self, action: str, release: Release, before: Current | None, detail: Mapping[str, Any]) -> str:
        """SQL: what was done."""
        return self.session.literal(
            f"insert into {NAME} (run_id, action, module, schemas, from_release, release, label, hash, detail) "
            "values (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                self.run_id,
                action,
                self.module,
                list(self.schemas),
                before.number if before else None,
                release.number,
                release.label,
                release.hash,
                json.dumps(detail),
            ],
        )


@dataclass(frozen=True, slots=True)
class PostJournal:
    """The entries of the statements that a release runs after its COMMIT, for postgres.runner."""

    log: Log
    release: Release

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.log.module} {self.release.label}, after its COMMIT"

    def steps(self) -> dict[int, Step]:
        """The last entry of each statement, numbered from 1."""
        rows = self.log.session.execute(
            "select (detail ->> 'statement')::int, detail ->> 'state', detail ->> 'md5', detail ->> 'before' "
            f"from {NAME} where module = %s and action = 'statement' and release = %s order by id",
            [self.log.module, self.release.number],
        )
        return {number: Step(state, md5, before) for number, state, md5, before in rows if state != "finished"}

    def note(self, number: int, step: Step) -> str:
        """SQL that appends an entry."""
        detail = {"statement": number, "state": step.state, "md5": step.md5, "before": step.before}
        return self.log.append("statement", self.release, None, detail)
