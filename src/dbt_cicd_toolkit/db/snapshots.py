"""Snapshots: the structure of the database as files, one per version, and what differs between two of them or between
one and the database.

A comparison is one of catalogs, not of texts: what is a file is loaded into a scratch database first.
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2
from psycopg2 import errorcodes

from dbt_cicd_toolkit.db.files import Version
from dbt_cicd_toolkit.errors import InvalidInput, Refused
from dbt_cicd_toolkit.postgres import catalog, dump, embedded, runner
from dbt_cicd_toolkit.postgres.catalog import Change, Selection
from dbt_cicd_toolkit.postgres.scratch import Scratch, create_roles, missing_extensions, scratch
from dbt_cicd_toolkit.postgres.script import Script, decode, split

if TYPE_CHECKING:
    from dbt_cicd_toolkit.db.project import Project
    from dbt_cicd_toolkit.db.run import Run
    from dbt_cicd_toolkit.postgres.session import Tell

LIVE = "live"
CURRENT = "current"
_CURRENT_FILE = "schema_current.sql"
_FILE = re.compile(r"schema_v([0-9]+(?:[._][0-9]+)*)\.sql")
_HEAD = re.compile(r"-- Schema snapshot \S+ \(PostgreSQL (\d+)\)")
_OBJECT = re.compile(r"^CREATE (?!SCHEMA|EXTENSION)", re.MULTILINE)
_ROLE_MISSING = re.compile(r'role "(.*)" does not exist', re.DOTALL)


@dataclass(frozen=True)
class Snapshot:
    """The two files of a snapshot, and whether the one of the version holds something new."""

    path: Path
    current: Path
    changed: bool


@dataclass(frozen=True)
class Comparison:
    """What differs between ``a`` and ``b`` (what people call them); ``text`` is a unified diff of the definitions."""

    a: str
    b: str
    changes: Sequence[Change]
    text: str


def snapshot(project: Project, run: Run, version: Version) -> Snapshot:
    """Write schema_v<version>.sql and schema_current.sql, whole or not at all.

    A structure without any object, in spite of applied migrations, is told of.

    Raises:
        Refused: the database is at another version; no usable pg_dump, or it failed; a file cannot be written.
    """
    at = next((row.version for row in reversed(run.history.read()) if row.version), None)
    if at and at != version:
        raise Refused(
            f"snapshot {version}: the database is at version {at}. Write `snapshot {at}`, or bring it to {version} "
            f"first: `dbt-cicd db {'migrate' if at < version else 'rollback'} --to {version}`."
        )
    role = project.role or project.config.role
    text = dump.dump(project.settings, run.drift.selection, run.session.connection, role=role)
    if not _OBJECT.search(text) and any(row.type == "SQL" for row in run.history.read()):
        limit = f", limited to the schemas {', '.join(run.schemas)}" if run.schemas else ""
        run.watcher.tell(
            f"the history has migrations, and the structure of the database is empty{limit}: the snapshot holds no "
            "object. Were they rolled back by hand, or is this another database than you mean?"
        )
    head = f"-- Schema snapshot {version} (PostgreSQL {run.session.major}), made by `dbt-cicd db snapshot`.\n\n"
    data = (head + text).encode()
    folder = project.layout.snapshots
    made = Snapshot(folder / f"schema_v{version}.sql", folder / _CURRENT_FILE, False)
    changed = not made.path.is_file() or made.path.read_bytes() != data
    for path in (made.path, made.current):
        replace(path, data)
    return Snapshot(made.path, made.current, changed)


def replace(path: Path, data: bytes) -> None:
    """Write a file so that it is at any time either the old or the new one. Raises Refused."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        raise Refused(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        temporary.unlink(missing_ok=True)


def diff(
    project: Project,
    run: Run | None,
    a: str,
    b: str = LIVE,
    *,
    scratch_url: str | None = None,
    tell: Tell = lambda _: None,
) -> Comparison:
    """Compare two of: a version that has a snapshot, `current`, a file, `live` (the database).

    Args:
        run: of the database; needed for `live` only.
        scratch_url: the server that files are loaded on, else the config file's.
        tell: hears where files are loaded.
    Raises:
        InvalidInput: there is no such snapshot or file, or it is no SQL.
        Refused: a file does not load, or there is no scratch database to be had.
    """
    sources = [_find(project.layout.snapshots, name) for name in (a, b)]
    chosen = run.drift.selection if run else Selection(schemas=project.config.schemas)
    told = [(_name(source), _describe(project, run, source, chosen, scratch_url, tell)) for source in sources]
    (first, before), (second, after) = told
    changes = catalog.difference(before, after)
    return Comparison(first, second, changes, catalog.diff_text(before, after, first, second))


