"""Releases on real git: what they leave, what refuses them, and that a failure at any step leaves nothing."""

from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dbt_cicd_toolkit.jobs import journal
from support.job_project import JobProject, job_text

Change = Callable[[JobProject], object]


@pytest.fixture
def project(tmp_path: Path) -> JobProject:
    return JobProject(tmp_path / "repo")


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> JobProject:
    return JobProject(tmp_path_factory.mktemp("first")).released()


@pytest.fixture(scope="module")
def second(first: JobProject, tmp_path_factory: pytest.TempPathFactory) -> JobProject:
    made = JobProject.like(first, tmp_path_factory.mktemp("second") / "repo")
    made.done("new-version", "my_job")
    made.commit("Next", {"changes/1.fix.md": "One.\n", "changes/2.feature.md": "Two.\n"})
    return made


@pytest.fixture
def released(first: JobProject, tmp_path: Path) -> JobProject:
    """0.1.0 is released."""
    return JobProject.like(first, tmp_path / "repo")


@pytest.fixture
def ready(second: JobProject, tmp_path: Path) -> JobProject:
    """0.1.0 is released, 0.2.0 is open and committed, with two notes."""
    return JobProject.like(second, tmp_path / "repo")


def versions(project: JobProject) -> list[str]:
    return sorted(path.name for path in (project.path / "dwh/jobs").iterdir() if path.name.startswith("v"))


def hook(project: JobProject, name: str, script: str) -> None:
    """Install a hook."""
    file = project.path / ".git/hooks" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)


def test_the_workflow_of_the_seed_step_by_step(project: JobProject) -> None:
    project.done("init", "dwh")
    project.commit("Set up")
    project.done("new", "my_job")
    assert versions(project) == ["v0_1_0"]
    project.commit("A job")
    project.done("release")
    assert project.read("VERSION") == "0.1.0\n"
    assert {"releases/0.1.0.json", "releases/0.1.0.md"} <= set(project.tree("v0.1.0"))
    assert project.git("rev-parse", "v0.1.0^{commit}") == project.git("rev-parse", "HEAD")
    assert project.git("cat-file", "-t", "v0.1.0") == "tag"

    project.done("new-version", "my_job")
    project.commit("More", {"dwh/jobs/v0_2_0/my_job.py": job_text(says="new")})
    project.done("release")
    assert versions(project) == ["v0_1_0", "v0_2_0"]
    assert project.read("VERSION") == "0.2.0\n"

    project.done("maintenance", "start", "0.1.0")
    assert project.git("rev-parse", "0.1.0-maintenance") == project.git("rev-parse", "v0.1.0^{commit}")
    assert project.git("branch", "--show-current") == "main"
    project.git("switch", "--quiet", "0.1.0-maintenance")
    project.done("new-version", "my_job")
    project.commit("Fix", {"dwh/jobs/v0_1_1/my_job.py": job_text(says="fixed"), "changes/9.fix.md": "It works.\n"})
    frozen = project.git("rev-parse", "HEAD:dwh/jobs/v0_1_0")
    assert project.done("release", "--json").json["version"] == "0.1.1"
    assert versions(project) == ["v0_1_0", "v0_1_1"]
    assert project.read("VERSION") == "0.1.1\n"
    assert project.git("rev-parse", "HEAD:dwh/jobs/v0_1_0") == frozen
    assert not project.git("merge-base", "--is-ancestor", "v0.1.0", "v0.1.1")
    with pytest.raises(AssertionError):
        project.git("merge-base", "--is-ancestor", "v0.2.0", "v0.1.1")

    project.git("switch", "--quiet", "main")
    project.done("sync", "0.1.1")
    assert versions(project) == ["v0_1_0", "v0_1_1", "v0_2_0"]
    assert project.read("VERSION") == "0.2.0\n"
    changed = project.git("diff-tree", "-r", "--name-status", "HEAD^", "HEAD").splitlines()
    assert changed == [
        "A\tdwh/jobs/v0_1_1/__init__.py",
        "A\tdwh/jobs/v0_1_1/my_job.py",
        "A\treleases/0.1.1.json",
        "A\treleases/0.1.1.md",
    ]
    for path in ("dwh/jobs/v0_1_1", "releases/0.1.1.json", "releases/0.1.1.md"):
        assert project.git("rev-parse", f"HEAD:{path}") == project.git("rev-parse", f"v0.1.1:{path}")
    assert project.git("status", "--porcelain") == ""
    with pytest.raises(AssertionError):
        project.git("merge-base", "--is-ancestor", "v0.1.1", "main")
    assert project.done("new-version", "my_job", "--json").json["version"] == "0.3.0"


