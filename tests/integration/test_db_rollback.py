"""`db rollback`: what is taken back, and the rows that would be lost."""

from __future__ import annotations

import pytest

from support.database import Database


def versions(db: Database) -> list[str | None]:
    return [version for _, version, _ in db.history()]


def three(db: Database) -> None:
    for version, name in (("1.0.0", "a"), ("1.1.0", "b"), ("1.2.0", "c")):
        db.table(version, name)
    db.done("migrate")


def test_one_step_unless_told_and_forward_again(db: Database) -> None:
    three(db)
    assert db.done("rollback").out == "🚀 Executing: V1.2.0__Add_c_rollback.sql\n   ✅ Rolled back\n"
    assert versions(db) == ["1.0.0", "1.1.0"]
    db.done("migrate")
    db.done("rollback", "--steps", "2")
    assert db.tables() == ["a"]
    db.done("migrate")
    db.done("rollback", "--to", "1.0.0")
    assert versions(db) == ["1.0.0"]
    db.done("rollback", "--to", "0")
    assert db.tables() == []
    assert "Nothing to do" in db.done("rollback").out
    actions = [event["action"] for event in db.done("history", "--json").json["events"]]
    assert (actions.count("migrate"), actions.count("rollback")) == (6, 6)


def test_dry_run_changes_nothing(db: Database) -> None:
    three(db)
    out = db.done("rollback", "--dry-run", "--steps", "2").out
    assert out == (
        "🧪 DRY RUN MODE\n   📋 Would execute: V1.2.0__Add_c_rollback.sql\n"
        "   📋 Would execute: V1.1.0__Add_b_rollback.sql\n"
    )
    assert db.tables() == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--to", "7.0.0"], 2), (["--steps", "9"], 2), (["--steps", "0"], 2), (["--steps", "1", "--to", "0"], 2)],
)
def test_what_cannot_be_meant_is_refused(db: Database, arguments: list[str], code: int) -> None:
    three(db)
    assert db.db("rollback", *arguments).code == code
    assert db.tables() == ["a", "b", "c"]


def test_a_missing_rollback_file_is_told_before_anything_is_done(db: Database) -> None:
    db.migration("1.0.0__Add_a", "create table a (id int);")
    db.table("1.1.0", "b")
    db.done("migrate")
    result = db.db("rollback", "--steps", "2")
    assert result.code == 1
    assert "rollback/V1.0.0__Add_a_rollback.sql" in result.err
    assert db.tables() == ["a", "b"]


def test_nothing_goes_below_the_baseline(db: Database) -> None:
    db.sql("create table old (id int)")
    db.done("baseline", "1.0.0")
    db.table("1.1.0", "a")
    db.done("migrate")
    assert db.db("rollback", "--steps", "2").code == 1
    db.done("rollback")
    assert db.db("rollback").code == 1
    assert db.tables() == ["old"]


def test_a_failing_rollback_leaves_everything(db: Database) -> None:
    db.migration("1.0.0__Add_a", "create table a (id int);", "drop table a;\ndrop table nowhere;")
    db.done("migrate")
    result = db.db("rollback")
    assert result.code == 1
    assert "V1.0.0__Add_a_rollback.sql:2:1: " in result.err
    assert db.tables() == ["a"]
    assert versions(db) == ["1.0.0"]


def test_repeatable_ones_run_again_after_a_rollback(db: Database) -> None:
    db.table("1.0.0", "a")
    db.migration("1.1.0__Add_b", "create table b (id int);", "drop table b cascade;")
    db.migration("R__Views", "create or replace view v as select count(*) as n from b;")
    db.done("migrate")
    db.done("rollback")
    assert db.done("migrate").out.count("Completed") == 2
    assert db.sql("select n from v") == [(0,)]


def test_rolled_back_concurrently_and_rows_kept(db: Database) -> None:
    db.migration(
        "1.0.0__Add_index",
        "create table a (id int); create index concurrently a_id on a (id);",
        "drop index concurrently a_id; drop table a;",
    )
    db.done("migrate")
    db.sql("insert into a values (1)")
    result = db.db("rollback")
    assert result.code == 1
    assert "1 of public.a" in result.err
    assert versions(db) == ["1.0.0"]
    assert db.sql("select to_regclass('a_id')") == [(None,)]
    db.done("rollback", "--allow-data-loss")
    assert db.tables() == []
