"""What commands tell: where they are, what differs and how, places in sources, what is near a wrong name."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock
from urllib.parse import quote

import pytest

from support.databases import Databases
from support.schema_project import SchemaProject
from support.schema_releases import Stage, installed, released

if TYPE_CHECKING:
    from conftest import MakeSchema

once = pytest.mark.parametrize("databases", [18], indirect=True, ids=["any"])
T = "create schema s; create table s.t (id integer primary key, a text); create view s.v as select id from s.t;"
STAGES = (Stage(T), Stage(T + "create index by_a on s.t (a);"))


def said(project: SchemaProject, code: int, *arguments: str, database: str = "postgres") -> str:
    """stderr of a command that ends so."""
    result = project.schema(*arguments, database=database)
    assert result.code == code, (result.out, result.err)
    return result.err


def test_the_database_is_told(make_schema: MakeSchema, databases: Databases) -> None:
    project = released(make_schema, "s", *STAGES)
    database = installed(project)
    where = databases.settings(database)
    line = f"   database {database} on {where['host']}:{where['port']}\n"
    for command in ("check", "plan", "upgrade"):
        result = project.done(command, database=database)
        assert line in result.err
        assert line not in result.out


# Drift


def test_what_differs_is_shown(make_schema: MakeSchema, databases: Databases) -> None:
    project = released(make_schema, "s", *STAGES)
    database = installed(project)
    databases.execute(database, "alter table s.t add b integer")
    result = project.schema("check", database=database)
    assert result.code == 3
    assert "differs: table s.t: differs" in result.out
    assert "--- release 1.0.0: table s.t" in result.out
    assert "+  column b integer" in result.out
    assert "+  column b integer" in project.schema("check", "--json", database=database).json["diff"]
    assert "an upgrade refuses this database" in project.done("plan", database=database).out
    assert project.done("plan", "--json", database=database).json["differences"] == ["table s.t: differs"]
    assert "`dbt-cicd schema check` shows it" in said(project, 3, "upgrade", database=database)


def test_without_a_scratch_server_it_is_told_how_to_see_it(make_schema: MakeSchema, databases: Databases) -> None:
    project = released(make_schema, "s", *STAGES)
    database = installed(project)
    databases.execute(database, "alter table s.t add b integer")
    with mock.patch("dbt_cicd_toolkit.postgres.embedded.majors", return_value=[]):
        result = project.schema("check", database=database)
    assert result.code == 3
    assert "--scratch-url" in result.out


# Files


@once
@pytest.mark.parametrize("name", ["1_1.0.0.json", "2_2.0.0.json"])
@pytest.mark.parametrize("command", ["status", "check"])
def test_a_release_file_that_is_edited_or_gone(make_schema: MakeSchema, name: str, command: str) -> None:
    project = released(make_schema, "s", *STAGES)
    path = project.folder / "releases" / name
    text = path.read_bytes()
    path.write_bytes(text.replace(b"create view", b"create  view", 1))
    assert name in said(project, 3, command)
    path.unlink()
    assert f"{name} is gone" in said(project, 3, command)
    path.write_bytes(text)
    project.done(command)
    path.with_name("3_3.0.0.json").write_bytes(text)
    assert "3_3.0.0.json is the file of no release" in said(project, 3, command)


@once
def test_what_init_writes_keeps_git_from_the_bytes(make_schema: MakeSchema, tmp_path: Path) -> None:
    project = make_schema()
    for name in ("pg_catalog", "information_schema", "dbt_cicd"):
        assert f"--schemas: {name} is" in said(project, 2, "init", "--schemas", f"s,{name}")
    (project.path / ".gitignore").write_text("target/")
    project.done("init", "--schemas", "s")
    assert (project.folder / ".gitattributes").read_text() == "schema.hist -text\nreleases/* -text\n"
    assert (project.path / ".gitignore").read_text() == "target/\n.local/\n"


# Sources


@once
@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("create schema s;\ncreate table s.t (\n  id integer,\n  name text nut null\n);", "objects.sql:4:13: "),
        (f"{T}\nbegin;", "objects.sql:2:1: BEGIN is no source of an object"),
        (
            "create schema s;\ncreate function s.f() returns bigint language sql as 'select count(*) from s.w';\n"
            "create view s.w as select 1 as a; create materialized view s.m as select s.f() as n;",
            "objects.sql:3:35: materialized view s.m: relation",
        ),
    ],
)
def test_the_place_of_a_mistake(make_schema: MakeSchema, source: str, place: str) -> None:
    project = make_schema()
    project.done("init", "--schemas", "s")
    project.write({"objects.sql": source})
    result = project.schema("release", "1.0.0")
    assert result.code in (1, 2)
    assert place in result.err


@once
def test_the_place_of_a_column_is_where_it_is_defined(make_schema: MakeSchema) -> None:
    source = "create schema s; create table s.product (id integer primary key);\ncreate table s.t ({}\n  product {});"
    project = released(make_schema, "s", Stage(source.format("", "integer")))
    project.write({"objects.sql": source.format("id integer references s.product,", "date")})
    assert "objects.sql:3:3: s.t: column product is integer" in said(project, 1, "release", "2.0.0")


@once
def test_a_requires_with_a_type_and_without_a_schema(make_schema: MakeSchema) -> None:
    project = make_schema()
    project.done("init", "--schemas", "s")
    body = "returns integer language plpgsql as $$ begin return 1; end $$;"
    lines = [f"create function s.k() {body}", f"{T}\n-- @requires table t\n-- @requires function k"]
    project.write({"objects.sql": "\n".join([*lines, f"create function s.g() {body}"])})
    project.done("release", "1.0.0")


@once
def test_status_names_what_is_new(make_schema: MakeSchema) -> None:
    project = released(make_schema, "s", *STAGES)
    project.write({"objects.sql": STAGES[1].source + "\ncreate function s.f() returns integer return 1;"})
    assert "objects.sql:2:1: function s.f\n" in project.done("status").out
    assert project.done("status", "--output-format", "markdown").out.startswith("```text\n")


@once
@pytest.mark.parametrize(
    ("name", "told"), [("tt", "Did you mean table s.t?"), ("nothing", "There are: index s.by_a, schema s, table s.t")]
)
def test_history_of_what_is_not_there(make_schema: MakeSchema, name: str, told: str) -> None:
    assert told in said(released(make_schema, "s", *STAGES), 2, "history", name)


# Options and deltas


@once
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("t", "drop", "a"), "'a' is one argument too many: write the whole line in quotes"),
        (("v drop id",), "v is a view, and deltas are of tables"),
    ],
)
def test_a_delta_that_cannot_be(make_schema: MakeSchema, arguments: Sequence[str], told: str) -> None:
    assert told in said(released(make_schema, "s", *STAGES), 2, "delta", *arguments)


@once
def test_the_same_delta_twice(make_schema: MakeSchema) -> None:
    project = released(make_schema, "s", *STAGES)
    assert project.done("delta", "list").out == "No delta is open.\n"
    project.done("delta", "t drop a")
    assert "t drop a is entered already" in said(project, 1, "delta", "t drop column a")
    for _ in range(2):
        project.done("delta", "t update set a = a || 'x'")


@once
def test_a_plan_from_above_its_end(make_schema: MakeSchema) -> None:
    project = released(make_schema, "s", *STAGES)
    assert "release 2 is above 1.0.0" in said(project, 2, "plan", "--from", "2.0.0", "--to", "1.0.0")


@once
def test_a_scratch_server_is_all_that_a_release_needs(make_schema: MakeSchema, databases: Databases) -> None:
    project = released(make_schema, "s", *STAGES)
    project.write({"objects.sql": STAGES[1].source + "create index by_b on s.t (a, id);"})
    assert "--scratch-url" in said(project, 2, "release", "3.0.0", "--scratch-url", "foo")
    server = databases.settings("postgres")
    there = {f"PG{name.upper()}": str(server[name]) for name in ("host", "port", "password")}
    nowhere = {"DB_HOST": "localhost", "DB_PORT": "1"}
    with mock.patch.object(project, "environment", return_value=there | nowhere):
        project.done("release", "3.0.0", "--scratch-url", f"postgresql://{server['user']}@/postgres")


def test_the_log_of_another_role(make_schema: MakeSchema, databases: Databases) -> None:
    project = released(make_schema, "s", *STAGES)
    database = installed(project)
    with contextlib.suppress(Exception):
        databases.execute(database, "create role told_owner")
    message = said(project, 1, "upgrade", "--role", "told_owner", database=database)
    assert "The log, dbt_cicd.dbt_cicd_schema_log, belongs to somebody else" in message


@once
@pytest.mark.parametrize("where", ["embedded", "url"])
def test_a_release_asks_no_target(make_schema: MakeSchema, databases: Databases, where: str) -> None:
    """It is the same for all of them; one that does not answer would be waited for."""
    project = released(make_schema, "shop", Stage("create schema shop;"))
    project.write({"objects.sql": "create schema shop; create table shop.t (id integer);"})
    server = databases.settings("postgres")
    url = f"postgresql://{server['user']}@{quote(server['host'], '')}:{server['port']}/postgres"
    with socket.create_server(("127.0.0.1", 0)) as target:
        target.settimeout(0)
        environment = {
            "DB_HOST": "127.0.0.1",
            "DB_PORT": str(target.getsockname()[1]),
            "PGPASSWORD": str(server["password"]),
        }
        process = project.start(
            "release",
            "2.0.0",
            *(["--scratch-url", url] if where == "url" else []),
            database="postgres",
            environment=environment,
        )
        _, said = process.communicate()
        assert process.returncode == 0, said
        with pytest.raises(BlockingIOError):
            target.accept()
