"""resolve(), jobs.lock, `job lock` and `job resolve`: what a DAG runs is what the committed lock says."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import timeit
import warnings
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from dbt_cicd_toolkit.errors import Differs, InvalidInput
from dbt_cicd_toolkit.jobs import resolver
from dbt_cicd_toolkit.jobs.manifest import Entry, Manifest, content_hash
from dbt_cicd_toolkit.jobs.number import Number
from support.job_project import JobProject, job_text

INIT = '''\
"""Jobs, by version."""

from dbt_cicd_toolkit.jobs.resolver import bind

resolve = bind(__name__, __file__)
'''
SETTINGS = """\
package = "dwh"
[environments.production]
[environments.staging]
dags = ["staging_dags"]
"""
DAG = """\
from dwh.jobs import resolve

Job = resolve("my_job", "~=0.1.0")
"""


def add_version(project: JobProject, version: str, *jobs: str, released: bool = True) -> None:
    """A folder with these jobs (my_job), and its manifest if it is released."""
    number = Number.parse(version)
    files = {f"dwh/jobs/{number.folder}/__init__.py": ""}
    for job in jobs or ("my_job",):
        files[f"dwh/jobs/{number.folder}/{job}.py"] = job_text(says=f"{job} {version}")
    project.write(files)
    if released:
        entries = {
            job: Entry(f"dwh.jobs.{number.folder}.{job}", "MyJob", ("customers",), ("analytics.my_table",), None)
            for job in jobs or ("my_job",)
        }
        hashes = {path: content_hash(text.encode()) for path, text in files.items()}
        manifest = Manifest(number, "2026-11-21", None, entries, hashes)
        project.write({f"releases/{version}.json": manifest.text(), "VERSION": f"{version}\n"})


@pytest.fixture
def project(tmp_path: Path) -> JobProject:
    """Releases 0.1.0 and 0.2.0 of a job, and DAGs of two environments."""
    made = JobProject(tmp_path / "project")
    made.write(
        {
            "jobs.toml": SETTINGS,
            "dwh/__init__.py": "",
            "dwh/jobs/__init__.py": INIT,
            "dags/nightly.py": DAG,
            "staging_dags/nightly.py": DAG.replace('"~=0.1.0"', "pin='>=0.1'"),
        }
    )
    add_version(made, "0.1.0")
    add_version(made, "0.2.0")
    made.commit("Jobs")
    return made


@pytest.fixture
def imported(project: JobProject, monkeypatch: pytest.MonkeyPatch) -> Generator[Callable[[], Any]]:
    """The package of jobs, imported as a DAG does it."""
    monkeypatch.syspath_prepend(project.path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delenv("DBT_CICD_ENVIRONMENT", raising=False)

    def forget() -> None:
        for name in [name for name in sys.modules if name == "dwh" or name.startswith("dwh.")]:
            del sys.modules[name]

    forget()
    yield lambda: importlib.import_module("dwh.jobs")
    forget()


def locked(project: JobProject) -> dict[str, dict[str, dict[str, str]]]:
    found: dict[str, dict[str, dict[str, str]]] = json.loads(project.read("dwh/jobs/jobs.lock"))["environments"]
    return found


def test_lock(project: JobProject) -> None:
    before = project.state()
    assert "production   my_job  ~=0.1.0  —     0.1.0" in project.done("lock", "--dry-run").out
    assert project.state() == before
    done = project.done("lock", "--json")
    assert json.loads(done.out)["changes"] == [
        {"environment": "production", "job": "my_job", "pin": "~=0.1.0", "old": None, "new": "0.1.0"},
        {"environment": "staging", "job": "my_job", "pin": ">=0.1", "old": None, "new": "0.2.0"},
    ]
    assert project.read("dwh/jobs/jobs.lock") == (
        '{\n  "environments": {\n    "production": {\n      "my_job": {\n        "~=0.1.0": "0.1.0"\n      }\n    },\n'
        '    "staging": {\n      "my_job": {\n        ">=0.1": "0.2.0"\n      }\n    }\n  },\n  "format": 1\n}\n'
    )
    before = project.state()
    assert project.done("lock").out == "Nothing changes.\n"
    assert project.state() == before


def test_latest_moves_only_when_asked(project: JobProject) -> None:
    project.write({"dags/nightly.py": DAG.replace(', "~=0.1.0"', "")})
    project.done("lock")
    add_version(project, "0.2.1")
    add_version(project, "0.3.0", released=False)  # the open folder is nobody's latest
    assert project.done("lock").out == "Nothing changes.\n"
    assert "Did you mean my_job?" in project.refused(2, "lock", "--upgrade", "my_jub")
    assert "0.2.1" in project.done("lock", "--upgrade", "--dry-run").out
    assert locked(project)["production"] == {"my_job": {"latest": "0.2.0"}}
    project.done("lock", "--upgrade", "my_job")
    assert locked(project)["production"] == {"my_job": {"latest": "0.2.1"}}
    assert locked(project)["staging"] == {"my_job": {">=0.1": "0.2.1"}}


def test_upgrading_one_job_leaves_the_others(project: JobProject) -> None:
    add_version(project, "0.2.1", "my_job", "other")
    project.write({"dags/other.py": DAG.replace("my_job", "other").replace("~=0.1.0", ">=0.2")})
    project.done("lock")
    add_version(project, "0.2.2", "my_job", "other")
    project.done("lock", "--upgrade", "other")
    assert locked(project) == {
        "production": {"my_job": {"~=0.1.0": "0.1.0"}, "other": {">=0.2": "0.2.2"}},
        "staging": {"my_job": {">=0.1": "0.2.1"}},
    }


def test_what_nobody_uses_goes_and_what_is_gone_moves(project: JobProject) -> None:
    project.done("lock")
    add_version(project, "0.1.1")
    project.git("rm", "--quiet", "-r", "--cached", "dwh/jobs/v0_1_0", "staging_dags")
    for path in ("dwh/jobs/v0_1_0/my_job.py", "staging_dags/nightly.py"):
        (project.path / path).unlink()
    project.done("lock")
    assert locked(project) == {"production": {"my_job": {"~=0.1.0": "0.1.1"}}}


def test_the_branch_of_an_environment(project: JobProject) -> None:
    """Its DAGs, and the releases that it has, are read from git."""
    project.git("branch", "0.1.0-maintenance")
    project.write({"jobs.toml": SETTINGS + 'branch = "0.1.0-maintenance"\n'})
    add_version(project, "0.3.0")
    project.write({"staging_dags/nightly.py": "# none here\n"})
    project.done("lock")
    assert locked(project)["production"] == {"my_job": {"~=0.1.0": "0.1.0"}}
    assert locked(project)["staging"] == {"my_job": {">=0.1": "0.2.0"}}
    project.write({"jobs.toml": SETTINGS + 'branch = "gone"\n'})
    assert "'gone', which this clone has not got" in project.refused(2, "lock")


def test_a_branch_that_will_be_merged_locks_its_own_pins(project: JobProject) -> None:
    """Its lock is what the environment reads after the merge."""
    project.write({"jobs.toml": SETTINGS.replace("production]\n", 'production]\nbranch = "main"\n')})
    project.commit("Name the branch")
    project.git("switch", "--quiet", "-c", "feature")
    add_version(project, "0.3.0")
    project.write({"dags/nightly.py": DAG.replace("~=0.1.0", ">=0.2")})
    project.done("lock")
    assert locked(project)["production"] == {"my_job": {"~=0.1.0": "0.1.0", ">=0.2": "0.3.0"}}
    project.commit("Move to the new version")
    project.git("switch", "--quiet", "main")
    project.git("merge", "--quiet", "feature")
    project.done("lock")
    assert locked(project)["production"] == {"my_job": {">=0.2": "0.3.0"}}
    project.write({"dags/nightly.py": DAG.replace("~=0.1.0", "^1")})
    project.commit("Mistake")
    project.git("switch", "--quiet", "feature")
    assert "main:dags/nightly.py:3: '^1' is no pin: write '~=1.0'." in project.refused(2, "lock")


def test_a_call_that_names_its_environment(project: JobProject) -> None:
    project.write({"dags/nightly.py": DAG.replace('")', '", environment="staging")')})
    project.done("lock")
    assert locked(project) == {"staging": {"my_job": {"~=0.1.0": "0.1.0", ">=0.1": "0.2.0"}}}
    project.write({"dags/nightly.py": DAG.replace('")', '", environment="stagin")')})
    assert "no environment 'stagin'. Did you mean staging?" in project.refused(2, "lock")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ('resolve("my_job", "^0.1.0")', "dags/nightly.py:3: '^0.1.0' is no pin: write '~=0.1.0'."),
        ('resolve("my_job", "0.1.0")', "dags/nightly.py:3: '0.1.0' is no pin: write '==0.1.0'."),
        ('resolve("my_job", "newest")', "'newest' is no pin: a pin is a PEP 440 specifier such as '~=0.1.0'"),
        ('resolve("my_job", PIN)', "dags/nightly.py:3: the pin of resolve() is not literal"),
        ('resolve(NAME, "~=0.1.0")', "dags/nightly.py:3: the job of resolve() is not literal"),
        ('resolve("my_jub", "~=0.1.0")', "dags/nightly.py:3: no release has a job 'my_jub'. Did you mean my_job?"),
        (
            'resolve("my_job", "~=0.4.0")',
            "dags/nightly.py:3: no release of my_job fits '~=0.4.0'. There are: 0.1.0, 0.2.0.",
        ),
    ],
)
def test_pins_that_cannot_be_locked(project: JobProject, call: str, message: str) -> None:
    project.write({"dags/nightly.py": DAG.replace('resolve("my_job", "~=0.1.0")', call)})
    assert message in project.refused(2, "lock")


def test_every_wrong_pin_is_told_at_once(project: JobProject) -> None:
    for name, pin in (("one", "^1"), ("two", "~=9.0"), ("three", "~=0.1.0")):
        project.write({f"dags/{name}.py": DAG.replace("~=0.1.0", pin)})
    said = project.refused(2, "lock")
    assert "dags/one.py:3" in said and "dags/two.py:3" in said and "dags/three.py" not in said


def test_a_pin_that_admits_more_than_it_seems(project: JobProject) -> None:
    project.write({"dags/nightly.py": DAG.replace("~=0.1.0", "~=0.1")})
    done = project.done("lock")
    assert "warning: dags/nightly.py:3: the pin '~=0.1' admits 0.2 and every later 0.x" in done.err
    assert "write '~=0.1.0'" in done.err
    resolved = project.done("resolve", "my_job", "~=0.1", "--environment", "production")
    assert resolved.out == "0.2.0\n" and "admits 0.2" in resolved.err


def test_no_environment_to_lock_for(project: JobProject) -> None:
    project.write({"jobs.toml": 'package = "dwh"\n'})
    assert "jobs.toml has no environment" in project.refused(2, "lock")


def test_resolve_prints_the_version(project: JobProject) -> None:
    assert "is missing. Write it with `dbt-cicd job lock`" in project.refused(
        3, "resolve", "my_job", "~=0.1.0", "--environment", "production"
    )
    project.done("lock")
    assert project.done("resolve", "my_job", "~=0.1.0", "--environment", "production").out == "0.1.0\n"
    staging = {"DBT_CICD_ENVIRONMENT": "staging"}
    assert (
        json.loads(project.done("resolve", "my_job", ">=0.1", "--json", environment=staging).out)["version"] == "0.2.0"
    )
    # The argument goes before the variable.
    done = project.done("resolve", "my_job", "~=0.1.0", "--environment", "production", environment=staging)
    assert done.out == "0.1.0\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("my_job", "~=0.1.0"), "no environment is named. Set DBT_CICD_ENVIRONMENT, or give environment=…"),
        (("my_job", "~=0.1.0", "--environment", "live"), "no environment 'live'. There are: production, staging."),
        (("my_job", "~=0.1.0", "--environment", "productoin"), "Did you mean production?"),
        (("my_jub", "~=0.1.0", "--environment", "production"), "no job 'my_jub' in production. Did you mean my_job?"),
        (("my_job", "~=0.2.0", "--environment", "production"), "There are: '~=0.1.0' (0.1.0). Run `dbt-cicd job lock`"),
        (("my_job", "--environment", "production"), "resolve('my_job'): dwh/jobs/jobs.lock has no such pin"),
        (("my_job", "^0.1.0", "--environment", "production"), "'^0.1.0' is no pin: write '~=0.1.0'."),
    ],
)
def test_what_the_lock_does_not_have(project: JobProject, arguments: tuple[str, ...], message: str) -> None:
    project.done("lock")
    assert message in project.refused(2, "resolve", *arguments)


@pytest.mark.parametrize("argument", ["os.environ['X']", "environment=os.environ['X']", "ENVIRONMENT"])
def test_an_environment_that_is_no_literal_is_bad_input(project: JobProject, argument: str) -> None:
    """It is not the DAG's own, which the lock would be made for."""
    project.write({"dags/nightly.py": f"from dwh.jobs import resolve\nresolve('my_job', '~=0.1.0', {argument})\n"})
    source = argument.removeprefix("environment=")
    said = project.refused(2, "lock")
    assert f"dags/nightly.py:2: the environment {source} of resolve() is not literal" in said
    result = project.job("check")
    assert result.code == 2 and f"the environment {source} of resolve() must be a literal text" in result.out


