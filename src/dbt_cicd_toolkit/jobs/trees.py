"""The files of the working tree, or of a branch, read alike; and which of them an environment runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from dbt_cicd_toolkit.git import Git
from dbt_cicd_toolkit.jobs.project import Project
from dbt_cicd_toolkit.jobs.settings import Environment

# Where a project declares no environment, its DAGs are here, and everybody runs them.
_NOWHERE = Environment("")


class Tree(Protocol):
    """Files by their paths from the top, with slashes.

    Attributes:
        branch: whose files they are; None: what is in the working tree, on a detached HEAD.
        checked_out: is it the working tree?
    """

    branch: str | None
    checked_out: bool

    def has(self, path: str) -> bool:
        """Is there such a file?"""

    def read(self, path: str) -> bytes | None:
        """A file; None when there is none."""

    def load(self, paths: Iterable[str]) -> None:
        """Say which files will be read soon."""

    def below(self, folders: Iterable[str]) -> list[str]:
        """The files in these folders (or that are these), sorted."""

    def where(self, path: str) -> str:
        """What messages call a file."""


class WorkingTree:
    """What is on disk."""

    checked_out = True

    def __init__(self, root: Path, branch: str | None) -> None:
        self.root = root
        self.branch = branch
        self._read: dict[str, bytes | None] = {}
        self._has: dict[str, bool] = {}

    def has(self, path: str) -> bool:
        if path not in self._has:
            self._has[path] = (self.root / path).is_file()
        return self._has[path]

    def read(self, path: str) -> bytes | None:
        if path not in self._read:
            try:
                self._read[path] = (self.root / path).read_bytes()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                self._read[path] = None
        return self._read[path]

    def load(self, paths: Iterable[str]) -> None:
        pass

    def below(self, folders: Iterable[str]) -> list[str]:
        found = set()
        for folder in folders:
            top = self.root / folder
            files = [top] if top.is_file() else top.rglob("*")
            found |= {each.relative_to(self.root).as_posix() for each in files if each.is_file()}
        return sorted(path for path in found if not _is_hidden(path))

    def where(self, path: str) -> str:
        return path


def _is_hidden(path: str) -> bool:
    """Is it in .git, .venv and the like, or of Python's making?"""
    return any(part.startswith(".") or part == "__pycache__" for part in path.split("/")[:-1])


class Branch:
    """What a branch has committed."""

    checked_out = False

    def __init__(self, git: Git, branch: str, commit: str) -> None:
        self.git = git
        self.branch: str | None = branch
        self.commit = commit
        self._blobs: dict[str, bytes] = {}

    @cached_property
    def files(self) -> Mapping[str, str]:
        """{path: blob}."""
        return self.git.files(self.commit)

    def has(self, path: str) -> bool:
        return path in self.files

    def read(self, path: str) -> bytes | None:
        blob = self.files.get(path)
        if blob is None:
            return None
        if blob not in self._blobs:
            self.load([path])
        return self._blobs.get(blob)

    def load(self, paths: Iterable[str]) -> None:
        wanted = {self.files[path] for path in paths if path in self.files} - set(self._blobs)
        self._blobs |= self.git.contents(sorted(wanted))

    def below(self, folders: Iterable[str]) -> list[str]:
        starts = tuple("" if folder == "." else f"{folder.strip('/')}/" for folder in folders)
        return sorted(path for path in self.files if f"{path}/".startswith(starts) and not _is_hidden(path))

    def where(self, path: str) -> str:
        return f"{self.branch}:{path}"


@dataclass(frozen=True)
class Place:
    """An environment and the files it runs. ``tree`` is None when this clone has not got its branch."""

    environment: Environment
    tree: Tree | None

    @property
    def name(self) -> str | None:
        """The environment's name; None for that of a project which declares none."""
        return self.environment.name or None

    def missing(self) -> str:
        """What to say when there is no tree."""
        branch = self.environment.branch
        return (
            f"jobs.toml: environments.{self.environment.name} runs branch '{branch}', which this clone has not got. "
            f"Fetch it (git fetch origin {branch}:refs/remotes/origin/{branch}) or correct jobs.toml."
        )


def working_tree(project: Project) -> WorkingTree:
    """The files on disk."""
    return WorkingTree(project.root, project.git.branch())


def places(project: Project, working: WorkingTree | None = None) -> list[Place]:
    """Every environment with its files; environments of one branch share them."""
    working = working or working_tree(project)
    known: dict[str | None, Tree | None] = {None: working, working.branch: working}
    refs = _Refs(project.git)
    found = []
    for environment in project.settings.environments.values() or (_NOWHERE,):
        if environment.branch not in known:
            known[environment.branch] = refs.tree(environment.branch, working)
        found.append(Place(environment, known[environment.branch]))
    return found


class _Refs:
    """Branches by the names that jobs.toml calls them: local ones, else those of a remote."""

    def __init__(self, git: Git) -> None:
        self.git = git

    @cached_property
    def commits(self) -> dict[str, str]:
        return self.git.every_branch()

    def tree(self, branch: str | None, working: WorkingTree) -> Tree | None:
        commit = self.commits.get(branch or "")
        if commit is None:
            return None
        # A CI machine has the branch's commit checked out, but not the branch.
        if working.branch is None and commit == self.git.commit("HEAD"):
            return working
        return Branch(self.git, str(branch), commit)
