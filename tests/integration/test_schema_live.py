"""An upgrade and what only the live database knows: what its owner added, dependents that no release declares, tables
that are gone from the sources; and that nothing else is touched."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from support.databases import Databases
from support.schema_project import SchemaProject
from support.schema_releases import Stage, everything, installed, released

if TYPE_CHECKING:
    from conftest import MakeSchema

# Tables that are gone

GONE = (
    Stage("""
create schema shop;
create table shop.silent (id integer primary key);
create table shop.declared (id integer primary key);
create table shop.parted (id integer) partition by range (id);
create table shop.part partition of shop.parted for values from (0) to (10);
create table shop.stays (id integer);
"""),
    Stage(
        "create schema shop; create table shop.stays (id integer);",
        ("declared drop table", "silent drop table if empty", "parted drop table if empty"),
    ),
)


def upgraded(project: SchemaProject, database: str) -> dict[str, object]:
    """What the database is after an upgrade that must work."""
    project.done("upgrade", database=database)
    return everything(project.databases, database)


def refused(project: SchemaProject, database: str, *arguments: str) -> str:
    """What an upgrade says that is refused and leaves everything as it was."""
    before = everything(project.databases, database)
    result = project.schema("upgrade", *arguments, database=database)
    assert result.code == 1, (result.out, result.err)
    assert everything(project.databases, database) == before
    return result.err


@pytest.mark.parametrize("table", ["silent", "parted"])
def test_a_table_that_is_gone_from_the_sources_and_has_rows(make_schema: MakeSchema, table: str) -> None:
    project = released(make_schema, "shop", *GONE)
    database = installed(project, f"insert into shop.{table} values (1), (2), (3)")
    message = refused(project, database)
    assert f"shop.{table} is dropped only if it is empty: 3 rows" in message


def test_a_table_that_is_gone_and_empty_or_declared_to_go(make_schema: MakeSchema) -> None:
    project = released(make_schema, "shop", *GONE)
    database = installed(project, "insert into shop.declared values (1); insert into shop.stays values (7)")
    after = upgraded(project, database)
    assert [name for name in after if name.startswith(("table ", "rows of shop"))] == [
        "table dbt_cicd.dbt_cicd_schema_log", "table shop.stays", "rows of shop.stays"
    ]  # fmt: skip
    assert after["rows of shop.stays"] == [(["(7)"],)]


@pytest.mark.parametrize(
    ("theirs", "named"),
    [
        pytest.param(
            "create table analytics.note (id integer references shop.declared)",
            "constraint note_id_fkey on analytics.note",
            id="foreign-key",
        ),
        pytest.param("create view analytics.all_of_it as select * from shop.silent", "analytics.all_of_it", id="view"),
        pytest.param(
            "create table analytics.more partition of shop.parted for values from (10) to (20)",
            "analytics.more",
            id="partition",
        ),
        pytest.param("create table analytics.child () inherits (shop.declared)", "analytics.child", id="inherits"),
        pytest.param(
            "create function analytics.f(shop.declared) returns integer language sql begin atomic select 1; end",
            "analytics.f",
            id="row-type",
        ),
    ],
)
def test_a_dependent_of_a_table_that_goes(make_schema: MakeSchema, theirs: str, named: str) -> None:
    project = released(make_schema, "shop", *GONE)
    database = installed(project, f"create schema analytics; {theirs}")
    assert named in refused(project, database)


# What the database's owner added

ROLES = "".join(
    f"do $$ begin create role {role}; exception when duplicate_object or unique_violation then null; end $$;"
    for role in ("live_owner", "live_reader")
)
OWNERS = """select format('%s %s', c.oid::regclass, c.relowner::regrole) from pg_class c
where c.relnamespace::regnamespace::text in ('shop', 'analytics') and c.relkind in ('r', 'v', 'm')
union select format('%s %s', p.oid::regprocedure, p.proowner::regrole) from pg_proc p
where p.pronamespace::regnamespace::text in ('shop', 'analytics') order by 1"""
SHOP = """
create schema shop;
create table shop.customer (
    id bigint generated always as identity primary key,
    {name} text not null,
    email text,
    score {type}{more}
);
create function shop.shout(value text) returns text immutable language sql begin atomic select upper(value); end;
create view shop.names as select id, {name}, shop.shout(email) as mail from shop.customer;
create view shop.scores as select id, score from shop.customer;
create view shop.top as select * from shop.scores where score > 1;
create materialized view shop.totals as select score, count(*) as n from shop.customer group by score;
create unique index totals_score on shop.totals (score);
create view shop.mails as select id, email from shop.customer;
"""
LIVE = (
    Stage(SHOP.format(name="name", type="integer", more="")),
    Stage(
        SHOP.format(name="full_name", type="numeric(10, 2)", more=",\n    note text"),
        ("customer rename name full_name", "customer alter score 'numeric(10, 2)'"),
    ),
    Stage(
        SHOP.format(name="full_name", type="numeric(10, 2)", more=",\n    note text")
        .replace("    email text,\n", "").replace(", shop.shout(email) as mail", "")
        .replace("create view shop.mails as select id, email from shop.customer;\n", ""),
        ("customer drop email",),
    ),
)  # fmt: skip
CUSTOMERS = (
    "insert into shop.customer (name, email, score) values ('Ann', 'a@b', 1), ('Bob', null, 2), ('Cy', 'c@d', 2);"
)
ADDED = {
    "index shop.dba_email": "create index dba_email on shop.customer (email) where email is not null",
    "index shop.dba_totals": "create index dba_totals on shop.totals (n)",
    "statistics shop.dba_statistics": "create statistics shop.dba_statistics on id, score from shop.customer",
    "policy dba_policy on shop.customer": "create policy dba_policy on shop.customer using (score > 0)",
    "table shop.customer: row security enabled": "alter table shop.customer enable row level security",
    "table shop.customer: comment 'by hand'": "comment on table shop.customer is 'by hand'",
    "table shop.customer: column email comment 'mail'": "comment on column shop.customer.email is 'mail'",
    "table shop.customer: grant select to live_reader": "grant select on shop.customer to live_reader",
    "table shop.customer: column email grant update to live_reader":
        "grant update (email) on shop.customer to live_reader",
    "table shop.customer: option autovacuum_enabled=false":
        "alter table shop.customer set (autovacuum_enabled = false)",
    "function shop.shout(text): grant execute to live_reader": "grant execute on function shop.shout to live_reader",
    "view shop.scores: grant select to live_reader with grant option":
        "grant select on shop.scores to live_reader with grant option",
    "view shop.scores: comment 'theirs'": "comment on view shop.scores is 'theirs'",
    "view shop.scores: column score comment 'points'": "comment on column shop.scores.score is 'points'",
    "materialized view shop.totals: grant select to live_reader": "grant select on shop.totals to live_reader",
    "materialized view shop.totals: comment 'sums'": "comment on materialized view shop.totals is 'sums'",
    "materialized view shop.totals: option autovacuum_enabled=false":
        "alter materialized view shop.totals set (autovacuum_enabled = false)",
    "table shop.customer: publication dba_publication": "create publication dba_publication for table shop.customer",
}  # fmt: skip
OWNED = """
alter table shop.customer owner to live_owner; alter view shop.scores owner to live_owner;
alter materialized view shop.totals owner to live_owner; grant usage, create on schema shop to live_owner;
"""


def test_what_the_owner_added_survives_and_is_listed(make_schema: MakeSchema) -> None:
    project = released(make_schema, "shop", *LIVE)
    database = installed(project, ROLES + CUSTOMERS + OWNED + ";".join(ADDED.values()))
    owners = project.databases.rows(database, OWNERS)
    publication = "select * from pg_publication_tables"
    published = project.databases.rows(database, publication)
    before = project.done("check", "--json", database=database).json
    assert before["differences"] == []
    additions = set(before["additions"])
    assert additions == {
        *ADDED,
        "schema shop: grant create to live_owner",
        "schema shop: grant usage to live_owner",
        "view shop.scores: grant select to live_reader",  # beside the right to pass it on
    }
    done = project.done("upgrade", "--to", "2.0.0", "--json", database=database)
    assert set(done.json["additions"]) == additions
    after = project.done("check", "--json", database=database).json
    assert (set(after["additions"]), after["differences"]) == (additions, [])
    assert project.databases.rows(database, OWNERS) == owners
    assert [row[:3] for row in project.databases.rows(database, publication)] == [row[:3] for row in published]


def test_strict_refuses_what_the_owner_added(make_schema: MakeSchema) -> None:
    project = released(make_schema, "shop", *LIVE)
    database = installed(project, ROLES + ADDED["table shop.customer: grant select to live_reader"])
    message = refused(project, database, "--strict")
    assert "beyond release 1.0.0" in message
    assert "table shop.customer: grant select to live_reader" in message
    project.databases.execute(database, "revoke select on shop.customer from live_reader")
    project.done("upgrade", "--strict", database=database)


HARDENED = """
alter default privileges revoke execute on functions from public;
alter default privileges revoke usage on types from public;
"""
TEXTS = """
create schema shop;
create type shop.mood as enum ('good');
create function shop.allow() returns void language plpgsql as $$
begin
  grant usage on schema shop to {};
