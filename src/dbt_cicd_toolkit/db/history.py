"""The history of a database: which migrations it has, and the log of all that was done to it.

Two tables, made under the lock. The history has Flyway's columns (its createMetaDataTable.sql for PostgreSQL)
 and one row per migration that the database has now. The log is ours and only appended to: what was
rolled back, repaired or failed, the journal of statements that ran outside a transaction, and the catalog as the last
run left it (of which only the newest is kept).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

from dbt_cicd_toolkit.db.files import Migration, Version
from dbt_cicd_toolkit.errors import InvalidInput, Refused
from dbt_cicd_toolkit.postgres.journal import Step
from dbt_cicd_toolkit.postgres.session import Session, identifier

LOG = "dbt_cicd_migration_log"
_DDL = """create schema if not exists {schema};
create table if not exists {table} (
    "installed_rank" integer not null,
    "version" varchar(50),
    "description" varchar(200) not null,
    "type" varchar(20) not null,
    "script" varchar(1000) not null,
    "checksum" integer,
    "installed_by" varchar(100) not null,
    "installed_on" timestamp not null default now(),
    "execution_time" integer not null,
    "success" boolean not null,
    constraint {primary_key} primary key ("installed_rank")
);
create index if not exists {index} on {table} ("success");
create table if not exists {log} (
    id bigint generated always as identity primary key,
    run_id uuid not null,
    at timestamp with time zone not null default clock_timestamp(),
    installed_by text not null,
    action text not null,
    version text,
    script text,
    checksum integer,
    statement integer,
    state text,
    git_commit text,
    detail jsonb
);
create index if not exists {log_index} on {log} (script) where action = 'statement';
comment on table {table} is 'Migrations that this database has (dbt-cicd db); the columns are those of Flyway.';
comment on table {log} is 'What dbt-cicd db did to this database; only appended to.'"""
_TABLES = """select t.given, r.rolname, r.rolsuper or r.rolname in (current_user, session_user) or r.oid = d.datdba,
c.relhastriggers or c.relhasrules, c.relrowsecurity
from (values (%s::text), (%s::text)) as t(given) join pg_class c on c.oid = to_regclass(t.given)
join pg_roles r on r.oid = c.relowner join pg_database d on d.datname = current_database()"""
_COLUMNS = "installed_rank, version, description, type, script, checksum, installed_by, installed_on, execution_time"


def ddl(schema: str, table: str) -> str:
    """The SQL that makes both tables."""
    return _DDL.format(
        schema=identifier(schema),
        table=f"{identifier(schema)}.{identifier(table)}",
        primary_key=identifier(f"{table}_pk"),
        index=identifier(f"{table}_s_idx"),
        log=f"{identifier(schema)}.{LOG}",
        log_index=identifier(f"{LOG}_script_idx"),
    )


class Applied(NamedTuple):
    """A row of the history. ``installed_on`` is UTC, ``execution_time`` milliseconds; a repeatable has no version."""

    rank: int
    version: Version | None
    description: str
    type: str
    script: str
    checksum: int | None
    installed_by: str
    installed_on: datetime
    execution_time: int

    @property
    def label(self) -> str:
        """What people call it."""
        return str(self.version) if self.version else self.script


class History:
    """Both tables of one database, read and written through a session."""

    def __init__(self, session: Session, schema: str, table: str, commit: Callable[[], str | None]) -> None:
        if "%" in schema + table:
            raise InvalidInput(f"history_schema '{schema}', history_table '{table}': a '%' is not allowed.")
        self.session = session
        self.schema = schema
        self.table = table
        self.name = f"{identifier(schema)}.{identifier(table)}"
        self.log_name = f"{identifier(schema)}.{LOG}"
        self._commit = commit
        self._history = self._log = False

    @cached_property
    def run_id(self) -> str:
        """A UUID of this run."""
        import uuid

        return str(uuid.uuid4())

    @cached_property
    def commit(self) -> str | None:
        """The commit the files are at."""
        return self._commit()

    @cached_property
    def by(self) -> str:
        """Who does it, as recorded: the database user."""
        user: str = self.session.execute("select session_user")[0][0]
        return user

    def exists(self, *, again: bool = False) -> bool:
        """Are the tables there? A history of Flyway's counts as ours from the first run on. Raises Refused.

        The answer that they are is kept; ``again``: ask the server all the same.
        """
        if self._history and self._log and not again:
            return True
        rows = self.session.execute(_TABLES, [self.name, self.log_name])
        if any(guarded for *_, guarded in rows):
            raise Refused(f"{rows[0][0]} or {rows[-1][0]} has row security: drop it, it hides what they hold.")
        self._tables = rows
        there = {row[0] for row in rows}
        self._history, self._log = self.name in there, self.log_name in there
        return self._history and self._log

    def unused(self) -> bool:
        """Are both tables without a row, or missing?"""
        if not self.exists():
            return not self._history or not self.session.execute(f"select 1 from {self.name} limit 1")
        return not self.session.execute(f"select 1 from {self.name} union all select 1 from {self.log_name} limit 1")

    def create(self) -> None:
        """Make the tables where they are missing. Call it under the lock.

        Raises Refused for tables that would run somebody else's code with our rights when they are written.
        """
        there = self.exists(again=True)
        self._refuse_strange()
        if not there:
            self.session.begin()
            self.session.be_ourselves()
            self.session.commit(ddl(self.schema, self.table))

    def missing(self) -> str:
        """SQL: make the tables where they are missing, in the transaction of something else. Raises as create()."""
        there = self.exists(again=True)
        self._refuse_strange()
        return "select" if there else ddl(self.schema, self.table)

    def _refuse_strange(self) -> None:
        for name, owner, trusted, active, _ in self._tables:
            if not trusted:
                raise Refused(
                    f"{name} belongs to {owner}, who is neither you nor the owner of the database nor a superuser, and "
                    f"could run code with your rights: run as {owner} (--role), or take the table over (ALTER TABLE … "
                    "OWNER TO)."
                )
            if active:
                raise Refused(f"{name} has triggers or rules: drop them, they could change what is written.")

    def read(self) -> list[Applied]:
        """The migrations that the database has, in the order they were applied; [] without the tables."""
        every = self.rows()
        forgotten = {row.version: row.rank for row in every if row.type == "DELETE"}
        return [row for row in every if row.type != "DELETE" and row.rank > forgotten.get(row.version, 0)]

    def rows(self) -> list[Applied]:
        """Every row of the history, those of type DELETE and those that they let it forget too."""
        self.exists()
        if not self._history:
            return []
        rows = self.session.execute(f"select {_COLUMNS}, success from {self.name} order by installed_rank")
        failed = [row for row in rows if not row[-1]]
        if failed:
            raise Refused(
                f"the history names {failed[0][4]} as failed (written by Flyway): look at what it left behind, mend "
                f"the database, then delete that row of {self.name}."
            )
        return [Applied(rank, Version.parse(text) if text else None, *others) for rank, text, *others, _ in rows]

    def insert(self, rank: int, migration: Migration, milliseconds: int) -> str:
        """SQL: the row of a migration that was applied."""
        sql = (
            f"insert into {self.name} ({_COLUMNS}, success) "
            "values (%s, %s, %s, 'SQL', %s, %s, %s, clock_timestamp() at time zone 'UTC', %s, true); "
            # A rule or a trigger could have made nothing of it: then this divides by zero.
            f"select 1 / count(*) from {self.name} where installed_rank = %s"
        )
        version = str(migration.version) if migration.version else None
        values = [rank, version, migration.description[:200], migration.script, migration.checksum]
        return self.session.literal(sql, [*values, self.by[:100], milliseconds, rank])

    def insert_marker(self, rank: int, version: Version, description: str, type: str, script: str) -> str:
        """SQL: a row of type BASELINE or DELETE."""
        sql = (
            f"insert into {self.name} ({_COLUMNS}, success) "
            "values (%s, %s, %s, %s, %s, null, %s, clock_timestamp() at time zone 'UTC', 0, true)"
        )
        return self.session.literal(sql, [rank, str(version), description, type, script, self.by[:100]])

    def remove(self, ranks: Sequence[int]) -> str:
        """SQL: delete rows of migrations that the database no longer has."""
        return self.session.literal(f"delete from {self.name} where installed_rank = any(%s)", [list(ranks)])

    def next_rank(self) -> int:
        """The rank of the next row."""
        rank: int = self.session.execute(f"select coalesce(max(installed_rank), 0) + 1 from {self.name}")[0][0]
        return rank

    def has(self, rank: int, script: str) -> bool:
        """Was this row committed?"""
        sql = f"select 1 from {self.name} where installed_rank = %s and script = %s and success"
        return bool(self.session.execute(sql, [rank, script]))

    def log(self, action: str, *, detail: Mapping[str, Any] | None = None, **values: Any) -> str:
        """SQL: append to the log. ``values``: version, script, checksum, statement, state."""
        row = {"action": action, "run_id": self.run_id, "installed_by": self.by, "git_commit": self.commit, **values}
        if detail is not None:
            row["detail"] = json.dumps(detail, default=str)
        marks = ", ".join(["%s"] * len(row))
        return self.session.literal(
            f"insert into {self.log_name} ({', '.join(row)}) values ({marks})", list(row.values())
        )

    def events(self) -> list[dict[str, Any]]:
        """The log without the journal and the catalog, oldest first."""
        self.exists()
        if not self._log:
            return []
        columns = "id, run_id, at, installed_by, action, version, script, git_commit, detail"
        rows = self.session.execute(
            "select id, run_id::text, at at time zone 'UTC', installed_by, action, version, script, git_commit, detail "
            f"from {self.log_name} where action not in ('statement', 'catalog') order by id"
        )
        return [dict(zip(columns.split(", "), row, strict=True)) for row in rows]

    def failed(self) -> list[str]:
        """Scripts whose last try failed."""
        self.exists()
        if not self._log:
            return []
        rows = self.session.execute(
            f"select distinct script from {self.log_name} l where action = 'failed' and not exists "
            f"(select from {self.name} h where h.script = l.script and h.installed_on >= l.at at time zone 'UTC') "
            "order by 1"
        )
        return [row[0] for row in rows]

    def unfinished(self) -> list[str]:
        """Scripts that ran statement by statement and were begun and not finished."""
        self.exists()
        if not self._log:
            return []
        rows = self.session.execute(
            f"select script from {self.log_name} where action = 'statement' group by script "
            "having (array_agg(state order by id desc))[1] <> 'finished' order by 1"
        )
        return [row[0] for row in rows]

    def journal(self, script: str) -> ScriptJournal:
        """The journal of one script."""
        return ScriptJournal(self, script)

    def recorded_catalog(self) -> tuple[str, dict[str, str]] | None:
        """The state of the history that a run left, and the catalog's fingerprints then; None when there are none."""
        rows = self.session.execute(
            f"select detail ->> 'history', detail -> 'objects' from {self.log_name} where action = 'catalog' "
            "order by id desc limit 1"
        )
        return (rows[0][0], rows[0][1]) if rows else None

    def record_catalog(self, objects: Mapping[str, str]) -> str:
        """SQL: remember these fingerprints, with the history as it is now, instead of the earlier ones."""
        forget = f"delete from {self.log_name} where action = 'catalog'"
        return f"{forget}; {self.log('catalog', detail={'history': self.state(), 'objects': objects})}"

    def state(self) -> str:
        """A text that differs after every migration that is applied or rolled back."""
        rows = self.session.execute(
            f"select installed_rank || ' ' || extract(epoch from installed_on) from {self.name} "
            "order by installed_rank desc limit 1"
        )
        return rows[0][0] if rows else ""


class ScriptJournal(NamedTuple):
    """The entries of one script in the log, for postgres.runner."""

    history: History
    name: str

    def steps(self) -> dict[int, Step]:
        """The last entry of each statement, numbered from 1, when the script was begun and not finished."""
        log = self.history.log_name
        sql = (
            f"select statement, state, detail ->> 'md5', detail ->> 'before' from {log} where action = 'statement' "
            f"and script = %s and id > coalesce((select max(id) from {log} where action = 'statement' and script = %s "
            "and state = 'finished'), 0) order by id"
        )
        rows = self.history.session.execute(sql, [self.name] * 2)
        return {number: Step(state, md5, before) for number, state, md5, before in rows}

    def note(self, number: int, step: Step) -> str:
        """SQL that appends an entry."""
        detail = {"md5": step.md5, "before": step.before}
        return self.history.log("statement", script=self.name, statement=number, state=step.state, detail=detail)
