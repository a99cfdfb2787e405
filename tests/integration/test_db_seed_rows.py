"""A row in every empty table, whatever its columns, types, constraints and triggers ask for; or the reason why not."""

from __future__ import annotations

import contextlib

import pytest

from dbt_cicd_toolkit.postgres.catalog import Selection
from dbt_cicd_toolkit.postgres.seed_rows import Seeded, seed_rows
from support.databases import Databases

TENANT = "create table tenant (id integer generated always as identity primary key, code varchar(3) unique not null);"

FILLED = {
    "no columns": "create table t ()",
    "defaults only": "create table t (id bigserial, at timestamptz default now())",
    "every usual type": """create table t (a boolean not null, b smallint, c bigint, d numeric(2,2), e real, f money,
        g text, h char(2), i varchar(1), j name, k "char", l uuid, m date, n timestamp(0), o timestamptz, p time,
        q timetz, r interval day to second, s bytea, t json, u jsonb, v xml, w inet, x cidr, y macaddr, z macaddr8)""",
    "every other type": """create table t (a point, b line, c lseg, d box, e path, f polygon, g circle, h bit, i bit(7),
        j varbit(3), k tsvector, l tsquery, m pg_lsn, n int4range, o int8multirange, p tstzrange, q daterange, r oid,
        s regclass, t integer[], u text[][], v int2vector, w txid_snapshot, x jsonpath)""",
    "not null arrays, composites, enums, ranges": """create type mood as enum ('sad', 'ok'); create type pair as
        (a integer, b text); create type span as range (subtype = float8);
        create table t (a mood not null, b pair not null, c pair[] not null, d mood[] not null, e span not null)""",
    "domains": """create domain positive as integer not null check (value > 40);
        create domain code as varchar(5) check (value ~ '^[A-Z]{2}-[0-9]+$') check (length(value) = 5);
        create domain again as code not null; create table t (a positive, b code not null, c again, d positive[])""",
    "a list": "create table t (status varchar(10) not null check (status in ('new', 'active')))",
    "a list of numbers": "create table t (n integer not null check (n in (42, 43)), m integer not null check (m > n))",
    "limits": """create table t (a numeric not null check (a > 100 and a < 102), b integer not null check (b <= -5),
        c date not null check (c >= '2030-06-01'), d text not null check (char_length(d) between 7 and 9))""",
    "between columns": """create table t (low integer not null, high integer not null, starts date not null,
        ends date not null, check (low < high), check (ends > starts), check (low + high = 3))""",
    "one or the other": "create table t (a text, b text, check ((a is null) <> (b is null)))",
    "hashes": "create table t (hk bytea not null check (octet_length(hk) = 32), "
    "h char(64) not null check (length(h) = 64))",
    "regular expressions": """create table t (
        email text not null check (email ~* '^[a-z0-9._%+-]+@[a-z0-9.-]+[.][a-z]+$'),
        slug text not null check (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$'), zip text not null check (zip ~ '^\\d{5}$'),
        code text not null check (code ~ '^(AB|CD)[[:alpha:]]{3}x?$'))""",
    "generated and identity": """create table t (id integer generated always as identity, w integer not null,
        area integer generated always as (w * 2) stored, check (area > 100))""",
    "a default that a check refuses": "create table t (status text default 'none' check (status in ('a', 'b')))",
    "parents first": TENANT + """create table child (a integer not null references tenant,
        b integer references tenant (id));
        create table aaa (code varchar(3) not null references tenant (code), primary key (code))""",
    "composite keys that overlap": TENANT + """create table a (tenant_id integer references tenant, n integer,
        primary key (tenant_id, n)); create table b (tenant_id integer references tenant, m integer,
        primary key (tenant_id, m)); create table c (tenant_id integer not null, n integer not null, m integer not null,
        foreign key (tenant_id, n) references a, foreign key (tenant_id, m) references b)""",
    "a key that is a parent's": TENANT + "create table more (id integer primary key references tenant, note text)",
    "itself, nullable": "create table t (id serial primary key, parent_id integer references t)",
    "itself, not null": "create table t (id integer primary key, parent_id integer not null references t)",
    "itself, by identity": """create table t (id integer generated always as identity primary key,
        parent_id integer not null references t)""",
    "a circle, one side nullable": """create table a (id serial primary key); create table b (id serial primary key,
        a_id integer not null references a); alter table a add b_id integer references b""",
    "a circle, deferrable": """create table a (id serial primary key); create table b (
        id integer generated always as identity primary key, a_id integer not null references a deferrable);
        alter table a add b_id integer not null references b deferrable initially deferred;
        create table after_both (a_id integer not null references a, b_id integer not null references b)""",
    "partitions": """create table by_day (day date not null, n integer) partition by range (day);
        create table by_day_1 partition of by_day for values from ('2031-01-01') to ('2031-02-01');
        create table by_name (name text not null) partition by list (name);
        create table by_name_1 partition of by_name for values in ('it''s', 'other');
        create table by_hash (id integer not null) partition by hash (id);
        create table by_hash_0 partition of by_hash for values with (modulus 1, remainder 0);
        create table by_two (a integer not null, b text not null) partition by range (a, b);
        create table by_two_1 partition of by_two for values from (7, 'x') to (9, maxvalue);
        create table by_expression (at timestamptz not null)
            partition by range (date_trunc('day', at at time zone 'UTC'));
        create table by_expression_0 partition of by_expression default""",
    "partitions of partitions": """create table t (region text not null, day date not null) partition by list (region);
        create table t_eu partition of t for values in ('eu') partition by range (day);
        create table t_eu_1 partition of t_eu for values from ('2031-01-01') to ('2031-02-01')""",
    "exclusion": """create table t (room integer not null, during tstzrange not null check (not isempty(during)),
        exclude using gist (during with &&))""",
    "a trigger that corrects": """create table t (a text not null check (a = 'right'));
        create function f() returns trigger language plpgsql as $$ begin new.a := 'right'; return new; end $$;
        create trigger f before insert on t for each row execute function f()""",
    "a trigger that wants null": """create table t (id serial, a text);
        create function f() returns trigger language plpgsql as
        $$ begin if new.a is not null then raise 'not yet'; end if; return new; end $$;
        create trigger f before insert on t for each row execute function f()""",
    "names": """create table "a ""%s"" b" ("%s" integer not null check ("%s" > 5), "Ünï" text not null)""",
    "inheritance": "create table base (id integer not null); create table derived (a text) inherits (base)",
    "extension": "create extension vector; create table t (v vector(3) not null, w vector)",
    "forced row security": "create table t (a integer); alter table t enable row level security",
}  # fmt: skip

