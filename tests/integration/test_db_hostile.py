"""What hostile or unlucky databases, files and people did to runs, each once."""

from __future__ import annotations

import psycopg2
import pytest

from support.database import Database, ended


def versions(db: Database) -> list[str | None]:
    return [version for _, version, _ in db.history()]


def test_a_file_that_comes_back_is_applied_once(db: Database) -> None:
    db.table("1.0.0", "t")
    path = db.migration("2.0.0__Add_row", "insert into t values (2);")
    text = path.read_text()
    db.done("migrate")
    path.unlink()
    db.done("repair", "--deleted", "2.0.0")
    db.sql("delete from t")
    path.write_text(text)
    db.done("migrate")
    assert "Nothing to do" in db.done("migrate").out
    assert db.sql("select * from t") == [(2,)]
    assert "Pending" not in db.done("status").out


def test_an_index_of_that_name_that_was_there_is_not_taken_for_ours(db: Database) -> None:
    db.migration("1.0.0__Add_t", "create table t (a int, b int); create index i on t (a);")
    db.migration("1.1.0__Add_index", "create unique index concurrently i on t (b);")
    for _ in range(3):
        result = db.db("migrate")
        assert result.code == 1
        assert "already exists" in result.err
    assert versions(db) == ["1.0.0"]


def test_an_unnamed_concurrent_index_is_refused(db: Database) -> None:
    db.migration("1.0.0__Add_t", "create table t (a int);\ncreate index concurrently on t (a);")
    result = db.db("migrate")
    assert result.code == 2
    assert ":2:1: give the index a name" in result.err


def test_a_refused_import_leaves_the_guard_up(db: Database) -> None:
    db.table("1.0.0", "a")
    db.done("migrate")
    db.sql(
        "create table flyway_schema_history as select * from dbt_cicd.dbt_cicd_migrations;"
        "update flyway_schema_history set success = false; drop schema dbt_cicd cascade"
    )
    assert db.db("baseline", "--from-flyway", "public.flyway_schema_history").code == 1
    assert db.sql("select to_regnamespace('dbt_cicd')") == [(None,)]
    result = db.db("migrate")
    assert result.code == 1
    assert "--from-flyway" in result.err


@pytest.fixture
def mallory(db: Database) -> str:
    """Somebody who may create things in public."""
    name = f"mallory_{db.name}"
    db.sql(f"drop role if exists {name}; create role {name}; grant create on schema public to {name}")
    db.sql(f"grant create on database {db.name} to {name}")
    return name


def is_superuser(db: Database, name: str) -> bool:
    found: bool = db.sql("select rolsuper from pg_roles where rolname = %s", [name])[0][0]
    return found


def test_operators_in_public_are_not_run_with_our_rights(db: Database, mallory: str) -> None:
    types = [
        ("oid", "int4"),
        ("varchar", "varchar"),
        ("int4", "int8"),
        ("oid", "regclass"),
        ("name", "text"),
        ("text", "name"),
    ]
    body = f"begin execute 'alter role {mallory} superuser'; return true; end"
    sql = f"set role {mallory};"
    for left, right in types:
        sql += (
            f"create function public.evil(a {left}, b {right}) returns bool language plpgsql as $${body}$$;"
            f"create operator public.= (leftarg = {left}, rightarg = {right}, function = public.evil);"
        )
    sql += (
        "create function public.evil_text(a int4, b text) returns text language plpgsql as $$"
        f"begin execute 'alter role {mallory} superuser'; return ''; end $$;"
        "create operator public.|| (leftarg = int4, rightarg = text, function = public.evil_text);"
    )
    db.sql(sql)
    db.table("1.0.0", "a")
    db.migration(
        "1.1.0__Index_it", "create index concurrently a_id on a (id); vacuum a;", "drop index concurrently a_id;"
    )
    for command in (["baseline", "0"], ["migrate"], ["status", "--drift"], ["validate"], ["history"], ["rollback"]):
        db.done(*command)
    db.sql("create table by_hand (id int)")
    db.done("repair", "--drift")
    assert not is_superuser(db, mallory)


