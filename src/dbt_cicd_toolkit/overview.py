"""Migrations, schema releases, models and jobs side by side: for `dbt-cicd status`, and for a release of jobs.

The one module that knows the parts of the product together; they do not know each other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbt_cicd_toolkit.errors import InvalidInput, ToolkitError

if TYPE_CHECKING:
    from dbt_cicd_toolkit.db.project import Project as Database
    from dbt_cicd_toolkit.schema.project import Project as Objects


@dataclass(frozen=True)
class Repository:
    """The folders of a project, each there or not.

    Attributes:
        root: where dbt_project.yml, database/ and schema/ are.
        options, role, embedded: the database that is meant, as the commands of `db` and `schema` take it.
    """

    root: Path
    options: Mapping[str, str | None]
    role: str | None = None
    embedded: bool = False

    @property
    def has_models(self) -> bool:
        """Is it a dbt project?"""
        return (self.root / "dbt_project.yml").is_file()

    @property
    def database(self) -> Database | None:
        """The migrations; None without any."""
        from dbt_cicd_toolkit.db.layout import Layout
        from dbt_cicd_toolkit.db.project import Project

        layout = Layout.find(self.root)
        return Project(layout, self.options, self.role, self.embedded) if layout.migrations.is_dir() else None

    @property
    def objects(self) -> Objects | None:
        """The sources of a database's objects; None without any."""
        from dbt_cicd_toolkit.schema.project import Project

        found = Project(self.root / "schema", self.options, self.role, self.embedded)
        return found if found.history_file.is_file() else None


def heads(root: Path) -> dict[str, Any]:
    """What the files of a project have, for the manifest of a release of jobs; no database is asked.

    Returns:
        ``migration``: the highest version of a migration, or None; ``schema``: {module: label of the newest release};
        ``models``: {model: highest version in dbt's target path}.
    Raises:
        InvalidInput, Differs: one of the files is not as it should be.
    """
    repository = Repository(root, {})
    database, objects = repository.database, repository.objects
    versions = [migration.version for migration in database.folder.versioned] if database else []  # ascending
    newest = objects.history.newest if objects else None
    return {
        "migration": str(versions[-1]) if versions else None,
        "schema": {objects.history.module: newest.label} if objects and newest else {},
        "models": dict(_models(root)),
    }


def _models(root: Path) -> Iterator[tuple[str, str]]:
    """The mirror's documents have the highest version first."""
    for path in sorted((root / "target" / "versions").glob("*.json")):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            if document["versions"]:
                yield document["model"], document["versions"][0]["version"]
        except (ValueError, LookupError, TypeError) as error:
            raise InvalidInput(
                f"{path} is not a document of versions: {error}. Write it again: dbt run-operation export_state."
            ) from error


def databases(repository: Repository) -> dict[str, dict[str, Any]]:
    """What a database has, by ``db.migrations`` and ``schema.<module>``.

    Each has ``version``, ``status`` ('deployed', 'not_deployed', or 'unknown' when the database cannot be asked),
    ``since`` (UTC), ``promoted_by``, and ``notes``: where it differs from the project's files, or why it is unknown.
    """
    found = {}
    if database := repository.database:
        found["db.migrations"] = _entry(lambda: _migrations(database))
    if objects := repository.objects:
        found[f"schema.{objects.history.module}"] = _entry(lambda: _release(objects))
    return found


def _entry(ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    entry: dict[str, Any] = {"version": None, "status": "not_deployed", "since": None, "promoted_by": None, "notes": []}
    try:
        return entry | ask()
    except ToolkitError as error:
        return entry | {"status": "unknown", "notes": [str(error).splitlines()[0]]}


def _migrations(database: Database) -> dict[str, Any]:
    from dbt_cicd_toolkit.db.project import Silent
    from dbt_cicd_toolkit.db.status import status

    with database.connect("status") as session:
        found = status(database.run(session, Silent(lambda _: None)))
    counts = (("pending", found.pending), ("failed", found.failed), ("late", found.late), ("problem", found.problems))
    return {
        "version": found.version,
        "status": "deployed" if found.version else "not_deployed",
        "since": found.deployed,
        "notes": [f"{name}: {', '.join(labels)}" for name, labels in counts if labels],
    }


def _release(objects: Objects) -> dict[str, Any]:
    from dbt_cicd_toolkit.schema import fingerprint
    from dbt_cicd_toolkit.schema.install import reference
    from dbt_cicd_toolkit.schema.installed import Log
    from dbt_cicd_toolkit.schema.look import compared

    history = objects.history
    newest = history.newest
    with objects.connect("status") as session:
        current = Log(session, history.module, history.schemas, only_read=True).current()
        if current is None:
            return {"notes": [f"not installed: {newest.label}"] if newest else []}
        notes = [f"newer: {newest.label}"] if newest and current.number < newest.number else []
        if current.number > len(history.releases):
            notes.append("the files do not know it")
        else:
            released = history.until(current.number)
            wanted, found = compared(session, released, lambda *of: reference(objects, *of), lambda _: None)
            if lines := fingerprint.differences(wanted, found):
                notes.append(f"differs: {len(lines)} objects")
    return {"version": current.label, "status": "deployed", "since": current.at, "notes": notes}
