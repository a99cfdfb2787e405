"""Files that cannot run in one transaction: statement by statement, with a journal, and never a guess."""

from __future__ import annotations

import signal
from collections.abc import Generator

import pytest

from support.database import Database, ended
from support.forge import Wire
from support.launcher import Launcher


@pytest.fixture(scope="module")
def launcher() -> Generator[Launcher]:
    with Launcher() as launcher:
        yield launcher


@pytest.fixture
def big(db: Database) -> Database:
    """A database with a table of some rows."""
    db.migration(
        "1.0.0__Add_a", "create table a (id int, v int); insert into a select i, i % 7 from generate_series(1, 900) i;"
    )
    db.done("migrate")
    return db


def indexes(db: Database) -> dict[str, bool]:
    """Validity of the indexes of table a."""
    return dict(
        db.sql(
            "select c.relname, i.indisvalid from pg_index i join pg_class c on c.oid = indexrelid "
            "where indrelid = 'a'::regclass"
        )
    )


NEEDS_NO_TELLING = [
    "create index concurrently a_id on a (id);",
    "create unique index concurrently if not exists a_id on only a using btree (id) where v = 1;",
    "vacuum a;",
    "vacuum (analyze) a;",
    "reindex table concurrently a;",
    "alter system set work_mem = '5MB';\nalter system reset work_mem;",
    "/* a comment */ CREATE /* another */ INDEX\nCONCURRENTLY a_id ON a (id);",
]


@pytest.mark.parametrize("statement", NEEDS_NO_TELLING)
def test_it_is_recognised_without_being_told(big: Database, statement: str) -> None:
    big.migration("1.1.0__Outside_it", f"insert into a values (0, 0);\n{statement}\ncreate table after_it (id int);")
    big.done("migrate")
    assert big.tables() == ["a", "after_it"]
    assert big.sql("select count(*) from a where id = 0") == [(1,)]
    assert all(indexes(big).values())
    assert [version for _, version, _ in big.history()] == ["1.0.0", "1.1.0"]


def test_an_enum_value_may_be_used_at_once(db: Database) -> None:
    db.migration("1.0.0__Add_type", "create type mood as enum ('sad'); create table a (m mood);")
    db.migration("1.1.0__Add_value", "alter type mood add value 'happy';\ninsert into a values ('happy');")
    db.migration("1.2.0__New_type", "create type m2 as enum ('x'); alter type m2 add value 'y'; select 'y'::m2;")
    db.done("migrate")
    assert db.sql("select m::text from a") == [("happy",)]


def test_a_partition_is_detached_concurrently(db: Database) -> None:
    db.migration(
        "1.0.0__Add_p",
        "create table p (id int) partition by range (id);\ncreate table p1 partition of p for values from (1) to (9);",
    )
    db.migration("1.1.0__Detach_it", "alter table p detach partition p1 concurrently;")
    db.done("migrate")
    assert db.sql("select count(*) from pg_inherits where inhrelid = 'p1'::regclass") == [(0,)]


def test_a_database_is_created(db: Database) -> None:
    db.migration("1.0.0__Add_database", f"create database {db.name}_more;", f"drop database {db.name}_more;")
    db.done("migrate")
    assert db.sql("select 1 from pg_database where datname = %s", [f"{db.name}_more"]) == [(1,)]
    db.done("rollback", "--allow-data-loss")


def test_a_failed_statement_is_taken_up_again(big: Database) -> None:
    path = big.migration(
        "1.1.0__Add_unique",
        "create table once (id int);\ncreate unique index concurrently a_v on a (v);\ncreate table last_one (id int);",
    )
    result = big.db("migrate")
    assert result.code == 1
    assert "V1.1.0__Add_unique.sql:2:1: could not create unique index" in result.err
    assert big.tables() == ["a", "once"]
    assert indexes(big) == {"a_v": False}
    assert "Begun and not finished" in big.done("status").out
    assert "Invalid indexes: 1\n   public.a_v" in big.done("status").out
    big.table("1.2.0", "b")
    big.sql("delete from a where id > 7")
    result = big.done("migrate")
    assert "drop index concurrently" in result.err
    assert indexes(big) == {"a_v": True}
    assert big.tables() == ["a", "b", "last_one", "once"]
    assert path.exists()


def test_what_was_run_may_not_be_edited(big: Database) -> None:
    path = big.migration("1.1.0__Two_parts", "create table once (id int);\nvacuum a;\nselect 1/0;")
    assert big.db("migrate").code == 1
    path.write_text("create table twice (id int);\nvacuum a;\nselect 1;")
    result = big.db("migrate")
    assert result.code == 3
    assert "statement 1 was run earlier and has been edited" in result.err
    path.write_text("create table once (id int);\nvacuum a;\nselect 1;")
    big.done("migrate")


