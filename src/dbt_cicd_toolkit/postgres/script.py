"""Files of SQL: decode them and split them into statements, exactly where the server ends one, in one pass.

The rules are psql's (PostgreSQL src/fe_utils/psqlscan.l, src/bin/psql/mainloop.c, copy.c), but for two of the server's:
- Bodies BEGIN ATOMIC … END. psql counts the words BEGIN, CASE and END; the grammar (src/backend/parser/gram.y,
  routine_body_stmt_list) has the END of a body where a statement would begin, so that is looked for.
- E'…' continued on the next line. psql, which reads by line, takes the continuation for a plain string.
What only psql understands is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from dbt_cicd_toolkit.errors import InvalidInput
from dbt_cicd_toolkit.postgres import lexer, psql
from dbt_cicd_toolkit.postgres.lexer import SPACE

_WORDS = 12
# The characters that can matter to where a statement ends. Every alternative begins with a literal, so that re skips
# what lies between quickly; a closed quote is taken whole. 'a''b' is read as two quotes, which end at the same place.
_STOP = re.compile(r"""'[^']*'?|"[^"]*"?|;|\(|\)|::|:(?=['"{])|--[^\n\r]*|/\*|\$|\[|\]|\\""")
_BLANK = re.compile(rf"[{SPACE};]*(?:--[^\n\r]*[{SPACE};]*)*")
_PREFIXES = "eEbBxXnN&"  # the character before the quote of E'…', B'…', X'…', N'…', U&'…' and U&"…"
_LETTER = re.compile(lexer.CONTINUES)
_ATOMIC = re.compile("atomic", re.IGNORECASE)
_JSON_OBJECT = re.compile(rf"json_object(?:agg)?[{SPACE}]*\Z", re.IGNORECASE)
_COPY_END = re.compile(r"\\\.\r?(?:\n|\Z)")
_ROUTINE = frozenset(("FUNCTION", "PROCEDURE"))
# What is known of the body of CREATE FUNCTION at a semicolon; above zero: the offset of the BEGIN ATOMIC it is inside.
_UNKNOWN, _NO_BODY, _CLOSING = 0, -1, -2


class Statement(NamedTuple):
    """One statement: ``text`` begins at its first token and ends before its semicolon.

    ``offset`` (characters), ``line`` and ``column`` (1-based) are of the first token. ``words`` are the first twelve
    unquoted words in capitals. ``data`` are the lines behind COPY … FROM STDIN, without the line ``\\.``, else None.
    """

    text: str
    offset: int
    line: int
    column: int
    data: str | None
    words: tuple[str, ...]


