"""What transactional() says of a statement is what PostgreSQL does: refuse it inside a transaction block, or not."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

import psycopg2
import psycopg2.errors
import psycopg2.extensions as pg
import pytest

from dbt_cicd_toolkit.postgres.script import split
from dbt_cicd_toolkit.postgres.statements import action, forbidden, reason_to_run_singly, transactional
from support.databases import Databases

OBJECTS = """
create table t (id int primary key, e int); create index i on t (e); cluster t using i;
create table p (id int) partition by range (id); create table p1 partition of p for values from (1) to (2);
create materialized view m as select 1 as a; create unique index on m (a);
create type mood as enum ('sad'); create table moods (m mood);
create procedure commits() language plpgsql as $$begin commit; end$$;
"""
REFUSED = [
    "create index concurrently j on t (e)",
    "create unique index concurrently if not exists j on t (id)",
    "drop index concurrently i",
    "drop index concurrently if exists i",
    "reindex table concurrently t",
    "reindex (concurrently) index i",
    "reindex schema public",
    "reindex database",
    "reindex (verbose) system",
    "reindex database concurrently",
    "vacuum",
    "vacuum (analyze) t",
    "vacuum full t",
    "cluster",
    "cluster verbose",
    "alter table p detach partition p1 concurrently",
    "alter system set log_min_messages = 'error'",
    "alter system reset all",
    "create database statements_d",
    "drop database if exists statements_d",
    "alter database postgres set tablespace pg_default",
    "create tablespace statements_t location '/nowhere'",
    "drop tablespace if exists statements_t",
    "create subscription s connection 'dbname=nowhere' publication p",
    "create subscription s connection 'dbname=nowhere' publication p with (enabled = false)",
    "discard all",
    "prepare transaction 'x'",
    "commit prepared 'x'",
    "rollback prepared 'x'",
]
TAKEN = [
    "create index j on t (e)",
    "drop index i",
    "reindex table t",
    "reindex (concurrently false) index i",
    "analyze",
    "cluster t",
    "cluster t using i",
    "alter table p detach partition p1",
    "refresh materialized view concurrently m",
    "alter type mood add value 'glad'",
    "create subscription s connection 'dbname=nowhere' publication p with (connect = false)",
    "create role statements_r",
    "alter database postgres set log_min_messages = 'error'",
    "comment on database postgres is 'x'",
    "truncate t",
    "lock table t",
    "checkpoint",
    "discard plans",
    "savepoint x",
]


@pytest.fixture(scope="module")
def database(databases: Databases) -> str:
    name = databases.make()
    databases.execute(name, OBJECTS)
    return name


@pytest.fixture
def connection(databases: Databases, database: str) -> Generator[pg.connection]:
    """In a transaction that is rolled back."""
    with contextlib.closing(databases.connect(database)) as connection:
        connection.autocommit = False
        yield connection
        connection.rollback()


@pytest.mark.parametrize("statement", [*REFUSED, *TAKEN])
def test_the_server_agrees(connection: pg.connection, statement: str) -> None:
    # What ends the transaction by itself does not raise this error: COMMIT PREPARED does, PREPARE TRANSACTION cannot.
    alone = not transactional(action(statement)) or forbidden(action(statement)) is not None
    assert alone is (statement in REFUSED)
    with connection.cursor() as cursor:
        cursor.execute("select 1")
        if alone and statement != "prepare transaction 'x'":
            with pytest.raises(psycopg2.errors.ActiveSqlTransaction):
                cursor.execute(statement)
        elif not alone:
            cursor.execute(statement)


CREATE = "create subscription s connection 'dbname=nowhere' publication p, p2 with (connect = false)"
SUBSCRIPTIONS = {
    "alter subscription s refresh publication": True,
    "alter subscription s set publication q": True,
    "alter subscription s set publication q with (refresh = false)": False,
    "alter subscription s add publication q with (refresh)": True,
    "alter subscription s drop publication p with (refresh = off)": False,
    "alter subscription s set (failover = true)": True,
    "alter subscription s set (binary = true)": False,
    "alter subscription s disable": False,
    "drop subscription s": True,
}


@pytest.mark.parametrize("statement", SUBSCRIPTIONS)
def test_subscriptions(databases: Databases, connection: pg.connection, statement: str) -> None:
    """Made without a publisher, and enabled in the catalog only, so that the server gets as far as this question."""
    assert transactional(action(statement)) is not SUBSCRIPTIONS[statement]
    if "failover" in statement and databases.major < 17:
        return
    with connection.cursor() as cursor:
        cursor.execute(CREATE)
        cursor.execute("update pg_catalog.pg_subscription set subenabled = %s", ["set (failover" not in statement])
        if SUBSCRIPTIONS[statement]:
            with pytest.raises(psycopg2.errors.ActiveSqlTransaction):
                cursor.execute(statement)
        else:
            cursor.execute(statement)


LABELS = {
    "used": ("alter type mood add value 'new'; insert into moods values ('new')", True),
    "used in a body": ("alter type mood add value 'new'; do $$begin insert into moods values ('new'); end$$", True),
    "a neighbour": ("alter type mood add value 'new'; alter type mood add value 'newer' after 'new'", False),
    "a type made here": (
        "create type kind as enum ('old'); alter type kind add value 'new'; select 'new'::kind",
        False,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "singly"), LABELS.values(), ids=LABELS)
def test_labels(connection: pg.connection, text: str, singly: bool) -> None:
    script = split(text, "x")
    singly |= "create type" in text and connection.server_version < 170000
    assert (reason_to_run_singly(script, connection.server_version) is not None) is singly
    assert reason_to_run_singly(script) is not None or not singly
    with connection.cursor() as cursor:
        for statement in script.statements[:-1]:
            cursor.execute(statement.text)
        if singly:
            with pytest.raises(psycopg2.errors.UnsafeNewEnumValueUsage):
                cursor.execute(script.statements[-1].text)
        else:
            cursor.execute(script.statements[-1].text)


def test_procedures_that_commit(connection: pg.connection) -> None:
    with connection.cursor() as cursor, pytest.raises(psycopg2.errors.InvalidTransactionTermination):
        cursor.execute("call commits()")
    connection.rollback()
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("call commits()")
    asked = split("-- dbt-cicd: no-transaction\ncall commits()", "x")
    assert reason_to_run_singly(asked)
    assert not transactional(action(asked.statements[0].text), no_transaction=True)
