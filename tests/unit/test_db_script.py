"""What split() and decode() return and refuse, case by case."""

from __future__ import annotations

import re

import pytest

from dbt_cicd_toolkit.errors import InvalidInput
from dbt_cicd_toolkit.postgres.script import decode, split

FUNCTION = "CREATE FUNCTION f() RETURNS int"
STATEMENTS = {
    "nothing": ("", []),
    "only a comment": ("-- x\n/* y; */\n;;\n", []),
    "the last without a semicolon": ("select 1; select 2", ["select 1", "select 2"]),
    "comments around": ("-- a\n/* b */ select 1 -- c;\n /* d; */ ;", ["select 1"]),
    "comment inside": ("select /* ; */ 1 -- ;\n + 2;", ["select /* ; */ 1 -- ;\n + 2"]),
    "nested comments": (
        "/* a /* b */ ; */ select 1; /*/ ; */ select 2; /***/ select 3",
        ["select 1", "select 2", "select 3"],
    ),
    "comment behind an operator": ("select 1+--;\n2; select 1*/*;*/2", ["select 1+--;\n2", "select 1*/*;*/2"]),
    "slashes and dashes": ("select 4/2, 3-1, 1- -1; select -- ;\n1", ["select 4/2, 3-1, 1- -1", "select -- ;\n1"]),
    "string": ("select ';', 'it''s;', ''; x", ["select ';', 'it''s;', ''", "x"]),
    "backslash in a plain string": (r"select '\'; select 2", [r"select '\'", "select 2"]),
    "backslash in E''": (r"select E'\';', e'\\'; x", [r"select E'\';', e'\\'", "x"]),
    "E'' with doubled quotes": (r"select E'a'';\''; x", [r"select E'a'';\''", "x"]),
    "E'' continued": ("select E'a' -- '\n 'b\\';'; x", ["select E'a' -- '\n 'b\\';'", "x"]),
    "E'' not continued on the line": ("select E'a' '\\'; x", ["select E'a' '\\'", "x"]),
    "a name that ends in e": (r"select ae'\'; x", [r"select ae'\'", "x"]),
    "E behind a string and a dollar quote": (
        r"select 'a'E'\';', $$b$$E'\';'; x",
        [r"select 'a'E'\';', $$b$$E'\';'", "x"],
    ),
    "U&, B, X, N": (
        r"""select U&'\0061;', U&"d\0061;", B'1;', x'f;', N'\'; x""",
        [r"""select U&'\0061;', U&"d\0061;", B'1;', x'f;', N'\'""", "x"],
    ),
    "quoted name": ('select ";", "a"";""", e";\\" ; x', ['select ";", "a"";""", e";\\"', "x"]),
    "dollar quotes": ("select $$;$$, $a$;$$;$b$;$a$; x", ["select $$;$$, $a$;$$;$b$;$a$", "x"]),
    "dollar quote ends inside another tag": ("select $a$ $b$a$; x", ["select $a$ $b$a$", "x"]),
    "dollar quote with letters of any language": ("select $é1$;$é1$; x", ["select $é1$;$é1$", "x"]),
    "dollar in a name": ("select a$b$; select c$b$", ["select a$b$", "select c$b$"]),
    "dollar in a name of any language": ("select é$b$; select 1", ["select é$b$", "select 1"]),
    "dollar behind a number": ("select 1$$;$$; x", ["select 1$$;$$", "x"]),
    "parameters": ("prepare p as select $1, $2; x", ["prepare p as select $1, $2", "x"]),
    "parentheses": (
        "create rule r as on insert to t do (a; (b;); c); x",
        ["create rule r as on insert to t do (a; (b;); c)", "x"],
    ),
    "a parenthesis too many": ("select 1); select 2", ["select 1)", "select 2"]),
    "casts and slices": (
        "select a::text, b[1:2], c[lo:hi], d['a':'b'], e[:'x'], f[\"a\":\"b\"]::\"char\"; call p(x := 'y'); x",
        ["select a::text, b[1:2], c[lo:hi], d['a':'b'], e[:'x'], f[\"a\":\"b\"]::\"char\"", "call p(x := 'y')", "x"],
    ),
    "a bare colon": ("select json_object(a:b), :x; y", ["select json_object(a:b), :x", "y"]),
    "JSON_OBJECT with strings": (
        "select JSON_OBJECT ('a':'b', 'c':f(1), 'd':\"e\"); x",
        ["select JSON_OBJECT ('a':'b', 'c':f(1), 'd':\"e\")", "x"],
    ),
    "begin is a transaction": ("begin; select 1; end", ["begin", "select 1", "end"]),
    "atomic": (
        f"{FUNCTION} BEGIN ATOMIC SELECT 1; SELECT 2; END; x",
        [f"{FUNCTION} BEGIN ATOMIC SELECT 1; SELECT 2; END", "x"],
    ),
    "atomic, replaced, with comments": (
        "create/**/or--\nreplace procedure p() begin/* ; */atomic insert into t values (1);/**/end/**/; x",
        ["create/**/or--\nreplace procedure p() begin/* ; */atomic insert into t values (1);/**/end", "x"],
    ),
    "atomic without a statement": (f"{FUNCTION} BEGIN ATOMIC END; x", [f"{FUNCTION} BEGIN ATOMIC END", "x"]),
    "atomic, case": (
        f"{FUNCTION} BEGIN ATOMIC SELECT CASE WHEN a THEN CASE b WHEN 1 THEN 2 END END; SELECT 3; END; x",
        [f"{FUNCTION} BEGIN ATOMIC SELECT CASE WHEN a THEN CASE b WHEN 1 THEN 2 END END; SELECT 3; END", "x"],
    ),
    "atomic, labels named end and case": (
        f"{FUNCTION} BEGIN ATOMIC SELECT 1 AS end, t.case, 2 end FROM t; SELECT 1 case; END; x",
        [f"{FUNCTION} BEGIN ATOMIC SELECT 1 AS end, t.case, 2 end FROM t; SELECT 1 case; END", "x"],
    ),
    "atomic at the end of the file": (
        f"{FUNCTION} BEGIN ATOMIC SELECT 1; END",
        [f"{FUNCTION} BEGIN ATOMIC SELECT 1; END"],
    ),
    "a type named atomic": (
        "create function f(begin atomic) returns int return 1; x",
        ["create function f(begin atomic) returns int return 1", "x"],
    ),
    "a body that is a string": (
        f"{FUNCTION} language plpgsql as $$begin atomic := 1; end$$; x",
        [f"{FUNCTION} language plpgsql as $$begin atomic := 1; end$$", "x"],
    ),
    "begin atomic elsewhere": ("select begin atomic from t; x", ["select begin atomic from t", "x"]),
    "CR LF": ("select 1\r\n;\r\nselect '\r\n';\r\n", ["select 1", "select '\r\n'"]),
    "CR ends a comment": ("-- x\rselect 1; -- y\rselect 2", ["select 1", "select 2"]),
    "form feed and vertical tab": ("\f\vselect 1\f;\v", ["select 1"]),
    "a no-break space is a letter": ("\u00a0a; b", ["\u00a0a", "b"]),
    "restrict": ("\\restrict aB3\nselect 1;\n\\unrestrict aB3\r\n", ["select 1"]),
    "restrict at the end of the file": ("select 1;\n\\unrestrict aB3", ["select 1"]),
    "settings that change nothing": (
        "SET standard_conforming_strings = on; SET client_encoding TO 'UTF-8'; set names 'utf8'; set names_of = 'off'",
        [
            "SET standard_conforming_strings = on",
            "SET client_encoding TO 'UTF-8'",
            "set names 'utf8'",
            "set names_of = 'off'",
        ],
    ),
}


