"""What is known of a file while it is read, and what was found in it so far."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from dbt_cicd_toolkit.jobs.literals import Literals, chain_of
from dbt_cicd_toolkit.jobs.named import FOLDER, named
from dbt_cicd_toolkit.jobs.usage import Pin, Source, Unknown, Use

# Functions that import what an argument says: the place and the name of that argument.
BY_NAME = {
    "import_module": (0, "name"),
    "__import__": (0, "name"),
    "run_module": (0, "mod_name"),
    "import_string": (0, "dotted_path"),
    "resolve_name": (0, "name"),
    "find_spec": (0, "name"),
}
BY_PATH = {
    "run_path": (0, "path_name"),
    "spec_from_file_location": (1, "location"),
    "SourceFileLoader": (1, "path"),
    "load_source": (1, "pathname"),
}
CODE = ("exec", "eval")
LOADERS = {**BY_NAME, **BY_PATH}
LIBRARIES = ("importlib", "importlib.util", "importlib.machinery", "runpy", "pkgutil", "imp", "builtins")
# A function with such a decorator, or given to such an operator, runs in an interpreter of its own.
APART = re.compile(r"virtualenv|external_?python|docker|kubernetes", re.IGNORECASE)


@dataclass(frozen=True)
class At:
    """Where in a file we are. ``annotation``: in one, where a text is not run."""

    lazy: bool = False
    typing: bool = False
    apart: bool = False
    annotation: bool = False


@dataclass
class Seen:
    """A file that is being read.

    Attributes:
        module_name, is_package, jobs: of imports.read().
        deep: do its expressions matter?
        apart: functions that run in an interpreter of their own.
        bound: {local name: the dotted names that it stands for}. A name that is bound twice has both.
        bare, chains: names used as such; and longer ones, with what their beginning stands for.
        folders: whole version folders, by the local name that they were imported as.
        later: expressions, which are looked at when every import of the file is known.
        loaded: names that are read. told: expressions that a use was read of, by id().
        waiting: version folders, or their package, in constants: what matters is how these are used.
        passed_on: where the package itself is passed on, from which somebody may take any version.
    """

    module_name: str
    is_package: bool
    jobs: str
    deep: bool
    literals: Literals
    apart: frozenset[str] = frozenset()
    uses: list[Use] = field(default_factory=list)
    unknown: list[Unknown] = field(default_factory=list)
    pins: list[Pin] = field(default_factory=list)
    dags: list[str] = field(default_factory=list)
    attributes: list[Use] = field(default_factory=list)
    bound: dict[str, list[str]] = field(default_factory=dict)
    bare: set[str] = field(default_factory=set)
    chains: set[str] = field(default_factory=set)
    folders: list[tuple[str, Use]] = field(default_factory=list)
    later: list[tuple[ast.expr, At]] = field(default_factory=list)
    loaded: set[str] = field(default_factory=set)
    told: set[int] = field(default_factory=set)
    waiting: list[tuple[str, Unknown]] = field(default_factory=list)
    passed_on: list[Unknown] = field(default_factory=list)

    def source(self) -> Source:
        """What was read."""
        for local, use in self.folders:
            # `from dwh.jobs import v0_1_0` and v0_1_0.my_job later: the job is meant, not all that the folder has.
            behind = any(each.startswith(f"{use.name}.") for each in self.chains)
            if not behind or use.name in self.chains or local in self.bare:
                self.uses.append(use)
        self.unknown += [each for name, each in self.waiting if name not in self.loaded]
        self.unknown += self._unaccounted()
        order = sorted(set(self.uses), key=lambda use: (use.line, use.name, use.how))
        unknown = [
            each
            for each in dict.fromkeys(self.unknown)
            # import_module(f"dwh.jobs.{v}") is one thing, not two
            if not any(_holds(other, each) for other in self.unknown)
        ]
        dags = tuple(dict.fromkeys(self.dags))
        return Source(tuple(order), tuple(unknown), tuple(self.pins), dags, tuple(self.attributes))

    def _unaccounted(self) -> Iterator[Unknown]:
        """The package passed on, but for lines that say what is taken: get_data('dwh.jobs', 'v0_1_0/q.sql')."""
        for line in dict.fromkeys(each.line for each in self.passed_on):
            here = [each for each in self.passed_on if each.line == line]
            if len(here) > sum(len(each.folders) for each in self.unknown if each.line == line):
                yield from here

    def absolute(self, module: str, level: int) -> str | None:
        """The dotted name of a module that is imported with so many dots; None above the top."""
        if not level:
            return module
        parts = self.module_name.split(".")
        kept = len(parts) - level + (1 if self.is_package else 0)
        if kept < 1:
            return None
        return ".".join([*parts[:kept], *([module] if module else [])])

    def left(self, parts: Sequence[str], full: Sequence[str], line: int, node: ast.expr | str) -> None:
        """Tell of version folders in a name with dots that leads to none, as far as we see: import v0_1_0.my_job."""
        told = {found.version.folder for each in full if (found := named(each, self.jobs))}
        left = tuple(part for part in parts if re.fullmatch(FOLDER, part) and part not in told)
        if left:
            self.unknown.append(Unknown(line, node if isinstance(node, str) else ast.unparse(node), left))

    def pass_on(self, node: ast.expr) -> None:
        """Tell of a text that is the package of the versions."""
        unknown = Unknown(node.lineno, ast.unparse(node))
        if id(node) in self.literals.constant_nodes:
            self.waiting.append((self.literals.constant_nodes[id(node)], unknown))
        else:
            self.passed_on.append(unknown)

    def is_loader(self, full: str) -> bool:
        """Is a dotted name that of a function which imports?"""
        library, _, name = full.rpartition(".")
        return name in LOADERS and (library in LIBRARIES or name == "import_string")

    def targets(self, node: ast.expr) -> list[str]:
        """The dotted names that an expression may stand for."""
        chain = chain_of(node)
        if chain is None:
            return []
        return [".".join([target, *chain[1:]]) for target in self.bound.get(chain[0], [chain[0]])]


def _holds(other: Unknown, each: Unknown) -> bool:
    """Does one of two that are unknown say what the other one says?"""
    if other.line != each.line or other.text == each.text or each.text not in other.text:
        return False
    return not other.folders or (bool(each.folders) and set(each.folders) <= set(other.folders))
