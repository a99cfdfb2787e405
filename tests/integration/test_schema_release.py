"""What `release` makes of sources: their order, identities and dependencies; what it refuses, with the line to enter;
what cannot be in a transaction; and what the fingerprint of a release is of."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest

from support.databases import Databases, alone
from support.schema_project import SchemaProject
from support.schema_releases import Stage, everything, installed, released

if TYPE_CHECKING:
    from conftest import MakeSchema

# What is about files and the scratch servers, which are of both majors whatever the target is.
once = pytest.mark.parametrize("databases", [18], indirect=True, ids=["any"])


def project_of(make: MakeSchema, sources: str | Mapping[str, str], schemas: str = "shop") -> SchemaProject:
    """A project with these sources and no release."""
    project = make()
    project.done("init", "--schemas", schemas)
    project.write({"objects.sql": sources} if isinstance(sources, str) else sources)
    return project


def files(project: SchemaProject) -> dict[str, bytes]:
    """Every file of the folder."""
    return {str(path): path.read_bytes() for path in project.folder.rglob("*") if path.is_file()}


def refused(project: SchemaProject, code: int, *arguments: str) -> str:
    """What a command says that fails so and writes nothing."""
    before = files(project)
    result = project.schema(*arguments)
    assert result.code == code, (result.out, result.err)
    assert files(project) == before
    return result.err


def records(project: SchemaProject) -> dict[str, Any]:
    """{type and name: record} of schema.hist."""
    history = json.loads((project.folder / "schema.hist").read_text(encoding="utf-8"))
    return {f"{each['type']} {each['name']}": each for each in history["past"]}


# Order, identities, dependencies

# In the order of the files nothing works.
UPSIDE_DOWN = {
    "a_views.sql": """
create view shop.best as select name, amount from shop.spent where amount > util.threshold();
create view shop.spent as
    select c.id, util.clean(c.name) as name, sum(o.amount) as amount
    from shop.customer c join shop."Order" o on o.customer_id = c.id group by c.id, c.name;
create unique index on shop.totals (at); create materialized view shop.totals as
    select at, count(*) as n from shop."Order" group by at;
comment on view shop.best is 'Who spends most';
grant select on shop."Order" to public;
""",
    "b_tables.sql": """
create trigger stamp before insert on shop.customer for each row execute function util.stamp();
create policy mine on shop.customer using (util.positive(id));
create index by_name on shop.customer (util.clean(name));
alter table shop."Order" add constraint later check (at < '2100-01-01');
create table shop."Order" (
    id bigint generated always as identity,
    customer_id integer references shop.customer,
    amount util.money,
    state shop.state default 'open',
    at date
);
create function shop.last(shop."Order") returns date language sql begin atomic select ($1).at; end;
""",
    "c_customer.SQL": """
create table shop.customer (id integer primary key default nextval('shop.numbers'), name text not null);
create sequence shop.numbers;
""",
    "y_types.sql": """
create type shop.state as enum ('open', 'paid');
create domain util.money as numeric check (util.positive(value));
""",
    "z_util.sql": """
