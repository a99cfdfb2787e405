"""`dbt-cicd job adoption`: who uses which version, in every environment, without importing anything."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from pathlib import Path

import pytest

from support.job_project import JobProject
from support.job_releases import copy, full, project_with

SEED = """\
# Example: Airflow DAG referencing a specific job version
from airflow import DAG
from dwh.jobs.v0_1_0.my_job import MyJob as MyJobV1
from dwh.jobs.v0_2_0.my_job import MyJob as MyJobV2

with DAG("nightly") as dag:
    # Use MyJobV1 for legacy workflows
    legacy_task = PythonOperator(
        task_id='legacy_job',
        python_callable=MyJobV1().run,
    )
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """my_job in 0.1.0 and 0.2.0, and the seed's DAG."""
    releases = {"0.1.0": {"my_job": full(), "other": full("Other")}, "0.2.0": {"my_job": full(table="two")}}
    return project_with(tmp_path_factory.mktemp("template") / "project", releases, {"dags/nightly.py": SEED})


@pytest.fixture
def project(template: Path, tmp_path: Path) -> JobProject:
    return copy(template, tmp_path / "project")


def adoption(project: JobProject, *arguments: str) -> list[str]:
    """'production main my_job 0.1.0 frozen nightly import dags/nightly.py:3' of each use."""
    body = json.loads(project.done("adoption", "--json", *arguments).out)
    return [
        " ".join(
            [
                str(use["environment"]),
                str(use["branch"]),
                str(use["job"]),
                str(use["version"]),
                use["state"],
                ",".join(use["dags"]),
                use["how"],
                f"{use['path']}:{use['line']}",
            ]
        )
        for use in body["uses"]
    ]


def test_the_dag_of_the_seed(project: JobProject) -> None:
    assert adoption(project) == [
        "production main my_job 0.1.0 frozen nightly import dags/nightly.py:3",
        "production main my_job 0.2.0 frozen nightly import dags/nightly.py:4",
    ]
    assert adoption(project, "my_job", "0.2.0") == [
        "production main my_job 0.2.0 frozen nightly import dags/nightly.py:4"
    ]
    text = project.done("adoption").out.splitlines()
    assert text[0].split() == ["ENVIRONMENT", "BRANCH", "JOB", "VERSION", "STATE", "DAG", "BY", "WHERE"]
    assert project.done("adoption", "--output-format", "markdown").out.startswith("| Environment | Branch |")


def test_every_form_of_use_is_found(project: JobProject) -> None:
    lock = {"format": 1, "environments": {"production": {"my_job": {"~=0.1.0": "0.1.0"}}}}
    project.write(
        {
            "dwh/jobs/jobs.lock": json.dumps(lock, indent=2) + "\n",
            "dwh/tasks.py": "from dwh.jobs.v0_1_0 import other\n",
            "dags/nightly.py": "from airflow import DAG\nfrom dwh import tasks\nfrom dwh.jobs import resolve\n"
            "DAG('a'); DAG('b')\nresolve('my_job', '~=0.1.0')\nresolve('my_job')\n"
            "X = {'--module_name': 'dwh.jobs.v0_2_0.my_job'}\n__import__(name)\n",
            "dags/glue.yml": "# dwh.jobs.v0_1_0.other\nscript: s3://x/dwh/jobs/v0_1_0/my_job.py\n",
            "dags/glue.json": '{"--module_name": "dwh.jobs.v0_2_0.my_job"}\n',
            "dags/README.md": "It ran dwh.jobs.v0_1_0.my_job once.\n",
        }
    )
    assert adoption(project) == [
        "production main my_job 0.2.0 frozen dags/glue.json string dags/glue.json:1",
        "production main my_job 0.1.0 frozen dags/glue.yml string dags/glue.yml:2",
        "production main my_job 0.1.0 frozen a,b resolve dags/nightly.py:5",
        "production main my_job None unknown a,b resolve dags/nightly.py:6",
        "production main my_job 0.2.0 frozen a,b string dags/nightly.py:7",
        "production main None None unknown a,b unknown dags/nightly.py:8",
        "production main other 0.1.0 frozen a,b import dwh/tasks.py:1",
    ]
    assert "__import__(name)" in project.done("adoption").out


def test_an_unknown_version_is_refused(project: JobProject) -> None:
    assert "there is no my_job 9.9.9. " in project.refused(2, "adoption", "my_job", "9.9.9")
    assert "there is no other 0.2.0. " in project.refused(2, "adoption", "other", "0.2.0")
    assert adoption(project, "other", "0.1.0") == []
    project.write({"dags/gone.py": "import dwh.jobs.v9_9_9.my_job\n"})
    assert adoption(project, "my_job", "9.9.9") == [
        "production main my_job 9.9.9 missing dags/gone.py import dags/gone.py:1"
    ]


