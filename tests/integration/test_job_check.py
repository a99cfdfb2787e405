"""`dbt-cicd job check` and `list`: what is frozen, shared, isolated, written and required."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.job_project import JobProject
from support.job_releases import copy, full, project_with, release


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """my_job in 0.1.0 and 0.2.0, both released."""
    first = {"my_job": "from dwh import common\n\n\n" + full()}
    releases = {"0.1.0": first, "0.2.0": {"my_job": full(table="two")}}
    files = {"dwh/common.py": "from dwh import deep\n", "dwh/deep.py": "X = 1\n"}
    return project_with(tmp_path_factory.mktemp("template") / "project", releases, files)


@pytest.fixture
def project(template: Path, tmp_path: Path) -> JobProject:
    """A copy of the template."""
    return copy(template, tmp_path / "project")


def check(project: JobProject, *arguments: str) -> tuple[int, list[tuple[str, str, str]]]:
    """The exit code, and what was found: (level, rule, message)."""
    result = project.job("check", "--json", *arguments)
    body: dict[str, Any] = json.loads(result.out)
    assert body["exit_code"] == result.code and body["success"] is (result.code == 0)
    return result.code, [(each["level"], each["rule"], each["message"]) for each in body["findings"]]


def only(project: JobProject, code: int) -> tuple[str, str, str]:
    """check(), which must find one thing."""
    ended, found = check(project)
    assert ended == code and len(found) == 1, found
    return found[0]


def test_a_project_where_all_is_well(project: JobProject) -> None:
    assert project.done("check").out == "Nothing is wrong.\n"
    assert check(project) == (0, [])


# 3: frozen


def test_one_changed_byte_is_found_with_file_tag_and_both_hashes(project: JobProject) -> None:
    path = "dwh/jobs/v0_1_0/my_job.py"
    before = json.loads(project.read("releases/0.1.0.json"))["files"][path]
    project.write({path: project.read(path).replace("hello", "hallo")})
    level, rule, message = only(project, 3)
    assert (level, rule) == ("differs", "frozen")
    assert message.startswith(f"{path} is frozen by tag v0.1.0 and differs: {before[:12]} there, ")
    assert f"git restore --source v0.1.0 {path}" in message and "job new-version my_job" in message
    project.commit("Commit it")
    assert only(project, 3)[2] == message
    project.git("restore", "--source", "v0.1.0", path)
    assert check(project) == (0, [])


def test_a_checkout_with_crlf_passes(project: JobProject) -> None:
    for file in (project.path / "dwh").rglob("*.py"):
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    for file in (project.path / "releases").iterdir():
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert check(project) == (0, [])


def test_added_and_missing_files_are_found_ignored_ones_are_not(project: JobProject) -> None:
    project.write(
        {"dwh/jobs/v0_1_0/more.sql": "select 1", "dwh/jobs/v0_1_0/.DS_Store": "x", ".gitignore": ".DS_Store\n"}
    )
    (project.path / "dwh/jobs/v0_2_0/__init__.py").unlink()
    code, found = check(project)
    assert code == 3
    assert [message.partition(".")[0] for _, _, message in found] == [
        "dwh/jobs/v0_2_0/__init__",
        "dwh/jobs/v0_1_0/more",
    ]
    assert "is missing" in found[0][2] and "is new in a folder that is frozen by tag v0.1.0" in found[1][2]


@pytest.mark.parametrize("committed", [False, True])
def test_a_manifest_that_was_changed_or_deleted_hides_nothing(project: JobProject, committed: bool) -> None:
    path, manifest = "dwh/jobs/v0_1_0/my_job.py", "releases/0.1.0.json"
    from dbt_cicd_toolkit.jobs.manifest import content_hash

    old = content_hash((project.path / path).read_bytes())
    project.write({path: project.read(path).replace("hello", "hallo")})
    new = content_hash((project.path / path).read_bytes())
    project.write({manifest: project.read(manifest).replace(old, new)})
    if committed:
        project.commit("Cheat")
    code, found = check(project)
    assert code == 3
    assert found[0][2].startswith(f"{manifest} is not what tag v0.1.0 has")
    assert found[1][2].startswith(f"{path} is frozen by tag v0.1.0 and differs")
    project.git("restore", "--source", "v0.1.0", path)
    (project.path / manifest).unlink()
    if committed:
        project.commit("Delete it")
    assert check(project)[1][0][2].startswith(f"{manifest} is missing. Restore it (git restore --source v0.1.0")


def test_without_a_tag_the_last_commit_is_held_against_the_files(project: JobProject) -> None:
    project.git("tag", "--delete", "v0.1.0")
    path = "dwh/jobs/v0_1_0/my_job.py"
    project.write({path: project.read(path) + "# more\n"})
    assert f"{path} is frozen by the last commit and differs" in only(project, 3)[2]


def test_a_damaged_manifest_is_told_and_the_rest_is_checked(project: JobProject) -> None:
    project.write({"releases/0.1.0.json": "{", "dwh/jobs/v0_2_0/new.py": full("New")})
    code, found = check(project)
    assert code == 3
    assert [message.split(" ")[0] for _, _, message in found] == ["releases/0.1.0.json", "dwh/jobs/v0_2_0/new.py"]


# 4: isolation

REACH = {
    "direct": "from dwh.jobs.v0_1_0.my_job import MyJob",
    "relative": "from ..v0_1_0.my_job import MyJob",
    "folder": "from .. import v0_1_0",
    "lazy": "def f():\n    import dwh.jobs.v0_1_0.my_job",
    "dynamic": "import importlib\nimportlib.import_module('dwh.jobs.v0_1_0.my_job')",
    "glue": "ARGUMENTS = {'--module_name': 'dwh.jobs.v0_1_0.my_job'}",
}


@pytest.mark.parametrize("how", REACH)
def test_a_version_that_reaches_another_is_told_with_the_line(project: JobProject, how: str) -> None:
    project.write({"dwh/jobs/v0_3_0/__init__.py": "", "dwh/jobs/v0_3_0/new.py": f"{REACH[how]}\n\n\n{full('New')}"})
    level, rule, message = only(project, 1)
    assert (level, rule) == ("refused", "isolation")
    line = 1 + REACH[how].count("\n")
    end = "__init__" if how == "folder" else "my_job"
    assert f"dwh/jobs/v0_3_0/new.py:{line} → dwh/jobs/v0_1_0/{end}.py" in message
    assert message.startswith("dwh.jobs.v0_3_0.new reaches dwh.jobs.v0_1_0")


def test_the_whole_chain_through_shared_modules_is_told(project: JobProject) -> None:
    project.write(
        {
            "dwh/one.py": "X = 1\nfrom dwh import two\n",
            "dwh/two.py": "def f():\n    from dwh.jobs.v0_1_0 import my_job\n",
            "dwh/jobs/v0_3_0/__init__.py": "",
            "dwh/jobs/v0_3_0/new.py": f"import dwh.one\n\n\n{full('New')}",
            "dwh/jobs/v0_3_0/newer.py": f"import dwh.one\n\n\n{full('Newer')}",
        }
    )
    message = only(project, 1)[2]
    chain = "dwh/jobs/v0_3_0/new.py:1 → dwh/one.py:2 → dwh/two.py:2 → dwh/jobs/v0_1_0/my_job.py"
    assert f": {chain}. 1 more of v0_3_0 do so this way. " in message


def test_what_the_package_of_the_jobs_imports_every_version_reaches(project: JobProject) -> None:
    text = project.read("dwh/jobs/__init__.py")
    project.write({"dwh/jobs/__init__.py": text + "from .v0_2_0 import my_job\n"})
    messages = [message for _, rule, message in check(project)[1] if rule == "isolation"]
    assert len(messages) == 1 and "dwh.jobs.v0_1_0.my_job reaches dwh.jobs.v0_2_0.my_job" in messages[0]


def test_resolve_in_a_job_is_refused_and_an_unreadable_import_unknown(project: JobProject) -> None:
    code = "import importlib\nfrom dwh.jobs import resolve\n\nX = resolve('my_job', '==0.1.0')\n"
    code += "Y = importlib.import_module(X)\n"
    project.write({"dwh/jobs/v0_3_0/__init__.py": "", "dwh/jobs/v0_3_0/new.py": f"{code}\n\n{full('New')}"})
    ended, found = check(project)
    assert ended == 1
    assert [(level, message.split(": ")[0]) for level, _, message in found] == [
        ("refused", "dwh/jobs/v0_3_0/new.py:4"),
        ("unknown", "dwh/jobs/v0_3_0/new.py:5"),
    ]
    project.write({"dwh/jobs/v0_3_0/new.py": f"{code.replace('X = r', '# ')}\n\n{full('New')}"})
    assert [level for level, *_ in check(project)[1]] == ["unknown"]
    assert check(project)[0] == 0 and check(project, "--strict")[0] == 1


# 5: shared code


def test_shared_code_under_a_frozen_version_may_change_only_with_a_reason(project: JobProject) -> None:
    project.write({"dwh/deep.py": "X = 2\n"})
    level, rule, message = only(project, 3)
    assert (level, rule) == ("differs", "shared")
    assert message.startswith("dwh.deep has changed (") and ", under the frozen 0.1.0. " in message
    assert "dbt-cicd job accept dwh.deep --reason TEXT" in message
    before = project.state()
    project.done("accept", "dwh.deep", "--reason", "only a constant", "--dry-run")
    assert project.state() == before
    project.done("accept", "dwh.deep", "--reason", "only a constant")
    assert check(project) == (0, [])
    assert 'reason = "only a constant"' in project.read("jobs.toml")
    project.write({"dwh/deep.py": "X = 3\n"})
    assert only(project, 3)[2].startswith("dwh.deep has changed")
    project.done("accept", "dwh.deep", "--reason", "again")
    assert project.read("jobs.toml").count("[[accepted]]") == 1


def test_a_change_that_moves_to_a_new_module_passes(project: JobProject) -> None:
    project.write({"dwh/deeper.py": "X = 2\n"})
    assert check(project) == (0, [])


def test_what_an_accepted_change_brings_along_is_watched_too(project: JobProject) -> None:
    project.write({"dwh/deep.py": "from dwh import more\n", "dwh/more.py": "X = 1\n"})
    project.done("accept", "dwh.deep", "--reason", "moved")
    assert "dwh.more was not reached when it was released and is now" in only(project, 3)[2]
    project.done("accept", "dwh.more", "--reason", "moved")
    assert check(project) == (0, [])
    project.write({"dwh/more.py": "X = 2\n"})
    assert only(project, 3)[0] == "differs"


def test_a_deleted_shared_module_is_found(project: JobProject) -> None:
    (project.path / "dwh/deep.py").unlink()
    assert only(project, 3)[2].startswith("dwh.deep is missing, under the frozen 0.1.0.")


def test_accept_knows_the_modules_and_wants_a_reason(project: JobProject) -> None:
    said = project.refused(2, "accept", "dwh.deeep", "--reason", "x")
    assert "no frozen version reaches a module dwh.deeep. Did you mean dwh.deep" in said
    assert "--reason is empty" in project.refused(2, "accept", "dwh.deep", "--reason", " ")


# 9: what lives side by side

DAG = "from dwh.jobs.{0}.my_job import MyJob as A\nfrom dwh.jobs.{1}.my_job import MyJob as B\n"


def test_two_live_versions_that_write_one_table_are_refused_unless_declared(project: JobProject) -> None:
    release(project, "0.3.0", {"my_job": full("MyJob", table="two")})
    project.write({"dags/nightly.py": DAG.format("v0_2_0", "v0_3_0")})
    level, rule, message = only(project, 1)
    assert (level, rule) == ("refused", "writes")
    assert message.startswith(
        "in production my_job 0.2.0 (dags/nightly.py:1) and my_job 0.3.0 (dags/nightly.py:2) write one table, "
        "analytics.two."
    )
    settings = project.read("jobs.toml")
    project.write({"jobs.toml": settings + '[[shared_writes]]\ntable = "analytics.two"\njobs = ["my_job"]\n'})
    assert check(project) == (0, [])
    declared = '[[shared_writes]]\ntable = "analytics.two"\njobs = ["my_job"]\nenvironment = "staging"\n'
    project.write({"jobs.toml": settings + declared})
    assert check(project)[0] == 1


def test_what_one_interpreter_cannot_have_is_refused_unless_it_runs_in_its_own(project: JobProject) -> None:
    release(project, "0.3.0", {"my_job": full("MyJob", "three", '["pandas>=2"]')})
    release(project, "0.4.0", {"my_job": full("MyJob", "four", '["pandas<2"]')})
    project.write({"dags/nightly.py": DAG.format("v0_3_0", "v0_4_0")})
    level, rule, message = only(project, 1)
    assert (level, rule) == ("refused", "requires")
    assert "requires pandas>=2, my_job 0.4.0 (dags/nightly.py:2) requires pandas<2: no interpreter has both." in message
    assert "versioned_operator(PythonVirtualenvOperator, 'dwh.jobs.v0_4_0.my_job', …)" in message
    project.write(
        {
            "dags/nightly.py": "from dbt_cicd_toolkit.jobs.airflow import versioned_operator\n"
            "from dwh.jobs.v0_3_0.my_job import MyJob\n"
            "versioned_operator(PythonVirtualenvOperator, 'dwh.jobs.v0_4_0.my_job', task_id='x')\n"
        }
    )
    assert check(project) == (0, [])


def test_what_a_live_job_does_not_say_is_unknown(project: JobProject) -> None:
    release(project, "0.3.0", {"my_job": "class MyJob:\n    def run(self) -> None: ...\n"})
    assert check(project) == (0, [])
    project.write({"dags/nightly.py": "import dwh.jobs.v0_3_0.my_job\n"})
    level, rule, message = only(project, 0)
    assert (level, rule) == ("unknown", "declared") and "MyJob does not say its reads, writes, requires" in message


# 11: bad input, all of it at once


def test_syntax_errors_and_import_cycles_are_told_all_at_once(project: JobProject) -> None:
    project.write(
        {
            "dwh/jobs/v0_3_0/__init__.py": "",
            "dwh/jobs/v0_3_0/broken.py": "class Broken:\n    def run(self:\n",
            "dwh/jobs/v0_3_0/one.py": f"from . import two, _bad\n\n\n{full('One')}",
            "dwh/jobs/v0_3_0/two.py": f"from . import one\n\n\n{full('Two')}",
            "dwh/jobs/v0_3_0/_bad.py": "x = = 1\n",
            "dags/bad.py": "import\n",
        }
    )
    code, found = check(project)
    assert code == 2
    assert [(rule, message.partition(": ")[0]) for _, rule, message in found if rule in ("syntax", "cycle")] == [
        ("syntax", "dwh/jobs/v0_3_0/broken.py:2"),
        ("syntax", "dwh/jobs/v0_3_0/_bad.py:1"),
        ("cycle", "these import each other"),
        ("syntax", "dags/bad.py:1"),
    ]
    cycle = next(message for _, rule, message in found if rule == "cycle")
    assert "dwh/jobs/v0_3_0/one.py:1 → dwh/jobs/v0_3_0/two.py:1 → dwh/jobs/v0_3_0/one.py" in cycle


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"VERSION": "0.2\n"}, "VERSION: '0.2' is not a SemVer 2.0.0 version"),
        ({"dwh/jobs/v1/x.py": ""}, "dwh/jobs/v1: 'v1' is no version"),
        (
            {"dwh/jobs/v0_3_0/x.py": "", "dwh/jobs/v0_4_0/x.py": ""},
            "dwh/jobs/v0_3_0, dwh/jobs/v0_4_0 are in no release",
        ),
        ({"dwh/jobs/v0_3_0/x.py": "X = 1\n"}, "dwh/jobs/v0_3_0/x.py has no class with a method run()"),
        (
            {"dags/n.py": "from dwh.jobs import resolve\nresolve('my_job', PIN)\n"},
            "dags/n.py:2 (environment production, branch main): a job and its pin must be literal",
        ),
        ({"dags/n.py": "from dwh.jobs import resolve\nresolve('my_job', '^0.1')\n"}, "write '~=0.1.0'"),
        ({"dwh/jobs/jobs.lock": "{"}, "dwh/jobs/jobs.lock is not as it was written"),
    ],
)
def test_bad_input_is_told(project: JobProject, files: dict[str, str], expected: str) -> None:
    project.write(files)
    code, found = check(project)
    assert code == 2 and any(level == "invalid" and expected in message for level, _, message in found), found


def test_settings_that_cannot_be_read_end_everything(project: JobProject) -> None:
    project.write({"jobs.toml": 'package = "dwh"\nenvirments = 1\n'})
    assert "jobs.toml: unknown key 'envirments'" in project.refused(2, "check")


# Where lock, references and states disagree


def test_uses_of_what_is_not_there_open_or_deprecated_are_told(project: JobProject) -> None:
    project.write({"dwh/jobs/v0_3_0/__init__.py": "", "dwh/jobs/v0_3_0/my_job.py": full("MyJob", table="three")})
    project.write(
        {
            "dags/n.py": "import dwh.jobs.v0_9_0.my_job\nimport dwh.jobs.v0_1_0.my_jobb\n"
            "import dwh.jobs.v0_3_0.my_job\nimport dwh.jobs.v0_1_0.my_job\nimport dwh.jobs.v0_2_0.my_job\n"
        }
    )
    project.done("deprecate", "my_job", "0.1.0", "--until", "2001-01-01")
    project.done("deprecate", "my_job", "0.2.0", "--until", "2999-01-01")
    code, found = check(project)
    assert code == 1
    assert [(level, rule, message.partition(" ")[0]) for level, rule, message in found] == [
        ("refused", "adoption", "dags/n.py:1"),
        ("refused", "adoption", "dags/n.py:2"),
        ("warning", "adoption", "dags/n.py:3"),
        ("refused", "deprecated", "dags/n.py:4"),
        ("warning", "deprecated", "dags/n.py:5"),
    ]
    assert "my_job 0.9.0 is not there. There are 0.1.0, 0.2.0, 0.3.0." in found[0][2]
    assert "Did you mean my_job?" in found[1][2]


def test_a_lock_that_disagrees_with_the_dags_is_told(project: JobProject) -> None:
    pins = {"==0.1.0": "0.1.0", "~=0.2.0": "0.1.0", "==0.9.0": "0.9.0", "==0.2.0": "0.2.0"}
    lock = {"format": 1, "environments": {"production": {"my_job": pins}}}
    lines = [f"resolve('my_job', '{pin}')\n" for pin in ("==0.1.0", "~=0.2.0", "==0.9.0", "~=0.1.0", "~=0.1")]
    project.write(
        {
            "dwh/jobs/jobs.lock": json.dumps(lock, indent=2, sort_keys=True) + "\n",
            "dags/n.py": "from dwh.jobs import resolve\n" + "".join(lines),
        }
    )
    code, found = check(project)
    assert code == 1
    said = {(level, message.partition(" ")[0]): message for level, _, message in found}
    assert "no my_job '~=0.1.0' for production" in said["refused", "dags/n.py:5"]
    assert "no my_job '~=0.1' for production" in said["refused", "dags/n.py:6"]
    assert "write '~=0.1.0'" in said["warning", "dags/n.py:6"]
    assert "which is not there" in said["refused", "dwh/jobs/jobs.lock:7"]
    assert "which it does not admit" in said["refused", "dwh/jobs/jobs.lock:8"]
    assert "no DAG of production resolves my_job '==0.2.0'" in said["warning", "dwh/jobs/jobs.lock:6"]


def test_the_dags_of_another_branch_are_held_against_what_that_branch_has(project: JobProject) -> None:
    project.commit("Use it", {"dags/n.py": "import dwh.jobs.v0_2_0.my_job\n"})
    project.done("maintenance", "start", "0.1.0")
    project.git("switch", "--quiet", "0.1.0-maintenance")
    assert check(project) == (0, [])
    body = json.loads(project.done("adoption", "--json").out)
    assert [(use["branch"], use["version"], use["state"]) for use in body["uses"]] == [("main", "0.2.0", "frozen")]
    project.git("switch", "--quiet", "main")
    project.commit("Use more", {"dags/n.py": "import dwh.jobs.v0_3_0.my_job\n"})
    project.git("switch", "--quiet", "0.1.0-maintenance")
    assert "branch main): my_job 0.3.0 is not there. There are 0.1.0, 0.2.0." in only(project, 1)[2]


# list, and the forms of output


def test_list_says_every_state(project: JobProject) -> None:
    project.done("deprecate", "my_job", "0.2.0", "--until", "2999-01-01")
    project.done("new", "other")
    found = json.loads(project.done("list", "--json").out)["jobs"]
    assert [(each["job"], each["version"], each["state"], each["writes"]) for each in found] == [
        ("my_job", "0.1.0", "frozen", ["analytics.one"]),
        ("my_job", "0.2.0", "deprecated", ["analytics.two"]),
        ("other", "0.3.0", "open", None),
    ]
    text = project.done("list", "my_job").out
    assert "deprecated until 2999-01-01" in text and "other" not in text
    assert "| Job | Version |" in project.done("list", "--output-format", "markdown").out
    assert "there is no job my_jo. Did you mean my_job?" in project.refused(2, "list", "my_jo")


def test_a_check_changes_nothing_and_imports_nothing(project: JobProject) -> None:
    trap = "raise SystemExit('imported')\n"
    project.write({"dwh/__init__.py": trap, "dags/n.py": f"import dwh.jobs.v0_1_0.my_job\n{trap}"})
    before = project.state()
    assert check(project)[0] == 3  # dwh/__init__.py runs before every job: it has changed
    assert project.state() == before
    assert "| Level | Rule | Finding |" in project.job("check", "--output-format", "markdown").out
