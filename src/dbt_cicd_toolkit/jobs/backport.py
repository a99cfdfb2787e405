"""Bring a commit to a maintenance line, where its version folder has another name.

The commit and its parent are made anew with that folder under the name of the line's open folder; what lies between
them is then cherry-picked, by git, three-way, in a working tree of its own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dbt_cicd_toolkit.errors import InvalidInput, Refused
from dbt_cicd_toolkit.git import Git
from dbt_cicd_toolkit.jobs import state
from dbt_cicd_toolkit.jobs.create import Folder
from dbt_cicd_toolkit.jobs.index import index_lines
from dbt_cicd_toolkit.jobs.maintenance import last_release, open_at
from dbt_cicd_toolkit.jobs.number import Number
from dbt_cicd_toolkit.jobs.project import Project
from dbt_cicd_toolkit.jobs.rewrite import renamed
from dbt_cicd_toolkit.jobs.state import Line
from dbt_cicd_toolkit.jobs.writer import Beside, Writer, exclusive

TRAILER = "Backport-of"
Entries = dict[str, tuple[str, str]]


@dataclass(frozen=True)
class Backported:
    """What came of it.

    Attributes:
        source: the commit that was named. commit: what it became; None in a dry run.
        branch: where that is. folder: the line's open folder, None when the commit changes no job.
        files: what it changes there. following: the next command.
    """

    source: str
    branch: str
    folder: str | None
    files: list[str]
    following: str
    commit: str | None = None
    hints: list[str] = field(default_factory=list)

    def value(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "source": self.source,
            "branch": self.branch,
            "commit": self.commit,
            "folder": self.folder,
            "files": self.files,
            "next": self.following,
            "hints": self.hints,
        }


@dataclass(frozen=True)
class _Source:
    """The commit to bring. ``version``: of the only folder of jobs that it changes."""

    commit: str
    parent: str
    paths: Sequence[str]
    version: Number | None


@dataclass(frozen=True)
class _Target:
    """The line to bring it to. ``free``: no working tree has its branch, so that it can be moved."""

    line: Line
    tip: str
    branch: str
    free: bool


def backport(
    project: Project, name: str, version: Number, where: Path | None = None, *, dry_run: bool = False
) -> Backported:
    """Bring a commit to the line of ``version``. The user's checkout stays as it is.

    Jobs that it changes are copied into the line's open folder first, if they are not there. The line's branch then
    has the commit; or, while some working tree has that branch checked out, a branch of its own has.

    Args:
        name: of the commit.
        where: the working tree to make; None: beside the repository.
    Raises:
        InvalidInput: no such commit or line.
        Refused: it cannot be brought, or there are conflicts, which the working tree then holds.
    """
    with exclusive(project, dry_run=dry_run) as writer:
        state.refuse_shallow(writer.git)
        source = _source(project, name)
        target = _target(project, version, source)
        place = where or project.root.with_name(f"{project.root.name}-{target.line.name}")
        place = place.absolute()
        if place.exists():
            raise Refused(
                f"{place} exists. If it is the working tree of an earlier backport, end that one (`git cherry-pick "
                f"--continue` there, then `git worktree remove {place}`); or name another place: --worktree DIR."
            )
        if dry_run:
            number = open_at(project, target.tip) or target.line.next(None)
            folder = project.path(project.folder(number)) if source.version else None
            return Backported(source.commit, target.branch, folder, list(source.paths), "the same without --dry-run")
        with writer.beside(f"backport of {source.commit[:12]}", place, target.tip) as beside:
            return _bring(project, writer, source, target, beside)


def _source(project: Project, name: str) -> _Source:
    git = project.git
    commit = git.commit(name)
    if commit is None:
        raise InvalidInput(f"there is no commit '{name}'. `git log --oneline` lists them.")
    parents = git.text("rev-list", "--parents", "--max-count=1", commit).split()[1:]
    if len(parents) != 1:
        what = "a merge" if parents else "the first commit of all"
        raise Refused(f"{commit[:12]} is {what}: name the commit that has the fix itself.")
    out = git.output("diff-tree", "-r", "-z", "--name-only", "--no-renames", parents[0], commit)
    paths = [os.fsdecode(path) for path in out.split(b"\0") if path]
    releases = f"{project.path(project.releases)}/"
    own = [path for path in paths if path == "VERSION" or path.startswith(releases)]
    if own:
        raise Refused(f"{commit[:12]} is a release (it has {own[0]}): name the commit that has the fix itself.")
    jobs = f"{project.path(project.jobs)}/"
    names = {path.removeprefix(jobs).partition("/")[0] for path in paths if path.startswith(jobs)}
    versions = sorted(Number(*map(int, match.groups())) for match in map(state.FOLDER.fullmatch, names) if match)
    if len(versions) > 1:
        raise Refused(
            f"{commit[:12]} changes {', '.join(each.folder for each in versions)}: a backport brings one folder. "
            "Split the commit."
        )
    return _Source(commit, parents[0], paths, versions[0] if versions else None)


def _target(project: Project, version: Number, source: _Source) -> _Target:
    git = project.git
    every = git.every_branch()
    maintained = state.lines(every)
    base = maintained.get(version[:2])
    if base is None:
        known = ", ".join(map(str, maintained.values())) or "none"
        raise InvalidInput(
            f"no branch maintains {version.major}.{version.minor}; there are: {known}. "
            f"`dbt-cicd job maintenance start {version}` makes one."
        )
    branch = base.maintenance
    if branch not in git.branches():
        raise Refused(f"{branch} is only at a remote. `git branch {branch} origin/{branch}` first.")
    tip = every[branch]
    if git.is_ancestor(source.commit, tip):
        raise Refused(f"{branch} has {source.commit[:12]} already.")
    last = last_release(git, branch, tip)
    newest = max((each for each in state.released_tags(git) if each[:2] == base[:2]), default=last)
    if newest > last:
        raise Refused(f"{branch} is at {last}, but {newest.tag} exists. Bring the branch up to date first (git pull).")
    line = Line(branch, last, base, True, state.line_main(project), maintained)
    free = f"branch refs/heads/{branch}" not in git.text("worktree", "list", "--porcelain").splitlines()
    name = branch if free else f"backport-{source.commit[:10]}-{base}"
    if not free and name in git.branches():
        raise Refused(
            f"branch {name} is there from an earlier backport. `git switch {branch} && git merge --ff-only {name}`, or "
            f"`git branch -D {name}`."
        )
    return _Target(line, tip, name, free)


def _bring(project: Project, writer: Writer, source: _Source, target: _Target, beside: Beside) -> Backported:
    there = Project(beside.directory.resolve())
    number, hints = _open(project, there, source, target, beside.git)
    picked = _picked(project, writer.git, source, number)
    done = beside.git.run("cherry-pick", picked)
    if done.returncode:
        _leave(source, target, beside, (done.stderr + done.stdout).decode("utf-8", "replace").strip())
    made = str(beside.git.commit("HEAD"))
    files = sorted(writer.git.text("diff-tree", "-r", "--name-only", "--no-renames", target.tip, made).splitlines())
    _move(target, writer.git, made)
    following = f"git switch {target.line.name}"
    if not target.free:
        following = f"in the working tree of {target.line.name}: git merge --ff-only {target.branch}"
    folder = there.path(there.folder(number)) if number else None
    return Backported(source.commit, target.branch, folder, files, f"{following}; dbt-cicd job release", made, hints)


def _open(
    project: Project, there: Project, source: _Source, target: _Target, git: Git
) -> tuple[Number | None, list[str]]:
    """The open folder of the line, with the jobs that the commit changes in it: copied, if need be, by a commit."""
    if source.version is None:
        return None, []
    where = Folder(there, None, target.line)
    start = f"{project.path(project.folder(source.version))}/"
    names = {path.removeprefix(start).removesuffix(".py") for path in source.paths if path.startswith(start)}
    known, copied = there.names(), []
    for name in sorted(names & set(known)):
        newest = there.versions_of(name)[-1]
        if newest != where.was:
            where.copy(newest, name)
            copied.append(f"{name} {newest}")
    if not where.changes:
        return where.version, []
    where.write()
    git.output("add", "--force", "--", *where.changes)
    what = f"Copy {', '.join(copied)} to {where.version}" if copied else f"Open {where.version}"
    message = f"{what}\n\n{TRAILER}: {source.commit}"
    git.output("commit", "--quiet", "--cleanup=whitespace", f"--message={message}")
    return where.version, where.hints


def _picked(project: Project, git: Git, source: _Source, number: Number | None) -> str:
    """The commit with its folder under another name, on a parent that has it so too."""
    if number is None or source.version is None:
        trees = [git.text("rev-parse", f"{each}^{{tree}}") for each in (source.parent, source.commit)]
    else:
        mapping = _Mapping(project, git, source, source.version, number)
        trees = [mapping.tree(each) for each in (source.parent, source.commit)]
    base = git.text("commit-tree", trees[0], "-m", "Parent of what is backported")
    said = git.output("log", "--max-count=1", "--format=%B", source.commit)
    message = git.output("interpret-trailers", f"--trailer={TRAILER}: {source.commit}", stdin=said)
    author = git.text("log", "--max-count=1", "--date=raw", "--format=%an%n%ae%n%ad", source.commit).split("\n")
    author[2] = f"@{author[2]}"
    names = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_AUTHOR_DATE")
    environment = dict(zip(names, author, strict=True))
    return git.text("commit-tree", trees[1], "-p", base, "-F", "-", stdin=message, environment=environment)


@dataclass(frozen=True)
class _Mapping:
    """Trees with one version folder under the name of another, in paths and in code."""

    project: Project
    git: Git
    source: _Source
    old: Number
    new: Number

    def tree(self, commit: str) -> str:
        """The tree of a commit."""
        jobs = self.project.path(self.project.jobs)
        entries = self.git.entries(commit)
        old, new = f"{jobs}/{self.old.folder}/", f"{jobs}/{self.new.folder}/"
        kept = {path: entry for path, entry in entries.items() if not path.startswith((old, new))}
        for path in self.source.paths:
            if path in kept:
                kept[path] = self._renamed(path, kept[path], self.old)
        for path, entry in entries.items():
            if path.startswith(old):
                kept[new + path.removeprefix(old)] = self._renamed(path, entry, self.old)
        if commit == self.source.parent:
            kept |= self._copied(entries, jobs, old, new)
        return self._write(kept)

    def _copied(self, entries: Mapping[str, tuple[str, str]], jobs: str, old: str, new: str) -> Entries:
        """Of a commit that copies a version and changes the copy, the change is what is wanted."""
        versions = {path.removeprefix(f"{jobs}/").partition("/")[0] for path in entries if path.startswith(f"{jobs}/v")}
        matches = (state.FOLDER.fullmatch(name) for name in versions)
        older = sorted((Number(*map(int, match.groups())) for match in matches if match), reverse=True)
        found: Entries = {}
        for path in self.source.paths:
            if not path.startswith(old) or path in entries:
                continue
            name = path.removeprefix(old)
            for version in older:
                was = f"{jobs}/{version.folder}/{name}"
                if version < self.old and was in entries:
                    found[new + name] = self._renamed(was, entries[was], version)
                    break
        return found

    def _renamed(self, path: str, entry: tuple[str, str], old: Number) -> tuple[str, str]:
        mode, blob = entry
        if not path.endswith(".py") or not mode.startswith("100"):
            return entry
        content = self.git.contents([blob])[blob]
        code = renamed(content, path, self.project.package, old.folder, self.new.folder)
        if code == content:
            return entry
        return mode, self.git.output("hash-object", "-w", "--stdin", stdin=code).decode("ascii").strip()

    def _write(self, entries: Entries) -> str:
        index = self.git.own_directory() / "dbt-cicd-job" / "tree"
        index.unlink(missing_ok=True)
        environment = {"GIT_INDEX_FILE": str(index)}
        self.git.output("update-index", "-z", "--index-info", stdin=index_lines(entries), environment=environment)
        return self.git.text("write-tree", environment=environment)


def _move(target: _Target, git: Git, commit: str) -> None:
    old = (target.tip,) if target.free else ("0" * len(commit),)
    git.output("update-ref", "-m", "dbt-cicd: backport", f"refs/heads/{target.branch}", commit, *old)


def _leave(source: _Source, target: _Target, beside: Beside, said: str) -> None:
    """Leave conflicts to the user, on the branch. Raises Refused in any case."""
    git = beside.git
    unmerged = git.text("diff", "--name-only", "--diff-filter=U").splitlines()
    if not unmerged:
        if git.run("diff", "--cached", "--quiet", "HEAD").returncode == 0:
            raise Refused(f"{target.line.name} has what {source.commit[:12]} changes already: nothing was done.")
        raise Refused(f"{source.commit[:12]} could not be brought to {target.line.name}; nothing was changed.\n{said}")
    _move(target, git, str(git.commit("HEAD")))
    git.output("symbolic-ref", "HEAD", f"refs/heads/{target.branch}")
    beside.stays = True
    place = beside.directory
    after = "" if target.free else f"\n  in the working tree of {target.line.name}: git merge --ff-only {target.branch}"
    raise Refused(
        f"conflicts in {state.some(unmerged)}. They are in {place}, on {target.branch}; your checkout is as it was. "
        "Next:\n"
        f"  cd {place}\n  resolve them, `git add` the files, git cherry-pick --continue\n"
        f"  git worktree remove {place}{after}\n"
        f"To give up instead: git -C {place} reset --hard {target.tip[:12]} && git worktree remove {place}"
    )
