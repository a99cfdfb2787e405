"""A new, empty database to try things in, gone at the end: on a given server, an embedded one, or that of the target.

Several runs may have one at the same time, also on one embedded server, which the last one out stops. A killed run
leaves its server and its database behind; the next run uses and stops the one and drops the other.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Collection, Generator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extensions as pg

from dbt_cicd_toolkit.errors import Refused
from dbt_cicd_toolkit.postgres import embedded, scratch_server
from dbt_cicd_toolkit.postgres import settings as settings_module
from dbt_cicd_toolkit.postgres.embedded import EmbeddedServer
from dbt_cicd_toolkit.postgres.session import identifier
from dbt_cicd_toolkit.postgres.settings import Setting, Settings

_PREFIX = "dbt_cicd_scratch_"
_ADVICE = "pip install 'dbt_cicd_toolkit[embedded]', or name a server for trying things with --scratch-url"
# Databases whose maker is gone: it held this lock for as long as it lived. They are told apart by the database that
# the lock is in, because each database has advisory locks of its own.
_STALE = """select datname from pg_catalog.pg_database
where starts_with(datname, %s)
  and not exists (select from pg_catalog.pg_stat_activity a where a.datid = pg_database.oid)"""
_LOCK = "pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended(%s, 0))"
_UNLOCK = "select pg_catalog.pg_advisory_unlock(pg_catalog.hashtextextended(%s, 0))"
_TARGET = """select d.datcollate, d.datctype, j ->> 'datlocprovider', coalesce(j ->> 'datlocale', j ->> 'daticulocale'),
    array(select rolname::text from pg_catalog.pg_roles where rolname !~ '^pg_' order by 1),
    array(select unnest(s.setconfig) from pg_catalog.pg_db_role_setting s where s.setdatabase = d.oid and s.setrole = 0)
