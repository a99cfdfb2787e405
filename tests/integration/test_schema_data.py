"""What an upgrade does to rows: it fills, keeps and saves them, and refuses where they break a new rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.schema_project import SchemaProject
from support.schema_releases import Stage, everything, installed, released

if TYPE_CHECKING:
    from conftest import MakeSchema

PEOPLE = (
    Stage("""
create schema shop;
create table shop.person (
    id bigint generated always as identity primary key,
    first text not null,
    last text,
    phone text,
    code serial
);
create table shop.visit (person_id bigint references shop.person, at date);
create table shop.ticket (number serial primary key, price smallint);
create sequence shop.numbers;
"""),
    Stage(
        """
create schema shop;
create table shop.person (
    id bigint generated always as identity primary key,
    given text not null,
    last text,
    code bigserial,
    kind text not null,
    size integer not null default 3,
    full_name text not null,
    visits bigint not null,
    drawn double precision not null,
    note text,
    score integer not null default 7,
    token uuid not null default gen_random_uuid(),
    initial text generated always as (left(given, 1)) stored
);
create table shop.visit (person_id bigint references shop.person, at date, id integer generated always as identity);
create table shop.phone_book (person_id bigint primary key references shop.person, phone text not null);
create table shop.pass (number bigserial primary key, price text);
create sequence shop.numbers increment by 10;
""",
        (
            "person rename first given",
            "person add kind 'text not null' 'plain'",
            "person add size 'integer not null' 3 default",
            "person add full_name 'text not null' concat_ws(' ', given, last)",
            "person add visits 'bigint not null' (select count(*) from shop.visit v where v.person_id = person.id)",
            "person add drawn 'double precision not null' random()",
            "person add note text",
            "person update set note = 'had ' || phone where phone is not null",
            "person update insert into shop.phone_book select id, phone from shop.person where phone is not null",
            "person drop phone",
            "ticket rename table pass",
            "pass alter price text price || ' EUR'",
        ),
    ),
)
SOME_PEOPLE = """
insert into shop.person (first, last, phone) values ('Ann', 'Lee', '123'), ('Bob', null, null), ('Cy', 'Fox', '456');
insert into shop.visit values (1, '2026-01-01'), (1, '2026-01-02'), (3, '2026-02-01');
insert into shop.ticket (price) select 5 from generate_series(1, 4);
select nextval('shop.numbers') from generate_series(1, 7);
"""


def rows(project: SchemaProject, database: str, query: str) -> list[object]:
    """The rows of a query; single values as they are."""
    found = project.databases.rows(database, query)
    return [row[0] if len(row) == 1 else row for row in found]


@pytest.fixture
def people(make_schema: MakeSchema) -> tuple[SchemaProject, str]:
    """A project, and a database at its second release with rows from the first."""
    project = released(make_schema, "shop", *PEOPLE)
    database = installed(project, SOME_PEOPLE)
    project.done("upgrade", database=database)
    return project, database


def test_new_columns_are_filled_for_old_rows(people: tuple[SchemaProject, str]) -> None:
    project, database = people
    assert rows(
        project, database, "select kind, size, score, full_name, visits, initial from shop.person order by id"
    ) == [
        ("plain", 3, 7, "Ann Lee", 2, "A"),
        ("plain", 3, 7, "Bob", 0, "B"),
        ("plain", 3, 7, "Cy Fox", 1, "C"),
    ]
    for volatile in ("token", "drawn"):
        assert rows(project, database, f"select count(distinct {volatile}) from shop.person") == [3]
    assert rows(project, database, "select id from shop.visit order by id") == [1, 2, 3]


def test_what_is_dropped_is_saved_first_and_what_is_renamed_stays(people: tuple[SchemaProject, str]) -> None:
    project, database = people
    assert rows(project, database, "select given, note from shop.person order by id") == [
        ("Ann", "had 123"), ("Bob", None), ("Cy", "had 456")
    ]  # fmt: skip
    assert rows(project, database, "select * from shop.phone_book order by 1") == [(1, "123"), (3, "456")]
    assert rows(project, database, "select * from shop.pass order by 1") == [(n, "5 EUR") for n in (1, 2, 3, 4)]


def test_only_a_default_that_stays_fills_new_rows(people: tuple[SchemaProject, str]) -> None:
    project, database = people
    with pytest.raises(Exception, match='null value in column "kind"'):
        project.databases.execute(
            database, "insert into shop.person (given, full_name, visits, drawn) values ('D', 'D', 0, 0)"
        )
    new = "insert into shop.person (given, kind, full_name, visits, drawn) values ('D', 'k', 'D', 0, 0) returning size"
    assert rows(project, database, new) == [3]


def test_sequences_go_on_from_where_they_were(people: tuple[SchemaProject, str]) -> None:
    project, database = people
    new = "insert into shop.person (given, kind, full_name, visits, drawn) values ('D', 'k', 'D', 0, 0) returning code"
    assert rows(project, database, new) == [4]
    assert rows(project, database, "select max(id) from shop.person") == [4]
    assert rows(project, database, "insert into shop.pass default values returning number") == [5]
    assert rows(project, database, "insert into shop.visit default values returning id") == [4]
    assert rows(project, database, "select nextval('shop.numbers')") == [17]
    owned = "select pg_get_serial_sequence('shop.pass', 'number')"
    assert rows(project, database, owned) == ["shop.pass_number_seq"]


RULES = (
    Stage("""