end $$;
create view shop.text as select '
  grant usage on schema shop to {}
  clustered'::text as x;
"""


def test_privileges_that_the_owner_took_from_everybody(make_schema: MakeSchema) -> None:
    project = released(make_schema, "shop", Stage(TEXTS.format("a", "a")), Stage(TEXTS.format("b", "b")))
    database = project.databases.make()
    project.databases.execute(database, HARDENED)
    for label in ("1.0.0", "2.0.0"):
        project.done("install" if label == "1.0.0" else "upgrade", "--to", label, database=database)
        assert project.done("check", "--json", database=database).json["differences"] == []
    rights = "select has_function_privilege('live_reader', 'shop.allow()', 'execute')"
    assert project.databases.rows(database, f"{ROLES} {rights}") == [(False,)]


@pytest.mark.parametrize("changed", ["function shop.allow()", "view shop.text"])
def test_a_text_with_a_line_that_looks_like_a_grant(make_schema: MakeSchema, changed: str) -> None:
    project = released(make_schema, "shop", Stage(TEXTS.format("a", "a")), Stage(TEXTS.format("b", "b")))
    database = installed(project)
    statements = TEXTS.format("a", "b") if changed.startswith("view") else TEXTS.format("b", "a")
    create = statements.partition("('good');")[2].replace("create ", "create or replace ")
    project.databases.execute(database, create)
    result = project.schema("upgrade", database=database)
    assert (result.code, f"{changed}: differs" in result.err) == (3, True), result.err


def test_what_the_owner_said_of_views_that_are_replaced(make_schema: MakeSchema) -> None:
    source = (
        "create schema shop; create table shop.t (id integer, a text); create view shop.v as select id{} from shop.t;"
    )
    project = released(make_schema, "shop", Stage(source.format("")), Stage(source.format(", a")))
    database = installed(project, "alter view shop.v set (security_barrier = true, check_option = local)")
    additions = project.done("check", "--json", database=database).json["additions"]
    assert additions == ["view shop.v: option check_option=local", "view shop.v: option security_barrier=true"]
    assert project.done("upgrade", "--json", database=database).json["additions"] == additions


@pytest.mark.parametrize(
    ("added", "named"),
    [
        pytest.param("create index dba_email on shop.customer (email)", "index shop.dba_email", id="index"),
        pytest.param(
            "create policy dba_policy on shop.customer using (email is not null)", "policy dba_policy", id="policy"
        ),
        pytest.param(
            "alter table shop.customer add constraint dba_check check (email <> '')", "constraint dba_check", id="check"
        ),
    ],
)
def test_what_the_owner_added_to_a_column_that_goes(make_schema: MakeSchema, added: str, named: str) -> None:
    project = released(make_schema, "shop", *LIVE)
    assert named in refused(project, installed(project, added))


def test_what_the_owner_added_to_a_table_that_is_declared_to_go(make_schema: MakeSchema) -> None:
    project = released(make_schema, "shop", *GONE)
    database = installed(
        project,
        ROLES + "create index on shop.declared ((id + 1)); grant select on shop.declared to live_reader;"
        "create policy dba_policy on shop.declared; comment on table shop.declared is 'x';"
        "alter table shop.declared add constraint dba_check check (id > 0);"
        "create publication dba_publication for table shop.declared;",
    )
    upgraded(project, database)


# Dependents that no release declares

ANALYTICS = """
create schema analytics;
grant usage, create on schema analytics, shop to live_owner;
grant select on shop.scores, shop.totals to live_owner;
create view analytics.by_score with (security_barrier) as select id, score from shop.scores;
create view analytics.above as select b.id, s.n from analytics.by_score b join shop.totals s using (score);
create materialized view analytics.daily with (autovacuum_enabled = false) as
    select score, n, n * 2 as twice from shop.totals;