def test_a_release_takes_the_notes_and_says_what_it_is_made_of(ready: JobProject) -> None:
    ready.write({"dwh/shared.py": "x = 1\n", "dwh/jobs/v0_2_0/my_job.py": "import dwh.shared\n" + job_text()})
    ready.commit("Share")
    made = ready.done("release", "--json").json
    assert made["files"] == [
        "VERSION",
        "changes/1.fix.md",
        "changes/2.feature.md",
        "releases/0.2.0.json",
        "releases/0.2.0.md",
    ]
    assert [path for path in ready.tree() if path.startswith("changes/")] == ["changes/README.md"]
    assert "- Two. (2)" in ready.read("releases/0.2.0.md")
    assert "- Two. (2)" in ready.git("tag", "--list", "--format=%(contents)", "v0.2.0")
    import json

    manifest = json.loads(ready.read("releases/0.2.0.json"))
    assert manifest["previous"] == "0.1.0"
    assert manifest["jobs"]["my_job"]["reads"] == ["customers"]
    assert list(manifest["files"]) == ["dwh/jobs/v0_2_0/__init__.py", "dwh/jobs/v0_2_0/my_job.py"]
    assert "dwh.shared" in manifest["shared"]
    assert ready.git("status", "--porcelain") == ""
    assert ready.git("diff-index", "--name-only", "HEAD") == ""


def test_a_release_of_other_code_needs_its_number(released: JobProject) -> None:
    assert "`dbt-cicd job release 0.2.0`" in released.refused(1, "release")
    made = released.done("release", "0.1.1", "--json").json
    assert (made["version"], made["jobs"], released.read("VERSION")) == ("0.1.1", [], "0.1.1\n")


def test_a_number_only_asserts_what_is_open(ready: JobProject) -> None:
    assert "0.3.0 is not what is open, which is 0.2.0 (dwh/jobs/v0_2_0)" in ready.refused(1, "release", "0.3.0")
    assert "'0.2' is not a SemVer" in ready.refused(2, "release", "0.2")
    assert "has more than three numbers" in ready.refused(2, "release", "0.2.0-rc.1")
    assert ready.done("release", "0.2.0", "--json").json["version"] == "0.2.0"


def test_a_dry_run_shows_the_notes_and_changes_nothing(ready: JobProject) -> None:
    before = ready.state()
    said = ready.done("release", "--dry-run").out
    assert "0.2.0 would be released on main: my_job" in said
    assert "- Two. (2)" in said
    assert ready.state() == before


def test_untracked_files_elsewhere_and_the_staged_mode_of_others_stay(ready: JobProject) -> None:
    ready.write({"scratch.txt": "mine\n"})
    ready.done("release")
    assert ready.git("status", "--porcelain") == "?? scratch.txt"


def test_a_release_in_a_working_tree_of_its_own(ready: JobProject, tmp_path: Path) -> None:
    ready.git("switch", "--quiet", "--create", "other")
    ready.git("worktree", "add", "--quiet", str(tmp_path / "tree"), "main")
    result = ready.job("release", "--json", directory="../tree")
    assert result.code == 0, result.err
    assert ready.git("rev-parse", "main") == result.json["commit"]
    assert ready.read("VERSION") == "0.1.0\n"


def test_a_checkout_with_crlf_gives_the_same_release(ready: JobProject, tmp_path: Path) -> None:
    other = JobProject(tmp_path / "windows", clone=ready.path)
    other.git("config", "core.autocrlf", "true")
    for path in (other.path / "dwh/jobs").rglob("*.py"):
        path.unlink()
    other.git("checkout", "--quiet", "--force", "HEAD", "--", ".")
    assert b"\r\n" in (other.path / "dwh/jobs/v0_2_0/my_job.py").read_bytes()
    ready.done("release")
    other.done("release")
    assert other.git("show", "HEAD:releases/0.2.0.json") == ready.git("show", "HEAD:releases/0.2.0.json")
    assert other.git("rev-parse", "HEAD^{tree}") == ready.git("rev-parse", "HEAD^{tree}")
    assert other.git("status", "--porcelain") == ""


# Signing and hooks.


SIGNER = """#!/bin/sh
cat >/dev/null
echo '[GNUPG:] SIG_CREATED D 1 8 00 1 0123456789ABCDEF' >&2
printf -- '-----BEGIN PGP SIGNATURE-----\\n\\nsigned\\n-----END PGP SIGNATURE-----\\n'
"""


def sign(project: JobProject, script: str) -> None:
    file = project.path / ".git/signer"
    file.write_text(script)
    file.chmod(0o755)
    project.git("config", "gpg.program", str(file))


def test_signing_is_honoured(ready: JobProject) -> None:
    sign(ready, SIGNER)
    ready.git("config", "commit.gpgSign", "true")
    ready.git("config", "tag.gpgSign", "true")
    ready.done("release")
    assert "BEGIN PGP SIGNATURE" in ready.git("cat-file", "tag", "v0.2.0")
    assert "BEGIN PGP SIGNATURE" in ready.git("cat-file", "commit", "HEAD")


