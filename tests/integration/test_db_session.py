"""What a session refuses, and what it waits for."""

from __future__ import annotations

from pathlib import Path

import pytest

from dbt_cicd_toolkit.postgres import embedded
from support.database import Database, database, ended
from support.pooler import Pooler


def test_a_pooler_in_transaction_mode_is_refused(db: Database) -> None:
    db.table("1.0.0", "a")
    with Pooler(f"{db.server.socket_directory}/.s.PGSQL.{db.server.port}", db.server.user, db.name) as pooler:
        db.port = pooler.port
        result = db.db("migrate")
    assert result.code == 1
    assert "pooler in transaction mode" in result.err
    assert db.tables() == []
    assert (
        db.sql(
            "select 1 from pg_locks where locktype = 'advisory' and database = (select oid from pg_database "
            "where datname = current_database())"
        )
        == []
    )


def test_a_standby_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "server"
    with embedded.start(directory):
        pass
    (directory / "standby.signal").touch()
    with embedded.start(directory) as server:
        assert server.port
        db = Database(server, "postgres", tmp_path / "project")
        db.table("1.0.0", "a")
        result = db.db("migrate")
    assert result.code == 1
    assert "standby" in result.err


@pytest.mark.parametrize("fresh", [True, False], ids=["fresh", "half-migrated"])
def test_eight_runners_at_once_apply_each_migration_once(db: Database, fresh: bool) -> None:
    for number in range(6):
        db.migration(
            f"1.{number}.0__Add_t{number}", f"create table t{number} (id int); insert into t{number} values (1);"
        )
    if not fresh:
        db.done("migrate", "--to", "1.2.0")
    results = [ended(process) for process in [db.start("migrate") for _ in range(8)]]
    assert [result.code for result in results] == [0] * 8, [result.err for result in results]
    assert [version for _, version, _ in db.history()] == [f"1.{number}.0" for number in range(6)]
    assert sum(result.out.count("Completed") for result in results) == (6 if fresh else 3)
    assert [db.sql(f"select count(*) from t{number}")[0][0] for number in range(6)] == [1] * 6


def test_who_waits_is_told_who_holds_the_lock(db: Database) -> None:
    db.migration("1.0.0__Long_one", "select pg_sleep(3600);")
    holder = db.start("migrate")
    db.wait_for(
        "select 1 from pg_stat_activity where query like '%pg_sleep(%' and pid <> pg_backend_pid() "
        "and datname = current_database()",
        holder,
    )
    result = db.db("migrate", "--wait", "0")
    assert result.code == 1
    assert "another run holds the lock: dbt-cicd db migrate" in result.err
    assert f":{holder.pid}:20" in result.err
    holder.kill()
    ended(holder)


def test_a_long_reader_delays_a_migration_and_no_other_reader(db: Database) -> None:
    db.table("1.0.0", "a")
    db.done("migrate")
    db.config("lock_timeout: 100ms\n")
    db.migration("1.1.0__Alter_a", "alter table a add column b int;")
    with db.connection() as reader:
        cursor = reader.cursor()
        cursor.execute("begin; select * from a")
        process = db.start("migrate")
        # The run has given up once and stands back: others can read meanwhile.
        assert process.stderr
        line = process.stderr.readline()
        assert "trying again" in line
        assert "oldest open transaction" in line
        db.sql("set lock_timeout = '10s'; select * from a")
        cursor.execute("commit")
    assert ended(process).code == 0
    assert db.sql("select b from a") == []


def test_locks_that_never_come_end_the_run(db: Database) -> None:
    db.table("1.0.0", "a")
    db.done("migrate")
    db.config("lock_timeout: 50ms\n")
    db.migration("1.1.0__Alter_a", "create table b (id int);\nalter table a add column b int;")
    with db.connection() as reader:
        reader.cursor().execute("begin; select * from a")
        result = db.db("migrate", "--wait", "0.2")
    assert result.code == 1
    assert "V1.1.0__Alter_a.sql:2:" in result.err
    assert "lock timeout" in result.err
    assert db.tables() == ["a"]


def test_a_server_of_its_own(tmp_path: Path) -> None:
    with embedded.start(tmp_path / "server", major=16) as server, database(server, tmp_path / "p", "old") as db:
        db.table("1.0.0", "a")
        db.done("migrate")
        assert db.tables() == ["a"]
