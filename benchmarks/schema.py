"""Speed of `dbt-cicd schema`, the fair way: differences and ratios in one run, medians. Prints JSON lines."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import psycopg2
from db import ROOT, START, report, timed

from dbt_cicd_toolkit.postgres import embedded
from dbt_cicd_toolkit.postgres.embedded import EmbeddedServer
from dbt_cicd_toolkit.schema import fingerprint

COMMAND = [sys.executable, "-m", "dbt_cicd_toolkit.cli.main", "schema"]
ROWS = 500_000


class Bench:
    """A server and a folder with releases."""

    def __init__(self, server: EmbeddedServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        folder.mkdir()
        self.run("init", "--schemas", "app")

    @property
    def environment(self) -> dict[str, str]:
        """DB_*; bytecode is kept, as it is where the package is installed."""
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        ours = {"DB_HOST": self.server.host, "DB_PORT": str(self.server.port), "DB_USER": "postgres"}
        return {**kept, **ours, "DB_NAME": "bench", "PYTHONPATH": str(ROOT / "src")}

    def run(self, *arguments: str) -> float:
        """Seconds of a command."""
        return timed([*COMMAND, *arguments], self.folder, self.environment)[0]

    def release(self, label: str, text: str, *deltas: str) -> None:
        """Release these sources."""
        (self.folder / "schema/objects/all.sql").write_text(text)
        for delta in deltas:
            self.run("delta", delta)
        self.run("release", label)

    def sql(self, *statements: str, database: str = "bench") -> float:
        """Run statements; seconds of the last."""
        arguments = {"host": self.server.host, "port": self.server.port, "user": "postgres", "dbname": database}
        with closing(psycopg2.connect(**arguments)) as connection:
            connection.autocommit = True
            for statement in statements:
                started = time.perf_counter()
                connection.cursor().execute(statement)
            return time.perf_counter() - started

    def keep(self) -> None:
        """The database as it is, for copy()."""
        self.sql("drop database if exists template_bench", database="postgres")
        self.sql("alter database bench rename to template_bench", database="postgres")

    def copy(self) -> None:
        """The database anew, as it was at keep()."""
        self.sql("drop database if exists bench with (force)", database="postgres")
        self.sql("create database bench template template_bench", "checkpoint", database="postgres")


def sources(objects: int, columns: int) -> str:
    """So many objects: a fifth tables with an index, views on them and functions; ``columns`` more in every fourth."""
    text = ["create schema app;"]
    for i in range(objects // 5):
        more = "".join(f", c{number} text" for number in range(columns)) if i % 4 == 0 else ""
        shown = "".join(f", c{number}" for number in range(columns)) if i % 4 == 0 else ""
        text.append(
            f"create table app.t{i} (id int primary key, v text{more});\n"
            f"create index t{i}_v on app.t{i} (v);\n"
            f"create view app.v{i} as select id, v{shown} from app.t{i};\n"
            f"create view app.w{i} as select * from app.v{i} where id > 0;\n"
            f"create function app.f{i}(a int) returns text stable language sql\n"
            f"    begin atomic select v from app.v{i} where id = a; end;"
        )
    return "\n".join(text)


def small(server: EmbeddedServer, folder: Path, runs: int) -> None:
    """An upgrade over three releases of 200 objects with small tables, and one where little changed of many."""
    for objects in (200, 1000):
        bench = Bench(server, folder / str(objects))
        bench.sql("drop database if exists bench with (force)", "create database bench", database="postgres")
        for number in range(4):
            # As many tables change of 1,000 objects as of 200: what there is besides should not cost.
            text = sources(200, number)
            rest = sources(objects, 0)[len(sources(200, 0)) :]
            bench.release(f"1.{number}.0", text + rest)
        bench.run("install", "--to", "1.0.0")
        bench.sql(
            "drop database if exists template_bench",
            "alter database bench rename to template_bench",
            database="postgres",
        )
        found = []
        for _ in range(runs):
            bench.copy()
            start = timed(START, bench.folder, bench.environment)[0]
            found.append(bench.run("upgrade") - start)
        report(f"upgrade over 3 releases, seconds over Python's start, {objects} objects", 0.5, found)


def large(server: EmbeddedServer, folder: Path, runs: int) -> None:
    """A nullable column for two tables of 500,000 rows, against the bare ALTER TABLE."""
    bench = Bench(server, folder / "large")
    text = "create schema app; create table app.a (id int primary key, v text); create table app.b (id int, v text);"
    bench.sql("drop database if exists bench with (force)", "create database bench", database="postgres")
    bench.release("1.0.0", text)
    bench.release("1.1.0", text.replace("v text", "v text, n int"))
    bench.run("install", "--to", "1.0.0")
    for table in ("a", "b"):
        bench.sql(f"insert into app.{table} select i, md5(i::text) from generate_series(1, {ROWS}) i")
    bench.sql(
        "drop database if exists template_bench", "alter database bench rename to template_bench", database="postgres"
    )
    found, bare = [], []
    for _ in range(runs):
        bench.copy()
        bare.append(bench.sql("alter table app.a add n int; alter table app.b add n int"))
        bench.copy()
        start = timed(START, bench.folder, bench.environment)[0]
        found.append(bench.run("upgrade") - start - 2 * bare[-1])
    report(f"upgrade of 2 x {ROWS} rows, seconds over Python's start and 2 x the bare ALTERs", 0.3, found)


def catalog(server: EmbeddedServer, folder: Path, runs: int) -> None:
    """The fingerprint of 1,000 objects."""
    bench = Bench(server, folder / "catalog")
    bench.sql("drop database if exists bench with (force)", "create database bench", database="postgres")
    bench.sql(sources(1000, 0))
    arguments = {"host": server.host, "port": server.port, "user": "postgres", "dbname": "bench"}
    found: list[float] = []
    with closing(psycopg2.connect(**arguments)) as connection:
        connection.autocommit = True
        for _ in range(runs):
            started = time.perf_counter()
            marks: Sequence[str] = list(fingerprint.read(connection, ["app"]))
            found.append(time.perf_counter() - started)
    report("fingerprint, seconds", 0.5, found, objects=len(marks))


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        path.chmod(0o755)
        with embedded.start(path / "server") as server:
            for each in (catalog, small, large):
                each(server, path, given.runs)


if __name__ == "__main__":
    main()