def test_hooks_see_the_release_and_may_add_to_it(ready: JobProject) -> None:
    hook(ready, "pre-commit", "git diff --cached --name-only >.git/seen && echo more >>LOG && git add LOG")
    hook(ready, "commit-msg", 'cp "$1" .git/message')
    ready.done("release", "--message", "chore: release it")
    assert (ready.path / ".git/seen").read_text().split() == [
        "VERSION",
        "changes/1.fix.md",
        "changes/2.feature.md",
        "releases/0.2.0.json",
        "releases/0.2.0.md",
    ]
    assert (ready.path / ".git/message").read_text() == "chore: release it\n"
    assert "LOG" in ready.tree()


def test_a_hook_may_add_to_what_the_release_does_not_reach(ready: JobProject) -> None:
    hook(ready, "pre-commit", "echo 'x = 2' >>dwh/apart.py && git add dwh")
    ready.done("release")
    assert "dwh/apart.py" in ready.tree()
    assert ready.done("check").out == "Nothing is wrong.\n"


def test_a_hook_may_add_what_changes_no_meaning(ready: JobProject) -> None:
    """Line ends are none of a hash."""
    ready.commit("Text", {"dwh/__init__.py": "x = 1\n"})
    hook(ready, "pre-commit", "printf 'x = 1\\r\\n' >dwh/__init__.py && git add dwh")
    ready.done("release")
    assert ready.git("show", "--format=", "--name-only", "HEAD", "--", "dwh") == "dwh/__init__.py"
    assert "under the frozen 0.1.0. " in ready.job("check").out  # 0.2.0 has it as it is


def test_what_a_hook_made_of_files_is_put_back_or_told(ready: JobProject) -> None:
    ready.commit("More", {"other.txt": "one\n", "run.sh": "exit\n"})
    before = ready.state()
    lines = ["echo '# formatted' >>dwh/__init__.py", "chmod +x dwh/jobs/v0_2_0/my_job.py", "rm dwh/jobs/jobs.lock"]
    lines += ["echo two >>other.txt", "echo x >left.txt", "echo '#' >>dwh/jobs/v0_1_0/my_job.py", "exit 1"]
    hook(ready, "pre-commit", "\n".join(lines))
    message = ready.job("release").err
    (back,) = (line for line in message.splitlines() if line.startswith("Put back as it was: "))
    (left,) = (line for line in message.splitlines() if line.startswith("Changed meanwhile"))
    assert "dwh/jobs/jobs.lock" in back and "dwh/jobs/v0_1_0/my_job.py (what it had become: git cat-file -p" in back
    kept = back.partition("dwh/__init__.py (what it had become: ")[2].partition(")")[0]
    assert ready.git(*kept.split()[1:]) == "# formatted"
    assert "left so: dwh/jobs/v0_2_0/my_job.py, other.txt, left.txt. Look at `git status`." in left
    (ready.path / "left.txt").unlink()
    ready.git("restore", "other.txt", "dwh/jobs/v0_2_0/my_job.py")
    assert ready.state() == before


def test_what_was_changed_before_is_nothing_of_a_hook(ready: JobProject) -> None:
    ready.write({"mine.txt": "mine"})
    hook(ready, "pre-commit", "exit 1")
    assert "left so" not in ready.refused(1, "release")


def test_a_hook_may_check_the_release_that_it_is_part_of(ready: JobProject) -> None:
    source = Path(__file__).parents[2] / "src"
    hook(ready, "pre-commit", f"PYTHONPATH={source} {sys.executable} -m dbt_cicd_toolkit.cli.main job check >&2")
    ready.done("release")


def test_another_git_that_holds_the_index(ready: JobProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "PATIENCE", 0)
    lock = ready.path / ".git/index.lock"
    lock.touch()
    before = ready.state()
    result = ready.job("release")
    assert (result.code, f"{lock} is there: another git is at work" in result.err) == (1, True)
    assert ready.state() == before
    lock.unlink()
    ready.done("release")


def test_what_was_staged_meanwhile_stays_staged(ready: JobProject) -> None:
    hook(ready, "pre-commit", "echo x >other.txt; GIT_INDEX_FILE= ; unset GIT_INDEX_FILE; git add other.txt")
    ready.done("release")
    assert ready.git("status", "--porcelain") == "A  other.txt"


