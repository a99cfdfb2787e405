"""`db migrate`: what is applied, in what order, and every way in which folder and history can disagree."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from support.database import Database, ended


def test_migrations_are_applied_in_the_order_of_their_numbers(db: Database) -> None:
    for version, name in (("1.10.0", "ten"), ("1.9.0", "nine"), ("1.2", "two")):
        db.table(version, name)
    assert db.done("migrate").out.splitlines() == [
        "🚀 Executing: V1.2__Add_two.sql",
        "   ✅ Completed successfully",
        "🚀 Executing: V1.9.0__Add_nine.sql",
        "   ✅ Completed successfully",
        "🚀 Executing: V1.10.0__Add_ten.sql",
        "   ✅ Completed successfully",
    ]
    assert db.tables() == ["nine", "ten", "two"]
    assert [version for _, version, _ in db.history()] == ["1.2", "1.9.0", "1.10.0"]
    assert db.done("migrate").out == "✅ Nothing to do: no migration is pending\n"


def test_the_history_has_flyways_columns_and_checksum(db: Database) -> None:
    db.migration("1.0.0__Add_a", "create table a (id int);\r\n-- é\r\n")
    db.done("migrate")
    rows = db.sql("select * from dbt_cicd.dbt_cicd_migrations")
    rank, version, description, kind, script, checksum, by, _, milliseconds, success = rows[0]
    assert (rank, version, description, kind, script) == (1, "1.0.0", "Add a", "SQL", "V1.0.0__Add_a.sql")

    assert checksum == 509053000  # of the two lines without their ends, as java.util.zip.CRC32 and zlib have it
    assert (by, success) == ("postgres", True)
    assert milliseconds >= 0


def test_line_ends_and_a_byte_order_mark_do_not_change_a_checksum(db: Database) -> None:
    path = db.migration("1.0.0__Add_a", "create table a (id int);\n-- end\n")
    db.done("migrate")
    path.write_bytes(b"\xef\xbb\xbfcreate table a (id int);\r\n-- end\r\n")
    assert db.done("validate").out == "✅ 1 files agree with the history\n"


def test_one_failing_statement_leaves_nothing_of_its_file(db: Database) -> None:
    db.table("1.0.0", "a")
    db.migration("1.1.0__Add_b", "create table b (id int);\n\n  insert into nowhere values (1);\n")
    db.table("1.2.0", "c")
    result = db.db("migrate")
    assert result.code == 1
    assert 'V1.1.0__Add_b.sql:3:15: relation "nowhere" does not exist' in result.err
    assert db.tables() == ["a"]
    assert [version for _, version, _ in db.history()] == ["1.0.0"]
    assert "❌ Failed: 1\n   V1.1.0__Add_b.sql" in db.done("status").out


def test_a_password_in_a_failing_statement_is_not_shown(db: Database) -> None:
    db.migration("1.0.0__Add_role", "create role x password 'hunter2secret' nonsense;")
    result = db.db("migrate", "--json")
    assert result.code == 1
    assert "hunter2secret" not in result.out + result.err
    assert "hunter2secret" not in str(db.sql("select * from dbt_cicd.dbt_cicd_migration_log"))


def test_a_constraint_that_fails_at_commit_is_told(db: Database) -> None:
    db.migration(
        "1.0.0__Add_a",
        "create table a (id int primary key deferrable initially deferred);\ninsert into a values (1), (1);",
    )
    result = db.db("migrate")
    assert result.code == 1
    assert "at COMMIT: duplicate key value" in result.err
    assert db.tables() == []


@pytest.mark.parametrize("statement", ["commit", "BEGIN", "rollback", "end", "prepare transaction 'x'", "discard all"])
def test_a_file_may_not_end_its_transaction(db: Database, statement: str) -> None:
    db.table("1.0.0", "a")
    db.migration("1.1.0__Add_b", f"create table b (id int);\n{statement};")
    result = db.db("migrate")
    assert result.code == 2
    assert "V1.1.0__Add_b.sql:2:1: " in result.err
    assert db.tables() == []


def test_edited_deleted_duplicate_and_late_ones_are_told_at_once(db: Database) -> None:
    edited, deleted = db.table("1.0.0", "a"), db.table("1.1.0", "b")
    db.table("1.3.0", "d")
    db.done("migrate")
    edited.write_text("create table a (id bigint);")
    deleted.unlink()
    db.table("1.2.0", "c")
    db.table("1.4.0", "e")
    db.table("1.4", "f")
    for command in ("migrate", "validate"):
        result = db.db(command)
        assert result.code == 3, result.err
        assert "edited: " in result.err
        assert "dbt-cicd db repair --edited 1.0.0" in result.err
        assert "deleted: V1.1.0__Add_b.sql" in result.err
        assert "dbt-cicd db repair --deleted 1.1.0" in result.err
        assert "late: " in result.err
        assert "dbt-cicd db migrate --out-of-order" in result.err
        assert "duplicate: " in result.err
    assert db.tables() == ["a", "b", "d"]


def test_repairs_mend_what_was_told_and_are_recorded(db: Database) -> None:
    edited, deleted = db.table("1.0.0", "a"), db.table("1.1.0", "b")
    db.table("1.3.0", "d")
    db.done("migrate")
    edited.write_text("create table a (id bigint);")
    deleted.unlink()
    assert db.db("repair").code == 3
    assert db.done("repair", "--edited", "1.0.0", "--deleted", "1.1.0", "--dry-run").out.count("\n") == 2
    assert db.db("validate").code == 3
    db.done("repair", "--edited", "1.0.0", "--deleted", "1.1.0")
    db.done("validate")
    db.table("1.2.0", "c")
    assert db.db("migrate").code == 3
    db.done("migrate", "--out-of-order")
    assert db.tables() == ["a", "b", "c", "d"]
    actions = [event["action"] for event in db.done("history", "--json").json["events"]]
    assert actions.count("repair") == 2
    assert db.db("repair", "--edited", "1.0.0").code == 1


def test_to_stops_at_a_version_and_refuses_an_unknown_one(db: Database) -> None:
    for version, name in (("1.0.0", "a"), ("1.1.0", "b"), ("1.2.0", "c")):
        db.table(version, name)
    assert db.db("migrate", "--to", "1.5.0").code == 2
    assert db.db("migrate", "--to", "x").code == 2
    assert db.tables() == []
    db.done("migrate", "--to", "1.1")
    assert db.tables() == ["a", "b"]


def test_repeatable_ones_run_last_and_again_when_they_change(db: Database) -> None:
    db.table("1.0.0", "a")
    path = db.migration("R__Views", "create or replace view v as select id from a;")
    db.done("migrate")
    assert [script for _, _, script in db.history()] == ["V1.0.0__Add_a.sql", "R__Views.sql"]
    assert "Nothing to do" in db.done("migrate").out
    path.write_text("create or replace view v as select id, 1 as one from a;")
    assert "R__Views.sql" in db.done("migrate").out
    assert "Nothing to do" in db.done("migrate").out


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("migration1.sql", "No version"),
        ("V1.1.0_add_tables.sql", "Underscore instead of double underscore"),
        ("V1.0.0-rc1__Add_it.sql", "pre-release"),
    ],
)
def test_a_file_that_is_no_migration_is_refused(db: Database, name: str, reason: str) -> None:
    db.table("1.0.0", "a")
    (db.path / "database/migrations" / name).write_text("create table b (id int);")
    result = db.db("migrate")
    assert result.code == 2
    assert reason in result.err
    assert db.tables() == []


@pytest.mark.parametrize("name", ["V1__stuff.sql", "V1.1.0__add-user-stuff.sql"])
def test_names_that_only_flyway_allows_run_with_a_warning(db: Database, name: str) -> None:
    (db.path / "database/migrations" / name).write_text("create table b (id int);")
    assert name in db.done("status").out
    assert name in db.done("migrate").err
    assert db.tables() == ["b"]


def test_a_database_in_use_needs_a_baseline(db: Database) -> None:
    db.sql("create table old (id int)")
    db.table("1.0.0", "old")
    db.table("1.1.0", "new")
    result = db.db("migrate")
    assert result.code == 1
    assert "baseline 1.0.0" in result.err
    assert db.sql("select to_regnamespace('dbt_cicd')") == [(None,)]
    db.done("baseline", "1.0.0")
    assert "already" in db.done("baseline", "1.0.0").out
    assert db.db("baseline", "9.9.9").code == 2
    db.done("baseline", "1.1.0")
    db.done("baseline", "1.0.0")
    db.done("migrate")
    assert db.db("baseline", "1.1.0").code == 1
    assert db.tables() == ["new", "old"]
    assert "📍 Current Version: 1.1.0" in db.done("status").out


def test_settings_of_one_file_do_not_reach_the_next(db: Database) -> None:
    db.sql("create role some_reader; create schema app")
    db.migration(
        "1.0.0__As_pg_dump",
        "select pg_catalog.set_config('search_path', '', false);\n"
        "set statement_timeout = 1; set statement_timeout = 0; set lock_timeout = 0; set role some_reader;\n"
        "set session authorization some_reader; create temp table t (id int);",
    )
    db.migration("1.1.0__Add_a", "create table a (id int); create temp table t (id int);")
    db.done("migrate")
    assert db.tables() == ["a"]
    assert db.sql("select tableowner from pg_tables where tablename = 'a'") == [("postgres",)]


def test_a_file_that_gives_the_lock_away_ends_the_run(db: Database) -> None:
    db.migration("1.0.0__Add_a", "create table a (id int); select pg_advisory_unlock_all();")
    db.table("1.1.0", "b")
    result = db.db("migrate")
    assert result.code == 1
    assert "no longer holds the lock" in result.err
    assert db.tables() == ["a"]


def test_statement_timeout_and_read_only_defaults_of_a_role_do_not_stop_a_migration(db: Database) -> None:
    name = db.name
    db.sql(f"alter database {name} set statement_timeout = '1ms'")
    db.sql(f"alter database {name} set default_transaction_read_only = on")
    db.migration("1.0.0__Add_a", "create table a as select generate_series(1, 100000) as id;")
    db.done("migrate")


def test_role_is_who_everything_is_run_as(db: Database) -> None:
    role = f"owner_of_{db.name}"
    db.sql(f"drop role if exists {role}; create role {role}; grant create on schema public to {role}")
    db.sql(f"grant create on database {db.name} to {role}")
    db.table("1.0.0", "a")
    db.migration("1.1.0__Add_b", "reset role; create table b (id int);")
    db.table("1.2.0", "c")
    db.done("migrate", "--role", role)
    owners = db.sql("select tablename, tableowner from pg_tables where schemaname = 'public' order by 1")
    assert owners == [("a", role), ("b", "postgres"), ("c", role)]
    db.sql(f"drop owned by {role} cascade; drop role {role}")


def test_flyways_history_is_taken_over(db: Database) -> None:
    db.table("1", "a")
    db.table("2", "b")
    db.table("3", "c")
    db.done("migrate", "--to", "2")
    db.sql(
        "create table flyway_schema_history as select * from dbt_cicd.dbt_cicd_migrations; drop schema dbt_cicd cascade"
    )
    result = db.db("migrate")
    assert result.code == 1
    assert "baseline --from-flyway public.flyway_schema_history" in result.err
    assert db.db("baseline", "--from-flyway", "public.a").code == 2
    assert "2 migrations" in db.done("baseline", "--from-flyway", "public.flyway_schema_history").out
    db.done("validate")
    db.done("migrate")
    assert db.tables() == ["a", "b", "c", "flyway_schema_history"]


def test_a_failed_migration_of_flyways_is_refused(db: Database) -> None:
    db.table("1", "a")
    db.done("migrate")
    db.sql("update dbt_cicd.dbt_cicd_migrations set success = false")
    assert db.db("migrate").code == 1


def test_drift_is_named_and_not_absorbed(db: Database) -> None:
    db.table("1.0.0", "a")
    db.done("migrate")
    db.table("1.1.0", "b")
    db.sql("alter table a add column extra int; create index by_hand on a (extra)")
    for command in (["migrate"], ["validate"], ["rollback"]):
        result = db.db(*command)
        assert result.code == 3, result.err
        assert "table public.a" in result.err
        assert "index public.by_hand" in result.err
    result = db.db("status", "--drift")
    assert result.code == 3
    assert "added: index public.by_hand" in result.out
    assert db.tables() == ["a"]
    db.done("repair", "--drift")
    db.done("migrate")
    assert db.tables() == ["a", "b"]


def test_what_a_failed_run_did_apply_is_no_drift(db: Database) -> None:
    db.table("1.0.0", "a")
    path = db.migration("1.1.0__Add_b", "create table b (id int); select 1/0;")
    assert db.db("migrate").code == 1
    path.write_text("create table b (id int);")
    assert db.done("migrate").err == ""


def test_schemas_limit_drift(db: Database) -> None:
    db.config("schemas: [app]\n")
    db.migration("1.0.0__Add_app", "create schema app; create table app.a (id int);")
    db.done("migrate")
    db.sql("create table public.elsewhere (id int)")
    db.table("1.1.0", "b")
    db.done("migrate")
    db.sql("create table app.here (id int)")
    assert db.db("status", "--drift").code == 3


def test_what_dbt_builds_is_no_drift(db: Database) -> None:
    db.table("1.0.0", "a")
    db.done("migrate")
    db.sql(
        "create table dbt_cicd.dbt_cicd_builds (relation_name text);"
        """insert into dbt_cicd.dbt_cicd_builds values ('"x"."marts"."customers"');"""
        "create schema marts; create table marts.customers (id int)"
    )
    db.done("status", "--drift")


def test_stdout_holds_one_document(db: Database) -> None:
    db.table("1.0.0", "a")
    result = db.done("migrate", "--json")
    assert result.json == {"success": True, "applied": [{"version": "1.0.0", "script": "V1.0.0__Add_a.sql"}]}
    assert db.done("status", "--json").json["version"] == "1.0.0"
    db.migration("1.1.0__Bad", "select 1/0;")
    result = db.db("migrate", "--json")
    assert result.json["success"] is False
    assert result.json["exit_code"] == 1
    for command in ("status", "history"):
        assert "1.0.0" in db.done(command, "--output-format", "markdown").out


def test_stdout_that_is_ascii_gets_ascii(db: Database) -> None:
    db.table("1.0.0", "a")
    process = db.start("migrate", environment={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    result = ended(process)
    assert (result.code, result.out) == (0, "Executing: V1.0.0__Add_a.sql\n   OK: Completed successfully\n")
    assert "Current Version: 1.0.0" in ended(db.start("status", environment={"PYTHONIOENCODING": "ascii"})).out


def test_a_server_that_is_not_there(db: Database) -> None:
    db.table("1.0.0", "a")
    result = db.db("migrate", "--port", "1")
    assert result.code == 1
    assert "Connection failed" in result.err
    assert "port 1 (option --port)" in result.err
    assert db.server.password not in result.err


@pytest.mark.parametrize("where", ["here", "above", "elsewhere", "by GIT_DIR"])
def test_the_log_says_at_which_commit_it_was(db: Database, tmp_path: Path, where: str) -> None:
    db.table("1.0.0", "t")
    tree = db.path.parent if where == "above" else db.path
    apart = ["--separate-git-dir", str(tmp_path / "apart.git")] if where in ("elsewhere", "by GIT_DIR") else []
    git = ["git", "-C", str(tree), "-c", "user.name=Ann", "-c", "user.email=ann@example.org"]
    subprocess.run([*git, "init", "-q", *apart], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "First"], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    environment = {}
    if where == "by GIT_DIR":
        (tree / ".git").unlink()
        environment = {"GIT_DIR": str(tmp_path / "apart.git"), "GIT_WORK_TREE": str(tree)}
    assert db.db("migrate", environment=environment).code == 0
    assert set(db.sql("select git_commit from dbt_cicd.dbt_cicd_migration_log")) == {(head,)}