def test_the_name_of_a_folder_that_no_use_accounts_for_is_unknown(project: JobProject) -> None:
    """Where there is such a folder; a version's own name in its own files is nothing."""
    project.write(
        {
            "dags/nightly.py": "'v0_1_0'\nimport dwh.jobs\nvars(dwh.jobs)['v0_1_0']\nTAG = 'v0_7_0'\n",
            "dags/glue.yml": "version: v0_2_0\nother: v0_7_0\n",
            "dwh/jobs/v0_3_0/new.py": full("New") + "\n\nHERE = 'v0_3_0'\nTHERE = 'v0_1_0'\n",
        }
    )
    assert adoption(project) == [
        "production main None None unknown dags/glue.yml unknown dags/glue.yml:1",
        "production main None None unknown dags/nightly.py unknown dags/nightly.py:3",
    ]
    found = [line for line in project.done("check").out.splitlines() if line.startswith("unknown: isolation: ")]
    assert len(found) == 1 and "dwh/jobs/v0_3_0/new.py" in found[0] and "'v0_1_0' cannot be read" in found[0]
    project.done("deprecate", "my_job", "0.1.0", "--until", "2026-01-01")
    said = project.refused(1, "remove", "my_job", "0.1.0")
    assert "dags/nightly.py:3 (unknown, environment production, branch main): 'v0_1_0'" in said
    assert "dwh/jobs/v0_3_0/new.py" in said and "nightly.py:4" not in said
    project.done("remove", "my_job", "0.1.0", "--despite-unknown")


def test_a_folder_of_dags_that_is_not_there_is_a_warning(project: JobProject) -> None:
    project.write(
        {"jobs.toml": 'package = "dwh"\n[environments.production]\nbranch = "main"\ndags = ["dags", "gone"]\n'}
    )
    out = project.done("check").out
    assert "warning: adoption: jobs.toml: environments.production has its DAGs in 'gone', and branch main has no" in out
    assert out.count("has its DAGs in") == 1


def test_also_of_the_folder_that_is_the_default_when_it_is_written_down(project: JobProject) -> None:
    settings = 'package = "dwh"\n[environments.production]\nbranch = "main"\n'
    (project.path / "dags/nightly.py").unlink()
    project.commit("No DAGs", {"jobs.toml": settings})
    assert project.done("check").out == "Nothing is wrong.\n"
    project.commit("Say where", {"jobs.toml": settings + 'dags = ["dags"]\n'})
    said = "warning: adoption: jobs.toml: environments.production has its DAGs in 'dags', and branch main has no such"
    assert said in project.done("check").out
    assert project.job("check", "--strict").code == 1


def test_names_that_are_put_together_are_unknown_and_in_the_way_of_a_removal(project: JobProject) -> None:
    lines = [
        "from importlib import import_module",
        "from dwh import jobs",
        "import_module('dwh.jobs.' + version)",
        "X = f'dwh.jobs.v{version}.my_job'",
        "X = '%s.%s' % ('dwh.jobs', version)",
        "X = '{}.{}'.format('dwh.jobs', version)",
        "getattr(jobs, 'v' + version)",
        "vars(jobs)[version]",
    ]
    project.write({"dags/nightly.py": "\n".join(lines)})
    places = [f"dags/nightly.py:{number}" for number in range(3, 9)]
    assert [line.split()[-1] for line in adoption(project)] == places
    unknown = [line for line in project.done("check").out.splitlines() if line.startswith("unknown: adoption: ")]
    assert [line.split()[2] for line in unknown] == places
    project.done("deprecate", "my_job", "0.1.0", "--until", "2026-01-01")
    said = project.refused(1, "remove", "my_job", "0.1.0")
    assert all(f"{place} (unknown, environment production, branch main)" in said for place in places)
    project.done("remove", "my_job", "0.1.0", "--despite-unknown")


def test_what_another_branch_takes_of_the_package_is_in_the_way_of_a_removal(project: JobProject) -> None:
    project.write({"dags/nightly.py": ""})
    project.done("deprecate", "my_job", "0.1.0", "--until", "2026-01-01")
    project.commit("Deprecate")
    project.git("switch", "--quiet", "--create", "feature")
    project.commit("Take any", {"tools/run.py": "from dwh import jobs\n\ngetattr(jobs, 'v' + version)\n"})
    project.git("switch", "--quiet", "main")
    said = project.refused(1, "remove", "my_job", "0.1.0")
    assert "tools/run.py:3 (unknown, branch feature): getattr(jobs, 'v' + version)" in said


