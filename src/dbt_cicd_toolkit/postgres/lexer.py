"""PostgreSQL's lexical rules, as far as splitting a file and telling statements apart needs them.

Source: PostgreSQL src/fe_utils/psqlscan.l, psql's lexer, which is kept in step with the server's (src/backend/parser/
scan.l). Names in brackets below are rules of that file. standard_conforming_strings is taken to be on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

SPACE = " \t\n\r\f\v"  # [space]; \v since PostgreSQL 16
# Every byte above 0x7F is a letter to PostgreSQL, also a no-break space or an emoji. Written as what is none: re takes
# 5 ms to compile each set that reaches beyond U+FFFF.
_START = r"[^\x00-@\[-^`{-\x7f]"  # [ident_start]
LETTER = r"[^\x00-/:-@\[-^`{-\x7f]"  # [dolq_cont], [variable_char]
CONTINUES = r"[^\x00-#%-/:-@\[-^`{-\x7f]"  # [ident_cont]
WORD = re.compile(rf"(?<!{CONTINUES}){_START}{CONTINUES}*")
IDENTIFIER_REST = re.compile(rf"{CONTINUES}*")
DOLLAR_TAG = re.compile(rf"\$(?:{_START}{LETTER}*)?\$")  # [dolqdelim]
PARAMETER = re.compile(rf"\$[0-9]+(?:{_START}{CONTINUES}*)?")  # [param], [param_junk]
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_ESCAPED_EDGE = re.compile(r"\\.|''|'", re.DOTALL)
# [quotecontinue]
_QUOTE_CONTINUES = re.compile(rf"[ \t\f\v]*(?:--[^\n\r]*)?[\n\r](?:[{SPACE}]|--[^\n\r]*[\n\r])*'")
_TOKEN = re.compile(
    rf"""
    [{SPACE}]+
    |(?P<line>--[^\n\r]*)
    |(?P<block>/\*)
    |(?P<string>(?:[eEbBxXnN]|[uU]&)?')
    |(?P<identifier>(?:[uU]&)?")
    |(?P<word>{_START}{CONTINUES}*)
    |(?P<dollar>{DOLLAR_TAG.pattern})
    |(?P<parameter>{PARAMETER.pattern})
    |(?P<number>(?:[0-9][0-9_]*(?:\.(?!\.)[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9][0-9_]*)?(?:{_START}{CONTINUES}*)?)
    |(?P<punctuation>::|:=|=>|\.\.|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_UNICODE_ESCAPE = re.compile(r"\\(?:([0-9A-Fa-f]{4})|\+([0-9A-Fa-f]{6})|(\\))")
_BACKSLASH = re.compile(r"\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.DOTALL)
_CONTROL = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_ASCII_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
_NAME_BYTES = 63  # NAMEDATALEN - 1


class Token(NamedTuple):
    """One token: ``kind`` is word, identifier (quoted), string, number, parameter, punctuation or comment.

    ``value`` is what stands in the text, but for identifiers and strings what they mean.
    """

    kind: str
    value: str
    offset: int
    end: int

    def is_word(self, *words: str) -> bool:
        """Whether this is one of these keywords, given in capitals."""
        return self.kind == "word" and self.value.upper() in words


def comment_end(text: str, start: int) -> int:
    """Where the nested comment that begins at ``start`` ends, or -1."""
    depth = 0
    for edge in _COMMENT_EDGE.finditer(text, start):
        depth += 1 if edge.group() == "/*" else -1
        if not depth:
            return edge.end()
    return -1


def quoted_end(text: str, start: int) -> int:
    """Where the quote that begins at ``start``, with doubled quotes in it, ends, or -1."""
    quote = text[start]
    at = text.find(quote, start + 1)
    while at >= 0 and text.startswith(quote, at + 1):
        at = text.find(quote, at + 2)
    return at + 1 if at >= 0 else -1


def string(text: str, quote: int, escaped: bool) -> tuple[int, str]:
    """The string whose opening quote is at ``quote``: where it ends, or -1, and its source without the quotes.

    'a' and 'b' with a newline between them are one string, of the kind of its first part.
    """
    parts: list[str] = []
    while True:
        end = _escaped_end(text, quote) if escaped else quoted_end(text, quote)
        if end < 0:
            return -1, "".join([*parts, text[quote + 1 :]])
        parts.append(text[quote + 1 : end - 1])
        more = _QUOTE_CONTINUES.match(text, end)
        if not more:
            return end, "".join(parts)
        quote = more.end() - 1


def _escaped_end(text: str, start: int) -> int:
    for edge in _ESCAPED_EDGE.finditer(text, start + 1):
        if edge.group() == "'":
            return edge.end()
    return -1


def fold(name: str) -> str:
    """An unquoted name as PostgreSQL keeps it in a UTF-8 database: only ASCII letters become small."""
    return truncate(name.translate(_ASCII_LOWER))


def truncate(name: str) -> str:
    """A name cut to the 63 bytes that PostgreSQL keeps."""
    return name if len(name) < 16 else name.encode("utf-8", "replace")[:_NAME_BYTES].decode("utf-8", "ignore")


def tokens(text: str, start: int = 0, *, comments: bool = False) -> Iterator[Token]:
    """The tokens of ``text`` from ``start`` on, which is between two tokens; comments only when asked for.

    Never raises: what is not closed reaches to the end.
    """
    at, size = start, len(text)
    while at < size:
        match = _TOKEN.match(text, at)
        assert match, "the last alternative takes any character"
        kind, begin, at = match.lastgroup, at, match.end()
        if kind == "block" or kind == "line":
            at = at if kind == "line" else _or_size(comment_end(text, begin), size)
            if comments:
                yield Token("comment", text[begin:at], begin, at)
        elif kind == "string":
            prefix = match.group()[:-1].upper()
            at, source = string(text, at - 1, prefix == "E")
            at = _or_size(at, size)
            yield Token("string", _value(prefix, source), begin, at)
        elif kind == "identifier":
            at = _or_size(quoted_end(text, at - 1), size)
            yield Token("identifier", truncate(_identifier(text[begin:at])), begin, at)
        elif kind == "dollar":
            inside = at
            found = text.find(match.group(), at)
            at = found + len(match.group()) if found >= 0 else size
            yield Token("string", text[inside : found if found >= 0 else size], begin, at)
        elif kind:
            yield Token(kind, match.group(), begin, at)


def _or_size(end: int, size: int) -> int:
    return size if end < 0 else end


def _value(prefix: str, source: str) -> str:
    """What a string constant means; octal escapes of more than ASCII are not put together to characters."""
    source = source.replace("''", "'")
    if prefix == "E":
        return _BACKSLASH.sub(_unescape, source)
    return _unicode(source) if prefix == "U&" else source


def _unescape(match: re.Match[str]) -> str:
    octal, byte, short, long, other = match.groups()
    if other:
        return _CONTROL.get(other, other)
    code = int(octal, 8) if octal else int(byte or short or long, 16)
    return chr(code) if code <= 0x10FFFF else match.group()


def _unicode(body: str) -> str:
    """U&'…' with the backslash; another character set by UESCAPE is left as it is."""
    return _UNICODE_ESCAPE.sub(lambda found: found[3] or _character(int(found[1] or found[2], 16)), body)


def _character(code: int) -> str:
    return chr(code) if code <= 0x10FFFF else "\ufffd"


def _identifier(source: str) -> str:
    prefix, _, rest = source.partition('"')
    body = rest[: len(rest) - rest.endswith('"')].replace('""', '"')
    return _unicode(body) if prefix else body
