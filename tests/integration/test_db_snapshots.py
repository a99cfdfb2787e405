"""Snapshots on disk, and what differs between them and the database."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dbt_cicd_toolkit.db import snapshots
from dbt_cicd_toolkit.db.files import Version
from dbt_cicd_toolkit.db.layout import Layout
from dbt_cicd_toolkit.db.migrate import migrate
from dbt_cicd_toolkit.db.project import Project, Silent
from dbt_cicd_toolkit.db.run import Run
from dbt_cicd_toolkit.db.snapshots import CURRENT, LIVE
from dbt_cicd_toolkit.errors import InvalidInput, Refused
from support.database import Database

TOLD: list[str] = []


@pytest.fixture
def project(db: Database, monkeypatch: pytest.MonkeyPatch) -> Project:
    for name, value in db.environment.items():
        monkeypatch.setenv(name, value)
    return Project(Layout(db.path / "database"), {})


@contextmanager
def running(project: Project) -> Generator[Run]:
    project = Project(project.layout, {})  # which reads the folder anew
    with project.connect("test") as session:
        yield project.run(session, Silent(lambda text: None))


def migrated(project: Project) -> None:
    with running(project) as run:
        migrate(run)


def snapshot(project: Project, version: str) -> snapshots.Snapshot:
    with running(project) as run:
        return snapshots.snapshot(project, run, Version.parse(version))


def diff(project: Project, *names: str) -> snapshots.Comparison:
    with running(project) as run:
        return snapshots.diff(project, run, *names, tell=TOLD.append)


def test_a_snapshot_is_two_files_the_same_each_time(db: Database, project: Project) -> None:
    db.table("1.0.0", "one")
    migrated(project)
    made = snapshot(project, "1.0.0")
    folder = db.path / "database/schema_snapshots"
    assert (made.path, made.current) == (folder / "schema_v1.0.0.sql", folder / "schema_current.sql")
    text = made.path.read_text(encoding="utf-8")
    assert text == made.current.read_text(encoding="utf-8")
    assert text.startswith("-- Schema snapshot 1.0.0 (PostgreSQL 18), made by `dbt-cicd db snapshot`.\n")
    assert "CREATE TABLE public.one" in text
    assert "dbt_cicd_migrations" not in text
    again = snapshot(project, "1.0.0")
    assert (made.changed, again.changed) == (True, False)
    assert made.path.read_text(encoding="utf-8") == text
    assert sorted(path.name for path in folder.iterdir()) == ["schema_current.sql", "schema_v1.0.0.sql"]


def test_a_snapshot_of_another_version_is_refused(db: Database, project: Project) -> None:
    db.table("1.0.0", "one")
    migrated(project)
    with pytest.raises(Refused) as error:
        snapshot(project, "1.1.0")
    assert str(error.value) == (
        "snapshot 1.1.0: the database is at version 1.0.0. Write `snapshot 1.0.0`, or bring it to 1.1.0 first: "
        "`dbt-cicd db migrate --to 1.1.0`."
    )
    with pytest.raises(Refused, match=r"`dbt-cicd db rollback --to 0\.9`"):
        snapshot(project, "0.9")
    assert not (db.path / "database/schema_snapshots").exists()


def test_a_database_without_history_can_have_one(db: Database, project: Project) -> None:
    db.sql("create table t (a integer)")
    assert "public.t" in snapshot(project, "3").path.read_text(encoding="utf-8")


def test_diff_of_versions_files_and_the_database(db: Database, project: Project) -> None:
    db.table("1.0.0", "one")
    migrated(project)
    snapshot(project, "1.0.0")
    db.migration("1.1.0__More_of_one", "alter table one add b text; create view v as select b from one;")
    migrated(project)
    snapshot(project, "1.1.0")
    db.sql("drop view v")
    found = diff(project, "1.0", "1.1.0")
    assert [(change.identity, change.kind) for change in found.changes] == [
        ("table public.one", "changed"),
        ("view public.v", "added"),
    ]
    assert found.text.split("\n") == [
        "--- schema_v1.0.0.sql: table public.one",
        "+++ schema_v1.1.0.sql: table public.one",
        "@@ -1,2 +1,3 @@",
        " table public.one",
        "+  column b text",
        "   column id integer not null",
        "--- /dev/null",
        "+++ schema_v1.1.0.sql: view public.v",
        "@@ -0,0 +1,4 @@",
        "+view public.v",
        "+  column b text",
        "+ SELECT b",
        "+   FROM public.one;",
        "",
    ]
    live = diff(project, "1.1.0")
    assert [(change.identity, change.kind) for change in live.changes] == [("view public.v", "removed")]
    assert (live.a, live.b) == ("schema_v1.1.0.sql", "the database")
    assert diff(project, CURRENT, LIVE).changes == live.changes
    file = db.path / "some.sql"
    file.write_text("create table one (b text, id integer primary key);\n", encoding="utf-8")
    assert diff(project, str(file), LIVE).changes == []
    assert diff(project, LIVE, LIVE).text == ""
    assert any(told.startswith(f"{file}: loading it into an embedded PostgreSQL 18") for told in TOLD)


def test_files_are_compared_without_a_database(db: Database, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    db.table("1.0.0", "one")
    migrated(project)
    snapshot(project, "1.0.0")
    monkeypatch.setenv("DB_PORT", "1")
    file = db.path / "some.sql"
    file.write_text('grant usage on schema public to "No One"; create table one (id bigint primary key)', "utf-8")
    found = snapshots.diff(Project(project.layout, {}), None, "1.0.0", str(file))
    assert [change.identity for change in found.changes] == ["schema public", "table public.one"]


def test_settings_of_the_database_do_not_matter(db: Database, project: Project) -> None:
    settings = {"client_encoding": "LATIN1", "datestyle": "German", "standard_conforming_strings": "off"}
    db.sql("".join(f"alter database {db.name} set {name} = '{value}';" for name, value in settings.items()))
    text = r"create table one (a text default 'ä€\', d date default '2026-02-01');"
    db.migration("1.0.0__Add_one", text, "drop table one;")
    migrated(project)
    snapshot(project, "1.0.0")
    assert diff(project, "1.0.0", LIVE).text == ""
    file = db.path / "some.sql"
    file.write_text(text, encoding="utf-8")
    assert diff(project, str(file), LIVE).text == ""
    for command in (["status", "--drift"], ["history"], ["validate"], ["verify"]):
        db.done(*command)
    db.migration("1.1.0__Add_two", "create table two (a text)")
    db.done("migrate", "--dry-run=execute")


def test_a_snapshot_that_cannot_be_read_is_named(db: Database, project: Project) -> None:
    folder = db.path / "database/schema_snapshots"
    (folder / "schema_v1.0.0.sql").mkdir(parents=True)
    with pytest.raises(InvalidInput, match=r"schema_v1\.0\.0\.sql cannot be read: Is a directory\."):
        diff(project, "1.0.0", LIVE)
    (folder / f"schema_v{'1' * 51}.sql").touch()
    with pytest.raises(InvalidInput, match=r"schema_v1{51}\.sql: "):
        diff(project, "2.0.0", LIVE)


@pytest.mark.parametrize("name", ["2.0.0", "nothing.sql", "current", ""])
def test_what_there_is_not(db: Database, project: Project, name: str) -> None:
    with pytest.raises(InvalidInput, match=f"diff: '{name}' is neither a version that has a snapshot nor a file."):
        diff(project, name)


BROKEN: dict[str, tuple[str, Callable[[Path], str]]] = {
    "syntax": ("select 1;\nselect from where;", lambda path: f'{path}:2:13: syntax error at or near "where"'),
    "extension": (
        "create extension plpgsql_check; create extension vector",
        lambda path: f'{path}:1:1: extension "plpgsql_check" is not available',
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_does_not_load_is_named(db: Database, project: Project, name: str) -> None:
    text, expected = BROKEN[name]
    file = db.path / "some.sql"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(Refused) as error:
        diff(project, str(file))
    assert str(error.value).startswith(expected(file))
    if name == "extension":
        assert str(error.value).endswith("The scratch server lacks the extensions plpgsql_check.")


def test_psql_commands_are_no_snapshot(db: Database, project: Project) -> None:
    file = db.path / "some.sql"
    file.write_text("\\connect elsewhere\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match=r"some\.sql:1:1: .connect is a command of psql"):
        diff(project, str(file))
