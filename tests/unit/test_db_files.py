"""Folders of migrations with what does not belong there: told by its path, never run, never waited for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dbt_cicd_toolkit.db import files
from dbt_cicd_toolkit.db.files import Folder
from dbt_cicd_toolkit.errors import InvalidInput

GOOD = {"migrations": "V1.0.0__Add_a.sql", "rollback": "V1.0.0__Add_a_rollback.sql"}


def read(path: Path) -> Folder:
    return files.read(path / "migrations", path / "rollback")


def unreadable(path: Path) -> None:
    """A regular file that gives an error also to root."""
    path.symlink_to("/proc/self/mem")


REFUSED: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "broken link": ("V1.1.0__b.sql", lambda path: path.symlink_to("nowhere"), "No such file or directory"),
    "link to itself": ("V1.1.0__b.sql", lambda path: path.symlink_to(path.name), "Too many levels of symbolic links"),
    "loop": ("loop", lambda path: path.symlink_to("."), "leads back to a folder that it lies in"),
    "fifo": ("V1.1.0__b.sql", os.mkfifo, "is no regular file: only files may end in .sql"),
    "device": ("V1.1.0__b.sql", lambda path: path.symlink_to("/dev/zero"), "is no regular file"),
    "folder": ("V1.1.0__b.sql", Path.mkdir, "is a folder: only files may end in .sql"),
    "capitals": ("V1.1.0__b.SQL", Path.touch, "the name must end in .sql, in small letters"),
}


@pytest.mark.parametrize("folder", GOOD)
@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_called_sql_and_is_no_file_is_refused(tmp_path: Path, folder: str, kind: str) -> None:
    name, make, reason = REFUSED[kind]
    for one in GOOD:
        (tmp_path / one).mkdir()
        (tmp_path / one / GOOD[one]).touch()
    (tmp_path / folder / "below").mkdir()
    path = tmp_path / folder / "below" / name
    make(path)
    with pytest.raises(InvalidInput) as error:
        read(tmp_path)
    assert str(path) in str(error.value) and reason in str(error.value)


@pytest.mark.parametrize("folder", GOOD)
def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path, folder: str) -> None:
    for one in GOOD:
        (tmp_path / one).mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path / folder) + b"/V1.0.0__caf\xe9_a.sql")).touch()
    with pytest.raises(InvalidInput, match=r"the name V1\.0\.0__caf\\xe9_a\.sql is not UTF-8") as error:
        read(tmp_path)
    str(error.value).encode()


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "migrations").mkdir()
    path = tmp_path / "migrations/V1.0.0__Add_a.sql"
    unreadable(path)
    with pytest.raises(InvalidInput) as error:
        read(tmp_path)
    assert str(error.value) == f"{path} cannot be read: Input/output error."


@pytest.mark.parametrize("folder", GOOD)
def test_a_version_that_is_too_long_names_its_file(tmp_path: Path, folder: str) -> None:
    for one in GOOD:
        (tmp_path / one).mkdir()
    path = tmp_path / folder / GOOD[folder].replace("1.0.0", "1." + "0" * 49)
    path.touch()
    with pytest.raises(InvalidInput) as error:
        read(tmp_path)
    assert str(error.value) == f"{path}: the version has 51 characters. Allowed: at most 50. Rename it."
    path.rename(path.with_name(GOOD[folder].replace("1.0.0", "1." + "0" * 48)))
    read(tmp_path)


def test_what_is_not_called_sql_is_left_alone_and_links_are_followed(tmp_path: Path) -> None:
    folder = tmp_path / "migrations"
    folder.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/V1.0.0__Add_a.sql").write_text("select 1;")
    (folder / "twice").symlink_to("../elsewhere")
    (folder / "V1.1.0__Add_b.sql").symlink_to("../elsewhere/V1.0.0__Add_a.sql")
    (folder / "notes").symlink_to("nowhere")
    (folder / "self").symlink_to("self")
    os.mkfifo(folder / "pipe")
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.txt")).touch()
    found = read(tmp_path)
    assert [one.script for one in found.versioned] == ["twice/V1.0.0__Add_a.sql", "V1.1.0__Add_b.sql"]
    assert {one.data for one in found.versioned} == {b"select 1;"}
