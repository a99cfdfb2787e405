"""Commands that are killed (SIGKILL) at any moment, and two at once: the next command finishes or undoes it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from pathlib import Path

import pytest

from dbt_cicd_toolkit.jobs import journal, writer
from dbt_cicd_toolkit.jobs.project import Project
from support.job_killer import Killer, wait
from support.job_project import JobProject, job_text

END = 200


@pytest.fixture(scope="module")
def killer() -> Generator[Killer]:
    with Killer() as made:
        yield made


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> JobProject:
    """0.1.0 is released, 0.2.0 is open and committed, 0.1.1 is released on a maintenance line."""
    made = JobProject(tmp_path_factory.mktemp("ready") / "repo").released()
    made.done("maintenance", "start", "0.1.0")
    made.git("switch", "--quiet", "0.1.0-maintenance")
    made.done("new-version", "my_job")
    made.commit("Fix", {"dwh/jobs/v0_1_1/my_job.py": job_text(says="fixed")})
    made.done("release")
    made.git("switch", "--quiet", "main")
    made.done("new-version", "my_job")
    made.write({"dags/a.py": "from dwh.jobs.v0_2_0.my_job import MyJob\n", "dwh/jobs/v0_2_0/my_job.py": job_text()})
    made.commit("Next", {"changes/1.fix.md": "One.\n", "changes/2.feature.md": "Two.\n"})
    return made


def seen(project: JobProject) -> dict[str, object]:
    """The state of a project, but for what is different in each run of the same: ids of commits and tags."""
    found = project.state()
    del found["refs"], found["head"]
    tips = project.git("for-each-ref", "--format=%(refname)").splitlines()
    found["trees"] = {tip: project.git("rev-parse", f"{tip}^{{tree}}") for tip in tips}
    found["commits"] = project.git("rev-list", "--count", "--all")
    found["worktrees"] = str(found["worktrees"]).count("worktree ")
    found["branch"] = project.git("branch", "--show-current")
    return found


def recovered(project: JobProject) -> None:
    """Do what the next command does first."""
    old = dict(os.environ)
    os.environ.clear()
    os.environ.update(project.environment())
    try:
        writer.recover(Project.find(project.path))
    finally:
        os.environ.clear()
        os.environ.update(old)


COMMANDS = {
    "release": ["release"],
    "release --no-tag": ["release", "--no-tag"],
    "sync": ["sync", "0.1.1"],
    "new --bump": ["new", "more", "--bump", "1.0.0"],
}


@pytest.mark.parametrize(
    ("name", "step"),
    [("release", 1), ("release --no-tag", 4), ("sync", 3), ("new --bump", 3)],
    ids=lambda each: str(each),
)
def test_killed_at_any_moment(killer: Killer, ready: JobProject, tmp_path: Path, name: str, step: int) -> None:
    before = seen(ready)
    whole = JobProject.like(ready, tmp_path / "whole")
    whole.done(*COMMANDS[name])
    after = seen(whole)
    outcomes = []
    for at in range(1, END, step):
        project = JobProject.like(ready, tmp_path / "repo")
        code = killer.run(project, at, COMMANDS[name])
        pending = (project.path / ".git/dbt-cicd-job/journal.json").exists()
        recovered(project)
        found = seen(project)
        assert found in (before, after), at
        assert leftover(project) == [], at
        assert not (project.path / ".git/dbt-cicd-job/journal.json").exists()
        outcomes.append((pending, found == after))
        if code != -9:
            assert code == 0
            break
        shutil.rmtree(project.path)
    assert len(outcomes) < END - 1, "it never came to its end"
    assert (True, False) in outcomes, "nothing was undone"
    if name != "new --bump":  # which has no commit, so there is nothing to finish
        assert (True, True) in outcomes, "nothing was finished"


def leftover(project: JobProject) -> list[str]:
    return [path.name for path in (project.path / ".git").glob("**/*.lock") if path.name != "dbt-cicd-job.lock"]


def test_the_way_back_is_killed_too(killer: Killer, ready: JobProject, tmp_path: Path) -> None:
    before = seen(ready)
    middle = JobProject.like(ready, tmp_path / "middle")
    broken(killer, middle)
    for at in range(1, END, 2):
        project = JobProject.like(middle, tmp_path / "repo")
        code = killer.run(project, at, ["release", "9.9.9"])  # refused, after it has undone the other one
        recovered(project)
        assert seen(project) == before, at
        assert leftover(project) == [], at
        if code != -9:
            break
        shutil.rmtree(project.path)
    assert at > 10


def broken(killer: Killer, project: JobProject) -> None:
    """Kill a release between its commit and its tag."""
    hook = project.path / ".git/hooks/post-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nread -r parent </proc/$PPID/stat; set -- $parent; kill -9 $4\n")  # git's parent
    hook.chmod(0o755)
    assert killer.run(project, 0, ["release"]) == -9
    hook.unlink()
    assert project.git("log", "-1", "--format=%s") == "Release 0.2.0"
    assert project.git("tag", "--list", "v0.2.0") == ""


def test_the_next_command_tells_of_it_and_goes_on(killer: Killer, ready: JobProject, tmp_path: Path) -> None:
    project = JobProject.like(ready, tmp_path / "repo")
    broken(killer, project)
    told = project.done("notes")
    assert "the release of 0.2.0 was interrupted; the next command that writes ends it" in told.err
    checked = project.job("check", "--json")
    assert checked.code == 1
    assert checked.json["findings"][0]["rule"] == "interrupted"
    assert "Run this without --dry-run" in project.job("release", "--dry-run").err
    result = project.done("release")
    assert "the interrupted release of 0.2.0 was undone" in result.err
    assert project.git("tag", "--list", "v0.2.0") == "v0.2.0"
    assert project.git("rev-list", "--count", "v0.1.0..v0.2.0") == "2"


def test_a_branch_that_has_moved_on_is_left_alone(killer: Killer, ready: JobProject, tmp_path: Path) -> None:
    project = JobProject.like(ready, tmp_path / "repo")
    broken(killer, project)
    project.git("restore", "--staged", ".")
    project.commit("Mine", {"mine.txt": "x"})
    tip = project.git("rev-parse", "HEAD")
    result = project.job("release")
    assert "main has moved on since: it is left as it is" in result.err
    assert project.git("rev-parse", "HEAD") == tip
    project.done("release", "tag")


def test_another_branch_must_be_left_first(killer: Killer, ready: JobProject, tmp_path: Path) -> None:
    project = JobProject.like(ready, tmp_path / "repo")
    broken(killer, project)
    project.git("symbolic-ref", "HEAD", "refs/heads/0.1.0-maintenance")
    before = project.state()
    result = project.job("new", "x")
    assert (result.code, "`git switch --merge main`" in result.err) == (1, True)
    assert project.state() == before


def fifo_hook(project: JobProject, name: str) -> Path:
    """A hook that says it is there, and waits to be let go."""
    fifo = project.path / ".git" / name
    os.mkfifo(fifo)
    os.mkfifo(project.path / ".git/there")
    hook = project.path / ".git/hooks" / name
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\necho >.git/there\nread -r _ <.git/{name}\n")
    hook.chmod(0o755)
    return fifo


def test_two_at_once_one_wins_and_the_other_is_told(ready: JobProject, tmp_path: Path) -> None:
    project = JobProject.like(ready, tmp_path / "repo")
    fifo = fifo_hook(project, "pre-commit")
    first = project.start("release")
    (project.path / ".git/there").read_text()
    result = project.job("release")
    assert result.code == 1
    assert f"another `dbt-cicd job` is writing in this repository (process {first.pid}" in result.err
    fifo.write_text("\n")
    assert first.wait() == 0
    first.communicate()
    assert project.git("tag", "--list", "v0.2.0") == "v0.2.0"


def test_many_at_once(ready: JobProject, tmp_path: Path) -> None:
    project = JobProject.like(ready, tmp_path / "repo")
    processes = [project.start("release", "0.2.0") for _ in range(4)]
    said = [(process.communicate()[1], process.returncode) for process in processes]
    assert sorted(code for _, code in said) == [0, 1, 1, 1], said
    assert project.git("rev-list", "--count", "v0.1.0..v0.2.0") == "2"
    assert project.git("status", "--porcelain") == ""


def test_what_a_killed_command_started_is_waited_for(ready: JobProject, tmp_path: Path) -> None:
    """git goes on with a hook when we are killed; it must end before anything is undone."""
    project = JobProject.like(ready, tmp_path / "repo")
    before = project.state()
    fifo = fifo_hook(project, "pre-commit")
    process = project.start("release")
    (project.path / ".git/there").read_text()
    process.kill()
    process.wait()
    result = project.job("new", "x")
    assert result.code == 1
    assert "is writing in this repository" in result.err
    fifo.write_text("\n")
    wait(project)
    (project.path / ".git/hooks/pre-commit").unlink()
    process.communicate()
    assert project.git("log", "-1", "--format=%s") == "Release 0.2.0"
    recovered(project)
    assert project.state() == before


GIT = """#!/bin/sh
echo x >>"$COUNT"
if [ "$(wc -l <"$COUNT")" -eq "$AT" ]; then kill -9 $PPID; fi
exec "$REAL" "$@"
"""


def test_killed_while_git_is_at_work(ready: JobProject, tmp_path: Path) -> None:
    """Killed when git has begun: git ends what it was told, and nobody takes note of it."""
    real = shutil.which("git")
    assert real
    wrapper = tmp_path / "bin/git"
    wrapper.parent.mkdir()
    wrapper.write_text(GIT)
    wrapper.chmod(0o755)
    before = seen(ready)
    whole = JobProject.like(ready, tmp_path / "whole")
    whole.done("release")
    after = seen(whole)
    outcomes = []
    for at in range(14, END):
        project = JobProject.like(ready, tmp_path / "repo")
        count = tmp_path / "count"
        count.unlink(missing_ok=True)
        path = {"PATH": f"{wrapper.parent}:{os.environ['PATH']}", "REAL": real, "COUNT": str(count), "AT": str(at)}
        process = project.start("release", environment=path)
        process.communicate()  # until the last one has closed its output
        wait(project)
        recovered(project)
        assert seen(project) in (before, after), at
        outcomes.append(seen(project) == after)
        if process.returncode == 0:
            break
        shutil.rmtree(project.path)
    assert set(outcomes) == {False, True}


ALL = """#!/bin/sh
refs=$(cat)
case "$1 $refs" in "prepared "*{ref}*)
    set -- $(cat /proc/$PPID/stat)  # its fourth field is the parent of git: us
    kill -9 $4 $PPID
