"""A runner that is killed at any moment, a server that stops, an answer that is lost: the history equals the catalog,
and the next run ends what was begun."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Generator
from pathlib import Path

import pytest

from dbt_cicd_toolkit.postgres import embedded
from support.database import Database, database, ended
from support.forge import Wire
from support.launcher import Launcher

MOMENTS = ("unsent", "sent", "answered")


@pytest.fixture
def wire(db: Database) -> Generator[Wire]:
    with Wire("127.0.0.1", db.server.port) as wire:
        db.port = wire.port
        yield wire


@pytest.fixture(scope="module")
def launcher() -> Generator[Launcher]:
    with Launcher() as launcher:
        yield launcher


def ready(launcher: Launcher, db: Database, *arguments: str) -> int:
    """`dbt-cicd db …` in a process that waits for launcher.go(); its id."""
    argv = ["db", arguments[0], "--dir", str(db.path / "database"), *arguments[1:]]
    return launcher.ready(argv, db.environment, db.path / "output.txt")


def kill_at(launcher: Launcher, db: Database, wire: Wire, number: int, moment: str, *arguments: str) -> int:
    """Run a command that is killed at its statement ``number``; its exit code, -9 when it was."""
    wire.expect(ready(launcher, db, *arguments), number, moment)
    return launcher.go()


def count(launcher: Launcher, db: Database, wire: Wire, *arguments: str) -> int:
    """How many messages a command sends."""
    ready(launcher, db, *arguments)
    wire.expect()
    assert launcher.go() == 0, (db.path / "output.txt").read_text()
    return len(wire.statements)


def consistent(db: Database, tables: dict[str, str]) -> list[str]:
    """History and catalog say the same; the versions there are."""
    if db.sql("select to_regclass('dbt_cicd.dbt_cicd_migrations')") == [(None,)]:
        assert db.tables() == []
        return []
    versions = [version for _, version, _ in db.history() if version]
    assert db.tables() == sorted(tables[version] for version in versions)
    return versions


def three(db: Database) -> dict[str, str]:
    tables = {"1.0.0": "a", "1.1.0": "b", "1.2.0": "c"}
    for version, name in tables.items():
        db.migration(
            f"{version}__Add_{name}",
            f"create table {name} (id int primary key); insert into {name} select 1;",
            f"drop table {name};",
        )
    return tables


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_every_message_of_migrate(db: Database, wire: Wire, launcher: Launcher, moment: str) -> None:
    tables = three(db)
    total = count(launcher, db, wire, "migrate")
    assert total > 20
    for number in range(total):
        db.sql("drop schema dbt_cicd cascade; drop table if exists a, b, c")
        assert kill_at(launcher, db, wire, number, moment, "migrate") == -signal.SIGKILL, number
        wire.expect()
        # The server may still be at the killed run's last message: the lock tells when it is not.
        assert db.db("migrate").code == 0, (number, wire.statements)
        assert consistent(db, tables) == list(tables), number


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_every_message_of_rollback(db: Database, wire: Wire, launcher: Launcher, moment: str) -> None:
    tables = three(db)
    db.done("migrate")
    arguments = ("rollback", "--steps", "2", "--allow-data-loss")
    total = count(launcher, db, wire, *arguments)
    for number in range(total):
        db.done("migrate")
        assert kill_at(launcher, db, wire, number, moment, *arguments) == -signal.SIGKILL, number
        wire.expect()
        db.done("history")
        left = consistent_when_free(db, tables)
        assert left in (list(tables), list(tables)[:2], list(tables)[:1]), number


def wait_for_the_lock(db: Database) -> None:
    """A repair of nothing waits for the lock before it is refused."""
    assert db.db("repair", "--abandon", "nothing").code == 1


def consistent_when_free(db: Database, tables: dict[str, str]) -> list[str]:
    """consistent(), when the killed run's session has ended."""
    wait_for_the_lock(db)
    return consistent(db, tables)