@pytest.mark.parametrize(("text", "expected"), STATEMENTS.values(), ids=STATEMENTS)
def test_statements(text: str, expected: list[str]) -> None:
    statements = split(text, "x.sql").statements
    assert [statement.text for statement in statements] == expected
    assert [text[each.offset : each.offset + len(each.text)] for each in statements] == expected


REFUSED = {
    "string": ("select 1;\n  'abc;", "2:3: this string is not closed, the file ends inside it. Add the missing '"),
    "string with a doubled quote": ("x 'a''", "1:3: this string is not"),
    "string behind another": ("'a' /**/'b", "1:9: this string is not"),
    "string with backslashes": ("select E'a\\';", "1:8: this string is not"),
    "U& string": ("U&'a", "1:1: this string is not"),
    "quoted name": ('select "a', "1:8: this quoted name is not closed"),
    "comment": ("select 1; /* a /* b */", "1:11: this comment is not closed"),
    "comment inside": ("select /* a", "1:8: this comment is not closed"),
    "dollar quote": (
        "select\r\n$a$ $$ $b$",
        "2:1: this dollar quote is not closed, the file ends inside it. Add the missing $a$",
    ),
    "parenthesis": ("select (1, (2); select", "1:8: this parenthesis is not closed"),
    "atomic": (f"{FUNCTION} BEGIN ATOMIC SELECT 1; select 2 end x", "1:33: this body BEGIN ATOMIC is not closed"),
    "atomic without a semicolon": (f"{FUNCTION} BEGIN ATOMIC SELECT 1", "1:33: this body BEGIN ATOMIC is not closed"),
    "copy": ("x;\nCOPY t FROM stdin;\n1\n", "2:1: this COPY … FROM STDIN is not closed"),
    "copy, the mark not alone": ("COPY t FROM stdin;\n1\n\\.x\n \\.\n", "1:1: this COPY"),
    "copy without a semicolon": ("COPY t FROM stdin\n", "1:1: this COPY"),
    "copy, a statement on its line": ("COPY t FROM stdin; select 1;\n\\.\n", "1:20: the data of COPY"),
    "copy, a comment that goes on": ("COPY t FROM stdin; /*\n*/\n\\.\n", "1:20: the data of COPY"),
    "end of data without copy": ("\n\\.\n", r"2:1: \. is a command of psql, not SQL; it ends the data"),
    "connect": ("\\connect a", r"1:1: \connect is a command of psql, not SQL; it connects elsewhere"),
    "include": ("select 1;\n  \\i x.sql\n", r"2:3: \i is a command of psql, not SQL; it reads another file"),
    "timing": ("\\timing", r"1:1: \timing is a command of psql, not SQL; it does nothing that a migration needs"),
    "gexec": ("select 1 \\gexec", r"1:10: \gexec is a command of psql, not SQL; it runs what a query returned"),
    "describe": ("\\d+ t", r"1:1: \d+ is a command of psql"),
    "joined statements": ("select 1\\; select 2;", r"1:9: \; is a command of psql, not SQL; it sends two statements"),
    "restrict with more": ("\\restrict a b", r"1:1: \restrict is a command of psql, not SQL; it stands alone"),
    "restrict inside": ("select\n\\restrict a\n;", r"2:1: \restrict is a command"),
    "backslash": ("select \\", "1:8: a backslash outside a string is no SQL"),
    "variable as a string": (
        "insert into t values (:'x')",
        "1:23: :'x' is a variable of psql, not SQL. Write the value",
    ),
    "variable as a name": ('select 1 from :"t"', '1:15: :"t" is a variable of psql'),
    "variable asked for": ("select :{?x}", "1:8: :{?x} is a variable of psql"),
    "variable behind brackets": ("select a[1], :'x'", "1:14: :'x' is a variable of psql"),
    "standard_conforming_strings": (
        "SET standard_conforming_strings = off",
        "1:1: standard_conforming_strings must stay on",
    ),
    "the same, locally": (
        "/**/ set local \"standard_conforming_strings\" to 'FALSE';",
        "1:6: standard_conforming_strings",
    ),
    "client_encoding": ("set client_encoding = 'LATIN1'", "1:1: the file is read as UTF-8, not latin1."),
    "names": ("set session names 'win1252'", "1:1: the file is read as UTF-8, not win1252."),
}


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match="^" + re.escape("dir/x.sql:" + message)):
        split(text, "dir/x.sql")


