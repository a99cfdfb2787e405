"""Move what uses one version of a job to another, in the files of the working tree."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dbt_cicd_toolkit.errors import InvalidInput, Refused
from dbt_cicd_toolkit.jobs import imports
from dbt_cicd_toolkit.jobs.move import Move
from dbt_cicd_toolkit.jobs.moved import rewritten
from dbt_cicd_toolkit.jobs.named import named
from dbt_cicd_toolkit.jobs.number import Number
from dbt_cicd_toolkit.jobs.project import Project
from dbt_cicd_toolkit.jobs.reach import modules
from dbt_cicd_toolkit.jobs.references import Uses
from dbt_cicd_toolkit.jobs.retire import item_of
from dbt_cicd_toolkit.jobs.source import parse
from dbt_cicd_toolkit.jobs.usage import Source
from dbt_cicd_toolkit.jobs.writer import exclusive


@dataclass(frozen=True)
class Upgrade:
    """What `job upgrade` changes: {path: new content}, and whether that changed a pin."""

    move: Move
    files: Mapping[str, bytes] = field(default_factory=dict)
    pins: bool = False

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "job": self.move.job,
            "from": str(self.move.old),
            "to": str(self.move.new),
            "files": list(self.files),
            "lock": self.pins,
        }


def upgrade(project: Project, job: str, old: Number, new: Number, *, dry_run: bool = False) -> Upgrade:
    """Rewrite the DAGs of the working tree, and the modules of the repository that they reach, to use another version.

    Args:
        dry_run: say which files would change.
    Returns:
        what changed; nothing, the second time.
    Raises:
        InvalidInput: an unknown version, twice the same, or a file that is no Python.
        Refused: the new version lacks a name that is imported, or something must be changed by hand. All of it, with
            file and line; then nothing has changed.
    """
    if old == new:
        raise InvalidInput(f"OLD and NEW are both {old}: name the version to move to.")
    move = Move(project.package, job, old, new)
    item_of(project, job, old)
    if item_of(project, job, new).state == "removed":
        raise Refused(f"{job} {new} was removed: nothing can move to it.")
    files = _files(project)
    _refuse_missing_names(project, move, files)
    changed: dict[str, bytes] = {}
    pinned = False
    for path in files:
        before = (project.root / path).read_bytes()
        after = rewritten(move, path, before)
        if after != before:
            changed[path] = after
            pinned = pinned or _pins(before, path, move) != _pins(after, path, move)
    _refuse_left(project, move, files, changed)
    if not dry_run:
        with exclusive(project) as writer:
            writer.write(f"upgrade of {job} {old} to {new}", changed)
    return Upgrade(move, changed, pinned)


def _files(project: Project) -> list[str]:
    """The files of every environment in the working tree, and what they reach outside of the version folders."""
    uses = Uses(project)
    found = modules(project, uses.working)
    folders = {folder for place in uses.places for folder in place.environment.folders}
    files = uses.dag_files(uses.working, sorted(folders))
    python = [path for path in files if path.endswith(".py")]
    reached = found.reached(python, lambda path: found.folder(path) is None)
    if found.broken:
        raise InvalidInput("\n".join(found.broken.values()))
    return sorted({*files, *reached})


def _read(content: bytes, path: str, move: Move) -> Source:
    if not path.endswith(".py"):
        return imports.read_text(content.decode("utf-8", "replace"), move.package)
    module = path.removesuffix(".py").replace("/", ".")
    return imports.read(content, path, module.removesuffix(".__init__"), path.endswith("__init__.py"), move.package)


def _pins(content: bytes, path: str, move: Move) -> list[str | None]:
    return [pin.pin for pin in _read(content, path, move).pins if pin.job == move.job]


def _refuse_missing_names(project: Project, move: Move, files: Sequence[str]) -> None:
    """An import of a class that has another name in the new version would fail only when the DAG is read."""
    path = project.folder(move.new) / f"{move.job}.py"
    there = _top_names(parse(path, project.path(path)))
    missing = []
    for file in files if "*" not in there else ():
        source = _read((project.root / file).read_bytes(), file, move)
        for use in (*source.uses, *source.attributes):
            name = use.name.removeprefix(f"{move.module}.").partition(".")[0]
            known = name in there or name.startswith("__")  # my_job.__name__
            if use.how == "import" and use.name.startswith(f"{move.module}.") and not known:
                missing.append(f"  {file}:{use.line}: {name}")
    if missing:
        classes = ", ".join(sorted(name for name in there if name[:1].isupper())) or "no class"
        raise Refused(
            f"{project.path(path)} has {classes}, and not what is imported of {move.old}. Change it by hand:\n"
            + "\n".join(dict.fromkeys(missing))
        )


def _top_names(tree: ast.Module) -> set[str]:
    """The names that a module binds; '*' when another module says which."""
    found: set[str] = set()
    waiting: list[ast.AST] = [*tree.body]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        waiting += ast.iter_child_nodes(node)
    return found


def _refuse_left(project: Project, move: Move, files: Sequence[str], changed: Mapping[str, bytes]) -> None:
    left = []
    for path in files:
        content = changed.get(path) or (project.root / path).read_bytes()
        for use in _read(content, path, move).uses:
            found = named(use.name, move.package)
            if found and found.version == move.old and found.job in (None, move.job):
                left.append(f"  {path}:{use.line}: {use.name}")
    if left:
        raise Refused(
            f"these use all of {move.folder}, or name it in a way that only its author can change. Change them by "
            "hand, and run this again:\n" + "\n".join(left)
        )