create schema shop;
create table shop.parent (id integer primary key, code text);
create table shop.child (id integer primary key, parent integer, a integer, b text);
create table shop.plain (a integer, b text, c text, period int4range);
create table shop.renamed (id integer, old text);
create table shop.old_name (id integer);
create table shop.filled (id integer, source text);
create table shop.narrow (price numeric(10, 2), label text);
create table shop.whole (id integer) partition by range (id);
create table shop.apart (id integer);
create domain shop.code as text;
create table shop.uses (id integer, code shop.code);
"""),
    Stage(
        """
create schema shop;
create table shop.parent (id integer primary key, code text);
create table shop.child (id integer primary key, parent integer references shop.parent, a integer, b text);
create table shop.plain (
    a integer not null check (a > 0), b text, c text, period int4range,
    unique nulls not distinct (b), unique (c, a), exclude using gist (period with &&)
);
create table shop.renamed (id integer, new text not null);
create table shop.new_name (id integer primary key);
create table shop.filled (id integer, source text, made text not null);
create table shop.narrow (price numeric(6, 2), label varchar(3));
create unique index on shop.narrow (lower(label));
create table shop.whole (id integer) partition by range (id);
create table shop.apart partition of shop.whole for values from (1) to (10);
create domain shop.code as text check (value <> '');
create table shop.uses (id integer, code shop.code);
""",
        (
            "renamed rename old new",
            "old_name rename table new_name",
            "filled add made 'text not null' upper(source)",
            "narrow alter price 'numeric(6,2)' price::numeric(6,2)",
            "narrow alter label 'varchar(3)' label::varchar(3)",
        ),
    ),
)


def refused(project: SchemaProject, database: str) -> str:
    """What an upgrade says that is refused and leaves everything as it was."""
    before = everything(project.databases, database)
    result = project.schema("upgrade", database=database)
    assert result.code == 1, (result.out, result.err)
    assert everything(project.databases, database) == before
    return result.err


def listed(project: SchemaProject, database: str, message: str) -> list[str]:
    """The rows that the query of a refusal lists, as psql writes them."""
    query = message.partition("List them:\n")[2]
    return project.databases.run(database, "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", input=query).splitlines()


PLAIN = "insert into shop.plain values "


@pytest.mark.parametrize(
    ("rows", "rule", "found"),
    [
        pytest.param(
            PLAIN + "(null, 'x', 'y'), (3, 'z', 'z'), (null, 'w', 'w')",
            "not null on shop.plain.a: 2 rows",
            ["|x|y|", "|w|w|"],
            id="not-null",
        ),
        pytest.param(
            PLAIN + "(0, 'x', 'y'), (3, 'z', 'z')",
            "constraint plain_a_check on shop.plain, CHECK ((a > 0)): 1 rows",
            ["0|x|y|"],
            id="check",
        ),
        pytest.param(
            PLAIN + "(1, null, 'x'), (2, null, 'y'), (3, 'z', null)",
            "constraint plain_b_key on shop.plain, UNIQUE NULLS NOT DISTINCT (b): 2 rows",
            ["1||x||2", "2||y||2"],
            id="unique-nulls-not-distinct",
        ),
        pytest.param(
            PLAIN + "(1, 'x', 'k'), (1, 'y', 'k'), (1, 'z', null), (1, 'w', null)",
            "constraint plain_c_a_key on shop.plain, UNIQUE (c, a): 2 rows",
            ["1|x|k||2", "1|y|k||2"],
            id="unique",
        ),
        pytest.param(
            "insert into shop.parent values (1); insert into shop.child values (1, 1), (2, 7), (3, null)",
            "constraint child_parent_fkey on shop.child, FOREIGN KEY (parent) REFERENCES shop.parent(id): 1 rows",
            ["2|7||"],
            id="foreign-key",
        ),
        pytest.param(
            "insert into shop.narrow values (1, 'ab'), (2, 'AB'), (3, 'c'), (4, null), (5, null)",
            "unique index shop.narrow_lower_idx: 2 rows",
            ["1.00|ab|2", "2.00|AB|2"],
            id="unique-index",
        ),
        pytest.param(
            "insert into shop.apart values (1), (99), (null)",
            "shop.apart FOR VALUES FROM (1) TO (10): 2 rows",
            ["99", ""],
            id="partition",
        ),
        pytest.param(
            "insert into shop.renamed values (1, null), (2, 'x')",
            "not null on shop.renamed.new: 1 rows",
            ["1|"],
            id="renamed-column",
        ),
        pytest.param(
            "insert into shop.old_name values (1), (1), (2)",
            "constraint new_name_pkey on shop.new_name, PRIMARY KEY (id): 2 rows",
            ["1|2", "1|2"],
            id="renamed-table",
        ),
        pytest.param(
            "insert into shop.filled values (1, null), (2, 'x')",
            "not null on shop.filled.made: 1 rows",
            ["1||"],
            id="filled-by-an-expression",
        ),
    ],
)
def test_rows_that_break_a_new_rule(make_schema: MakeSchema, rows: str, rule: str, found: list[str]) -> None:
    project = released(make_schema, "shop", *RULES)
    database = installed(project, rows)
    message = refused(project, database)
    assert f"{rule} break it." in message
    assert sorted(listed(project, database, message)) == sorted(found)


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        pytest.param(PLAIN + "(1, 'x', 'x', '[1,3]'), (2, 'y', 'y', '[2,4]')", "plain_period_excl", id="exclusion"),
        pytest.param("insert into shop.uses values (1, '')", "domain shop.code", id="domain"),
        pytest.param("insert into shop.narrow values (12345.67, 'x')", "shop.narrow", id="type"),
    ],
)
def test_rows_that_no_query_is_known_for(make_schema: MakeSchema, rows: str, named: str) -> None:
    project = released(make_schema, "shop", *RULES)
    assert named in refused(project, installed(project, rows))


def test_rows_that_keep_every_rule(make_schema: MakeSchema) -> None:
    project = released(make_schema, "shop", *RULES)
    good = """
    insert into shop.parent values (1, null); insert into shop.child values (1, 1), (2, null);
    insert into shop.plain values (1, 'x', 'x', '[1,2]'), (2, 'y', 'x', '[3,4]');
    insert into shop.renamed values (1, 'x'); insert into shop.old_name values (1), (2);
    insert into shop.filled values (1, 'x'); insert into shop.narrow values (1.5, 'x'), (2, 'y');
    insert into shop.apart values (1), (9); insert into shop.uses values (1, null), (2, 'x');
    """
    database = installed(project, good)
    project.done("upgrade", database=database)
    assert rows(project, database, "select made from shop.filled") == ["X"]
    assert rows(project, database, "select id from shop.whole order by 1") == [1, 9]


MENDED = (
    Stage("create schema shop; create table shop.person (id integer, mail text);"),
    Stage(
        "create schema shop; create table shop.person (id integer, mail text not null, unique (mail));",
        (
            "person update delete from shop.person where id in (select id from shop.person where mail = 'old')",
            "person update set mail = 'nobody-' || id where mail is null",
            "person update select id from person where mail not like '%@%' and mail not like 'nobody-%'",
        ),
    ),
)


def test_a_delta_mends_rows_before_a_new_rule_is_asked_for(make_schema: MakeSchema) -> None:
    project = released(make_schema, "shop", *MENDED)
    database = installed(project, "insert into shop.person values (1, null), (2, null), (3, 'old'), (4, 'old')")
    project.done("upgrade", database=database)
    assert rows(project, database, "select mail from shop.person order by 1") == ["nobody-1", "nobody-2"]


def test_a_delta_that_selects_rows_refuses_them(make_schema: MakeSchema) -> None:
    project = released(make_schema, "shop", *MENDED)
    database = installed(project, "insert into shop.person values (1, null), (2, 'bad'), (3, 'a@b'), (4, 'worse')")
    message = refused(project, database)
    assert "2 rows do not pass a check of the release" in message
    assert sorted(listed(project, database, message)) == ["2", "4"]


def test_two_rows_a_delta_did_not_mend(make_schema: MakeSchema) -> None:
    project = released(make_schema, "shop", *MENDED)
    database = installed(project, "insert into shop.person values (1, null), (2, 'nobody-1'), (3, 'a@b')")
    message = refused(project, database)
    assert "UNIQUE (mail): 2 rows break it." in message
    assert sorted(listed(project, database, message)) == ["1|nobody-1|2", "2|nobody-1|2"]


SWAPPED = (
    Stage("""
