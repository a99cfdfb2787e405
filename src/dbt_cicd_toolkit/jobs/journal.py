"""Change files, commit and tag: all of it or nothing, whatever happens on the way.

What is about to change is written down in the git directory of the working tree before it changes. A command that
fails undoes it; after one that was killed the next one does: it finishes what has its commit and its tag, and undoes
anything else. The commit is made with an index of its own, so that the user's index and its lock stay out of it.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from dbt_cicd_toolkit.errors import InvalidInput, Refused
from dbt_cicd_toolkit.files import unfinished, write_atomically
from dbt_cicd_toolkit.git import Git
from dbt_cicd_toolkit.jobs.manifest import content_hash
from dbt_cicd_toolkit.jobs.project import SETTINGS, Project

_DIRECTORY = "dbt-cicd-job"
_LOCK = "dbt-cicd-job.lock"
# Another git, of an editor for example, holds its locks for moments only.
_PATIENCE = 5.0
# A hook of the user's has its say when the commit is made, not when it is taken back.
_NO_HOOKS = ("-c", f"core.hooksPath={os.devnull}")
# Nothing may go on in the background that holds our lock.
_NO_HOUSEKEEPING = ("-c", "gc.auto=0", "-c", "maintenance.auto=false")


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
    worktree: str | None = None


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
    """

    message: str
    tag: str | None = None
    tag_message: str = ""
    entries: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    exact: Sequence[str] = ()


def pending(project: Project) -> str | None:
    """What was interrupted and is neither finished nor undone yet: 'release of 0.1.0'; None: nothing.

    What is at work now was not interrupted: a hook of a release may run `job check`.
    """
    found = _read(project.git.own_directory() / _DIRECTORY) if project.git.top() else None
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


def recover(project: Project) -> str | None:
    """Finish or undo what was interrupted; what to tell the user, None when there was nothing.

    Raises:
        Refused: it cannot be done now, or another command is at work.
    """
    if project.git.top() is None or _read(project.git.own_directory() / _DIRECTORY) is None:
        return None
    with _locked(project) as git:
        return Writer(project, git).recover()


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
    with _locked(project) as git:
        writer = Writer(project, git)
        if not dry_run:
            writer.recover()
        elif journal := _read(git.own_directory() / _DIRECTORY):
            raise Refused(f"the {journal.what} was interrupted. Run this without --dry-run: that ends it first.")
        yield writer


@contextmanager
def _locked(project: Project) -> Generator[Git]:
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


def _read(directory: Path) -> Journal | None:
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


def index_lines(entries: Mapping[str, tuple[str, str]]) -> bytes:
    """{path: (mode, blob)} as `git update-index -z --index-info` reads it; mode 0 takes a path out."""
    return b"".join(
        f"{mode} {blob}\t".encode("ascii") + os.fsencode(path) + b"\0" for path, (mode, blob) in entries.items()
    )