def test_tables_of_ours_that_somebody_else_made_are_not_written(db: Database, mallory: str) -> None:
    db.table("1.0.0", "a")
    db.done("migrate")
    db.sql(f"alter table dbt_cicd.dbt_cicd_migrations owner to {mallory}")
    result = db.db("migrate")
    assert result.code == 1
    assert f"belongs to {mallory}" in result.err
    db.sql("alter table dbt_cicd.dbt_cicd_migrations owner to postgres")
    db.sql("create rule nothing as on insert to dbt_cicd.dbt_cicd_migrations do instead nothing")
    db.table("1.1.0", "b")
    assert "triggers or rules" in db.db("migrate").err
    assert db.tables() == ["a"]


def test_a_row_that_a_rule_swallows_rolls_the_migration_back(db: Database) -> None:
    db.table("1.0.0", "a")
    db.done("migrate")
    db.migration(
        "1.1.0__Swallow_it",
        "create table b (id int); create rule nothing as on insert to dbt_cicd.dbt_cicd_migrations do instead nothing;",
    )
    assert db.db("migrate").code == 1
    assert db.tables() == ["a"]


@pytest.mark.parametrize("style", ["German", "SQL, DMY", "Postgres, DMY"])
def test_a_datestyle_of_the_database_does_not_matter(db: Database, style: str) -> None:
    db.sql(f"alter database {db.name} set datestyle = '{style}'")
    db.table("1.0.0", "a")
    db.migration("1.1.0__Set_style", "set datestyle = 'SQL, DMY'; create table b (d date default '2026-02-01');")
    db.done("migrate")
    for command in ("status", "history", "validate"):
        db.done(command)
    db.sql("create table by_hand (id int)")
    assert db.db("status", "--drift").code == 3


def test_a_begun_file_that_is_replaced_is_refused(db: Database) -> None:
    path = db.migration("1.0.0__Two_parts", "create table q (id int); vacuum q; select 1/0;")
    assert db.db("migrate").code == 1
    path.write_text("create table zz (id int);")
    assert db.db("migrate").code == 3
    assert db.tables() == ["q"]
    path.write_text("create table q (id int); vacuum q;")
    db.done("migrate")
    assert versions(db) == ["1.0.0"]


def test_the_role_of_a_file_holds_for_all_its_statements_and_not_for_ours(db: Database) -> None:
    role = f"app_{db.name}"
    db.sql(f"drop role if exists {role}; create role {role}; grant create on schema public to {role}")
    db.migration(
        "1.0.0__As_role",
        f"set role {role}; create table a (i int); create table b (i int); create index concurrently ib on b (i);",
    )
    db.migration("1.1.0__Authorized", f"set session authorization {role}; create table c (i int);")
    db.table("1.2.0", "d")
    db.done("migrate")
    owners = db.sql("select tablename, tableowner from pg_tables where schemaname = 'public' order by 1")
    assert owners == [("a", role), ("b", role), ("c", role), ("d", "postgres")]
    assert db.sql("select distinct installed_by from dbt_cicd.dbt_cicd_migrations") == [("postgres",)]


def test_a_password_inside_a_block_is_not_shown(db: Database) -> None:
    db.migration(
        "1.0.0__Set_password",
        "do $$ begin execute 'alter role nobody_at_all password ''s3cretpw'''; end $$;",
    )
    for arguments in (["migrate"], ["migrate", "--json"], ["migrate", "--dry-run=execute", "--on-target"]):
        result = db.db(*arguments)
        assert result.code == 1
        assert "s3cretpw" not in result.out + result.err
    assert "s3cretpw" not in str(db.sql("select * from dbt_cicd.dbt_cicd_migration_log"))


