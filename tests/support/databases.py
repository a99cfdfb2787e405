"""Databases to test on: many of them, on embedded servers that the whole test session shares, one per major."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
from collections.abc import Generator
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extensions as pg

from dbt_cicd_toolkit.postgres import embedded
from dbt_cicd_toolkit.postgres.embedded import EmbeddedServer
from support.shop import connection_settings, locked

RICH = Path(__file__).with_name("rich.sql")

# Of the process, not of a Databases: pytest-xdist's work stealing makes a fixture of one major again after another's.
_numbers = itertools.count()


class Databases:
    """Makes databases on the session's server of one major; `rich` ones are copies of rich.sql loaded once."""

    def __init__(self, shared: Path, major: int, worker: str) -> None:
        self.shared = shared
        self.major = major
        self.server: EmbeddedServer = embedded.start(shared / f"postgres_{major}", major=major)
        self._worker = worker
        self._made: list[str] = []

    def make(self, template: str = "template0", kept: bool = False) -> str:
        """A new database; returns its name. It is dropped at the end of the test, unless it is to be kept."""
        name = f"db_{self._worker}_{next(_numbers)}"
        if not kept:
            self._made.append(name)
        with contextlib.closing(self.connect("postgres")) as connection, connection.cursor() as cursor:
            cursor.execute(f"drop database if exists {name} with (force)")
            cursor.execute(f"create database {name} template {template} strategy file_copy")
        return name

    @contextlib.contextmanager
    def dropped(self) -> Generator[None]:
        """What is made within is dropped at the end: thousands of databases would fill the disk."""
        there = len(self._made)
        yield
        if names := self._made[there:]:
            del self._made[there:]
            with contextlib.closing(self.connect("postgres")) as connection, connection.cursor() as cursor:
                for name in names:
                    cursor.execute(f"drop database if exists {name} with (force)")

    def rich(self) -> str:
        """A new database with everything of rich.sql; returns its name."""
        with locked(self.shared / f"rich_{self.major}.lock"):
            if not (self.shared / f"rich_{self.major}").exists():
                with contextlib.closing(self.connect("postgres")) as connection, connection.cursor() as cursor:
                    cursor.execute("create database rich template template0")
                self.execute("rich", RICH.read_text(encoding="utf-8"))
                (self.shared / f"rich_{self.major}").touch()
        return self.make("rich")

    def settings(self, name: str) -> dict[str, Any]:
        """psycopg2's arguments for a database."""
        return connection_settings(self.server, name)

    def connect(self, name: str, **overrides: Any) -> pg.connection:
        """A connection in autocommit mode."""
        connection = psycopg2.connect(**(self.settings(name) | overrides))
        connection.autocommit = True
        return connection

    def execute(self, name: str, sql: str) -> None:
        """Run SQL in a session of its own."""
        with contextlib.closing(self.connect(name)) as connection, connection.cursor() as cursor:
            cursor.execute(sql)

    def rows(self, name: str, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query, in a session of its own."""
        with contextlib.closing(self.connect(name)) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def environment(self, name: str) -> dict[str, str]:
        """This process's variables, and PG* for a database."""
        settings = self.settings(name)
        names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE"}
        return os.environ | {variable: str(settings[key]) for key, variable in names.items()}

    def run(self, name: str, program: str, *arguments: str, input: str | None = None) -> str:
        """Run one of the server's programs (psql, pg_dump) on a database; returns its stdout. It must succeed."""
        done = subprocess.run(
            [self.server.bin / program, *arguments],
            env=self.environment(name),
            input=input,
            capture_output=True,
            encoding="utf-8",
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextlib.contextmanager
def alone(databases: Databases, name: str) -> Generator[pg.connection]:
    """A connection in autocommit mode, closed at the end."""
    with contextlib.closing(databases.connect(name)) as connection:
        yield connection
