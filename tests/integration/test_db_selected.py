"""What is ours and what is dbt's is left out of drift, snapshots and `status`, and nothing else."""

from __future__ import annotations

import pytest

from dbt_cicd_toolkit.db.selected import name_parts
from support.database import Database


def built(db: Database, *names: str) -> None:
    """Record relations as dbt's."""
    db.sql("create table if not exists dbt_cicd.dbt_cicd_builds (relation_name text)")
    for name in names:
        db.sql("insert into dbt_cicd.dbt_cicd_builds values (%s)", [name])


def snapshot(db: Database, version: str = "1.0.0") -> str:
    db.done("snapshot", version)
    return (db.path / f"database/schema_snapshots/schema_v{version}.sql").read_text(encoding="utf-8")


@pytest.mark.parametrize("limit", ["", "schemas: [public]\n"])
def test_a_history_in_public_hides_nothing_but_itself(db: Database, limit: str) -> None:
    db.config(f"history_schema: public\nhistory_table: done\n{limit}")
    db.table("1.0.0", "a")
    db.done("migrate")
    assert db.done("status", "--json").json["schemas"] == {"public": 1}
    db.done("status", "--drift")
    text = snapshot(db)
    assert "CREATE TABLE public.a" in text
    assert "done" not in text and "migration_log" not in text
    assert db.done("diff", "1.0.0").err.count("is empty") == 0
    db.sql("create table by_hand (id int); create index on a (id)")
    result = db.db("status", "--drift", "--json")
    assert result.code == 3
    assert result.json["drift"] == ["added: index public.a_id_idx", "added: table public.by_hand"]


def test_a_history_in_public_begins_in_an_empty_database_only(db: Database) -> None:
    db.config("history_schema: public\n")
    db.sql("create table t (id int)")
    db.table("1.0.0", "a")
    assert "1 tables, public.t for one" in db.db("migrate").err


def test_what_a_migration_puts_beside_our_tables_counts(db: Database) -> None:
    db.migration("1.0.0__Add_more", "create function dbt_cicd.f() returns int language sql as 'select 1'")
    db.done("migrate")
    assert "FUNCTION dbt_cicd.f()" in (text := snapshot(db)) and "dbt_cicd_migrations" not in text
    db.done("status", "--drift")
    db.sql("drop function dbt_cicd.f()")
    assert "function dbt_cicd.f()" in db.db("status", "--drift").out


def test_one_model_of_dbt_in_public_hides_only_itself(db: Database) -> None:
    db.table("1.0.0", "a")
    db.done("migrate")
    db.sql(
        'create table model (id int primary key); create view "Odd.Model ""1""" as select 1;'
        "create table folded (id int); create table folded__dbt_tmp (id int)"
    )
    built(db, "db.public.model", '"db"."public"."Odd.Model ""1"""', "DB.Public.Folded", '"db"."public"."gone"')
    db.done("status", "--drift")
    text = snapshot(db)
    assert "CREATE TABLE public.a" in text
    assert "odel" not in text and "folded" not in text
    db.sql("create table by_hand (id int)")
    assert db.db("status", "--drift", "--json").json["drift"] == ["added: table public.by_hand"]


def test_a_schema_that_dbt_builds_in_is_dbts(db: Database) -> None:
    db.table("1.0.0", "a")
    db.done("migrate")
    db.sql("create schema marts; create table marts.customers (id int); create function marts.f() returns int return 1")
    db.sql("create table marts.a_seed (id int); create schema marts_dbt_test__audit")
    built(db, '"db"."marts"."customers"')
    db.done("status", "--drift")
    assert "marts" not in snapshot(db)


def test_a_schema_that_a_migration_made_stays_when_dbt_builds_in_it(db: Database) -> None:
    db.migration("1.0.0__Add_marts", "create schema marts; comment on schema marts is 'x'")
    db.done("migrate")
    db.sql("create table marts.customers (id int)")
    built(db, "marts.customers")
    db.done("status", "--drift")
    assert "SCHEMA IF NOT EXISTS marts" in (text := snapshot(db)) and "customers" not in text


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a.b.c", ["a", "b", "c"]),
        ("A.B", ["a", "b"]),
        ('"A"."b.c"."d ""e"""', ["A", "b.c", 'd "e"']),
        ('"A".b', ["A", "b"]),
        ("", []),
        ('"a', []),
        ("a..b", []),
        ("select 1", ["select 1"]),
    ],
)
def test_names_as_dbt_writes_them(name: str, parts: list[str]) -> None:
    assert name_parts(name) == parts


def test_an_empty_snapshot_in_spite_of_migrations_is_told(db: Database) -> None:
    db.table("1.0.0", "a")
    db.done("migrate")
    assert db.done("snapshot", "1.0.0").err == ""
    db.sql("drop table a")
    assert "the structure of the database is empty: the snapshot holds no object" in db.done("snapshot", "1.0.0").err


def test_an_invalid_index_beside_the_history_is_told(db: Database) -> None:
    db.config("history_schema: public\n")
    db.table("1.0.0", "a")
    db.done("migrate")
    db.sql("create index i on a (id); update pg_index set indisvalid = false where indexrelid = 'i'::regclass")
    assert db.done("status", "--json").json["invalid_indexes"] == ["public.i"]
