"""`init`, which lays out the folder ``database`` of a project."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from dbt_cicd_toolkit import config
from dbt_cicd_toolkit.config import Config
from dbt_cicd_toolkit.db import files, texts
from dbt_cicd_toolkit.db.places import Layout
from dbt_cicd_toolkit.db.texts import flyway_text, has_util, migration_text, rollback_text
from dbt_cicd_toolkit.errors import InvalidInput, Refused

__all__ = [
    "AlreadyThere",
    "Layout",
    "Made",
    "flyway_text",
    "has_util",
    "init",
    "migration_text",
    "rollback_text",
    "write_new",
]

SAMPLE = "V1.0.0__Initial_Foundation"
WORKFLOW = "ENTERPRISE_DATABASE_GIT_WORKFLOW.md"
_TOOLS = ("db_version_manager.py", "database_version_manager.py")
_IGNORED = {".env": "passwords", ".local/": "the embedded server"}


class AlreadyThere(Refused):
    """A file that was to be new is there."""


@dataclass(frozen=True)
class Made:
    """What `init` did: the files it made, those that were there and stay as they are, and what else to know."""

    created: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def init(
    layout: Layout,
    *,
    sample: bool = False,
    embedded: bool = False,
    connection: Mapping[str, str] | None = None,
    now: datetime | None = None,
) -> Made:
    """Lay out the folder. A file that is there is never changed, so it may be run again at any time.

    Args:
        sample: also write the migration V1.0.0__Initial_Foundation.sql and its rollback.
        embedded: let the config file say that the project's own PostgreSQL is used.
        connection: settings by libpq's keyword that the config file shall have, no password.
        now: written into the sample; the present unless told.
    Raises:
        InvalidInput: the config file that is there is malformed; a folder's name is taken by a file.
        Refused: other migrations than the sample are there, or a file cannot be written.
    """
    found = config.load(layout.config_file)
    if sample:
        _refuse_sample_among_others(layout)
    made = Made()
    chosen = {key: value for key, value in (connection or {}).items() if value}
    if layout.config_file.exists() and (chosen or embedded):
        made.notes.append(f"{layout.config_file} is there and was not changed: write the settings into it yourself")
    for path, text in _files(layout, found, sample, embedded, chosen, now or datetime.now()):
        _make(made, path, text, 0o777 if path.parent == layout.tools else 0o666)
    for folder in (layout.migrations, layout.rollback, layout.snapshots):
        _directory(folder)
        if not any(folder.iterdir()):
            _make(made, folder / ".gitkeep", lambda: "")
    _ignore(layout.root, made)
    return made


def _files(
    layout: Layout, found: Config, sample: bool, embedded: bool, connection: dict[str, str], now: datetime
) -> Iterator[tuple[Path, Callable[[], str]]]:
    """Each file with what makes its text; the rollback of a migration before it."""
    if sample:
        forward, back = texts.sample_texts(now)
        yield layout.rollback / f"{SAMPLE}_rollback.sql", lambda: back
        yield layout.migrations / f"{SAMPLE}.sql", lambda: forward
    yield layout.config_file, lambda: texts.config_text(embedded, connection)
    for name in ("postgresql_production.conf", "flyway.conf"):
        path = layout.config_file.with_name(name)
        yield path, lambda name=name: _config_text(name, layout, found, connection)  # type: ignore[misc]
    yield layout.version_control / "enhanced_database_version_control.sql", lambda: _history_text(found)
    guide = "database_version_control_guide.md"
    yield layout.version_control / guide, lambda: texts.template(guide)
    for name in _TOOLS:
        values = {"tools": f"{layout.name}/tools", "name": name}
        yield layout.tools / name, lambda values=values: texts.template("db_version_manager.py.txt", values)  # type: ignore[misc]
    yield layout.root / WORKFLOW, lambda: texts.template(WORKFLOW)


def _config_text(name: str, layout: Layout, found: Config, connection: Mapping[str, str]) -> str:
    if name != "flyway.conf":
        return texts.template(name)
    from dbt_cicd_toolkit.postgres.settings import DEFAULTS

    return texts.flyway_text({**DEFAULTS, **found.connection, **connection}, found, layout.name)


def _history_text(found: Config) -> str:
    from dbt_cicd_toolkit.db import history

    values = {"ddl": history.ddl(found.history_schema, found.history_table)}
    return texts.template("enhanced_database_version_control.sql", values)


def _refuse_sample_among_others(layout: Layout) -> None:
    if not layout.migrations.is_dir():
        return
    others = [one.path for one in files.read(layout.migrations, layout.rollback).versioned if one.path.stem != SAMPLE]
    if others:
        raise Refused(
            f"init --sample: {others[0]} is there already, and the sample is a first migration. "
            "Run `init` without --sample."
        )


def _make(made: Made, path: Path, text: Callable[[], str], mode: int = 0o666) -> None:
    if path.is_symlink() or path.exists():
        made.kept.append(path)
        return
    _directory(path.parent)
    try:
        write_new(path, text(), mode)
    except AlreadyThere:  # another `init` was first
        made.kept.append(path)
    else:
        made.created.append(path)


def _directory(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InvalidInput(f"{path} cannot be a folder: a file is in its place. Move it away.") from error
    except OSError as error:
        raise Refused(f"{path} cannot be made: {error.strerror}.") from error


def write_new(path: Path, text: str, mode: int = 0o666) -> None:
    """Write a new file, whole or not at all; ``mode`` is what the umask leaves of it.

    Raises AlreadyThere when the name is taken, Refused when the file cannot be written.
    """
    with _written(path, text.encode(), mode) as temporary:
        os.link(temporary, path)  # unlike a rename it fails when the name is taken


@contextmanager
def _written(path: Path, data: bytes, mode: int) -> Generator[Path]:
    """Beside ``path`` a temporary file with the data, which its user makes the real one."""
    temporary = path.with_name(f".{os.getpid()}.tmp")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.write(data)
        yield temporary
    except FileExistsError as error:
        raise AlreadyThere(f"{path} exists already.") from error
    except OSError as error:
        raise Refused(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _ignore(root: Path, made: Made) -> None:
    """Let git leave alone what is secret or local, where git is used."""
    path = root / ".gitignore"
    folders = [root.absolute(), *root.absolute().parents]
    repository = next((at for at, folder in enumerate(folders) if (folder / ".git").exists()), None)
    if repository is None and not path.exists():
        made.notes.append(f"once this is in git, let it ignore {' and '.join(_IGNORED)}")
        return
    lines: set[str] = set()
    for folder in folders[: (repository or 0) + 1]:
        lines |= {line.strip().lstrip("/") for line in _text(folder / ".gitignore").splitlines()}
    missing = [name for name in _IGNORED if not {name, name.rstrip("/"), f"**/{name}"} & lines]
    if not missing:
        return
    before = _text(path)
    end = "\r\n" if "\r\n" in before else "\n"
    comment = f"# of `dbt-cicd db`: {', '.join(_IGNORED[name] for name in missing)}"
    after = before + (end if before and not before.endswith("\n") else "") + end.join([comment, *missing, ""])
    real = path.resolve()
    mode = real.stat().st_mode & 0o777 if real.exists() else 0o666
    with _written(real, after.encode("utf-8", "surrogateescape"), mode) as temporary:
        temporary.replace(real)
    made.notes.append(f"{path}: added {' and '.join(missing)}")


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "surrogateescape") if path.is_file() else ""
