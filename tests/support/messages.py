"""The messages of the code and those that a page explains, held against each other."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable
from pathlib import Path

_ROW = re.compile(r"^\| (`+) ?(.+?) ?\1 \|", re.MULTILINE)


def unknown_and_missing(page: str, files: Iterable[Path], raised_by: Collection[str]) -> tuple[list[str], list[str]]:
    """The messages of a page's tables that the code does not have, and those of the code that the page does not have.

    Args:
        page: the first cell of a row is a message in backticks, with … for what is put in.
        files: of the code.
        raised_by: names of the exceptions and functions that are called with a message.
    """
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))]
    texts = [text for node in nodes if (text := _literals(node))]
    raised = [_literals(part) for node in nodes if _called(node) in raised_by for part in _arguments(node)]
    shown = [match[2] for match in _ROW.finditer(page)]
    entries = {entry: [part for part in entry.split("…") if part.strip(" .:")] for entry in shown}

    def tells(entry: str, text: str) -> bool:
        return bool(entries[entry]) and all(part in text for part in entries[entry])

    long = [text for text in raised if len(max(text.split("…"), key=len)) > 12]
    return (
        [entry for entry in shown if not any(tells(entry, text) for text in texts)],
        [text for text in long if not any(tells(entry, text) for entry in shown)],
    )


def _literals(node: ast.AST) -> str:
    """A text of the code, with … for what is put in; '' when it is none."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    parts = node.values if isinstance(node, ast.JoinedStr) else []
    return "".join(_literals(part) or "…" for part in parts)


def _called(node: ast.AST) -> str:
    function = node.func if isinstance(node, ast.Call) else None
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _arguments(node: ast.AST) -> list[ast.expr]:
    return node.args if isinstance(node, ast.Call) else []