create function util.clean(value text) returns text immutable language sql begin atomic select util.cut(value); end;
create function util.cut(text, integer default 10) returns text immutable language sql return left($1, $2);
create function util.positive(numeric) returns boolean immutable language sql return $1 > 0;
create function util.stamp() returns trigger language plpgsql as $$ begin return new; end $$;
create function util.threshold() returns integer language plpgsql as $$ begin return 10; end $$;
create schema util;
create schema shop;
""",
}
# The server drops these together with what they belong to, so it does not tell that they need it; or not of what.
BELONG = {
    ("index shop.by_name", "table shop.customer"),
    ("index shop.totals_at_idx", "materialized view shop.totals"),
    ("trigger stamp on shop.customer", "table shop.customer"),
    ("policy mine on shop.customer", "table shop.customer"),
    ("constraint later on shop.\"Order\"", "table shop.\"Order\""),
    ("domain util.money", "function util.positive(numeric)"),
}  # fmt: skip


def described(text: str, names: Collection[str]) -> str:
    """The object that the server describes so, or as a part of it; '' when it does not say of what."""
    text = re.sub(r"^(?:default value for )?column \S+ of ", "", text)
    text = re.sub(r" on (?:table|materialized view) ", " on ", text)
    name = text.rpartition(" on ")[2]
    candidates = (text, f"table {name}", *(f"{kind} {name.removeprefix('type ')}" for kind in ("domain", "table")))
    return next((each for each in candidates if each in names), "")


def needs(databases: Databases, database: str, names: Collection[str]) -> set[tuple[str, str]]:
    """(object, what it needs), as the server says itself when it refuses to drop the latter."""
    found = set()
    with alone(databases, database) as connection, connection.cursor() as cursor:
        for name in names:
            cursor.execute("begin; set local search_path = ''")
            try:
                cursor.execute(f"drop {name} restrict")
            except psycopg2.errors.DependentObjectsStillExist as error:
                for line in str(error.diag.message_detail).splitlines():
                    pair = [described(text, names) for text in line.split(" depends on ")]
                    found.add((pair[0], pair[1]))
            cursor.execute("rollback")
    return {(one, other) for one, other in found if one and one != other}


def test_sources_in_any_order_and_file_settle_with_the_dependencies_of_the_server(
    make_schema: MakeSchema, databases: Databases
) -> None:
    project = project_of(make_schema, UPSIDE_DOWN, "shop,util")
    project.done("release", "1.0.0")
    found = records(project)
    assert sorted(found) == sorted([
        "schema shop", "schema util", "type shop.state", "domain util.money", "sequence shop.numbers",
        "function util.clean(text)", "function util.cut(text,integer)", "function util.positive(numeric)",
        "function util.stamp()", "function util.threshold()", "function shop.last(shop.\"Order\")",
        "table shop.customer", "table shop.\"Order\"", "constraint later on shop.\"Order\"", "index shop.by_name",
        "trigger stamp on shop.customer", "policy mine on shop.customer", "view shop.spent", "view shop.best",
        "materialized view shop.totals", "index shop.totals_at_idx", "comment on view shop.best",
        "grant select on shop.\"Order\" to public",
    ])  # fmt: skip
    database = installed(project)
    made = {key for key, record in found.items() if record["type"] not in ("comment", "grant", "constraint")}
    recorded = {(key, need) for key, record in found.items() for need in record["dependencies"]}
    said = ("comment", "grant", "constraint")
    assert {pair for pair in recorded if not pair[0].startswith(said)} | BELONG == (
        needs(databases, database, made) | BELONG
    )
    assert recorded >= BELONG
    assert ("comment on view shop.best", "view shop.best") in recorded
    assert ('grant select on shop."Order" to public', 'table shop."Order"') in recorded


@once
def test_folders_and_line_ends_do_not_matter(make_schema: MakeSchema) -> None:
    project = project_of(
        make_schema, {"z.sql": "\ufeffcreate schema shop;\r\ncreate table shop.t (\r\n id integer);\r\n"}
    )
    (project.folder / "objects/deep/er").mkdir(parents=True)
    (project.folder / "objects/deep/er/a.sql").write_text("create view shop.v as select id from shop.t")
    project.done("release", "1.0.0")
    assert records(project)["table shop.t"]["source"] == "create table shop.t (\n id integer)"
    assert records(project)["view shop.v"]["dependencies"] == ["schema shop", "table shop.t"]


@once
def test_unqualified_names_are_in_the_first_managed_schema(make_schema: MakeSchema) -> None:
    project = project_of(
        make_schema, "create schema shop; create schema util; create table t (id integer);", "util,shop"
    )
    project.done("release", "1.0.0")
    assert "table util.t" in records(project)


@once
def test_300_objects_upside_down(make_schema: MakeSchema) -> None:
    lines = ["create schema shop;"]
    for i in range(100):
        reference = f"references shop.t{i - 1}" if i % 10 else ""
        lines.append(f"create table shop.t{i} (id integer primary key, other integer {reference});")
        lines.append(f"create function shop.f{i}(integer) returns integer immutable language sql return $1 + {i};")
        source = f"shop.v{i - 1}" if i % 10 else f"shop.t{i}"
        lines.append(f"create view shop.v{i} as select shop.f{i}(id) as id from {source};")
    project = project_of(make_schema, "\n".join(reversed(lines)))
    project.done("release", "1.0.0")
    assert len(records(project)) == 301


SPELLINGS = [
    "function util.f(integer)", "util.f(integer)", "util.f", "f", "f(integer)", "table shop.t", "shop.t", "t",
    'view shop."B c"', 'shop."B c"', '"B c"', "trigger g on shop.t", "materialized view shop.m", "shop.comp",
    "index shop.t_pkey1", "constraint named on shop.t", "type shop.comp", "schema util",
]  # fmt: skip


@once
def test_requires_names_an_object_in_many_ways(make_schema: MakeSchema) -> None:
    lines = [
        "create schema shop; create schema util; create type shop.comp as (a integer);",
        "create table shop.t (id integer); create index t_pkey1 on shop.t (id);",
        "create function util.f(integer) returns integer language sql return 1;",
        'create view shop."B c" as select 1 as a; create materialized view shop.m as select 1 as a;',
        "create trigger g before update on shop.t for each row execute function suppress_redundant_updates_trigger();",
        "alter table shop.t add constraint named check (id > 0);",
    ]
    for number, spelling in enumerate(SPELLINGS):
        lines += [
            f"{'  ' * (number % 2)}--{' ' * (number % 3)}@requires {spelling} ",
            "-- and a comment",
            f"create function shop.by{number}() returns integer language plpgsql as $$ begin return 1; end $$;",
        ]
    project = project_of(make_schema, "\n".join(lines), "shop,util")
    project.done("release", "1.0.0")
    found = records(project)
    for number, spelling in enumerate(SPELLINGS):
        (needed,) = set(found[f"function shop.by{number}()"]["dependencies"]) - {"schema shop"} or {"schema shop"}
        assert needed in found
        assert needed.endswith(spelling) or spelling in needed, (spelling, needed)


COUNTING = """
create schema shop;
create table shop.t (id integer);
{requires}
create function shop.count() returns bigint language sql as 'select count(*) from shop.{table}';
"""
RUN = "create materialized view shop.numbers as select shop.count() as n;"


@once
def test_requires_puts_a_body_that_is_a_string_behind_what_it_needs(make_schema: MakeSchema) -> None:
    """Where it is run. Else it may stand anywhere, and is checked at the end."""
    view = "create view shop.w as select id from shop.t;"
    project = project_of(make_schema, COUNTING.format(requires=view, table="w") + RUN)
    message = refused(project, 1, "release", "1.0.0")
    assert 'materialized view shop.numbers: relation "shop.w" does not exist' in message
    assert "@requires" in message
    project.write({"objects.sql": COUNTING.format(requires=f"{view}\n-- @requires shop.w", table="w") + RUN})
    project.done("release", "1.0.0")
    assert records(project)["function shop.count()"]["dependencies"] == ["schema shop", "view shop.w"]
    installed(project)


@once
def test_a_body_that_is_a_string_needs_no_requires(make_schema: MakeSchema) -> None:
    project = project_of(make_schema, COUNTING.format(requires="", table="t"))
    project.done("release", "1.0.0")
    both = COUNTING.format(requires="create table shop.u (id integer);", table="u")
    project.write({"objects.sql": both})
    project.done("release", "2.0.0")
    fresh = project.structure(installed(project, label="2.0.0"), "shop")
    database = installed(project)
    project.done("upgrade", database=database)
    assert project.structure(database, "shop") == fresh
    project.write({"objects.sql": both.replace("shop.u'", "shop.nowhere'")})
    assert 'relation "shop.nowhere" does not exist' in refused(project, 1, "release", "3.0.0")


PLPGSQL = "create function shop.f() returns integer language plpgsql as $$ begin return 1; end $$;"
TWO = "create function shop.g(integer) returns integer language sql return 1;\n" + (
    "create function shop.g(text) returns integer language sql return 1;"
)


@once
@pytest.mark.parametrize(
    ("source", "said"),
    [
        pytest.param(
            f"create schema shop; {TWO}\n-- @requires shop.g\n  {PLPGSQL}",
            ["objects.sql:4:3: @requires shop.g: ", "function shop.g(integer), function shop.g(text)"],
            id="ambiguous",
        ),
        pytest.param(
            f"create schema shop;\n-- @requires shop.nope\n{PLPGSQL}",
            ["objects.sql:3:1: @requires shop.nope: no source makes it"],
            id="unknown",
        ),
        pytest.param(f"create schema shop;\n-- @requires\n{PLPGSQL}", ["objects.sql:3:1: @requires"], id="nothing"),
        pytest.param(
            f"create schema shop;\n{PLPGSQL}\n   -- @requires shop.f",
            ["objects.sql:3:1: there is no statement behind this @requires"],
            id="last-line",
        ),
        pytest.param(
            "create schema shop;\n-- @requires shop.b\ncreate view shop.a as select 1 as x;\n"
            "-- @requires shop.a\ncreate view shop.b as select 1 as x;",
            ["in a circle: view shop.a, view shop.b"],
            id="circle",
        ),
    ],
)
def test_requires_that_cannot_be_met(make_schema: MakeSchema, source: str, said: Sequence[str]) -> None:
    message = refused(project_of(make_schema, source), 2, "release", "1.0.0")
    for each in said:
        assert each in message


@once
@pytest.mark.parametrize(
    ("sources", "code", "said"),
    [
        pytest.param(
            {
                "a.sql": "create schema shop; create view shop.a as select * from shop.b;",
                "b.sql": "create view shop.b as select * from shop.c;\n  create view shop.c as select * from shop.a;",
            },
            1,
            ["shop.a (", "a.sql:1:21) → shop.b (", "b.sql:1:1) → shop.c (", "b.sql:2:3) → shop.a (", "in a circle"],
            id="circle",
        ),
        pytest.param(
            {
                "a.sql": "create schema shop;\ncreate view shop.a as select * from shop.nope;\n"
                "  create function shop.f() returns int language sql begin atomic select shop.g(1); end;\n"
                "create table shop.t (a shop.state);",
                "b.sql": "create view shop.fine as select 1 as a;",
            },
            1,
            ['a.sql:2:1: relation "shop.nope"', "a.sql:3:3: function shop.g(integer)", 'a.sql:4:1: type "shop.state"'],
            id="missing",
        ),
        pytest.param(
            {"a.sql": "create schema shop; create table shop.t ();", "b.sql": "\n  create table shop.t (id integer);"},
            1,
            ["b.sql:2:3: ", "a.sql:1:21 makes it, too"],
            id="table-twice",
        ),
        pytest.param(
            {"a.sql": "create schema shop; create table shop.t ();", "b.sql": "create table if not exists shop.t ();"},
            2,
            ["b.sql:1:1: ", "a.sql:1:21 makes it, too"],
            id="table-if-not-exists",
        ),
        pytest.param(
            {
                "a.sql": "create schema shop; create view shop.v as select 1 as a;",
                "b.sql": "create or replace view shop.v as select 1 as a;",
            },
            2,
            ["b.sql:1:1: ", "a.sql:1:21 makes it, too"],
            id="view-twice",
        ),
        pytest.param(
            {
                "a.sql": "create schema shop; create table shop.t (); grant select on shop.t to public;",
                "b.sql": "GRANT  SELECT on shop.t to public;",
            },
            2,
            ["b.sql:1:1: grant select on shop.t to public is in ", "a.sql:1:45, too"],
            id="grant-twice",
        ),
        pytest.param({"a.sql": "create table shop.t ();"}, 1, ['a.sql:1:1: schema "shop"'], id="no-schema"),
        pytest.param({"a.sql": "create schema shop;\n\ncreate tabel shop.t ();"}, 1, ["a.sql:3:8: "], id="syntax"),
        pytest.param(
            {"a.sql": "create schema shop;\n\ncreate function shop.f() returns int as $$ select 1;"},
            2,
            ["a.sql:3:41: "],
            id="unclosed",
        ),
    ],
)
def test_sources_that_cannot_be_installed(
    make_schema: MakeSchema, sources: Mapping[str, str], code: int, said: Sequence[str]
) -> None:
    message = refused(project_of(make_schema, sources), code, "release", "1.0.0")
    for each in said:
        assert each in message


@once
@pytest.mark.parametrize(
    "statement",
    [
        "alter view shop.v rename to other",
        "alter view shop.v set schema util",
        "alter function shop.f(integer) rename to g",
        "alter schema shop rename to more",
    ],
)
def test_an_object_that_another_source_renames(make_schema: MakeSchema, statement: str) -> None:
    """It would be called otherwise than what is kept of it says."""
    sources = """create schema shop; create schema util;
