"""A database of its own for each test, with a folder of migrations beside it, and `dbt-cicd db` run on both."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import psycopg2

from dbt_cicd_toolkit.cli.main import cli, run
from dbt_cicd_toolkit.postgres.embedded import EmbeddedServer

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts/db_version_manager.py"
_NUMBERS = itertools.count()


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its document."""
        return json.loads(self.out)


class Database:
    """An empty database, and ``path``/database with migrations/ and rollback/."""

    def __init__(self, server: EmbeddedServer, name: str, path: Path) -> None:
        self.server = server
        self.name = name
        self.path = path
        self.host = server.host
        self.port = server.port
        for folder in ("migrations", "rollback"):
            (path / "database" / folder).mkdir(parents=True)

    @property
    def arguments(self) -> dict[str, Any]:
        """For psycopg2.connect(**…)."""
        return {
            "host": self.server.host,
            "port": self.server.port,
            "user": self.server.user,
            "password": self.server.password,
            "dbname": self.name,
        }

    @property
    def environment(self) -> dict[str, str]:
        """DB_*, as the program reads them. ``host`` and ``port`` may be those of something in between."""
        return {
            "DB_HOST": self.host,
            "DB_PORT": str(self.port),
            "DB_USER": self.server.user,
            "DB_PASSWORD": self.server.password,
            "DB_NAME": self.name,
        }

    @contextlib.contextmanager
    def connection(self, **more: Any) -> Generator[Any]:
        """A connection in autocommit mode."""
        connection = psycopg2.connect(**self.arguments, **more)
        connection.autocommit = True
        try:
            yield connection
        finally:
            connection.close()

    def sql(self, text: str, parameters: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        """Run SQL; the rows of the last statement."""
        with self.connection() as connection:
            cursor = connection.cursor()
            cursor.execute(text, parameters)
            return cursor.fetchall() if cursor.description else []

    def migration(self, name: str, up: str | bytes, down: str | bytes | None = None) -> Path:
        """Write ``V<name>.sql`` (or R__…) and, with ``down``, its rollback."""
        stem = name if name.startswith("R__") else f"V{name}"
        path = self.path / "database/migrations" / f"{stem}.sql"
        path.write_bytes(up if isinstance(up, bytes) else up.encode())
        if down is not None:
            back = self.path / "database/rollback" / f"{stem}_rollback.sql"
            back.write_bytes(down if isinstance(down, bytes) else down.encode())
        return path

    def table(self, version: str, name: str) -> Path:
        """A migration that makes one table, and its rollback."""
        return self.migration(
            f"{version}__Add_{name}", f"create table {name} (id int primary key);", f"drop table {name};"
        )

    def config(self, text: str) -> None:
        """Write config/db_config.yaml."""
        path = self.path / "database/config/db_config.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def db(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Result:
        """`dbt-cicd db …` in this process."""
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
        directory = ("--dir", str(self.path / "database"))
        given = [arguments[0], *directory, *arguments[1:]]
        with (
            mock.patch.dict(os.environ, self.environment | dict(environment or {})),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = run(cli, "dbt-cicd", ["db", *given])
        return Result(code, out.buffer.getvalue().decode(), err.buffer.getvalue().decode())  # type: ignore[attr-defined]

    def done(self, *arguments: str) -> Result:
        """db(), which must end with 0."""
        result = self.db(*arguments)
        assert result.code == 0, (result.out, result.err)
        return result

    def start(self, *arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """`python scripts/db_version_manager.py …` as a process of its own."""
        return subprocess.Popen(
            [sys.executable, str(SCRIPT), *arguments],
            cwd=self.path,
            env={**os.environ, **self.environment, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            # A shell starts its background jobs with SIGINT ignored, and the tests may run in one.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def wait_for(self, sql: str, process: subprocess.Popen[str]) -> None:
        """Poll until a query has a row, as long as a process lives."""
        with self.connection() as connection:
            cursor = connection.cursor()
            while cursor.rowcount < 1:
                assert process.poll() is None, ended(process)
                cursor.execute(sql)

    def history(self) -> list[tuple[int, str | None, str]]:
        """(rank, version, script) of the history."""
        rows = self.sql("select installed_rank, version, script from dbt_cicd.dbt_cicd_migrations order by 1")
        return [(rank, version, script) for rank, version, script in rows]

    def tables(self, schema: str = "public") -> list[str]:
        """Names of the tables of a schema."""
        sql = "select tablename from pg_tables where schemaname = %s order by 1"
        return [row[0] for row in self.sql(sql, [schema])]


def ended(process: subprocess.Popen[str]) -> Result:
    """Wait for a process."""
    out, err = process.communicate()
    return Result(process.returncode, out, err)


@contextlib.contextmanager
def database(server: EmbeddedServer, path: Path, worker: str) -> Generator[Database]:
    """Make an empty database, and drop it at the end."""
    name = f"db_{worker}_{next(_NUMBERS)}"
    _admin(server, f"drop database if exists {name} with (force)")
    _admin(server, f"create database {name} template template0 strategy file_copy")
    yield Database(server, name, path)
    _admin(server, f"drop database {name} with (force)")


def _admin(server: EmbeddedServer, sql: str) -> None:
    connection = psycopg2.connect(
        host=server.host, port=server.port, user=server.user, password=server.password, dbname=server.database
    )
    try:
        connection.autocommit = True
        connection.cursor().execute(sql)
    finally:
        connection.close()
