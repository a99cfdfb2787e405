"""`db rollback` and the rows that would be lost: none unasked, and no alarm where none are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pytest

from support.database import Database

AB = (
    "create table a (id int primary key, note text); create table b (id int references a on delete cascade); "
    "insert into a values (1, 'x'), (2, null); insert into b values (1);"
)
EMPTY = "create table a (id int primary key, note text); create table b (id int references a on delete cascade);"
T = "create table t (id int, b text, c text); insert into t values (1, '1', 'x'), (2, '2', null), (3, null, null);"
TAKES = (
    "create function takes() returns int language plpgsql as $$ begin delete from t; return 1; end $$; "
    "create function takes_by_trigger() returns trigger language plpgsql as "
    "$$ begin delete from t; return null; end $$;"
)
PARTS = (
    "create table p (id int, k int) partition by list (k); create table p1 partition of p for values in (1); "
    "create table p2 partition of p for values in (2); insert into p values (1, 1), (2, 2);"
)
COMPOSITE = (
    "create type pair as (x int, y int); create table c (id int, one pair, many pair[]); "
    "insert into c values (1, (1, 2), null), (2, (1, null), null), (3, null, array[(1, 2)::pair]);"
)


class Case(NamedTuple):
    """What a migration makes, its rollback, and what that loses; ``{s}`` is the schema it is in."""

    up: str
    down: str
    lost: str = ""


CASES: Mapping[str, Case] = {
    "drop table": Case(AB, "drop table b; drop table a;", "2 of {s}.a, 1 of {s}.b"),
    "drop table if exists": Case(
        AB, "drop table if exists nowhere, b; drop table if exists a", "2 of {s}.a, 1 of {s}.b"
    ),
    "drop table, cascade": Case(AB, "drop table if exists nowhere, a cascade; drop table b;", "2 of {s}.a, 1 of {s}.b"),
    "quoted": Case('create table "a.B" (id int); insert into "a.B" values (1);', 'drop table "a.B";', '1 of {s}."a.B"'),
    "drop column": Case(AB, "alter table a drop column note;", "1 of {s}.a.note"),
    "truncate": Case(AB, "truncate a, b;", "2 of {s}.a, 1 of {s}.b"),
    "delete": Case(AB, "delete from b;", "1 of {s}.b"),
    "delete that cascades": Case(AB, "delete from a;", "2 of {s}.a, 1 of {s}.b"),
    "delete in a query": Case(AB, "with gone as (delete from b returning *) select * from gone;", "1 of {s}.b"),
    "a block that drops": Case(AB, "do $$ begin execute 'drop table b'; end $$;", "1 of {s}.b"),
    "a block that truncates": Case(AB, "do $$ begin execute 'truncate b'; end $$;", "1 of {s}.b"),
    "a block that deletes": Case(AB, "do $$ begin delete from b; end $$; drop table b;", "1 of {s}.b"),
    "drop schema": Case(AB, "drop schema {s} cascade; create schema {s};", "2 of {s}.a, 1 of {s}.b"),
    # Tables that hold no rows go without a word.
    "empty": Case(EMPTY, "drop table a, b;"),
    "empty, one by one": Case(EMPTY, "drop table b; alter table a drop column note; drop table a;"),
    "empty, in a block": Case(EMPTY, "do $$ begin execute 'drop table b'; execute 'drop table a'; end $$;"),
    "empty, with its schema": Case(EMPTY, "delete from a; drop schema {s} cascade; create schema {s};"),
    "empty, with more": Case(EMPTY, "drop view if exists nowhere; comment on table a is null; drop table a, b;"),
    # ALTER
    "to null": Case(T, "alter table t alter b type int using null;", "2 of {s}.t.b"),
    "to null beside drop": Case(T, "alter table t drop c, alter b type int using null;", "2 of {s}.t.b, 1 of {s}.t.c"),
    "rewritten": Case(
        T, "alter table t alter b type int using b::int; alter table t drop c; create table u ();", "1 of {s}.t.c"
    ),
    "rewritten only": Case(T, "do $$ begin alter table t alter b type int using b::int; end $$;"),
    "a default that deletes": Case(
        T + TAKES,
        "create table u (); create table w as select 1; alter table w add x int default takes();",
        "3 of {s}.t",
    ),
    "an attribute": Case(COMPOSITE, "alter type pair drop attribute y;", "1 of {s}.c.many.y, 1 of {s}.c.one.y"),
    "an attribute without values": Case(
        "create type pair as (x int, y int); create table c (id int, one pair); insert into c values (1, (1, null));",
        "alter type pair drop attribute y;",
    ),
    "a column of a row type": Case(
        "create table p (x int, y int); create table c (p p); insert into c values ((1, 2));",
        "alter table p drop column y;",
        "1 of {s}.c.p.y",
    ),
    # CASCADE
    "truncate, cascade": Case(
        "create table p (id int primary key); create table c (id int references p); "
        "alter table c disable trigger all; insert into c values (1), (2);",
        "truncate p cascade;",
        "2 of {s}.c",
    ),
    "drop table of a row type": Case(
        "create table p (x int); create table c (id int, p p); insert into c values (1, row(1)), (2, null);",
        "drop table p cascade;",
        "1 of {s}.c.p",
    ),
    # What no statement says
    "create as delete": Case(
        T, "create table u as with d as (delete from t returning *) select * from d where false;", "3 of {s}.t"
    ),
    "create as function": Case(T + TAKES, "create table u as select takes();", "3 of {s}.t"),
    "at commit": Case(
        T + TAKES + "create table u (id int); create constraint trigger later after insert on u "
        "deferrable initially deferred for each row execute function takes_by_trigger();",
        "insert into u values (1);",
        "3 of {s}.t",
    ),
    "a cursor at commit": Case(T + TAKES, "declare c cursor with hold for select takes();"),
    "by update": Case(
        T + TAKES + "create table u (id int); insert into u values (1); create trigger takes after update on u "
        "for each row execute function takes_by_trigger();",
        "update u set id = 2;",
        "3 of {s}.t",
    ),
    "by merge": Case(
        T,
        "do $$ begin if current_setting('server_version_num')::int >= 150000 then execute "
        "'merge into t using (select 1 as id) s on t.id = s.id when matched then delete'; "
        "else delete from t where id = 1; end if; end $$;",
        "1 of {s}.t",
    ),
    "uncounted": Case(T, "set track_counts = off; delete from t;", "3 of {s}.t"),
    "uncounted, by select": Case(
        T, "select set_config('track_counts', 'off', false); do $$ begin delete from t; end $$", "3 of {s}.t"
    ),
    "emptied behind delete": Case(T, "do $$ begin delete from t where id = 1; end $$; truncate t;", "3 of {s}.t"),
    "filled again": Case(T, "truncate t; insert into t values (7), (8), (9);", "3 of {s}.t"),
    "prepared": Case(
        T, "prepare takes as delete from t; execute takes; create table u (); drop table u; drop table t;", "3 of {s}.t"
    ),
    "another search_path": Case(
        T + "create function count(int) returns bigint language sql as 'select 0'; "
        "create aggregate {s}.count(*) (sfunc = int8inc, stype = bigint, initcond = '-3');",
        "set search_path = {s}, pg_catalog; drop table t;",
        "3 of {s}.t",
    ),
    # Inheritance, partitions
    "parent": Case(
        "create table i (id int); create table k () inherits (i); insert into k values (1);",
        "delete from i;",
        "1 of {s}.k",
    ),
    "partitioned": Case(PARTS, "drop table p;", "2 of {s}.p"),
    "partition": Case(PARTS, "drop table p1;", "1 of {s}.p1"),
    "partitions by a block": Case(PARTS, "do $$ begin drop table p; end $$", "1 of {s}.p1, 1 of {s}.p2"),
    "detached": Case(PARTS, "alter table p detach partition p1;"),
    "detached and dropped": Case(PARTS, "alter table p detach partition p1; drop table p1;", "1 of {s}.p1"),
    "moved to another partition": Case(PARTS, "update p set k = 2;"),
    "moved, and deleted": Case(PARTS, "update p set k = 2; delete from p where id = 1", "1 of {s}.p2"),
    "replaced in a partition": Case(
        PARTS, "delete from p; insert into p values (7, 1), (8, 2);", "1 of {s}.p1, 1 of {s}.p2"
    ),
    # Nothing of it is lost
    "temporary": Case(
        "", "create temp table w as select 1 as id; delete from w; truncate w; insert into w values (1); drop table w;"
    ),
    "made here": Case("", "create table w as select 1 as id; delete from w where false; drop table w;"),
    "materialized": Case(T, "create materialized view m as select * from t; drop materialized view m;"),
    "taken back": Case(T, "savepoint one; delete from t; rollback to one; release one;"),
    "taken back, and not": Case(
        T,
        'savepoint "A"; delete from t; rollback work to savepoint "A"; '
        "savepoint b; delete from t where id = 1; release b;",
        "1 of {s}.t",
    ),
    "inserts": Case(T, "insert into t values (4); insert into t values (5); update t set b = 'y';"),
    # Rows that were moved count as lost: nobody can tell whether they are the same.
    "copied and swapped": Case(
        T, "create table n as select * from t; drop table t; alter table n rename to t;", "3 of {s}.t"
    ),
}


def test_rows_are_lost_when_asked_for_only(db: Database) -> None:
    for number, case in enumerate(CASES.values(), 1):
        path = f"set search_path = s{number};"
        up, down = (text.replace("{s}", f"s{number}") for text in (case.up, case.down))
        db.migration(f"{number}__case", f"create schema s{number}; {path} {up}", f"{path} {down}")
    db.done("migrate")
    wrong = {}
    for number, (name, case) in reversed(list(enumerate(CASES.items(), 1))):
        lost = case.lost.replace("{s}", f"s{number}")
        result = db.db("rollback")
        if result.code != bool(lost) or (lost and f"it loses rows: {lost}. " not in result.err):
            wrong[name] = (result.code, result.err)
        if result.code:
            db.done("rollback", "--allow-data-loss")
            note = [e["note"] for e in db.done("history", "--json").json["events"] if e["action"] == "rollback"][-1]
            if lost and note != f"lost rows: {lost}":
                wrong[name] = (0, note)
    assert wrong == {}
    assert db.history() == []


def test_an_event_trigger_may_do_anything(db: Database) -> None:
    db.migration(
        "1__e",
        T + "create table e (id int); create function takes() returns event_trigger language plpgsql as "
        "$$ begin delete from public.t; end $$; "
        "create event trigger takes on ddl_command_end when tag in ('COMMENT') execute function takes();",
        "comment on table e is 'x'; drop table e;",
    )
    db.done("migrate")
    result = db.db("rollback")
    assert result.code == 1
    assert "3 of public.t. " in result.err
    assert db.sql("select count(*) from t") == [(3,)]


@pytest.fixture
def owner(db: Database) -> str:
    """A role with a password that is its name."""
    name = f"owner_{db.name}"
    db.sql(f"create role {name} login password '{name}'; grant all on database {db.name} to {name}")
    db.sql(f"grant all on schema public to {name}")
    return name


@pytest.mark.parametrize("down", ["drop table t;", "do $$ begin drop table t; end $$;"])
def test_rows_that_are_hidden_from_us_are_not_lost_unasked(db: Database, owner: str, down: str) -> None:
    env = {"DB_USER": owner, "DB_PASSWORD": owner}
    hidden = "alter table t enable row level security; alter table t force row level security;"
    db.migration("1__t", f"{T} {hidden} alter table t owner to {owner};", down)
    db.done("migrate")
    db.sql(f"grant all on schema dbt_cicd to {owner}")
    db.sql(f"grant all on all tables in schema dbt_cicd to {owner}")
    try:
        result = db.db("rollback", environment=env)
        assert result.code == 1
        assert "it loses rows: an unknown number of " in result.err
        assert db.sql("select count(*) from t") == [(3,)]
        assert db.db("rollback", "--allow-data-loss", environment=env).code == 0
        assert db.tables() == []
    finally:
        db.sql(f"reassign owned by {owner} to current_user; drop owned by {owner}; drop role {owner}")


SINGLY = "-- dbt-cicd: no-transaction\n"


@pytest.mark.parametrize(
    "down",
    [
        f"{SINGLY}create table first (); do $$ begin delete from t; end $$;",
        f"{SINGLY}create table first (); call takes();",
        f"{SINGLY}create table first (); declare c cursor with hold for select f();",
        f"{SINGLY}create table first (); select set_config('a.b', f()::text, false);",
        "create table first (); drop database nowhere;",
    ],
)
def test_what_runs_outside_a_transaction_is_refused_before_anything_is_run(db: Database, down: str) -> None:
    db.migration(
        "1__t",
        T + "create procedure takes() language sql as 'delete from t'; "
        "create function f() returns int language sql as 'delete from t; select 1';",
        down,
    )
    db.done("migrate")
    result = db.db("rollback")
    assert result.code == 1
    assert "V1__t_rollback.sql:" in result.err
    assert " runs outside a transaction here" in result.err
    assert db.tables() == ["t"]
    assert db.sql("select count(*) from t") == [(3,)]


def test_each_statement_of_its_own_is_looked_at(db: Database) -> None:
    down = "drop index concurrently t_id; select set_config('a.b', 'c', false); select f();"
    db.migration(
        "1__t",
        T + "create index t_id on t (id); create function f() returns int language sql as 'delete from t; select 1';",
        down,
    )
    db.done("migrate")
    result = db.db("rollback")
    assert result.code == 1
    assert "V1__t_rollback.sql:1:69: it loses rows: 3 of public.t. " in result.err
    assert db.sql("select count(*) from t") == [(3,)]
    db.done("rollback", "--allow-data-loss")
    assert db.history() == []


def test_what_is_run_twice_is_told_once(db: Database) -> None:
    db.migration("1__t", EMPTY, "do $$ begin raise notice 'hello'; drop table b; drop table a; end $$;")
    db.done("migrate")
    result = db.done("rollback")
    assert (result.out + result.err).count("hello") == 1
