"""Every release to every later one: structure equal to a fresh installation, rows as they must be."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from support.databases import Databases
from support.evolution import ROWS, STAGES, sources
from support.schema_project import SchemaProject
from support.shop import locked

LABELS = [stage.label for stage in STAGES]
PAIRS = [(i, j) for i in range(len(STAGES)) for j in range(i + 1, len(STAGES))]
_ROWS = """select format(
    'select %L, (select coalesce(json_agg(to_jsonb(t) - ''touched'' order by to_jsonb(t)::text), ''[]'') from %I.%I t)',
    c.relname, n.nspname, c.relname)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'shop' and c.relkind in ('r', 'p') and not c.relispartition order by c.relname"""


def _released(folder: Path, databases: Databases, local: Path) -> Path:
    """The folder schema/ with all releases, made once in a test session."""
    with locked(folder.with_suffix(".lock")):
        if not folder.exists():
            new = folder.with_suffix(".new")
            project = SchemaProject(databases, new, local)
            project.done("init", "--schemas", "shop,util", "--module", "evolution")
            for number, stage in enumerate(STAGES, 1):
                project.write(sources(number))
                for delta in stage.deltas:
                    project.done("delta", delta)
                project.done("release", stage.label)
            new.rename(folder)
    return folder / "schema"


class Evolution:
    """The project with all its releases, and a database at each, upgraded one by one, with rows."""

    def __init__(self, project: SchemaProject) -> None:
        self.project = project
        self.stepwise: list[str] = []
        database = project.databases.make()
        for label in LABELS:
            project.done("upgrade" if self.stepwise else "install", "--to", label, database=database)
            if not self.stepwise:
                project.databases.execute(database, ROWS)
            self.stepwise.append(project.databases.make(database))

    def rows(self, database: str) -> dict[str, object]:
        """{table: its rows}."""
        queries = [row[0] for row in self.project.databases.rows(database, _ROWS)]
        return {name: rows for query in queries for name, rows in self.project.databases.rows(database, query)}


@pytest.fixture(scope="module")
def evolution(databases: Databases, schema_local: Path, tmp_path_factory: pytest.TempPathFactory) -> Evolution:
    project = SchemaProject(databases, tmp_path_factory.mktemp("evolution") / "project", schema_local)
    shutil.copytree(_released(schema_local.with_name("evolution"), databases, schema_local), project.folder)
    return Evolution(project)


@pytest.mark.parametrize(("start", "end"), PAIRS, ids=[f"{LABELS[i]}-{LABELS[j]}" for i, j in PAIRS])
def test_from_any_release_to_any_later_one(evolution: Evolution, start: int, end: int) -> None:
    project, databases = evolution.project, evolution.project.databases
    database, fresh = databases.make(evolution.stepwise[start]), databases.make()
    done = project.done("upgrade", "--to", LABELS[end], "--json", database=database)
    assert (done.json["from"], done.json["release"]) == (LABELS[start], LABELS[end])
    project.done("install", "--to", LABELS[end], database=fresh)
    assert project.structure(database, "shop", "util") == project.structure(fresh, "shop", "util")
    assert evolution.rows(database) == evolution.rows(evolution.stepwise[end])
    assert project.done("check", "--json", database=database).json["differences"] == []


def test_the_rows_are_what_the_deltas_say(evolution: Evolution) -> None:
    last = evolution.rows(evolution.stepwise[-1])
    assert last["customer"] == [
        {"id": 1, "name": " Ann ", "mail": "ann@example.com", "active": True},
        {"id": 2, "name": "Bob", "mail": None, "active": True},
    ]
    assert last["item"] == [
        {"id": 1, "label": "Red Chair", "slug": "red-chair"},
        {"id": 2, "label": "Table", "slug": "table"},
    ]
    assert evolution.rows(evolution.stepwise[3])["item"][1]["note"] == "kind: odd"  # type: ignore[index]
    assert [row["currency"] for row in last["orders"]] == ["EUR", "EUR", "EUR"]  # type: ignore[attr-defined]
    assert last["bill"] == []
