"""The language of deltas, and the file they stand in."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pglast.keywords import RESERVED_KEYWORDS

from dbt_cicd_toolkit.errors import Differs, InvalidInput, Refused
from dbt_cicd_toolkit.files import write_atomically
from dbt_cicd_toolkit.postgres import lexer
from dbt_cicd_toolkit.postgres.reader import Name
from dbt_cicd_toolkit.schema.delta import _RESERVED, FORMS, Delta, parse, resolve
from dbt_cicd_toolkit.schema.delta_file import DeltaFile

T = Name(None, "mytable")


def delta(op: str, table: Name = T, **fields: object) -> Delta:
    return Delta(op, table, **fields)  # type: ignore[arg-type]


READ = {
    "mytable add new_column 'text not null' default_value": delta(
        "add", column="new_column", type="text not null", sql="default_value"
    ),
    "mytable drop old_column": delta("drop", column="old_column"),
    "mytable rename original_name new_name": delta("rename", column="original_name", new="new_name"),
    "myschema.mytable add email 'text' ''": delta(
        "add", Name("myschema", "mytable"), column="email", type="text", sql="''"
    ),
    "mytable add email 'text' '' default": delta("add", column="email", type="text", sql="''", stays=True),
    "mytable add phone text": delta("add", column="phone", type="text"),
    "mytable add n int not_null": delta("add", column="n", type="int", sql="not_null"),
    "mytable add n int not (a and b)": delta("add", column="n", type="int", sql="not (a and b)"),
    'mytable add kind "Kind" null': delta("add", column="kind", type='"Kind"', sql="null"),
    "mytable add kind '\"Kind\"[]' array['a', 'b;']": delta(
        "add", column="kind", type='"Kind"[]', sql="array['a', 'b;']"
    ),
    "mytable add mode 'text check (mode in (''a'', ''b''))'": delta(
        "add", column="mode", type="text check (mode in ('a', 'b'))"
    ),
    "mytable add n ' numeric(10,2) -- money' 0 /* none */ DEFAULT -- so far": delta(
        "add", column="n", type="numeric(10,2)", sql="0", stays=True
    ),
    "  MyTable  ADD  N  INT  $$a;'b$$::int ; ": delta("add", column="n", type="INT", sql="$$a;'b$$::int"),
    '"S"."T ""x""" drop "Old Column"': delta("drop", Name("S", 'T "x"'), column="Old Column"),
    "mytable drop table": delta("drop table"),
    'mytable drop "table"': delta("drop", column="table"),
    "mytable rename table new_name;": delta("rename table", new="new_name"),
    'mytable rename "table" new_name': delta("rename", column="table", new="new_name"),
    "table drop type": delta("drop", Name(None, "table"), column="type"),
    "mytable alter qty bigint": delta("alter", column="qty", type="bigint"),
    "mytable alter qty 'numeric(10,2)' round(qty, 2)": delta(
        "alter", column="qty", type="numeric(10,2)", sql="round(qty, 2)"
    ),
    "mytable alter type type": delta("alter", column="type", type="type"),
    "mytable list": delta("list"),
    "s.mytable pop": delta("pop", Name("s", "mytable")),
    # as in ALTER TABLE
    "mytable add column phone text": delta("add", column="phone", type="text"),
    "mytable drop column phone": delta("drop", column="phone"),
    "mytable rename column a to b": delta("rename", column="a", new="b"),
    "mytable rename table to b": delta("rename table", new="b"),
    "mytable alter column qty type bigint using qty::bigint": delta(
        "alter", column="qty", type="bigint", sql="qty::bigint"
    ),
}


@pytest.mark.parametrize(("line", "expected"), READ.items(), ids=READ)
def test_each_operation_is_read(line: str, expected: Delta) -> None:
    assert parse(line, "x") == expected
    assert parse(str(expected), "x") == expected


CANONICAL = {
    "mytable add column Phone text -- for sales": "mytable add phone 'text'",
    "mytable rename column a to b;": "mytable rename a b",
    "S.MyTable alter a type bigint using a + 1": "s.mytable alter a 'bigint' a + 1",
    'mytable drop "Old"': 'mytable drop "Old"',
    'mytable drop "old"': "mytable drop old",
    'mytable rename "to" "table"': 'mytable rename "to" "table"',
    "mytable update SET a = 1 ;": "mytable update SET a = 1",
}