def test_killed_in_a_long_statement_the_next_run_goes_on(db: Database) -> None:
    db.table("1.0.0", "a")
    path = db.migration("1.1.0__Long_one", "create table b (id int); select pg_sleep(3600);")
    process = db.start("migrate")
    db.wait_for(
        "select 1 from pg_stat_activity where datname = current_database() and query like '%pg_sleep(%' "
        "and pid <> pg_backend_pid() and state = 'active'",
        process,
    )
    process.send_signal(signal.SIGKILL)
    ended(process)
    path.write_text("create table b (id int);")
    db.done("migrate")
    assert db.tables() == ["a", "b"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_in_a_long_statement_it_takes_it_back_and_says_so(db: Database, number: int) -> None:
    db.migration("1.0.0__Long_one", "create table b (id int); select pg_sleep(3600);")
    process = db.start("migrate")
    db.wait_for(
        "select 1 from pg_stat_activity where datname = current_database() and query like '%pg_sleep(%' "
        "and pid <> pg_backend_pid() and state = 'active'",
        process,
    )
    process.send_signal(number)
    result = ended(process)
    assert result.code == 130, result.err
    assert "interrupted" in result.err
    assert db.tables() == []


def test_the_answer_to_a_commit_is_lost(db: Database, wire: Wire, launcher: Launcher) -> None:
    tables = three(db)
    total = count(launcher, db, wire, "migrate")
    commits = [number for number, statement in enumerate(wire.statements) if statement.endswith("; commit")]
    assert len(commits) == 4
    assert total > len(commits)
    for moment in ("unsent", "answered"):
        for number in commits:
            db.sql("drop schema dbt_cicd cascade; drop table if exists a, b, c")
            wire.expect(None, number, moment)
            result = db.db("migrate")
            versions = consistent(db, tables)
            if result.code == 0:
                assert versions == list(tables)
            wire.expect()
            db.done("migrate")
            assert consistent(db, tables) == list(tables)


def test_the_server_crashes_at_every_message_of_a_migration(tmp_path: Path, launcher: Launcher) -> None:
    directory = tmp_path / "server"

    def crash() -> None:
        os.kill(int((directory / "postmaster.pid").read_text().split()[0]), signal.SIGQUIT)

    server = embedded.start(directory)
    with (
        database(server, tmp_path / "project", "crash") as db,
        Wire(f"{server.host}/.s.PGSQL.{server.port}", 0) as wire,
    ):
        db.host, db.port = "127.0.0.1", wire.port
        tables = {"1.0.0": "a", "1.1.0": "b"}
        db.table("1.0.0", "a")
        db.done("migrate")
        db.table("1.1.0", "b")
        total = count(launcher, db, wire, "migrate")
        for number in range(total):
            db.sql("drop table b; delete from dbt_cicd.dbt_cicd_migrations where version = '1.1.0'")
            ready(launcher, db, "migrate", "--wait", "0")
            wire.expect(None, number, MOMENTS[number % 3], crash)
            assert launcher.go() in (0, 1), ((db.path / "output.txt").read_text(), number)
            wire.expect()
            embedded.stop(directory)  # waits for the dying server, which else could still be taken for a running one
            embedded.start(directory)
            consistent(db, tables)
            db.sql("delete from dbt_cicd.dbt_cicd_migration_log where action = 'catalog'")
            db.done("migrate")
            assert consistent(db, tables) == list(tables), number
    embedded.stop(directory)


@pytest.mark.long
def test_two_hundred_kills_at_random(db: Database, wire: Wire, launcher: Launcher) -> None:
    """Migrations, rollbacks and files that run singly, in any order, killed at any message or not at all."""
    tables = three(db)
    db.migration(
        "1.3.0__Index_it",
        "create index concurrently a_id on a (id); vacuum a; alter table a add column extra int;",
        "drop index concurrently a_id; alter table a drop column extra;",
    )
    chance = random.Random(20261120)
    killed = 0
    while killed < 200:
        command = chance.choice([("migrate",), ("rollback", "--allow-data-loss"), ("migrate", "--to", "1.1.0")])
        killed += kill_at(launcher, db, wire, chance.randrange(60), chance.choice(MOMENTS), *command) == -signal.SIGKILL
        wire.expect()
        if chance.random() < 0.3:
            assert db.db("migrate").code in (0, 1)
        wait_for_the_lock(db)
        versions = [version for _, version, _ in db.history()]
        assert versions == sorted(versions)
        assert db.tables() == sorted(tables[version] for version in versions if version in tables)
    db.db("rollback", "--allow-data-loss")
    db.done("migrate")
    assert db.sql("select count(*) from pg_index where not indisvalid") == [(0,)]
    assert db.tables() == ["a", "b", "c"]
