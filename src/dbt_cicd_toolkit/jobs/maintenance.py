"""Maintenance lines: a branch that alone releases the patches of a minor version."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dbt_cicd_toolkit.errors import InvalidInput, Refused
from dbt_cicd_toolkit.git import Git
from dbt_cicd_toolkit.jobs import state
from dbt_cicd_toolkit.jobs.number import Number
from dbt_cicd_toolkit.jobs.project import Project, nearest
from dbt_cicd_toolkit.jobs.writer import exclusive


@dataclass(frozen=True)
class Maintained:
    """A maintenance branch.

    Attributes:
        base, branch, commit: 0.1.0, '0.1.0-maintenance' and where it is. local: is it a branch of this clone?
        last, open: its last release, and the version of its open folder.
        ahead: commits since the last release.
        unsynced: its releases that the branch which is checked out has not got.
        hints: what to look at.
    """

    base: Number
    branch: str
    commit: str
    last: Number
    open: Number | None = None
    local: bool = True
    ahead: int = 0
    unsynced: tuple[Number, ...] = ()
    hints: list[str] = field(default_factory=list)

    def value(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "branch": self.branch,
            "base": str(self.base),
            "commit": self.commit,
            "last": str(self.last),
            "open": str(self.open) if self.open else None,
            "local": self.local,
            "ahead": self.ahead,
            "unsynced": [str(each) for each in self.unsynced],
            "hints": self.hints,
        }


def start(project: Project, version: Number, *, dry_run: bool = False) -> Maintained:
    """Make the branch that maintains the line of a release, at its tag. The checkout stays as it is.

    Raises:
        InvalidInput: no such release.
        Refused: that line is maintained already, or has a newer release.
    """
    with exclusive(project, dry_run=dry_run) as writer:
        git = writer.git
        state.refuse_shallow(git)
        tags = state.released_tags(git)
        if version not in tags:
            said = nearest(str(version), [str(each) for each in tags]) if tags else "Nothing was released yet."
            raise InvalidInput(f"there is no release {version} (no tag {version.tag}). {said} `git fetch --tags`?")
        branches = git.every_branch()
        base = state.lines(branches).get(version[:2])
        if base:
            raise Refused(
                f"{base.maintenance} maintains {version.major}.{version.minor} already. "
                f"`git switch {base.maintenance}`."
            )
        newest = max(each for each in tags if each[:2] == version[:2])
        if newest != version:
            raise Refused(
                f"{newest} is newer on that line. `dbt-cicd job maintenance start {newest}`: patches go on from there."
            )
        commit = str(git.commit(f"refs/tags/{version.tag}"))
        if git.content(commit, f"releases/{version}.json") is None:
            raise InvalidInput(f"{version.tag} is no release of jobs: it has no releases/{version}.json.")
        if not dry_run:
            git.output("branch", "--no-track", version.maintenance, commit)
    return Maintained(version, version.maintenance, commit, version, hints=_open_here(project, version))


def _open_here(project: Project, version: Number) -> list[str]:
    opened = project.open()
    if opened is None or opened[:2] != version[:2]:
        return []
    return [
        f"{opened.folder}, open on this branch, belongs to that line now: "
        "`dbt-cicd job new-version NAME --bump minor` gives it another number"
    ]


def listed(project: Project) -> list[Maintained]:
    """Every maintenance branch of this clone and its remotes, ascending."""
    git = project.git
    every, local = git.every_branch(), git.branches()
    here = project.manifests()
    tags = state.released_tags(git)
    found = []
    for base in sorted(state.lines(every).values()):
        commit = every[base.maintenance]
        last = last_release(git, base.maintenance, commit)
        ahead = int(git.text("rev-list", "--count", f"refs/tags/{last.tag}..{commit}")) if last in tags else 0
        unsynced = tuple(each for each in tags if each[:2] == base[:2] and each <= last and each not in here)
        found.append(
            Maintained(
                base,
                base.maintenance,
                commit,
                last,
                open_at(project, commit),
                base.maintenance in local,
                ahead,
                unsynced,
            )
        )
    return found


def last_release(git: Git, branch: str, commit: str) -> Number:
    """What VERSION says at a commit. Raises InvalidInput."""
    content = git.content(commit, "VERSION")
    if content is None:
        raise InvalidInput(f"{branch} has no VERSION. Restore it there.")
    return Number.parse(content.decode("utf-8", "replace").strip(), f"VERSION on {branch}")


def open_at(project: Project, commit: str) -> Number | None:
    """The version of the open folder at a commit."""
    git = project.git
    jobs, releases = project.path(project.jobs), project.path(project.releases)
    files = git.files(commit, jobs, releases)
    folders = {path.removeprefix(f"{jobs}/").partition("/")[0] for path in files if path.startswith(f"{jobs}/v")}
    released = {path.removeprefix(f"{releases}/").removesuffix(".json") for path in files if path.endswith(".json")}
    numbers = [Number(*map(int, match.groups())) for match in map(state.FOLDER.fullmatch, folders) if match]
    return next((each for each in sorted(numbers) if str(each) not in released), None)
