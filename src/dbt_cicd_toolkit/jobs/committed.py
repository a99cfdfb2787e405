"""Is a commit what was to be committed? Hooks may add to it, but not change what was checked."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from dbt_cicd_toolkit.git import Git
from dbt_cicd_toolkit.jobs.journal import Journal
from dbt_cicd_toolkit.jobs.manifest import content_hash, parse
from dbt_cicd_toolkit.jobs.project import Project

# Those that have a say in a commit or see it made, in the order that git runs them.
_HOOKS = ("pre-commit", "prepare-commit-msg", "commit-msg", "reference-transaction", "post-commit")


def changed(project: Project, git: Git, journal: Journal, made: str) -> list[str]:
    """The paths that are not in a commit as the journal says, by a hook's doing."""
    blobs = _differing(git, str(journal.old), made)
    wrong = [path for path in blobs if path.startswith(f"{journal.frozen}/") and path not in journal.files]
    wrong += [path for path, blob in journal.blobs.items() if blobs.get(path) != blob]
    contents = git.contents(blobs[path] for path in journal.hashes if path in blobs)
    wrong += [
        path
        for path, wanted in journal.hashes.items()
        if content_hash(contents.get(blobs.get(path, ""), b"")) != wanted
    ]
    if journal.manifest and not wrong:
        others = [path for path in blobs if path not in journal.files]
        wrong += _not_in_manifest(project, git, journal.manifest, made, others)
    return wrong


def _differing(git: Git, old: str, made: str) -> Mapping[str, str]:
    """{path: blob} of what two commits have not alike; a path that is gone has a blob of zeros."""
    out = git.output("diff-tree", "-r", "-z", "--no-renames", "--raw", old, made)
    parts = out.split(b"\0")[:-1]
    return {
        os.fsdecode(path): about.split()[3].decode("ascii") for about, path in zip(parts[::2], parts[1::2], strict=True)
    }


def _not_in_manifest(project: Project, git: Git, path: str, made: str, others: Iterable[str]) -> list[str]:
    """Which of these files are shared modules that a commit has otherwise than its manifest says: changed, gone, or
    reached now where they were not before."""
    from dbt_cicd_toolkit.jobs import shared
    from dbt_cicd_toolkit.jobs.reach import modules
    from dbt_cicd_toolkit.jobs.trees import Branch

    others = list(others)
    if not others:
        return []
    said = parse(git.content(made, path) or b"", path)
    found = modules(project, Branch(git, made, made))
    now = shared.hashes(found, shared.paths(found, said.files))
    names = {each: found.module(each) for each in others}
    return [each for each, name in names.items() if now.get(name) != said.shared.get(name)]


def hooks(git: Git) -> str:
    """'the hook pre-commit', or what else may have changed a commit."""
    folder = git.directory / git.text("rev-parse", "--git-path", "hooks")
    there = [name for name in _HOOKS if os.access(folder / name, os.X_OK)]
    if len(there) == 1:
        return f"the hook {there[0]}"
    return f"a hook ({', '.join(there)})" if there else "a hook"
