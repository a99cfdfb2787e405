"""The user's index: it is changed in our paths only, under git's own lock."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path

from dbt_cicd_toolkit.errors import Refused
from dbt_cicd_toolkit.git import Git
from dbt_cicd_toolkit.jobs import journal as journals
from dbt_cicd_toolkit.jobs.journal import Journal


def index_lines(entries: Mapping[str, tuple[str, str]]) -> bytes:
    """{path: (mode, blob)} as `git update-index -z --index-info` reads it; mode 0 takes a path out."""
    return b"".join(
        f"{mode} {blob}\t".encode("ascii") + os.fsencode(path) + b"\0" for path, (mode, blob) in entries.items()
    )


class Index:
    """The index of a working tree."""

    def __init__(self, git: Git) -> None:
        self.git = git
        self.own = git.own_directory()
        self.directory = self.own / journals.DIRECTORY

    def set(self, journal: Journal, commit: str) -> None:
        """Let the user's index have our paths as a commit has them, and leave all else in it alone."""
        paths = [*journal.files, *self._added_by_hooks(journal, commit)]
        entries = self.git.entries(commit, *paths)
        if self._staged(paths) == entries:
            return
        none = ("0", "0" * len(commit))
        lines = index_lines({path: entries.get(path, none) for path in paths})
        with self._lock():
            new = self.directory / "next"
            shutil.copy2(self.own / "index", new)
            environment = {"GIT_INDEX_FILE": str(new)}
            self.git.output("update-index", "-z", "--index-info", stdin=lines, environment=environment)
            self.git.run("update-index", "-q", "--refresh", environment=environment)
            new.replace(self.own / "index")

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
    def _lock(self) -> Generator[None]:
        """Hold git's own lock of the index. It is a link to a file of ours: after a kill we know it for ours."""
        lock, ours = self.own / "index.lock", self.directory / "ours"
        ours.touch()
        end = time.monotonic() + journals.PATIENCE
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

    def remove_lock(self) -> None:
        """Remove one that a killed command of ours left."""
        lock, ours = self.own / "index.lock", self.directory / "ours"
        if lock.exists() and ours.exists() and lock.samefile(ours):
            lock.unlink()

    def _link(self, lock: Path, ours: Path) -> None:
        try:
            lock.hardlink_to(ours)
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
