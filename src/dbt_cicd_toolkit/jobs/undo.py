"""The way back: what a command that failed, or was killed, has changed is undone, or finished where only the end was
missing. Each step can be done again, for this may be killed, too."""

from __future__ import annotations

import os
import shutil
import time
from functools import cached_property
from pathlib import Path

from dbt_cicd_toolkit.errors import Refused
from dbt_cicd_toolkit.files import unfinished, write_atomically
from dbt_cicd_toolkit.git import Git
from dbt_cicd_toolkit.jobs import committed
from dbt_cicd_toolkit.jobs import journal as journals
from dbt_cicd_toolkit.jobs.index import Index
from dbt_cicd_toolkit.jobs.journal import Journal
from dbt_cicd_toolkit.jobs.manifest import content_hash
from dbt_cicd_toolkit.jobs.project import Project

# A hook of the user's has its say when the commit is made, not when it is taken back.
_NO_HOOKS = ("-c", f"core.hooksPath={os.devnull}")


class Undo:
    """Undoes what a journal tells of."""

    def __init__(self, project: Project, git: Git) -> None:
        self.project = project
        self.git = git

    @cached_property
    def index(self) -> Index:
        """The user's."""
        return Index(self.git)

    @property
    def _directory(self) -> Path:
        return self.index.directory

    def recover(self) -> str | None:
        """Finish or undo what a killed command left; what to tell the user."""
        journal = journals.read(self._directory)
        if journal is None:
            return None
        self.index.remove_lock()
        if journal.worktree:
            self.undo(journal)
            return f"what the interrupted {journal.what} left was removed."
        self._remove_ref_locks(journal)
        if journal.branch is None:
            if changed := self._changed_since(journal):
                shutil.rmtree(self._directory)
                said = f"the {journal.what} was interrupted, and {changed} since: all is left as it is."
                return f"{said} Look at `git status`."
            self.undo(journal)
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
            self.index.set(journal, tip)
            journals.end(self._directory)
            for path in journal.files:
                if not (self.project.root / path).exists():
                    journals.drop_empty(self.project, (self.project.root / path).parent)
            return f"the interrupted {journal.what} was finished."
        self.undo(journal)
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
        locks = [self.index.own / "HEAD.lock", common / "packed-refs.lock"]
        locks += [common / f"refs/heads/{journal.branch}.lock"] if journal.branch else []
        locks += [common / f"refs/tags/{journal.tag}.lock"] if journal.tag else []
        there = {lock: (lock.stat().st_ino, lock.stat().st_mtime_ns) for lock in locks if lock.exists()}
        if not there:
            return
        time.sleep(journals.PATIENCE)
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
            return not committed.changed(self.project, self.git, journal, tip)
        except Refused:
            return False

    def undo(self, journal: Journal) -> None:
        """Each step can be done again: this too may be killed."""
        if journal.branch:
            (self._directory / "index").unlink(missing_ok=True)  # a full disk needs the space
            self._undo_refs(journal)
            self.index.set(journal, str(journal.old))
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
            journals.drop_empty(self.project, self.project.root / each)
        journals.end(self._directory)

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
