"""Speed of `dbt-cicd job` with 300 jobs, 5 versions each and 200 DAGs, over Python's start. Prints JSON lines."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from db import ROOT, START, report, timed

COMMAND = [sys.executable, "-m", "dbt_cicd_toolkit.cli.main", "job"]
ENVIRONMENTS = ("development", "staging", "production")
JOB = '''\
"""Load {name}."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from {package}.common.shared_{shared} import clean

log = logging.getLogger(__name__)


class Job{number}:
    """Loads what came since the last run."""

    reads = ["orders", "customers"]
    writes = ["analytics.{name}_{version}"]
    requires = ["requests>=2.31"]

    def __init__(self, limit: int = 1000) -> None:
        self.limit = limit

    def rows(self) -> Iterator[dict[str, object]]:
        import json

        for place in range(self.limit):
            row = {{"id": place, "text": json.dumps({{"place": place}})}}
            if place % 7 == 0:
                log.info("at %s of %s", place, self.limit)
            yield clean(row)

    def run(self) -> int:
        written = 0
        for row in self.rows():
            if row["id"] is None:
                continue
            written += 1
        log.info("wrote %s rows", written)
        return written
'''
SHARED = '''\
"""What jobs share."""

from __future__ import annotations


def clean(row: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in row.items() if value is not None}
'''
DAG = '''\
"""Runs some jobs every night."""

from __future__ import annotations

import datetime

from airflow import DAG
from airflow.providers.standard.operators.python import PythonOperator
{imports}

with DAG(
    dag_id="nightly_{number}",
    start_date=datetime.datetime(2026, 1, 1),
    schedule="@daily",
    catchup=False,
    default_args={{"owner": "dwh", "retries": 2}},
) as dag:
    before = None
    for job in ({names}):
        task = PythonOperator(task_id=job.__name__.lower(), python_callable=job().run)
        if before is not None:
            before >> task
        before = task
'''


class Bench:
    """A repository with so many jobs, versions and DAGs, released as a user would."""

    def __init__(self, folder: Path, jobs: int, versions: int, dags: int) -> None:
        self.folder = folder
        self.jobs = jobs
        folder.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("config", "user.name", "Ann")
        self.git("config", "user.email", "ann@example.com")
        self.run("init", "dwh")
        (folder / "dwh/common").mkdir()
        for number in range(20):
            (folder / f"dwh/common/shared_{number}.py").write_text(SHARED)
        with (folder / "jobs.toml").open("a") as settings:
            settings.writelines(f'\n[environments.{name}]\nbranch = "main"\n' for name in ENVIRONMENTS)
        for version in range(1, versions + 1):
            self.open(version)
            self.commit()
            self.run("release")
        (folder / "dags").mkdir()
        for number in range(dags):
            self.dag(number, versions)
        self.commit()

    @property
    def environment(self) -> dict[str, str]:
        """Without git's settings of this machine; bytecode is kept, as it is where the package is installed."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if name != "PYTHONDONTWRITEBYTECODE" and not name.startswith(("GIT_", "DBT_CICD_"))
        }
        return {**kept, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "PYTHONPATH": str(ROOT / "src")}

    def git(self, *arguments: str) -> float:
        """Seconds of git."""
        return timed(["git", *arguments], self.folder, self.environment)[0]

    def commit(self) -> None:
        """Commit all."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "Change")

    def run(self, *arguments: str) -> float:
        """Seconds of a command."""
        return timed([*COMMAND, *arguments], self.folder, self.environment)[0]

    def open(self, version: int) -> None:
        """All jobs anew in the folder of 0.VERSION.0."""
        folder = self.folder / f"dwh/jobs/v0_{version}_0"
        folder.mkdir()
        (folder / "__init__.py").touch()
        for number in range(self.jobs):
            text = JOB.format(
                name=f"job_{number}", number=number, package="dwh", shared=number % 20, version=f"v{version}"
            )
            (folder / f"job_{number}.py").write_text(text)

    def dag(self, number: int, versions: int) -> None:
        """A DAG that runs five jobs, each in some version."""
        used = [((number * 5 + place) % self.jobs, (number + place) % versions + 1) for place in range(5)]
        imports = [
            f"from dwh.jobs.v0_{version}_0.job_{job} import Job{job} as Job{job}V{version}" for job, version in used
        ]
        names = ", ".join(f"Job{job}V{version}" for job, version in used)
        text = DAG.format(imports="\n".join(imports), names=names, number=number)
        (self.folder / f"dags/dag_{number}.py").write_text(text)


def reading(bench: Bench, runs: int, command: str, at_most: float) -> None:
    """A command that reads, over Python's start."""
    found = []
    for _ in range(runs):
        start = timed(START, bench.folder, bench.environment)[0]
        found.append(bench.run(command) - start)
    report(f"job {command}, seconds over Python's start", at_most, found)


def releasing(bench: Bench, runs: int, versions: int) -> None:
    """A release of all jobs, over Python's start and git's own commit and tag."""
    found = []
    for number in range(versions + 1, versions + runs + 1):
        bench.open(number)
        bench.commit()
        start = timed(START, bench.folder, bench.environment)[0]
        git = bench.git("commit", "--quiet", "--allow-empty", "--message", "x")
        git += bench.git("tag", "--annotate", "--message", "x", f"x{number}")
        found.append(bench.run("release") - start - git)
    report("job release, seconds over Python's start and git's commit and tag", 2, found)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--versions", type=int, default=5)
    parser.add_argument("--dags", type=int, default=200)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        bench = Bench(Path(folder) / "project", given.jobs, given.versions, given.dags)
        print(f"made in {time.perf_counter() - started:.1f} s", file=sys.stderr)
        measured: tuple[tuple[str, float], ...] = (("check", 5), ("adoption", 3), ("list", 1))
        for command, at_most in measured:
            reading(bench, given.runs, command, at_most)
        releasing(bench, given.runs, given.versions)


if __name__ == "__main__":
    main()