create view shop.v as select 1 as a;
create function shop.f(integer) returns integer language sql return 1;"""
    project = project_of(make_schema, {"a.sql": f"{statement};", "b.sql": sources}, "shop,util,more")
    message = refused(project, 2, "release", "1.0.0")
    assert re.search(r"b\.sql:\d:1: \S+ \S+ is not there at the end", message)


# The place is that of the second line, in column 3.
NO_SOURCES = {
    "insert": "insert into shop.t values (1)",
    "copy": "copy shop.t from stdin;\n1\n\\.\n",
    "update": "update shop.t set id = 1",
    "select": "select set_config('search_path', 'public', false)",
    "select-into": "select 1 as a into shop.x",
    "do": "do $$ begin create table shop.x (); end $$",
    "set": "set search_path = public",
    "drop": "drop table if exists shop.x",
    "truncate": "truncate shop.t",
    "call": "call shop.p()",
    "role": "create role somebody",
    "role-granted": "grant pg_monitor to somebody",
    "alter-role": "alter role postgres set timezone = 'UTC'",
    "database": "alter database postgres set timezone = 'UTC'",
    "tablespace": "create tablespace x location '/'",
    "begin": "begin",
    "commit": "commit",
    "savepoint": "savepoint x",
    "default-privileges": "alter default privileges in schema shop grant select on tables to public",
    "all-tables": "grant select on all tables in schema shop to public",
    "all-functions": "revoke execute\n on all functions in schema shop from public",
    "unnamed-concurrently": "create index concurrently on shop.t (id)",
    "reindex": "reindex table concurrently shop.t",
    "vacuum": "vacuum shop.t",
    "detach": "alter table shop.t detach partition shop.part concurrently",
    "refresh": "refresh materialized view concurrently shop.m",
    "drop-index": "drop index concurrently shop.i",
    "alter-system": "alter system set work_mem = '4MB'",
    "subscription": "create subscription s connection 'host=x' publication p",
    # These are known for what they are when they have been run.
    "temporary": "create temporary table x (id integer)",
    "temporary-view": "create temp view x as select 1 as a",
    "pg_temp": "create function pg_temp.f() returns integer language sql return 1",
    "public": "create table public.x (id integer)",
    "other-schema": "create schema other",
    "several": "create schema more create table x (id integer)",
    "event-trigger": "create event trigger x on ddl_command_end execute function shop.e()",
    "publication": "create publication x for table shop.t",
    "cast": "create cast (shop.state as integer) with function shop.c(shop.state)",
    "foreign-server": "create foreign data wrapper x",
    "public-renamed": "alter schema public rename to other",
    "public-granted": "grant create on schema public to public",
    "commented": "comment on schema public is 'x'",
    "built-in": "grant execute on function pg_catalog.pg_read_file(text) to public",
}


@once
@pytest.mark.parametrize("statement", NO_SOURCES.values(), ids=NO_SOURCES.keys())
def test_what_is_no_source(make_schema: MakeSchema, statement: str) -> None:
    project = project_of(
        make_schema,
        {
            "a.sql": f"-- first\n  {statement};",
            "b.sql": """create schema shop; create table shop.t (id integer) partition by list (id);