FAILING: dict[str, tuple[Change, str]] = {
    "pre-commit": (lambda p: hook(p, "pre-commit", "echo no such thing >&2; exit 1"), "no such thing"),
    "a silent hook": (lambda p: hook(p, "pre-commit", "exit 1"), "said nothing"),
    "commit-msg": (lambda p: hook(p, "commit-msg", "echo say chore: >&2; exit 1"), "say chore:"),
    "a hook that changes our files": (
        lambda p: hook(p, "pre-commit", "echo x >>releases/0.2.0.md; rm VERSION; exit 1"),
        "the commit failed",
    ),
    "a hook that thaws a folder": (
        lambda p: hook(p, "pre-commit", "echo '#' >>dwh/jobs/v0_1_0/my_job.py; git add dwh; git checkout-index -f -a"),
        "the hook pre-commit changed dwh/jobs/v0_1_0/my_job.py in the commit",
    ),
    "a hook that changes what is released": (
        lambda p: hook(p, "pre-commit", "echo '#' >>dwh/jobs/v0_2_0/my_job.py; git add dwh"),
        "the hook pre-commit changed dwh/jobs/v0_2_0/my_job.py in the commit",
    ),
    "a hook that adds to what is released": (
        lambda p: hook(p, "post-commit", "rm $0; echo x >dwh/jobs/v0_2_0/x; git add dwh; git commit -q --amend -m x"),
        "changed dwh/jobs/v0_2_0/x in the commit",
    ),
    "a hook that changes a shared module": (
        lambda p: hook(p, "pre-commit", "echo 'x = 2' >>dwh/__init__.py; git add dwh"),
        "the hook pre-commit changed dwh/__init__.py in the commit, which must have it as it was checked",
    ),
    "a hook that deletes a shared module": (
        lambda p: hook(p, "pre-commit", "git rm -q dwh/__init__.py"),
        "the hook pre-commit changed dwh/__init__.py in the commit",
    ),
    "one of two hooks": (
        lambda p: (hook(p, "pre-commit", "git rm -q dwh/__init__.py"), hook(p, "commit-msg", "true")),
        "a hook (pre-commit, commit-msg) changed dwh/__init__.py in the commit",
    ),
    "a hook that edits the manifest": (
        lambda p: hook(p, "pre-commit", "echo '{}' >releases/0.2.0.json; git add releases"),
        "the hook pre-commit changed releases/0.2.0.json in the commit",
    ),
    "no signing key for the commit": (
        lambda p: (p.git("config", "gpg.program", "false"), p.git("config", "commit.gpgSign", "true")),
        "failed to sign",
    ),
    "no signing key for the tag": (
        lambda p: (p.git("config", "gpg.program", "false"), p.git("config", "tag.gpgSign", "true")),
        "the tag failed",
    ),
    "tags are refused": (
        lambda p: hook(p, "reference-transaction", "test $1 = prepared && ! grep -q refs/tags || test $1 != prepared"),
        "the tag failed",
    ),
    "the tag comes into being meanwhile": (lambda p: hook(p, "post-commit", "git tag v0.2.0 HEAD~1"), "already exists"),
    "nobody to commit as": (
        lambda p: (p.git("config", "--unset", "user.name"), p.git("config", "user.useConfigOnly", "true")),
        "Please tell me who you are",
    ),
}


@pytest.mark.parametrize("name", FAILING)
def test_a_failure_at_any_step_leaves_everything_as_it_was(ready: JobProject, name: str) -> None:
    make, said = FAILING[name]
    make(ready)
    before = ready.state()
    result = ready.job("release")
    assert result.code == 1, result.out
    assert said in result.err
    if name == "a hook that adds to what is released":  # a file of nobody's, which is told
        assert "left so: dwh/jobs/v0_2_0/x" in result.err
        (ready.path / "dwh/jobs/v0_2_0/x").unlink()
    after = ready.state()
    if name == "the tag comes into being meanwhile":
        ready.git("tag", "--delete", "v0.2.0")
        after = ready.state()
    assert after == before
    for each in (ready.path / ".git/hooks").iterdir():
        each.unlink()
    for key in ("commit.gpgSign", "tag.gpgSign"):
        ready.git("config", key, "false")
    ready.git("config", "user.name", "Ann")
    assert ready.done("release", "--json").json["tag"] == "v0.2.0"


@pytest.mark.parametrize("size", [0, 1, 30, 300, 600, 1200, 2400, 4800])
def test_a_disk_that_is_full(ready: JobProject, size: int) -> None:
    """A file may not grow beyond that size: some write or other fails, of ours or of git's."""
    before = ready.state()
    code, err = limited(ready, size, "release")
    if code == 0:
        assert ready.read("VERSION") == "0.2.0\n"
        assert ready.git("status", "--porcelain") == ""
        return
    assert code == 1, err
    if "could not be undone" in err or "was interrupted" in err:
        ready.job("release", "9.9.9")  # is refused, after it has undone that one
    assert ready.state() == before
    assert not (ready.path / ".git/index.lock").exists()
    ready.done("release")