def archive(name: str) -> bytes:
    """A zip file with a DAG in it."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(name, SEED)
    return content.getvalue()


def test_an_archive_of_dags_is_unknown(project: JobProject) -> None:
    """Airflow runs packaged DAGs: zip files, whatever they are called."""
    project.write(
        {
            "dags/nightly.py": "",
            "dags/packaged.zip": archive("dag.py"),
            "dags/sub/other.pkg": archive("dag.py"),
            "dags/table.xlsx": archive("sheet.xml"),
            "dags/broken.zip": b"PK",
        }
    )
    places = ["dags/broken.zip:1", "dags/packaged.zip:1", "dags/sub/other.pkg:1"]
    assert [line.split()[-1] for line in adoption(project)] == places
    out = project.done("check").out
    assert "dags/packaged.zip:1 (environment production, branch main): what is in this archive cannot be read" in out
    project.done("deprecate", "my_job", "0.1.0", "--until", "2026-01-01")
    said = project.refused(1, "remove", "my_job", "0.1.0")
    assert all(place in said for place in places)
    project.done("remove", "my_job", "0.1.0", "--despite-unknown", "--dry-run")
    project.done("upgrade", "my_job", "0.1.0", "0.2.0")


def test_an_archive_of_another_branch_is_in_the_way_of_a_removal(project: JobProject) -> None:
    project.write({"dags/nightly.py": ""})
    project.done("deprecate", "my_job", "0.1.0", "--until", "2026-01-01")
    project.commit("Deprecate")
    project.git("switch", "--quiet", "--create", "feature")
    project.commit("Package it", {"dags/packaged.zip": archive("dag.py")})
    project.git("switch", "--quiet", "main")
    assert "dags/packaged.zip:1 (unknown, branch feature)" in project.refused(1, "remove", "my_job", "0.1.0")


def test_an_expression_of_too_many_parts_is_told(project: JobProject) -> None:
    project.write({"dags/long.py": "from airflow import DAG\nX = " + " + ".join(["'a'"] * 2000) + "\n"})
    for command in (("adoption",), ("check",), ("upgrade", "my_job", "0.1.0", "0.2.0")):
        result = project.job(*command)
        assert result.code == 2 and "dags/long.py" in result.out + result.err


def test_each_environment_is_read_from_its_branch(project: JobProject) -> None:
    settings = (
        'package = "dwh"\n[environments.production]\nbranch = "live"\n'
        '[environments.staging]\nbranch = "main"\n[environments.development]\ndags = ["dags", "sandbox"]\n'
    )
    project.write({"jobs.toml": settings, "dwh/helper.py": "import dwh.jobs.v0_1_0.other\n"})
    project.commit("Environments")
    project.git("switch", "--quiet", "--create", "live")
    project.commit("Live", {"dags/nightly.py": "from airflow import DAG\nimport dwh.helper\nDAG('live')\n"})
    project.git("switch", "--quiet", "main")
    project.write({"sandbox/try.py": "import dwh.jobs.v0_2_0.my_job\n"})
    (project.path / "dwh/helper.py").unlink()
    assert adoption(project) == [
        "production live other 0.1.0 frozen live import dwh/helper.py:1",
        "staging main my_job 0.1.0 frozen nightly import dags/nightly.py:3",
        "staging main my_job 0.2.0 frozen nightly import dags/nightly.py:4",
        "development main my_job 0.1.0 frozen nightly import dags/nightly.py:3",
        "development main my_job 0.2.0 frozen nightly import dags/nightly.py:4",
        "development main my_job 0.2.0 frozen sandbox/try.py import sandbox/try.py:1",
    ]
    assert adoption(project, "--environment", "production") == [
        "production live other 0.1.0 frozen live import dwh/helper.py:1"
    ]
    assert "Did you mean production?" in project.refused(2, "adoption", "--environment", "productoin")
    assert "there is no job my_jobs. Did you mean my_job?" in project.refused(2, "adoption", "my_jobs")


def test_a_branch_of_the_remote_and_a_detached_head_are_found(project: JobProject, tmp_path: Path) -> None:
    clone = JobProject(tmp_path / "clone", clone=project.path)
    clone.git("checkout", "--quiet", "--detach")
    clone.git("branch", "--delete", "--force", "main")
    assert adoption(clone) == [
        "production None my_job 0.1.0 frozen nightly import dags/nightly.py:3",
        "production None my_job 0.2.0 frozen nightly import dags/nightly.py:4",
    ]
    clone.git("commit", "--quiet", "--allow-empty", "--message", "Off")
    assert adoption(clone)[0].startswith("production main my_job 0.1.0 ")


def test_a_branch_that_this_clone_has_not_got_is_told(project: JobProject) -> None:
    project.write({"jobs.toml": 'package = "dwh"\n[environments.production]\nbranch = "gone"\n'})
    result = project.job("adoption", "--json")
    assert result.code == 0 and json.loads(result.out)["uses"] == []
    assert "environments.production runs branch 'gone', which this clone has not got" in result.err
    assert "unknown: adoption: jobs.toml: environments.production" in project.done("check").out


def test_nothing_is_imported_and_files_that_are_no_python_are_all_told(project: JobProject) -> None:
    project.write({"dags/trap.py": "import dwh.jobs.v0_1_0.my_job\nraise SystemExit(3)\n"})
    assert len(adoption(project)) == 3
    assert not any(name == "dwh" or name.startswith("dwh.") for name in sys.modules)
    project.write({"dags/trap.py": "def\n", "dags/trip.py": "x ="})
    said = project.refused(2, "adoption")
    assert "dags/trap.py:1: no Python" in said and "dags/trip.py:1: no Python" in said


def test_without_environments_the_dags_of_the_working_tree_are_read(project: JobProject) -> None:
    project.write({"jobs.toml": 'package = "dwh"\n'})
    assert adoption(project)[0] == "None main my_job 0.1.0 frozen nightly import dags/nightly.py:3"
    project.write({"dags/nightly.py": ""})
    assert project.done("adoption").out == "No DAG uses a job.\n"
