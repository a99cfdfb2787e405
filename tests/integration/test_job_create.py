"""A project laid out, jobs and their next versions in the open folder, a folder renamed: on real git."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.job_project import JobProject, job_text


@pytest.fixture
def project(tmp_path: Path) -> JobProject:
    return JobProject(tmp_path / "repo")


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> JobProject:
    return JobProject(tmp_path_factory.mktemp("first")).released()


@pytest.fixture
def released(first: JobProject, tmp_path: Path) -> JobProject:
    return JobProject.like(first, tmp_path / "repo")


def run(project: JobProject, module: str, says: str = "MyJob") -> str:
    """What the job of a module returns, run by Python."""
    done = subprocess.run(
        [sys.executable, "-c", f"from {module} import {says}; print({says}().run())"],
        cwd=project.path,
        env=project.environment({"PYTHONPATH": str(Path(__file__).parents[2] / "src")}),
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_init_lays_out_a_project(project: JobProject) -> None:
    assert project.done("init", "dwh", "--json").json["files"] == [
        "VERSION",
        "changes/README.md",
        "dwh/__init__.py",
        "dwh/jobs/__init__.py",
        "dwh/jobs/jobs.lock",
        "jobs.toml",
        "releases/README.md",
    ]
    assert project.read("VERSION") == "0.0.0\n"
    assert json.loads(project.read("dwh/jobs/jobs.lock")) == {"format": 1, "environments": {}}
    assert "resolve = bind(__name__, __file__)" in project.read("dwh/jobs/__init__.py")
    assert "jobs.toml is there already" in project.refused(1, "init", "dwh")


def test_init_goes_on_from_the_last_tag_and_leaves_packages_alone(project: JobProject) -> None:
    project.commit("Begin", {"dwh/thing.py": "x = 1\n"})
    project.git("tag", "v1.4.2")
    project.git("tag", "v2-beta")
    project.done("init", "dwh")
    assert project.read("VERSION") == "1.4.2\n"
    assert not (project.path / "dwh/__init__.py").exists()


@pytest.mark.parametrize(
    ("files", "arguments", "code", "said"),
    [
        ({}, ["d-w"], 2, "no name of a Python package"),
        ({"VERSION": "1.0\n"}, ["dwh"], 2, "VERSION: '1.0' is not a SemVer 2.0.0 version: write 1.0.0"),
        ({"dwh/jobs/__init__.py": ""}, ["dwh"], 1, "dwh/jobs/__init__.py is there already"),
    ],
    ids=["name", "version", "package"],
)
def test_init_refuses(project: JobProject, files: dict[str, str], arguments: list[str], code: int, said: str) -> None:
    project.write(files)
    assert said in project.refused(code, "init", *arguments)


def test_outside_of_a_repository(project: JobProject, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    assert "git init" in project.job("init", "dwh", directory="../elsewhere").err
    assert "dbt-cicd job init PACKAGE" in project.job("new", "x", directory="../elsewhere").err


def test_dry_runs_write_nothing(released: JobProject) -> None:
    before = released.state()
    for arguments in (
        ["new", "other"],
        ["new-version", "my_job"],
        ["release", "0.2.0"],
        ["maintenance", "start", "0.1.0"],
    ):
        assert released.done(*arguments, "--dry-run", "--json").json["dry_run"]
    assert released.state() == before


def test_new_writes_into_the_open_folder(released: JobProject) -> None:
    released.done("new", "one")
    result = released.done("new", "two", "--json").json
    assert (result["version"], result["files"]) == ("0.2.0", ["dwh/jobs/v0_2_0/two.py"])
    assert sorted(path.name for path in (released.path / "dwh/jobs/v0_2_0").iterdir()) == [
        "__init__.py",
        "one.py",
        "two.py",
    ]
    assert "class LoadAll:" in released.read(released.done("new", "load_all", "--json").json["files"][0])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("LoadCustomers", "for example load_customers"),
        ("class", "no name of a job"),
        ("_private", "no name of a job"),
        ("a.b", "for example a_b"),
    ],
)
def test_names_that_are_none(released: JobProject, name: str, said: str) -> None:
    assert said in released.refused(2, "new", name)


def test_a_job_that_is_there_or_is_not(released: JobProject) -> None:
    assert "`dbt-cicd job new-version my_job`" in released.refused(1, "new", "my_job")
    assert "Did you mean my_job?" in released.refused(2, "new-version", "my_jop")
    released.done("new-version", "my_job")
    assert "edit dwh/jobs/v0_2_0/my_job.py" in released.refused(1, "new-version", "my_job")


HELPED = {
    "dwh/jobs/v0_1_0/my_job.py": (
        "# first\r\n"
        "import dwh.jobs.v0_1_0._deep.words as words  # kept\r\n"
        "from . import _far\r\n"
        "from dwh.jobs import v0_1_0\r\n"
        "from dwh.jobs.v0_1_0._near import say\r\n"
        "TEXT = 'v0_1_0 is only a word here'\r\n"
        "MODULE = 'dwh.jobs.v0_1_0._near'\r\n"
        "class MyJob:\r\n"
        "    def run(self) -> str:\r\n"
        "        return say() + _far.more() + words.end() + v0_1_0._near.__name__\r\n"
    ),
    "dwh/jobs/v0_1_0/_near.py": "from ._nearer import word\n\n\ndef say() -> str:\n    return word\n",
    "dwh/jobs/v0_1_0/_nearer.py": "word = 'a'\n",
    "dwh/jobs/v0_1_0/_far.py": (
        "from pathlib import Path\n\n\n"
        "def more() -> str:\n    return Path(__file__).with_name('query.sql').read_text().strip()\n"
    ),
    "dwh/jobs/v0_1_0/query.sql": "b\n",
    "dwh/jobs/v0_1_0/other.sql": "unused\n",
    "dwh/jobs/v0_1_0/_deep/__init__.py": "",
    "dwh/jobs/v0_1_0/_deep/words.py": "def end() -> str:\n    return 'c'\n",
    "dwh/jobs/v0_1_0/_unused.py": "",
    "dwh/jobs/v0_1_0/other_job.py": job_text("OtherJob"),
}


def helped(project: JobProject) -> JobProject:
    """A first release whose job has helpers beside it."""
    project.done("init", "dwh")
    project.done("new", "my_job")
    project.commit("Jobs", HELPED)
    project.done("release")
    return project


def test_a_new_version_brings_its_helpers_and_nothing_else(project: JobProject) -> None:
    helped(project)
    made = project.done("new-version", "my_job", "--json").json
    assert [Path(path).relative_to("dwh/jobs/v0_2_0").as_posix() for path in made["files"]] == [
        "__init__.py",
        "_deep/__init__.py",
        "_deep/words.py",
        "_far.py",
        "_near.py",
        "_nearer.py",
        "my_job.py",
        "query.sql",
    ]
    old = (project.path / "dwh/jobs/v0_1_0/my_job.py").read_bytes()
    new = (project.path / "dwh/jobs/v0_2_0/my_job.py").read_bytes()
    word = b"'v0_1_0 is only a word here'"
    assert word in new
    assert new.replace(word, b"") == old.replace(word, b"").replace(b"v0_1_0", b"v0_2_0")
    assert run(project, "dwh.jobs.v0_2_0.my_job") == "abcdwh.jobs.v0_2_0._near"
    assert run(project, "dwh.jobs.v0_1_0.my_job") == "abcdwh.jobs.v0_1_0._near"


def test_a_job_that_the_job_imports_comes_along_and_is_told(project: JobProject) -> None:
    project.done("init", "dwh")
    project.done("new", "base")
    project.commit(
        "Jobs",
        {
            "dwh/jobs/v0_1_0/base.py": job_text("Base", "base"),
            "dwh/jobs/v0_1_0/top.py": (
                "from .base import Base\n\n\n"
                "class Top(Base):\n    def run(self) -> str:\n        return super().run()\n"
            ),
        },
    )
    project.done("release")
    made = project.done("new-version", "top", "--json").json
    assert "dwh/jobs/v0_2_0/base.py" in made["files"]
    assert made["hints"] == ["base has a new version too, for top imports it"]


def test_a_helper_that_is_in_the_open_folder_already_stays(project: JobProject) -> None:
    helped(project)
    project.done("new", "another")
    project.write({"dwh/jobs/v0_2_0/_nearer.py": "word = 'other'\n"})
    made = project.done("new-version", "my_job", "--json").json
    assert project.read("dwh/jobs/v0_2_0/_nearer.py") == "word = 'other'\n"
    assert any("dwh/jobs/v0_2_0/_nearer.py was there and stays" in hint for hint in made["hints"])


def test_code_in_the_folders_init_comes_along_when_it_is_used(project: JobProject) -> None:
    project.done("init", "dwh")
    project.done("new", "my_job")
    text = "from . import LIMIT\n\n\nclass MyJob:\n    def run(self) -> int:\n        return LIMIT\n"
    files = {"dwh/jobs/v0_1_0/__init__.py": "LIMIT = 3\n", "dwh/jobs/v0_1_0/my_job.py": text}
    project.commit("Jobs", {**files, "dwh/jobs/v0_1_0/alone.py": job_text("Alone")})
    project.done("release")
    alone = project.done("new-version", "alone", "--json").json
    assert any("v0_1_0/__init__.py has code that was not copied" in hint for hint in alone["hints"])
    project.done("new-version", "my_job")
    assert run(project, "dwh.jobs.v0_2_0.my_job") == "3"


DAG = """\
# A DAG.
from dwh.jobs.v0_1_0.my_job import MyJob as Old
from dwh.jobs.v0_2_0.my_job import (  # the new one
    MyJob as New,
)
import dwh.jobs.v0_2_0.my_job