UNFILLED = {
    "a trigger that refuses": (
        """create table t (a text); create table u (a text);
        create function f() returns trigger language plpgsql as $$ begin raise exception 'read only'; end $$;
        create trigger f before insert on t for each row execute function f()""",
        {"public.t": "read only"},
    ),
    "a rule that swallows": (
        "create table t (a text); create rule r as on insert to t do instead nothing; create table u (a text)",
        {"public.t": "the row was swallowed by a rule or a trigger"},
    ),
    "a check that nothing satisfies": (
        "create table t (a text not null constraint never check (md5(a) = 'x')); create table u (a text)",
        {"public.t": "nothing that was tried satisfies the check constraint never"},
    ),
    "no partition": (
        "create table t (a text) partition by list (a); create table u (a text)",
        {"public.t": "it has no partition"},
    ),
    "a parent without a row": (
        """create table t (id text primary key check (false)); create table child (id text not null references t);
        create table u (a text references t)""",
        {
            "public.t": "nothing that was tried satisfies the check constraint t_check",
            "public.child": "public.t, which it refers to, has no row",
        },
    ),
    "a circle that nothing can enter": (
        """create table a (id integer primary key); create table b (id integer primary key, a_id integer not null
        references a); alter table a add b_id integer not null references b; create table u (a text)""",
        {
            "public.a": "it and public.b need a row of each other: insert or update on table",
            "public.b": "it and public.a need a row of each other: insert or update on table",
        },
    ),
}


def seeded(databases: Databases, sql: str) -> tuple[str, Seeded]:
    name = databases.make()
    databases.execute(name, sql)
    with contextlib.closing(databases.connect(name)) as connection:
        return name, seed_rows(connection, Selection())


def counts(databases: Databases, name: str) -> dict[str, int]:
    tables = databases.rows(
        name,
        "select oid::regclass::text from pg_class where relkind in ('r', 'p') and not relispartition and oid >= 16384",
    )
    return {table: databases.rows(name, f"select count(*) from {table}")[0][0] for (table,) in tables}


