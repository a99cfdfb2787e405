"""Releases that rename tables, columns and what is made of them, and what others have hung on these."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.schema_project import SchemaProject
from support.schema_releases import Stage, everything, installed, released

if TYPE_CHECKING:
    from conftest import MakeSchema

ROLES = "".join(
    f"do $$ begin create role {role}; exception when duplicate_object or unique_violation then null; end $$;"
    for role in ("rename_owner", "rename_reader")
)
RENAMED = (
    Stage(
        "create schema s; create table s.customer (id integer primary key, name text, score integer);"
        "create view s.names as select id, name from s.customer;"
    ),
    Stage(
        "create schema s; create table s.client (id integer primary key, full_name text, score integer);"
        "create view s.names as select id, full_name as name from s.client;",
        (
            "customer rename name full_name",
            "customer rename table client",
            "client update alter index s.customer_pkey rename to client_pkey",
        ),
    ),
)
HUNG = {
    "index s.dba_name": "create index dba_name on s.customer (name) where score > 0",
    "statistics s.dba_statistics": "create statistics s.dba_statistics on id, score from s.customer",
    "policy dba on s.client": "create policy dba on s.customer using (name <> '')",
    "constraint dba_check on s.client": "alter table s.customer add constraint dba_check check (score < 1000)",
    "trigger dba on s.client": "create trigger dba before update on s.customer for each row execute function "
    "suppress_redundant_updates_trigger()",
    "rule dba on s.client": "create rule dba as on delete to s.customer where old.id = 0 do instead nothing",
    "view s.dba_view": "create view s.dba_view as select id, name from s.customer",
    "table s.client: row security enabled": "alter table s.customer enable row level security",
    "table s.client: comment 'by hand'": "comment on table s.customer is 'by hand'",
    "table s.client: column full_name comment 'theirs'": "comment on column s.customer.name is 'theirs'",
    "table s.client: grant select to rename_reader": "grant select on s.customer to rename_reader",
    "table s.client: column full_name grant update to rename_reader":
        "grant update (name) on s.customer to rename_reader",
    "table s.client: option fillfactor=70": "alter table s.customer set (fillfactor = 70)",
    "table s.client: publication dba": "create publication dba for table s.customer",
}  # fmt: skip


def upgraded(project: SchemaProject, database: str) -> dict[str, object]:
    """What an upgrade and then `check` say is beyond the release: the same."""
    done = project.done("upgrade", "--json", database=database).json
    checked = project.done("check", "--json", database=database).json
    assert checked["differences"] == []
    assert done["additions"] == checked["additions"]
    return done


def refused(project: SchemaProject, database: str, *arguments: str) -> str:
    """What an upgrade says that is refused and leaves everything as it was."""
    before = everything(project.databases, database)
    result = project.schema("upgrade", *arguments, database=database)
    assert result.code == 1, (result.out, result.err)
    assert everything(project.databases, database) == before
    return result.err


def test_what_hangs_on_a_renamed_table_stays(make_schema: MakeSchema) -> None:
    project = released(make_schema, "s", *RENAMED)
    database = installed(project, ROLES + ";".join(HUNG.values()))
    assert set(upgraded(project, database)["additions"]) == HUNG.keys()  # type: ignore[call-overload]


CUSTOMER = "create schema s; create table s.customer (id integer primary key, name text, score integer);"
CLIENT = "create schema s;create table s.client (id integer constraint customer_pkey primary key, name text, score {});"
VIEWS = """
create schema mart;
create view mart.top with (security_barrier) as select id, name, score from s.customer where score > 0;
create view mart.above as select id, score from mart.top;
create materialized view mart.sums as select name, sum(score) as score from s.customer group by name;
create index sums_score on mart.sums (score);
grant select on mart.top, mart.sums to rename_reader;
comment on column mart.top.score is 'points';
create policy dba on s.customer using (score >= 0);
create index dba_score on s.customer (score) where score > 0;
create rule dba as on delete to s.customer where old.score = 0 do instead nothing;
create trigger dba before update on s.customer for each row when (new.score > 0)
    execute function suppress_redundant_updates_trigger();
