"""Dry runs: what would be executed, what it would do, and nothing of it done."""

from __future__ import annotations

import pytest

from support.database import Database


def untouched(db: Database) -> bool:
    """No table and no history was made."""
    return db.tables() == [] and db.sql("select to_regnamespace('dbt_cicd')") == [(None,)]


def test_the_plan_is_that_of_the_guide(db: Database) -> None:
    db.table("1.1.0", "customer_analytics")
    assert db.done("migrate", "--dry-run").out == (
        "🧪 DRY RUN MODE\n   📋 Would execute: V1.1.0__Add_customer_analytics.sql\n"
    )
    assert untouched(db)
    db.done("migrate")
    assert "Nothing to do" in db.done("migrate", "--dry-run").out


@pytest.mark.parametrize(
    ("sql", "place"),
    [
        ("create table a (id int);\n\n  selct 1;", ":3:3: syntax error"),
        ("create table a (id int,);", ":1:24: syntax error"),
        ("copy a from stdin;\n1\n\\.\nselect 1 1;", ":4:10: syntax error"),
    ],
)
def test_a_syntax_error_is_found_and_nothing_executed(db: Database, sql: str, place: str) -> None:
    db.table("1.0.0", "first")
    db.migration("1.1.0__Wrong_one", sql)
    result = db.db("migrate", "--dry-run")
    assert result.code == 1
    assert f"V1.1.0__Wrong_one.sql{place}" in result.err
    assert untouched(db)


def test_what_is_missing_is_no_syntax_error(db: Database) -> None:
    db.migration("1.0.0__Add_a", "create table a (id int); insert into a values (1); select * from nowhere;")
    db.migration("1.1.0__Nothing_here", "-- nothing\n")
    db.done("migrate", "--dry-run")
    assert untouched(db)


def test_without_a_server_the_files_are_checked_and_that_is_said(db: Database) -> None:
    db.table("1.0.0", "a")
    result = db.done("migrate", "--dry-run", "--port", "1")
    assert "Only the files were checked" in result.out
    assert "Would execute: V1.0.0__Add_a.sql" in result.out
    db.migration("1.1.0__Add_b", "select 'open")
    assert db.db("migrate", "--dry-run", "--port", "1").code == 2
    assert db.db("migrate", "--dry-run=execute", "--port", "1").code == 1


def test_executed_in_scratch_it_tells_locks_and_rewrites(db: Database) -> None:
    db.migration("1.0.0__Add_a", "create table a (id int, v int); create table other (id int);", "drop table a, other;")
    db.done("migrate")
    db.sql("insert into a values (1, 1)")
    db.migration("1.1.0__Alter_a", "alter table a alter v type text; create table b (id int);")
    db.migration("1.2.0__Index_a", "create index concurrently a_id on a (id);")
    result = db.done("migrate", "--dry-run=execute", "--json")
    first, second = result.json["rehearsals"]
    assert "AccessExclusiveLock" in first["locks"]["public.a"]
    assert first["rewrites"] == ["public.a"]
    assert first["milliseconds"] >= 0
    assert "statement by statement" in second["warnings"][0]
    assert db.tables() == ["a", "other"]
    assert [version for _, version, _ in db.history()] == ["1.0.0"]
    assert "locks public.a: AccessExclusiveLock, ShareLock" in db.done("migrate", "--dry-run=execute").out


def test_executed_in_scratch_it_tells_what_fails(db: Database) -> None:
    db.table("1.0.0", "a")
    db.migration("1.1.0__Wrong_one", "insert into nowhere values (1);")
    result = db.db("migrate", "--dry-run=execute")
    assert result.code == 1
    assert 'V1.1.0__Wrong_one.sql:1:13: relation "nowhere" does not exist' in result.err
    assert untouched(db)


def test_on_the_target_it_is_rolled_back_with_deferred_constraints_checked(db: Database) -> None:
    db.migration(
        "1.0.0__Add_a",
        "create table a (id int primary key deferrable initially deferred); create sequence s;\n"
        "insert into a values (1);",
    )
    db.done("migrate")
    path = db.migration("1.1.0__Alter_a", "alter table a add v int default 1; select nextval('s');")
    result = db.done("migrate", "--dry-run=execute", "--on-target", "--json")
    assert result.json["rehearsals"][0]["locks"]["public.a"] == ["AccessExclusiveLock"]
    assert "sequence public.s has moved on" in result.json["rehearsals"][0]["warnings"][0]
    assert db.sql("select * from a") == [(1,)]
    path.write_text("insert into a values (1);")
    result = db.db("migrate", "--dry-run=execute", "--on-target")
    assert result.code == 1
    assert "duplicate key" in result.err
    path.write_text("vacuum a;")
    assert db.db("migrate", "--dry-run=execute", "--on-target").code == 1
    assert db.db("migrate", "--on-target").code == 2


def test_rebuild_compares_with_what_the_migrations_make(db: Database) -> None:
    db.table("1.0.0", "a")
    db.table("1.1.0", "b")
    db.migration("R__Views", "create or replace view v as select id from a;")
    db.done("migrate")
    db.done("status", "--drift", "--rebuild")
    db.sql("alter table a add column by_hand int")
    db.done("repair", "--drift")
    db.done("status", "--drift")
    result = db.db("status", "--drift", "--rebuild")
    assert result.code == 3
    assert "changed: table public.a" in result.out
    assert "+  column by_hand" in result.err
    assert db.db("status", "--rebuild").code == 2
