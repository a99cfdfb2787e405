"""Versions of jobs on a real Airflow 3: side by side, seen by Airflow's DAG versions, each with what it requires."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import dbt_cicd_toolkit
from support import airflow
from support.airflow import Airflow, Loaded
from support.job_project import JobProject, job_text

FOLDERS = ("v0_1_0", "v0_2_0")
INIT = '''\
"""Jobs, by version."""

from dbt_cicd_toolkit.jobs.resolver import bind

resolve = bind(__name__, __file__)
'''
# The seed's DAG, with an import for its operator and a DAG for its tasks.
SEED = """\
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG

# Example: Airflow DAG referencing a specific job version
from dwh.jobs.v0_1_0.my_job import MyJob as MyJobV1
from dwh.jobs.v0_2_0.my_job import MyJob as MyJobV2

with DAG("seed"):
    # Use MyJobV1 for legacy workflows
    legacy_task = PythonOperator(
        task_id='legacy_job',
        python_callable=MyJobV1().run,
    )

    # Use MyJobV2 for new workflows
    new_task = PythonOperator(
        task_id='new_job',
        python_callable=MyJobV2().run,
    )
"""
PLAIN = """\
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG
from dwh.jobs.{folder}.my_job import MyJob

with DAG("nightly", tags=["finance"]):
    PythonOperator(task_id="my_job", python_callable=MyJob().run)
"""
TAGGED = """\
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG
from dbt_cicd_toolkit.jobs.airflow import job_tags
from dwh.jobs.{folder}.my_job import MyJob

with DAG("nightly", tags=["finance", *job_tags(MyJob)]):
    PythonOperator(task_id="my_job", python_callable=MyJob().run)
"""
DOCUMENTED = """\
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG
from dbt_cicd_toolkit.jobs.airflow import versioned_operator
from dwh.jobs.{folder}.my_job import MyJob

with DAG("nightly", tags=["finance"]):
    versioned_operator(PythonOperator, MyJob, task_id="my_job", doc_md="Runs at night.")
"""
RESOLVED = """\
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG
from dbt_cicd_toolkit.jobs.airflow import job_tags, versioned_operator
from dwh.jobs import resolve

Legacy = resolve("my_job", "~=0.1.0")
Newest = resolve("my_job", "~=0.1")

with DAG("resolved", tags=job_tags(Legacy, Newest)):
    versioned_operator(PythonOperator, Legacy, task_id="legacy")
    versioned_operator(PythonOperator, Newest, task_id="newest")
"""
LOCK = """\
{"format": 1, "environments": {
  "production": {"my_job": {"~=0.1.0": "0.1.0", "~=0.1": "0.2.0"}},
  "staging": {"my_job": {"~=0.1.0": "0.1.0", "~=0.1": "0.1.0"}}}}
"""
# Two jobs that no one interpreter can run.
WITH_WIDGET = """\
import widget


class MyJob:
    reads = []
    writes = []
    requires = ["widget=={version}"]

    def run(self, greeting="widget"):
        return f"{{greeting}} {{widget.VERSION}}"
"""
ISOLATED = """\
from airflow.providers.standard.operators.python import PythonVirtualenvOperator
from airflow.sdk import DAG
from dbt_cicd_toolkit.jobs.airflow import job_tags, versioned_operator

OLD, NEW = "dwh.jobs.v0_1_0.my_job", "dwh.jobs.v0_2_0.my_job"
HOW = {"index_urls": [], "pip_install_options": ["--no-index", "--find-links", "WHEELS"], "venv_cache_path": "CACHE"}

with DAG("isolated", tags=job_tags(OLD, NEW)):
    versioned_operator(PythonVirtualenvOperator, OLD, task_id="old", **HOW)
    versioned_operator(PythonVirtualenvOperator, NEW, task_id="new", op_kwargs={"greeting": "{{ dag.dag_id }}"}, **HOW)
"""


@pytest.fixture(scope="session")
def home(pytestconfig: pytest.Config) -> Path:
    """Airflow's home with a migrated database."""
    base: Path = pytestconfig._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    return airflow.migrated(base.parent if hasattr(pytestconfig, "workerinput") else base)


@pytest.fixture
def on_airflow(home: Path, tmp_path: Path) -> Callable[[JobProject], Airflow]:
    return lambda project: Airflow(tmp_path / "airflow", home, project.path)


@pytest.fixture
def project(tmp_path: Path) -> JobProject:
    """Two versions of a job, and DAGs for them."""
    made = JobProject(tmp_path / "project")
    dags = {"plain": PLAIN, "tagged": TAGGED, "documented": DOCUMENTED}
    made.write(
        {
            "jobs.toml": 'package = "dwh"\n[environments.production]\n[environments.staging]\n',
            "dwh/__init__.py": "",
            "dwh/jobs/__init__.py": INIT,
            "dwh/jobs/jobs.lock": LOCK,
            **{
                f"dwh/jobs/{folder}/{name}": text
                for folder in FOLDERS
                for name, text in (("__init__.py", ""), ("my_job.py", job_text(says=f"this is {folder}")))
            },
            "dags/seed.py": SEED,
            "dags/resolved.py": RESOLVED,
            # What one file says before and after it moves to the new version.
            **{
                f"{name}/{folder}/nightly.py": text.format(folder=folder)
                for name, text in dags.items()
                for folder in FOLDERS
            },
        }
    )
    return made


def test_the_seed_s_dag_runs_both_versions(project: JobProject, on_airflow: Callable[[JobProject], Airflow]) -> None:
    returned = on_airflow(project).test("seed", "dags/seed.py")
    assert returned == {"legacy_job": "this is v0_1_0", "new_job": "this is v0_2_0"}