@pytest.mark.parametrize(
    "trick",
    [
        "select set_config('standard_conforming_strings', 'off', false);\nselect 'a\\'; commit; --';",
        "select set_config('client_encoding', 'LATIN1', false); insert into t values ('é');",
        "do $$ begin perform set_config('standard_conforming_strings', 'off', true); end $$; select 1;",
    ],
)
def test_settings_that_change_what_a_file_says_are_refused(db: Database, trick: str) -> None:
    db.migration("1.0.0__Trick_it", f"create table t (a text); {trick}")
    for arguments in (["migrate"], ["migrate", "--dry-run=execute", "--on-target"]):
        assert db.db(*arguments).code == 2
        assert db.tables() == []


def test_a_dry_run_writes_nothing(db: Database) -> None:
    db.table("1.0.0", "a")
    assert db.db("repair", "--drift", "--dry-run").code == 1
    db.sql(
        f"create schema evil; alter database {db.name} set search_path = evil, pg_catalog, public;"
        "create function evil.div(int, int) returns int language sql as 'select 1';"
        "create operator evil./ (leftarg = int, rightarg = int, function = evil.div)"
    )
    db.done("migrate", "--dry-run")
    assert db.tables() == []
    assert db.sql("select to_regnamespace('dbt_cicd')") == [(None,)]


def test_a_wrong_password_is_no_missing_server(db: Database) -> None:
    db.table("1.0.0", "a")
    result = db.db("migrate", "--dry-run", environment={"DB_PASSWORD": "wrong one"})
    assert result.code == 1
    assert "wrong one" not in result.err
    assert "Connection failed" in result.err


def test_an_unfinished_repeatable_is_finished_before_new_ones(db: Database) -> None:
    db.table("1.0.0", "a")
    path = db.migration("R__Cleaning", "select 1;\nvacuum a;\nselect 1/0;")
    assert db.db("migrate").code == 1
    db.table("1.1.0", "b")
    path.write_text("select 1;\nvacuum a;\nselect 1;")
    out = db.done("migrate").out
    assert out.index("R__Cleaning.sql") < out.index("V1.1.0")


def test_a_percent_sign_in_a_name_is_refused(db: Database) -> None:
    db.config("history_table: 'a%s'\n")
    db.table("1.0.0", "a")
    assert db.db("migrate").code == 2


def test_stdout_that_cannot_be_written_does_not_stop_a_run(db: Database) -> None:
    for number in range(3):
        db.table(f"1.{number}.0", f"t{number}")
    process = db.start("migrate")
    assert process.stdout
    process.stdout.close()
    process.wait()
    if process.stderr:
        process.stderr.close()
    assert db.tables() == ["t0", "t1", "t2"]


def test_the_highest_version_is_the_current_one(db: Database) -> None:
    db.table("1.0.0", "a")
    db.table("1.2.0", "c")
    db.done("migrate")
    db.table("1.1.0", "b")
    db.done("migrate", "--out-of-order")
    assert "Current Version: 1.2.0" in db.done("status").out


def test_history_keeps_the_order_of_events_of_one_second(db: Database) -> None:
    db.table("1.0.0", "a")
    for command in ("migrate", "rollback", "migrate"):
        db.done(command)
    actions = [event["action"] for event in db.done("history", "--json").json["events"]]
    assert actions == ["migrate", "rollback", "migrate"]


def test_a_run_without_rights_says_so(db: Database, mallory: str) -> None:
    db.table("1.0.0", "a")
    db.done("migrate")
    db.sql(f"alter role {mallory} login password 'x'")
    result = db.db("status", "--user", mallory, environment={"DB_PASSWORD": "x"})
    assert result.code == 1
    assert "permission denied" in result.err
    with pytest.raises(psycopg2.Error):
        psycopg2.connect(**{**db.arguments, "user": mallory, "password": "y"})


def test_two_at_once_one_creates(db: Database) -> None:
    results = [ended(process) for process in [db.start("create", "1.1.0", "Add it once") for _ in range(4)]]
    assert sorted(result.code for result in results) == [0, 1, 1, 1]
    assert len(list((db.path / "database/migrations").iterdir())) == 1
