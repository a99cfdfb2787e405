"""`dbt-cicd job deprecate` and `remove`: a version goes exactly when nobody uses it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dbt_cicd_toolkit.errors import Refused
from dbt_cicd_toolkit.jobs import retire
from dbt_cicd_toolkit.jobs.number import Number
from dbt_cicd_toolkit.jobs.project import Project
from support.job_project import JobProject
from support.job_releases import copy, full, project_with
from support.shop import Shop

PAST, FUTURE = "2001-01-01", "2999-12-31"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    releases = {
        "0.1.0": {"my_job": full(), "other": full("Other")},
        "0.2.0": {"my_job": full(table="two")},
    }
    return project_with(tmp_path_factory.mktemp("template") / "project", releases, {})


@pytest.fixture
def project(template: Path, tmp_path: Path) -> JobProject:
    return copy(template, tmp_path / "project")


def test_deprecate_records_a_day_and_moves_it(project: JobProject) -> None:
    project.write({"dags/n.py": "import dwh.jobs.v0_1_0.my_job\n"})
    before = project.state()
    project.done("deprecate", "my_job", "0.1.0", "--until", PAST, "--dry-run")
    assert project.state() == before
    out = project.done("deprecate", "my_job", "0.1.0", "--until", PAST).out
    assert "my_job 0.1.0 is deprecated: it may be used until 2001-01-01." in out
    assert "dags/n.py:1 (import, environment production, branch main)" in out
    assert json.loads(project.done("deprecate", "my_job", "0.1.0", "--until", FUTURE, "--json").out)["changed"]
    assert not json.loads(project.done("deprecate", "my_job", "0.1.0", "--until", FUTURE, "--json").out)["changed"]
    assert project.read("jobs.toml").count("[[deprecations]]") == 1
    assert "# Settings of the versions of jobs" in project.read("jobs.toml")
    project.refused(2, "deprecate", "my_job", "0.1.0", "--until", "soon")
    assert "there is no my_job 0.9.0" in project.refused(2, "deprecate", "my_job", "0.9.0", "--until", FUTURE)
    project.done("new", "fresh")
    assert "fresh 0.3.0 is in no release yet" in project.refused(1, "deprecate", "fresh", "0.3.0", "--until", PAST)


def test_remove_names_every_reference_and_is_allowed_when_the_last_has_moved(project: JobProject) -> None:
    lock = {"format": 1, "environments": {"production": {"my_job": {"==0.1.0": "0.1.0"}}}}
    project.write({"jobs.toml": project.read("jobs.toml") + '[environments.staging]\nbranch = "stage"\n'})
    project.commit("Staging")
    for branch, files in {
        "stage": {"dags/s.py": "\nfrom dwh.jobs.v0_1_0 import my_job\n"},
        "feature": {"etc/f.json": '{\n  "--module_name": "dwh.jobs.v0_1_0.my_job"\n}\n'},
    }.items():
        project.git("switch", "--quiet", "--create", branch, "main")
        project.commit(branch, files)
    project.git("switch", "--quiet", "main")
    files = {
        "dags/n.py": "from dwh.jobs import resolve\nimport dwh.jobs.v0_1_0.my_job\nresolve('my_job', '==0.1.0')\n",
        "dags/glue.yml": "module: dwh.jobs.v0_1_0.my_job\n",
        "scripts/run.sh": "# dwh.jobs.v0_1_0.my_job\npython -m dwh.jobs.v0_1_0.my_job\n",
        "tests/test_it.py": "def test():\n    from dwh.jobs.v0_1_0.my_job import MyJob\n",
        "dwh/jobs/jobs.lock": json.dumps(lock, indent=2) + "\n",
        "docs/old.md": "See dwh.jobs.v0_1_0.my_job\n",
        "dags/other.py": "import dwh.jobs.v0_1_0.other\n",
    }
    project.write(files)
    said = project.refused(1, "remove", "my_job", "0.1.0").splitlines()
    assert said[0].endswith("dbt-cicd job deprecate my_job 0.1.0 --until DATE.")
    assert said[1] == "my_job 0.1.0 is in use:"
    assert sorted(line.strip() for line in said[2:-1]) == [
        "dags/glue.yml:1 (string, environment production, branch main)",
        "dags/n.py:2 (import, environment production, branch main)",
        "dags/n.py:3 (resolve ==0.1.0, environment production, branch main)",
        "dags/s.py:2 (import, environment staging, branch stage)",
        "dwh/jobs/jobs.lock:6 (lock ==0.1.0, environment production, branch main)",
        "etc/f.json:2 (string, branch feature)",
        "scripts/run.sh:2 (string, branch main)",
        "tests/test_it.py:2 (import, branch main)",
    ]
    project.done("deprecate", "my_job", "0.1.0", "--until", FUTURE)
    assert f"my_job 0.1.0 may be used until {FUTURE}" in project.refused(1, "remove", "my_job", "0.1.0")
    project.done("deprecate", "my_job", "0.1.0", "--until", PAST)
    for path in files:
        if path != "dags/other.py":
            (project.path / path).unlink()
    for branch in ("stage", "feature"):
        assert f"branch {branch})" in project.refused(1, "remove", "my_job", "0.1.0")
        if branch == "feature":
            project.git("branch", "--delete", "--force", branch)
        else:
            project.git("stash", "--include-untracked", "--quiet")
            project.git("switch", "--quiet", branch)
            (project.path / "dags/s.py").unlink()
            project.commit("Move")
            project.git("switch", "--quiet", "main")
            project.git("stash", "pop", "--quiet")
    assert "would delete dwh/jobs/v0_1_0/my_job.py" in project.done("remove", "my_job", "0.1.0", "--dry-run").out
    out = project.done("remove", "my_job", "0.1.0").out
    assert out == "deleted dwh/jobs/v0_1_0/my_job.py\nRecorded in jobs.toml. Commit both.\n"
    assert (project.path / "dwh/jobs/v0_1_0/other.py").is_file()
    assert project.job("check").code == 0, project.job("check").out
    assert "removed on" in project.done("list", "my_job").out
    assert "my_job 0.1.0 was removed on" in project.refused(1, "remove", "my_job", "0.1.0")


def test_what_the_folder_itself_uses_is_a_reference(tmp_path: Path) -> None:
    releases = {"0.1.0": {"my_job": full(), "other": "from .my_job import MyJob\n\n\n" + full("Other")}}
    project = JobProject(project_with(tmp_path / "project", releases, {}))
    project.done("deprecate", "my_job", "0.1.0", "--until", PAST)
    assert "dwh/jobs/v0_1_0/other.py:1 (import, branch main)" in project.refused(1, "remove", "my_job", "0.1.0")


def test_the_last_job_takes_its_folder_along(project: JobProject) -> None:
    project.done("deprecate", "my_job", "0.2.0", "--until", PAST)
    project.done("remove", "my_job", "0.2.0")
    assert not (project.path / "dwh/jobs/v0_2_0").exists()
    assert project.done("check").out == "Nothing is wrong.\n"
    project.commit("Remove it")
    assert project.done("check").out == "Nothing is wrong.\n"


def test_an_import_that_cannot_be_read_is_in_the_way_until_somebody_answers_for_it(project: JobProject) -> None:
    project.done("deprecate", "my_job", "0.1.0", "--until", PAST)
    project.write({"dags/n.py": "import importlib\nimportlib.import_module(name)\n"})
    said = project.refused(1, "remove", "my_job", "0.1.0")
    assert "dags/n.py:2 (unknown, environment production, branch main): importlib.import_module(name)" in said
    project.done("remove", "my_job", "0.1.0", "--despite-unknown")


def test_a_pin_that_no_lock_knows_counts_for_what_it_would_lead_to(project: JobProject) -> None:
    for version in ("0.1.0", "0.2.0"):
        project.done("deprecate", "my_job", version, "--until", PAST)
    project.write({"dags/n.py": "from dwh.jobs import resolve\nresolve('my_job')\n"})
    assert "dags/n.py:2 (resolve latest, environment production" in project.refused(1, "remove", "my_job", "0.2.0")
    project.done("remove", "my_job", "0.1.0")


def test_branches_of_remotes_count_but_for_what_the_next_push_replaces(project: JobProject, tmp_path: Path) -> None:
    project.commit("Use it", {"dags/n.py": "import dwh.jobs.v0_1_0.my_job\n"})
    project.git("switch", "--quiet", "--create", "theirs")
    project.commit("Theirs", {"theirs.py": "import dwh.jobs.v0_1_0.my_job\n"})
    project.git("switch", "--quiet", "main")
    clone = JobProject(tmp_path / "clone", clone=project.path)
    (clone.path / "dags/n.py").unlink()
    clone.done("deprecate", "my_job", "0.1.0", "--until", PAST)
    clone.commit("Move on")
    said = clone.refused(1, "remove", "my_job", "0.1.0")
    assert "theirs.py:1 (import, branch origin/theirs)" in said and "origin/main" not in said
    project.git("branch", "--delete", "--force", "theirs")
    clone.git("fetch", "--quiet", "--prune")
    clone.done("remove", "my_job", "0.1.0")


def test_what_the_ledger_has_as_live_is_a_reference(tmp_path: Path, tiny: Callable[..., Shop]) -> None:
    shop = tiny({"models/customers.sql": "select 1 as id"})
    silent = full().replace('["customers"]', "[]")
    project = JobProject(
        project_with(tmp_path / "jobs", {"0.1.0": {"my_job": silent}, "0.2.0": {"my_job": silent}}, {})
    )
    ledger = ("--dbt-project-dir", str(shop.path), "--target", shop.target)
    project.done("deploy", "my_job", "0.1.0", "production", *ledger)
    project.done("deprecate", "my_job", "0.1.0", "--until", PAST)
    said = project.refused(1, "remove", "my_job", "0.1.0", *ledger)
    assert "the ledger (ledger, environment production)" in said
    found = json.loads(project.done("check", "--with-ledger", "--json", *ledger).out)["findings"]
    assert "the ledger has my_job 0.1.0 as live in production since" in found[0]["message"]
    project.write({"dags/n.py": "import dwh.jobs.v0_2_0.my_job\n"})
    found = json.loads(project.done("check", "--with-ledger", "--json", *ledger).out)["findings"]
    assert "the ledger never saw my_job 0.2.0 in production: dbt-cicd job deploy" in found[0]["message"]
    project.done("deploy", "my_job", "0.2.0", "production", *ledger)
    assert json.loads(project.done("check", "--with-ledger", "--json", *ledger).out)["findings"] == []
    project.done("remove", "my_job", "0.1.0", *ledger)


def test_changed_files_are_not_deleted(project: JobProject) -> None:
    project.done("deprecate", "my_job", "0.1.0", "--until", PAST)
    project.write({"dwh/jobs/v0_1_0/my_job.py": full("Changed")})
    assert "dwh/jobs/v0_1_0/my_job.py is frozen by tag v0.1.0 and differs" in project.refused(
        3, "remove", "my_job", "0.1.0"
    )


def test_an_interrupted_removal_is_found_and_ended(project: JobProject) -> None:
    before = project.read("dwh/jobs/v0_1_0/my_job.py")
    project.done("deprecate", "my_job", "0.1.0", "--until", PAST)
    project.done("remove", "my_job", "0.1.0")
    project.write({"dwh/jobs/v0_1_0/my_job.py": before})
    result = project.job("check")
    assert result.code == 3 and "jobs.toml records that it was removed" in result.out
    project.done("remove", "my_job", "0.1.0")
    assert project.done("check").out == "Nothing is wrong.\n"
    assert project.read("jobs.toml").count("[[removals]]") == 1


def test_unknown_jobs_are_told_with_the_nearest(project: JobProject) -> None:
    assert "there is no job my_joob. Did you mean my_job?" in project.refused(2, "remove", "my_joob", "0.1.0")
    assert "VERSION: 'v0.1.0' is not a SemVer 2.0.0 version" in project.refused(2, "remove", "my_job", "v0.1.0")
    with pytest.raises(Refused, match="is not deprecated"):
        retire.remove(Project(project.path), "my_job", Number(0, 1, 0))