from pg_catalog.pg_database d cross join lateral pg_catalog.to_jsonb(d) j
where d.datname = pg_catalog.current_database()"""


@dataclass(frozen=True)
class Scratch:
    """A scratch database. ``embedded``: its server is one of our own, where cluster-wide statements do no harm.
    ``source`` says to people where it is."""

    settings: Settings
    embedded: bool
    source: str


@dataclass(frozen=True)
class _Target:
    """What a scratch database copies from the database it stands for."""

    collate: str | None = None
    ctype: str | None = None
    provider: str | None = None
    locale: str | None = None
    roles: Sequence[str] = ()
    configuration: Sequence[str] = ()


@contextmanager
def scratch(
    settings: Settings,
    *,
    url: str | None,
    local: Path,
    cluster_wide: bool,
    major: int,
    without_roles: Collection[str] = (),
    alike: bool = True,
) -> Generator[Scratch]:
    """Make a scratch database and drop it at the end: UTF-8, made of template0, with the target's locale where the
    server has it and with its settings of the database. An embedded server gets roles with the names of the target's.

    Args:
        settings: the target, which is only looked at, unless neither of the following is to be had.
        url: a server to make it on, as a URL with the database to connect to; its password is in PGPASSWORD or .pgpass.
        local: the folder of the embedded servers.
        cluster_wide: the files hold statements that change more than their database (roles, tablespaces, ALTER SYSTEM):
            only an embedded server, which is then a new one, is good enough. The text of a statement does not tell what
            it executes in turn (``do $$ … execute 'create role x' … $$``, a function): on a server that is shared, as
            that of ``url`` is, such a role stays after the scratch database.
        major: of the target.
        without_roles: roles that are not to be made, because the files make them.
        alike: whether the database takes after the target; else the target is not even looked at.
    Raises:
        InvalidInput: a malformed URL.
        Refused: cluster-wide statements without an embedded server; the server cannot be reached; no right to CREATE
            DATABASE there.
    """
    if cluster_wide and (url or major not in embedded.majors()):
        raise Refused(_why_not_cluster_wide(url, major))
    target = _look_at(settings) if alike else _Target()
    with ExitStack() as stack:
        server: EmbeddedServer | None = None
        if url:
            base = _of_url(url, settings)
            source = f"a new database on {_place(base)} (--scratch-url)"
        elif major in embedded.majors():
            server = stack.enter_context(
                scratch_server.private(local, major) if cluster_wide else scratch_server.shared(local, major)
            )
            base = settings_module.embedded(server, server.database, "the embedded scratch server")
            source = f"an embedded PostgreSQL {major} in {server.directory}"
        else:
            base = settings
            source = f"a new database on the target's own server, {_place(base)}"
        name = stack.enter_context(_database(base, target, server is not None))
        made = Scratch(base.on(name), server is not None, source)
        if server:
            with closing(_connect(made.settings)) as connection:
                create_roles(connection, [role for role in target.roles if role not in without_roles])
        yield made


def create_roles(connection: pg.connection, names: Collection[str]) -> None:
    """Create the roles that do not exist, without any rights, so that grants to them can be run.

    For embedded servers: elsewhere they would stay.
    """
    with connection.cursor() as cursor:
        for name in sorted(names):
            quoted = cursor.mogrify("%s", [f"create role {identifier(name)}"]).decode()
            cursor.execute(
                f"do $do$ begin execute {quoted};"
                " exception when duplicate_object or unique_violation then null; end $do$"
            )


def missing_extensions(connection: pg.connection, names: Collection[str]) -> list[str]:
    """Return those of the extensions that the server of ``connection`` cannot create, sorted."""
    with connection.cursor() as cursor:
        cursor.execute("select name::text from pg_catalog.pg_available_extensions")
        available = {name for (name,) in cursor.fetchall()}
    return sorted(set(names) - available)


def _why_not_cluster_wide(url: str | None, major: int) -> str:
    reason = "the files hold statements that change the whole server (roles, tablespaces, databases, ALTER SYSTEM): "
    if url:
        return reason + "they are tried on an embedded server only. Leave --scratch-url out."
    if major in embedded.BUNDLED:
        return reason + "they are tried on an embedded server only: pip install 'dbt_cicd_toolkit[embedded]'."
    versions = " and ".join(map(str, embedded.BUNDLED))
    return (
        reason + f"they are tried on an embedded server only, and there is none of PostgreSQL {major}, only {versions}."
    )


def _look_at(settings: Settings) -> _Target:
    """The facts of the target; a target that is not there has none."""
    try:
        with closing(_connected(settings)) as connection, connection.cursor() as cursor:
            cursor.execute(_TARGET)
            found = cursor.fetchone()
            return _Target(*found) if found else _Target()
    except psycopg2.OperationalError:
        return _Target()


def _of_url(url: str, target: Settings) -> Settings:
    """The settings of --scratch-url; the target's password only where it is the same user of the same server."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("DB_")}
    found = settings_module.resolve(
        {"url": url},
        directory=Path(os.devnull),  # .env is about the target
        config={},
        config_name="",
        defaults={"host": "localhost", "port": "5432", "dbname": "postgres", "user": "postgres"},
        environ=environ,
        url_source="--scratch-url",
    )
    same = all(_value(found, key) == _value(target, key) for key in ("host", "port", "user"))
    if same and "password" not in found.values and "password" in target.values:
        return Settings({**found.values, "password": target.values["password"]}, found.notes)
    return found


def _value(settings: Settings, keyword: str) -> str:
    return settings.values.get(keyword, Setting("", "")).value


def _place(settings: Settings) -> str:
    return f"{_value(settings, 'host')}:{_value(settings, 'port')}"


def _connect(settings: Settings) -> pg.connection:
    try:
        return _connected(settings)
    except psycopg2.OperationalError as error:
        raise settings_module.connection_error(settings, error) from error