create unique index daily_score on analytics.daily (score);
create index daily_n on analytics.daily (n desc) where twice > 0;
create materialized view analytics.unfilled as select * from analytics.daily with no data;
create view analytics.ids as select id from shop.names;
create view analytics.rows as select c from shop.customer c;
create table analytics.note (customer bigint references shop.customer, at date, best numeric);
create function analytics.best() returns numeric language sql begin atomic select max(score) from shop.customer; end;
create rule ignore_it as on insert to analytics.ids do instead nothing;
comment on view analytics.by_score is 'by score';
comment on column analytics.by_score.score is 'points';
comment on materialized view analytics.daily is 'daily';
comment on index analytics.daily_n is 'by number';
grant select on analytics.by_score, analytics.daily to live_reader with grant option;
grant select (id) on analytics.above to live_reader;
grant execute on function analytics.best to live_reader;
alter view analytics.by_score owner to live_owner;
alter materialized view analytics.daily owner to live_owner;
alter function analytics.best owner to live_owner;
"""


def theirs(found: dict[str, object]) -> dict[str, object]:
    """What is in the schema that nobody manages."""
    return {name: text for name, text in found.items() if " analytics." in name}


def test_dependents_that_no_release_declares_are_as_before(make_schema: MakeSchema) -> None:
    project = released(make_schema, "shop", *LIVE)
    database = installed(project, ROLES + CUSTOMERS + "refresh materialized view shop.totals;" + ANALYTICS)
    before, owners = everything(project.databases, database), project.databases.rows(database, OWNERS)
    done = project.done("upgrade", "--to", "2.0.0", database=database)
    after = everything(project.databases, database)
    assert "view analytics.by_score, which no release declares, is dropped and made again" in done.err
    assert {
        name: str(text).replace("score numeric(10,2)", "score integer") for name, text in theirs(after).items()
    } == {
        name: str(text).replace("'(1,1,2)', '(2,2,4)'", "'(1.00,1,2)', '(2.00,2,4)'")
        for name, text in theirs(before).items()
    }
    assert project.databases.rows(database, OWNERS) == owners
    assert project.databases.rows(database, "select * from analytics.above order by 1") == [(1, 1), (2, 2), (3, 2)]
    populated = "select relname, relispopulated from pg_class where relname in ('daily', 'unfilled') order by 1"
    assert project.databases.rows(database, populated) == [("daily", True), ("unfilled", False)]


DEPLOYER = """
do $$ begin create role live_deployer login; exception when duplicate_object or unique_violation then null; end $$;
alter role live_deployer password '{}';
grant live_owner to live_deployer; alter database {} owner to live_deployer;
create schema analytics authorization live_owner;
alter default privileges for role live_deployer grant all on tables to live_owner;
alter default privileges for role live_deployer grant all on schemas to live_owner;
"""
REKEYED = (
    Stage("create schema shop; create table shop.t (id integer primary key, v text, constraint u unique (v));"),
    Stage(
        "create schema shop; create table shop.t (id integer primary key, v text, constraint u unique (v) include (id))"
    ),
)


def test_a_foreign_key_on_a_constraint_that_is_made_anew(make_schema: MakeSchema) -> None:
    project = released(make_schema, "shop", *REKEYED)
    theirs_ = "create schema analytics; create table analytics.note (v text references shop.t (v) on delete cascade);"
    database = installed(
        project, f"{theirs_} insert into shop.t values (1, 'a'); insert into analytics.note values ('a')"
    )
    before = theirs(everything(project.databases, database))
    project.done("upgrade", database=database)
    assert theirs(everything(project.databases, database)) == before


def test_an_upgrade_by_a_role_that_is_no_superuser(make_schema: MakeSchema) -> None:
    """It owns the database, and is a member of the role that dbt builds with, or not."""
    project = released(make_schema, "shop", *LIVE)
    databases, database = project.databases, project.databases.make()
    databases.execute(database, ROLES + DEPLOYER.format(databases.server.password, database))
    environment = project.environment
    with mock.patch.object(project, "environment", lambda name: environment(name) | {"DB_USER": "live_deployer"}):
        project.done("install", "--to", "1.0.0", database=database)
        databases.execute(database, "set role live_owner; create view analytics.report as select * from shop.scores")
        before, owners = everything(databases, database), databases.rows(database, OWNERS)
        databases.execute(database, "revoke live_owner from live_deployer")
        assert "permission denied" in refused(project, database, "--to", "2.0.0")
        databases.execute(database, "grant live_owner to live_deployer")
        project.done("upgrade", "--to", "2.0.0", database=database)
    assert (
        str(before["view analytics.report"]).replace("score integer", "score numeric(10,2)")
        == everything(databases, database)["view analytics.report"]
    )
    assert databases.rows(database, OWNERS) == owners


@pytest.mark.parametrize(
    ("label", "added", "named"),
    [
        pytest.param(
            "3.0.0", "create view analytics.mail as select email from shop.customer", "analytics.mail", id="column"
        ),
        pytest.param(
            "3.0.0", "create view analytics.mail as select email from shop.mails", "analytics.mail", id="view"
        ),
        pytest.param(
            "3.0.0",
            "create materialized view analytics.mail as select id, mail from shop.names",
            "analytics.mail",
            id="view-column",
        ),
        pytest.param(
            "2.0.0", "create view analytics.called as select name from shop.names", "analytics.called", id="renamed"
        ),
        pytest.param(
            "2.0.0",
            "create view analytics.bits as select score::bit(8) from shop.customer",
            "analytics.bits",
            id="retyped",
        ),
        pytest.param(
            "3.0.0",
            "create view analytics.lower as table shop.mails; create view analytics.mail as table analytics.lower",
            "analytics.mail",
            id="view-on-view",
        ),
    ],
)
def test_a_dependent_that_cannot_be_made_again(make_schema: MakeSchema, label: str, added: str, named: str) -> None:
    project = released(make_schema, "shop", *LIVE)
    database = installed(project, CUSTOMERS + "create schema analytics; " + added)
    message = refused(project, database, "--to", label)
    assert named in message
    assert "no release" in message


# Nothing else is touched

BIG = """
create schema shop;
create function shop.shout(value text) returns text immutable language sql begin atomic select upper(value); end;
create function shop.touch() returns trigger language plpgsql as $$ begin return new; end $$;
create function shop.changes() returns integer language sql as 'select {one}';
create type shop.mood as enum ('good', 'bad');
create domain shop.code as text check (value <> '');
create sequence shop.numbers;
create table shop.big (id bigint generated always as identity primary key, name text not null, old integer{more});
create index on shop.big (name);
create trigger touch before update on shop.big for each row execute function shop.touch();
create table shop.steady (
    id integer primary key, big bigint references shop.big, code shop.code, mood shop.mood default 'good',
    number bigint default nextval('shop.numbers')
);
create trigger touch before update on shop.steady for each row execute function shop.touch();
alter table shop.steady enable row level security;
create policy everyone on shop.steady using (true);
create view shop.named as select id, shop.shout(name) as name from shop.big;
create view shop.upon as select * from shop.named;
create materialized view shop.counted as select count(*) as n from shop.big;
create unique index counted_n on shop.counted (n);
create view shop.changing as select id{shown} from shop.big;
comment on view shop.upon is 'upon';
grant select on shop.named to public;
"""
MORE = """, kind text not null, note text, state text not null default 'new', made date not null default '2026-01-01'"""
ADDING = (
    Stage(BIG.format(one=1, more="", shown="")),
    Stage(BIG.format(one=2, more=MORE, shown=", note"), ("big add kind 'text not null' 'plain'",)),
    Stage(BIG.format(one=3, more=MORE, shown=", note, state").replace(", old integer", ""), ("big drop old",)),
)
NEW = re.compile(r"pg_attrdef shop\.big\.\d+|pg_constraint big_(kind|state|made)_not_null")
# Every row of the catalog that makes an object of the schema, by what it is of, and the transaction that wrote it.
WRITTEN = "\nunion all ".join(
    f"select '{catalog} ' || {name}, oid, xmin::text from {catalog} where {of}::text like 'shop%'"
    for catalog, name, of in (
        ("pg_class", "oid::regclass::text", "relnamespace::regnamespace"),
        ("pg_proc", "oid::regprocedure::text", "pronamespace::regnamespace"),
        ("pg_type", "oid::regtype::text", "typnamespace::regnamespace"),
        ("pg_constraint", "conname", "connamespace::regnamespace"),
        ("pg_trigger", "tgname || ' on ' || tgrelid::regclass", "tgrelid::regclass"),
        ("pg_policy", "polname", "polrelid::regclass"),
        ("pg_rewrite", "ev_class::regclass::text", "ev_class::regclass"),
        ("pg_attrdef", "adrelid::regclass || '.' || adnum", "adrelid::regclass"),
        ("pg_namespace", "nspname", "nspname"),
    )
)


def written(databases: Databases, database: str) -> dict[str, tuple[int, str]]:
    """{object: its oid and the transaction that wrote it last}."""
    return {name: (oid, xmin) for name, oid, xmin in databases.rows(database, WRITTEN)}


def test_columns_are_added_in_place_and_nothing_else_is_touched(make_schema: MakeSchema) -> None:
    project = released(make_schema, "shop", *ADDING)
    databases = project.databases
    database = installed(project, "insert into shop.big (name) select 'n' from generate_series(1, 50000)")
    databases.execute(database, "analyze; refresh materialized view shop.counted")
    node = "select relfilenode, reltoastrelid from pg_class where oid = 'shop.big'::regclass"
    before, nodes = written(databases, database), databases.rows(database, node)
    for label in ("2.0.0", "3.0.0"):
        project.done("upgrade", "--to", label, database=database)
        assert databases.rows(database, node) == nodes
        after = written(databases, database)
        changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
        assert {name for name in changed if not NEW.fullmatch(name)} - {"pg_class shop.big"} == {
            "pg_class shop.changing",
            "pg_rewrite shop.changing",
            "pg_proc shop.changes()",
        }
        assert {name for name in changed if name in before and before[name][0] != after[name][0]} == set()
        before = after
    assert databases.rows(database, "select distinct state, kind, made::text, note from shop.big") == [
        ("new", "plain", "2026-01-01", None)
    ]
