"""`dbt-cicd job upgrade`: the DAGs of the working tree move from one version to another, or nothing changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.job_project import JobProject
from support.job_releases import copy, full, project_with

DAG = """\
# Nightly jobs
from airflow import DAG
from dwh import tasks
from dwh.jobs import resolve
from dwh.jobs.v0_1_0.my_job import MyJob as MyJobV1  # legacy
from dwh.jobs.v0_2_0.my_job import MyJob as MyJobV2

MyJobV3 = resolve('my_job',   '~=0.1.0')  # two spaces
GLUE = {"--module_name": "dwh.jobs.v0_1_0.my_job"}
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    releases = {
        "0.1.0": {"my_job": full() + "\n\nLIMIT = 1\n", "other": full("Other")},
        "0.2.0": {"my_job": full(table="two")},
    }
    files = {
        "dags/nightly.py": DAG,
        "dags/glue.yml": "module: dwh.jobs.v0_1_0.my_job\nother: dwh.jobs.v0_1_0.other\n",
        "dwh/tasks.py": "def f():\n    from dwh.jobs.v0_1_0 import my_job, other\n    return my_job, other\n",
        "scripts/elsewhere.py": "import dwh.jobs.v0_1_0.my_job\n",
    }
    return project_with(tmp_path_factory.mktemp("template") / "project", releases, files)


@pytest.fixture
def project(template: Path, tmp_path: Path) -> JobProject:
    return copy(template, tmp_path / "project")


def test_dags_and_what_they_reach_move_and_a_second_time_nothing_does(project: JobProject) -> None:
    before = project.state()
    planned = json.loads(project.done("upgrade", "my_job", "0.1.0", "0.2.0", "--dry-run", "--json").out)
    assert project.state() == before
    assert planned["files"] == ["dags/glue.yml", "dags/nightly.py", "dwh/tasks.py"] and planned["lock"]
    assert "run `dbt-cicd job lock`" in project.done("upgrade", "my_job", "0.1.0", "0.2.0").out
    expected = DAG.replace("v0_1_0", "v0_2_0").replace("~=0.1.0", "~=0.2.0")
    assert project.read("dags/nightly.py") == expected
    assert project.read("dags/glue.yml") == "module: dwh.jobs.v0_2_0.my_job\nother: dwh.jobs.v0_1_0.other\n"
    assert project.read("dwh/tasks.py") == (
        "def f():\n    from dwh.jobs.v0_1_0 import other\n    from dwh.jobs.v0_2_0 import my_job\n"
        "    return my_job, other\n"
    )
    after = project.state()
    out = project.done("upgrade", "my_job", "0.1.0", "0.2.0").out
    assert out == "Nothing in the DAGs of the working tree uses my_job 0.1.0.\n"
    assert project.state() == after


def test_the_mode_of_a_file_stays(project: JobProject) -> None:
    file = project.path / "dags/nightly.py"
    file.chmod(0o755)
    project.done("upgrade", "my_job", "0.1.0", "0.2.0")
    assert file.stat().st_mode & 0o777 == 0o755


def test_a_name_that_the_new_version_has_not_got_is_refused_with_its_place(project: JobProject) -> None:
    project.write({"dags/limit.py": "import x\nfrom dwh.jobs.v0_1_0.my_job import LIMIT, MyJob\n"})
    said = project.refused(1, "upgrade", "my_job", "0.1.0", "0.2.0")
    assert "dwh/jobs/v0_2_0/my_job.py has MyJob" in said and "dags/limit.py:2: LIMIT" in said


@pytest.mark.parametrize(
    "lines",
    [
        "from dwh.jobs.v0_1_0 import my_job\nmy_job.LIMIT",
        "from dwh.jobs.v0_1_0 import my_job as old\nold.LIMIT + 1",
        "import dwh.jobs.v0_1_0.my_job as old\nold.LIMIT",
        "import dwh.jobs.v0_1_0.my_job\ndwh.jobs.v0_1_0.my_job.LIMIT",
        "from dwh.jobs.v0_1_0 import my_job\ngetattr(my_job, 'LIMIT')",
    ],
)
def test_a_name_behind_a_dot_is_refused_too(project: JobProject, lines: str) -> None:
    project.write({"dags/limit.py": f"{lines}\n"})
    before = project.state()
    assert "dags/limit.py:2: LIMIT" in project.refused(1, "upgrade", "my_job", "0.1.0", "0.2.0")
    assert project.state() == before
    project.write({"dags/limit.py": "from dwh.jobs.v0_1_0 import my_job\nmy_job.MyJob, my_job.__name__\n"})
    project.done("upgrade", "my_job", "0.1.0", "0.2.0")


def test_what_must_be_changed_by_hand_is_refused_with_its_place(project: JobProject) -> None:
    project.write({"dags/star.py": "from dwh.jobs.v0_1_0 import *\n", "dags/p.py": "X = 'dwh.jobs.' 'v0_1_0.my_job'\n"})
    said = project.refused(1, "upgrade", "my_job", "0.1.0", "0.2.0")
    assert "dags/star.py:1: dwh.jobs.v0_1_0" in said and "dags/p.py:1: dwh.jobs.v0_1_0.my_job" in said


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("my_jo", "0.1.0", "0.2.0"), "there is no job my_jo. Did you mean my_job?"),
        (("my_job", "0.1.1", "0.2.0"), "there is no my_job 0.1.1. Did you mean 0.1.0"),
        (("other", "0.1.0", "0.2.0"), "there is no other 0.2.0. Did you mean 0.1.0?"),
        (("my_job", "0.1.0", "0.1.0"), "OLD and NEW are both 0.1.0: name the version to move to."),
        (("my_job", "0.1", "0.2.0"), "OLD: '0.1' is not a SemVer 2.0.0 version"),
    ],
)
def test_unknown_versions_are_refused(project: JobProject, arguments: tuple[str, ...], expected: str) -> None:
    assert expected in project.refused(2, "upgrade", *arguments)


def test_syntax_errors_are_told(project: JobProject) -> None:
    project.write({"dags/bad.py": "import\n"})
    assert "dags/bad.py:1: no Python" in project.refused(2, "upgrade", "my_job", "0.1.0", "0.2.0")
