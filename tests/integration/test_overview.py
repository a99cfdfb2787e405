"""`dbt-cicd status --environment E` over a database, without a dbt project, and what a release of jobs records."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from dbt_cicd_toolkit.cli.main import cli, run
from dbt_cicd_toolkit.overview import heads
from support.database import Database
from support.databases import Databases

if TYPE_CHECKING:
    from conftest import MakeSchema


def test_migrations_and_schema_release_of_an_environment(
    make_schema: MakeSchema, databases: Databases, capsys: pytest.CaptureFixture[str]
) -> None:
    project = make_schema()
    name = databases.make()
    database = Database(databases.server, name, project.path)

    def status(*arguments: str, **environment: str) -> tuple[int, str]:
        with mock.patch.dict(os.environ, database.environment | environment):
            code = run(cli, "dbt-cicd", ["status", "--project-dir", str(project.path), *arguments])
        return code, capsys.readouterr().out

    database.table("1.0.0", "one")
    project.done("init", "--schemas", "shop", "--module", "shop")
    project.write({"objects.sql": "create schema shop; create table shop.t (id integer);"})
    project.done("release", "1.0.0")
    assert heads(project.path) == {"migration": "1.0.0", "schema": {"shop": "1.0.0"}, "models": {}}

    code, out = status("--environment", "production", "--json")
    assert code == 0
    found = json.loads(out)["production"]
    assert found["db.migrations"]["status"] == found["schema.shop"]["status"] == "not_deployed"
    assert found["db.migrations"]["notes"] == ["pending: 1.0.0"]
    assert found["schema.shop"]["notes"] == ["not installed: 1.0.0"]

    database.done("migrate")
    project.done("install", database=name)
    code, out = status("--environment", "production", "--json")
    found = json.loads(out)["production"]
    assert [(entry["version"], entry["notes"]) for entry in found.values()] == [("1.0.0", []), ("1.0.0", [])]

    database.table("1.1.0", "two")
    databases.execute(name, "alter table shop.t add theirs integer")
    code, out = status("--environment", "production", "--output-format", "markdown")
    assert code == 0
    assert "pending: 1.1.0" in out
    assert "differs: 1 objects" in out

    code, out = status("--environment", "production", DB_PORT="1", DB_HOST="127.0.0.1")
    assert code == 1
    assert "Connection failed" in out
    code, out = status("--environment", "production", "--models", "customers")
    assert (code, out) == (0, "Nothing was promoted yet.\n")


def test_what_a_release_of_jobs_records_of_models(tmp_path: Path) -> None:
    assert heads(tmp_path) == {"migration": None, "schema": {}, "models": {}}
    folder = tmp_path / "target" / "versions"
    folder.mkdir(parents=True)
    versions = [{"version": "1.10.0"}, {"version": "1.9.0"}]
    (folder / "customers.json").write_text(json.dumps({"model": "customers", "versions": versions}))
    (folder / "orders.json").write_text(json.dumps({"model": "orders", "versions": []}))
    assert heads(tmp_path)["models"] == {"customers": "1.10.0"}