create schema shop;
create table shop.a (id serial primary key, v text);
create table shop.b (id integer primary key, x integer, y integer, unique (x));
create table shop.c (id integer primary key, z integer);
create view shop.all_a as select * from shop.a;
"""),
    Stage(
        """
create schema shop;
create table shop.a (id serial primary key, fresh boolean);
create table shop.old_a (id serial primary key, v text);
create table shop.c (id integer primary key, y integer, x integer, unique (y));
create table shop.b (id integer primary key, z integer);
create view shop.all_a as select * from shop.old_a;
""",
        (
            "a rename table old_a",
            "b rename table aside",
            "c rename table b",
            "aside rename table c",
            "c rename x aside",
            "c rename y x",
            "c rename aside y",
        ),
    ),
)


def test_tables_and_columns_that_swap_their_names(make_schema: MakeSchema) -> None:
    project = released(make_schema, "shop", *SWAPPED)
    database = installed(
        project,
        "insert into shop.a (v) values ('1'), ('2');"
        "insert into shop.b values (1, 10, 20); insert into shop.c values (2, 30);",
    )
    project.done("upgrade", database=database)
    assert rows(project, database, "select * from shop.all_a order by 1") == [(1, "1"), (2, "2")]
    assert rows(project, database, "select id, x, y from shop.c") == [(1, 20, 10)]
    assert rows(project, database, "select id, z from shop.b") == [(2, 30)]
    assert rows(project, database, "insert into shop.old_a default values returning id") == [3]
    assert rows(project, database, "insert into shop.a default values returning id") == [1]


DEFERRED = (
    Stage("""
