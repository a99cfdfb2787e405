"""What a Python file imports, names and resolves: read, never run.

Imports anywhere in a file count, the lazy ones too, and so do texts that name a version of a job, such as the
``--module_name`` of a Glue job. What only running would tell is an Unknown, never nothing.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

from dbt_cicd_toolkit.errors import InvalidInput
from dbt_cicd_toolkit.jobs.expressions import Expressions
from dbt_cicd_toolkit.jobs.literals import Literals, chain_of
from dbt_cicd_toolkit.jobs.named import named, names_in, short
from dbt_cicd_toolkit.jobs.seen import APART, CODE, LIBRARIES, LOADERS, At, Seen
from dbt_cicd_toolkit.jobs.source import parse_content
from dbt_cicd_toolkit.jobs.usage import Source, Unknown, Use


def read_text(text: str, jobs: str) -> Source:
    """Read a file that is no Python (YAML, JSON, shell …): the versions that it names, as modules or as paths. Lines
    that begin with # are comments."""
    uses, unknown = [], []
    for line, each in enumerate(text.splitlines(), start=1):
        if not each.lstrip().startswith("#"):
            names, unclear, left = names_in(each, jobs)
            uses += [Use(name, line, "string", apart=True) for name in names]
            if unclear:
                unknown.append(Unknown(line, each.strip()))
            elif left:
                unknown.append(Unknown(line, short(each.strip(), left), left))
    return Source(tuple(uses), tuple(unknown))


def read(content: bytes, where: str, module: str, is_package: bool, jobs: str) -> Source:
    """Read a Python file.

    Args:
        content: of the file.
        where: what messages call it.
        module: its dotted name, which relative imports start from.
        is_package: is it an __init__.py?
        jobs: the package of the version folders, 'dwh.jobs'.
    Raises:
        InvalidInput: no Python.
    """
    tree = parse_content(content, where)
    deep = bool(_suspicious(jobs).search(content))
    try:
        apart = frozenset(_given_to_operators(tree)) if deep else frozenset()
        seen = Seen(module, is_package, jobs, deep, Literals(tree if deep else None), apart)
        _Statements(seen).module(tree)
        return seen.source()
    except RecursionError:
        raise InvalidInput(f"{where}: an expression has too many parts to be read. Split it.") from None


@lru_cache
def _suspicious(jobs: str) -> re.Pattern[bytes]:
    """What a file must have for its expressions to matter; without it, its import statements are all there is."""
    words = [*LOADERS, *CODE, "resolve", "DAG", "dag", jobs.rpartition(".")[2], "v[0-9]+_[0-9_]*"]
    return re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(words)})(?![A-Za-z0-9])".encode())


class _Statements:
    """Reads statements, and puts down what it finds in ``seen``."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self.expressions = Expressions(seen)
        self.calls = self.expressions.calls

    def module(self, tree: ast.Module) -> None:
        """Read everything."""
        self._block(tree.body, At())
        for expression, at in self.seen.later:
            self.expressions.visit(expression, at)

    def _block(self, body: Sequence[ast.stmt], at: At) -> None:
        for node in body:
            self._statement(node, at)

    def _statement(self, node: ast.stmt, at: At) -> None:
        if isinstance(node, ast.Import):
            self._import(node, at)
        elif isinstance(node, ast.ImportFrom):
            self._import_from(node, at)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            self._function(node, at)
        elif isinstance(node, ast.If) and _is_type_checking(node.test):
            self._block(node.body, replace(at, typing=True))
            self._block(node.orelse, at)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            pass  # a docstring names what it likes
        else:
            self._children(node, at)

    def _children(self, node: ast.AST, at: At) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt):
                self._statement(child, at)
            elif isinstance(child, ast.expr):
                if self.seen.deep:
                    is_annotation = child is getattr(node, "annotation", None)
                    self.seen.later.append((child, replace(at, annotation=is_annotation)))
            else:  # a handler, a case, a `with` item, an argument
                self._children(child, at)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, at: At) -> None:
        decorators = " ".join(ast.unparse(each) for each in node.decorator_list)
        for each in node.decorator_list if self.seen.deep else ():
            self.seen.later.append((each, at))
            self.calls.dag_function(each, node.name)
        apart = at.apart or node.name in self.seen.apart or bool(APART.search(decorators))
        inside = replace(at, lazy=True, apart=apart)
        if self.seen.deep:
            self._children(node.args, at)
            if node.returns:
                self.seen.later.append((node.returns, replace(at, annotation=True)))
        self._block(node.body, inside)

    def _import(self, node: ast.Import, at: At) -> None:
        for alias in node.names:
            self._use(alias.name, node.lineno, at, bound_to=alias.asname or alias.name, whole=alias.asname is None)

    def _import_from(self, node: ast.ImportFrom, at: At) -> None:
        base = self.seen.absolute(node.module or "", node.level)
        if base is None:
            self.seen.unknown.append(Unknown(node.lineno, ast.unparse(node)))
            return
        for alias in node.names:
            name = base if alias.name == "*" else f"{base}.{alias.name}"
            self._use(name, node.lineno, at, bound_to=alias.asname or alias.name)
            if alias.name == "*":
                known = LOADERS if base in LIBRARIES else ("resolve",) if base == self.seen.jobs else ()
                for each in known:
                    self.seen.bound.setdefault(each, []).append(f"{base}.{each}")

    def _use(self, name: str, line: int, at: At, bound_to: str, whole: bool = False) -> None:
        """An import. ``whole``: `import a.b`, which binds a, and is used as a.b."""
        use = Use(name, line, "import", at.lazy, at.typing, at.apart)
        local = bound_to.partition(".")[0] if whole else bound_to
        target = local if whole else name
        self.seen.bound.setdefault(local, [])
        if target not in self.seen.bound[local]:
            self.seen.bound[local].append(target)
        found = named(name, self.seen.jobs)
        self.seen.left(name.split("."), [name], line, name)
        if found and found.job is None and bound_to != "*" and self.seen.deep:
            self.seen.folders.append(("" if whole else local, use))
        else:
            self.seen.uses.append(use)


def _given_to_operators(tree: ast.Module) -> Iterator[str]:
    """Functions that run in an interpreter of their own: PythonVirtualenvOperator(python_callable=f)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and APART.search(ast.unparse(node.func)):
            for keyword in node.keywords:
                if keyword.arg == "python_callable" and isinstance(keyword.value, ast.Name):
                    yield keyword.value.id


def _is_type_checking(test: ast.expr) -> bool:
    chain = chain_of(test)
    return bool(chain) and chain[-1] == "TYPE_CHECKING"  # type: ignore[index]