create table shop.part partition of shop.t for values in (1); create type shop.state as enum ('a');
create function shop.c(shop.state) returns integer language sql return 1;
create function shop.e() returns event_trigger language plpgsql as $$ begin end $$;""",
        },
        "shop,more",
    )
    assert "objects/a.sql:2:3: " in refused(project, 2, "release", "1.0.0")


@once
def test_several_statements_about_one_table(make_schema: MakeSchema) -> None:
    project = project_of(
        make_schema,
        """create schema shop;
alter table shop.t add constraint child foreign key (parent) references shop.t;
alter table shop.t add constraint positive check (id > 0); alter table shop.t add unique (note);
alter table shop.t alter note set default 'positive'; alter table shop.t enable row level security;
comment on constraint positive on shop.t is 'x'; comment on column shop.t.note is 'y';
create table shop.t (id integer primary key, parent integer, note text);""",
    )
    project.done("release", "1.0.0")
    found = records(project)
    assert found["constraint positive on shop.t"]["dependencies"] == ["schema shop", "table shop.t"]
    assert found["comment on constraint positive on shop.t"]["dependencies"] == [
        "constraint positive on shop.t", "schema shop", "table shop.t"
    ]  # fmt: skip
    database = installed(project)
    assert project.done("check", "--json", database=database).json["differences"] == []


# Changes that only a delta declares

TABLES = """create schema shop;
create table shop.t (
    id integer primary key,
    a text, b varchar(10), c integer);
