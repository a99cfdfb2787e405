"""Rollbacks proven in a scratch database, on rows, with what they leave behind shown, and the proofs kept."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dbt_cicd_toolkit.db import baseline, snapshots
from dbt_cicd_toolkit.db.files import Version
from dbt_cicd_toolkit.db.layout import Layout
from dbt_cicd_toolkit.db.project import Project, Silent
from dbt_cicd_toolkit.db.proofs import Proof
from dbt_cicd_toolkit.db.proofs import proofs as known_proofs
from dbt_cicd_toolkit.db.proving import Result
from dbt_cicd_toolkit.db.run import Run
from dbt_cicd_toolkit.db.verify import Verification, verify
from dbt_cicd_toolkit.errors import Differs, InvalidInput, Refused
from support.database import Database

ONE = ("create table one (id integer primary key, name text);", "drop table one;")


class Watching(Silent):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        super().__init__(self.told.append)


@pytest.fixture(autouse=True)
def _target(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in db.environment.items():
        monkeypatch.setenv(name, value)


def project(db: Database) -> Project:
    """As a command finds it now."""
    return Project(Layout(db.path / "database"), {})


@contextmanager
def running(db: Database) -> Generator[Run]:
    found = project(db)
    with found.connect("test") as session:
        yield found.run(session, Watching())


def verified(db: Database, **options: Any) -> Verification:
    with running(db) as run:
        return verify(project(db), Watching(), run=run, **options)


def only(found: Verification) -> Result:
    [result] = found.results
    return result


def proof(db: Database, version: str) -> Proof | None:
    found = project(db)
    migration = found.folder.migration(Version.parse(version))
    assert migration
    return known_proofs(found, None).find(migration)


def proofs(db: Database) -> Any:
    path = db.path / "database/version_control/rollback_proofs.json"
    return json.loads(path.read_text(encoding="utf-8"))


def test_proven_once_and_kept_until_a_file_changes(db: Database) -> None:
    db.migration("1.0.0__First_table", *ONE)
    db.migration("1.1.0__Second_table", "create table two (one_id integer not null references one);", "drop table two;")
    found = verified(db)
    assert found.ok
    assert [(result.version, result.status) for result in found.results] == [("1.0.0", "proven"), ("1.1.0", "proven")]
    assert found.source.startswith("an embedded PostgreSQL 18 in ")
    assert [dict(result.rows_lost) for result in found.results] == [{"public.one": 1}, {"public.two": 1}]
    assert list(proofs(db)) == ["1.0.0", "1.1.0"]
    assert proofs(db)["1.1.0"]["rows_lost"] == {"public.two": 1}
    again = verified(db)
    assert (again.ok, again.source) == (True, "")
    assert {result.status for result in again.results} == {"kept"}
    assert {result.status for result in verified(db, again=True).results} == {"proven"}
    # Nobody touched the database itself.
    assert db.tables() == []
    # Only what the change concerns is proven anew.
    db.migration("1.1.0__Second_table", "create table two (one_id integer references one);", "drop table two;")
    assert proof(db, "1.0") is not None
    assert proof(db, "1.1") is None
    assert [result.status for result in verified(db).results] == ["kept", "proven"]
    db.migration("1.0.0__First_table", ONE[0] + " -- changed", ONE[1])
    assert [result.status for result in verified(db).results] == ["proven", "proven"]
    db.migration("1.0.0__First_table", ONE[0] + " -- changed", ONE[1] + " -- too")
    assert [result.status for result in verified(db).results] == ["proven", "kept"]


def test_line_ends_and_a_byte_order_mark_change_no_proof(db: Database) -> None:
    db.migration("1.0.0__First_table", ONE[0] + "\n", ONE[1])
    assert verified(db).ok
    db.migration("1.0.0__First_table", b"\xef\xbb\xbf" + ONE[0].encode() + b"\r\n", ONE[1])
    assert only(verified(db)).status == "kept"


DIFFERENT = {
    "a table left": (
        "create table t (a integer); create table u (a integer);",
        "drop table t;",
        "--- /dev/null\n+++ after the rollback of 1.1.0: table public.u\n@@ -0,0 +1,2 @@\n+table public.u\n"
        "+  column a integer\n",
    ),
    "a grant left": (
        "grant select on one to public;",
        "select 1;",
        "--- before 1.1.0: table public.one\n+++ after the rollback of 1.1.0: table public.one\n@@ -1,3 +1,4 @@\n"
        " table public.one\n   column id integer not null\n   column name text\n+  grant select to public\n",
    ),
    "a comment lost": (
        "comment on table one is 'x';",
        "comment on table one is 'y';",
        "+  comment 'y'",
    ),
    "an index not put back": ("drop index one_name;", "", "-index public.one_name"),
    "a default not put back": (
        "alter table one alter name type varchar(5); alter table one alter name set default 'a';",
        "alter table one alter name type text;",
        "+  column name text default 'a'::character varying",
    ),
    "second time": (
        "create table if not exists t (a integer); create table if not exists kept as select 1 as x;",
        "drop table t;",
        "+table public.kept",
    ),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_a_rollback_leaves_behind_is_shown(db: Database, name: str) -> None:
    up, down, expected = DIFFERENT[name]
    db.migration("1.0.0__First_table", ONE[0] + "create index one_name on one (name);", ONE[1])
    db.migration("1.1.0__What_it_does", up, down)
    db.migration("1.2.0__Third_table", "create table three (a integer);", "drop table three;")
    found = verified(db)
    assert not found.ok
    assert [result.status for result in found.results] == ["proven", "differs", "proven"]
    second = found.results[1]
    assert expected in second.diff
    if name == "second time":
        assert second.message == "its rollback leaves another database than there was before it"
    if name == "a table left":
        [note] = second.notes
        assert note.startswith("it does not apply a second time, after its rollback: ")
        assert note.split("\n")[0].endswith('V1.1.0__What_it_does.sql:1:29: relation "u" already exists')
    assert "1.0.0" in proofs(db) and "1.1.0" not in proofs(db)


def test_a_rollback_that_fails_does_not_keep_others_from_being_proven(db: Database) -> None:
    db.migration("1.0.0__First_table", *ONE)
    db.migration("1.1.0__Wrong_rollback", "create table two (a integer);", "drop table two;\ndrop table nowhere;")
    db.migration("1.2.0__Third_table", "create table three (a integer);", "drop table three;")
    found = verified(db)
    assert [result.status for result in found.results] == ["proven", "failed", "proven"]
    message = found.results[1].message
    assert message.startswith("its rollback fails: ")
    assert 'V1.1.0__Wrong_rollback_rollback.sql:2:1: table "nowhere" does not exist' in message


def test_a_missing_rollback_is_told(db: Database) -> None:
    db.migration("1.0.0__First_table", ONE[0])
    db.migration("1.1.0__Second_table", "create table two (a integer);", "drop table two;")
    found = verified(db)
    assert [(result.status, result.message) for result in found.results] == [
        ("missing", "it has no rollback file"),
        ("proven", ""),
    ]
    assert not found.ok
    assert [result.status for result in verified(db).results] == ["missing", "kept"]


def test_a_migration_that_does_not_apply_ends_it(db: Database) -> None:
    db.migration("1.0.0__First_table", *ONE)
    db.migration("1.1.0__Broken_one", "create table two (a integer);\ncreate table one ();", "drop table two;")
    db.migration("1.2.0__Third_table", "create table three (a integer);", "drop table three;")
    found = verified(db)
    assert [result.status for result in found.results] == ["proven", "failed", "not reached"]
    assert found.results[1].message.startswith("it does not apply: ")
    assert "1.0.0" in proofs(db)


def test_rows_show_what_an_empty_database_hides(db: Database) -> None:
    db.migration("1.0.0__First_table", *ONE)
    db.migration(
        "1.1.0__Drop_column",
        "alter table one drop name;",
        "alter table one add name text not null; alter table one alter name drop not null;",
    )
    db.migration("1.2.0__Add_column", "alter table one add extra integer not null;", "alter table one drop extra;")
    db.migration("1.3.0__Next_one", "alter table one add more integer;", "alter table one drop more;")
    found = verified(db)
    assert [result.status for result in found.results] == ["proven", "failed", "failed", "proven"]
    assert 'column "name" of relation "one" contains null values' in found.results[1].message
    assert found.results[2].message.startswith("it does not apply where tables hold rows: ")
    assert found.results[3].rows_lost == {"public.one.more": 1}


def test_a_row_that_was_made_up_is_no_reason_to_fail(db: Database) -> None:
    db.migration("1.0.0__First_table", *ONE)
    db.migration(
        "1.1.0__New_check",
        "alter table one add constraint good check (name = 'good');",
        "alter table one drop constraint good;",
    )
    found = verified(db)
    assert found.ok
    [note] = found.results[1].notes
    assert note.startswith("applied to empty tables only, because the row that was made up is in the way: ")


def test_tables_that_could_not_be_filled_are_told_once(db: Database) -> None:
    db.migration(
        "1.0.0__First_table", "create table one (a text constraint no check (false) not null);", "drop table one;"
    )
    db.migration("1.1.0__Second_table", "create table two (a integer);", "drop table two;")
    found = verified(db)
    assert found.ok
    reason = "nothing that was tried satisfies the check constraint no"
    assert [dict(result.unfilled) for result in found.results] == [{"public.one": reason}, {}]
    assert proofs(db)["1.0.0"]["unfilled"] == {"public.one": reason}


def test_statements_outside_a_transaction(db: Database) -> None:
    db.migration("1.0.0__First_table", *ONE)
    db.migration(
        "1.1.0__Add_index",
        "create index concurrently one_name on one (name);",
        "drop index concurrently one_name;",
    )
    db.migration("1.2.0__Wrong_index", "create index concurrently one_id on one (id);", "vacuum one; drop index wrong;")
    db.migration("1.3.0__Third_table", "create table three (a integer);", "drop table three;")
    found = verified(db)
    assert [result.status for result in found.results] == ["proven", "proven", "failed", "proven"]


def test_roles_are_made_on_an_embedded_server_only(db: Database) -> None:
    db.migration(
        "1.0.0__New_role",
        "create role verify_role; grant select on pg_class to verify_role;",
        "revoke select on pg_class from verify_role; drop role verify_role;",
    )
    db.migration("1.1.0__Left_role", "create role verify_left;", "select 1;")
    found = verified(db)
    assert [result.status for result in found.results] == ["proven", "failed"]
    assert 'role "verify_left" already exists' in found.results[1].message
    assert db.sql("select rolname from pg_roles where rolname like 'verify%'") == []
    with pytest.raises(Refused, match="they are tried on an embedded server only"):
        verified(db, again=True, scratch_url="postgresql://postgres@localhost/x")


def test_repeatable_migrations_must_be_repeatable_and_let_the_last_one_go(db: Database) -> None:
    db.migration("1.0.0__First_table", *ONE)
    db.migration("R__One_view", "create or replace view v as select 1 as a;")
    found = verified(db)
    assert [(result.script, result.status) for result in found.results] == [
        ("V1.0.0__First_table.sql", "proven"),
        ("R__One_view.sql", "proven"),
    ]
    assert {result.status for result in verified(db).results} == {"kept"}
    db.migration("R__One_view", "create view v as select id from one;")
    found = verified(db)
    assert [result.status for result in found.results] == ["kept", "failed"]
    assert 'relation "v" already exists' in found.results[1].message
    db.migration("R__One_view", "create or replace view v as select id from one;")
    found = verified(db)
    assert [result.status for result in found.results] == ["failed", "proven"]
    assert found.results[0].message.startswith("with R__One_view.sql applied its rollback fails: ")
    assert "cannot drop table one because other objects depend on it" in found.results[0].message


def test_it_begins_with_the_structure_of_the_baseline(db: Database) -> None:
    db.sql("create table old (id integer primary key)")
    with running(db) as run:
        baseline.baseline(run, Version.parse("1.0.0"))
    db.migration("1.1.0__More_of_it", "alter table old add a text;", "alter table old drop a;")
    with pytest.raises(Refused) as error:
        verified(db)
    assert "the database began with the baseline 1.0.0, which no migration makes" in str(error.value)
    with running(db) as run:
        snapshots.snapshot(project(db), run, Version.parse("1.0.0"))
    assert verified(db).ok
    assert only(verified(db)).status == "kept"


def test_without_a_database(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PORT", "1")
    db.migration("1.0.0__First_table", *ONE)
    found = verify(project(db), Watching())
    assert found.ok and found.source.startswith("an embedded PostgreSQL 18")


def test_a_missing_extension_is_named(db: Database) -> None:
    db.migration(
        "1.0.0__New_extension", "create extension vector; create extension if not exists postgis;", "select 1;"
    )
    with pytest.raises(Refused, match=r"the migrations need extensions that an embedded .* lacks: postgis\."):
        verified(db)


def test_files_that_cannot_be_run_are_refused(db: Database) -> None:
    db.migration("1.0.0__First_table", ONE[0], "drop table one; commit;")
    with pytest.raises(InvalidInput, match=r"V1.0.0__First_table_rollback.sql:1:17: COMMIT"):
        verified(db)
    db.migration("1.0__Same_version", *ONE)
    with pytest.raises(Differs):
        verified(db)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"1.0.0": 1}', '{"1.0.0": {"migration": "x"}}'])
def test_a_torn_file_of_proofs_costs_only_another_proof(db: Database, text: str) -> None:
    db.migration("1.0.0__First_table", *ONE)
    path: Path = db.path / "database/version_control/rollback_proofs.json"
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")
    assert proof(db, "1.0.0") is None
    assert only(verified(db)).status == "proven"
    assert proof(db, "1.0.0") is not None


def test_a_killed_or_failed_run_leaves_nothing(db: Database) -> None:
    db.migration("1.0.0__First_table", "select pg_terminate_backend(pg_backend_pid());", "select 1;")
    found = verified(db)
    assert only(found).status == "failed"
    assert not (db.path / ".local/scratch-18/postmaster.pid").exists()
