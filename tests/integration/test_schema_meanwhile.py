"""What others do while an upgrade runs, with objects that no release declares."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from support.schema_project import SchemaProject
from support.schema_releases import Stage, everything, installed, released

if TYPE_CHECKING:
    from conftest import MakeSchema

TABLE = "create schema s; create table s.t (id integer, a {}); create table s.u (id integer{});"
STAGES = (
    Stage(TABLE.format("integer", "")),
    Stage(TABLE.format("bigint", ", more text"), ("t alter a bigint",)),
)
WAITING = (
    "select 1 from pg_locks l join pg_stat_activity a using (pid) where not granted and datname = current_database()"
)


def meanwhile(project: SchemaProject, database: str, first: str, then: Callable[[], None]) -> dict[str, object]:
    """What a database is made of after an upgrade: another session does ``first`` in a transaction, which it commits
    after ``then``, when the upgrade waits for it."""
    databases = project.databases
    with contextlib.closing(databases.connect(database)) as other, other.cursor() as cursor:
        other.autocommit = False
        cursor.execute(first)
        upgrade = project.start("upgrade", database=database)
        while not databases.rows(database, WAITING):
            assert upgrade.poll() is None, upgrade.communicate()
        then()
        other.commit()
        _, said = upgrade.communicate()
    assert upgrade.returncode == 0, said
    return everything(databases, database)


def test_what_others_drop_is_not_missed(make_schema: MakeSchema) -> None:
    """An object of theirs in a managed schema, which was there when the upgrade began."""
    project = released(make_schema, "s", *STAGES)
    database = installed(project, "create view s.old as select 1 as x; create table s.theirs (i integer)")

    def build() -> None:
        project.databases.execute(database, "drop view s.old; drop table s.theirs; create view s.new as select 2 as x")

    found = meanwhile(project, database, "lock table s.t in access share mode", build)
    assert {"view s.new", "view s.old", "table s.theirs"} & found.keys() == {"view s.new"}


@pytest.mark.parametrize(
    ("before", "first", "after"),
    [
        pytest.param("", "create view mart.v as select a from s.t", " SELECT a\n   FROM s.t;", id="made"),
        pytest.param("create view mart.v as select a from s.t", "drop view mart.v", None, id="dropped"),
        pytest.param(
            "create view mart.v as select a from s.t",
            "create or replace view mart.v as select a, id from s.t",
            " SELECT a,\n    id\n   FROM s.t;",
            id="replaced",
        ),
        pytest.param(
            "create view mart.v as select a from s.t",
            "drop view mart.v; create view mart.v as select id, a from s.t",
            " SELECT id,\n    a\n   FROM s.t;",
            id="made-anew",
        ),
        pytest.param(
            "create materialized view mart.v as select a from s.t",
            "drop materialized view mart.v; create view mart.v as select id, a from s.t",
            " SELECT id,\n    a\n   FROM s.t;",
            id="another-kind",
        ),
        pytest.param("", "grant select on s.t, s.u to public", None, id="granted"),
    ],
)
def test_a_dependent_that_others_change(make_schema: MakeSchema, before: str, first: str, after: str | None) -> None:
    project = released(make_schema, "s", *STAGES)
    database = installed(project, f"create schema mart; {before}")
    meanwhile(project, database, first, lambda: None)
    definition = "select pg_get_viewdef(to_regclass('mart.v'))"
    assert project.databases.rows(database, definition) == [(after,)]


def test_a_function_of_others_that_was_broken_before(make_schema: MakeSchema) -> None:
    project = released(make_schema, "s", *STAGES)
    broken = "set check_function_bodies = off; create function s.theirs() returns integer language sql as 'select x'"
    database = installed(project, broken)
    project.done("upgrade", database=database)
