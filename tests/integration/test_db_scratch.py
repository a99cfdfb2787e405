"""Scratch databases: where they are made, that they are gone afterwards, by many at once and after kill -9."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extensions as pg
import pytest

from dbt_cicd_toolkit.errors import InvalidInput, Refused
from dbt_cicd_toolkit.postgres import embedded, scratch_server
from dbt_cicd_toolkit.postgres.scratch import create_roles, missing_extensions, scratch
from dbt_cicd_toolkit.postgres.settings import Setting, Settings
from dbt_cicd_toolkit.postgres.settings import embedded as settings_of
from support.databases import Databases

NOT_EMBEDDED = 15

# Holds a scratch database until it is told to end, or is killed.
HOLDER = """
import contextlib, sys
from pathlib import Path
sys.path.insert(0, {source!r})
from dbt_cicd_toolkit.postgres.scratch import scratch
from dbt_cicd_toolkit.postgres.settings import Setting, Settings
settings = Settings({{key: Setting(value, "test") for key, value in {arguments!r}.items()}})
with scratch(settings, url={url!r}, local=Path({local!r}), cluster_wide={cluster_wide!r}, major={major!r}) as made:
    print(made.settings.values["dbname"].value, made.settings.values["host"].value, flush=True)
    sys.stdin.readline()