@pytest.mark.parametrize("name", FILLED)
def test_filled(databases: Databases, name: str) -> None:
    made, result = seeded(databases, FILLED[name])
    assert result.unfilled == {}
    found = counts(databases, made)
    assert len(result.filled) == len(found) > 0
    # A row of an inheriting table is one of its parent too.
    assert set(found.values()) == ({1, 2} if name == "inheritance" else {1})


@pytest.mark.parametrize("name", UNFILLED)
def test_unfilled(databases: Databases, name: str) -> None:
    sql, expected = UNFILLED[name]
    made, result = seeded(databases, sql)
    assert result.unfilled.keys() == expected.keys()
    assert {table for table in expected if not result.unfilled[table].startswith(expected[table])} == set()
    assert "public.u" in result.filled
    found = counts(databases, made)
    assert {table for table, count in found.items() if count == 0} == {
        table.removeprefix("public.") for table in expected
    }


def test_tables_that_have_rows_stay_as_they_are(databases: Databases) -> None:
    name, _ = seeded(databases, TENANT + "insert into tenant (code) values ('abc'), ('def')")
    databases.execute(name, "create table child (tenant_id integer not null references tenant)")
    with contextlib.closing(databases.connect(name)) as connection:
        assert seed_rows(connection, Selection()) == Seeded(["public.child"], ["public.tenant"], {})
        assert seed_rows(connection, Selection()) == Seeded([], ["public.child", "public.tenant"], {})
    assert databases.rows(name, "select * from tenant") == [(1, "abc"), (2, "def")]


def test_nullable_columns_get_values_too(databases: Databases) -> None:
    name, _ = seeded(databases, "create table t (a text, b integer, c date, d integer default 7, e boolean)")
    assert databases.rows(name, "select a, b, c::text, d, e from t") == [("1", 1, "2024-01-01", 7, True)]


def test_rows_of_ours_are_completed_on_demand(databases: Databases) -> None:
    name, _ = seeded(databases, "create table t (a text); create table u (a text); create view v as table t")
    databases.execute(name, "alter table t add b integer, add c text check (c = 'x'); alter table u add b integer")
    with contextlib.closing(databases.connect(name)) as connection:
        assert seed_rows(connection, Selection(), complete={"public.t"}).filled == []
    assert databases.rows(name, "select a, b, c from t") == [("1", 1, None)]
    assert databases.rows(name, "select a, b from u") == [("1", None)]


def test_what_is_not_selected_stays_empty(databases: Databases) -> None:
    name = databases.make()
    databases.execute(name, "create schema s; create table s.t (); create table t (); create table history ()")
    with contextlib.closing(databases.connect(name)) as connection:
        result = seed_rows(connection, Selection(excluded_schemas=("s",), excluded_relations=("public.history",)))
    assert result == Seeded(["public.t"], [], {})


def test_a_parent_that_is_not_selected_may_have_a_row(databases: Databases) -> None:
    name = databases.make()
    databases.execute(
        name,
        """create schema s; create table s.with_row (id integer primary key); insert into s.with_row values (7);
        create table s.without (id integer primary key); create table t (a integer not null references s.with_row);
        create table u (a integer not null references s.without)""",
    )
    with contextlib.closing(databases.connect(name)) as connection:
        result = seed_rows(connection, Selection(schemas=("public",)))
    assert result == Seeded(["public.t"], [], {"public.u": "s.without, which it refers to, has no row"})


def test_inside_a_transaction_it_is_the_callers_to_commit(databases: Databases) -> None:
    name = databases.make()
    databases.execute(name, "create table t (a integer not null check (a = 3)); create table u (a text check (false))")
    with contextlib.closing(databases.connect(name)) as connection:
        connection.autocommit = False
        with connection.cursor() as cursor:
            cursor.execute("create table v (a integer)")
            assert seed_rows(connection, Selection()).filled == ["public.t", "public.v"]
            cursor.execute("select a from t")
            assert cursor.fetchall() == [(3,)]
        connection.rollback()
    assert databases.rows(name, "select * from t") == []


def test_the_rich_database_is_filled(databases: Databases) -> None:
    name = databases.rich()
    with contextlib.closing(databases.connect(name)) as connection:
        result = seed_rows(connection, Selection())
    assert result.unfilled == {}
    assert "parts.event" in result.filled and "rich.tenant" in result.filled
