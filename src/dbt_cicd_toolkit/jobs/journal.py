"""What a command is about to change, written down in the git directory of the working tree before it changes.

A command that fails undoes it; after one that was killed the next one does.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dbt_cicd_toolkit.errors import InvalidInput, Refused
from dbt_cicd_toolkit.files import write_atomically
from dbt_cicd_toolkit.git import Git
from dbt_cicd_toolkit.jobs.project import SETTINGS, Project

DIRECTORY = "dbt-cicd-job"
_LOCK = "dbt-cicd-job.lock"
# Another git, of an editor for example, holds its locks for moments only.
PATIENCE = 5.0


@dataclass(frozen=True)
class Journal:
    """What is being done.

    Attributes:
        what: 'release of 0.1.0'.
        process: whose temporary files may lie around.
        files: {path: the name of its copy, None for a file that is new}.
        folders: those that are new, outermost first.
        branch: where the commit goes; None when only files change. old: HEAD before.
        tag: made after the commit, or None.
        hashes: {path: content_hash()} that the commit must have, or that were written when only files change.
        blobs: {path: blob} that it must have.
        frozen: folder in which it may change nothing else.
        manifest: its file that must be true of it.
        worktree: a working tree that is made for this, and goes with it.
    """

    what: str
    process: int
    files: Mapping[str, str | None]
    folders: Sequence[str]
    branch: str | None = None
    old: str | None = None
    tag: str | None = None
    hashes: Mapping[str, str] = field(default_factory=dict)
    blobs: Mapping[str, str] = field(default_factory=dict)
    frozen: str = ""
    manifest: str | None = None
    worktree: str | None = None


def directory(git: Git) -> Path:
    """Where the journal of a working tree is, with the copies of what changes."""
    return git.own_directory() / DIRECTORY


def begin(directory: Path, journal: Journal) -> Journal:
    """Write it down."""
    write_atomically(directory / "journal.json", json.dumps(asdict(journal)))
    return journal


def read(directory: Path) -> Journal | None:
    """The journal of what is not ended; None: everything is. Raises Refused for a damaged one."""
    try:
        body: dict[str, Any] = json.loads((directory / "journal.json").read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise Refused(
            f"{directory / 'journal.json'} is damaged: {error}. Look at `git status`, restore what is not yours, "
            "then delete that folder."
        ) from None
    return Journal(**body)


def end(directory: Path) -> None:
    """All of it is done, or undone."""
    (directory / "journal.json").unlink()
    shutil.rmtree(directory, ignore_errors=True)


def drop_empty(project: Project, folder: Path) -> None:
    """Delete a folder, and those around it, that have only what Python left there."""
    while folder != project.root and folder.is_dir():
        if any(each.name != "__pycache__" for each in folder.iterdir()):
            return
        shutil.rmtree(folder)
        folder = folder.parent


def pending(project: Project) -> str | None:
    """What was interrupted and is neither finished nor undone yet: 'release of 0.1.0'; None: nothing.

    What is at work now was not interrupted: a hook of a release may run `job check`.
    """
    found = read(directory(project.git)) if project.git.top() else None
    return found.what if found and not _at_work(project) else None


def _at_work(project: Project) -> bool:
    descriptor = os.open(project.git.common_directory() / _LOCK, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


@contextmanager
def locked(project: Project) -> Generator[Git]:
    """Keep other commands that write out, in all working trees of the repository; git and its hooks keep it, too.

    Raises:
        InvalidInput: no repository, or jobs.toml is not at its top.
        Refused: another one is at work.
    """
    git = project.git
    top = git.top()
    if top is None:
        raise InvalidInput(f"{project.root} is in no git repository. `git init` first.")
    if top.resolve() != project.root:
        raise InvalidInput(
            f"{SETTINGS} is in {project.root}, but the top of the repository is {top}. Move it there (git mv)."
        )
    descriptor = os.open(git.common_directory() / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            who = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
            raise Refused(
                f"another `dbt-cicd job` is writing in this repository (process {who}, or what it started). "
                "Run this again when it has ended."
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode("ascii"), 0)
        try:
            yield Git(project.root, (descriptor,))
        finally:
            # For what hooks have left running too: closing would leave it to them.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)
