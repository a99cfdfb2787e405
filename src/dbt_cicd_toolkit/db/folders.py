"""The .sql files below a folder, whatever else lies there."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

from dbt_cicd_toolkit.errors import InvalidInput


def sql_files(
    directory: str | Path, prefix: str = "", above: frozenset[tuple[int, int]] = frozenset()
) -> Iterable[tuple[str, str]]:
    """The .sql files below a folder: (path below it, path). Raises InvalidInput for what is one by its name only.

    ``above``: the folders it lies in, by device and inode; a link may lead back to one of them.
    """
    # No Path for each of what may be thousands of files, and no system call: making one takes longer than reading it.
    with _naming(directory), os.scandir(directory) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        name = entry.name
        if name.endswith(".sql"):
            if not entry.is_file(follow_symlinks=False):
                _refuse_unless_file(entry)
            if not entry.path.isascii():
                _refuse_unless_utf8(prefix + name)
            yield prefix + name, entry.path
        elif name[-4:].lower() == ".sql":
            raise InvalidInput(
                f"{shown(entry.path)} would not be run: the name must end in .sql, in small letters. Rename it."
            )
        elif not entry.is_file(follow_symlinks=False) and _leads_to_folder(entry):
            with _naming(entry.path):
                facts = entry.stat()
                own = os.stat(directory)  # noqa: PTH116
            lie_in = above | {(own.st_dev, own.st_ino)}
            if (facts.st_dev, facts.st_ino) in lie_in:
                raise InvalidInput(f"{shown(entry.path)} leads back to a folder that it lies in: remove that link.")
            yield from sql_files(entry.path, f"{prefix}{name}/", lie_in)


def shown(path: str) -> str:
    """A path as a message can hold it, also one that is not UTF-8."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


@contextmanager
def _naming(path: str | Path) -> Generator[None]:
    """Raise InvalidInput naming the path for what the system says of it."""
    try:
        yield
    except OSError as error:
        raise InvalidInput(f"{shown(str(path))} cannot be read: {error.strerror}.") from error


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: nothing that is called .sql
        return False


def _refuse_unless_file(entry: os.DirEntry[str]) -> None:
    with _naming(entry.path):
        mode = entry.stat().st_mode
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "no regular file"
        raise InvalidInput(f"{shown(entry.path)} is {what}: only files may end in .sql. Rename it, or move it away.")


def _refuse_unless_utf8(script: str) -> None:
    try:
        script.encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"the name {shown(script)} is not UTF-8: rename the file.") from None