def limited(project: JobProject, size: int, *arguments: str) -> tuple[int, str]:
    """`dbt-cicd job …` in a process whose files have at most ``size`` bytes."""
    import resource

    done = subprocess.run(
        [sys.executable, "-m", "dbt_cicd_toolkit.cli.main", "job", *arguments, "--project-dir", str(project.path)],
        env=project.environment({"PYTHONPATH": str(Path(__file__).parents[2] / "src"), "PYTHONDONTWRITEBYTECODE": "1"}),
        capture_output=True,
        encoding="utf-8",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )
    return done.returncode, done.stderr


# What refuses a release.


def detached(p: JobProject) -> None:
    p.git("checkout", "--quiet", "--detach")


def merging(p: JobProject) -> None:
    p.git("switch", "--quiet", "--create", "side", "HEAD~1")
    p.commit("Side", {"side.txt": "x"})
    p.git("switch", "--quiet", "main")
    p.git("merge", "--quiet", "--no-commit", "--no-ff", "side")


def rebasing(p: JobProject) -> None:
    p.git("-c", "sequence.editor=echo break >", "rebase", "--quiet", "--interactive", "HEAD~1")
    p.git("switch", "--quiet", "main")


def on_maintenance(p: JobProject) -> None:
    p.git("branch", "0.1.0-maintenance", "v0.1.0")
    p.git("switch", "--quiet", "0.1.0-maintenance")
    p.write({"dwh/jobs/v0_2_0/my_job.py": job_text()})
    p.commit("Minor")


def maintained(p: JobProject) -> None:
    p.git("branch", "0.1.0-maintenance", "v0.1.0")
    p.git("mv", "dwh/jobs/v0_2_0", "dwh/jobs/v0_1_1")
    p.commit("Patch")


def two_open(p: JobProject) -> None:
    p.commit("Two", {"dwh/jobs/v0_3_0/my_job.py": job_text()})


