"""The one place that starts git."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dbt_cicd_toolkit.errors import Refused

# What git leaves in its directory while something is unfinished, and how people call it.
_UNFINISHED = {
    "MERGE_HEAD": "a merge",
    "rebase-merge": "a rebase",
    "rebase-apply": "a rebase or `git am`",
    "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
    "BISECT_LOG": "a bisection",
}
# What a user may have set for his own eyes, or for submodules, and what we read would be something else by.
_PLAIN = [
    part
    for setting in (
        "core.quotePath=off",
        "log.showSignature=false",
        "color.ui=false",
        "color.grep=false",
        "color.branch=false",
        "column.ui=never",
        "submodule.recurse=false",
        "grep.fallbackToNoIndex=false",
    )
    for part in ("-c", setting)
]


def head(directory: Path) -> str | None:
    """Return the commit that ``directory`` is at, 40 hex digits; None outside a repository, before its first commit,
    or without git."""
    if shutil.which("git") is None:
        return None
    return Git(directory).commit("HEAD")


@dataclass(frozen=True)
class Tag:
    """A tag: ``own`` is its object (the commit, of a lightweight one), ``commit`` where it stands."""

    own: str
    commit: str


@dataclass(frozen=True)
class Git:
    """A working tree. Commands run with the user's own configuration, hooks and signing.

    Attributes:
        directory: in the working tree.
        inherited: descriptors that git and its hooks keep open: a lock is held until the last of them has ended, even
            if this process is killed.
    """

    directory: Path
    inherited: tuple[int, ...] = ()

    def run(
        self, *arguments: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command, whatever it ends with. Raises Refused when git is not installed."""
        # The messages are read by people only, but of some commands also by us: English. No pager, no question.
        # `git status` need not write what it found out into the index: killed at that, it leaves a lock.
        variables = os.environ | {
            "LC_ALL": "C.UTF-8",
            "GIT_PAGER": "cat",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_OPTIONAL_LOCKS": "0",
        }
        try:
            return subprocess.run(
                ["git", *_PLAIN, *arguments],
                cwd=self.directory,
                input=stdin,
                capture_output=True,
                env=variables | dict(environment or {}),
                pass_fds=self.inherited,
            )
        except FileNotFoundError as error:
            raise Refused("git is not installed, or not on PATH.") from error

    def output(self, *arguments: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None) -> bytes:
        """What a command printed. Raises Refused, with what git said, when it failed."""
        done = self.run(*arguments, stdin=stdin, environment=environment)
        if done.returncode:
            said = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
            raise Refused(f"`git {' '.join(arguments)}` failed: {said}")
        return done.stdout

    def text(self, *arguments: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None) -> str:
        """The same as text, without the line end at its end. Bytes that are not UTF-8 come as surrogates."""
        out = self.output(*arguments, stdin=stdin, environment=environment)
        return out.decode("utf-8", "surrogateescape").rstrip("\n")

    def commit(self, name: str) -> str | None:
        """The commit that a branch, tag or expression leads to, 40 hex digits; None when there is none."""
        done = self.run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        return done.stdout.decode("ascii").strip() if done.returncode == 0 else None

    def top(self) -> Path | None:
        """The directory of the working tree; None outside a repository."""
        done = self.run("rev-parse", "--show-toplevel")
        return Path(os.fsdecode(done.stdout.rstrip(b"\n"))) if done.returncode == 0 else None

    def own_directory(self) -> Path:
        """The git directory of this working tree; every `git worktree` has its own."""
        return Path(self.text("rev-parse", "--absolute-git-dir"))

    def common_directory(self) -> Path:
        """The git directory that all working trees share."""
        return (self.directory / self.text("rev-parse", "--git-common-dir")).resolve()

    def branch(self) -> str | None:
        """The branch that is checked out; None for a detached HEAD."""
        done = self.run("symbolic-ref", "--quiet", "--short", "HEAD")
        return done.stdout.decode("utf-8").strip() if done.returncode == 0 else None

    def branches(self) -> dict[str, str]:
        """{branch: commit}, local ones."""
        return self._refs("refs/heads/")

    def remote_branches(self) -> dict[str, str]:
        """{branch: commit} of the remotes, as this clone last saw them: 'origin/main'."""
        return {name: commit for name, commit in self._refs("refs/remotes/").items() if not name.endswith("/HEAD")}

    def every_branch(self) -> dict[str, str]:
        """{branch: commit}, those of the remotes too, by the name they have there; a local one hides theirs."""
        remote = {name.partition("/")[2]: commit for name, commit in self.remote_branches().items()}
        return remote | self.branches()

    def tags(self) -> dict[str, str]:
        """{tag: the commit it stands at}."""
        return self._refs("refs/tags/")

    def tag(self, name: str) -> Tag:
        """A tag that is there."""
        own, commit = self.text("rev-parse", f"refs/tags/{name}", f"refs/tags/{name}^{{commit}}").split()
        return Tag(own, commit)

    def remote_tag(self, remote: str, name: str) -> Tag | None:
        """The same of a remote, which is asked; None when it has none, or cannot be asked."""
        ref = f"refs/tags/{name}"
        done = self.run("ls-remote", "--", remote, ref, f"{ref}^{{}}")
        if done.returncode:
            return None
        lines = (line.split("\t") for line in done.stdout.decode("utf-8", "replace").splitlines())
        found = {where: what for what, where in lines}
        return Tag(found[ref], found.get(f"{ref}^{{}}", found[ref])) if ref in found else None

    def merged_tags(self, commit: str) -> list[str]:
        """The tags in the history of a commit."""
        return list(self._refs("refs/tags/", f"--merged={commit}"))

    def hidden(self) -> list[str]:
        """Paths that git was told not to look at (sparse checkout, skip-worktree, assume-unchanged)."""
        entries = self.output("ls-files", "-v", "-z").split(b"\0")
        return [os.fsdecode(entry[2:]) for entry in entries if entry and (entry[:1] == b"S" or entry[:1].islower())]

    def _refs(self, below: str, *options: str) -> dict[str, str]:
        form = "--format=%(objectname) %(*objectname) %(refname)"
        lines = self.text("for-each-ref", form, *options, below).splitlines()
        found = {}
        for line in lines:
            own, peeled, name = line.split(" ", 2)
            found[name.removeprefix(below)] = peeled or own
        return found

    def dirty(self, *paths: str) -> list[str]:
        """Paths, from the top of the working tree, that differ from HEAD or are untracked; below ``paths``, if told."""
        return list(self.status(*paths))

    def status(self, *paths: str) -> dict[str, str]:
        """{path: the two letters of `git status --short`} of the same; '??' is untracked."""
        out = self.output("status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames", "--", *paths)
        return {os.fsdecode(entry[3:]): entry[:2].decode("ascii") for entry in out.split(b"\0") if entry}

    def unfinished(self) -> str | None:
        """'a merge', 'a rebase' … that is in progress."""
        own = self.own_directory()
        return next((said for name, said in _UNFINISHED.items() if (own / name).exists()), None)

    def is_shallow(self) -> bool:
        """Is a part of the history missing?"""
        return self.text("rev-parse", "--is-shallow-repository") == "true"

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Does ``newer`` have ``older`` in its history?"""
        return self.run("merge-base", "--is-ancestor", older, newer).returncode == 0

    def files(self, commit: str, *paths: str) -> dict[str, str]:
        """{path from the top: blob} of a commit, below ``paths``."""
        return {path: blob for path, (_, blob) in self.entries(commit, *paths).items()}

    def entries(self, commit: str, *paths: str) -> dict[str, tuple[str, str]]:
        """{path from the top: (mode, blob)} of a commit, below ``paths``."""
        out = self.output("ls-tree", "-r", "-z", "--full-tree", commit, "--", *paths)
        found = {}
        for entry in out.split(b"\0"):
            if entry:
                kind, _, path = entry.partition(b"\t")
                mode, _, blob = kind.decode("ascii").split()
                found[os.fsdecode(path)] = (mode, blob)
        return found

    def content(self, commit: str, path: str) -> bytes | None:
        """A file as a commit has it; None when it has none."""
        done = self.run("cat-file", "blob", f"{commit}:{path}")
        return done.stdout if done.returncode == 0 else None

    def contents(self, blobs: Iterable[str]) -> dict[str, bytes]:
        """{blob: its bytes}, all by one process. What is no blob is left out."""
        wanted = list(dict.fromkeys(blobs))
        if not wanted:
            return {}
        out = self.output("cat-file", "--batch", stdin="".join(f"{each}\n" for each in wanted).encode())
        found: dict[str, bytes] = {}
        at = 0
        for each in wanted:
            end = out.index(b"\n", at)
            said = out[at:end].split()
            at = end + 1
            if said[-1] == b"missing":
                continue
            size = int(said[2])
            if said[1] == b"blob":
                found[each] = out[at : at + size]
            at += size + 1
        return found
