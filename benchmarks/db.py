"""Speed of `dbt-cicd db` against psql, the fair way: interleaved pairs, ratios in one run. Prints JSON lines."""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psycopg2

from dbt_cicd_toolkit.postgres import embedded
from dbt_cicd_toolkit.postgres.embedded import EmbeddedServer

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = [sys.executable, str(ROOT / "scripts/db_version_manager.py")]
START = [sys.executable, "-c", "import psycopg2"]
UP = """create table t{0} (id int primary key, v text);
create index t{0}_v on t{0} (v);
insert into t{0} values (1, 'x');
"""
# What is held against it: psql with the same statements, one transaction and one row of history each.
HISTORY = """create schema if not exists dbt_cicd; create table dbt_cicd.history (installed_rank int primary key,
version varchar(50), description varchar(200), type varchar(20), script varchar(1000), checksum int,
installed_by varchar(100), installed_on timestamp default now(), execution_time int, success boolean);"""
PSQL_UP = (
    "begin;\n"
    + UP
    + "insert into dbt_cicd.history values ({0}, '1.{0}.0', 'Add t{0}', 'SQL', 'V1.{0}.0__Add_t{0}.sql', 1, "
    "current_user, now(), 1, true);\ncommit;\n"
)
PSQL_DOWN = "begin;\ndrop table t{0};\ndelete from dbt_cicd.history where installed_rank = {0};\ncommit;\n"


class Bench:
    """A server, a folder of N migrations, and the same as scripts for psql."""

    def __init__(self, server: EmbeddedServer, folder: Path, number: int) -> None:
        self.server = server
        self.folder = folder
        self.number = number
        for name in ("migrations", "rollback"):
            (folder / "database" / name).mkdir(parents=True)
        for i in range(1, number + 1):
            stem = f"V1.{i}.0__Add_t{i}"
            (folder / "database/migrations" / f"{stem}.sql").write_text(UP.format(i))
            (folder / "database/rollback" / f"{stem}_rollback.sql").write_text(f"drop table t{i};\n")
        (folder / "up.sql").write_text(HISTORY + "\n" + "".join(PSQL_UP.format(i) for i in range(1, number + 1)))
        (folder / "down.sql").write_text("".join(PSQL_DOWN.format(i) for i in range(number, 0, -1)))

    def fresh(self) -> None:
        """An empty database."""
        connection = psycopg2.connect(
            host=self.server.host, port=self.server.port, user=self.server.user, dbname="postgres"
        )
        connection.autocommit = True
        connection.cursor().execute("drop database if exists bench with (force)")
        connection.cursor().execute("create database bench")
        connection.cursor().execute("checkpoint")
        connection.close()

    def environment(self) -> dict[str, str]:
        """For both programs."""
        host, port = self.server.host, str(self.server.port)
        ours = {"DB_HOST": host, "DB_PORT": port, "DB_USER": "postgres", "DB_NAME": "bench"}
        # Bytecode is kept, as it is where the package is installed.
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return {**kept, **ours, "PGHOST": host, "PGPORT": port, "PGUSER": "postgres", "PGDATABASE": "bench"}

    def ours(self, *arguments: str) -> tuple[float, float]:
        """Wall time and CPU time of the client."""
        return timed([*SCRIPT, *arguments], self.folder, self.environment())

    def psql(self, file: str) -> tuple[float, float]:
        """The same of psql."""
        command = [str(self.server.bin / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", file]
        return timed(command, self.folder, self.environment())

    def start(self) -> tuple[float, float]:
        """The same of Python and psycopg2."""
        return timed(START, self.folder, self.environment())


def timed(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> tuple[float, float]:
    """Run a command that must succeed: (seconds, seconds of CPU in it)."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=dict(environment), capture_output=True, text=True)
    elapsed = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return elapsed, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def report(name: str, budget: float | None, values: Sequence[float], **more: object) -> None:
    """One line: the median with its spread."""
    figures = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    line = {"benchmark": name, "budget": budget, **{key: round(value, 3) for key, value in figures.items()}, **more}
    print(json.dumps(line), flush=True)


def run(bench: Bench, runs: int) -> None:
    """Every figure for one N."""
    n = bench.number
    names = ("apply", "cpu", "status", "nothing", "rollback", "start of apply", "start of rollback")
    found: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(runs):
        bench.fresh()
        psql_up = bench.psql("up.sql")[0]
        psql_down = bench.psql("down.sql")[0]
        bench.fresh()
        start = bench.start()
        ours = bench.ours("migrate")
        found["apply"].append(ours[0] / psql_up)
        found["cpu"].append(ours[1] - start[1])
        found["start of apply"].append(start[0] / psql_up)
        found["start of rollback"].append(start[0] / psql_down)
        found["status"].append(pair(lambda: bench.ours("status")[0], lambda: bench.start()[0]))
        found["nothing"].append(pair(lambda: bench.ours("migrate")[0], lambda: bench.start()[0]))
        found["rollback"].append(bench.ours("rollback", "--to", "0", "--allow-data-loss")[0] / psql_down)
    report("apply, times psql", 1.2, found["apply"], migrations=n)
    report("apply, seconds of client CPU over Python's and psycopg2's start", 0.35, found["cpu"], migrations=n)
    report("status, seconds over that start", 0.1, found["status"], migrations=n)
    report("migrate with nothing to do, seconds over that start", 0.1, found["nothing"], migrations=n)
    report("rollback of all, times psql", 1.5, found["rollback"], migrations=n)
    # What of the two ratios is there before the first line of ours is run.
    report("start of Python and psycopg2, times psql's apply", None, found["start of apply"], migrations=n)
    report("start of Python and psycopg2, times psql's rollback", None, found["start of rollback"], migrations=n)


def pair(ours: Callable[[], float], theirs: Callable[[], float]) -> float:
    """Median difference of five interleaved pairs."""
    return statistics.median(ours() - theirs() for _ in range(5))


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--migrations", type=int, nargs="+", default=[100, 1000])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        path.chmod(0o755)
        with embedded.start(path / "server") as server:
            for number in given.migrations:
                run(Bench(server, path / str(number), number), given.runs)


if __name__ == "__main__":
    main()