def test_airflow_sees_the_version(project: JobProject, on_airflow: Callable[[JobProject], Airflow]) -> None:
    files = [f"{name}/{folder}/nightly.py" for name in ("plain", "tagged", "documented") for folder in FOLDERS]
    loaded = {file: dags["nightly"] for file, dags in on_airflow(project).load(*files).items()}
    hashes = {file: dag.hash for file, dag in loaded.items()}
    # Airflow alone does not see that the DAG now runs other code …
    assert hashes["plain/v0_1_0/nightly.py"] == hashes["plain/v0_2_0/nightly.py"]
    # … and does when the version stands on the DAG, or on the task.
    assert hashes["tagged/v0_1_0/nightly.py"] != hashes["tagged/v0_2_0/nightly.py"]
    assert hashes["documented/v0_1_0/nightly.py"] != hashes["documented/v0_2_0/nightly.py"]
    assert loaded["tagged/v0_2_0/nightly.py"].tags == ["finance", "my_job@0.2.0"]
    assert loaded["documented/v0_2_0/nightly.py"].docs == {"my_job": "`my_job@0.2.0`\n\nRuns at night."}


def test_a_dag_that_resolves(project: JobProject, on_airflow: Callable[[JobProject], Airflow]) -> None:
    """Which class a pin gives is said by the lock, for each environment; and static adoption says the same."""
    run = on_airflow(project)
    files = ("dags/resolved.py", "dags/seed.py")
    production = run.load(*files, DBT_CICD_ENVIRONMENT="production")
    dag = production["dags/resolved.py"]["resolved"]
    assert dag.tags == ["my_job@0.1.0", "my_job@0.2.0"]
    assert dag.jobs == {"legacy": "dwh.jobs.v0_1_0.my_job", "newest": "dwh.jobs.v0_2_0.my_job"}
    # Airflow shows it among the warnings of the DAG.
    assert any("'~=0.1' admits 0.2" in each for each in dag.warnings), dag.warnings
    assert not any("'~=0.1.0'" in each.split("For 0.1.x")[0] for each in dag.warnings), dag.warnings
    # Of the toolkit a DAG loads these and nothing else.
    names = {name.removeprefix("dbt_cicd_toolkit").lstrip(".") for name in dag.modules}
    jobs = {f"jobs.{name}" for name in ("airflow", "nearest", "pins", "resolver", "source")}
    assert names <= {"", "errors", "jobs", *jobs}
    staging = run.load(*files, DBT_CICD_ENVIRONMENT="staging")
    assert staging["dags/resolved.py"]["resolved"].jobs == dict.fromkeys(("legacy", "newest"), "dwh.jobs.v0_1_0.my_job")
    assert adopted(project, "production") == referenced(production)
    assert adopted(project, "staging") == referenced(staging)


def adopted(project: JobProject, environment: str) -> set[tuple[str, str]]:
    """Which DAG uses which module, as `job adoption` reads the files."""
    found = json.loads(project.done("adoption", "--environment", environment, "--json").out)["uses"]
    assert all(use["version"] for use in found), found
    return {(dag, f"dwh.jobs.v{use['version'].replace('.', '_')}.{use['job']}") for use in found for dag in use["dags"]}


def referenced(loaded: dict[str, dict[str, Loaded]]) -> set[tuple[str, str]]:
    """The same, as the DAGs that Airflow loaded have it."""
    dags = [found for each in loaded.values() for found in each.items()]
    return {(name, job) for name, dag in dags for job in dag.jobs.values() if job is not None}


def wheel(folder: Path, version: str) -> None:
    """A wheel of the package `widget`."""
    folder.mkdir(exist_ok=True)
    info = f"widget-{version}.dist-info"
    with zipfile.ZipFile(folder / f"widget-{version}-py3-none-any.whl", "w") as file:
        file.writestr("widget.py", f"VERSION = '{version}'\n")
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: widget\nVersion: {version}\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: us\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")


def test_versions_whose_requirements_exclude_each_other(
    project: JobProject, tmp_path: Path, on_airflow: Callable[[JobProject], Airflow]
) -> None:
    """Neither widget is installed where the DAG is read; each task gets its own, and the job's own package."""
    for version in ("1.0", "2.0"):
        wheel(tmp_path / "wheels", version)
    isolated = ISOLATED.replace("WHEELS", str(tmp_path / "wheels")).replace("CACHE", str(tmp_path / "environments"))
    project.write(
        {
            "dwh/jobs/v0_1_0/my_job.py": WITH_WIDGET.format(version="1.0"),
            "dwh/jobs/v0_2_0/my_job.py": WITH_WIDGET.format(version="2.0"),
            "dags/isolated.py": isolated,
        }
    )
    run = on_airflow(project)
    assert run.test("isolated", "dags/isolated.py") == {"old": "widget 1.0", "new": "isolated 2.0"}
    loaded = run.load("dags/isolated.py")
    assert {use for use in adopted(project, "production") if use[0] == "isolated"} == referenced(loaded)
    dag = loaded["dags/isolated.py"]["isolated"]
    assert dag.tags == ["my_job@0.1.0", "my_job@0.2.0"]
    # What is stored of the DAG is the same on another machine, where the repository is elsewhere.
    stored = json.dumps(json.loads(dag.serialized)["dag"]["tasks"])
    assert "build_and_run" in stored
    assert str(project.path) not in stored and str(Path(dbt_cicd_toolkit.__file__).parent) not in stored