def _connected(settings: Settings) -> pg.connection:
    arguments: dict[str, Any] = {"connect_timeout": "10"}
    arguments |= settings.arguments() | {
        "application_name": f"dbt-cicd scratch {os.getpid()}",
        "client_encoding": "UTF8",  # whatever ALTER DATABASE … SET says
    }
    connection: pg.connection = psycopg2.connect(**arguments)
    connection.autocommit = True
    return connection


@contextmanager
def _database(base: Settings, target: _Target, own_server: bool) -> Generator[str]:
    """A database of its own, dropped at the end and, when this process dies, by the next one."""
    scope = hashlib.sha256(_value(base, "dbname").encode()).hexdigest()[:6]
    name = f"{_PREFIX}{scope}_{secrets.token_hex(6)}"
    with closing(_connect(base)) as connection, connection.cursor() as cursor:
        cursor.execute("set statement_timeout = 0; set idle_session_timeout = 0; set lock_timeout = 0")
        _drop_stale(cursor, f"{_PREFIX}{scope}_")
        cursor.execute(f"select {_LOCK}", [name])
        # Every page through the log, the default, costs several times as much; it spares others the checkpoints.
        _create(cursor, name, target, base, "strategy file_copy" if own_server else "")
        try:
            _configure(base.on(name), name, target.configuration)
            yield name
        finally:
            # Gone or busy, the server is the next run's to clean.
            with suppress(psycopg2.Error):
                cursor.execute(f"drop database if exists {identifier(name)} with (force)")


def _drop_stale(cursor: pg.cursor, prefix: str) -> None:
    cursor.execute(_STALE, [prefix])
    for (name,) in cursor.fetchall():
        cursor.execute(f"select {_LOCK}", [name])
        if cursor.fetchone() != (True,):
            continue
        with suppress(psycopg2.Error):  # another user's, or another run was quicker
            cursor.execute(f"drop database if exists {identifier(name)}")
        cursor.execute(_UNLOCK, [name])


def _create(cursor: pg.cursor, name: str, target: _Target, base: Settings, strategy: str) -> None:
    error: psycopg2.Error | None = None
    for locale in (*_locales(cursor, target), "", "lc_collate 'C' lc_ctype 'C'"):
        try:
            options = f"template template0 encoding 'UTF8' {locale} {strategy}"
            cursor.execute(f"create database {identifier(name)} {options}")
            return
        except psycopg2.errors.InsufficientPrivilege as refused:
            user = _value(base, "user")
            raise Refused(
                f"{user} may not create a scratch database on {_place(base)}: {_ADVICE}, "
                f"or let a superuser run: alter role {identifier(user)} createdb."
            ) from refused
        except psycopg2.Error as failed:  # a locale that this server does not have
            error = failed
    raise Refused(f"no scratch database could be made on {_place(base)}: {str(error).strip()}. Try: {_ADVICE}.")


def _locales(cursor: pg.cursor, target: _Target) -> Generator[str]:
    """The target's locale as options of CREATE DATABASE."""
    if not target.collate:
        return
    options = "lc_collate %s lc_ctype %s"
    values = [target.collate, target.ctype]
    if target.provider in ("i", "b"):
        provider = "icu" if target.provider == "i" else "builtin"
        options += f" locale_provider {provider} {provider}_locale %s"
        values.append(target.locale)
    yield cursor.mogrify(options, values).decode()


def _configure(settings: Settings, name: str, configuration: Sequence[str]) -> None:
    """Give the database what ALTER DATABASE … SET gave the target; what this server does not know is left out."""
    if not configuration:
        return
    with closing(_connect(settings)) as connection, connection.cursor() as cursor:
        for key, _, value in (entry.partition("=") for entry in configuration):
            with suppress(psycopg2.Error):
                cursor.execute("select pg_catalog.set_config(%s, %s, false)", [key, value])
                cursor.execute(f"alter database {identifier(name)} set {key} from current")