create schema shop;
create table shop.parent (id integer primary key);
create table shop.child (id integer, parent integer references shop.parent deferrable initially deferred, v text);
create table shop.gone (parent integer references shop.parent deferrable initially deferred);
"""),
    Stage(
        """
create schema shop;
create function shop.f() returns trigger language plpgsql as $$ begin return new; end $$;
create table shop.parent (id integer primary key);
create table shop.kid (id integer, parent integer references shop.parent deferrable initially deferred, w text);
create index on shop.kid (w);
create trigger f before update on shop.kid for each row execute function shop.f();
create policy everyone on shop.kid using (true);
""",
        (
            "parent update set id = id + 10",
            "child update set parent = parent + 10",
            "gone update set parent = parent + 10",
            "child rename table kid",
            "kid rename v w",
            "gone drop table",
        ),
    ),
)


def test_rows_moved_under_deferred_constraints(make_schema: MakeSchema) -> None:
    project = released(make_schema, "shop", *DEFERRED)
    values = "insert into shop.parent values (1), (2), (3); insert into shop.child values (1, 1, 'x'), (2, 3, 'y');"
    database = installed(project, values + "insert into shop.gone values (1)")
    project.done("upgrade", database=database)
    assert rows(project, database, "select * from shop.kid order by 1") == [(1, 11, "x"), (2, 13, "y")]