create table shop."W x" (
    id integer,
    "A b" text);
"""


def entered(message: str) -> list[str]:
    """The lines that a refusal asks for."""
    return [shlex.split(each)[-1] for each in re.findall(r"Enter: (.+)$", message, re.MULTILINE)]


@once
def test_undeclared_changes_are_refused_with_the_lines_to_enter(make_schema: MakeSchema) -> None:
    """All of them at once: nothing is written, and with these lines it works."""
    project = released(make_schema, "shop", Stage(TABLES))
    text = TABLES
    for old, new in [
        ("    a text, ", "    "),
        ("varchar(10)", "varchar(5)"),
        ("c integer)", "c text, d date not null,\n    e numeric(4,1) not null)"),
        (',\n    "A b" text', ""),
        ("create table shop.\"W", "create unlogged table shop.\"W"),
    ]:  # fmt: skip
        assert old in text
        text = text.replace(old, new)
    project.write({"objects.sql": text})
    message = refused(project, 1, "release", "1.1.0")
    assert entered(message) == [
        'shop."W x" update alter table shop."W x" set unlogged',
        "shop.t drop a",
        "shop.t add d 'date not null' now()",
        "shop.t add e 'numeric(4,1) not null' 0",
        "shop.t alter b 'character varying(5)'",
        "shop.t alter c 'text'",
    ]
    place = "objects.sql:"
    for said in (f"{place}2:1: shop.t: column a", f"{place}4:27: ", f"{place}5:5: ", f"{place}4:5: ", f"{place}4:19: "):
        assert said in message, said
    for line in entered(message):
        project.done("delta", line)
    message = refused(project, 1, "release", "1.1.0")
    assert entered(message) == ['shop."W x" drop "A b"']
    project.done("delta", entered(message)[0])
    made = project.done("release", "1.1.0", "--json").json
    assert [step["sql"] for step in made["steps"]["14"] if "drop column" in step["sql"]] == [
        'alter table "shop"."t" drop column "a"',
        'alter table "shop"."W x" drop column "A b"',
    ]
    database = installed(project, "insert into shop.t (id, b, c) values (1, 'x', 7)")
    project.done("upgrade", database=database)
    assert project.databases.rows(database, "select b, c, e from shop.t") == [("x", "7", 0)]


@once
def test_a_rename_is_never_guessed(make_schema: MakeSchema) -> None:
    project = released(make_schema, "shop", Stage(TABLES))
    text = TABLES.replace("a text", "a2 text").replace("c integer", "c2 integer not null")
    project.write({"objects.sql": text.replace('"A b"', '"C d"')})
    message = refused(project, 1, "release", "1.1.0")
    offered = [re.findall(r"`([^`]+)`", line) for line in message.splitlines() if "no longer in the source" in line]
    assert offered == [
        ['shop."W x" rename "A b" "C d"', 'shop."W x" drop "A b"'],
        ["shop.t rename a a2", "shop.t drop a"],
        ["shop.t rename c c2", "shop.t drop c", "shop.t add c2 'integer not null' 0"],
    ]
    for line in (offered[0][0], offered[1][0], *offered[2][1:]):
        project.done("delta", line)
    project.done("release", "1.1.0")
    rows = "insert into shop.t (id, a, c) values (1, 'kept', 7); insert into shop.\"W x\" values (1, 'too')"
    database = installed(project, rows)
    project.done("upgrade", database=database)
    assert project.databases.rows(database, "select a2, c2 from shop.t") == [("kept", 0)]
    assert project.databases.rows(database, 'select "C d" from shop."W x"') == [("too",)]


@once
def test_a_new_column_that_is_not_last_is_refused(make_schema: MakeSchema) -> None:
    project = released(make_schema, "shop", Stage(TABLES))
    text = TABLES.replace("b varchar(10), ", "b varchar(10),\n      middle date, ")
    project.write({"objects.sql": text.replace('    id integer,\n    "A b"', '    "New" date, id integer, "A b"')})
    message = refused(project, 1, "release", "1.1.0")
    assert "objects.sql:5:7: shop.t: in the source, column middle stands where " in message
    assert "id, a, b, c, middle." in message
    assert 'objects.sql:7:5: shop."W x": in the source, column "New" stands where ' in message
    assert not entered(message)
    project.write({"objects.sql": TABLES.replace("c integer", "c integer, middle date")})
    project.done("release", "1.1.0")


# What cannot be in the transaction

PLAIN = "create schema shop; create table shop.t (id integer primary key, n integer);"
CONCURRENT = (
    Stage(PLAIN),
    Stage(
        f"{PLAIN} create index concurrently ratio on shop.t ((10 / n));"
        "create unique index concurrently one on shop.t (n);"
    ),
    Stage(
        f"{PLAIN} create index concurrently ratio on shop.t ((10 / n));"
        "create unique index concurrently one on shop.t (n); create view shop.v as select n from shop.t;"
    ),
)
_LOG = "select action, label, detail ->> 'state' from dbt_cicd.dbt_cicd_schema_log order by id"
_INDEXES = """select c.relname, i.indisvalid from pg_index i join pg_class c on c.oid = i.indexrelid
where c.relname in ('ratio', 'one') order by 1"""


def test_a_concurrent_index_is_built_after_the_commit(make_schema: MakeSchema, databases: Databases) -> None:
    project = released(make_schema, "shop", *CONCURRENT)
    database = installed(project, "insert into shop.t values (1, 1), (2, 2)")
    result = project.done("upgrade", "--to", "2.0.0", database=database)
    assert "release 2.0.0 is committed; now create " in result.err
    assert databases.rows(database, _INDEXES) == [("one", True), ("ratio", True)]
    statements = [("statement", "2.0.0", "intent"), ("statement", "2.0.0", "done")] * 2
    assert databases.rows(database, _LOG)[:-1] == [
        ("install", "1.0.0", None), ("upgrade", "2.0.0", None), *statements, ("post", "2.0.0", None)
    ]  # fmt: skip
    assert project.done("check", "--json", database=database).json["differences"] == []
    project.done("upgrade", database=database)
    assert project.done("check", "--json", database=database).json["differences"] == []


def test_in_an_installation_a_concurrent_index_is_an_ordinary_one(
    make_schema: MakeSchema, databases: Databases
) -> None:
    project = released(make_schema, "shop", *CONCURRENT)
    database = installed(project, label="3.0.0")
    assert databases.rows(database, _INDEXES) == [("one", True), ("ratio", True)]
    assert databases.rows(database, _LOG) == [("install", "3.0.0", None)]
    # Nor is it built later where a later release goes on in the same transaction.
    stepwise = installed(project, "insert into shop.t values (1, 1)")
    project.done("upgrade", "--to", "3.0.0", database=stepwise)
    assert project.structure(stepwise, "shop") == project.structure(database, "shop")


def test_a_concurrent_index_that_fails_is_gone_on_with(make_schema: MakeSchema, databases: Databases) -> None:
    """Duplicates are foreseen; what an expression does with a row is not."""
    project = released(make_schema, "shop", *CONCURRENT)
    database = installed(project, "insert into shop.t values (1, 3), (2, 3), (3, 0)")
    before = everything(databases, database)
    result = project.schema("upgrade", "--to", "2.0.0", database=database)
    assert result.code == 1
    assert "unique index shop.one: 2 rows break it" in result.err
    assert everything(databases, database) == before

    databases.execute(database, "delete from shop.t where id = 2")
    result = project.schema("upgrade", "--to", "2.0.0", database=database)
    assert result.code == 1
    assert "division by zero" in result.err
    assert project.schema("check", "--json", database=database).json["release"] == "2.0.0"
    assert project.schema("check", database=database).code == 3
    result = project.schema("upgrade", database=database)  # not on to 3.0.0 before 2.0.0 is whole
    assert result.code == 1
    assert project.schema("check", "--json", database=database).json["release"] == "2.0.0"

    databases.execute(database, "update shop.t set n = 5 where n = 0")
    project.done("upgrade", database=database)
    assert databases.rows(database, _INDEXES) == [("one", True), ("ratio", True)]
    assert project.done("check", "--json", database=database).json == {
        "success": True, "release": "3.0.0", "differences": [], "additions": [], "diff": ""
    }  # fmt: skip


ENUM = (
    "create schema shop; create type shop.state as enum ({values}); create table shop.t (id integer, s shop.state{more}"
)
USES = {
    "default": (" default 'b');", ()),
    "column": (", two shop.state not null);", ("t add two 'shop.state not null' 'b'",)),
    "view": ("); create view shop.v as select id from shop.t where s = 'b';", ()),
    "update": (");", ("t update set s = 'b'",)),
}


@once
@pytest.mark.parametrize("use", USES)
def test_a_new_enum_value_that_is_used_at_once(make_schema: MakeSchema, use: str) -> None:
    more, deltas = USES[use]
    project = released(make_schema, "shop", Stage(ENUM.format(values="'a'", more=");")))
    project.write({"objects.sql": ENUM.format(values="'a', 'b'", more=more)})
    for delta in deltas:
        project.done("delta", delta)
    message = refused(project, 1, "release", "2.0.0")
    assert '"b"' in message
    assert "can be used from the next release on" in message


@once
@pytest.mark.parametrize("use", USES)
def test_a_new_enum_value_that_a_later_release_uses(make_schema: MakeSchema, use: str) -> None:
    """From 1.0.0 in two transactions, of which the first ends where the value is; from 2.0.0 and 3.0.0 in one."""
    more, deltas = USES[use]
    values = ("'a'", "'a', 'b'")
    plain = [ENUM.format(values=each, more=");") for each in values]
    uses = ENUM.format(values=values[1], more=more)
    noted = f"{uses} comment on schema shop is 'noted';"
    project = released(make_schema, "shop", *map(Stage, plain), Stage(uses, deltas), Stage(noted))
    assert project.done("plan", "--from", "1.0.0", "--json").json["commits"] == ["2.0.0", "4.0.0"]
    assert project.done("plan", "--from", "2.0.0", "--json").json["commits"] == ["4.0.0"]
    fresh = project.structure(installed(project, label="4.0.0"), "shop")
    for start, runs in (("1.0.0", ["2.0.0", "4.0.0"]), ("2.0.0", ["4.0.0"]), ("3.0.0", ["4.0.0"])):
        database = installed(project, label=start)
        project.done("upgrade", database=database)
        assert project.structure(database, "shop") == fresh
        assert [label for action, label, _ in project.databases.rows(database, _LOG) if action == "upgrade"] == runs


def test_a_transaction_that_fails_after_another(make_schema: MakeSchema) -> None:
    """The database is whole at the release where the first one ended, and the message says so."""
    plain = [ENUM.format(values=each, more=");") for each in ("'a'", "'a', 'b'")]
    last = ENUM.format(values="'a', 'b'", more=" default 'b', n integer not null);")
    project = released(make_schema, "shop", *map(Stage, plain), Stage(last, ("t add n 'integer not null' (1 / id)",)))
    database = installed(project, "insert into shop.t values (0, 'a')")
    result = project.schema("upgrade", database=database)
    assert result.code == 1
    assert "division by zero" in result.err
    assert "has release 2.0.0 now, and is whole" in result.err
    assert project.done("check", "--json", database=database).json["release"] == "2.0.0"
    project.databases.execute(database, "update shop.t set id = 1")
    project.done("upgrade", database=database)
    assert project.databases.rows(database, "select s::text, n from shop.t") == [("a", 1)]


# The fingerprint

MARKED = """create schema shop;
create type shop.state as enum ('z', 'a', '_b', 'B', 'ä');
create table shop."Zeta" (
    id integer primary key, "Ä" integer, "a_b" text, "aB" text, "ab" text, check ("ab" < "aB"),
    at timestamptz not null default '2025-01-02 03:04', day date default '03/04/2025',
    span interval default '1 day -02:00', ratio float8 default 0.1, raw bytea default '\\x00ff',
    state shop.state default 'ä'
);
create index "a_1" on shop."Zeta" ("ab"); create index "A1" on shop."Zeta" ("aB");
create index a1 on shop."Zeta" ("a_b");
create table shop.parted (id integer, at timestamptz) partition by range (at);
create table shop.part partition of shop.parted for values from ('2025-01-01') to ('2026-01-01');
create view shop.late as select * from shop."Zeta" where at > '2025-06-01'::timestamptz and span > interval '1 hour';
create function shop.f(at timestamptz default '2025-01-01', span interval default '3 days') returns integer
    language sql return 1;