esac
"""


@pytest.mark.parametrize("ref", ["refs/heads/main", "refs/tags/v0.2.0"])
def test_git_is_killed_with_us_while_it_holds_its_locks(
    killer: Killer, ready: JobProject, tmp_path: Path, ref: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "PATIENCE", 0)
    project = JobProject.like(ready, tmp_path / "repo")
    before = project.state()
    hook = project.path / ".git/hooks/reference-transaction"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(ALL.format(ref=ref))
    hook.chmod(0o755)
    assert killer.run(project, 0, ["release"]) == -9
    assert leftover(project) != []
    hook.unlink()
    recovered(project)
    assert leftover(project) == []
    assert project.state() == before
    project.done("release")


def test_a_kill_while_a_backport_is_at_work(killer: Killer, ready: JobProject, tmp_path: Path) -> None:
    source = JobProject.like(ready, tmp_path / "source")
    commit = source.commit("Fix", {"dwh/jobs/v0_2_0/my_job.py": job_text().replace("does.", "does, better.")})
    before = seen(source)
    for at in range(1, END, 3):
        project = JobProject.like(source, tmp_path / "repo")
        code = killer.run(project, at, ["backport", commit, "0.1.0"])
        recovered(project)
        found = seen(project)
        for key in ("index", "status", "files", "worktrees", "branch"):
            assert found[key] == before[key], (at, key)
        assert not (tmp_path / "repo-0.1.0-maintenance").exists(), at
        if code != -9:
            assert code == 0
            break
        shutil.rmtree(project.path)
    assert at > 10
