"""What the calls of a Python file import, resolve and make: import_module(), resolve(), operators, DAGs."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dbt_cicd_toolkit.jobs.literals import argument_of, is_none
from dbt_cicd_toolkit.jobs.named import HOLE, named
from dbt_cicd_toolkit.jobs.seen import APART, BY_PATH, CODE, LIBRARIES, LOADERS, At, Seen
from dbt_cicd_toolkit.jobs.usage import Pin, Unknown, Use

if TYPE_CHECKING:
    from dbt_cicd_toolkit.jobs.expressions import Expressions


class Calls:
    """Reads calls, and puts down what it finds in ``seen``; ``expressions`` reads what is in them."""

    def __init__(self, seen: Seen, expressions: Expressions) -> None:
        self.seen = seen
        self.fold = seen.literals.fold
        self.expressions = expressions

    def call(self, node: ast.Call, at: At) -> None:
        """Read a call and its arguments."""
        targets = self.seen.targets(node.func)
        names = {target.rpartition(".")[2] for target in targets}
        arguments: Sequence[ast.AST] = [*node.args, *node.keywords]
        if f"{self.seen.jobs}.resolve" in targets:
            self._pin(node, at)
        elif any(self.seen.is_loader(target) for target in targets) or targets == ["__import__"]:
            self._dynamic(node, next(iter(names)), at)
        elif targets and targets[0] in CODE:
            self._code(node)
        elif targets == ["getattr"] and len(node.args) > 1:
            if self._getattr(node, at):
                arguments = arguments[1:]
        elif "getLogger" in names:
            arguments = [each for each in arguments if not isinstance(each, ast.Constant)]  # a name, nothing else
        else:
            if "DAG" in names:
                self._dag(node)
            if "versioned_operator" in names:
                self._operator(node, at)
            if isinstance(node.func, ast.Name):
                self.expressions.each([node.func], at) if node.func.id in self.seen.bound else None
            elif (text := self.fold(node)) is not None:  # "…{}…".format(…), ".".join([…])
                self.expressions.text(text, node, at)
                self.expressions.inside(node.func, at)
                self.expressions.pieces(self._put_in(node, node.func), at)
                arguments = []
            elif self.expressions.is_unclear_path(node):
                self.seen.unknown.append(Unknown(node.lineno, ast.unparse(node)))
            else:
                self.expressions.visit(node.func, at)
        self.expressions.each(arguments, at)

    def _put_in(self, node: ast.Call, function: ast.expr) -> list[ast.expr]:
        """What format(), join() or replace() puts into a text."""
        items = node.args[0] if len(node.args) == 1 else None
        if isinstance(function, ast.Attribute) and function.attr == "join" and isinstance(items, ast.List | ast.Tuple):
            return items.elts
        return [*node.args, *(each.value for each in node.keywords)]

    def _dynamic(self, node: ast.Call, function: str, at: At) -> None:
        argument = argument_of(node, *LOADERS[function])
        text = self.fold(argument) if argument is not None else None
        if text is None or HOLE in text:
            self.seen.unknown.append(Unknown(node.lineno, ast.unparse(node)))
            return
        if function in BY_PATH:
            text = re.sub(r"\.py$", "", text).replace("/", ".").strip(".")
        name: str | None = text.replace(":", ".")
        if text.startswith("."):
            name = self._relative(node, text)
        if name is None:
            self.seen.unknown.append(Unknown(node.lineno, ast.unparse(node)))
            return
        self.seen.uses.append(Use(name, node.lineno, "import", at.lazy, at.typing, at.apart))
        if named(name, self.seen.jobs):
            self.seen.told.add(id(argument))
        elif f"{self.seen.jobs}.".startswith(f"{name}."):
            self.seen.passed_on.append(Unknown(node.lineno, ast.unparse(node)))

    def _relative(self, node: ast.Call, text: str) -> str | None:
        """import_module('.x', package)."""
        package = argument_of(node, 1, "package")
        rest = text.lstrip(".")
        level = len(text) - len(rest)
        if isinstance(package, ast.Name) and package.id in ("__package__", "__name__"):
            return self.seen.absolute(rest, level)
        base = self.fold(package) if package is not None else None
        if not base or HOLE in base:
            return None
        parts = base.split(".")
        return ".".join([*parts[: len(parts) - level + 1], rest]) if level <= len(parts) else None

    def _code(self, node: ast.Call) -> None:
        argument = argument_of(node, 0, "source")
        text = self.fold(argument) if argument is not None else None
        if text is None or HOLE in text or "import" in text:
            self.seen.unknown.append(Unknown(node.lineno, ast.unparse(node)))

    def _getattr(self, node: ast.Call, at: At) -> bool:
        """getattr(jobs, 'v0_1_0') is a name with a dot; with no literal it may be any. Returns whether it is of what we
        look for."""
        text = self.fold(node.args[1])
        any_ours = False
        for target in self.seen.targets(node.args[0]):
            ours = target == self.seen.jobs or named(target, self.seen.jobs) is not None or target in LIBRARIES
            any_ours = any_ours or ours
            unread = text is None or HOLE in text
            if (ours and unread) or (text is not None and self.seen.is_loader(f"{target}.{text}")):
                self.seen.unknown.append(Unknown(node.lineno, ast.unparse(node)))
            elif text is not None and named(f"{target}.{text}", self.seen.jobs):
                self.seen.uses.append(Use(f"{target}.{text}", node.lineno, "import", at.lazy, at.typing, at.apart))
                self.seen.told.add(id(node.args[1]))
            elif text is not None and f"{target}.{text}" == self.seen.jobs:
                self.seen.passed_on.append(Unknown(node.lineno, ast.unparse(node)))
        return any_ours

    def _pin(self, node: ast.Call, at: At) -> None:
        job, pin = argument_of(node, 0, "job"), argument_of(node, 1, "pin")
        given = len(node.args) > 1 or any(each.arg in ("pin", None) for each in node.keywords)
        # What a * or a ** gives may be the environment.
        unpacked = [each.value for each in node.args if isinstance(each, ast.Starred)]
        unpacked += [each.value for each in node.keywords if each.arg is None]
        self.seen.pins.append(
            Pin(
                node.lineno,
                ast.unparse(node),
                self._literal(job),
                self._literal(pin) if given and not is_none(pin) else "latest",
                at.apart,
                self._environment(argument_of(node, 2, "environment") or next(iter(unpacked), None)),
            )
        )

    def _environment(self, node: ast.expr | None) -> str | None:
        if node is None or is_none(node):
            return None
        literal = self._literal(node)
        return f"<{ast.unparse(node)}>" if literal is None else literal or None

    def _literal(self, node: ast.expr | None) -> str | None:
        return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None

    def _operator(self, node: ast.Call, at: At) -> None:
        """versioned_operator(PythonOperator, 'dwh.jobs.v0_1_0.my_job') imports that module where the DAG runs."""
        operator, job = argument_of(node, 0, "operator"), argument_of(node, 1, "job")
        text = self.fold(job) if job is not None else None
        if job is None or not self._is_literal_job(job):
            self.seen.unknown.append(Unknown(node.lineno, ast.unparse(node)))
        if text is not None and HOLE not in text and operator is not None:
            apart = at.apart or bool(APART.search(ast.unparse(operator)))
            self.seen.uses.append(Use(text, node.lineno, "import", at.lazy, at.typing, apart))

    def _is_literal_job(self, node: ast.expr, depth: int = 0) -> bool:
        """Is a job, by its class or by its name, something that this file, or who calls a function of it, imports or
        has as a text?"""
        if depth > 4:
            return False
        if (text := self.fold(node)) is not None:
            return HOLE not in text
        if isinstance(node, ast.Name) and node.id not in self.seen.bound:
            return all(self._is_literal_job(each, depth + 1) for each in self.seen.literals.values.get(node.id, ()))
        if isinstance(node, ast.Call):
            return f"{self.seen.jobs}.resolve" in self.seen.targets(node.func)
        if isinstance(node, ast.IfExp):
            return all(self._is_literal_job(each, depth + 1) for each in (node.body, node.orelse))
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            return all(self._is_literal_job(each, depth + 1) for each in node.elts)
        return isinstance(node, ast.Name | ast.Attribute)

    def _dag(self, node: ast.Call) -> None:
        argument = argument_of(node, 0, "dag_id")
        text = self.fold(argument) if argument is not None else None
        if text is not None and HOLE not in text:
            self.seen.dags.append(text)

    def dag_function(self, decorator: ast.expr, name: str) -> None:
        """Read a decorator of a function of that name: @dag makes a DAG of it."""
        call = decorator if isinstance(decorator, ast.Call) else None
        if not any(
            target.rpartition(".")[2] == "dag" for target in self.seen.targets(call.func if call else decorator)
        ):
            return
        argument = argument_of(call, 0, "dag_id") if call else None
        text = self.fold(argument) if argument is not None else name
        if text is not None and HOLE not in text:
            self.seen.dags.append(text)