create trigger g before update on shop."Zeta" for each row execute function suppress_redundant_updates_trigger();
alter table shop."Zeta" set (fillfactor = 70); alter table shop."Zeta" enable row level security;
comment on table shop."Zeta" is 'said'; comment on column shop."Zeta"."Ä" is 'of a column';
grant select on shop."Zeta" to public; grant update ("Ä") on shop."Zeta" to public;
"""
STRANGE = (
    "search_path = pg_catalog", "TimeZone = 'Asia/Tokyo'", "DateStyle = 'SQL, DMY'", "IntervalStyle = 'iso_8601'",
    "extra_float_digits = 0", "bytea_output = 'escape'", "quote_all_identifiers = on", "lc_monetary = 'C'",
    "standard_conforming_strings = off",
)  # fmt: skip


def checked(project: SchemaProject, database: str, code: int = 0) -> tuple[list[str], list[str]]:
    """(differences, additions) of a database."""
    result = project.schema("check", "--json", database=database)
    assert result.code == code, (result.out, result.err)
    return result.json["differences"], result.json["additions"]


@pytest.mark.parametrize(
    ("who", "when"),
    [("database {name}", "before"), ("role {user} in database {name}", "after")],
    ids=["database", "role"],
)
def test_settings_change_neither_what_sources_mean_nor_the_fingerprint(
    make_schema: MakeSchema, databases: Databases, who: str, when: str
) -> None:
    project = released(make_schema, "shop", Stage(MARKED), Stage(f"{MARKED} create view shop.v as select 1 as a;"))
    database = databases.make()
    owner = who.format(name=database, user=databases.server.user)
    for each in STRANGE if when == "before" else ():
        databases.execute(database, f"alter {owner} set {each}")
    project.done("install", "--to", "1.0.0", database=database)
    for each in STRANGE if when == "after" else ():
        databases.execute(database, f"alter {owner} set {each}")
    assert checked(project, database) == ([], [])
    project.done("upgrade", database=database)
    assert checked(project, database) == ([], [])


def test_names_that_sort_otherwise_in_another_locale(make_schema: MakeSchema, databases: Databases) -> None:
    project = released(make_schema, "shop", Stage(MARKED), Stage(f"{MARKED} create view shop.v as select 1 as a;"))
    database = f"{databases.make()}_locale"
    databases.execute("postgres", f"drop database if exists {database}")
    databases.execute("postgres", f"create database {database} template template0 encoding utf8 locale 'C.utf8'")
    project.done("install", "--to", "1.0.0", database=database)
    project.done("upgrade", database=database)
    assert checked(project, database) == ([], [])


def test_owners_and_positions_of_columns_are_no_differences(make_schema: MakeSchema, databases: Databases) -> None:
    project = released(make_schema, "shop", Stage(MARKED), Stage(f"{MARKED} create view shop.v as select 1 as a;"))
    database = installed(project)
    databases.execute(
        database,
        """alter table shop."Zeta" owner to pg_monitor; alter function shop.f owner to pg_monitor;
        alter view shop.late owner to pg_monitor; alter type shop.state owner to pg_monitor;
        alter table shop.parted detach partition shop.part; drop table shop.part;
        create table shop.part (at timestamptz, id integer);
        alter table shop.parted attach partition shop.part for values from ('2025-01-01 UTC') to ('2026-01-01 UTC')""",
    )  # fmt: skip
    differences, _ = checked(project, database)
    assert differences == []
    project.done("upgrade", database=database)


ADDITIONS = {
    "comment on table shop.parted is 'theirs'": "table shop.parted: comment 'theirs'",
    "comment on column shop.parted.id is 'theirs'": "table shop.parted: column id comment 'theirs'",
    "comment on function shop.f is 'theirs'": "function shop.f(timestamp with time zone,interval): comment 'theirs'",
    "grant insert on shop.parted to pg_monitor": "table shop.parted: grant INSERT to pg_monitor",
    "grant update (id) on shop.parted to pg_monitor": "table shop.parted: column id grant UPDATE to pg_monitor",
    "grant usage on schema shop to pg_monitor": "schema shop: grant USAGE to pg_monitor",
    "alter table shop.parted enable row level security": "table shop.parted: row security enabled",
    "alter table shop.\"Zeta\" force row level security": "table shop.\"Zeta\": row security forced",
    "alter table shop.part set (fillfactor = 50)": "table shop.part: option fillfactor=50",
    "create table shop.theirs (id integer)": "table shop.theirs",
    "create index by_id on shop.part (id)": "index shop.by_id",
    "create policy theirs on shop.parted using (true)": "policy theirs on shop.parted",
    "create view shop.theirs2 as select * from shop.parted": "view shop.theirs2",
    "create function shop.theirs() returns integer language sql return 1": "function shop.theirs()",
    "create trigger theirs before insert on shop.part for each row execute function "
    "suppress_redundant_updates_trigger()": "trigger theirs on shop.part",
}  # fmt: skip
DIFFERENCES = {
    "comment on table shop.\"Zeta\" is null": "table shop.\"Zeta\": lacks comment 'said'",
    "comment on table shop.\"Zeta\" is 'other'": "table shop.\"Zeta\": lacks comment 'said'",
    "comment on column shop.\"Zeta\".\"Ä\" is null": "table shop.\"Zeta\": lacks column \"Ä\" comment 'of a column'",
    "revoke select on shop.\"Zeta\" from public": "table shop.\"Zeta\": lacks grant SELECT to public",
    "alter table shop.\"Zeta\" reset (fillfactor)": "table shop.\"Zeta\": lacks option fillfactor=70",
    "alter table shop.\"Zeta\" set (fillfactor = 71)": "table shop.\"Zeta\": lacks option fillfactor=70",
    "alter table shop.\"Zeta\" disable row level security": "table shop.\"Zeta\": lacks row security enabled",
    "alter table shop.\"Zeta\" add column theirs integer": "table shop.\"Zeta\": differs",
    "alter table shop.\"Zeta\" alter ratio set default 0.2": "table shop.\"Zeta\": differs",
    "alter table shop.\"Zeta\" alter at drop not null": "table shop.\"Zeta\": differs",
    "alter table shop.\"Zeta\" drop constraint \"Zeta_check\"": "constraint \"Zeta_check\" on shop.\"Zeta\": missing",
    "alter table shop.\"Zeta\" disable trigger g": "trigger g on shop.\"Zeta\": differs",
    "alter type shop.state add value 'c'": "type shop.state: differs",
    "drop view shop.late": "view shop.late: missing",
    "drop index shop.a1": "index shop.a1: missing",
    "create or replace view shop.late as select * from shop.\"Zeta\"": "view shop.late: differs",
}  # fmt: skip


def test_what_is_added_is_no_difference(make_schema: MakeSchema, databases: Databases) -> None:
    project = released(make_schema, "shop", Stage(MARKED), Stage(f"{MARKED} create view shop.v as select 1 as a;"))
    database = installed(project)
    for statement in ADDITIONS:
        databases.execute(database, statement)
    databases.execute(database, "revoke execute on function shop.f from public")  # which everybody has by itself
    differences, additions = checked(project, database)
    assert differences == []
    lowered = {each.casefold() for each in additions}
    assert {each.casefold() for each in ADDITIONS.values()} <= lowered
    result = project.done("upgrade", "--json", database=database)
    assert {each.casefold() for each in result.json["additions"]} == lowered
    assert everything(databases, database)["table shop.theirs"]


def test_what_is_taken_away_or_changed_is_a_difference(make_schema: MakeSchema, databases: Databases) -> None:
    project = released(make_schema, "shop", Stage(MARKED), Stage(f"{MARKED} create view shop.v as select 1 as a;"))
    fresh = installed(project)
    for statement, wanted in DIFFERENCES.items():
        database = databases.make(fresh)
        databases.execute(database, statement)
        differences = project.schema("check", "--json", database=database).json["differences"]
        assert [each.casefold() for each in differences] == [wanted.casefold()], statement
    before = everything(databases, database)
    result = project.schema("upgrade", database=database)  # of them all, the last
    assert result.code == 3
    assert "view shop.late: differs" in result.err
    assert everything(databases, database) == before