COPIES = {
    "rows": ("COPY t (a, b) FROM stdin;\n1\ta\n2\t'\n\\.\nselect 1;", "1\ta\n2\t'\n", ["select 1"]),
    "none": ("copy t from STDIN;\n\\.\n", "", []),
    "options": ("COPY t FROM STDIN WITH (FORMAT csv) ; -- x\n\"a\n\\n\"\n\\.\nx", "\"a\n\\n\"\n", ["x"]),
    "STDOUT means the same": ("copy t from stdout; /* x */ --\n1\n\\.", "1\n", []),
    "CR LF": ("COPY t FROM stdin;\r\n1\r\n\\.\r\nx", "1\r\n", ["x"]),
    "a column named stdin": ("COPY t (a, \"from\", stdin) FROM stdin;\n\\.\n", "", []),
    "other backslashes": ("COPY t FROM stdin;\n\\\\.\n\\.a\nb\\.\n\\.\n", "\\\\.\n\\.a\nb\\.\n", []),
    "many columns": (f"COPY t ({', '.join('abcdefghijklmnopqrst')}) FROM stdin;\n\\.\n", "", []),
    "to": ("COPY t TO STDOUT;\nx;", None, ["x"]),
    "a query": ("COPY (SELECT 1 FROM stdin) TO stdout;\nx;", None, ["x"]),
    "a file": ("COPY t FROM 'stdin'; x;", None, ["x"]),
    "a program": ("COPY t FROM PROGRAM 'x'; x;", None, ["x"]),
}  # fmt: skip


