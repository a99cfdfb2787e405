"""Files of every kind: what can be run is run as psql runs it, and what cannot is refused with its place."""

from __future__ import annotations

import os
import subprocess

import pytest

from dbt_cicd_toolkit.db.files import Version, checksum, description_problems, name_problems, version_problems
from support.database import Database


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n\n",
        b"-- nothing\n",
        b";;\n",
        b"/* a /* nested */ one */",
        b"\xef\xbb\xbf",
        b"\xef\xbb\xbfselect 1;\r\n",
    ],
)
def test_a_file_with_nothing_to_do_is_applied(db: Database, data: bytes) -> None:
    db.migration("1.0.0__Nothing_here", data)
    db.done("migrate", "--dry-run")
    db.done("migrate")
    assert [version for _, version, _ in db.history()] == ["1.0.0"]


def test_any_line_end_and_a_byte_order_mark(db: Database) -> None:
    db.migration(
        "1.0.0__Add_a",
        b"\xef\xbb\xbfcreate table a (id int);\r\n-- a comment\r\ncopy a from stdin;\r\n1\r\n2\r\n\\.\r\n",
    )
    db.done("migrate")
    assert db.sql("select count(*) from a") == [(2,)]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"select 'caf\xe9';", "byte 11 (line 1)"),
        (b"-- ok\nselect '\x00';", "NUL"),
        ("select 1;".encode("utf-16"), "UTF-16"),
        (b"select 1;\nselect 'open", ":2:8: "),
        (b"select $x$ open", ":1:8: "),
        (b"/* open", ":1:1: "),
        (b"copy a from stdin;\n1\n", ":1:1: "),
        (b"select 1;\n\\connect other\n", ":2:1: "),
        (b"select :'x';", ":1:8: "),
    ],
)
def test_what_cannot_be_run_is_refused_with_its_place(db: Database, data: bytes, message: str) -> None:
    db.table("1.0.0", "a")
    db.migration("1.1.0__Wrong_one", data)
    for command in (["migrate"], ["migrate", "--dry-run"], ["validate"]):
        result = db.db(*command)
        assert result.code == 2, result.err
        assert "V1.1.0__Wrong_one.sql" in result.err
        assert message in result.err
    assert db.tables() == []


def test_a_large_dump_is_run_as_psql_runs_it(make_db) -> None:  # type: ignore[no-untyped-def]
    source, ours, theirs = make_db(), make_db(), make_db()
    source.sql(
        "create table big (id int primary key, t text, n numeric, at timestamptz);"
        r"insert into big select i, repeat(e'a\tb\\c\n', i % 9), i / 7.0, timestamptz '2026-01-01' + i * interval '1 s'"
        " from generate_series(1, 60000) i; insert into big values (0, null, null, null);"
        "create view v as select count(*) as n from big;"
        "create function f() returns text language sql as $$ select ';' $$"
    )
    environment = os.environ | {"PGPASSWORD": source.server.password}
    where = ["-h", source.server.host, "-p", str(source.server.port), "-U", source.server.user]
    path = ours.path / "database/migrations/V1.0.0__Whole_dump.sql"
    programs = source.server.bin
    subprocess.run([programs / "pg_dump", *where, "-f", path, source.name], env=environment, check=True)
    assert path.stat().st_size > 5_000_000
    ours.done("migrate")
    psql = [programs / "psql", *where, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", theirs.name, "-f", path]
    subprocess.run(psql, env=environment, check=True, stdout=subprocess.DEVNULL)
    facts = "select count(*), md5(string_agg(b::text, ',' order by id)), (select n from v), f() from big b"
    assert ours.sql(facts) == theirs.sql(facts)


def test_ten_thousand_statements(db: Database) -> None:
    text = "create table a (id int);\n" + "".join(f"insert into a values ({i});\n" for i in range(10_000))
    db.migration("1.0.0__Many_rows", text)
    db.done("migrate", "--dry-run")
    db.done("migrate")
    assert db.sql("select count(*), sum(id) from a") == [(10_000, 49_995_000)]


def test_create_makes_both_files_and_refuses_what_is_there(db: Database) -> None:
    out = db.done("create", "1.1.0", "Add customer analytics").out
    forward = db.path / "database/migrations/V1.1.0__Add_customer_analytics.sql"
    back = db.path / "database/rollback/V1.1.0__Add_customer_analytics_rollback.sql"
    assert out == f"📄 {forward} (forward migration)\n↩️ {back} (rollback script)\n"
    assert "-- Migration: Add customer analytics\n-- Version: 1.1.0\n" in forward.read_text()
    result = db.db("create", "1.1", "Again the same")
    assert result.code == 2
    result = db.db("create", "1.1.0", "Again the same")
    assert result.code == 1
    assert "Migration already exists" in result.err
    assert 'create 1.1.1 "Again the same"' in result.err
    db.done("create", "1.1.1", "Different feature")
    db.done("migrate")
    db.done("rollback", "--steps", "2")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["migration1.sql"], "No version"),
        (["V1__stuff.sql"], "Vague description"),
        (["V1.1.0_add_tables.sql"], "Underscore instead of double underscore"),
        (["V1.1.0__add-user-stuff.sql"], "Hyphens not underscores"),
        (["1", "stuff"], "Vague description"),
        (["1.1.0-rc1", "Add it now"], "pre-release"),
        (["1.1.0", "add-user-stuff"], "Hyphens not underscores"),
        (["1.1.0", "../../etc passwd"], "Other characters"),
        (["1.1.0", "Add\nit"], "Other characters"),
        (["1.1.0", ""], "No description"),
        (["1.1.0", "x " * 200], "too many"),
    ],
)
def test_bad_examples_are_refused_with_their_reason(db: Database, arguments: list[str], reason: str) -> None:
    result = db.db("create", *arguments)
    assert result.code == 2
    assert reason in result.err
    assert list((db.path / "database/migrations").iterdir()) == []


@pytest.mark.parametrize(
    "name",
    [
        "V1.1.0__Add_User_Preferences.sql",
        "V1.1.1__Fix_User_Email_Constraint.sql",
        "V1.2.0__Enhanced_Reporting_Tables.sql",
        "V2.0.0__Major_Schema_Refactor.sql",
        "V2.0.1__Hotfix_Performance_Issue.sql",
        "R__Reporting_views.sql",
    ],
)
def test_good_examples_have_no_problems(name: str) -> None:
    assert name_problems(name) == []


def test_versions_compare_as_numbers() -> None:
    texts = ["1", "1.0.1", "1.1", "1_2", "1.10", "2.0.0"]
    versions = [Version.parse(text) for text in texts]
    assert versions == sorted(versions)
    assert Version.parse("1.1") == Version.parse("1.1.0") == Version.parse("1_1")
    assert len({Version.parse("1.1"), Version.parse("1.1.0.0")}) == 1
    assert version_problems("1.2.3") == []
    assert version_problems("01.2.3") != []
    assert description_problems("Add customer analytics") == []
    assert checksum(b"") == 0