class Script(NamedTuple):
    """A file and its statements."""

    name: str
    text: str
    statements: tuple[Statement, ...]

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column, both from 1, of a character offset."""
        return position(self.text, offset)


def position(text: str, offset: int) -> tuple[int, int]:
    """Line and column, both from 1, of a character offset; lines end with LF or CR LF."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def decode(data: bytes, name: str) -> str:
    """The text of a file: UTF-8, with or without a byte order mark.

    Raises:
        InvalidInput: other bytes, UTF-16 or UTF-32, or a NUL; the message names the byte's offset and line.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")):
        encoding = "utf-32" if data.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")) else "utf-16"
        raise InvalidInput(f"{name} is {encoding.upper()}. Save it as UTF-8: {_iconv(encoding, name)}")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        at = error.start
        raise InvalidInput(
            f"{name}: byte {at} (line {data.count(10, 0, at) + 1}) is 0x{data[at]:02X}, which is not UTF-8. "
            f"Save the file as UTF-8, for example from Latin-1: {_iconv('latin1', name)}"
        ) from None
    if "\0" in text:
        at = data.index(0)
        raise InvalidInput(
            f"{name}: byte {at} (line {data.count(10, 0, at) + 1}) is NUL, which PostgreSQL does not store. Remove it."
        )
    return text.removeprefix("\ufeff")


def _iconv(encoding: str, name: str) -> str:
    return f"iconv -f {encoding} -t utf-8 {name} > {name}.utf8"


def split(text: str, name: str) -> Script:
    """Split a file into its statements; empty ones are dropped, and so are pg_dump's ``\\restrict`` lines.

    Raises:
        InvalidInput: ``name:line:column: …``: the file ends inside something; a command or variable of psql; SET of a
            setting under which these rules or the file's encoding would not hold.
    """
    return Script(name, text, tuple(_Splitter(text, name).statements()))


class _Splitter:
    def __init__(self, text: str, name: str) -> None:
        self.text = text
        self.name = name

    def statements(self) -> Iterator[Statement]:
        text, size = self.text, len(self.text)
        start, line, line_start, counted = self._blank(0), 1, 0, 0
        while start < size:
            end, stop, words = self._scan(start)
            line += text.count("\n", counted, start)
            line_start = max(line_start, text.rfind("\n", counted, start) + 1)
            counted = start
            source, data, following = text[start:end], None, stop + 1
            if words and words[0] == "COPY" and _reads_stdin(source):
                data, following = self._copy_data(start, following)
            elif words and words[0] == "SET" and (reason := psql.setting_refused(source)):
                raise self._fail(start, reason)
            yield Statement(source, start, line, start - line_start + 1, data, words)
            start = self._blank(following)

    def _blank(self, at: int) -> int:
        """Where the next statement begins: behind white space, comments, lone semicolons and \\restrict lines."""
        text = self.text
        while True:
            match = _BLANK.match(text, at)
            assert match, "it also matches nothing"
            at = match.end()
            if text.startswith("/*", at):
                at = self._comment(at)
            elif restrict := psql.RESTRICT.match(text, at):
                at = restrict.end()
            else:
                return at

    def _scan(self, start: int) -> tuple[int, int, tuple[str, ...]]:
        """Find the end of the statement that begins at ``start``: (end of its last token, its semicolon, first words).

        ``at`` is the token looked at, ``last`` the end of the one before that is no word, ``end`` that of the last one
        that is no comment. One function, because this loop is where the time goes.
        """
        text, search, size = self.text, _STOP.search, len(self.text)
        words: list[str] = []
        parentheses: list[int] = []
        brackets, body = 0, _UNKNOWN
        at = last = end = start
        while True:
            match = search(text, at)
            if match:
                at = match.start()
                char = text[at]
            else:
                at, char = size, ""
            if char == "$" and self._in_word(at, last):
                at = lexer.IDENTIFIER_REST.match(text, at).end()  # type: ignore[union-attr]
                continue
            prefix = 0
            if (char == "'" or char == '"') and at > last and text[at - 1] in _PREFIXES:
                prefix = self._prefix(at, last)
            if len(words) < _WORDS:
                words += lexer.WORD.findall(text, last, at - prefix)
            if char in ";-/" and (gap := text[last:at].rstrip(SPACE)):  # also at the end of the file
                end = last + len(gap)
            if match is None or (char == ";" and not parentheses):
                body = self._body(start, at, words, body)
                if match is None or body == _NO_BODY:
                    break
            last = match.end()
            if char == "(":
                parentheses.append(at)
            elif char == ")":
                if parentheses:
                    parentheses.pop()
            elif char == "'" or char == '"':
                if prefix or last - at < 2 or text[last - 1] != char:
                    last = self._quoted(start, at, prefix)
            elif char == "-":
                at = last
                continue
            elif char == "/":
                at = last = self._comment(at)
                continue
            elif char == "$":
                last = self._dollar(at)
            elif char == "[" or char == "]":
                brackets += 1 if char == "[" else -1
            elif char == "\\":
                raise self._fail(at, psql.command_refused(text, at))
            elif char == ":" and last - at == 1 and brackets <= 0:
                self._variable(at, parentheses)
            at = end = last
        if parentheses:
            raise self._unclosed(parentheses[0], "parenthesis", ")")
        return end, at, tuple([word.upper() for word in words[:_WORDS]])

    def _fail(self, offset: int, message: str) -> InvalidInput:
        line, column = position(self.text, offset)
        return InvalidInput(f"{self.name}:{line}:{column}: {message}")

    def _unclosed(self, offset: int, what: str, closing: str) -> InvalidInput:
        return self._fail(offset, f"this {what} is not closed, the file ends inside it. Add the missing {closing}")

    def _in_word(self, at: int, last: int) -> bool:
        """Whether the $ at ``at`` continues a name; behind a number it does not."""
        first = at
        while first > last and _LETTER.match(self.text, first - 1):
            first -= 1
        return first < at and self.text[first] not in "0123456789"

    def _prefix(self, at: int, last: int) -> int:
        """The length of E, B, X, N or U& before the quote at ``at``."""
        text = self.text
        length = 2 if text.startswith(("U&", "u&"), at - 2) else 1
        if at - length < last or (length == 1 and (text[at] == '"' or text[at - 1] not in _PREFIXES[:-1])):
            return 0
        return 0 if at - length > last and _LETTER.match(text, at - length - 1) else length

    def _quoted(self, start: int, at: int, prefix: int) -> int:
        """Where the quote at ``at`` ends, which has a prefix or is not closed."""
        char = self.text[at]
        escaped = prefix == 1 and self.text[at - 1] in "eE"
        end = lexer.string(self.text, at, True)[0] if escaped else lexer.quoted_end(self.text, at)
        if end < 0:
            *_, opened = lexer.tokens(self.text, start)  # the quote at ``at`` may be the second one of 'a''b
            raise self._unclosed(opened.offset, "string" if char == "'" else "quoted name", char)
        return end

    def _comment(self, at: int) -> int:
        end = lexer.comment_end(self.text, at)
        if end < 0:
            raise self._unclosed(at, "comment", "*/ (comments nest)")
        return end

    def _dollar(self, at: int) -> int:
        tag = lexer.DOLLAR_TAG.match(self.text, at)
        if not tag:
            parameter = lexer.PARAMETER.match(self.text, at)
            return parameter.end() if parameter else at + 1
        end = self.text.find(tag.group(), tag.end())
        if end < 0:
            raise self._unclosed(at, "dollar quote", tag.group())
        return end + len(tag.group())

    def _variable(self, at: int, parentheses: list[int]) -> None:
        """Refuse :'x', :"x" and :{?x}. In JSON_OBJECT('a':'b') the colon is SQL's own (PostgreSQL 16)."""
        variable = psql.VARIABLE.match(self.text, at)
        opening = parentheses[-1] if parentheses else 0
        if variable and not _JSON_OBJECT.search(self.text, max(0, opening - 50), opening):
            raise self._fail(at, psql.variable_refused(variable.group()))

    def _body(self, start: int, at: int, words: list[str], body: int) -> int:
        """What is known of a body BEGIN ATOMIC at the semicolon, or end of file, at ``at``."""
        if body == _UNKNOWN:
            if not words or words[0].upper() != "CREATE" or _ROUTINE.isdisjoint(map(str.upper, words[1:4])):
                return _NO_BODY
            body = self._body_opened(start, at)
        elif body == _CLOSING:
            return _NO_BODY
        if body > 0:
            if at == len(self.text):
                raise self._unclosed(body, "body BEGIN ATOMIC", "END;")
            if _is_end(next(lexer.tokens(self.text, at + 1), None)):
                return _CLOSING
        return body

    def _body_opened(self, start: int, at: int) -> int:
        """The offset of BEGIN ATOMIC in the head of CREATE FUNCTION, unless its END follows at once."""
        if not _ATOMIC.search(self.text, start, at):
            return _NO_BODY
        head = list(lexer.tokens(self.text[start:at]))
        depth = 0
        for index, token in enumerate(head[:-1]):
            depth += (token.value == "(") - (token.value == ")") if token.kind == "punctuation" else 0
            if depth == 0 and token.is_word("BEGIN") and head[index + 1].is_word("ATOMIC"):
                return _NO_BODY if _is_end(head[index + 2] if index + 2 < len(head) else None) else start + token.offset
        return _NO_BODY

    def _copy_data(self, start: int, following: int) -> tuple[str, int]:
        """The lines behind a COPY … FROM STDIN up to a line ``\\.``, and where the file goes on."""
        text = self.text
        line_end = text.find("\n", following)
        line_end = len(text) if line_end < 0 else line_end
        for token in lexer.tokens(text[following:line_end], comments=True):
            if token.kind != "comment" or (token.value[1] == "*" and not token.value.endswith("*/")):
                raise self._fail(
                    following + token.offset,
                    "the data of COPY … FROM STDIN begin on the next line. Leave the rest of this one empty.",
                )
        at = line_end
        while at >= 0:
            end = _COPY_END.match(text, at + 1)
            if end:
                return text[line_end + 1 : end.start()], end.end()
            at = text.find("\n\\.", at + 1)
        raise self._unclosed(start, "COPY … FROM STDIN", "line \\. behind the data")


def _is_end(token: lexer.Token | None) -> bool:
    return token is not None and token.is_word("END")


def _reads_stdin(statement: str) -> bool:
    """Whether a COPY reads its data from the client. The grammar takes STDOUT for STDIN (gram.y, copy_file_name)."""
    depth, previous = 0, None
    for token in lexer.tokens(statement):
        if token.kind == "punctuation":
            depth += (token.value == "(") - (token.value == ")")
        elif depth == 0 and previous and previous.is_word("FROM"):
            return token.is_word("STDIN", "STDOUT")
        previous = token if depth == 0 else None
    return False
