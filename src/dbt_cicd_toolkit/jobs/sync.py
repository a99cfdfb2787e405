"""Bring a release of a maintenance line to main: its folder, manifest and notes, nothing else."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from dbt_cicd_toolkit.errors import Differs, InvalidInput, Refused
from dbt_cicd_toolkit.git import Git
from dbt_cicd_toolkit.jobs import manifest, state
from dbt_cicd_toolkit.jobs.backport import TRAILER
from dbt_cicd_toolkit.jobs.manifest import Manifest, content_hash
from dbt_cicd_toolkit.jobs.number import Number
from dbt_cicd_toolkit.jobs.project import Project, nearest
from dbt_cicd_toolkit.jobs.writer import Commit, exclusive


@dataclass(frozen=True)
class Synced:
    """What was added.

    Attributes:
        commit: None in a dry run.
        shared: modules that the release was made with in another form than they have here.
        may_lack: (job, version) that are newer and may lack what the release fixed.
    """

    version: Number
    branch: str
    files: list[str]
    commit: str | None
    shared: list[str]
    may_lack: list[tuple[str, Number]]

    def hints(self) -> list[str]:
        """What to look at."""
        found = [
            f"shared module {module} is not as it was when {self.version} was released: look whether that matters, "
            f"then `dbt-cicd job accept {module} --reason …`"
            for module in self.shared
        ]
        return found + [f"{job} {version} is newer and may lack the fix" for job, version in self.may_lack]

    def value(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "version": str(self.version),
            "branch": self.branch,
            "commit": self.commit,
            "files": self.files,
            "shared_differs": self.shared,
            "may_lack": [{"job": job, "version": str(version)} for job, version in self.may_lack],
        }


def sync(project: Project, version: Number, message: str | None = None, *, dry_run: bool = False) -> Synced:
    """Add a release to the branch that is checked out, by one commit.

    Raises:
        InvalidInput: no such release.
        Refused: it is here already, the state of the repository does not allow it, or git or a hook refused.
        Differs: its tag holds something else than was released.
    """
    with exclusive(project, dry_run=dry_run) as writer:
        git = writer.git
        line = _ready(project)
        made = _released(git, version)
        if version in project.manifests():
            raise Refused(f"{version} is on {line.branch} already (releases/{version}.json).")
        entries = _entries(project, git, made)
        there = [path for path in entries if (project.root / path).exists()]
        if there:
            raise Refused(f"{state.some(there)} is there already, but not released. Move it away, then run this again.")
        hints = _differing(project, made), _may_lack(project, git, made)
        how = Commit(
            message or f"Sync {version}\n\nReleased on its maintenance line as {version.tag}.", entries=entries
        )
        commit = None if dry_run else writer.commit(f"sync of {version}", {}, how)
    return Synced(version, line.branch, sorted(entries), commit, *hints)


def _ready(project: Project) -> state.Line:
    git = project.git
    state.refuse_shallow(git)
    state.checked_out(git)
    state.refuse_unfinished(git)
    line = state.line(project)
    if line.base:
        raise Refused(
            f"{line.branch} is of the maintenance line {line.base}; releases are synced to {line.main or 'main'}. "
            f"`git switch {line.main or 'main'}`, then run this again."
        )
    state.refuse_dirty(project)
    return line


def _released(git: Git, version: Number) -> Manifest:
    tags = state.released_tags(git)
    if version not in tags:
        known = nearest(str(version), [str(each) for each in tags]) if tags else "Nothing was released yet."
        raise InvalidInput(f"there is no release {version} (no tag {version.tag}). {known} `git fetch --tags`?")
    path = f"releases/{version}.json"
    content = git.content(f"refs/tags/{version.tag}", path)
    if content is None:
        raise InvalidInput(f"{version.tag} is no release of jobs: it has no {path}.")
    return manifest.parse(content, path)


def _entries(project: Project, git: Git, made: Manifest) -> dict[str, tuple[str, str]]:
    """What the release is made of, as its tag has it."""
    folder = project.path(project.folder(made.version))
    found = git.entries(
        f"refs/tags/{made.version.tag}", folder, f"releases/{made.version}.json", f"releases/{made.version}.md"
    )
    contents = git.contents(blob for _, blob in found.values())
    hashes = {path: content_hash(contents[blob]) for path, (_, blob) in found.items() if path.startswith(f"{folder}/")}
    wrong = sorted(path for path in {**hashes, **made.files} if hashes.get(path) != made.files.get(path))
    if wrong:
        raise Differs(
            f"{wrong[0]} at {made.version.tag} is not what releases/{made.version}.json froze: "
            f"{hashes.get(wrong[0], 'missing')} instead of {made.files.get(wrong[0], 'missing')}. "
            f"`git log {made.version.tag}` says who moved the tag."
        )
    return found


def _differing(project: Project, made: Manifest) -> list[str]:
    from dbt_cicd_toolkit.jobs.reach import modules
    from dbt_cicd_toolkit.jobs.trees import working_tree

    found = modules(project, working_tree(project))
    accepted = {(each.module, each.hash) for each in project.settings.accepted}
    differing = []
    for module, wanted in made.shared.items():
        path = found.path(module)
        content = found.tree.read(path) if path else None
        now = content_hash(content) if content is not None else ""
        if now != wanted and (module, now) not in accepted:
            differing.append(module)
    return differing


def _may_lack(project: Project, git: Git, made: Manifest) -> list[tuple[str, Number]]:
    """Newer versions of the release's jobs, but for those that have all the commits which it was backported from."""
    fixes = _backported(git, project.path(project.folder(made.version)), made)
    known = set(project.names())
    found = []
    for job in sorted(set(made.jobs) & known):
        for version in project.versions_of(job):
            at = version.tag if version in project.manifests() else "HEAD"
            if version > made.version and not (fixes and all(git.is_ancestor(fix, at) for fix in fixes)):
                found.append((job, version))
    return found


def _backported(git: Git, folder: str, made: Manifest) -> list[str]:
    """The commits that all of the release's own come from; none, when one of them comes from nowhere."""
    if made.previous is None:
        return []
    form = f"--format=%(trailers:key={TRAILER},valueonly,separator=%x20)"
    own = git.output("log", "-z", form, f"{made.previous.tag}..{made.version.tag}", "--", folder)
    sources = [os.fsdecode(each).split() for each in own.split(b"\0")[:-1]]
    if not all(sources) or not all(git.commit(fix) for each in sources for fix in each):
        return []
    return sorted({fix for each in sources for fix in each})