alter table s.customer add constraint dba_check check (score < 1000);
create statistics s.dba_statistics on name, score from s.customer;
create publication dba for table s.customer where (score > 0);
"""
ROWS = "insert into s.customer values (1, 'Ann', 1), (2, 'Bob', 2);"
# What is the same whatever it is called.
THEIRS = """select pg_get_viewdef('mart.above'::regclass), reloptions::text, relacl::text,
    col_description(oid, 3), (select array_agg(t order by name)::text from mart.sums t),
    (select relacl::text from pg_class where oid = 'mart.sums'::regclass), to_regclass('mart.sums_score')::text
from pg_class where oid = 'mart.top'::regclass"""


@pytest.mark.parametrize(
    "deltas",
    [
        pytest.param(("customer alter score bigint", "customer rename table client"), id="retyped-first"),
        pytest.param(("customer rename table client", "client alter score bigint"), id="renamed-first"),
        pytest.param(
            (
                "customer alter score numeric",
                "customer rename score points",
                "customer rename table client",
                "client alter points bigint",
                "client rename points score",
            ),
            id="again-and-again",
        ),
    ],
)
def test_a_table_that_is_renamed_and_a_column_that_is_retyped(make_schema: MakeSchema, deltas: tuple[str, ...]) -> None:
    project = released(make_schema, "s", Stage(CUSTOMER), Stage(CLIENT.format("bigint"), deltas))
    database = installed(project, ROLES + ROWS + VIEWS)
    before = project.databases.rows(database, THEIRS)
    assert upgraded(project, database)["additions"] == [
        "constraint dba_check on s.client",
        "index s.dba_score",
        "policy dba on s.client",
        "rule dba on s.client",
        "statistics s.dba_statistics",
        "table s.client: publication dba",
        "trigger dba on s.client",
    ]
    assert project.databases.rows(database, THEIRS) == before
    rows = "select count(*) from pg_publication_tables where pubname = 'dba' and rowfilter like '%score%'"
    assert project.databases.rows(database, rows) == [(1,)]


SWAPPED = (
    Stage("create schema s; create table s.a (id integer, a text); create table s.b (id integer, b text);"),
    Stage(
        "create schema s; create table s.a (id integer, b text); create table s.b (id integer, a text);",
        ("a rename table c", "b rename table a", "c rename table b"),
    ),
    Stage(
        "create schema s; create table s.a (id integer, b text);",
        ("b drop table",),
    ),
)


def test_two_tables_that_swap_their_names(make_schema: MakeSchema) -> None:
    project = released(make_schema, "s", *SWAPPED[:2])
    database = installed(
        project,
        ROLES + "grant select on s.a to rename_reader; comment on column s.b.b is 'of b';"
        "create policy p on s.a using (a <> ''); create trigger t before update on s.b for each row execute function "
        "suppress_redundant_updates_trigger(); create schema mart; create view mart.v as select a from s.a",
    )
    assert upgraded(project, database)["additions"] == [
        "policy p on s.b",
        "table s.a: column b comment 'of b'",
        "table s.b: grant select to rename_reader",
        "trigger t on s.a",
    ]
    assert "s.b" in project.databases.rows(database, "select pg_get_viewdef('mart.v'::regclass)")[0][0]


def test_what_hangs_on_a_table_that_is_renamed_and_goes_later(make_schema: MakeSchema) -> None:
    project = released(make_schema, "s", *SWAPPED)
    hung = (
        "create policy p on s.a using (a <> ''); create index i on s.a (a); alter table s.a add constraint k check "
        "(a <> ''); create policy p on s.b;"
    )
    database = installed(project, hung)
    assert upgraded(project, database)["additions"] == ["policy p on s.a"]
    database = installed(project, hung + "create schema mart; create view mart.v as select a from s.a")
    message = refused(project, database)
    assert "view mart.v is declared by no release, and it needs table s.a, which goes. Nothing was done." in message


def test_a_dependent_of_a_column_that_is_renamed_and_goes_later(make_schema: MakeSchema) -> None:
    project = released(
        make_schema,
        "s",
        Stage(CUSTOMER),
        Stage(CLIENT.format("integer, note text").replace(" name ", " title "),
              ("customer rename name title", "customer rename table client")),
        Stage(CLIENT.format("integer, note text").replace(" name text,", ""), ("client drop title",)),
    )  # fmt: skip
    database = installed(project, "create schema mart; create view mart.v as select name from s.customer")
    message = refused(project, database)
    assert "view mart.v is declared by no release, and it needs column name of table s.customer, which goes" in message
    assert "Nothing was done" in message


def test_a_view_that_is_renamed(make_schema: MakeSchema) -> None:
    """And, as another one, is replaced."""
    source = "create schema s; create table s.t (id integer, a text); create view s.{} as select id{} from s.t;"
    project = released(
        make_schema,
        "s",
        Stage(source.format("v", "")),
        Stage(source.format("w", ", a"), ("t update alter view s.v rename to w",)),
    )
    database = installed(
        project,
        ROLES + "alter view s.v set (security_barrier = true); grant select on s.v to rename_reader;"
        "create trigger t instead of insert on s.v for each row execute function suppress_redundant_updates_trigger();"
        "create schema mart; create view mart.v as select id from s.v; comment on column s.v.id is 'number'",
    )
    assert upgraded(project, database)["additions"] == [
        "trigger t on s.w",
        "view s.w: column id comment 'number'",
        "view s.w: grant select to rename_reader",
        "view s.w: option security_barrier=true",
    ]


def test_a_table_in_another_schema(make_schema: MakeSchema) -> None:
    source = "create schema s; create schema r; create table {}.t (id integer, a {});"
    project = released(
        make_schema,
        "s,r",
        Stage(source.format("s", "text")),
        Stage(
            source.format("r", "varchar(10)"), ("s.t alter a 'varchar(10)'", "s.t update alter table s.t set schema r")
        ),
    )
    database = installed(
        project,
        "create index i on s.t (a); create policy p on s.t using (a <> ''); create statistics s.x on id, a from s.t;"
        "create schema mart; create view mart.v as select a from s.t",
    )
    assert upgraded(project, database)["additions"] == ["index r.i", "policy p on r.t", "statistics s.x"]


def test_a_function_of_others_that_names_what_is_renamed_in_a_text(make_schema: MakeSchema) -> None:
    """The server does not know that it does."""
    project = released(make_schema, "s", *RENAMED)
    database = installed(
        project, "create function s.theirs() returns text language sql as 'select name from s.customer'"
    )
    message = refused(project, database)
    assert 'function s.theirs(), in SQL, does not work any more: relation "s.customer" does not exist' in message


SWAPPED_COLUMNS = "create table s.t (id integer primary key, {} text, {} text);"
PARTITIONED = (
    "create table s.{0} (id integer, {1}) partition by range (id);"
    "create table s.{0}1 partition of s.{0} for values from (0) to (10);"
)
WEIRD = 'create table s."{}" (id integer, "{}" {});'


@pytest.mark.parametrize(
    ("old", "new", "deltas", "theirs", "additions", "shown"),
    [
        pytest.param(
            SWAPPED_COLUMNS.format("a", "b"),
            SWAPPED_COLUMNS.format("b", "a"),
            ("t rename a c", "t rename b a", "t rename c b"),
            "create index i on s.t (a); grant select (a) on s.t to public;"
            "create schema m; create view m.v as select a, b from s.t;",
            ["index s.i", "table s.t: column b grant select to public"],
            ["CREATE INDEX i ON s.t USING btree (b)", " SELECT b AS a,\n    a AS b\n   FROM s.t;"],
            id="columns-swap-their-names",
        ),
        pytest.param(
            "create table s.t (id integer primary key, a integer);",
            "create table s.t (id integer primary key, b bigint, a text);",
            ("t rename a b", "t alter b bigint", "t add a text"),
            "create index i on s.t (a); create policy p on s.t using (a > 0);"
            "create schema m; create view m.w as select a from s.t; create view m.v as select a from m.w;"
            "create function m.f() returns bigint language sql begin atomic select max(a) from m.w; end;",
            ["index s.i", "policy p on s.t"],
            ["CREATE INDEX i ON s.t USING btree (b)", " SELECT a\n   FROM m.w;"],
            id="a-new-column-has-the-old-name",
        ),
        pytest.param(
            "create table s.t (id integer primary key, a integer);",
            "create table s.u (id integer constraint t_pkey primary key, a integer);"
            "create table s.t (id integer constraint t_key primary key, x text);",
            ("t rename table u",),
            "create index i on s.t (a); create policy p on s.t; comment on table s.t is 'c';"
            "create schema m; create view m.v as select a from s.t;",
            ["index s.i", "policy p on s.u", "table s.u: comment 'c'"],
            ["CREATE INDEX i ON s.u USING btree (a)", " SELECT a\n   FROM s.u;"],
            id="a-new-table-has-the-old-name",
        ),
        pytest.param(
            PARTITIONED.format("t", "a integer"),
            PARTITIONED.format("u", "b bigint"),
            ("t rename table u", "t1 rename table u1", "u rename a b", "u alter b bigint"),
            "create table s.t2 partition of s.t for values from (10) to (20); create index i on s.t (a);"
            "create index j on s.t1 (a); alter table s.t1 add constraint k check (a > 0);"
            "create schema m; create view m.v as select a from s.t;",
            ["constraint k on s.u1", "index s.i", "index s.j", "index s.t2_b_idx", "index s.u1_b_idx", "table s.t2"],
            ["CREATE INDEX i ON ONLY s.u USING btree (b)", " SELECT b AS a\n   FROM s.u;"],
            id="partitions",
        ),
        pytest.param(
            "create type s.mood as enum ('a', 'b'); create table s.t (id integer, m s.mood);",
            "create type s.state as enum ('x', 'b'); create table s.t (id bigint, m s.state);",
            (
                "t alter id bigint",
                "t update alter type s.mood rename to state",
                "t update alter type s.state rename value 'a' to 'x'",
            ),
            "create function s.f(s.mood) returns integer language sql return 1;"
            "create index i on s.t (id) where m = 'a';"
            "create schema m; create view m.v as select id from s.t where m = 'a';",
            ["function s.f(s.state)", "index s.i"],
            [
                "CREATE INDEX i ON s.t USING btree (id) WHERE (m = 'x'::s.state)",
                " SELECT id\n   FROM s.t\n  WHERE (m = 'x'::s.state);",
            ],
            id="a-type",
        ),
        pytest.param(
            WEIRD.format("T y", "a b", "text"),
            WEIRD.format('U ""z', "c.d", "varchar(9)"),
            ("""s."T y" alter "a b" 'varchar(9)'""", 's."T y" rename "a b" "c.d"', 's."T y" rename table "U ""z"'),
            'create index i on s."T y" ("a b"); create policy "P on p" on s."T y" using ("a b" <> \'\');'
            'create schema m; create view m.v as select "a b" from s."T y";',
            ["index s.i", 'policy "P on p" on s."U ""z"'],
            ['CREATE INDEX i ON s."U ""z" USING btree ("c.d")', ' SELECT "c.d" AS "a b"\n   FROM s."U ""z";'],
            id="quoted-names",
        ),
    ],
)
def test_an_index_and_a_view_follow(
    make_schema: MakeSchema,
    old: str,
    new: str,
    deltas: tuple[str, ...],
    theirs: str,
    additions: list[str],
    shown: list[str],
) -> None:
    project = released(make_schema, "s", Stage(f"create schema s; {old}"), Stage(f"create schema s; {new}", deltas))
    database = installed(project, theirs)
    assert upgraded(project, database)["additions"] == additions
    query = "select pg_get_indexdef('s.i'::regclass), pg_get_viewdef('m.v'::regclass)"
    indexed, viewed = project.databases.rows(database, query)[0]
    assert [indexed, viewed.replace('t."c.d"', '"c.d"')] == shown


def test_a_rule_of_others_that_names_what_is_renamed(make_schema: MakeSchema) -> None:
    """It goes with a view of the release, and its text is that of before."""
    source = "create schema s; create table s.{0} (a {1}); create view s.v as select a from s.{0};"
    project = released(
        make_schema,
        "s",
        Stage(source.format("t", "integer")),
        Stage(source.format("u", "bigint"), ("t alter a bigint", "t rename table u")),
    )
    database = installed(project, "create rule r as on insert to s.v do instead insert into s.t values (new.a)")
    message = refused(project, database)
    assert "CREATE RULE r AS" in message
    assert "Everything was rolled back" in message


def test_what_is_said_of_a_column_of_a_view_that_gets_another_name(make_schema: MakeSchema) -> None:
    """Nothing tells that it is the same column; it is told."""
    source = "create schema s; create table s.t ({0} text, b text); create view s.v as select {0}, b from s.t;"
    project = released(make_schema, "s", Stage(source.format("a")), Stage(source.format("c"), ("t rename a c",)))
    database = installed(
        project,
        "comment on column s.v.a is 'x'; grant select (a) on s.v to public; comment on column s.v.b is 'stays'",
    )
    done = project.done("upgrade", "--json", database=database)
    assert done.json["additions"] == ["view s.v: column b comment 'stays'"]
    for text in ("comment 'x'", "grant select to public"):
        assert f"gone with its column: view s.v: column a {text}\n" in done.err
