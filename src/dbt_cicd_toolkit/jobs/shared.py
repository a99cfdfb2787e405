"""Code that frozen versions share: what each release reached of it, and whether that is as it was."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from dbt_cicd_toolkit.errors import InvalidInput
from dbt_cicd_toolkit.jobs.findings import Finding
from dbt_cicd_toolkit.jobs.manifest import Manifest, content_hash
from dbt_cicd_toolkit.jobs.number import Number
from dbt_cicd_toolkit.jobs.project import Project
from dbt_cicd_toolkit.jobs.reach import Modules, modules
from dbt_cicd_toolkit.jobs.trees import working_tree

# What an acceptance records of a module that is no more.
GONE = "gone"


def reached(project: Project, version: Number) -> dict[str, str]:
    """The repository's other modules that the jobs of a folder reach, at once or through others: {module: hash}.

    The packages around the folder count, for Python runs their __init__.py first. Data files do not: no import says
    who reads them. Raises InvalidInput for a module that is no Python.
    """
    found = modules(project, working_tree(project))
    shared = paths(found, [project.path(each) for each in project.files(version)])
    if found.broken:
        raise InvalidInput("\n".join(found.broken.values()))
    return hashes(found, shared)


def paths(found: Modules, starts: Iterable[str]) -> list[str]:
    """The files that these reach, outside of the version folders."""
    starts = {path for path in starts if path.endswith(".py")}
    return [
        path
        for path in found.reached(starts, lambda path: found.folder(path) is None or path in starts)
        if found.folder(path) is None
    ]


def hashes(found: Modules, files: Iterable[str]) -> dict[str, str]:
    """{module: content_hash()}, sorted."""
    contents: Mapping[str, bytes | None] = {found.module(path): found.tree.read(path) for path in files}
    return {name: content_hash(content) for name, content in sorted(contents.items()) if content is not None}


def findings(
    project: Project, found: Modules, recorded: Mapping[Number, Manifest], folders: Mapping[str, Sequence[str]]
) -> list[Finding]:
    """Shared modules that are not as a frozen version reached them, and that nobody accepted so.

    Args:
        found: the modules of the working tree.
        recorded: the releases.
        folders: {'v0_1_0': the Python files in it}.
    """
    accepted = {each.module: each.hash for each in project.settings.accepted}  # the last one of a module counts
    changed: dict[tuple[str, str], list[Number]] = {}
    for version, manifest in recorded.items():
        files = folders.get(version.folder)
        if not files:
            continue
        now = hashes(found, paths(found, files))
        for module in sorted({*now, *manifest.shared}):
            said = _changed(found, module, manifest.shared.get(module), now.get(module))
            if said and accepted.get(module) != _hash(found, module):
                changed.setdefault((module, said), []).append(version)
    return [
        Finding(
            "differs",
            "shared",
            f"{module} {said}, under the frozen {', '.join(map(str, versions))}. Put it back and make the change in a "
            f"new module, or record that it does no harm: dbt-cicd job accept {module} --reason TEXT.",
        )
        for (module, said), versions in sorted(changed.items())
    ]


def _changed(found: Modules, module: str, before: str | None, now: str | None) -> str | None:
    if before == now:
        return None
    if before is None:
        return "was not reached when it was released and is now"
    if now is not None:
        return f"has changed ({before[:12]} when it was released, {now[:12]} here)"
    # Not reached any more: because the jobs that did so were removed, or because it is gone itself.
    return None if found.path(module) else "is missing"


def _hash(found: Modules, module: str) -> str | None:
    path = found.path(module)
    content = found.tree.read(path) if path else None
    return GONE if content is None else content_hash(content)