def test_a_damaged_lock(project: JobProject) -> None:
    banana = '{"format": 1, "environments": {"production": {"my_job": {"latest": "banana"}}}}'
    broken = '{"format": 1, "environments": {"production": {"a": 1}}}'
    for text in ("", "<<<<<<< HEAD", "[]", '{"format": 1}', broken, banana, "[" * 100_000):
        project.write({"dwh/jobs/jobs.lock": text})
        for command in (("lock",), ("resolve", "my_job", "--environment", "production")):
            said = project.refused(3, *command)
            assert "jobs.lock is not as it was written" in said and "Restore it (git restore" in said
    project.write({"dwh/jobs/jobs.lock": '{"format": 2}'})
    assert "newer version of dbt_cicd_toolkit" in project.refused(2, "resolve", "my_job", "--environment", "production")


def test_resolve_in_a_dag(project: JobProject, imported: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    project.done("lock")
    resolve = imported().resolve
    old = resolve("my_job", "~=0.1.0", "production")
    assert old().run() == "my_job 0.1.0" and old.__module__ == "dwh.jobs.v0_1_0.my_job"
    monkeypatch.setenv("DBT_CICD_ENVIRONMENT", "staging")
    assert resolve("my_job", ">=0.1")().run() == "my_job 0.2.0"
    assert resolve("my_job", "~=0.1.0", environment="production") is old
    with pytest.raises(InvalidInput, match="no such pin of my_job in staging"):
        resolve("my_job", "~=0.1.0")


def test_resolve_is_a_function_of_the_lock_alone(project: JobProject, imported: Callable[[], Any]) -> None:
    """Not of what is released, nor of jobs.toml, VERSION or the network; and of the lock as it is now."""
    project.done("lock")
    resolve = imported().resolve
    assert resolve("my_job", ">=0.1", "staging")().run() == "my_job 0.2.0"
    for path in ("jobs.toml", "VERSION", "releases/0.1.0.json", "releases/0.2.0.json", "dags/nightly.py"):
        (project.path / path).unlink()
    add_version(project, "0.3.0")
    assert resolve("my_job", ">=0.1", "staging")().run() == "my_job 0.2.0"
    lock = resolver.text({"staging": {"my_job": {">=0.1": "0.1.0"}}})
    project.write({"dwh/jobs/jobs.lock": lock})
    assert resolve("my_job", ">=0.1", "staging")().run() == "my_job 0.1.0"


def test_resolve_takes_at_most_a_millisecond(project: JobProject, imported: Callable[[], Any]) -> None:
    project.done("lock")
    many = {f"job_{number}": {"~=0.1.0": "0.1.0"} for number in range(300)}
    project.write(
        {"dwh/jobs/jobs.lock": resolver.text({"production": {"my_job": {"~=0.1.0": "0.1.0"}, **many}, "other": many})}
    )
    resolve = imported().resolve
    resolve("my_job", "~=0.1.0", "production")
    seconds = min(timeit.repeat(lambda: resolve("my_job", "~=0.1.0", "production"), number=100, repeat=5)) / 100
    assert seconds < 0.001, seconds


def test_a_lock_that_leads_to_nothing(project: JobProject, imported: Callable[[], Any]) -> None:
    project.write({"dwh/jobs/jobs.lock": resolver.text({"production": {"my_job": {"latest": "0.9.0"}}})})
    resolve = imported().resolve
    with pytest.raises(Differs, match=r"leads to my_job 0\.9\.0, and dwh\.jobs\.v0_9_0\.my_job is not there"):
        resolve("my_job", environment="production")
    # What the job itself cannot import is not taken for that.
    project.write({"dwh/jobs/v0_9_0/__init__.py": "", "dwh/jobs/v0_9_0/my_job.py": "import nowhere_to_be_found\n"})
    importlib.invalidate_caches()
    with pytest.raises(ModuleNotFoundError, match="nowhere_to_be_found"):
        resolve("my_job", environment="production")


def test_a_wide_pin_is_warned_of_once(project: JobProject, imported: Callable[[], Any]) -> None:
    project.write(
        {"dwh/jobs/jobs.lock": resolver.text({"production": {"my_job": {"~=0.1": "0.2.0", "~=0.1.0": "0.1.0"}}})}
    )
    resolve = imported().resolve
    with pytest.warns(UserWarning, match=r"admits 0\.2") as caught:
        resolve("my_job", "~=0.1", "production")
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resolve("my_job", "~=0.1", "production")
        resolve("my_job", "~=0.1.0", "production")


def test_a_dag_needs_nothing_that_is_installed(project: JobProject) -> None:
    """An interpreter with the standard library alone, which has no sites."""
    project.done("lock")
    source = Path(resolver.__file__).parents[2]
    code = (
        f"import sys; sys.path[:0] = [{str(source)!r}, {str(project.path)!r}]\n"
        "from dwh.jobs import resolve\n"
        "from dbt_cicd_toolkit.jobs.airflow import job_tags\n"
        "print(job_tags(resolve('my_job', '>=0.1', 'staging')), 'packaging' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-B", "-c", code], capture_output=True, encoding="utf-8")
    assert (done.stdout, done.stderr) == ("['my_job@0.2.0'] False\n", "")