class Writer:
    """What changes a project. Made by exclusive()."""

    def __init__(self, project: Project, git: Git) -> None:
        self.project = project
        self.git = git

    @cached_property
    def _own(self) -> Path:
        return self.git.own_directory()

    @property
    def _directory(self) -> Path:
        return self._own / _DIRECTORY

    def write(self, what: str, changes: Mapping[str, bytes | None], modes: Mapping[str, int] | None = None) -> None:
        """Give files (by their paths from the root) these contents; None deletes one. All of them, or none.

        Args:
            what: what messages call it, as in 'release of 0.1.0'.
            modes: {path: mode} of new files, where it matters.
        """
        written = {path: content_hash(content) for path, content in changes.items() if content is not None}
        kept = self._kept(changes)
        journal = self._begin(Journal(what, os.getpid(), *kept, old=self.git.commit("HEAD"), hashes=written))
        try:
            self._change(changes, modes or {})
        except BaseException:
            self._undo(journal)
            raise
        self._end(changes)

    def commit(self, what: str, changes: Mapping[str, bytes | None], commit: Commit) -> str:
        """Change files as write() does, commit them with git's hooks and signing, and tag. All of it, or nothing.

        The index and the files must be as HEAD has them. Returns the commit.
        Raises Refused, with what git or a hook said.
        """
        branch, old = self.git.branch(), self.git.commit("HEAD")
        journal = self._begin(
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
            )
        )
        try:
            self._change(changes, {})
            self._stage(changes, commit)
            made = self._commit(journal, commit)
            self._set_index(journal, made)
        except BaseException as error:
            try:
                self._undo(journal)
            except (OSError, Refused) as second:
                raise Refused(
                    f"{error} It could not be undone either: {second} The next `dbt-cicd job` "
                    "command that writes tries again."
                ) from error
            raise
        self._end(changes)
        return made

    @contextmanager
    def beside(self, what: str, directory: Path, commit: str) -> Generator[Beside]:
        """A working tree of its own at a commit, without a branch. It is removed at the end, unless it ``stays``."""
        journal = self._begin(Journal(what, os.getpid(), *self._kept(()), worktree=str(directory)))
        beside = Beside(directory, Git(directory, self.git.inherited))
        try:
            self.git.output("worktree", "add", "--quiet", "--detach", "--", str(directory), commit)
            yield beside
        finally:
            if beside.stays:
                self._end({})
            else:
                self._undo(journal)

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

    def _begin(self, journal: Journal) -> Journal:
        write_atomically(self._directory / "journal.json", json.dumps(asdict(journal)))
        return journal

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
        shutil.copy2(self._own / "index", self._directory / "index")
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
        out = self.git.output("diff-tree", "-r", "-z", "--no-renames", "--raw", str(journal.old), made)
        parts = out.split(b"\0")[:-1]
        blobs = {
            os.fsdecode(path): about.split()[3].decode("ascii")
            for about, path in zip(parts[::2], parts[1::2], strict=True)
        }
        wrong = [path for path in blobs if path.startswith(f"{journal.frozen}/") and path not in journal.files]
        wrong += [path for path, blob in journal.blobs.items() if blobs.get(path) != blob]
        contents = self.git.contents(blobs[path] for path in journal.hashes if path in blobs)
        wrong += [
            path
            for path, wanted in journal.hashes.items()
            if content_hash(contents.get(blobs.get(path, ""), b"")) != wanted
        ]
        if wrong:
            raise Refused(
                f"{journal.what}: a hook changed {', '.join(wrong)} in the commit, which must stay as written; nothing "
                "was changed. Keep the hook away from it, then run this again."
            )

    def _end(self, changes: Mapping[str, bytes | None]) -> None:
        (self._directory / "journal.json").unlink()
        shutil.rmtree(self._directory, ignore_errors=True)
        for path, content in changes.items():
            if content is None:
                self._drop_empty((self.project.root / path).parent)

    def _drop_empty(self, folder: Path) -> None:
        while folder != self.project.root and folder.is_dir():
            if any(each.name != "__pycache__" for each in folder.iterdir()):
                return
            shutil.rmtree(folder)
            folder = folder.parent

    # The way back.

    def recover(self) -> str | None:
        """Finish or undo what a killed command left; what to tell the user."""
        journal = _read(self._directory)
        if journal is None:
            return None
        self._remove_index_lock()
        if journal.worktree:
            self._undo(journal)
            return f"what the interrupted {journal.what} left was removed."
        self._remove_ref_locks(journal)
        if journal.branch is None:
            if changed := self._changed_since(journal):
                shutil.rmtree(self._directory)
                said = f"the {journal.what} was interrupted, and {changed} since: all is left as it is."
                return f"{said} Look at `git status`."
            self._undo(journal)
            return f"the interrupted {journal.what} was undone."
        if self.git.branch() != journal.branch:
            raise Refused(
                f"the {journal.what} on {journal.branch} was interrupted and must be undone there first. "
                f"`git switch --merge {journal.branch}`, then run this again."
            )
        tip = self.git.commit("HEAD") or ""
        if tip != journal.old and not self._is_ours(journal, tip):
            shutil.rmtree(self._directory)
            return f"the {journal.what} was interrupted, and {journal.branch} has moved on since: it is left as it is."
        if tip != journal.old and self._is_whole(journal, tip):
            self._remove_temporary(journal)
            self._set_index(journal, tip)
            self._end(dict.fromkeys(path for path in journal.files if not (self.project.root / path).exists()))
            return f"the interrupted {journal.what} was finished."
        self._undo(journal)
        return f"the interrupted {journal.what} was undone."

    def _changed_since(self, journal: Journal) -> str | None:
        """What the user has done to the files of a write that was killed; None: nothing."""
        if journal.old != self.git.commit("HEAD"):
            return "something was committed"
        for path, copy in journal.files.items():
            file = self.project.root / path
            known = {journal.hashes.get(path)}
            if copy is not None and (self._directory / copy).exists():
                known.add(content_hash((self._directory / copy).read_bytes()))
            if file.is_file() and content_hash(file.read_bytes()) not in known:
                return f"{path} was changed"
        return None

    def _remove_ref_locks(self, journal: Journal) -> None:
        """Those of a git that was killed with us; one that lives holds them for moments only."""
        common = self.git.common_directory()
        locks = [self._own / "HEAD.lock", common / "packed-refs.lock"]
        locks += [common / f"refs/heads/{journal.branch}.lock"] if journal.branch else []
        locks += [common / f"refs/tags/{journal.tag}.lock"] if journal.tag else []
        there = {lock: (lock.stat().st_ino, lock.stat().st_mtime_ns) for lock in locks if lock.exists()}
        if not there:
            return
        time.sleep(_PATIENCE)
        for lock, known in there.items():
            if lock.exists() and (lock.stat().st_ino, lock.stat().st_mtime_ns) == known:
                lock.unlink()

    def _is_ours(self, journal: Journal, tip: str) -> bool:
        if self.git.commit(f"{tip}^") != journal.old:
            return False
        new = [path for path, copy in journal.files.items() if copy is None]
        return set(new) <= set(self.git.files(tip, *new))

    def _is_whole(self, journal: Journal, tip: str) -> bool:
        if journal.tag and self.git.commit(f"refs/tags/{journal.tag}") != tip:
            return False
        try:
            self._verify(journal, tip)
        except Refused:
            return False
        return True

    def _undo(self, journal: Journal) -> None:
        """Each step can be done again: this too may be killed."""
        if journal.branch:
            (self._directory / "index").unlink(missing_ok=True)  # a full disk needs the space
            self._undo_refs(journal)
            self._set_index(journal, str(journal.old))
        if journal.worktree:
            self._remove_worktree(Path(journal.worktree))
        self._remove_temporary(journal)
        for path, copy in journal.files.items():
            if copy is None:
                (self.project.root / path).unlink(missing_ok=True)
        for path, copy in journal.files.items():
            if copy is not None and (self._directory / copy).exists():
                self._restore(self._directory / copy, self.project.root / path)
        for each in reversed(journal.folders):
            self._drop_empty(self.project.root / each)
        (self._directory / "journal.json").unlink()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _undo_refs(self, journal: Journal) -> None:
        tip = self.git.commit("HEAD") or ""
        if tip == journal.old or not self._is_ours(journal, tip):
            return
        if journal.tag and self.git.commit(f"refs/tags/{journal.tag}") == tip:
            self.git.output(*_NO_HOOKS, "update-ref", "-d", f"refs/tags/{journal.tag}")
        reason = f"dbt-cicd: undo the {journal.what}"
        branch = f"refs/heads/{journal.branch}"
        self.git.output(*_NO_HOOKS, "update-ref", "-m", reason, branch, str(journal.old), tip)

    def _remove_worktree(self, directory: Path) -> None:
        self.git.run("worktree", "remove", "--force", "--force", "--", str(directory))
        if directory.exists():
            shutil.rmtree(directory)
        self.git.output("worktree", "prune")

    def _restore(self, copy: Path, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            copy.replace(file)  # needs no space
        except OSError:  # the git directory of a working tree may be on another disk
            write_atomically(file, copy.read_bytes(), copy.stat().st_mode & 0o777)

    def _remove_temporary(self, journal: Journal) -> None:
        for path in journal.files:
            unfinished(self.project.root / path, journal.process).unlink(missing_ok=True)

    def _set_index(self, journal: Journal, commit: str) -> None:
        """Let the user's index have our paths as a commit has them, and leave all else in it alone."""
        paths = [*journal.files, *self._added_by_hooks(journal, commit)]
        entries = self.git.entries(commit, *paths)
        if self._staged(paths) == entries:
            return
        none = ("0", "0" * len(commit))
        lines = index_lines({path: entries.get(path, none) for path in paths})
        with self._index_lock():
            new = self._directory / "next"
            shutil.copy2(self._own / "index", new)
            environment = {"GIT_INDEX_FILE": str(new)}
            self.git.output("update-index", "-z", "--index-info", stdin=lines, environment=environment)
            self.git.run("update-index", "-q", "--refresh", environment=environment)
            new.replace(self._own / "index")

    def _added_by_hooks(self, journal: Journal, commit: str) -> list[str]:
        """Other paths that a hook has put into the commit; what the user has staged otherwise stays as it is."""
        if commit == journal.old or journal.old is None:
            return []
        out = self.git.output("diff-tree", "-r", "-z", "--no-renames", "--name-only", journal.old, commit)
        others = [os.fsdecode(path) for path in out.split(b"\0") if path and os.fsdecode(path) not in journal.files]
        if not others:
            return []
        before, staged = self.git.entries(journal.old, *others), self._staged(others)
        return [path for path in others if staged.get(path) == before.get(path)]

    def _staged(self, paths: Iterable[str]) -> Mapping[str, tuple[str, str]]:
        out = self.git.output("ls-files", "--stage", "-z", "--", *paths)
        found = {}
        for entry in out.split(b"\0")[:-1]:
            about, _, path = entry.partition(b"\t")
            mode, blob, _ = about.decode("ascii").split()
            found[os.fsdecode(path)] = (mode, blob)
        return found

    @contextmanager
    def _index_lock(self) -> Generator[None]:
        """Hold git's own lock of the index. It is a link to a file of ours: after a kill we know it for ours."""
        lock, ours = self._own / "index.lock", self._directory / "ours"
        ours.touch()
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                self._link(lock, ours)
                break
            except FileExistsError:
                if time.monotonic() > end:
                    raise Refused(
                        f"{lock} is there: another git is at work, or one was killed. When none is, delete it and run "
                        "this again."
                    ) from None
                time.sleep(0.02)
        try:
            yield
        finally:
            lock.unlink()

    def _remove_index_lock(self) -> None:
        lock, ours = self._own / "index.lock", self._directory / "ours"
        if lock.exists() and ours.exists() and lock.samefile(ours):
            lock.unlink()

    def _link(self, lock: Path, ours: Path) -> None:
        try:
            lock.hardlink_to(ours)
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
