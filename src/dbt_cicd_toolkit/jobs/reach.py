"""Which files of a repository the code in others reaches. Read, never imported."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

from dbt_cicd_toolkit.errors import InvalidInput
from dbt_cicd_toolkit.jobs import imports
from dbt_cicd_toolkit.jobs.named import named
from dbt_cicd_toolkit.jobs.project import Project
from dbt_cicd_toolkit.jobs.trees import Tree
from dbt_cicd_toolkit.jobs.usage import Source, Unknown, Use

if TYPE_CHECKING:
    from grimp import ImportGraph

# Besides the top of the repository: what Airflow has on its path, and where packages often are.
_ROOTS = ("plugins", "src")


@dataclass(frozen=True)
class Step:
    """That one file reaches another. ``use`` is None for a package's __init__.py, which runs before its modules."""

    path: str
    use: Use | None


class Modules:
    """The Python files of a tree and what they reach; each is read once.

    A module is known by its path. What messages and manifests call it, module(), is that path with dots.
    """

    def __init__(self, tree: Tree, jobs: str, roots: Iterable[str] = (), known: dict[object, Source] | None = None):
        self.tree = tree
        self.jobs = jobs
        self.jobs_path = jobs.replace(".", "/")
        self.roots = ("", *(f"{root.strip('/')}/" for root in dict.fromkeys([*roots, *_ROOTS])))
        # What could not be read: {path: message}.
        self.broken: dict[str, str] = {}
        self._known = {} if known is None else known
        self._sources: dict[str, Source] = {}
        self._steps: dict[str, list[Step]] = {}
        self._targets: dict[str, str | None] = {}

    def module(self, path: str) -> str:
        """'dwh.common' of dwh/common.py."""
        return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    def path(self, module: str) -> str | None:
        """The file of a module, by the name that module() gives."""
        start = module.replace(".", "/")
        return next((each for each in (f"{start}/__init__.py", f"{start}.py") if self.tree.has(each)), None)

    def source(self, path: str) -> Source:
        """What a file says; of one that cannot be read nothing, and a message in ``broken``."""
        if path not in self._sources:
            self._sources[path] = self._of_folders(path, self._read(path))
        return self._sources[path]

    def _of_folders(self, path: str, source: Source) -> Source:
        """Without what is unknown for a folder's name alone, where there is no such folder, or it is the file's own."""
        if not any(each.folders for each in source.unknown):
            return source
        others = self._folders - {self.folder(path) or ""}
        kept = tuple(each for each in source.unknown if not each.folders or others.intersection(each.folders))
        return replace(source, unknown=kept)

    @cached_property
    def _folders(self) -> frozenset[str]:
        start = len(self.jobs_path) + 1
        return frozenset(path[start:].partition("/")[0] for path in self.tree.below([self.jobs_path]))

    def _read(self, path: str) -> Source:
        content = self.tree.read(path) or b""
        key = (path, content)
        if key in self._known:
            return self._known[key]
        try:
            if not path.endswith(".py"):
                if is_archive(path, content):
                    return Source(unknown=(Unknown(1, "what is in this archive"),))
                if b"\0" in content:  # a picture
                    return Source()
                return imports.read_text(content.decode("utf-8", "replace"), self.jobs)
            is_package = path.endswith("__init__.py")
            found = imports.read(content, self.tree.where(path), self.module(path), is_package, self.jobs)
        except InvalidInput as error:
            self.broken[path] = str(error)
            return Source()
        self._known[key] = found
        return found

    def folder(self, path: str) -> str | None:
        """'v0_1_0' of a file in that folder."""
        if not path.startswith(f"{self.jobs_path}/"):
            return None
        found = named(self.module(path), self.jobs)
        return found.version.folder if found else None

    def steps(self, path: str) -> list[Step]:
        """The files that a file reaches at once; of versions also such as are not there."""
        if path not in self._steps:
            self._steps[path] = self._find_steps(path)
        return self._steps[path]

    def _find_steps(self, path: str) -> list[Step]:
        found = [Step(each, None) for each in self._parents(path)]
        for use in self.source(path).uses:
            if use.typing:
                continue
            if use.how == "string":
                targets = [self._version_path(use.name)]
            else:
                target = self.target(use.name) or self._version_path(use.name)
                targets = [target, *(self._parents(target) if target else ())]
            found += [Step(each, use) for each in targets if each and each != path]
        return found

    def target(self, name: str) -> str | None:
        """The file that importing a name runs last; None for what is not in this repository."""
        if name not in self._targets:
            self._targets[name] = self._find_target(name)
        return self._targets[name]

    def _find_target(self, name: str) -> str | None:
        parts = name.split(".")
        for root in self.roots:
            for end in range(len(parts), 0, -1):
                start = root + "/".join(parts[:end])
                for each in (f"{start}.py", f"{start}/__init__.py"):
                    if self.tree.has(each):
                        return each
        return None

    def _version_path(self, name: str) -> str | None:
        found = named(name, self.jobs)
        if not found:
            return None
        folder = f"{self.jobs_path}/{found.version.folder}"
        return f"{folder}/{found.job}.py" if found.job else f"{folder}/__init__.py"

    def _parents(self, path: str) -> list[str]:
        parts = path.split("/")[:-1]
        found = ("/".join([*parts[:end], "__init__.py"]) for end in range(1, len(parts) + 1))
        return [each for each in found if each != path and self.tree.has(each)]

    def reached(self, starts: Iterable[str], into: Callable[[str], bool] = lambda _: True) -> dict[str, str | None]:
        """{path: the path that led to it, None for a start}, nearest first. ``into`` says what is gone through: what
        it denies is not in the result."""
        found: dict[str, str | None] = dict.fromkeys(starts)
        level = list(found)
        while level:
            self.tree.load(level)
            behind = []
            for path in level:
                for step in self.steps(path):
                    if step.path not in found and into(step.path):
                        found[step.path] = path
                        behind.append(step.path)
            level = behind
        return found

    def line(self, importer: str, imported: str) -> int:
        """Where a file first reaches another one; 1 for its package's __init__.py."""
        return next((step.use.line for step in self.steps(importer) if step.path == imported and step.use), 1)

    def graph(self, paths: Iterable[str]) -> ImportGraph:
        """These files and what they reach as grimp's graph. (grimp's own reading stops at the first syntax error,
        imports the parents of a nested package, and knows neither texts nor import_module.)"""
        from grimp import ImportGraph

        graph = ImportGraph()
        for path in paths:
            graph.add_module(path)
        for path in paths:
            for step in self.steps(path):
                graph.add_import(
                    importer=path,
                    imported=step.path,
                    line_number=self.line(path, step.path),
                    line_contents=step.use.name if step.use else "",
                )
        return graph

    def cycles(self, paths: Iterable[str]) -> list[list[str]]:
        """Import cycles among these files, one per way that must be cut; imports in functions make none."""
        from graphlib import CycleError, TopologicalSorter

        edges = {path: self._runs(path) for path in paths}
        found: list[list[str]] = []
        while True:
            try:
                TopologicalSorter(edges).prepare()
                return sorted(found)
            except CycleError as error:
                # Predecessors first: what is named behind a module imports it.
                cycle = list(reversed(error.args[1]))[:-1]
                first = cycle.index(min(cycle))
                cycle = cycle[first:] + cycle[:first]
                found.append(cycle)
                edges[cycle[-1]] -= {cycle[0]}

    def _runs(self, path: str) -> set[str]:
        """What a file imports while it is itself imported."""
        return {
            target
            for use in self.source(path).uses
            if use.how == "import" and not use.lazy and not use.typing
            if (target := self.target(use.name)) and target != path
        }


def is_archive(path: str, content: bytes) -> bool:
    """Is it a zip file that Airflow looks for DAGs in? It does so whatever the file is called."""
    if path.endswith(".zip"):
        return True
    if not content.startswith(b"PK"):
        return False
    import io
    import zipfile

    try:
        names = zipfile.ZipFile(io.BytesIO(content)).namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return False
    return any(name.endswith((".py", ".pyc")) for name in names)


def modules(project: Project, tree: Tree, known: dict[object, Source] | None = None) -> Modules:
    """The modules of a tree of this project."""
    dags = [folder for each in project.settings.environments.values() for folder in each.folders]
    return Modules(tree, project.package, dags or ["dags"], known)


def chain(modules: Modules, graph: ImportGraph, start: str, end: str) -> Sequence[tuple[str, int]]:
    """The shortest way from a file to another: each file, and the line that leads on."""
    found = graph.find_shortest_chain(importer=start, imported=end) or (start, end)
    lines: Mapping[str, int] = {a: modules.line(a, b) for a, b in pairwise(found)}
    return [(path, lines.get(path, 1)) for path in found]
