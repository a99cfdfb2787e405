"""Make the two files of a new migration from the templates."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from dbt_cicd_toolkit.db import files, layout
from dbt_cicd_toolkit.db.files import Folder, Version
from dbt_cicd_toolkit.db.places import Layout
from dbt_cicd_toolkit.errors import InvalidInput, Refused


def create(project: Layout, version: str, description: str) -> tuple[Path, Path]:
    """Write ``migrations/V<version>__<description>.sql`` and its rollback file; return both paths.

    Raises:
        InvalidInput: the version or the description breaks the naming rules; the message has each reason.
        Refused: a migration has that version already; the message names the next free one.
    """
    if re.match(r"V[0-9]|R__", version) or version.endswith(".sql"):
        problems = files.name_problems(version)  # somebody gave the name of a file
    else:
        problems = files.version_problems(version) + files.description_problems(description)
    if problems:
        raise InvalidInput(
            f"create '{version}' '{description}': {'; '.join(problems)}. Write a version MAJOR.MINOR.PATCH and a "
            'description of some words: create 1.1.0 "Add customer analytics".'
        )
    name = f"V{version}__{files.slug(description)}"
    if len(name) > 230:
        raise InvalidInput(f"the description has {len(description)} characters, too many for the name of a file.")
    # Two people (or a person and a tool) who create the same version at once: one of them is told.
    descriptor = os.open(project.migrations, os.O_RDONLY) if project.migrations.is_dir() else None
    try:
        if descriptor is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        folder = files.read(project.migrations, project.rollback)
        there = folder.migration(Version.parse(version))
        rollback_there = folder.rollbacks.get(Version.parse(version))
        if there or rollback_there:
            free = next_free(
                Version.parse(version), [*folder.rollbacks, *(m.version for m in folder.versioned if m.version)]
            )
            raise Refused(
                f"Migration already exists: {there.path if there else rollback_there}. The next free one is {free}. "
                f'Use a different version number: create {free} "{description}".'
            )
        return _write(project, folder, version, description, name)
    finally:
        if descriptor is not None:
            os.close(descriptor)


def next_free(wanted: Version, taken: Sequence[Version]) -> str:
    """The first patch of the wanted version's minor that no migration has."""
    major, minor, patch = (*wanted, 0, 0)[:3]
    while Version.parse(f"{major}.{minor}.{patch}") in taken:
        patch += 1
    return f"{major}.{minor}.{patch}"


def _write(project: Layout, folder: Folder, version: str, description: str, name: str) -> tuple[Path, Path]:
    now = datetime.now().replace(microsecond=0)
    with_util = layout.has_util(migration.data for migration in folder.versioned)
    forward = project.migrations / f"{name}.sql"
    back = project.rollback / f"{name}_rollback.sql"
    project.rollback.mkdir(parents=True, exist_ok=True)
    # The rollback first: a migration without one is what must not be left behind.
    layout.write_new(back, layout.rollback_text(version, description, now, with_util))
    layout.write_new(forward, layout.migration_text(version, description, now, with_util))
    return forward, back