SCRIPT = {"--module_name": "dwh.jobs.v0_2_0.my_job"}
print(Old().run(), New().run(), dwh.jobs.v0_2_0.my_job.MyJob().run())
"""


def test_a_larger_bump_renames_the_open_folder_and_what_imports_it(project: JobProject) -> None:
    helped(project)
    project.commit(
        "Go to one",
        {
            "VERSION": "1.0.0\n",
            "releases/1.0.0.json": project.read("releases/0.1.0.json").replace(
                '"version": "0.1.0"', '"version": "1.0.0"'
            ),
        },
    )
    project.git("tag", "v1.0.0")
    assert project.done("new-version", "my_job", "--json").json["version"] == "1.1.0"
    project.write({"dags/a.py": DAG.replace("0_2_0", "1_1_0"), "glue.yml": "module: dwh.jobs.v1_1_0.my_job\n"})
    project.commit("Use it")
    frozen = (project.path / "dwh/jobs/v0_1_0/my_job.py").read_bytes()
    made = project.done("new", "more", "--bump", "major", "--json").json
    assert (made["version"], made["renamed_from"]) == ("2.0.0", "1.1.0")
    assert not (project.path / "dwh/jobs/v1_1_0").exists()
    assert project.read("dags/a.py") == DAG.replace("0_2_0", "2_0_0")
    assert run(project, "dwh.jobs.v2_0_0.my_job") == "abcdwh.jobs.v2_0_0._near"
    assert (project.path / "dwh/jobs/v0_1_0/my_job.py").read_bytes() == frozen
    assert any(hint.startswith("glue.yml still names v1_1_0") for hint in made["hints"])
    assert (project.path / "dwh/jobs/v2_0_0/more.py").exists()


def test_every_file_that_goes_on_naming_the_folder_is_listed(released: JobProject) -> None:
    released.done("new", "one")
    named = "module: dwh.jobs.v0_2_0.one\n"
    released.commit(
        "Name it",
        {
            "glue.yml": named,
            "dags/glue.json": '{"--module_name": "dwh.jobs.v0_2_0.one"}\n',
            "scripts/run.sh": "python -m dwh.jobs.v0_2_0.one\n",
            "dwh/jobs/v0_2_0/one.yml": named,
            "dwh/jobs/v0_2_0/_path.py": "PATH = 'dwh/jobs/v0_2_0/one.yml'\n",
            "dags/told.py": "import dwh.jobs.v0_2_0.one\n",
            "changes/1.fix.md": "In v0_2_0.\n",
            "tests/other.yml": "module: dwh.jobs.v0_1_0.my_job\n",
            ".gitignore": "local*\n",
        },
    )
    released.write({"untracked.toml": named, "dags/local.yml": named, "dags/local.py": "import dwh.jobs.v0_2_0.one\n"})
    made = released.done("new", "two", "--bump", "0.3.0", "--json").json
    assert sorted(hint.partition(" still names v0_2_0")[0] for hint in made["hints"]) == [
        "changes/1.fix.md",
        "dags/glue.json",
        "dags/local.yml",
        "dwh/jobs/v0_3_0/_path.py",
        "dwh/jobs/v0_3_0/one.yml",
        "glue.yml",
        "scripts/run.sh",
        "untracked.toml",
    ]
    for path in ("dags/told.py", "dags/local.py"):
        assert released.read(path) == "import dwh.jobs.v0_3_0.one\n"


@pytest.mark.parametrize(
    ("bump", "version"),
    [(None, "0.2.0"), ("patch", "0.1.1"), ("minor", "0.2.0"), ("major", "0.2.0"), ("1.0.0", "1.0.0")],
    ids=str,
)
def test_the_number_of_the_open_folder(released: JobProject, bump: str | None, version: str) -> None:
    arguments = ["--bump", bump] if bump else []
    assert released.done("new-version", "my_job", *arguments, "--json").json["version"] == version


def test_a_smaller_bump_keeps_the_folder(released: JobProject) -> None:
    released.done("new", "one")
    assert released.done("new", "two", "--bump", "patch", "--json").json["version"] == "0.2.0"
    assert released.done("new-version", "one", "--bump", "1.0.0", "--json").json["renamed_from"] == "0.2.0"


@pytest.mark.parametrize(
    ("bump", "code", "said"),
    [
        ("huge", 2, "--bump (major, minor, patch or a release)"),
        ("0.1.0", 1, "0.1.0 is not higher than VERSION, which is 0.1.0. The next are 0.1.1, 0.2.0"),
        ("0.3.0", 1, "0.3.0 is released already, as v0.3.0"),
    ],
)
def test_bumps_that_are_none(released: JobProject, bump: str, code: int, said: str) -> None:
    released.git("tag", "v0.3.0")
    assert said in released.refused(code, "new-version", "my_job", "--bump", bump)


def test_a_folder_that_is_not_in_python_is_left_whole(released: JobProject) -> None:
    released.done("new", "one")
    released.write({"dwh/jobs/v0_2_0/_broken.py": "import dwh.jobs.v0_2_0.one\nx = '''\n"})
    assert "dwh/jobs/v0_2_0/_broken.py: no Python" in released.refused(2, "new", "two", "--bump", "1.0.0")


def test_in_the_middle_of_a_merge_and_on_no_branch(released: JobProject) -> None:
    released.git("checkout", "--quiet", "--detach")
    assert "HEAD is detached" in released.refused(1, "new", "one")
    released.git("switch", "--quiet", "main")
    (released.path / ".git/MERGE_HEAD").write_text(released.git("rev-parse", "HEAD") + "\n")
    assert "a merge is in progress" in released.refused(1, "new", "one")