"""


class Runs:
    """Processes that hold scratch databases; all are gone at the end of the test."""

    def __init__(self) -> None:
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, settings: Settings, local: Path, **options: Any) -> subprocess.Popen[str]:
        given = {"url": None, "cluster_wide": False} | options
        code = HOLDER.format(
            source=str(Path(embedded.__file__).parents[2]),
            arguments={key: setting.value for key, setting in settings.values.items()},
            local=str(local),
            **given,
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        )
        self.processes.append(process)
        return process

    def ready(self, process: subprocess.Popen[str]) -> tuple[str, str]:
        """Wait until it holds its database; (name, host)."""
        assert process.stdout
        name, host = process.stdout.readline().split()
        return name, host

    def end(self, process: subprocess.Popen[str]) -> None:
        process.communicate("\n")
        assert process.returncode == 0

    def kill(self, process: subprocess.Popen[str]) -> None:
        process.send_signal(signal.SIGKILL)
        process.communicate()


@pytest.fixture
def runs() -> Generator[Runs]:
    made = Runs()
    yield made
    for process in made.processes:
        if process.poll() is None:
            made.kill(process)
        process.communicate()


@pytest.fixture
def local(tmp_path: Path) -> Generator[Path]:
    """A folder for embedded servers; they are stopped at the end."""
    yield tmp_path / "local"
    for version in (tmp_path / "local").glob("*/PG_VERSION"):
        embedded.stop(version.parent)


@pytest.fixture
def target(databases: Databases) -> Settings:
    return settings_of(databases.server, databases.make())


def connect(settings: Settings) -> contextlib.closing[pg.connection]:
    arguments: dict[str, Any] = dict(settings.arguments())
    connection: pg.connection = psycopg2.connect(**arguments)
    connection.autocommit = True
    return contextlib.closing(connection)


def rows(settings: Settings, sql: str) -> list[tuple[Any, ...]]:
    with connect(settings) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def scratch_databases(settings: Settings) -> set[str]:
    return {
        name for (name,) in rows(settings, "select datname from pg_database where datname like 'dbt_cicd_scratch_%'")
    }


def runs_there(local: Path, major: int) -> bool:
    return (local / f"scratch-{major}" / "postmaster.pid").exists()


def test_on_an_embedded_server_that_is_stopped_at_the_end(databases: Databases, target: Settings, local: Path) -> None:
    major = databases.major
    with scratch(target, url=None, local=local, cluster_wide=False, major=major) as made:
        assert made.embedded
        assert made.source == f"an embedded PostgreSQL {major} in {local / f'scratch-{major}'}"
        assert runs_there(local, major)
        [(name, encoding, version)] = rows(
            made.settings,
            "select current_database(), current_setting('server_encoding'), current_setting('server_version_num')::int",
        )
        assert (name, encoding, version // 10000) == (made.settings.values["dbname"].value, "UTF8", major)
        assert rows(made.settings, "select relname from pg_class where relnamespace = 'public'::regnamespace") == []
    assert not runs_there(local, major)
    with scratch(target, url=None, local=local, cluster_wide=False, major=major) as made:
        assert scratch_databases(made.settings) == {made.settings.values["dbname"].value}


def test_the_last_one_out_stops_the_server(databases: Databases, target: Settings, local: Path, runs: Runs) -> None:
    major = databases.major
    first, second = (runs.start(target, local, major=major) for _ in range(2))
    names = {runs.ready(first)[0], runs.ready(second)[0]}
    assert len(names) == 2
    runs.end(first)
    assert runs_there(local, major)
    runs.end(second)
    assert not runs_there(local, major)


def test_many_at_once(databases: Databases, target: Settings, local: Path, runs: Runs) -> None:
    processes = [runs.start(target, local, major=databases.major) for _ in range(4)]
    for process in processes:  # each ends as soon as it has its database, while others start
        process.stdin.write("\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
    assert [process.wait() for process in processes] == [0, 0, 0, 0]
    assert not runs_there(local, databases.major)


def test_after_kill_9_the_next_run_uses_and_stops_the_server(
    databases: Databases, target: Settings, local: Path, runs: Runs
) -> None:
    major = databases.major
    killed = runs.start(target, local, major=major)
    left, host = runs.ready(killed)
    runs.kill(killed)
    assert runs_there(local, major)
    postmaster = (local / f"scratch-{major}" / "postmaster.pid").read_text().split("\n")[0]
    server = embedded.start(local / f"scratch-{major}", major=major)
    assert server.attached and server.host == host
    wait_until_gone(settings_of(server, "postgres"))
    with scratch(target, url=None, local=local, cluster_wide=False, major=major) as made:
        assert (local / f"scratch-{major}" / "postmaster.pid").read_text().split("\n")[0] == postmaster
        assert left not in scratch_databases(made.settings)
    assert not runs_there(local, major)


def wait_until_gone(settings: Settings) -> None:
    """Wait until the server has seen that the clients of scratch databases are dead."""
    deadline = time.monotonic() + 60
    query = (
        "select 1 from pg_stat_activity where pid <> pg_backend_pid()"
        " and (application_name like 'dbt-cicd scratch %' or datname like 'dbt_cicd_scratch_%')"
    )
    while rows(settings, query):
        assert time.monotonic() < deadline


def test_on_the_server_of_a_url(databases: Databases, target: Settings, local: Path, runs: Runs) -> None:
    server = databases.server
    url = f"postgresql://postgres@/{target.values['dbname'].value}?host={server.host}&port={server.port}"
    with scratch(target, url=url, local=local, cluster_wide=False, major=NOT_EMBEDDED) as made:
        assert not made.embedded
        assert made.source == f"a new database on {server.host}:{server.port} (--scratch-url)"
        assert made.settings.values["dbname"].value in scratch_databases(target)
        assert "password" in made.settings.values  # the target's: the same user of the same server
        with connect(made.settings), contextlib.suppress(psycopg2.OperationalError):
            assert not local.exists()
    assert made.settings.values["dbname"].value not in scratch_databases(target)


@pytest.mark.parametrize("url", ["postgresql://postgres:secret@localhost/x", "localhost"])
def test_a_bad_url_is_refused(target: Settings, local: Path, url: str) -> None:
    with (
        pytest.raises(InvalidInput, match="--scratch-url"),
        scratch(target, url=url, local=local, cluster_wide=False, major=18),
    ):
        raise AssertionError


def test_beside_the_target_where_its_version_is_not_embedded(
    databases: Databases, target: Settings, local: Path, runs: Runs
) -> None:
    with scratch(target, url=None, local=local, cluster_wide=False, major=NOT_EMBEDDED) as made:
        assert not made.embedded
        assert made.source.startswith("a new database on the target's own server, ")
        name = made.settings.values["dbname"].value
        assert name in scratch_databases(target)
        with connect(made.settings) as left_open:
            other = runs.start(target, local, major=NOT_EMBEDDED)
            runs.ready(other)
            assert name in scratch_databases(target)  # whose maker lives
            runs.end(other)
            with connect(made.settings) as connection, connection.cursor() as cursor:
                cursor.execute("create table t (a integer)")
            assert not left_open.closed
    assert name not in scratch_databases(target)


def test_after_kill_9_the_next_run_drops_the_database(
    databases: Databases, target: Settings, local: Path, runs: Runs
) -> None:
    killed = runs.start(target, local, major=NOT_EMBEDDED)
    left, _ = runs.ready(killed)
    runs.kill(killed)
    wait_until_gone(target)
    assert left in scratch_databases(target)
    with scratch(target, url=None, local=local, cluster_wide=False, major=NOT_EMBEDDED):
        assert left not in scratch_databases(target)


def test_without_the_right_to_make_one(databases: Databases, target: Settings, local: Path) -> None:
    with connect(target) as connection:
        create_roles(connection, ["modest"])
        connection.cursor().execute("alter role modest login password 'x'")
    modest = Settings(target.values | {"user": Setting("modest", "test"), "password": Setting("x", "test")})
    with (
        pytest.raises(Refused) as error,
        scratch(modest, url=None, local=local, cluster_wide=False, major=NOT_EMBEDDED),
    ):
        raise AssertionError
    assert str(error.value).startswith("modest may not create a scratch database on ")
    assert str(error.value).endswith('or let a superuser run: alter role "modest" createdb.')


def test_the_server_must_be_there(local: Path) -> None:
    nowhere = Settings({"host": Setting(str(local), "test"), "dbname": Setting("x", "test")})
    with (
        pytest.raises(Refused, match="Connection failed"),
        scratch(nowhere, url=None, local=local, cluster_wide=False, major=NOT_EMBEDDED),
    ):
        raise AssertionError


def test_cluster_wide_statements_get_a_server_of_their_own(
    databases: Databases, target: Settings, local: Path, runs: Runs
) -> None:
    major = databases.major
    killed = runs.start(target, local, major=major, cluster_wide=True)
    runs.ready(killed)
    runs.kill(killed)
    assert len(list(local.glob("scratch-*-alone-*/PG_VERSION"))) == 1
    with scratch(target, url=None, local=local, cluster_wide=True, major=major) as made:
        assert made.embedded
        assert len(list(local.glob("scratch-*-alone-*/PG_VERSION"))) == 1  # of the killed run nothing is left
        with connect(made.settings) as connection, connection.cursor() as cursor:
            for statement in (
                "create role only_here superuser",
                "create database too",
                "alter system set work_mem = 99",
            ):
                cursor.execute(statement)
    assert list(local.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "major", "reason"),
    [
        ("postgresql://postgres@localhost/x", 18, "Leave --scratch-url out."),
        (None, NOT_EMBEDDED, "there is none of PostgreSQL 15, only 16 and 18."),
    ],
)
def test_cluster_wide_statements_run_nowhere_else(
    target: Settings, local: Path, url: str | None, major: int, reason: str
) -> None:
    with (
        pytest.raises(Refused) as error,
        scratch(target, url=url, local=local, cluster_wide=True, major=major),
    ):
        raise AssertionError
    assert str(error.value).startswith("the files hold statements that change the whole server (roles, tablespaces, ")
    assert str(error.value).endswith(reason)


def test_an_embedded_server_knows_the_roles_of_the_target(databases: Databases, target: Settings, local: Path) -> None:
    with connect(target) as connection:
        create_roles(connection, ['Odd "role', "it's", "made_by_a_file"])
        create_roles(connection, ["it's"])
    options: dict[str, Any] = {"url": None, "local": local, "major": databases.major}
    with scratch(target, cluster_wide=False, without_roles={"made_by_a_file"}, **options) as made:
        roles = {name for (name,) in rows(made.settings, "select rolname from pg_roles")}
        assert {'Odd "role', "it's", "postgres"} <= roles and "made_by_a_file" not in roles
        [(superuser, login)] = rows(made.settings, "select rolsuper, rolcanlogin from pg_roles where rolname = 'it''s'")
        assert not superuser and not login


def test_the_settings_and_the_locale_of_the_target_are_copied(databases: Databases, local: Path) -> None:
    name = databases.make()
    databases.execute(
        name, f"alter database {name} set search_path = 'Odd One', public; alter database {name} set work_mem = '7MB'"
    )
    target = settings_of(databases.server, name)
    for major in (databases.major, NOT_EMBEDDED):
        with scratch(target, url=None, local=local, cluster_wide=False, major=major) as made:
            query = "select current_setting('search_path'), current_setting('work_mem')"
            assert rows(made.settings, query) == [('"Odd One", public', "7MB")]
            locale = "select datcollate, datctype from pg_database where datname = current_database()"
            assert rows(made.settings, locale) == rows(target, locale)


def test_missing_extensions_are_named(databases: Databases, target: Settings) -> None:
    with connect(target) as connection:
        assert missing_extensions(connection, ["vector", "postgis", "plpgsql", "hstore"]) == ["hstore", "postgis"]


def test_a_server_that_does_not_start_gives_its_lock_back(databases: Databases, local: Path) -> None:
    directory = local / f"scratch-{databases.major}"
    directory.mkdir(parents=True)
    (directory / "something").write_text("else")
    for _ in range(2):
        with pytest.raises(InvalidInput), scratch_server.shared(local, databases.major):
            raise AssertionError