@pytest.mark.parametrize(("line", "expected"), CANONICAL.items())
def test_a_delta_is_written_in_one_way(line: str, expected: str) -> None:
    assert str(parse(line, "x")) == expected


STATEMENTS = {
    "set a = 'x;', b = 2 where c": 'update "S"."t" set a = \'x;\', b = 2 where c',
    "Set a = 1": 'update "S"."t" Set a = 1',
    **{
        sql: sql
        for sql in (
            "select 1 / 0 where exists (select from t)",
            "insert into saved select id, old from t",
            "update s.other set a = 1",
            "delete from t where a is null",
            "merge into t using u on t.id = u.id when matched then delete",
            "with gone as (delete from t returning *) insert into saved select * from gone",
            "do $$ begin perform 1; perform 2; end $$",
            "alter type mood add value 'calm'",
            "create table saved as select id, old from t",
        )
    },
}


@pytest.mark.parametrize(("sql", "expected"), STATEMENTS.items())
def test_an_update_is_a_set_or_a_whole_statement(sql: str, expected: str) -> None:
    assert parse(f'"S".t update {sql}', "x").statement == expected


SEEN = "mytable update "
REFUSED = {
    # no operation
    "": (1, "a table is missing. The operations are:"),
    "-- nothing": (1, "a table is missing"),
    "mytable": (8, "an operation is missing. The operations are:"),
    "mytable ad phone text": (9, "'ad' is no operation. The operations are:"),
    'mytable "add" phone text': (9, "'\"add\"' is no operation"),
    "alter table mytable add a int": (7, "'table' is no operation"),
    "1 add a int": (1, "'1' is no name of a table"),
    "db.s.t drop a": (1, "db.s.t is no name of a table"),
    '"" drop a': (1, '"" is no name of a table'),
    # names
    "mytable add": (12, f"a column is missing. Write: {FORMS['add']}"),
    "mytable drop": (13, f"a column is missing. Write: {FORMS['drop']}"),
    "mytable drop 'a'": (14, "''a'' is no name of a column"),
    "mytable drop a.b": (14, "a.b is a name with a dot, and a column has none"),
    'mytable drop U&"a\\000Ab"': (14, "is no name of a column"),
    "mytable drop a b": (16, f"'b' is too much. Write: {FORMS['drop']}"),
    "mytable drop a cascade": (16, "'cascade' is too much"),
    "mytable drop table b": (20, f"'b' is too much. Write: {FORMS['drop table']}"),
    "mytable rename a": (17, f"a new name is missing. Write: {FORMS['rename']}"),
    "mytable rename a b.c": (18, "b.c is a name with a dot, and a new name has none"),
    "mytable rename table": (21, f"a new name is missing. Write: {FORMS['rename table']}"),
    "mytable list all": (14, f"'all' is too much. Write: {FORMS['list']}"),
    "mytable add constraint c check (a > 0)": (13, 'CONSTRAINT is a keyword, as a name it is written "constraint"'),
    "mytable add check (a > 0)": (13, "the sources say what they are"),
    # types
    "mytable add a": (14, f"a type is missing. Write: {FORMS['add']}"),
    "mytable add a ''": (15, "'' is no type"),
    "mytable add a ' -- text'": (15, "is no type"),
    "mytable add a E'text'": (15, "E'text' is no type: one word, or in single quotes"),
    "mytable add a $$text$$": (15, "$$text$$ is no type"),
    "mytable add a 5": (15, "5 is no type"),
    "mytable add if not exists a int": (16, "not is no type"),
    "mytable add a varchar(20)": (15, "varchar is no type"),
    "mytable add a varchar (20)": (15, "varchar is no type"),
    "mytable add a text[]": (15, "text is no type"),
    "mytable add a util.email": (15, "util is no type"),
    "mytable alter a set default 5": (17, f"set is no type: one word, or in single quotes. Write: {FORMS['alter']}"),
    "mytable add a 'text, add b int'": (15, "in the type 'text, add b int' there is something behind this ,"),
    "mytable add a 'text; drop table t'": (15, "there is something behind this ;"),
    "mytable add a 'numeric(10,2'": (15, "in the type 'numeric(10,2' this ( is not closed"),
    "mytable add a 'text \"b'": (15, '"b is not closed'),
    # expressions
    "mytable add a double precision": (22, "'precision' begins no expression: single quotes hold a type of several"),
    "mytable add a int default 5": (19, "'default' begins no expression"),
    "mytable add a int not null": (19, "'not' begins no expression"),
    "mytable add a int default": (19, "default stands last"),
    "mytable add a int 1, 2": (20, "there is something behind this ,"),
    "mytable add a int 1; mytable drop b": (20, "there is something behind this ; One operation, one line"),
    "mytable add a int (1": (19, "this ( is not closed"),
    "mytable add a int 1)": (20, "this ) closes nothing"),
    "mytable add a int (1]": (21, "this ] closes nothing"),
    "mytable add a text 'open": (20, "'open is not closed"),
    "mytable add a text 'an unusually long text": (20, "'an unusually long t … is not closed"),
    "mytable add a text $x$ $y$": (20, "is not closed"),
    "mytable add a text /* /* */": (20, "is not closed"),
    "mytable add a\nint": (14, "One operation, one line"),
    "mytable drop a\r": (15, "One operation, one line"),
    "mytable drop \0": (14, "what is no character"),
    "mytable drop \udcff": (14, "what is no character"),
    "mytable alter a int b default": (30, "default is too much: the sources say it"),
    # statements
    SEEN.strip(): (15, f"the SQL is missing. Write: {FORMS['update']}"),
    f"{SEEN}stauts = 1": (16, "'stauts' begins no statement for an update"),
    f"{SEEN}copy mytable from stdin": (16, "'copy' begins no statement"),
    f"{SEEN}set a = 1; select 1": (25, "there is something behind this ;"),
    f"{SEEN}commit": (16, "COMMIT is not for an upgrade, which is one transaction"),
    f"{SEEN}start transaction": (16, "START TRANSACTION is not for an upgrade"),
    f"{SEEN}savepoint a": (16, "SAVEPOINT is not for an upgrade"),
    f"{SEEN}rollback to a": (16, "ROLLBACK TO is not for an upgrade"),
    f"{SEEN}prepare transaction 'a'": (16, "PREPARE TRANSACTION is not for an upgrade"),
    f"{SEEN}vacuum mytable": (16, "VACUUM cannot run inside a transaction, and an upgrade is one"),
    f"{SEEN}create index concurrently i on mytable (a)": (16, "CREATE INDEX CONCURRENTLY cannot run inside"),
    f"{SEEN}drop role staff": (16, "DROP ROLE reaches beyond the database"),
}


