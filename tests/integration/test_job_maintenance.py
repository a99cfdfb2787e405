"""Maintenance lines on real git: branches, backports in a working tree of their own, releases brought to main."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.job_project import JobProject, job_text

HELPER = "LIMIT = 10\n"
JOB = """\
from dwh.jobs.{folder} import _limits
from dwh.shared import word


class MyJob:
    reads = ["customers"]

    def run(self) -> str:
        rows = [1, 2, 3]
        total = sum(rows)
        return f"{{word}} {{total}} {{_limits.LIMIT}}"
"""


@pytest.fixture(scope="module")
def two_lines(tmp_path_factory: pytest.TempPathFactory) -> JobProject:
    """0.1.0 and 0.2.0 of a job with a helper, and 0.1.0-maintenance."""
    made = JobProject(tmp_path_factory.mktemp("lines") / "repo")
    made.done("init", "dwh")
    made.done("new", "my_job")
    folder = "dwh/jobs/v0_1_0"
    made.write({f"{folder}/my_job.py": JOB.format(folder="v0_1_0"), f"{folder}/_limits.py": HELPER})
    made.commit("Jobs", {"dwh/shared.py": "word = 'sum'\n"})
    made.done("release")
    made.done("new-version", "my_job")
    made.commit("Next", {"changes/2.feature.md": "More.\n"})
    made.done("release")
    made.done("maintenance", "start", "0.1.0")
    return made


@pytest.fixture
def project(two_lines: JobProject, tmp_path: Path) -> JobProject:
    return JobProject.like(two_lines, tmp_path / "repo")


def fixed(project: JobProject, old: str = "sum(rows)", new: str = "sum(rows) + 1") -> str:
    """A commit on main that opens 0.3.0 with a copy of the job, and one that changes the copy; the second."""
    project.done("new-version", "my_job")
    project.commit("Open")
    text = project.read("dwh/jobs/v0_3_0/my_job.py")
    assert old in text
    return project.commit("Fix the sum\n\nFor a reason.", {"dwh/jobs/v0_3_0/my_job.py": text.replace(old, new)})


def test_a_line_starts_at_the_tag_and_leaves_the_checkout_alone(project: JobProject) -> None:
    project.git("branch", "--delete", "--force", "0.1.0-maintenance")
    project.write({"scratch.txt": "mine", "dwh/shared.py": "word = 'changed'\n"})
    before = project.state()
    made = project.done("maintenance", "start", "0.1.0", "--json").json
    assert made["branch"] == "0.1.0-maintenance"
    assert project.git("rev-parse", "0.1.0-maintenance") == project.git("rev-parse", "v0.1.0^{commit}")
    project.git("branch", "--delete", "--force", "0.1.0-maintenance")
    assert project.state() == before


@pytest.mark.parametrize(
    ("version", "code", "said"),
    [
        ("0.1.0", 1, "0.1.0-maintenance maintains 0.1 already. `git switch 0.1.0-maintenance`"),
        ("0.5.0", 2, "there is no release 0.5.0 (no tag v0.5.0). Did you mean"),
        ("0.2", 2, "write 0.2.0"),
    ],
)
def test_lines_that_cannot_start(project: JobProject, version: str, code: int, said: str) -> None:
    assert said in project.refused(code, "maintenance", "start", version)


def test_a_line_starts_at_its_newest_release(project: JobProject) -> None:
    project.git("branch", "--delete", "--force", "0.1.0-maintenance")
    project.git("tag", "v0.1.1", "v0.1.0")
    assert "`dbt-cicd job maintenance start 0.1.1`" in project.refused(1, "maintenance", "start", "0.1.0")


def test_a_line_at_a_remote_counts(project: JobProject, tmp_path: Path) -> None:
    clone = JobProject(tmp_path / "clone", clone=project.path)
    assert "maintains 0.1 already" in clone.refused(1, "maintenance", "start", "0.1.0")
    assert clone.done("maintenance", "list", "--json").json["branches"][0]["local"] is False
    commit = fixed(clone)
    assert "`git branch 0.1.0-maintenance origin/0.1.0-maintenance`" in clone.refused(1, "backport", commit, "0.1.0")


def test_lines_are_listed_with_what_main_lacks(project: JobProject) -> None:
    commit = fixed(project)
    project.done("backport", commit, "0.1.0")
    (before,) = project.done("maintenance", "list", "--json").json["branches"]
    assert (before["last"], before["open"], before["ahead"], before["unsynced"]) == ("0.1.0", "0.1.1", 2, [])
    project.git("switch", "--quiet", "0.1.0-maintenance")
    project.done("release")
    project.git("switch", "--quiet", "main")
    (after,) = project.done("maintenance", "list", "--json").json["branches"]
    assert (after["last"], after["open"], after["ahead"], after["unsynced"]) == ("0.1.1", None, 0, ["0.1.1"])
    assert "0.1.0-maintenance  0.1.1" in project.done("maintenance", "list").out
    assert project.done("maintenance", "list", "--output-format", "markdown").out.startswith("| Branch |")


def test_a_line_takes_patches_only(project: JobProject) -> None:
    project.git("switch", "--quiet", "0.1.0-maintenance")
    said = project.refused(1, "new-version", "my_job", "--bump", "minor")
    assert "0.2.0 is no patch of 0.1: 0.1.0-maintenance takes patches only" in said
    assert project.done("new-version", "my_job", "--json").json["version"] == "0.1.1"
    project.commit("New", {"changes/4.feature.md": "More.\n"})
    assert "0.1.0-maintenance takes fixes only" in project.refused(1, "release")


def test_main_leaves_a_maintained_line_alone(project: JobProject) -> None:
    project.git("switch", "--quiet", "--create", "old", "v0.1.0")
    project.git("branch", "--force", "main", "old")
    project.git("switch", "--quiet", "main")
    said = project.refused(1, "new-version", "my_job", "--bump", "patch")
    assert "0.1.1 belongs to the line of 0.1.0-maintenance" in said


def test_a_branch_made_from_a_line_is_of_that_line(project: JobProject) -> None:
    project.git("switch", "--quiet", "0.1.0-maintenance")
    project.commit("Something", {"other.txt": "x"})
    project.git("switch", "--quiet", "--create", "fix-it")
    assert project.done("new-version", "my_job", "--json").json["version"] == "0.1.1"
    project.commit("Fix")
    assert "git switch 0.1.0-maintenance" in project.refused(1, "release")
    project.done("release", "--no-tag")
    project.git("switch", "--quiet", "0.1.0-maintenance")
    project.git("merge", "--quiet", "--squash", "fix-it")
    project.git("commit", "--quiet", "--message", "Release 0.1.1")
    assert project.done("release", "tag", "--json").json["tag"] == "v0.1.1"


# Backports.


def test_a_backport_maps_the_folder_and_never_touches_the_checkout(project: JobProject, tmp_path: Path) -> None:
    commit = fixed(project)
    project.write({"scratch.txt": "mine", "dwh/shared.py": "word = 'changed'\n"})
    before = project.state()
    made = project.done("backport", commit, "0.1.0", "--json").json
    after = project.state()
    assert {key: after[key] for key in after if key != "refs"} == {key: before[key] for key in before if key != "refs"}
    assert made["folder"] == "dwh/jobs/v0_1_1"
    assert made["branch"] == "0.1.0-maintenance"
    assert made["commit"] == project.git("rev-parse", "0.1.0-maintenance")
    text = project.git("show", "0.1.0-maintenance:dwh/jobs/v0_1_1/my_job.py")
    assert text + "\n" == JOB.format(folder="v0_1_1").replace("sum(rows)", "sum(rows) + 1")
    assert project.git("show", "0.1.0-maintenance:dwh/jobs/v0_1_1/_limits.py") + "\n" == HELPER
    assert project.git("log", "--format=%s", "v0.1.0..0.1.0-maintenance").splitlines() == [
        "Fix the sum",
        "Copy my_job 0.1.0 to 0.1.1",
    ]
    body = project.git("log", "-1", "--format=%b", "0.1.0-maintenance")
    assert body == f"For a reason.\n\nBackport-of: {commit}"
    assert project.git("diff", "--name-only", "v0.1.0", "0.1.0-maintenance", "--", "dwh/jobs/v0_1_0") == ""
    assert not (tmp_path / "repo-0.1.0-maintenance").exists()
    assert "0.1.0-maintenance has" in project.refused(1, "backport", made["commit"], "0.1.0")


def test_a_commit_that_copies_and_changes_at_once(project: JobProject) -> None:
    project.done("new-version", "my_job")
    text = project.read("dwh/jobs/v0_3_0/my_job.py").replace("sum(rows)", "sum(rows) + 1")
    commit = project.commit("Copy and fix", {"dwh/jobs/v0_3_0/my_job.py": text, "changes/5.fix.md": "One more.\n"})
    made = project.done("backport", commit, "0.1.0", "--json").json
    assert "changes/5.fix.md" in made["files"]
    text = project.git("show", "0.1.0-maintenance:dwh/jobs/v0_1_1/my_job.py")
    assert text + "\n" == JOB.format(folder="v0_1_1").replace("sum(rows)", "sum(rows) + 1")


def test_a_second_backport_goes_into_the_same_folder(project: JobProject) -> None:
    first = fixed(project)
    text = project.read("dwh/jobs/v0_3_0/_limits.py")
    second = project.commit("Raise", {"dwh/jobs/v0_3_0/_limits.py": text.replace("10", "20")})
    project.done("backport", first, "0.1.0")
    made = project.done("backport", second, "0.1.0", "--json").json
    assert made["files"] == ["dwh/jobs/v0_1_1/_limits.py"]
    assert project.git("show", "0.1.0-maintenance:dwh/jobs/v0_1_1/_limits.py") == "LIMIT = 20"


def test_a_commit_of_shared_code_only(project: JobProject) -> None:
    commit = project.commit("Share", {"dwh/shared.py": "word = 'total'\n"})
    made = project.done("backport", commit, "0.1.0", "--json").json
    assert (made["folder"], made["files"]) == (None, ["dwh/shared.py"])


def test_a_new_job(project: JobProject) -> None:
    project.done("new", "other")
    commit = project.commit("Another", {"dwh/jobs/v0_3_0/other.py": job_text("Other")})
    made = project.done("backport", commit, "0.1.0", "--json").json
    assert "dwh/jobs/v0_1_1/other.py" in made["files"]
    assert "dwh/jobs/v0_1_1/__init__.py" in project.tree("0.1.0-maintenance")


def test_conflicts_are_left_to_the_user_in_that_working_tree(project: JobProject, tmp_path: Path) -> None:
    project.git("switch", "--quiet", "0.1.0-maintenance")
    project.done("new-version", "my_job")
    text = project.read("dwh/jobs/v0_1_1/my_job.py")
    project.commit("Here too", {"dwh/jobs/v0_1_1/my_job.py": text.replace("sum(rows)", "max(rows)")})
    project.git("switch", "--quiet", "main")
    commit = fixed(project)
    before = project.state()
    result = project.job("backport", commit, "0.1.0")
    place = tmp_path / "repo-0.1.0-maintenance"
    assert result.code == 1
    assert f"conflicts in dwh/jobs/v0_1_1/my_job.py. They are in {place}" in result.err
    after = project.state()
    for key in ("head", "index", "status", "files"):
        assert after[key] == before[key]
    there = place / "dwh/jobs/v0_1_1/my_job.py"
    assert "<<<<<<<" in there.read_text()
    again = project.refused(1, "backport", commit, "0.1.0")
    assert f"{place} exists" in again
    there.write_text(text.replace("sum(rows)", "max(rows) + 1"))
    project.git("-C", str(place), "add", ".")
    project.git("-C", str(place), "-c", "core.editor=true", "cherry-pick", "--continue")
    project.git("worktree", "remove", str(place))
    assert "max(rows) + 1" in project.git("show", "0.1.0-maintenance:dwh/jobs/v0_1_1/my_job.py")
    assert f"Backport-of: {commit}" in project.git("log", "-1", "--format=%b", "0.1.0-maintenance")


def test_giving_up_as_the_message_says(project: JobProject, tmp_path: Path) -> None:
    project.git("switch", "--quiet", "0.1.0-maintenance")
    project.commit("Here too", {"dwh/shared.py": "word = 'here'\n"})
    project.git("switch", "--quiet", "main")
    commit = project.commit("There", {"dwh/shared.py": "word = 'there'\n"})
    before = project.state()
    said = project.job("backport", commit, "0.1.0").err
    command = said.split("To give up instead: ")[1].strip()
    for each in command.split(" && "):
        project.git(*each.split(" ")[1:])
    assert project.state() == before


def test_a_line_that_is_checked_out_gets_a_branch_beside_it(project: JobProject, tmp_path: Path) -> None:
    commit = fixed(project)
    project.git("worktree", "add", "--quiet", str(tmp_path / "old"), "0.1.0-maintenance")
    tip = project.git("rev-parse", "0.1.0-maintenance")
    made = project.done("backport", commit, "0.1.0", "--json").json
    assert made["branch"] == f"backport-{commit[:10]}-0.1.0"
    assert f"git merge --ff-only {made['branch']}" in made["next"]
    assert project.git("rev-parse", "0.1.0-maintenance") == tip
    assert project.git("-C", str(tmp_path / "old"), "status", "--porcelain") == ""
    assert "is there from an earlier backport" in project.refused(1, "backport", commit, "0.1.0")
    project.git("-C", str(tmp_path / "old"), "merge", "--quiet", "--ff-only", made["branch"])
    assert project.git("rev-parse", "0.1.0-maintenance") == made["commit"]


def test_a_working_tree_elsewhere(project: JobProject, tmp_path: Path) -> None:
    commit = fixed(project)
    (tmp_path / "repo-0.1.0-maintenance").mkdir()
    assert "--worktree DIR" in project.refused(1, "backport", commit, "0.1.0")
    project.done("backport", commit, "0.1.0", "--worktree", str(tmp_path / "elsewhere"))
    assert not (tmp_path / "elsewhere").exists()


def test_backports_that_cannot_be(project: JobProject) -> None:
    commit = fixed(project)
    assert "there is no commit 'nothing'" in project.refused(2, "backport", "nothing", "0.1.0")
    said = project.refused(2, "backport", commit, "0.2.0")
    assert "no branch maintains 0.2; there are: 0.1.0" in said
    assert "`dbt-cicd job maintenance start 0.2.0`" in said
    assert "is a release (it has VERSION)" in project.refused(1, "backport", "v0.2.0", "0.1.0")
    project.git("switch", "--quiet", "--create", "side", "v0.2.0")
    project.commit("Side", {"side.txt": "x"})
    project.git("merge", "--quiet", "--no-edit", "main")
    assert "is a merge: name the commit" in project.refused(1, "backport", "HEAD", "0.1.0")
    project.commit("Both", {"dwh/jobs/v0_3_0/a.py": "a = 1\n", "dwh/jobs/v0_4_0/a.py": "a = 1\n"})
    assert "changes v0_3_0, v0_4_0: a backport brings one folder" in project.refused(1, "backport", "HEAD", "0.1.0")


def test_a_change_that_the_line_has_in_other_words(project: JobProject) -> None:
    project.git("switch", "--quiet", "0.1.0-maintenance")
    project.commit("Here", {"dwh/shared.py": "word = 'new'\n"})
    project.git("switch", "--quiet", "main")
    commit = project.commit("There", {"dwh/shared.py": "word = 'new'\n"})
    assert "0.1.0-maintenance has what" in project.refused(1, "backport", commit, "0.1.0")


def test_a_dry_run_of_a_backport(project: JobProject) -> None:
    commit = fixed(project)
    before = project.state()
    assert project.done("backport", commit, "0.1.0", "--dry-run", "--json").json["folder"] == "dwh/jobs/v0_1_1"
    assert project.state() == before


# Syncs.


def patched(project: JobProject) -> str:
    """0.1.1 with a fix of main; the fix."""
    commit = fixed(project)
    project.done("backport", commit, "0.1.0")
    project.git("switch", "--quiet", "0.1.0-maintenance")
    project.done("release")
    project.git("switch", "--quiet", "main")
    return commit


def test_a_sync_says_which_newer_versions_may_lack_the_fix(project: JobProject) -> None:
    patched(project)
    made = project.done("sync", "0.1.1", "--json").json
    assert made["files"] == [
        "dwh/jobs/v0_1_1/__init__.py",
        "dwh/jobs/v0_1_1/_limits.py",
        "dwh/jobs/v0_1_1/my_job.py",
        "releases/0.1.1.json",
        "releases/0.1.1.md",
    ]
    # 0.3.0, which is open, has it: that is where it was made.
    assert made["may_lack"] == [{"job": "my_job", "version": "0.2.0"}]
    assert made["shared_differs"] == []


def test_a_sync_says_which_shared_modules_differ(project: JobProject) -> None:
    patched(project)
    project.commit("Share", {"dwh/shared.py": "word = 'total'\n"})
    assert project.done("sync", "0.1.1", "--dry-run", "--json").json["shared_differs"] == ["dwh.shared"]
    said = project.done("sync", "0.1.1").out
    assert "shared module dwh.shared is not as it was when 0.1.1 was released" in said
    assert project.git("diff", "--name-only", "HEAD~1", "--", "dwh/shared.py") == ""


def test_a_sync_keeps_what_is_open_and_its_notes(project: JobProject) -> None:
    patched(project)
    project.commit("Note", {"changes/7.fix.md": "Seven.\n"})
    project.done("sync", "0.1.1", "--message", "chore: sync")
    assert project.git("log", "-1", "--format=%s") == "chore: sync"
    assert project.read("VERSION") == "0.2.0\n"
    assert (project.path / "changes/7.fix.md").exists()
    made = project.done("release", "--json").json
    assert made["version"] == "0.3.0"
    assert [each["version"] for each in project.done("notes", "--json").json["releases"]] == [
        "0.3.0",
        "0.2.0",
        "0.1.1",
        "0.1.0",
    ]


def test_syncs_that_cannot_be(project: JobProject) -> None:
    patched(project)
    assert "there is no release 0.1.7" in project.refused(2, "sync", "0.1.7")
    assert "0.2.0 is on main already" in project.refused(1, "sync", "0.2.0")
    project.write({"dwh/shared.py": "x = 1\n"})
    assert "not committed: dwh/shared.py" in project.refused(1, "sync", "0.1.1")
    project.git("checkout", "--quiet", ".")
    project.git("switch", "--quiet", "0.1.0-maintenance")
    assert "releases are synced to main. `git switch main`" in project.refused(1, "sync", "0.2.0")


def test_a_tag_that_was_moved_is_not_synced(project: JobProject) -> None:
    patched(project)
    project.git("switch", "--quiet", "0.1.0-maintenance")
    project.commit("Change it", {"dwh/jobs/v0_1_1/_limits.py": "LIMIT = 0\n"})
    project.git("tag", "--force", "--annotate", "--message", "x", "v0.1.1")
    project.git("switch", "--quiet", "main")
    said = project.refused(3, "sync", "0.1.1")
    assert "dwh/jobs/v0_1_1/_limits.py at v0.1.1 is not what releases/0.1.1.json froze" in said


def test_a_hook_that_refuses_a_sync(project: JobProject) -> None:
    patched(project)
    hook = project.path / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho not today >&2; exit 1\n")
    hook.chmod(0o755)
    assert "not today" in project.refused(1, "sync", "0.1.1")


# Notes.


def test_notes_of_the_open_release_and_of_every_line(project: JobProject) -> None:
    patched(project)
    project.write({"changes/3.fix.md": "Three.\n"})
    said = project.done("notes").out
    assert [line for line in said.splitlines() if line.startswith("# ")] == [
        "# 0.3.0 (open)",
        *[line for line in said.splitlines() if line.startswith(("# 0.2.0", "# 0.1.1", "# 0.1.0"))],
    ]
    assert "- Three. (3)" in said
    assert "(Not on this branch: `dbt-cicd job sync 0.1.1`.)" in said
    value = project.done("notes", "--json").json
    assert value["open"]["version"] == "0.3.0"
    assert [(each["version"], each["here"]) for each in value["releases"]] == [
        ("0.2.0", True),
        ("0.1.1", False),
        ("0.1.0", True),
    ]
