"""Change files, commit and tag: all of it or nothing, whatever happens on the way.

The commit is made with an index of its own, so that the user's index and its lock stay out of it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dbt_cicd_toolkit.errors import Refused
from dbt_cicd_toolkit.files import write_atomically
from dbt_cicd_toolkit.git import Git
from dbt_cicd_toolkit.jobs import committed
from dbt_cicd_toolkit.jobs import journal as journals
from dbt_cicd_toolkit.jobs.before import Before
from dbt_cicd_toolkit.jobs.index import index_lines
from dbt_cicd_toolkit.jobs.journal import Journal
from dbt_cicd_toolkit.jobs.manifest import content_hash
from dbt_cicd_toolkit.jobs.project import Project
from dbt_cicd_toolkit.jobs.state import some
from dbt_cicd_toolkit.jobs.undo import Undo

# Nothing may go on in the background that holds our lock.
_NO_HOUSEKEEPING = ("-c", "gc.auto=0", "-c", "maintenance.auto=false")


@dataclass
class Beside:
    """A working tree made for one command. ``stays``: leave it to the user."""

    directory: Path
    git: Git
    stays: bool = False


@dataclass(frozen=True)
class Commit:
    """What to commit, and how to call it.

    Attributes:
        message: of the commit.
        tag, tag_message: None for no tag.
        entries: {path: (mode, blob)} that are in the repository already and are checked out.
        exact: those of the changed files that hooks may not change.
        manifest: that of them which says what else must be in the commit as it was read.
        known: {path: content} of files that do not change, and are put back when hooks changed them and it fails.
    """

    message: str
    tag: str | None = None
    tag_message: str = ""
    entries: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    exact: Sequence[str] = ()
    manifest: str | None = None
    known: Mapping[str, bytes] = field(default_factory=dict)


def recover(project: Project) -> str | None:
    """Finish or undo what was interrupted; what to tell the user, None when there was nothing.

    Raises:
        Refused: it cannot be done now, or another command is at work.
    """
    if project.git.top() is None or journals.read(journals.directory(project.git)) is None:
        return None
    with journals.locked(project) as git:
        return Undo(project, git).recover()


@contextmanager
def exclusive(project: Project, *, dry_run: bool = False) -> Generator[Writer]:
    """Keep other commands that write out, in all working trees of the repository, until the end. Enter it before
    anything is read.

    Args:
        dry_run: change nothing, so do not end what was interrupted either.
    Raises:
        InvalidInput: no repository, or jobs.toml is not at its top.
        Refused: another one is at work, or an interrupted one can be neither finished nor undone.
    """
    with journals.locked(project) as git:
        writer = Writer(project, git)
        if not dry_run:
            writer.way_back.recover()
        elif journal := journals.read(writer.way_back.index.directory):
            raise Refused(f"the {journal.what} was interrupted. Run this without --dry-run: that ends it first.")
        yield writer


class Writer:
    """What changes a project. Made by exclusive(). ``way_back``: undoes it."""

    def __init__(self, project: Project, git: Git) -> None:
        self.project = project
        self.git = git
        self.way_back = Undo(project, git)

    @property
    def _directory(self) -> Path:
        return self.way_back.index.directory

    def write(self, what: str, changes: Mapping[str, bytes | None], modes: Mapping[str, int] | None = None) -> None:
        """Give files (by their paths from the root) these contents; None deletes one. All of them, or none.

        Args:
            what: what messages call it, as in 'release of 0.1.0'.
            modes: {path: mode} of new files, where it matters.
        """
        written = {path: content_hash(content) for path, content in changes.items() if content is not None}
        kept = self._kept(changes)
        journal = journals.begin(
            self._directory, Journal(what, os.getpid(), *kept, old=self.git.commit("HEAD"), hashes=written)
        )
        try:
            self._change(changes, modes or {})
        except BaseException:
            self.way_back.undo(journal)
            raise
        self._end(changes)

    def commit(self, what: str, changes: Mapping[str, bytes | None], commit: Commit) -> str:
        """Change files as write() does, commit them with git's hooks and signing, and tag. All of it, or nothing.

        The index and the files must be as HEAD has them. Returns the commit.
        Raises Refused, with what git or a hook said.
        """
        branch, old = self.git.branch(), self.git.commit("HEAD")
        before = Before(self.project, self.git, commit.known)
        journal = journals.begin(
            self._directory,
            Journal(
                what,
                os.getpid(),
                *self._kept([*changes, *commit.entries]),
                branch,
                old,
                commit.tag,
                {path: content_hash(changes[path] or b"") for path in commit.exact},
                {path: blob for path, (_, blob) in commit.entries.items()},
                self.project.path(self.project.jobs),
                commit.manifest,
            ),
        )
        try:
            self._change(changes, {})
            self._stage(changes, commit)
            made = self._commit(journal, commit)
            self.way_back.index.set(journal, made)
        except BaseException as error:
            try:
                self.way_back.undo(journal)
            except (OSError, Refused) as second:
                raise Refused(
                    f"{error} It could not be undone either: {second} The next `dbt-cicd job` "
                    "command that writes tries again."
                ) from error
            said = before.restore()
            if said and isinstance(error, Refused):
                raise Refused(f"{error}\n{said}") from error
            raise
        self._end(changes)
        return made

    @contextmanager
    def beside(self, what: str, directory: Path, commit: str) -> Generator[Beside]:
        """A working tree of its own at a commit, without a branch. It is removed at the end, unless it ``stays``."""
        journal = journals.begin(self._directory, Journal(what, os.getpid(), *self._kept(()), worktree=str(directory)))
        beside = Beside(directory, Git(directory, self.git.inherited))
        try:
            self.git.output("worktree", "add", "--quiet", "--detach", "--", str(directory), commit)
            yield beside
        finally:
            if beside.stays:
                self._end({})
            else:
                self.way_back.undo(journal)

    # The steps.

    def _kept(self, paths: Mapping[str, Any] | Sequence[str]) -> tuple[dict[str, str | None], list[str]]:
        """Copy what will be changed; {path: copy} and the folders that will be new."""
        shutil.rmtree(self._directory, ignore_errors=True)  # without a journal it is nobody's
        (self._directory / "old").mkdir(parents=True)
        files: dict[str, str | None] = {}
        folders: dict[str, None] = {}
        for number, path in enumerate(paths):
            file = self.project.root / path
            if file.is_symlink() or (file.exists() and not file.is_file()):
                raise Refused(f"{path} is no regular file. Move it away, then run this again.")
            files[path] = None
            if file.exists():
                files[path] = f"old/{number}"
                shutil.copy2(file, self._directory / "old" / str(number))
            new = [each for each in file.parents if each.is_relative_to(self.project.root) and not each.exists()]
            folders |= dict.fromkeys(self.project.path(each) for each in reversed(new))
        return files, list(folders)

    def _change(self, changes: Mapping[str, bytes | None], modes: Mapping[str, int]) -> None:
        for path, content in changes.items():
            file = self.project.root / path
            if content is None:
                file.unlink(missing_ok=True)
            else:
                file.parent.mkdir(parents=True, exist_ok=True)
                mode = file.stat().st_mode & 0o777 if file.exists() else modes.get(path)
                write_atomically(file, content, mode)

    @property
    def _index(self) -> dict[str, str]:
        return {"GIT_INDEX_FILE": str(self._directory / "index")}

    def _stage(self, changes: Mapping[str, bytes | None], commit: Commit) -> None:
        shutil.copy2(self.way_back.index.own / "index", self._directory / "index")
        names = b"".join(os.fsencode(path) + b"\0" for path in changes)
        if names:
            arguments = ("update-index", "--add", "--remove", "-z", "--stdin")
            self.git.output(*arguments, stdin=names, environment=self._index)
        if commit.entries:
            lines = index_lines(commit.entries)
            self.git.output("update-index", "-z", "--index-info", stdin=lines, environment=self._index)
            names = b"".join(os.fsencode(path) + b"\0" for path in commit.entries)
            self.git.output("checkout-index", "--quiet", "-u", "-z", "--stdin", stdin=names, environment=self._index)

    def _commit(self, journal: Journal, commit: Commit) -> str:
        quiet = (*_NO_HOUSEKEEPING, "commit", "--quiet", "--cleanup=whitespace", "--file=-")
        self._git(f"{journal.what}: the commit failed", *quiet, stdin=commit.message, environment=self._index)
        made = self.git.commit("HEAD") or ""
        self._verify(journal, made)
        if commit.tag:
            annotate = ("tag", "--annotate", "--cleanup=whitespace", "--file=-", "--", commit.tag, made)
            self._git(f"{journal.what}: the tag failed", *annotate, stdin=commit.tag_message)
        return made

    def _git(self, cause: str, *arguments: str, stdin: str = "", environment: Mapping[str, str] | None = None) -> None:
        done = self.git.run(*arguments, stdin=stdin.encode("utf-8"), environment=environment)
        if done.returncode:
            said = (done.stderr + done.stdout).decode("utf-8", "replace").strip()
            said = said or f"a hook ended with {done.returncode} and said nothing"
            raise Refused(
                f"{cause}, and nothing was changed. Put right what git or a hook said, then run this again:\n{said}"
            )

    def _verify(self, journal: Journal, made: str) -> None:
        """A hook may add what it likes, but not change what is being released."""
        if wrong := committed.changed(self.project, self.git, journal, made):
            raise Refused(
                f"{journal.what}: {committed.hooks(self.git)} changed {some(wrong)} in the commit, which must have it "
                "as it was checked; nothing was changed. Commit what the hook makes of it before, or keep the hook "
                "away from it, then run this again."
            )

    def _end(self, changes: Mapping[str, bytes | None]) -> None:
        journals.end(self._directory)
        for path, content in changes.items():
            if content is None:
                journals.drop_empty(self.project, (self.project.root / path).parent)