@pytest.mark.parametrize(("line", "expected"), REFUSED.items(), ids=map(ascii, REFUSED))
def test_what_is_no_operation_is_refused_where_it_is_wrong(line: str, expected: tuple[int, str]) -> None:
    column, message = expected
    with pytest.raises(InvalidInput) as refusal:
        parse(line, "schema.delta:7")
    assert str(refusal.value).startswith(f"schema.delta:7:{column}: ")
    assert message in str(refusal.value)


def test_an_unknown_operation_is_answered_with_all_there_are() -> None:
    with pytest.raises(InvalidInput) as refusal:
        parse("mytable delete a", "--migrate")
    assert str(refusal.value).startswith("--migrate:9: 'delete' is no operation.")
    assert all(form in str(refusal.value) for form in FORMS.values())


def test_words_that_are_no_names_are_reserved_by_postgresql() -> None:
    assert {word.lower() for word in _RESERVED} <= RESERVED_KEYWORDS


NAME = st.one_of(
    st.sampled_from(["a", "customer", "Table", "table", "to", "column", "type", "set", "not", "default", "é", "x$y"]),
    st.text(st.sampled_from("aZ_0 .\"';$éß-€😀"), min_size=1, max_size=40).map(lexer.truncate),
)
TABLE = st.builds(Name, st.none() | NAME, NAME)
TYPE = st.sampled_from(["text", "Text", '"My Type"', "numeric(10,2)", "text[]", "text check (a in ('x', 'y;'))", "s.t"])
PIECE = st.sampled_from(
    ["a", "1", "+", "||", "(a, b)", "array[1, 2]", "'it''s; -- /*'", "E'\\''", "$$ ' ; $$", '"Ä "', "/* ; , ( */ .5"]
)
SQL = st.lists(PIECE, max_size=4).map(lambda pieces: " ".join(["x", *pieces]))
UPDATE = st.sampled_from(["set a =", "select", "insert into a select", "delete from t where", "do"])
DELTA = st.one_of(
    st.builds(Delta, st.just("add"), TABLE, NAME, type=TYPE, sql=SQL, stays=st.booleans()),
    st.builds(Delta, st.sampled_from(["add", "alter"]), TABLE, NAME, type=TYPE),
    st.builds(Delta, st.just("alter"), TABLE, NAME, type=TYPE, sql=SQL),
    st.builds(Delta, st.just("drop"), TABLE, NAME),
    st.builds(Delta, st.just("rename"), TABLE, NAME, NAME),
    st.builds(Delta, st.just("rename table"), TABLE, new=NAME),
    st.builds(Delta, st.just("drop table"), TABLE),
    st.builds(Delta, st.just("update"), TABLE, sql=st.builds(lambda verb, sql: f"{verb} {sql}", UPDATE, SQL)),
)


