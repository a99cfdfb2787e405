"""What the expressions of a Python file name: texts, names with dots, paths."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from dbt_cicd_toolkit.jobs.calls import Calls
from dbt_cicd_toolkit.jobs.literals import adds, chain_of, given_to_percent
from dbt_cicd_toolkit.jobs.named import FOLDER, HOLE, is_package_name, named, names_in, short
from dbt_cicd_toolkit.jobs.seen import At, Seen
from dbt_cicd_toolkit.jobs.usage import Unknown, Use

# What of a package leads to anything in it.
_INSIDES = ("__dict__", "__file__", "__getattr__", "__getattribute__", "__loader__", "__name__", "__path__", "__spec__")
_PATHS = ("Path", "PosixPath", "PurePath", "PurePosixPath")


class Expressions:
    """Reads expressions, and puts down what it finds in ``seen``."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self.fold = seen.literals.fold
        self.calls = Calls(seen, self)

    def visit(self, node: ast.AST, at: At) -> None:
        """Read an expression."""
        if isinstance(node, ast.Call):
            self.calls.call(node, replace(at, annotation=False))
        elif isinstance(node, ast.Attribute):
            self._attribute(node, at)
        elif isinstance(node, ast.Name):
            self._name(node)
        elif isinstance(node, ast.Constant):
            if at.annotation:
                pass  # what it names is imported elsewhere, and counts there
            elif isinstance(node.value, str):
                self.text(node.value, node, at)
            elif isinstance(node.value, bytes):
                self.text(node.value.decode("latin-1"), node, at)
        elif isinstance(node, ast.JoinedStr | ast.BinOp) and (text := self.fold(node)) is not None:
            self.text(text, node, at)
            self.inside(node, at)
        elif isinstance(node, ast.BinOp) and self.is_unclear_path(node):
            self.seen.unknown.append(Unknown(node.lineno, ast.unparse(node)))
        elif isinstance(node, ast.Lambda):
            self.visit(node.body, replace(at, lazy=True))
        else:
            self.each(ast.iter_child_nodes(node), at)

    def each(self, nodes: Iterator[ast.AST] | Sequence[ast.AST], at: At) -> None:
        """Read several."""
        for each in nodes:
            self.visit(each, at)

    def inside(self, node: ast.AST, at: At) -> None:
        """What a text is made of, but for its own pieces of text."""
        for child in ast.iter_child_nodes(node):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod) and child is node.right:
                self.pieces(given_to_percent(node.right), at)
            elif isinstance(child, ast.JoinedStr | ast.FormattedValue) or adds(child):
                self.inside(child, at)
            elif isinstance(child, ast.Name) and child.id in self.seen.literals.constants:
                self.seen.loaded.add(child.id)
            elif not isinstance(child, ast.Constant):
                self.visit(child, at)

    def text(self, text: str, node: ast.expr, at: At) -> None:
        """Read a text that an expression gives."""
        names, unclear, left = names_in(text, self.seen.jobs)
        self.seen.uses += [Use(name, node.lineno, "string", at.lazy, at.typing, at.apart) for name in names]
        if unclear:
            self.seen.unknown.append(Unknown(node.lineno, ast.unparse(node)))
        elif is_package_name(text, self.seen.jobs):
            self.seen.pass_on(node)
        elif left and id(node) not in self.seen.told:
            unknown = Unknown(node.lineno, short(ast.unparse(node), left), left)
            if id(node) in self.seen.literals.constant_nodes:
                self.seen.waiting.append((self.seen.literals.constant_nodes[id(node)], unknown))
            else:
                self.seen.unknown.append(unknown)

    def _name(self, node: ast.Name) -> None:
        self.seen.bare.add(node.id)
        if not isinstance(node.ctx, ast.Load):
            return
        self.seen.loaded.add(node.id)
        if any(self.seen.is_loader(target) for target in self.seen.bound.get(node.id, ())):
            self.seen.unknown.append(Unknown(node.lineno, node.id))  # import_module, passed on as a value
        constant = self.seen.literals.constants.get(node.id) if id(node) not in self.seen.told else None
        if constant and (left := names_in(constant, self.seen.jobs)[2]):
            self.seen.unknown.append(Unknown(node.lineno, node.id, left))
        if self.seen.jobs in self.seen.bound.get(node.id, ()) or (
            constant and is_package_name(constant, self.seen.jobs)
        ):
            self.seen.passed_on.append(Unknown(node.lineno, node.id))
        self._unbound(node.id, node.lineno)

    def _unbound(self, name: str, line: int) -> None:
        """v0_1_0 that nothing in the file binds: `from dwh.jobs import *` may have."""
        if re.fullmatch(FOLDER, name) and name not in self.seen.bound and name not in self.seen.literals.stored:
            self.seen.unknown.append(Unknown(line, name, (name,)))

    def _attribute(self, node: ast.Attribute, at: At) -> None:
        chain = chain_of(node)
        if chain is None:
            self.seen.left([node.attr], (), node.lineno, node)
            self.each(ast.iter_child_nodes(node), at)
            return
        targets = self.seen.bound.get(chain[0], ())
        self.seen.loaded.add(chain[0])
        self._unbound(chain[0], node.lineno)
        self.seen.left(chain[1:], [".".join([target, *chain[1:]]) for target in targets], node.lineno, node)
        for target in targets:
            full = ".".join([target, *chain[1:]])
            self.seen.chains.add(full)
            if self.seen.is_loader(full):
                self.seen.unknown.append(Unknown(node.lineno, ast.unparse(node)))
            if full == self.seen.jobs or full.startswith(tuple(f"{self.seen.jobs}.{each}" for each in _INSIDES)):
                self.seen.passed_on.append(Unknown(node.lineno, ast.unparse(node)))
            self._longer(full, target, node.lineno, at)

    def _longer(self, full: str, target: str, line: int, at: At) -> None:
        """A name that was reached with dots from an imported one."""
        found, before = named(full, self.seen.jobs), named(target, self.seen.jobs)
        if not found:
            return
        use = Use(full, line, "import", at.lazy, at.typing, at.apart)
        if before and before.job:
            if target == f"{self.seen.jobs}.{before.version.folder}.{before.job}":
                self.seen.attributes.append(use)
        elif found.job or not before:  # jobs.v0_1_0 alone is the whole folder
            parts = full.split(".")[: self.seen.jobs.count(".") + 4]  # v0_1_0.my_job.MyJob; what that has is its own
            self.seen.uses.append(replace(use, name=".".join(parts)))

    def pieces(self, nodes: Sequence[ast.expr], at: At) -> None:
        """What is put into a text: what fold() made a part of it was read there, but for what that is made of."""
        for each in nodes:
            if self.fold(each) is None:
                self.visit(each, at)
            elif isinstance(each, ast.Name):
                self.seen.loaded.add(each.id)
            else:
                self.inside(each, at)

    def is_unclear_path(self, node: ast.expr) -> bool:
        """Is it a path of a version that only running would tell?"""
        path = self._path(node)
        return path is not None and names_in(path, self.seen.jobs)[1]

    def _path(self, node: ast.AST) -> str | None:
        """The path that Path('dwh') / 'jobs' / version or os.path.join(…) gives, with holes; None for no path."""
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            return self._joined([node.left, node.right])
        if not isinstance(node, ast.Call) or not node.args:
            return None
        if isinstance(node.func, ast.Attribute) and node.func.attr == "joinpath":
            return self._joined([node.func.value, *node.args])
        is_path = any(
            target == "os.path.join" or target.rpartition(".")[2] in _PATHS for target in self.seen.targets(node.func)
        )
        return self._joined(node.args) if is_path else None

    def _joined(self, nodes: Sequence[ast.expr]) -> str:
        pieces = [text if (text := self.fold(each)) is not None else self._path(each) for each in nodes]
        return "/".join(HOLE if piece is None else piece.strip("/") for piece in pieces)
