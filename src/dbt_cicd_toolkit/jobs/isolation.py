"""A version of a job must not reach the code of another version, however: released would then not mean fixed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from dbt_cicd_toolkit.jobs.findings import Finding
from dbt_cicd_toolkit.jobs.reach import Modules, chain

if TYPE_CHECKING:
    from grimp import ImportGraph

_RULE = (
    "A version stands alone: copy what it needs into its folder, or move that into a module outside of every version."
)


def findings(found: Modules, folders: Mapping[str, Sequence[str]]) -> list[Finding]:
    """Where versions reach others, resolve some, or import what cannot be read.

    Args:
        found: the modules of the working tree.
        folders: {'v0_1_0': the Python files in it}.
    """
    starts = [path for files in folders.values() for path in files]
    reached = found.reached(starts)
    graph: list[ImportGraph] = []

    def lazy_graph() -> ImportGraph:
        if not graph:
            graph.append(found.graph(reached))
        return graph[0]

    result = []
    for (folder, _, _), ways in _ways(found, folders).items():
        start, end = min(ways, key=lambda way: ([path.endswith("__init__.py") for path in way], way))
        steps = chain(found, lazy_graph(), start, end)
        said = " → ".join(f"{path}:{line}" for path, line in steps[:-1]) + f" → {end}"
        others = len({way[0] for way in ways}) - 1
        more = f" {others} more of {folder} do so this way." if others else ""
        result.append(
            Finding("refused", "isolation", f"{found.module(start)} reaches {found.module(end)}: {said}.{more} {_RULE}")
        )
    return result + _resolved(found, reached) + _unknown(found, reached)


def _ways(found: Modules, folders: Mapping[str, Sequence[str]]) -> dict[tuple[str, str, str], list[tuple[str, str]]]:
    """{(folder, other folder, the shared module between, or ''): (file, file of the other) pairs}."""

    @cache
    def behind(path: str) -> frozenset[str]:
        """The files of versions that a shared module leads to."""
        through = found.reached([path], lambda each: found.folder(each) is None)
        return frozenset(step.path for each in through for step in found.steps(each) if found.folder(step.path))

    ways: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
    for folder, files in folders.items():
        for path in files:
            for step in found.steps(path):
                own = found.folder(step.path)
                targets: Iterable[str] = [step.path] if own else behind(step.path)
                for target in targets:
                    other = found.folder(target)
                    if other and other != folder:
                        ways.setdefault((folder, other, "" if own else step.path), []).append((path, target))
    return ways


def _resolved(found: Modules, reached: Iterable[str]) -> list[Finding]:
    return [
        Finding(
            "refused",
            "isolation",
            f"{path}:{pin.line}: {pin.text} in the code of a job: what it runs would change with jobs.lock. {_RULE}",
        )
        for path in sorted(reached)
        for pin in found.source(path).pins
    ]


def _unknown(found: Modules, reached: Iterable[str]) -> list[Finding]:
    return [
        Finding(
            "unknown",
            "isolation",
            f"{path}:{each.line}: {each.text} cannot be read without running it: it may reach another version. "
            "Import by a literal name.",
        )
        for path in sorted(reached)
        for each in found.source(path).unknown
    ]