@given(DELTA)
@settings(deadline=None)
def test_what_is_written_is_read_as_the_same(one: Delta) -> None:
    assert parse(str(one), "x") == one
    assert parse(f" {one} ; -- why", "x") == one


WORD = st.sampled_from(
    [
        "mt", "a", "b", "add", "drop", "rename", "alter", "update", "table", "column", "to", "type", "using", "set",
        "not null", "default", "select", "commit", "int", "'text'", "''", "5", ".", ",", ";", "(", ")", "[", "]", "'",
        '"', "$$", "--", "/*", "*/", "E'", "\n",
    ]
)  # fmt: skip


@given(st.lists(WORD, max_size=10).map(" ".join))
@example("")
@settings(deadline=None, max_examples=500)
def test_any_text_is_an_operation_or_refused(text: str) -> None:
    try:
        found = parse(text, "where")
    except InvalidInput as refusal:
        assert str(refusal).startswith("where:")
    else:
        assert parse(str(found), "where") == found


TABLES = ("a.t", "a.u", "b.u", '"B".u', 'b."Big Table"', "b.order")


@pytest.mark.parametrize(
    ("table", "expected"),
    [("t", "a.t"), ("a.u", "a.u"), ('"Big Table"', 'b."Big Table"'), ('"order"', "b.order"), ('"B".u', '"B".u')],
)
def test_a_table_gets_its_schema(table: str, expected: str) -> None:
    assert resolve(parse(f"{table} drop a", "x"), TABLES, "x") == parse(f"{expected} drop a", "x")


UNRESOLVED = {
    "u": 'x: u can be any of "B".u, a.u, b.u. Write it with its schema.',
    "b.t": "x: there is no table b.t. Did you mean a.t?",
    "b.ordre": "x: there is no table b.ordre. Did you mean b.order?",
    "zzz": 'x: there is no table zzz. Known are: "B".u, a.t, a.u, b."Big Table", b.order, b.u.',
}


