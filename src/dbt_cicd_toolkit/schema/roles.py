"""Roles belong to no database, so no source makes them: on a server of the project's own they are made when they are
named, elsewhere a message says how."""

from __future__ import annotations

import re

import psycopg2
import psycopg2.extensions as pg

from dbt_cicd_toolkit.postgres.session import identifier

_NONE = re.compile(r'role "(.*)" does not exist', re.DOTALL)
# Those with rights or policies in this database. The server notes none of its own: pg_monitor and the like.
_NAMED = """select distinct r.rolname::text
from pg_catalog.pg_shdepend d join pg_catalog.pg_roles r on r.oid = d.refobjid
where d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass and d.deptype in ('a', 'r')
    and d.dbid = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())
    and r.rolname <> session_user"""


def missing(error: BaseException) -> str | None:
    """The role that a statement names and that is not there; None when it failed for another reason."""
    if not isinstance(error, psycopg2.errors.UndefinedObject):
        return None
    found = _NONE.fullmatch(error.diag.message_primary or "")
    return found[1] if found else None


def advice(error: BaseException) -> str:
    """What to do about a missing(); else nothing."""
    role = missing(error)
    if role is None:
        return ""
    return (
        f"\n  Roles belong to the server, and no source makes them. Let somebody who may run: create role "
        f"{identifier(role)}; or correct the name in the sources."
    )


def run(cursor: pg.cursor, sql: str, make: bool) -> list[str]:
    """Run a statement; with ``make``, on a server of our own, make the roles that it misses. Returns those."""
    if not make:
        cursor.execute(sql)
        return []
    made: list[str] = []
    with cursor.connection.cursor() as aside:  # what the statement returns stays readable
        undo = _Undo(aside)
        while True:
            try:
                cursor.execute(sql)
            except psycopg2.errors.UndefinedObject as error:
                role = missing(error)
                if role is None or role in made:
                    raise
                undo()
                made.append(role)
                try:
                    aside.execute(f"create role {identifier(role)}")
                except (psycopg2.errors.DuplicateObject, psycopg2.errors.UniqueViolation):  # another run was first
                    undo()
                undo.renew()
            else:
                undo.forget()
                return made


class _Undo:
    """Takes back what failed, inside of a transaction and outside."""

    def __init__(self, cursor: pg.cursor) -> None:
        self._cursor = cursor
        self._within = cursor.connection.info.transaction_status == pg.TRANSACTION_STATUS_INTRANS
        self._do("savepoint")

    def __call__(self) -> None:
        self._do("rollback to savepoint")

    def renew(self) -> None:
        """What was done until now stays."""
        self._do("release savepoint")
        self._do("savepoint")

    def forget(self) -> None:
        """Nothing failed."""
        self._do("release savepoint")

    def _do(self, command: str) -> None:
        if self._within:
            self._cursor.execute(f"{command} dbt_cicd_role")


def named(connection: pg.connection) -> set[str]:
    """The roles that have rights or policies in a database, but for the one that is connected."""
    with connection.cursor() as cursor:
        cursor.execute(_NAMED)
        return {name for (name,) in cursor.fetchall()}