def _find(folder: Path, name: str) -> Path | None:
    """The file that is meant; None for the database."""
    if name == LIVE:
        return None
    if name == CURRENT:
        path = folder / _CURRENT_FILE
        if path.is_file():
            return path
    found = versions(folder)
    if re.fullmatch(r"[0-9]+(?:[._][0-9]+)*", name):
        version = Version.parse(name)
        if version in found:
            return found[version]
    elif Path(name).is_file():
        return Path(name)
    there = ", ".join(str(version) for version in found) or "none yet: dbt-cicd db snapshot VERSION makes one"
    raise InvalidInput(
        f"diff: '{name}' is neither a version that has a snapshot nor a file. Write `live` for the database, "
        f"`current`, a path, or a version (there are: {there})."
    )


def versions(folder: Path) -> dict[Version, Path]:
    """The snapshots in a folder, the lowest version first. Raises InvalidInput for an impossible version."""
    found = []
    for path in folder.glob("*.sql"):
        if match := _FILE.fullmatch(path.name):
            try:
                found.append((Version.parse(match[1]), path))
            except InvalidInput as error:
                raise InvalidInput(f"{path}: {error}") from None
    return dict(sorted(found, key=lambda item: item[0]))


def _name(source: Path | None) -> str:
    return source.name if source else "the database"


def _describe(
    project: Project, run: Run | None, source: Path | None, chosen: Selection, scratch_url: str | None, tell: Tell
) -> dict[str, str]:
    if source is None:
        if run is None:
            raise InvalidInput("diff: `live` needs a connection to the database.")
        return catalog.describe(run.session.connection, chosen)
    try:
        data = source.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{source} cannot be read: {error.strerror}.") from error
    script = split(decode(data, str(source)), str(source))
    with ExitStack() as stack:
        made = stack.enter_context(
            scratch(
                project.settings,
                url=scratch_url or project.config.scratch_url,
                local=project.root / ".local",
                cluster_wide=False,
                major=run.session.major if run else _major(script),
            )
        )
        tell(f"{source}: loading it into {made.source}")
        connection = stack.enter_context(_loaded(made, script))
        return catalog.describe(connection, chosen)


def _major(script: Script) -> int:
    """The server a file was made on, as its first line says; else the newest that is embedded."""
    told = _HEAD.match(script.text)
    return int(told[1]) if told else max(embedded.majors(), default=0)


@contextmanager
def _loaded(made: Scratch, script: Script) -> Generator[Any]:
    """A connection to the scratch database, with the script run in it. Raises Refused with file:line:column."""
    # The scratch database has what ALTER DATABASE … SET gave the target.
    given = {"client_encoding": "UTF8", "application_name": f"dbt-cicd diff {os.getpid()}"}
    arguments: dict[str, Any] = made.settings.arguments() | given
    with closing(psycopg2.connect(**arguments)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("set standard_conforming_strings = on")
        load(connection, script, may_make_roles=made.embedded)
        yield connection


def load(connection: Any, script: Script, *, may_make_roles: bool) -> None:
    """Run a snapshot in an empty database, in one transaction; with ``may_make_roles`` make the roles it names.

    ``connection`` is in autocommit mode. Raises Refused when it does not load, with file:line:column.
    """
    made: set[str] = set()
    with connection.cursor() as cursor:
        while True:
            current = None
            try:
                cursor.execute("begin")
                for current in script.statements:
                    cursor.execute(current.text)
                cursor.execute("commit")
                return
            except psycopg2.Error as error:
                cursor.execute("rollback")
                missing = _ROLE_MISSING.search(error.diag.message_primary or "")
                if (
                    may_make_roles
                    and error.pgcode == errorcodes.UNDEFINED_OBJECT
                    and missing
                    and missing[1] not in made
                ):
                    made.add(missing[1])
                    create_roles(connection, made)
                    continue
                failure = runner.failure(script, current, error)
                if current and current.words[:2] == ("CREATE", "EXTENSION"):
                    lacking = ", ".join(missing_extensions(connection, extensions([script])))
                    raise Refused(f"{failure}\nThe scratch server lacks the extensions {lacking}.") from error
                raise failure from error


def extensions(scripts: Iterable[Script]) -> set[str]:
    """The extensions that scripts create."""
    from dbt_cicd_toolkit.postgres.statements import action

    statements = (statement for script in scripts for statement in script.statements)
    return {
        name.name
        for statement in statements
        if statement.words[:2] == ("CREATE", "EXTENSION")
        for name in action(statement.text).names
    }
