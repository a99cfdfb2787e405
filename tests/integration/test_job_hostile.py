"""What a hostile review of `dbt-cicd job` found: commands in a remote's name, settings that hide a use, bytes that no
clone would have, work that a recovery would take."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dbt_cicd_toolkit.jobs.manifest import content_hash
from support.job_project import JobProject, job_text

FOLDER = "dwh/jobs/v0_1_0"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> JobProject:
    """0.1.0 is released and 0.2.0 open; a script uses 0.1.0, which may be used no longer."""
    project = JobProject(tmp_path_factory.mktemp("hostile") / "project")
    project.done("init", "dwh")
    project.done("new", "my_job")
    project.write({f"{FOLDER}/my_job.py": job_text(), "tools/run.py": "import dwh.jobs.v0_1_0.my_job\n"})
    project.commit("Begin")
    project.done("release")
    project.done("new-version", "my_job")
    project.done("deprecate", "my_job", "0.1.0", "--until", "2020-01-01")
    project.commit("Go on")
    return project


@pytest.fixture
def project(template: JobProject, tmp_path: Path) -> JobProject:
    return JobProject.like(template, tmp_path / "project")


def test_a_remote_is_no_option(project: JobProject, tmp_path: Path) -> None:
    project.done("release")
    for remote in (f"--exec=touch {tmp_path}/made;:", f"--receive-pack=touch {tmp_path}/made;:", "--mirror"):
        result = project.job("release", "push", "--remote", remote)
        assert result.code == 2, result.err
        assert "is no remote" in result.err
    assert not (tmp_path / "made").exists()


def test_a_password_in_a_url_is_not_shown(project: JobProject) -> None:
    project.done("release")
    result = project.job("release", "push", "--remote", "file://bob:S3CRET@/nowhere", "--json")
    assert result.code == 1
    assert "S3CRET" not in result.out + result.err


@pytest.mark.parametrize(
    "setting",
    [
        ("color.grep", "always"),
        ("color.ui", "always"),
        ("column.ui", "always"),
        ("submodule.recurse", "true"),
        ("grep.patternType", "fixed"),
    ],
)
def test_the_settings_of_a_user_hide_no_use(project: JobProject, setting: tuple[str, str]) -> None:
    project.git("config", *setting)
    project.git("branch", "other")
    result = project.job("remove", "my_job", "0.1.0", "--no-ledger")
    assert result.code == 1, result.out
    assert "tools/run.py:1" in result.err
    project.done("check")
    project.done("release")


def test_attributes_hide_no_use(project: JobProject) -> None:
    project.write({".gitattributes": "*.yaml binary\n*.lock -diff\n", "tools/run.py": ""})
    project.write({"tools/a.yaml": "class: dwh.jobs.v0_1_0.my_job\n"})
    project.commit("Say it in YAML")
    result = project.job("remove", "my_job", "0.1.0", "--no-ledger")
    assert result.code == 1, result.out
    assert "tools/a.yaml:1" in result.err


def test_files_that_git_does_not_look_at(project: JobProject) -> None:
    project.git("update-index", "--skip-worktree", "tools/run.py")
    for arguments in (("remove", "my_job", "0.1.0", "--no-ledger"), ("release",)):
        result = project.job(*arguments)
        assert result.code == 1
        assert "git does not look at tools/run.py" in result.err


def test_bytes_that_a_clone_would_not_have(project: JobProject) -> None:
    project.git("config", "filter.up.clean", "tr a-z A-Z")
    project.write({".gitattributes": "dwh/jobs/v0_2_0/* filter=up\n"})
    project.git("add", "--renormalize", "dwh")
    project.commit("Filter it")
    result = project.job("release")
    assert result.code == 1
    assert "git keeps other bytes than are here" in result.err


def interrupted(project: JobProject, *arguments: str) -> None:
    """A command that is killed when its files are written and its journal still tells of them."""
    script = (
        "import os, sys; from dbt_cicd_toolkit.jobs.writer import Writer; from dbt_cicd_toolkit.cli.main import main;"
        "Writer._end = lambda *_: os._exit(9); main(sys.argv[1:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "job", *arguments], cwd=project.path, env=project.environment()
    )
    assert done.returncode == 9


def commits(project: JobProject) -> None:
    project.commit("Keep it")


def edits(project: JobProject) -> None:
    project.write({"dwh/jobs/v0_2_0/another.py": job_text("Another", "mine")})


@pytest.mark.parametrize("work", [commits, edits])
def test_what_was_made_of_an_interrupted_write_stays(project: JobProject, work: Callable[[JobProject], None]) -> None:
    interrupted(project, "new", "another")
    work(project)
    before = project.read("dwh/jobs/v0_2_0/another.py")
    result = project.job("new", "third")
    assert result.code == 0, result.err
    assert "all is left as it is" in result.err
    assert project.read("dwh/jobs/v0_2_0/another.py") == before


def test_an_interrupted_write_that_nobody_touched_is_undone(project: JobProject) -> None:
    interrupted(project, "new", "another")
    assert "was undone" in project.job("new", "third").err
    assert not (project.path / "dwh/jobs/v0_2_0/another.py").exists()


def test_what_a_hook_adds_is_not_taken_back_by_the_index(project: JobProject) -> None:
    hook = project.path / ".git/hooks/pre-commit"
    hook.write_text("#!/bin/sh\necho hooked >> tools/run.py; echo new > tools/new.txt; git add tools\n")
    hook.chmod(0o755)
    project.done("release")
    assert project.git("status", "--short").strip() == ""


def test_a_tag_that_was_moved(project: JobProject) -> None:
    root = project.git("rev-list", "--max-parents=0", "HEAD").strip()
    project.git("tag", "--force", "v0.1.0", root)
    result = project.job("check")
    assert result.code == 3
    assert "tag v0.1.0 has no releases/0.1.0.json" in result.out


def test_a_manifest_that_was_changed_with_its_file_and_without_its_tag(project: JobProject) -> None:
    project.git("tag", "--delete", "v0.1.0")
    path = f"{FOLDER}/my_job.py"
    text = job_text(says="something else")
    manifest = json.loads(project.read("releases/0.1.0.json"))
    manifest["files"][path] = content_hash(text.encode())
    project.write({path: text, "releases/0.1.0.json": json.dumps(manifest)})
    project.commit("Nothing to see here")
    result = project.job("check")
    assert result.code == 3
    assert "releases/0.1.0.json was changed after commit" in result.out


def test_a_link_is_not_what_was_released(project: JobProject) -> None:
    file = project.path / FOLDER / "my_job.py"
    moved = project.path / "elsewhere.py"
    file.rename(moved)
    file.symlink_to(moved)
    result = project.job("check")
    assert result.code == 3
    assert f"{FOLDER}/my_job.py is frozen by tag v0.1.0 and is a link now" in result.out


@pytest.mark.parametrize("name", ["../v0_1_0/my_job", "../../common", "__init__"])
def test_a_path_is_no_job(project: JobProject, name: str) -> None:
    result = project.job("new-version", name)
    assert result.code == 2, result.out
    assert project.git("status", "--short").strip() == ""


def test_a_version_that_is_no_text(project: JobProject) -> None:
    project.write({"VERSION": b"\xff\xfe0"})
    result = project.job("check")
    assert result.code == 2
    assert "VERSION is no text" in result.out + result.err