@pytest.mark.parametrize(("text", "data", "rest"), COPIES.values(), ids=COPIES)
def test_copy(text: str, data: str | None, rest: list[str]) -> None:
    copy, *others = split(text, "x").statements
    assert copy.data == data
    assert [statement.text for statement in others] == rest


WORDS = {
    "plain": ("create table t (id int)", "CREATE TABLE T ID INT"),
    "comments between": ("create/* or */unique--x\nindex", "CREATE UNIQUE INDEX"),
    "quotes left out": ("""alter "TABLE" a add 'value' E'\\'x' U&"y" $$z$$ b""", "ALTER A ADD B"),
    "names with dollars and accents": ("drop a$b é1", "DROP A$B É1"),
    "numbers are none": ("select 1e5, 0xff, $1, a1", "SELECT A1"),
    "twelve": ("a b c d e f g h i j k l m n", "A B C D E F G H I J K L"),
}


@pytest.mark.parametrize(("text", "words"), WORDS.values(), ids=WORDS)
def test_words(text: str, words: str) -> None:
    assert " ".join(split(text, "x").statements[0].words) == words


def test_positions() -> None:
    script = split("\n  a;\r\n\tb ; c\n;/*\n\n*/ d", "x")
    assert [(each.line, each.column) for each in script.statements] == [(2, 3), (3, 2), (3, 6), (6, 4)]
    assert [script.position(each.offset) for each in script.statements] == [(2, 3), (3, 2), (3, 6), (6, 4)]


BYTES = {
    "latin1": (
        "a\né".encode("latin-1"),
        r"x: byte 2 \(line 2\) is 0xE9, which is not UTF-8\. .*iconv -f latin1 -t utf-8 x",
    ),
    "behind a mark": ("\ufeffé".encode() + b"\xff", r"x: byte 5 \(line 1\) is 0xFF"),
    "cut": ("é".encode()[:1], r"byte 0 \(line 1\) is 0xC3"),
    "NUL": (b"a\r\n\0", r"x: byte 3 \(line 2\) is NUL"),
    "UTF-16": ("a".encode("utf-16"), "x is UTF-16. Save it as UTF-8: iconv -f utf-16 -t utf-8 x"),
    "UTF-16, big end first": ("\ufeffa".encode("utf-16-be"), "x is UTF-16"),
    "UTF-32": ("a".encode("utf-32"), "x is UTF-32"),
}


@pytest.mark.parametrize(("data", "message"), BYTES.values(), ids=BYTES)
def test_bytes_refused(data: bytes, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        decode(data, "x")


def test_decode_keeps_all_but_the_mark() -> None:
    assert decode("é\r\n\ufeff".encode("utf-8-sig"), "x") == "é\r\n\ufeff"
    assert decode(b"", "x") == ""


@pytest.mark.parametrize(
    "piece", ["(", "[", "'", "/*", "/* */", "$", "a$ ", "1$1 ", "E'\\''", ":'", "--\n", "a;", "('", "''"]
)
def test_large_and_hostile(piece: str) -> None:
    """Nothing is quadratic: that would take minutes here."""
    try:
        split(piece * (500_000 // len(piece)), "x")
    except InvalidInput as error:
        assert len(str(error)) < 300
