"""Projects with releases, which are worked out once a session: a release is the same for every server."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dbt_cicd_toolkit.postgres import catalog
from dbt_cicd_toolkit.postgres.catalog import Selection
from support.databases import Databases
from support.schema_project import SchemaProject

_TABLES = """select format('%I.%I', n.nspname, c.relname), format(
    'select coalesce(array_agg(row(t.*)::text order by row(t.*)::text), ''{}'') from only %I.%I t',
    n.nspname, c.relname)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'S', 'm') and c.relispopulated and n.nspname !~ '^pg_|^information_schema$' order by 1"""


@dataclass(frozen=True)
class Stage:
    """The sources of a release, and its deltas."""

    source: str
    deltas: tuple[str, ...] = ()


_made: dict[tuple[str, tuple[Stage, ...]], dict[str, str]] = {}


def released(make: Callable[[], SchemaProject], schemas: str, *stages: Stage) -> SchemaProject:
    """A project that manages these schemas, with the releases 1.0.0, 2.0.0 …"""
    project = make()
    if files := _made.get((schemas, stages)):
        for name, text in files.items():
            path = project.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return project
    project.done("init", "--schemas", schemas)
    for number, stage in enumerate(stages, 1):
        project.write({"objects.sql": stage.source})
        for delta in stage.deltas:
            project.done("delta", delta)
        project.done("release", f"{number}.0.0")
    paths = (path for path in project.folder.rglob("*") if path.is_file())
    _made[schemas, stages] = {str(path.relative_to(project.folder)): path.read_text("utf-8") for path in paths}
    return project


_installed: dict[tuple[Path, str, str], str] = {}


def installed(project: SchemaProject, rows: str = "", label: str = "1.0.0") -> str:
    """A new database at a release, into which ``rows`` were put; its name. It is a copy of one that is made once."""
    databases = project.databases
    key = (databases.server.directory, (project.folder / "schema.hist").read_text("utf-8"), label)
    if key not in _installed:
        database = databases.make(kept=True)
        project.done("install", "--to", label, database=database)
        _installed[key] = database
    database = databases.make(_installed[key])
    if rows:
        databases.execute(database, rows)
    return database


def everything(databases: Databases, database: str) -> dict[str, Any]:
    """What a database is made of, and the rows of all its tables and sequences."""
    with contextlib.closing(databases.connect(database)) as connection, connection.cursor() as cursor:
        found: dict[str, Any] = dict(catalog.describe(connection, Selection()))
        cursor.execute(_TABLES)
        for name, query in cursor.fetchall():
            cursor.execute(query)
            found[f"rows of {name}"] = cursor.fetchall()
        return found