@pytest.mark.parametrize(("table", "message"), UNRESOLVED.items())
def test_a_table_that_is_none_or_several_is_refused(table: str, message: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        resolve(parse(f"{table} drop a", "x"), TABLES, "x")
    assert str(refusal.value) == message


FILE = """\
-- what moved
a.t rename phone mobile
# and why

t add n int 0 default;
-- release 1 1.0.0
-- release 2 2.0.0-rc.1
-- release notes are elsewhere
  b.u drop x
a.t update set n = 1 -- all
"""


def test_a_file_is_split_into_releases() -> None:
    file = DeltaFile.parse(FILE, "f")
    assert file.released == {1: ["a.t rename phone mobile", "t add n int 0 default;"], 2: []}
    assert file.labels == {1: "1.0.0", 2: "2.0.0-rc.1"}
    assert [(line.number, line.text, str(line.delta)) for line in file.open] == [
        (9, "  b.u drop x", "b.u drop x"),
        (10, "a.t update set n = 1 -- all", "a.t update set n = 1"),
    ]
    assert file.text == FILE
    assert DeltaFile.parse(FILE.replace("\n", "\r\n"), "f").released == file.released


def test_operations_are_listed_and_taken_back() -> None:
    file = DeltaFile.parse(FILE, "f")
    assert file.lines(Name(None, "t")) == file.lines(Name("a", "t")) == file.open[1:]
    assert file.lines() == file.open
    assert file.last() == file.open[1]
    assert file.last(Name("b", "u")) == file.open[0]
    assert file.popped(file.open[0]) == FILE.replace("  b.u drop x\n", "")
    with pytest.raises(Refused, match=r"no open operation for c\.t in f; released ones stay"):
        file.last(Name("c", "t"))
    with pytest.raises(Refused, match="no open operation in f"):
        DeltaFile.parse("-- release 1 a\n", "f").last()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-- release 2 b\n", "f:1: release 1 is due here, and there is '-- release 2 b'. Take the released lines back"),
        ("-- release 1 a\n\n-- release 1 b\n", "f:3: release 2 is due here"),
    ],
)
def test_releases_out_of_order_are_refused(text: str, message: str) -> None:
    with pytest.raises(Differs) as refusal:
        DeltaFile.parse(text, "f")
    assert str(refusal.value).startswith(message)


def test_only_open_lines_are_read() -> None:
    assert DeltaFile.parse("what was this\n-- release 1 a\n", "f").released == {1: ["what was this"]}
    with pytest.raises(InvalidInput, match=r"^f:2:6: "):
        DeltaFile.parse("-- release 1 a\nwhat was this\n", "f")
    with pytest.raises(InvalidInput, match="f:1: list is for the command line"):
        DeltaFile.parse("t list\n", "f")


def test_a_release_needs_its_number_and_a_label() -> None:
    file = DeltaFile.parse("t drop a", "f")
    assert file.released_as(1, "1.0.0") == "t drop a\n-- release 1 1.0.0\n"
    with pytest.raises(Differs, match="f goes on with release 1, and it is 2 that is made"):
        file.released_as(2, "1.0.0")
    with pytest.raises(InvalidInput, match="'one two' is no label of a release"):
        file.released_as(1, "one two")


@given(st.lists(DELTA | st.sampled_from(["pop", "release", "-- a comment", "# another", ""]), max_size=12))
@settings(deadline=None)
def test_a_file_keeps_what_is_done_to_it(actions: list[Delta | str]) -> None:
    file, opened, released = DeltaFile.parse("", "f"), list[Delta](), list[list[str]]()
    for action in actions:
        text = file.text
        if isinstance(action, Delta):
            text = file.added(action)
            opened.append(action)
            after = DeltaFile.parse(text, "f")
            assert after.popped(after.last()) == file.text
        elif action == "release":
            text = file.released_as(len(released) + 1, "x")
            released.append([str(delta) for delta in opened])
            opened = []
        elif action != "pop":
            text += f"{action}\n"
        elif opened:
            text = file.popped(file.last())
            opened.pop()
        file = DeltaFile.parse(text, "f")
        assert [line.delta for line in file.open] == opened
        assert list(file.released.values()) == released


def test_a_file_is_read_from_disk(tmp_path: Path) -> None:
    path = tmp_path / "schema.delta"
    assert DeltaFile.read(path).open == ()
    write_atomically(path, FILE)
    assert DeltaFile.read(path) == DeltaFile.parse(FILE, str(path))


@pytest.mark.parametrize(("place", "refusal"), [(b"mobile", Differs), (b"b.u drop", InvalidInput)])
@pytest.mark.parametrize(("byte", "message"), [(b"\xff", "is 0xFF, which is not UTF-8"), (b"\0", "is NUL")])
def test_bytes_that_are_no_text_are_refused(
    tmp_path: Path, place: bytes, refusal: type[Exception], byte: bytes, message: str
) -> None:
    path = tmp_path / "schema.delta"
    path.write_bytes(FILE.encode().replace(place, byte + place))
    with pytest.raises(refusal, match=message):
        DeltaFile.read(path)


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_atomically(path, "one\r\n")
    assert path.read_bytes() == b"one\r\n"
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "two\udcff")
    assert path.read_bytes() == b"one\r\n"
    assert list(tmp_path.iterdir()) == [path]
