"""What a hostile review found: rows that went without a word, upgrades that could never end, rights that were lent."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from support.databases import Databases
from support.schema_project import SchemaProject
from support.schema_releases import Stage, installed, released

if TYPE_CHECKING:
    from conftest import MakeSchema


def refused(make: MakeSchema, old: str, new: Stage) -> str:
    """What `release` says to the second of two stages."""
    project = released(make, "s", Stage(f"create schema s; {old}"))
    project.write({"objects.sql": f"create schema s; {new.source}"})
    for delta in new.deltas:
        project.done("delta", delta)
    result = project.schema("release", "2.0.0")
    assert result.code == 1, result.out
    return result.err


def stages(*sources: str | Stage) -> list[Stage]:
    """Stages in the schema s."""
    found = [Stage(each) if isinstance(each, str) else each for each in sources]
    return [Stage(f"create schema s; {each.source}", each.deltas) for each in found]


def role(name: str) -> str:
    """SQL that makes a role, which belongs to the server and may be there."""
    return f"do $$ begin create role {name}; exception when duplicate_object then null; end $$"


def fresh(project: SchemaProject, label: str) -> dict[str, str]:
    """What an installation of a release is made of."""
    return project.structure(installed(project, label=label), "s")


# Rows


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        pytest.param(
            "create domain s.email as text check (value <> ''); create table s.u (id integer, mails s.email[]);",
            Stage(
                "create domain s.email as text check (value <> '' and length(value) < 100);"
                "create table s.u (id integer, mails s.email[]);"
            ),
            "u.mails",
            id="domain-in-an-array",
        ),
        pytest.param(
            "create table s.t (id integer, a text); create table s.log (id integer, r s.t);",
            Stage(
                "create table s.t (id integer, a text, b integer default 5); create table s.log (id integer, r s.t);"
            ),
            "log.r",
            id="row-type",
        ),
        pytest.param(
            "create function s.f(a integer) returns integer immutable language sql return a % 3;"
            "create table s.p (id integer) partition by range (s.f(id));"
            "create table s.p1 partition of s.p for values from (0) to (9);",
            Stage(
                "create function s.f(b integer) returns integer immutable language sql return b % 3;"
                "create table s.p (id integer) partition by range (s.f(id));"
                "create table s.p1 partition of s.p for values from (0) to (9);"
            ),
            "s.p",
            id="function-of-a-partition-key",
        ),
    ],
)
def test_what_holds_rows_is_never_dropped_for_something_else(
    make_schema: MakeSchema, old: str, new: Stage, named: str
) -> None:
    assert named in refused(make_schema, old, new)


def test_a_view_goes_and_a_child_with_rows_stays(make_schema: MakeSchema) -> None:
    tables = "create table s.a (id integer, x {0}); create table s.b () inherits (s.a);"
    tables += "create view s.v as select x from s.a;"
    narrow = Stage(tables.format("varchar(10)"), ("s.a update alter table s.a alter column x type varchar(10)",))
    project = released(make_schema, "s", *stages(tables.format("text"), narrow))
    database = installed(project, "insert into s.b values (1, 'kept')")
    project.done("upgrade", database=database)
    assert project.databases.rows(database, "select x from s.b") == [("kept",)]


def test_rows_that_a_policy_hides_are_not_lost(make_schema: MakeSchema, databases: Databases) -> None:
    """Of a table whose owner is under its policies, too, and is no superuser."""
    secret = (
        "create table s.t (id integer, a text{0}); alter table s.t enable row level security;"
        "alter table s.t force row level security; create policy p on s.t using (a = current_user);"
        "create table s.u (a text);"
    )
    moved = Stage(secret.format(", b text"), ("s.t update insert into s.u select a from s.t",))
    project = released(make_schema, "s", *stages(secret.format(""), moved))
    database = installed(project, "insert into s.t values (1, 'theirs')")
    owned = ("schema s", "table s.t", "table s.u", "schema dbt_cicd", "table dbt_cicd.dbt_cicd_schema_log")
    databases.execute(
        database,
        f"{role('hostile_owner')}; grant create on database {database} to hostile_owner; "
        + "; ".join(f"alter {each} owner to hostile_owner" for each in owned),
    )
    result = project.schema("upgrade", "--role", "hostile_owner", database=database)
    assert result.code == 1
    assert "row-level security" in result.err
    databases.execute(database, "reassign owned by hostile_owner to current_user")
    project.done("upgrade", database=database)
    assert databases.rows(database, "select a from s.u") == [("theirs",)]


def test_a_row_that_comes_while_rows_are_saved_is_saved(make_schema: MakeSchema, databases: Databases) -> None:
    """Whoever writes meanwhile is waited for before the first row is copied."""
    saved = Stage(
        "create table s.t (id integer); create table s.u (a text);",
        ("s.t update insert into s.u select a from s.t", "s.t drop a"),
    )
    project = released(
        make_schema, "s", *stages("create table s.t (id integer, a text); create table s.u (a text);", saved)
    )
    database = installed(project, "insert into s.t values (1, 'one')")
    with contextlib.closing(databases.connect(database)) as writer, writer.cursor() as cursor:
        writer.autocommit = False
        cursor.execute("insert into s.t values (2, 'two')")
        upgrade = project.start("upgrade", database=database)
        waiting = "select 1 from pg_locks where not granted and relation = 's.t'::regclass"
        while not databases.rows(database, waiting):
            assert upgrade.poll() is None
        cursor.execute("insert into s.t values (3, 'three')")
        writer.commit()
        _, said = upgrade.communicate()
    assert upgrade.returncode == 0, said
    assert sorted(databases.rows(database, "select a from s.u")) == [("one",), ("three",), ("two",)]


# Releases that no upgrade could reach


def test_an_index_that_is_built_concurrently_and_a_later_release(make_schema: MakeSchema, databases: Databases) -> None:
    """Only the last release of an upgrade builds after the commit: the one before may be of what is gone then."""
    project = released(
        make_schema,
        "s",
        *stages(
            "create table s.t (a integer);",
            "create table s.t (a integer); create index concurrently i on s.t (a);",
            Stage("create table s.t (b integer); create index concurrently i on s.t (b);", ("s.t rename a b",)),
        ),
    )
    database = installed(project)
    project.done("upgrade", database=database)
    assert project.structure(database, "s") == fresh(project, "3.0.0")
    taken = installed(project, "create index i on s.t (a)")
    before = project.structure(taken, "s")
    result = project.schema("upgrade", "--to", "2.0.0", database=taken)
    assert result.code == 1
    assert "index s.i is there already, and no release has made it" in result.err
    assert project.structure(taken, "s") == before


@pytest.mark.parametrize(
    "needs",
    ["comment on index s.i is 'it';", "create table s.c (a integer references s.t (a));"],
)
def test_what_needs_an_index_that_is_built_after_the_commit(make_schema: MakeSchema, needs: str) -> None:
    new = Stage(f"create table s.t (a integer); create unique index concurrently i on s.t (a); {needs}")
    message = refused(make_schema, "create table s.t (a integer);", new)
    assert "index s.i is built after the commit of an upgrade, and" in message


def test_what_went_in_one_release_and_comes_in_a_later_one_is_new(make_schema: MakeSchema) -> None:
    """Nothing of the old one is put back: no index, no right."""
    table = "create table s.t (a integer); create index t_a on s.t (a);"
    view = "create view s.v as select 1 as x;"
    project = released(
        make_schema,
        "s",
        *stages(
            f"{table} {view} grant select on s.v to public; comment on view s.v is 'old';",
            Stage("", ("s.t drop table",)),
            f"{table} {view}",
            f"create table s.t (a integer); {view}",
        ),
    )
    database = installed(project)
    project.done("upgrade", database=database)
    assert project.structure(database, "s") == fresh(project, "4.0.0")


# Rights


def test_nobody_lends_rights_by_an_operator_of_his_own(make_schema: MakeSchema, databases: Databases) -> None:
    """In a schema of the search_path in which he may make objects."""
    project = released(
        make_schema, "s", *stages("create table s.t (a integer);", "create table s.t (a integer, b text);")
    )
    database = installed(project)
    for left, right in (("oid", "regclass"), ("name", "text"), ("oid", "oid"), ("int2", "int4")):
        databases.execute(
            database,
            f"create table if not exists public.called (); create or replace function public.evil({left}, {right})"
            " returns boolean language plpgsql as $$ begin raise exception 'lent'; end $$;"
            f"create operator public.= (leftarg = {left}, rightarg = {right}, function = public.evil)",
        )
    project.done("upgrade", database=database)
    project.done("check", database=database)


def test_a_materialized_view_of_others_is_filled_by_its_owner(make_schema: MakeSchema, databases: Databases) -> None:
    views = "create table s.t (a integer); create view s.v as select a{0} from s.t;"
    project = released(make_schema, "s", *stages(views.format("::bigint"), views.format("::integer")))
    database = installed(
        project,
        f"{role('hostile_bi')}; create schema bi authorization hostile_bi;"
        "grant usage on schema s to hostile_bi; grant select on s.v to hostile_bi;"
        "insert into s.t values (1); set role hostile_bi;"
        "create function bi.who(a bigint) returns text language sql as 'select current_user::text';"
        "create materialized view bi.mx as select bi.who(a) as who, a from s.v; reset role",
    )
    project.done("upgrade", database=database)
    assert databases.rows(database, "select who from bi.mx") == [("hostile_bi",)]


# Healthy databases


def test_more_rights_than_the_release_gives(make_schema: MakeSchema, databases: Databases) -> None:
    grants = "create table s.t (a integer); create function s.f() returns integer language sql return 1; {0}"
    project = released(
        make_schema,
        "s",
        *stages(
            grants.format("grant select, insert on s.t to hostile_bi; revoke all on function s.f() from public;"),
            grants.format("grant select on s.t to hostile_bi;"),
            grants.format("grant select on s.t to hostile_bi; revoke all on function s.f() from public;"),
        ),
    )
    databases.execute("postgres", role("hostile_bi"))
    database = installed(project, "grant update on s.t to hostile_bi")
    project.done("check", database=database)
    project.done("upgrade", "--to", "2.0.0", database=database)
    may = "select has_table_privilege('hostile_bi', 's.t', x) from unnest('{select,insert,update}'::text[]) x"
    assert databases.rows(database, may) == [(True,), (False,), (True,)]
    assert databases.rows(database, "select has_function_privilege('hostile_bi', 's.f()', 'execute')") == [(True,)]
    project.done("upgrade", database=database)
    assert databases.rows(database, "select has_function_privilege('hostile_bi', 's.f()', 'execute')") == [(False,)]


def test_whether_a_materialized_view_has_rows_is_no_difference(make_schema: MakeSchema, databases: Databases) -> None:
    source = "create table s.t (a integer); create materialized view s.m as select a from s.t with no data; {0}"
    project = released(
        make_schema, "s", *stages(source.format(""), source.format("create view s.v as select a from s.m;"))
    )
    database = installed(project, "insert into s.t values (1); refresh materialized view s.m")
    project.done("check", database=database)
    project.done("upgrade", database=database)
    assert databases.rows(database, "select a from s.v") == [(1,)]


# Sources that are taken for what they are


def test_small_changes_that_were_not_seen(make_schema: MakeSchema) -> None:
    first = (
        "create table s.t (a integer); create view s.v as select a from s.t;"
        "create function s.f(integer) returns integer language sql return 1; comment on function s.f is 'said';"
        "create aggregate s.cnt(*) (sfunc = int8inc, stype = int8, initcond = '0');"
        'create table s."T" (a integer, b integer); create index "Old" on s."T" (a);'
    )
    second = (
        "create table s.t (a integer); create view s.v with (security_barrier) as select a from s.t;"
        "create function s.f(bigint) returns integer language sql return 1; comment on function s.f is 'said';"
        'create table s."T" (a integer, b integer); create index "New" on s."T" (a);'
    )
    project = released(make_schema, "s", *stages(first, second))
    database = installed(project)
    project.done("upgrade", database=database)
    assert project.structure(database, "s") == fresh(project, "2.0.0")


def test_where_a_sequence_stands_is_not_lost(make_schema: MakeSchema) -> None:
    old = "create sequence s.a; create table s.t (id bigint default nextval('s.a'));"
    new = "create sequence s.b; create table s.t (id bigint default nextval('s.b'));"
    assert "`s.a update alter sequence s.a rename to …`" in refused(make_schema, old, Stage(new))
    project = released(make_schema, "s", *stages(old, Stage(new, ("s.a update alter sequence s.a rename to b",))))
    database = installed(project, "insert into s.t values (default), (default)")
    project.done("upgrade", database=database)
    assert project.databases.rows(database, "insert into s.t values (default) returning id") == [(3,)]


SERIAL = "create table s.t (id serial, a text);"
IDENTITY = "create table s.t (id integer generated by default as identity, a text);"
OWN = "create sequence s.n; create table s.t (id integer default nextval('s.n') not null, a text);"
OTHER = (
    "create sequence s.n; create sequence s.m{}; create table s.t (id integer default nextval('s.m') not null, a text);"
)


@pytest.mark.parametrize(
    ("old", "new", "more", "number"),
    [
        pytest.param(SERIAL, OWN, "", 4, id="serial-own"),
        pytest.param(IDENTITY, OWN, "", 4, id="identity-own"),
        pytest.param(OWN, OTHER.format(""), "", 4, id="own-other"),
        pytest.param(OWN, OTHER.format(" start 100"), "", 100, id="own-other-that-begins-beyond"),
        pytest.param(OWN, f"create sequence s.n; {SERIAL}", "", 4, id="own-serial"),
        pytest.param(OWN, f"create sequence s.n; {IDENTITY}", "", 4, id="own-identity"),
        pytest.param(SERIAL, IDENTITY, "", 4, id="serial-identity"),
        pytest.param(IDENTITY, SERIAL, "", 4, id="identity-serial"),
        pytest.param(
            f"create sequence s.n; {SERIAL}", OWN, "select setval('s.n', 50);", 51, id="one-that-is-used-elsewhere"
        ),
        pytest.param(f"create sequence s.n; {SERIAL}", OWN, "select setval('s.n', 2);", 4, id="one-that-is-behind"),
        pytest.param(
            "create table s.t (id integer default -1 not null, a text);", SERIAL, "", 1, id="no-sequence-serial"
        ),
    ],
)
def test_a_column_gets_its_numbers_from_another_sequence(
    make_schema: MakeSchema, old: str, new: str, more: str, number: int
) -> None:
    """Where the one before stood, also when the last rows are gone."""
    project = released(make_schema, "s", *stages(old, new))
    database = installed(
        project, f"insert into s.t (a) values ('a'), ('b'), ('c'); delete from s.t where id = 3; {more}"
    )
    project.done("upgrade", database=database)
    assert project.structure(database, "s") == fresh(project, "2.0.0")
    assert project.databases.rows(database, "insert into s.t (a) values ('d') returning id") == [(number,)]


@pytest.mark.parametrize(
    ("old", "new", "deltas"),
    [
        pytest.param(OWN, SERIAL, ("s.n update alter sequence s.n rename to t_id_seq",), id="own-serial"),
        pytest.param(SERIAL, OWN, ("s.t update alter sequence s.t_id_seq rename to n",), id="serial-own"),
        pytest.param(OWN, IDENTITY, ("s.n update alter sequence s.n rename to t_id_seq",), id="own-identity"),
    ],
)
def test_a_sequence_that_is_renamed_and_belongs_to_a_column_or_not(
    make_schema: MakeSchema, old: str, new: str, deltas: tuple[str, ...]
) -> None:
    project = released(make_schema, "s", *stages(old, Stage(new, deltas)))
    database = installed(project, "insert into s.t (a) values ('a'), ('b'), ('c'); delete from s.t where id = 3")
    project.done("upgrade", database=database)
    assert project.structure(database, "s") == fresh(project, "2.0.0")
    assert project.databases.rows(database, "insert into s.t (a) values ('d') returning id") == [(4,)]


@pytest.mark.parametrize("new", [SERIAL, IDENTITY], ids=["serial", "identity"])
def test_a_sequence_of_a_default_that_is_gone(make_schema: MakeSchema, new: str) -> None:
    """`release` says what to enter."""
    assert "`s.n update alter sequence s.n rename to …`" in refused(make_schema, OWN, Stage(new))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("alter function s.f() owner to somebody;", "owners are not managed"),
        ("alter sequence s.q restart with 1000;", "where a sequence stands is data"),
    ],
)
def test_sources_that_say_what_is_not_kept(make_schema: MakeSchema, source: str, said: str) -> None:
    project = make_schema()
    project.done("init", "--schemas", "s")
    objects = "create schema s; create sequence s.q;\ncreate function s.f() returns integer language sql return 1;\n"
    project.write({"objects.sql": objects + source})
    result = project.schema("release", "1.0.0")
    assert result.code == 2
    assert f"objects.sql:3:1: {said}" in result.err


def test_partitions_that_a_job_makes(make_schema: MakeSchema, databases: Databases) -> None:
    """They have the indexes and constraints of the table, and lose them with it."""
    parent = "create table s.p (id integer, a integer{0}) partition by range (id); create index p_a on s.p (a{1});"
    project = released(
        make_schema, "s", *stages(parent.format(" constraint c check (a > 0)", ""), parent.format("", ", id"))
    )
    database = installed(project, "create table s.p1 partition of s.p for values from (0) to (10)")
    project.done("upgrade", database=database)
    indexes = "select indexdef ~ 'a, id' from pg_indexes where tablename = 'p1'"
    assert databases.rows(database, indexes) == [(True,)]
    assert databases.rows(database, "select conname from pg_constraint where conrelid = 's.p1'::regclass") == []


def test_partitions_that_are_declared_get_another_index(make_schema: MakeSchema) -> None:
    parent = "create table s.p (id integer, a integer) partition by range (id); create index p_a on s.p (a{0});"
    parent += "create table s.p1 partition of s.p for values from (0) to (10);"
    project = released(make_schema, "s", *stages(parent.format(""), parent.format(", id")))
    database = installed(project)
    project.done("upgrade", database=database)
    assert project.structure(database, "s") == fresh(project, "2.0.0")
