"""What state the repository is in: its lines of releases, and what must be so before a release."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from dbt_cicd_toolkit.errors import Refused
from dbt_cicd_toolkit.git import Git
from dbt_cicd_toolkit.jobs.number import Number, Part
from dbt_cicd_toolkit.jobs.project import SETTINGS, Project

FIRST = Number(0, 0, 0)
_NUMBER = r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)"
_MAINTENANCE = re.compile(f"{_NUMBER}-maintenance")
_TAG = re.compile(f"v{_NUMBER}")
FOLDER = re.compile("v" + _NUMBER.replace(r"\.", "_"))
_SHOWN = 5


@dataclass(frozen=True)
class Line:
    """The line of releases that the branch which is checked out belongs to.

    Attributes:
        branch, version: that branch, and its last release (VERSION).
        base: 0.1.0 on 0.1.0-maintenance and on branches made from it; None on main and what was made from it.
        home: is it main, or the maintenance branch itself?
        main: the main branch; None when it is not known which one that is.
        maintained: {(major, minor): the base of its maintenance branch}.
    """

    branch: str
    version: Number
    base: Number | None
    home: bool
    main: str | None
    maintained: Mapping[tuple[int, int], Number]

    @property
    def name(self) -> str:
        """The branch that releases of this line are on."""
        return self.base.maintenance if self.base else self.main or self.branch

    def next(self, bump: str | None) -> Number:
        """The release after the last one: by a part (None: patch on a maintenance line, else minor), or by number.

        Raises:
            InvalidInput: neither a part nor a number.
            Refused: this line may not have that release.
        """
        part = bump or ("patch" if self.base else "minor")
        if part in ("major", "minor", "patch"):
            parts: dict[str, Part] = {"major": "major", "minor": "minor", "patch": "patch"}
            wanted = self.version.bump(parts[part])
        else:
            wanted = Number.parse(part, "--bump (major, minor, patch or a release)")
        self.allow(wanted)
        return wanted

    def allow(self, wanted: Number) -> None:
        """Raises Refused when this line may not release a number."""
        if wanted <= self.version:
            raise Refused(
                f"{wanted} is not higher than VERSION, which is {self.version}. The next are {self._next_ones()}."
            )
        if self.base:
            if wanted[:2] != self.base[:2]:
                raise Refused(
                    f"{wanted} is no patch of {self.base.major}.{self.base.minor}: {self.name} takes patches only. "
                    f"Next here is {self.version.bump('patch')}; for more, `git switch {self.main or 'main'}`."
                )
        elif wanted[:2] in self.maintained:
            base = self.maintained[wanted[:2]]
            raise Refused(
                f"{wanted} belongs to the line of {base.maintenance}, which alone releases "
                f"{base.major}.{base.minor}.x. `git switch {base.maintenance}`, or release "
                f"{self.version.bump('minor')} here."
            )

    def _next_ones(self) -> str:
        if self.base:
            return str(self.version.bump("patch"))
        parts: tuple[Part, ...] = ("patch", "minor", "major")
        found = dict.fromkeys(self.version.bump(part) for part in parts)
        return ", ".join(str(each) for each in found if each[:2] not in self.maintained)


def line(project: Project) -> Line:
    """The line of the branch that is checked out. Raises Refused on a detached HEAD, InvalidInput for a bad VERSION."""
    git = project.git
    branch = checked_out(git)
    version = project.version()
    branches = git.every_branch()
    maintained = lines(branches)
    main = _main(project, branches, branch)
    match = _MAINTENANCE.fullmatch(branch)
    if match:
        base: Number | None = Number(*map(int, match.groups()))
        home = True
    else:
        base = None
        home = branch == main
        owner = maintained.get(version[:2])
        if not home and owner and main and _left(git, owner.maintenance, main, branches):
            base = owner
    return Line(branch, version, base, home, main, maintained)


def lines(branches: Collection[str]) -> dict[tuple[int, int], Number]:
    """{(major, minor): base} of the maintenance branches among these; the highest base, if there are several."""
    matches = (_MAINTENANCE.fullmatch(name) for name in branches)
    bases = sorted(Number(*map(int, match.groups())) for match in matches if match)
    return {base[:2]: base for base in bases}


def line_main(project: Project) -> str | None:
    """The main branch; None when it is not known which one that is."""
    return _main(project, project.git.every_branch(), "")


def _main(project: Project, branches: Collection[str], branch: str) -> str | None:
    if project.settings.main:
        return project.settings.main
    done = project.git.run("symbolic-ref", "--quiet", "--short", "refs/remotes/origin/HEAD")
    if done.returncode == 0:
        return done.stdout.decode("utf-8").strip().removeprefix("origin/")
    for name in ("main", "master"):
        if name in branches or name == branch:
            return name
    others = [name for name in branches if not _MAINTENANCE.fullmatch(name)]
    return others[0] if len(others) == 1 else None


def _left(git: Git, maintenance: str, main: str, branches: Mapping[str, str]) -> bool:
    """Was HEAD made from this maintenance branch, rather than from main?"""
    if maintenance not in branches or main not in branches:
        return False
    done = git.run("merge-base", "HEAD", branches[maintenance])
    shared = done.stdout.decode("ascii").strip()
    return bool(shared) and not git.is_ancestor(shared, branches[main])


def checked_out(git: Git) -> str:
    """The branch that is checked out. Raises Refused."""
    branch = git.branch()
    if branch is None:
        raise Refused("HEAD is detached, so there is no branch to work on. `git switch main` (or your branch) first.")
    return branch


def refuse_unfinished(git: Git) -> None:
    """Raises Refused in the middle of a merge, a rebase …"""
    what = git.unfinished()
    if what:
        raise Refused(f"{what} is in progress. Finish or abort it (`git status` says how), then run this again.")


def refuse_shallow(git: Git) -> None:
    """Raises Refused in a clone without all of the history."""
    if git.is_shallow():
        raise Refused(
            "this clone is shallow: releases that it does not know of cannot be told. "
            "`git fetch --unshallow --tags`, then run this again."
        )


def refuse_dirty(project: Project) -> None:
    """Raises Refused when something is not committed: tracked files anywhere, others where a release looks."""
    own = tuple(project.path(each) + "/" for each in (project.jobs, project.changes, project.releases))
    changed = [
        path
        for path, how in project.git.status().items()
        if how != "??" or path.startswith(own) or path in ("VERSION", SETTINGS)
    ]
    if changed:
        raise Refused(
            f"not committed: {some(changed)}. Commit (`git add` and `git commit`) or put away "
            "(`git stash --include-untracked`) what is there, then run this again."
        )


def refuse_hidden(project: Project) -> None:
    """Raises Refused when git was told to look away from files, so that what they hold cannot be trusted."""
    if hidden := project.git.hidden():
        raise Refused(
            f"git does not look at {some(hidden)} (a sparse checkout, skip-worktree or assume-unchanged), so what they "
            "hold is not known. `git sparse-checkout disable`, `git update-index --no-skip-worktree "
            "--no-assume-unchanged FILE`, or a fresh clone."
        )


def some(texts: Collection[str]) -> str:
    """The first few of many, and how many more."""
    shown = ", ".join(list(texts)[:_SHOWN])
    more = len(texts) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def released_tags(git: Git, merged: str | None = None) -> dict[Number, str]:
    """{release: its tag}, ascending; those that a commit has in its history, if one is told."""
    names = git.merged_tags(merged) if merged else list(git.tags())
    matches = (_TAG.fullmatch(name) for name in names)
    return dict(sorted((Number(*map(int, match.groups())), match[0]) for match in matches if match))


def refuse_other_version(project: Project, version: Number) -> None:
    """Raises Refused when VERSION is not the number of the last tag on this branch."""
    tags = released_tags(project.git, "HEAD")
    last = max(tags, default=FIRST)
    if last == version:
        return
    if version > last and (project.releases / f"{version}.json").is_file():
        raise Refused(
            f"VERSION says {version}, which has no tag on this branch yet. `dbt-cicd job release tag` makes it, "
            "or `git fetch --tags` if somebody else did."
        )
    was = f"the last tag on this branch is {last.tag}" if tags else "there is no tag v… on this branch"
    raise Refused(
        f"VERSION says {version}, but {was}. `git fetch --tags` if tags are missing, else write {last} into VERSION."
    )