REFUSED: dict[str, tuple[Change, int, tuple[str, ...]]] = {
    "a changed file": (lambda p: p.write({"dwh/__init__.py": "x = 1\n"}), 1, ("dwh/__init__.py", "git stash")),
    "a staged file": (
        lambda p: (p.write({"other.txt": "x"}), p.git("add", "other.txt")),
        1,
        ("not committed: other.txt", "git commit"),
    ),
    "an untracked file in jobs/": (lambda p: p.write({"dwh/jobs/v0_2_0/extra.py": ""}), 1, ("v0_2_0/extra.py",)),
    "an untracked note": (lambda p: p.write({"changes/5.fix.md": "x"}), 1, ("changes/5.fix.md",)),
    "an ignored file in the folder": (
        lambda p: (p.commit("Ignore", {".gitignore": "*.csv\n"}), p.write({"dwh/jobs/v0_2_0/a.csv": "1\n"})),
        1,
        ("dwh/jobs/v0_2_0/a.csv: ignored by git", "git add --force"),
    ),
    "a symbolic link in the folder": (
        lambda p: ((p.path / "dwh/jobs/v0_2_0/_l.py").symlink_to("../v0_1_0/my_job.py"), p.commit("Link")),
        1,
        ("dwh/jobs/v0_2_0/_l.py: a symbolic link", "cp -L"),
    ),
    "a detached HEAD": (detached, 1, ("HEAD is detached", "git switch main")),
    "another branch": (
        lambda p: p.git("switch", "--quiet", "--create", "feature"),
        1,
        ("branch feature is neither main", "git switch main", "release --no-tag", "release tag"),
    ),
    "a merge": (merging, 1, ("a merge is in progress", "git status")),
    "the tag exists": (
        lambda p: p.git("tag", "v0.2.0", "HEAD~2"),
        1,
        ("the tag v0.2.0 exists already", "--bump 0.2.1"),
    ),
    "a minor on a maintenance line": (on_maintenance, 1, ("0.2.0 is no patch of 0.1", "git switch main")),
    "a patch of a maintained line on main": (
        maintained,
        1,
        ("0.1.1 belongs to the line of 0.1.0-maintenance", "git switch 0.1.0-maintenance"),
    ),
    "VERSION is higher than the last tag": (
        lambda p: p.commit("Set", {"VERSION": "0.1.5\n"}),
        1,
        ("VERSION says 0.1.5, but the last tag on this branch is v0.1.0", "git fetch --tags"),
    ),
    "no tag for VERSION yet": (
        lambda p: p.git("tag", "--delete", "v0.1.0"),
        1,
        ("VERSION says 0.1.0, which has no tag on this branch yet", "dbt-cicd job release tag"),
    ),
    "VERSION is lower than the last tag": (
        lambda p: p.commit("Set", {"VERSION": "0.0.9\n"}),
        1,
        ("VERSION says 0.0.9, but the last tag on this branch is v0.1.0",),
    ),
    "VERSION is none": (lambda p: p.commit("Set", {"VERSION": "v1\n"}), 2, ("VERSION: 'v1'", "write 1.0.0")),
    "VERSION is a pre-release": (lambda p: p.commit("Set", {"VERSION": "0.2.0-rc.1\n"}), 2, ("MAJOR.MINOR.PATCH",)),
    "VERSION is missing": (lambda p: (p.git("rm", "--quiet", "VERSION"), p.commit()), 2, ("git restore VERSION",)),
    "a folder name that is no version": (
        lambda p: p.commit("Name", {"dwh/jobs/v02_0/my_job.py": job_text()}),
        2,
        ("dwh/jobs/v02_0: 'v02_0' is no version",),
    ),
    "two open folders": (two_open, 2, ("dwh/jobs/v0_2_0, dwh/jobs/v0_3_0 are in no release",)),
    "a syntax error": (
        lambda p: p.commit("Break", {"dwh/jobs/v0_2_0/my_job.py": "class\n"}),
        2,
        ("dwh/jobs/v0_2_0/my_job.py:1: no Python",),
    ),
    "a note of no kind": (lambda p: p.commit("N", {"changes/3.bug.md": "x"}), 2, ("changes/3.bug.md", "42.fix.md")),
    "a breaking change without migration": (
        lambda p: p.commit("N", {"changes/3.breaking.md": "Gone.\n"}),
        2,
        ("changes/3.breaking.md has no section '## Migration'",),
    ),
    "a damaged jobs.toml": (lambda p: p.commit("N", {"jobs.toml": "package = 3\n"}), 2, ("jobs.toml: package is 3",)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_state_that_refuses_a_release(ready: JobProject, name: str) -> None:
    make, code, said = REFUSED[name]
    make(ready)
    message = ready.refused(code, "release")
    for part in said:
        assert part in message
    assert len(message.splitlines()) == 1


def test_a_hook_that_adds_a_module_which_is_reached_then(ready: JobProject) -> None:
    text = "try:\n    from dwh import fast\nexcept ImportError:\n    fast = None\n\n\n" + job_text()
    ready.commit("Look for it", {"dwh/jobs/v0_2_0/my_job.py": text})
    hook(ready, "pre-commit", "echo 'x = 1' >dwh/fast.py; git add dwh")
    result = ready.job("release")
    assert result.code == 1
    assert "the hook pre-commit changed dwh/fast.py in the commit" in result.err
    assert "left so: dwh/fast.py" in result.err
    assert ready.git("tag", "--list") == "v0.1.0"


def test_a_module_that_is_not_committed_is_not_released(ready: JobProject) -> None:
    ready.commit("Use it", {"dwh/jobs/v0_2_0/my_job.py": "import dwh.helper\n" + job_text()})
    ready.write({"dwh/helper.py": "x = 1\n"})
    assert "dwh/helper.py: what is released imports this, and it is not committed" in ready.refused(1, "release")
    ready.commit("Add it")
    ready.done("release")


def test_a_frozen_folder_that_was_changed_stops_the_next_release(ready: JobProject) -> None:
    ready.commit("Oops", {"dwh/jobs/v0_1_0/my_job.py": job_text(says="other")})
    message = ready.refused(3, "release")
    assert "dwh/jobs/v0_1_0/my_job.py is frozen by tag v0.1.0 and differs" in message


def test_code_that_reaches_another_version_is_not_released(ready: JobProject) -> None:
    ready.commit("Reach", {"dwh/jobs/v0_2_0/my_job.py": "from ..v0_1_0 import my_job\n" + job_text()})
    assert "dwh/jobs/v0_2_0/my_job.py:1 → dwh/jobs/v0_1_0/my_job.py" in ready.refused(1, "release")


def test_syntax_errors_and_cycles_are_told_all_at_once(ready: JobProject) -> None:
    files = {
        "_a.py": "from . import _b\n",
        "_b.py": "from . import _a\n",
        "_c.py": "x = (\n",
        "my_job.py": "from . import _a, _c, _d\n" + job_text(),
        "_d.py": "class\n",
    }
    ready.commit("Break", {f"dwh/jobs/v0_2_0/{name}": text for name, text in files.items()})
    message = ready.refused(2, "release")
    for part in ("v0_2_0/_c.py:1: no Python", "v0_2_0/_d.py:1: no Python", "these import each other"):
        assert part in message


def test_a_dynamic_import_is_told(ready: JobProject) -> None:
    text = "import importlib\nimport os\nimportlib.import_module(os.environ['M'])\n" + job_text()
    ready.commit("Hide", {"dwh/jobs/v0_2_0/my_job.py": text})
    (hint,) = ready.done("release", "--json").json["hints"]
    assert "dwh/jobs/v0_2_0/my_job.py:3" in hint


def test_a_shallow_clone_and_one_without_tags(ready: JobProject, tmp_path: Path) -> None:
    shallow = JobProject(tmp_path / "shallow", clone=ready.path, depth=1)
    assert "git fetch --unshallow --tags" in shallow.refused(1, "release")
    assert "git fetch --unshallow --tags" in shallow.refused(1, "maintenance", "start", "0.1.0")
    whole = JobProject(tmp_path / "whole", clone=ready.path)
    whole.git("tag", "--delete", "v0.1.0")
    assert "git fetch --tags" in whole.refused(1, "release")


def test_nothing_committed_yet(project: JobProject) -> None:
    project.done("init", "dwh")
    project.done("new", "my_job")
    assert "nothing is committed yet" in project.refused(1, "release")


def test_the_notes_need_a_number_that_is_large_enough(released: JobProject) -> None:
    released.done("new-version", "my_job", "--bump", "patch")
    released.commit("Next", {"changes/1.feature.md": "More.\n"})
    said = released.refused(1, "release")
    assert "changes/1.feature.md tells of a feature change, which needs 0.2.0, not 0.1.1" in said
    released.done("new-version", "my_job", "--bump", "0.2.0")
    released.commit("Higher")
    released.done("release")


def test_jobs_toml_must_be_at_the_top(project: JobProject) -> None:
    project.write({"sub/jobs.toml": 'package = "dwh"\n', "sub/VERSION": "0.0.0\n"})
    before = project.state()
    result = project.job("new", "x", directory="sub")
    assert (result.code, "the top of the repository" in result.err) == (2, True)
    assert project.state() == before


def test_which_branch_is_main(ready: JobProject, tmp_path: Path) -> None:
    ready.git("branch", "--move", "main", "trunk")
    assert ready.done("release", "--dry-run", "--json").json["branch"] == "trunk"
    ready.git("branch", "develop")
    assert 'main = "trunk"' in ready.refused(1, "release")
    ready.write({"jobs.toml": 'main = "trunk"\n' + ready.read("jobs.toml")})
    ready.commit("Say so")
    ready.done("release")
    clone = JobProject(tmp_path / "clone", clone=ready.path)
    assert clone.git("branch", "--show-current") == "trunk"


# Tags after a merge, and pushing.


def squashed(ready: JobProject) -> JobProject:
    """0.2.0 was released without a tag on a branch, and merged into main as one commit."""
    ready.git("switch", "--quiet", "--create", "release-it")
    made = ready.done("release", "--no-tag", "--json").json
    assert made["tag"] is None
    assert ready.git("tag", "--list", "v0.2.0") == ""
    ready.git("switch", "--quiet", "main")
    ready.git("merge", "--quiet", "--squash", "release-it")
    ready.git("commit", "--quiet", "--message", "Release 0.2.0 (#12)")
    return ready


def test_a_tag_after_a_squash_merge(ready: JobProject) -> None:
    squashed(ready)
    merged = ready.git("rev-parse", "HEAD")
    ready.commit("Go on", {"other.txt": "x"})
    assert "dbt-cicd job release tag" in ready.refused(1, "release", "0.3.0")
    assert ready.done("release", "tag", "--dry-run", "--json").json["commit"] == merged
    assert ready.git("tag", "--list", "v0.2.0") == ""
    made = ready.done("release", "tag", "--json").json
    assert (made["commit"], made["tag"]) == (merged, "v0.2.0")
    assert ready.git("rev-parse", "v0.2.0^{commit}") == merged
    assert "- Two. (2)" in ready.git("tag", "--list", "--format=%(contents)", "v0.2.0")
    assert "the tag v0.2.0 exists already" in ready.refused(1, "release", "tag")


def test_a_tag_after_a_merge_that_changed_the_release(ready: JobProject) -> None:
    ready.git("switch", "--quiet", "--create", "release-it")
    ready.done("release", "--no-tag")
    ready.git("switch", "--quiet", "main")
    ready.git("merge", "--quiet", "--squash", "release-it")
    ready.write({"dwh/jobs/v0_2_0/my_job.py": job_text(says="other")})
    ready.commit("Release, nearly")
    message = ready.refused(3, "release", "tag")
    assert "dwh/jobs/v0_2_0/my_job.py in commit" in message
    assert "is not what releases/0.2.0.json froze" in message


def test_a_tag_where_there_is_none_to_make(ready: JobProject) -> None:
    assert "the tag v0.1.0 exists already" in ready.refused(1, "release", "tag")
    ready.git("switch", "--quiet", "--create", "feature")
    assert "git switch main" in ready.refused(1, "release", "tag")


def remote(ready: JobProject, path: Path) -> Path:
    path.mkdir()
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main"], cwd=path, check=True)
    ready.git("remote", "add", "origin", str(path))
    ready.git("push", "--quiet", "origin", "main", "--tags")
    return path


def test_branch_and_tag_are_pushed_together(ready: JobProject, tmp_path: Path) -> None:
    there = remote(ready, tmp_path / "remote.git")
    ready.done("release")
    before = refs(there)
    assert ready.done("release", "push", "--dry-run", "--json").json["dry_run"]
    assert refs(there) == before
    assert ready.done("release", "push", "--json").json["tag"] == "v0.2.0"
    assert refs(there)["refs/heads/main"] == ready.git("rev-parse", "main")
    assert refs(there)["refs/tags/v0.2.0"] == ready.git("rev-parse", "v0.2.0")


def refs(repository: Path) -> dict[str, str]:
    out = subprocess.run(
        ["git", "for-each-ref", "--format=%(refname) %(objectname)"], cwd=repository, check=True, capture_output=True
    )
    return dict(line.split(" ") for line in out.stdout.decode().splitlines())


def test_a_push_that_is_refused_pushes_neither(ready: JobProject, tmp_path: Path) -> None:
    there = remote(ready, tmp_path / "remote.git")
    other = JobProject(tmp_path / "other", clone=there)
    other.commit("Theirs", {"theirs.txt": "x"})
    other.git("push", "--quiet", "origin", "main")
    ready.done("release")
    before = refs(there)
    message = ready.refused(1, "release", "push")
    assert "took neither main nor v0.2.0" in message
    assert "git tag -d v0.2.0 && git reset --keep HEAD~1" in message
    assert refs(there) == before
    ready.git("tag", "-d", "v0.2.0")
    ready.git("reset", "--keep", "--quiet", "HEAD~1")
    ready.git("pull", "--quiet", "--rebase", "origin", "main")
    ready.done("release")
    ready.done("release", "push")
    assert refs(there)["refs/tags/v0.2.0"] == ready.git("rev-parse", "v0.2.0")


def test_a_tag_that_the_remote_has_already_stops_the_branch_too(ready: JobProject, tmp_path: Path) -> None:
    there = remote(ready, tmp_path / "remote.git")
    subprocess.run(["git", "tag", "v0.2.0", "main"], cwd=there, check=True)
    ready.done("release")
    before, here, theirs = refs(there), ready.git("rev-parse", "HEAD"), ready.git("rev-parse", "HEAD~1")
    for dry in ((), ("--dry-run",)):
        message = ready.refused(1, "release", "push", *dry)
        assert f"origin has a tag v0.2.0 already: at {theirs[:12]} there, at {here[:12]} here. Nothing was" in message
        assert len(message.splitlines()) == 1
        assert refs(there) == before
    # What the message says to do.
    assert "git tag -d v0.2.0 && git reset --keep HEAD~1" in message
    ready.git("tag", "-d", "v0.2.0")
    ready.git("reset", "--quiet", "--keep", "HEAD~1")
    assert "dbt-cicd job new-version NAME --bump 0.2.1" in message
    ready.done("new-version", "my_job", "--bump", "0.2.1")
    ready.commit("Another number")
    ready.git("pull", "--quiet", "origin", "main")
    ready.done("release")
    ready.done("release", "push")
    assert refs(there)["refs/heads/main"] == ready.git("rev-parse", "main")


def test_a_tag_that_the_remote_has_of_the_same_commit(ready: JobProject, tmp_path: Path) -> None:
    there = remote(ready, tmp_path / "remote.git")
    ready.done("release")
    ready.git("push", "--quiet", "origin", "main")
    subprocess.run(["git", "tag", "v0.2.0", "main"], cwd=there, check=True)
    message = ready.refused(1, "release", "push")
    here = ready.git("rev-parse", "HEAD")
    assert (
        f"origin has a tag v0.2.0 already: another one, at the same commit {here[:12]}. Nothing was pushed" in message
    )
    ready.git(*message.partition("this again: git ")[2].split())
    ready.done("release", "push")


def test_a_tag_that_the_remote_has_when_work_went_on(ready: JobProject, tmp_path: Path) -> None:
    there = remote(ready, tmp_path / "remote.git")
    subprocess.run(["git", "tag", "v0.2.0", "main"], cwd=there, check=True)
    ready.done("release")
    ready.commit("Go on", {"other.txt": "x"})
    message = ready.refused(1, "release", "push")
    ready.git(*message.partition("whose it is: git ")[2].partition(" && ")[0].split())
    assert ready.git("rev-parse", "FETCH_HEAD") == ready.git("rev-parse", "HEAD~2")


def test_a_push_without_a_remote_or_tag(ready: JobProject) -> None:
    assert "git remote add origin URL" in ready.refused(2, "release", "push")
    ready.git("tag", "--delete", "v0.1.0")
    assert "there is no tag v0.1.0" in ready.refused(1, "release", "push")


def test_help_and_a_misplaced_word(ready: JobProject) -> None:
    result = ready.job("release", "--help")
    assert "tag" in result.out
    assert "push" in result.out
    assert "'tagg' is not a SemVer" in ready.refused(2, "release", "tagg")
