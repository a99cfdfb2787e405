"""What is to be applied, and where folder and history disagree. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dbt_cicd_toolkit.db.files import NONE, Folder, Migration, Version
from dbt_cicd_toolkit.db.history import Applied
from dbt_cicd_toolkit.errors import Differs, InvalidInput


class Problem(NamedTuple):
    """A disagreement: 'edited', 'deleted', 'duplicate' or 'late'; what it is, and the command that mends it."""

    kind: str
    label: str
    message: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


class Plan(NamedTuple):
    """Migrations in the order they will be applied, and what forbids to apply any."""

    pending: Sequence[Migration]
    problems: Sequence[Problem]

    def refuse_problems(self) -> None:
        """Raises Differs with every problem."""
        if self.problems:
            many = f"{len(self.problems)} problems" if len(self.problems) > 1 else "a problem"
            lines = "".join(f"\n  - {problem}" for problem in self.problems)
            raise Differs(f"the migrations and the history of the database disagree, {many}:{lines}")


def plan(folder: Folder, applied: Sequence[Applied], *, to: Version | None = None, out_of_order: bool = False) -> Plan:
    """Compare a folder with a history.

    Args:
        to: apply nothing above this version.
        out_of_order: apply what is older than the latest applied one too, instead of refusing it as late.
    Raises:
        InvalidInput: ``to`` is the version of no file.
    """
    if to and not folder.migration(to) and all(row.version != to for row in applied):
        known = ", ".join(str(migration.version) for migration in folder.versioned[-5:])
        raise InvalidInput(f"--to {to}: no migration has that version. The last ones are {known or 'none'}.")
    rows = {row.version: row for row in applied if row.version}
    baseline = max((row.version for row in applied if row.version and row.type == "BASELINE"), default=None)
    latest = max(rows, default=None)
    missing = [
        migration
        for migration in folder.versioned
        if migration.version
        and migration.version not in rows
        and not (baseline and migration.version <= baseline)
        and not (to and to < migration.version)
    ]
    late = [migration for migration in missing if latest and migration.version and migration.version < latest]
    problems = [*_duplicates(folder), *_edited(folder, rows), *_deleted(folder, rows)]
    if not out_of_order:
        problems += [_late(migration, latest) for migration in late]
    return Plan([*missing, *_repeatable(folder, applied)], problems)


def _repeatable(folder: Folder, applied: Sequence[Applied]) -> list[Migration]:
    newest = {row.script: row.checksum for row in applied if not row.version}
    return [migration for migration in folder.repeatable if newest.get(migration.script) != migration.checksum]


def _duplicates(folder: Folder) -> list[Problem]:
    return [
        Problem(
            "duplicate",
            second.label,
            f"{second.path} has the version of {first.path}. Give the one that no database has another version.",
        )
        for second, first in folder.duplicates
    ] + [
        Problem(
            "duplicate", str(version), f"{path} and {folder.rollbacks[version]} both roll {version} back. Delete one."
        )
        for version, path in folder.duplicate_rollbacks.items()
    ]


def _edited(folder: Folder, rows: dict[Version, Applied]) -> list[Problem]:
    return [
        Problem(
            "edited",
            migration.label,
            f"{migration.path} was changed after it was applied at {row.installed_on:%Y-%m-%d %H:%M:%S} UTC (checksum "
            f"{row.checksum}, now {migration.checksum}). Put it back (git restore) and write a new migration; or "
            f"accept the file as it is: dbt-cicd db repair --edited {migration.version}.",
        )
        for migration in folder.versioned
        if (row := rows.get(migration.version or NONE))
        and row.type == "SQL"
        and row.checksum is not None
        and row.checksum != migration.checksum
    ]


def _deleted(folder: Folder, rows: dict[Version, Applied]) -> list[Problem]:
    there = {migration.version for migration in folder.versioned}
    return [
        Problem(
            "deleted",
            str(version),
            f"{row.script} was applied at {row.installed_on:%Y-%m-%d %H:%M:%S} UTC and its file is gone. Put it back "
            f"(git restore); or let the history forget it: dbt-cicd db repair --deleted {version}.",
        )
        for version, row in rows.items()
        if row.type == "SQL" and version not in there
    ]


def _late(migration: Migration, latest: Version | None) -> Problem:
    return Problem(
        "late",
        migration.label,
        f"{migration.path} is older than {latest}, which the database has. Give it a version above that; or apply it "
        "all the same: dbt-cicd db migrate --out-of-order.",
    )
