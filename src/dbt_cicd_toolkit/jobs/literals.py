"""The texts that expressions give, as far as they can be told without running them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence

from dbt_cicd_toolkit.jobs.named import HOLE


class Literals:
    """What a module binds to names.

    Attributes:
        constants: {name: text} of texts that it binds once.
        constant_nodes: {id() of the text: the name} of those.
        values: {name: what is assigned to it, or looped over with it}.
        stored: names that statements other than imports bind.
    """

    def __init__(self, tree: ast.Module | None) -> None:
        self.constants = _constants(tree) if tree else {}
        self.constant_nodes = _constant_nodes(tree, self.constants) if tree else {}
        self.values = _values(tree) if tree else {}
        self.stored = frozenset(_stored(tree)) if tree else frozenset()

    def fold(self, node: ast.expr) -> str | None:
        """The text that an expression gives, with a hole where only running would tell; None: perhaps no text."""
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, str) else None
        if isinstance(node, ast.Name):
            return self.constants.get(node.id)
        if isinstance(node, ast.JoinedStr):
            return "".join(self._piece(each) for each in node.values)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            left, right = self.fold(node.left), self.fold(node.right)
            if left is None and right is None:
                return None
            return (HOLE if left is None else left) + (HOLE if right is None else right)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
            text = self.fold(node.left)
            return None if text is None else _filled(text, [self.fold(each) for each in given_to_percent(node.right)])
        if _is_underscored(node):
            return f"{HOLE}_{HOLE}_{HOLE}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            return self._method(node, node.func)
        return None

    def _piece(self, node: ast.expr) -> str:
        value = node.value if isinstance(node, ast.FormattedValue) else node
        text = self.fold(value) if isinstance(value, ast.expr) else None
        return HOLE if text is None else text

    def _method(self, node: ast.Call, function: ast.Attribute) -> str | None:
        text = self.fold(function.value) if function.attr in ("format", "join", "replace") else None
        if text is None:
            return None
        if function.attr == "format":
            return self._formatted(text, node)
        if function.attr == "replace":
            old, new = map(self.fold, node.args) if len(node.args) == 2 else (None, None)
            return text.replace(old, HOLE if new is None else new) if old else None
        (items,) = node.args if len(node.args) == 1 else (None,)
        if not isinstance(items, ast.List | ast.Tuple):
            return HOLE
        pieces = [self.fold(each) for each in items.elts]
        return text.join(HOLE if piece is None else piece for piece in pieces)

    def _formatted(self, text: str, node: ast.Call) -> str:
        """'{}.{job}'.format(…) with the texts that are given."""
        named_ones = {each.arg: each.value for each in node.keywords}
        automatic = iter(node.args)

        def piece(match: re.Match[str]) -> str:
            name = match[1]
            given: ast.expr | None = named_ones.get(name)
            if not name:
                given = next(automatic, None)
            elif name.isdigit() and int(name) < len(node.args):
                given = node.args[int(name)]
            found = self.fold(given) if given is not None and not match[2] else None
            return HOLE if found is None else found

        return re.sub(r"\{(\w*)([^{}]*)\}", piece, text)


def given_to_percent(node: ast.expr) -> list[ast.expr]:
    """What stands behind a % to be put into the text."""
    return node.elts if isinstance(node, ast.Tuple) else [node]


def _filled(text: str, given: Sequence[str | None]) -> str:
    """'%s.%s' with texts in it, and with holes for those that are None or that it names."""
    pieces = iter(given)

    def piece(match: re.Match[str]) -> str:
        found = next(pieces, None) if match[0] == "%s" else HOLE
        return HOLE if found is None else found

    return re.sub(r"%(?:\(\w+\))?[-#0 +]*[\d.]*[a-z]", piece, text)


def _is_underscored(node: ast.expr) -> bool:
    """version.replace('.', '_')"""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr != "replace":
        return False
    literal = [each.value for each in node.args if isinstance(each, ast.Constant)]
    return literal == [".", "_"] and not isinstance(node.func.value, ast.Constant)


def adds(node: ast.AST) -> bool:
    """Does _fold() know this operator?"""
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod)


def _stored(tree: ast.Module) -> Iterator[str]:
    """Names that are bound by something else than an import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg


def _values(tree: ast.Module) -> dict[str, list[ast.expr]]:
    """What is assigned to a name, and the lists that a loop goes through with it."""
    found: dict[str, list[ast.expr]] = {}
    for node in ast.walk(tree):
        targets: Sequence[ast.expr] = ()
        value: ast.expr | None = None
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr):
            targets, value = [node.target], node.value
        elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
            targets, value = [node.target], node.iter
        for target in targets:
            if isinstance(target, ast.Name) and value is not None:
                found.setdefault(target.id, []).append(value)
    return found


def _constant_nodes(tree: ast.Module, constants: Mapping[str, str]) -> dict[int, str]:
    """{id() of the text: the name} of such constants."""
    found: dict[int, str] = {}
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target = statement.targets[0]
        elif isinstance(statement, ast.AnnAssign):
            target = statement.target
        else:
            continue
        if isinstance(target, ast.Name) and target.id in constants and statement.value is not None:
            found[id(statement.value)] = target.id
    return found


def _constants(tree: ast.Module) -> dict[str, str]:
    """Texts that the module binds to a name, once and literally."""
    found: dict[str, str] = {}
    stored: dict[str, int] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            stored[node.id] = stored.get(node.id, 0) + 1
        elif isinstance(node, ast.arg):
            stored[node.arg] = stored.get(node.arg, 0) + 1
    for statement in tree.body:
        targets: Sequence[ast.expr] = ()
        if isinstance(statement, ast.Assign):
            targets = statement.targets
        elif isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        for target in targets:
            value = statement.value  # type: ignore[attr-defined]
            if isinstance(target, ast.Name) and isinstance(value, ast.Constant) and isinstance(value.value, str):
                found[target.id] = value.value
    return {name: text for name, text in found.items() if stored.get(name) == 1}


def chain_of(node: ast.expr) -> list[str] | None:
    """['a', 'b', 'c'] of a.b.c."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return [node.id, *reversed(names)] if isinstance(node, ast.Name) else None


def is_none(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def argument_of(node: ast.Call, place: int, name: str) -> ast.expr | None:
    """An argument of a call, by its place or its name; None where it is not given, or where only running would tell."""
    if any(isinstance(each, ast.Starred) for each in node.args[: place + 1]):
        return None
    if len(node.args) > place:
        return node.args[place]
    return next((each.value for each in node.keywords if each.arg == name), None)
