"""Let Python code name another version folder: in imports, in what uses them, and in texts that are a module's name."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator

from dbt_cicd_toolkit.errors import InvalidInput

_STRING = re.compile(r"(?P<start>[A-Za-z]*(?:'''|\"\"\"|'|\"))(?P<body>.*)(?P<end>'''|\"\"\"|'|\")", re.DOTALL)
_KINDS = (tokenize.NAME, tokenize.OP, tokenize.STRING, tokenize.NEWLINE)


def renamed(content: bytes, name: str, package: str, old: str, new: str) -> bytes:
    """The code with ``package``.``old`` (dwh.jobs.v0_1_0) called ``package``.``new``; every other byte stays.

    Args:
        name: what messages call the file.
    Raises:
        InvalidInput: it is no Python.
    """
    if old.encode("ascii") not in content:
        return content
    encoding, text = _text(content, name)
    try:
        tokens = [
            each for each in tokenize.generate_tokens(io.StringIO(text, newline="").readline) if each.type in _KINDS
        ]
    except (tokenize.TokenError, SyntaxError) as error:
        raise InvalidInput(f"{name}: no Python: {error}.") from None
    lines = list(io.StringIO(text, newline=""))  # as the tokenizer counts them; splitlines() ends one at a form feed
    places = sorted(set(_places(tokens, package, old)), reverse=True)
    for row, start, end in places:
        said = lines[row - 1]
        lines[row - 1] = said[:start] + said[start:end].replace(old, new) + said[end:]
    return "".join(lines).encode(encoding)


def _text(content: bytes, name: str) -> tuple[str, str]:
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        return encoding, content.decode(encoding)
    except (SyntaxError, UnicodeDecodeError, LookupError) as error:
        raise InvalidInput(f"{name}: no Python: {error}.") from None


Place = tuple[int, int, int]


def _places(tokens: list[tokenize.TokenInfo], package: str, old: str) -> Iterator[Place]:
    """(line, first column, end column) of what is to be renamed."""
    bound = False
    for at, token in enumerate(tokens):
        if token.type == tokenize.STRING:
            if _names(token.string, package, old) and token.start[0] == token.end[0]:
                yield token.start[0], token.start[1], token.end[1]
        elif token.type == tokenize.NAME and token.string == old:
            before = _dotted_before(tokens, at)
            if before == package or (before.startswith(".") and not before.strip(".")):
                yield _place(token)  # dwh.jobs.v0_1_0, from ..v0_1_0
            elif _imported_from(tokens, at, package):
                yield _place(token)
                follower = tokens[at + 1].string if at + 1 < len(tokens) else ""
                bound = bound or follower != "as"
    if bound:
        for at, token in enumerate(tokens):
            if token.type == tokenize.NAME and token.string == old and tokens[at - 1].string != ".":
                yield _place(token)


def _place(token: tokenize.TokenInfo) -> Place:
    return token.start[0], token.start[1], token.end[1]


def _names(literal: str, package: str, old: str) -> bool:
    match = _STRING.fullmatch(literal)
    return bool(match and re.fullmatch(rf"{re.escape(package)}\.{old}(\.\w+)*(:\w+)?", match["body"]))


def _dotted_before(tokens: list[tokenize.TokenInfo], at: int) -> str:
    """'dwh.jobs' before the v0_1_0 of dwh.jobs.v0_1_0; '..' before that of `from ..v0_1_0 import`."""
    parts: list[str] = []
    while at >= 2 and tokens[at - 1].string in (".", "..."):
        at -= 1
        parts.insert(0, tokens[at].string)
        if tokens[at - 1].type == tokenize.NAME and tokens[at - 1].string not in ("from", "import"):
            at -= 1
            parts.insert(0, tokens[at].string)
    text = "".join(parts)
    return text if text.startswith(".") else text.rstrip(".")


def _imported_from(tokens: list[tokenize.TokenInfo], at: int, package: str) -> bool:
    """Does this name stand behind `from dwh.jobs import` (or `from .. import`, within the package)?"""
    names: list[str] = []
    while at and tokens[at].type != tokenize.NEWLINE and tokens[at].string != ";":
        names.insert(0, tokens[at].string)
        at -= 1
    if at == 0:
        names.insert(0, tokens[0].string)
    if "from" not in names or "import" not in names:
        return False
    start = len(names) - 1 - names[::-1].index("from")
    if "import" not in names[start:]:
        return False
    source = "".join(names[start + 1 : names.index("import", start)])
    return source == package or source in ("..", "...")
