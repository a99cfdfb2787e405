"""Tables of two sources side by side: before in one database, after in another, each in a transaction."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any, NamedTuple

import psycopg2.extensions as pg

from dbt_cicd_toolkit.postgres import catalog
from dbt_cicd_toolkit.postgres.catalog import Selection
from dbt_cicd_toolkit.schema import tables
from dbt_cicd_toolkit.schema.tables import Table
from support.databases import Databases

COMMON = """
create type mood as enum ('sad', 'happy'); create type pair as (x integer, y text);
create domain code as text check (value <> ''); create domain given as text not null;
create domain filled as text default 'd' not null;
create function twice(x integer) returns integer language sql immutable return x * 2;
"""
T = "create table t (a integer, b text); insert into t values (1, 'x'), (2, null);"
PARENT = "create table p (id integer primary key, k text unique); insert into p values (1, 'a'), (2, 'b');"
PARTED = "create table t (a integer not null, b text) partition by range (a);"
PARTS = (
    "create table t1 partition of t for values from (0) to (10);"
    "create table t2 partition of t for values from (10) to (20);"
)
BASE = "create table p (a integer, b text); create table c (d date) inherits (p);"
_CASE = re.compile(r"^-- case: (.+?)(?: \[(\d+)\])?\n(.*?)^-- becomes\n(.*?)(?=^-- case|\Z)", re.MULTILINE | re.DOTALL)


class Case(NamedTuple):
    """Two sources of the same tables, and the first server that knows both."""

    before: str
    after: str
    since: int = 14


def columns(before: str, after: str, since: int = 14) -> Case:
    """A table t with other columns."""
    return Case(f"create table t ({before})", f"create table t ({after})", since)


def cases() -> dict[str, Case]:
    """Those of table_changes.sql."""
    text = Path(__file__).with_name("table_changes.sql").read_text(encoding="utf-8")
    return {name: Case(before, after, int(since or 14)) for name, since, before, after in _CASE.findall(text)}


@contextlib.contextmanager
def installed(databases: Databases, name: str, sql: str) -> Generator[pg.connection]:
    """A connection in a transaction that has made the tables in a schema s; all is gone at the end."""
    with contextlib.closing(databases.connect(name)) as connection, connection.cursor() as cursor:
        cursor.execute(f"begin; create schema s; set local search_path = s; {COMMON}")
        cursor.execute(sql)
        cursor.execute("set constraints all immediate; set local search_path = public")
        yield connection


def read(connection: pg.connection) -> dict[str, Table]:
    return tables.read(connection, ["s"])


def difference(one: pg.connection, two: pg.connection) -> str:
    """What the catalogs of two databases do not have in common; '' when they are equal."""
    described = [catalog.describe(each, Selection(schemas=("s",))) for each in (one, two)]
    return catalog.diff_text(*described, "changed", "anew")


def query(connection: pg.connection, sql: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall()) if cursor.description else []
