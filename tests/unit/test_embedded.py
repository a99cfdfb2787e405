"""The embedded PostgreSQL, for real: start, attach, survive kill -9, long paths, both versions."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import psycopg2
import pytest

from dbt_cicd_toolkit.errors import InvalidInput
from dbt_cicd_toolkit.postgres import embedded
from dbt_cicd_toolkit.postgres.embedded import EmbeddedServer


def ask(server: EmbeddedServer, sql: str, password: str | None = None) -> str:
    connection = psycopg2.connect(
        host=server.host,
        port=server.port,
        user=server.user,
        dbname=server.database,
        password=server.password if password is None else password,
    )
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return str(cursor.fetchone()[0]) if cursor.description else ""  # type: ignore[index]
    finally:
        connection.close()


@pytest.fixture
def directory(tmp_path: Path) -> Generator[Path]:
    data = tmp_path / "pg"
    yield data
    embedded.stop(data)


def test_attach_kill_and_start_again(directory: Path) -> None:
    with embedded.start(directory) as server:
        assert server.host == server.socket_directory and server.port == 5432
        ask(server, "create table kept as select 1 as id")
        with embedded.start(directory) as second:
            assert second.attached
        assert ask(server, "select id from kept") == "1", "leaving an attached server must not stop it"

        pid = int((directory / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, signal.SIGKILL)
        while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]:
            time.sleep(0.01)
        assert (directory / "postmaster.pid").exists()
        again = embedded.start(directory)
        assert not again.attached
        assert ask(again, "select id from kept") == "1"
    with pytest.raises(psycopg2.OperationalError):
        ask(server, "select 1")

    # A stale file whose pid another program has now.
    (directory / "postmaster.pid").write_text(f"{os.getpid()}\n{directory}\n0\n5432\n{directory}\n\n  1 1\nready\n")
    with embedded.start(directory) as server:
        assert not server.attached
        assert ask(server, "show server_version_num").startswith("18")


def test_tcp_has_a_password(directory: Path) -> None:
    with embedded.start(directory), embedded.start(directory, tcp=True) as server:
        assert server.host == "127.0.0.1" and not server.attached
        assert ask(server, "select current_user") == "postgres"
        with pytest.raises(psycopg2.OperationalError, match="password"):
            ask(server, "select 1", password="wrong")


def test_long_path_and_16(tmp_path: Path) -> None:
    data = tmp_path / ("long name with 'quotes' " * 4) / ("x" * 60)
    with embedded.start(data, major=16) as server:
        assert len(server.host) < 80
        assert ask(server, "show server_version_num").startswith("16")
        with pytest.raises(InvalidInput, match="pass major=16"):
            embedded.start(data)
    Path(server.socket_directory).rmdir()


def test_program(directory: Path) -> None:
    def call(action: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "dbt_cicd_toolkit.postgres.embedded", action, str(directory)]
        source = {"PYTHONPATH": os.pathsep.join([str(Path(embedded.__file__).parents[2]), *sys.path])}
        return subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ | source)

    assert call("env").returncode == 1
    started = call("start")
    assert (started.returncode, started.stderr) == (0, "")
    assert [line.split("=")[0] for line in started.stdout.splitlines()] == [
        f"export DBT_CICD_PG_{name}" for name in ("HOST", "PORT", "USER", "PASSWORD", "DATABASE")
    ]
    assert call("env").stdout == started.stdout
    assert call("stop").returncode == 0
    assert call("stop").returncode == 0
    assert call("env").returncode == 1


def test_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match="no data directory"):
        embedded.start(tmp_path)
    with pytest.raises(InvalidInput, match="use one of 16, 18"):
        embedded.start(tmp_path / "new", major=9)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InvalidInput, match=r"dbt_cicd_toolkit\[embedded\]"):
        embedded.start(tmp_path / "new")
    assert not (tmp_path / "new").exists()
