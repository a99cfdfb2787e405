"""A real Airflow 3, in the environment that tools/airflow.py makes, with a copy of a migrated database."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from support.shop import locked

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".local/venvs/airflow/bin/python"

# What Airflow makes of the files it is given, as it would before it stores their DAGs.
_LOAD = """
import json, pathlib, sys
from airflow.models.serialized_dag import SerializedDagModel
from airflow.serialization.serialized_objects import DagSerialization
from airflow.dag_processing.dagbag import DagBag

def job_of(operator):
    function = getattr(operator, "python_callable", None)
    if function is not None and function.__name__ == "build_and_run":
        return operator.op_args[0]
    owner = getattr(function, "__self__", None)
    return type(owner).__module__ if owner is not None else None

found = {}
for path in sys.argv[1:]:
    bag = DagBag(path, bundle_path=pathlib.Path(path).parent)  # what is stored names the file from there
    dags = {}
    for dag in bag.dags.values():
        data = DagSerialization.to_dict(dag)
        text = json.dumps(data, default=str)
        dags[dag.dag_id] = {
            "hash": SerializedDagModel.hash(data), "serialized": text, "tags": sorted(dag.tags),
            "docs": {task.task_id: task.doc_md for task in dag.tasks},
            "jobs": {task.task_id: job_of(task) for task in dag.tasks},
        }
    modules = sorted(name for name in sys.modules if name.startswith("dbt_cicd_toolkit"))
    found[path] = {"dags": dags, "errors": {str(key): value for key, value in bag.import_errors.items()},
                   "warnings": [text for texts in bag.captured_warnings.values() for text in texts], "modules": modules}
print("LOADED " + json.dumps(found))
"""


@dataclass(frozen=True)
class Loaded:
    """A DAG as Airflow reads it: ``jobs`` are the modules of its tasks' jobs, ``docs`` their doc_md, by task."""

    hash: str
    serialized: str
    tags: list[str]
    docs: dict[str, str | None]
    jobs: dict[str, str | None]
    warnings: list[str] = field(default_factory=list)
    modules: list[str] = field(default_factory=list)


class Airflow:
    """Airflow on the DAGs of a repository, which is on its Python path, as Airflow's bundles put it there.

    Args:
        home: a folder for it, made.
        migrated: a home with a database to copy.
        repository: what the DAGs import from.
    """

    def __init__(self, home: Path, migrated: Path, repository: Path) -> None:
        shutil.copytree(migrated, home)
        self.home = home
        self.repository = repository

    def environment(self, **extra: str) -> dict[str, str]:
        """The variables that Airflow runs with."""
        path = os.pathsep.join([str(self.repository), str(ROOT / "src")])
        return (
            _environment(self.home) | {"PYTHONPATH": path, "AIRFLOW__CORE__DAGS_FOLDER": str(self.repository)} | extra
        )

    def test(self, dag: str, file: str, **extra: str) -> dict[str, Any]:
        """`airflow dags test` of a DAG, which must succeed: what each of its tasks returned."""
        path = str(self.repository / file)
        out = _run(["-m", "airflow", "dags", "test", dag, "--dagfile-path", path], self.environment(**extra))
        assert re.search(rf"DagRun Finished.*dag_id={dag}.*state=success", out), out
        return self._returned(out)

    def _returned(self, out: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        task = ""
        for line in out.splitlines():
            if match := re.search(r"starting task_id=(\w+)", line):
                task = match[1]
            elif match := re.search(r"Returned value was: (.*?)\s+\[", line):
                found[task] = match[1]
        return found

    def load(self, *files: str, **extra: str) -> dict[str, dict[str, Loaded]]:
        """The DAGs of some files: {file: {dag_id: …}}; none may fail to load."""
        paths = {str(self.repository / file): file for file in files}
        out = _run(["-c", _LOAD, *paths], self.environment(**extra))
        (line,) = [line for line in out.splitlines() if line.startswith("LOADED ")]
        found = {}
        for path, read in json.loads(line.removeprefix("LOADED ")).items():
            assert not read["errors"], read["errors"]
            rest = {"warnings": read["warnings"], "modules": read["modules"]}
            found[paths[path]] = {name: Loaded(**dag, **rest) for name, dag in read["dags"].items()}
        return found


def migrated(folder: Path) -> Path:
    """A home with a migrated database, made once in ``folder``, which all workers of a test session share."""
    if not PYTHON.with_name("airflow").is_file():
        pytest.skip("Airflow is not set up: make .local/venvs/airflow/stamp.json")
    home = folder / "airflow"
    with locked(folder / "airflow.lock"):
        if not (folder / "airflow.done").exists():
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir()
            _run(["-m", "airflow", "db", "migrate"], _environment(home))
            (folder / "airflow.done").touch()
    return home


def _environment(home: Path) -> dict[str, str]:
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "DBT_", "PYTHON"))
    }
    return inherited | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        # The home was copied, and its airflow.cfg names the place it was made in.
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "NO_COLOR": "1",
    }


def _run(arguments: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        [PYTHON, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