def test_an_unfinished_file_must_be_finished_first(big: Database) -> None:
    path = big.migration("1.1.0__Two_parts", "create table once (id int);\nvacuum a;\nselect 1/0;")
    assert big.db("migrate").code == 1
    path.unlink()
    big.table("1.2.0", "b")
    result = big.db("migrate")
    assert result.code == 1
    assert "repair --abandon V1.1.0__Two_parts.sql" in result.err
    big.done("repair", "--abandon", "V1.1.0__Two_parts.sql")
    big.done("migrate")
    assert big.tables() == ["a", "b", "once"]


def test_an_invalid_index_of_somebody_else_is_left_alone(big: Database) -> None:
    with big.connection() as connection, pytest.raises(Exception, match="could not create unique index"):
        connection.cursor().execute("create unique index concurrently a_v on a (v)")
    big.done("repair", "--drift")
    big.migration("1.1.0__Add_index", "create index concurrently if not exists a_v on a (v);")
    result = big.db("migrate")
    assert result.code == 1
    assert "is invalid, and it was not this file that left it" in result.err
    assert indexes(big) == {"a_v": False}


def test_settings_hold_for_the_statements_behind_them_also_after_a_failure(db: Database) -> None:
    db.migration(
        "1.0.0__Add_schema",
        "create schema app; create table app.a (id int, v int); insert into app.a values (1, 1), (2, 1);",
    )
    path = db.migration(
        "1.1.0__Index_it", "set search_path = app; vacuum a; create unique index concurrently i on a (v);"
    )
    db.done("migrate", "--to", "1.0.0")
    assert db.db("migrate").code == 1
    db.sql("delete from app.a where id = 2")
    db.done("migrate")
    assert db.sql("select indisvalid from pg_index where indexrelid = 'app.i'::regclass") == [(True,)]
    assert path.exists()


@pytest.mark.parametrize("moment", ["unsent", "sent", "answered"])
def test_killed_at_every_message(big: Database, launcher: Launcher, moment: str) -> None:
    big.migration(
        "1.1.0__Index_it",
        "create table once (id int); create index concurrently a_id on a (id); drop index concurrently if exists a_v;"
        "insert into once values (1);",
    )
    argv = ["db", "migrate", "--dir", str(big.path / "database")]
    big.done("migrate")
    again = (
        "drop table once; drop index a_id; create index if not exists a_v on a (v);"
        "delete from dbt_cicd.dbt_cicd_migrations where version = '1.1.0';"
        "delete from dbt_cicd.dbt_cicd_migration_log"
    )
    big.sql(again)
    with Wire("127.0.0.1", big.server.port) as wire:
        big.port = wire.port
        launcher.ready(argv, big.environment, big.path / "output.txt")
        wire.expect()
        assert launcher.go() == 0
        total = len(wire.statements)
        assert total > 25
        for number in range(total):
            big.sql(again)
            wire.expect(launcher.ready(argv, big.environment, big.path / "output.txt"), number, moment)
            assert launcher.go() == -signal.SIGKILL, number
            wire.expect()
            big.done("migrate")
            assert indexes(big) == {"a_id": True}, number
            assert big.sql("select count(*) from once") == [(1,)], number


def test_what_the_catalog_does_not_tell_is_asked(big: Database, launcher: Launcher) -> None:
    big.migration(
        "1.1.0__Call_it",
        "-- dbt-cicd: no-transaction\ncreate procedure p() language plpgsql as $$ begin insert into a values (0); "
        "commit; perform pg_sleep(3600); end $$;\ncall p();",
    )
    process = big.start("migrate")
    big.wait_for("select 1 from a where id = 0", process)
    process.kill()
    ended(process)
    result = big.db("migrate")
    assert result.code == 1
    assert "repair --statement V1.1.0__Call_it.sql:2=done" in result.err
    assert big.db("repair", "--statement", "V1.1.0__Call_it.sql:1=done").code == 1
    assert big.db("repair", "--statement", "nonsense").code == 2
    big.done("repair", "--statement", "V1.1.0__Call_it.sql:2=done")
    big.done("migrate")
    assert big.sql("select count(*) from a where id = 0") == [(1,)]


def test_three_runners_wait_while_an_index_is_built(big: Database) -> None:
    """CREATE INDEX CONCURRENTLY waits for every older snapshot: none of the waiting runs may hold one."""
    for number in range(1, 4):
        big.migration(f"1.{number}.0__Add_index", f"create index concurrently a_{number} on a (id, v);\nvacuum a;")
    results = [ended(process) for process in [big.start("migrate") for _ in range(4)]]
    assert [result.code for result in results] == [0] * 4, [result.err for result in results]
    assert indexes(big) == {"a_1": True, "a_2": True, "a_3": True}


def test_a_concurrent_index_waits_for_a_long_transaction_without_a_timeout(big: Database) -> None:
    big.config("lock_timeout: 50ms\n")
    big.migration("1.1.0__Add_index", "create index concurrently a_id on a (id);")
    with big.connection() as other:
        cursor = other.cursor()
        cursor.execute("begin; insert into a values (0)")
        process = big.start("migrate")
        big.wait_for(
            "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' "
            "and query like 'create index concurrently%'",
            process,
        )
        cursor.execute("commit")
    result = ended(process)
    assert (result.code, result.err) == (0, "")
