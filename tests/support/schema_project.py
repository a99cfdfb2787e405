"""A folder of sources with its releases, and databases of one major to put them into."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from dbt_cicd_toolkit.cli.main import cli, run
from dbt_cicd_toolkit.postgres import catalog
from dbt_cicd_toolkit.postgres.catalog import Selection
from support.database import Result
from support.databases import Databases


class SchemaProject:
    """``path``/schema, and commands on a database.

    Args:
        databases: of the server that the commands are about.
        path: an empty folder.
        local: the folder of the scratch servers, which all projects of a session share.
    """

    def __init__(self, databases: Databases, path: Path, local: Path) -> None:
        self.databases = databases
        self.path = path
        self.folder = path / "schema"
        path.mkdir(parents=True, exist_ok=True)
        (path / ".local").symlink_to(local)

    def write(self, files: Mapping[str, str]) -> None:
        """Write source files, all there are: others are deleted."""
        for path in (self.folder / "objects").glob("*.sql"):
            if path.name not in files:
                path.unlink()
        for name, text in files.items():
            (self.folder / "objects" / name).write_text(text, encoding="utf-8")

    def environment(self, database: str) -> dict[str, str]:
        """DB_*, as the program reads them."""
        given = self.databases.settings(database)
        names = {
            "host": "DB_HOST",
            "port": "DB_PORT",
            "user": "DB_USER",
            "password": "DB_PASSWORD",
            "dbname": "DB_NAME",
        }
        return {variable: str(given[key]) for key, variable in names.items()}

    def schema(self, *arguments: str, database: str = "postgres") -> Result:
        """`dbt-cicd schema …` in this process."""
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
        with (
            mock.patch.dict(os.environ, self.environment(database)),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = run(cli, "dbt-cicd", ["schema", *arguments, "--dir", str(self.folder)])
        return Result(code, out.buffer.getvalue().decode(), err.buffer.getvalue().decode())  # type: ignore[attr-defined]

    def done(self, *arguments: str, database: str = "postgres") -> Result:
        """schema(), which must end with 0."""
        result = self.schema(*arguments, database=database)
        assert result.code == 0, (arguments, result.out, result.err)
        return result

    def start(self, *arguments: str, database: str, environment: Mapping[str, str] | None = None) -> Any:
        """`dbt-cicd schema …` as a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "dbt_cicd_toolkit.cli.main", "schema", *arguments],
            cwd=self.path,
            env={**os.environ, **self.environment(database), **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    def structure(self, database: str, *schemas: str) -> dict[str, str]:
        """What the database is made of."""
        with contextlib.closing(self.databases.connect(database)) as connection:
            return catalog.describe(connection, Selection(schemas=schemas))
