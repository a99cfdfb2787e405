"""What a file binds by importing, and what it does with that."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst


def dotted(node: cst.BaseExpression | None) -> list[str] | None:
    """['a', 'b'] of a.b."""
    names: list[str] = []
    while isinstance(node, cst.Attribute):
        names.append(node.attr.value)
        node = node.value
    return [node.value, *reversed(names)] if isinstance(node, cst.Name) else None


def local_name(alias: cst.ImportAlias) -> str | None:
    name = alias.asname.name if alias.asname else None
    return name.value if isinstance(name, cst.Name) else None


class Bindings(cst.CSTVisitor):
    """What the file binds by importing, and what it does with that."""

    def __init__(self, module: str, is_package: bool) -> None:
        super().__init__()
        self.module = module
        self.is_package = is_package
        self.bound: dict[str, str] = {}  # local name: dotted name
        self.chains: set[tuple[str, ...]] = set()
        self.bare: set[str] = set()

    def absolute(self, node: cst.ImportFrom) -> str | None:
        """The module of `from … import`."""
        name = ".".join(dotted(node.module) or ())
        if not node.relative:
            return name
        parts = self.module.split(".")
        kept = parts[: len(parts) - len(node.relative) + (1 if self.is_package else 0)]
        return ".".join([*kept, *([name] if name else [])]) if kept else None

    def visit_Import(self, node: cst.Import) -> bool:
        for alias in node.names:
            name = ".".join(dotted(alias.name) or ())
            local = local_name(alias)
            self.bound[local or name.partition(".")[0]] = name if local else name.partition(".")[0]
        return False

    def visit_ImportFrom(self, node: cst.ImportFrom) -> bool:
        base = self.absolute(node)
        if base is not None and not isinstance(node.names, cst.ImportStar):
            for alias in node.names:
                name = ".".join(dotted(alias.name) or ())
                self.bound[local_name(alias) or name] = f"{base}.{name}"
        return False

    def visit_Attribute(self, node: cst.Attribute) -> bool:
        chain = dotted(node)
        if chain:
            self.chains.add(tuple(chain))
        return chain is None

    def visit_Name(self, node: cst.Name) -> None:
        self.bare.add(node.value)

    def full(self, chain: Sequence[str]) -> str:
        """A chain with what its first name stands for."""
        return ".".join([self.bound.get(chain[0], chain[0]), *chain[1:]])

    def only(self, local: Sequence[str], job: str) -> bool:
        """Is of the folder that a (dotted) local name stands for nothing used but this job?"""
        size = len(local)
        uses = [chain for chain in self.chains if list(chain[:size]) == list(local)]
        others = any(len(chain) == size or chain[size] != job for chain in uses)
        return bool(uses) and not others and not (size == 1 and local[0] in self.bare)
