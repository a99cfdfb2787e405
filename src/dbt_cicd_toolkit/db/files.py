"""Migration files: their names, versions and checksums. Reads folders, never the database.

Names and checksums are those of Flyway (its ResourceNameParser and ChecksumCalculator), so that one folder serves both:
``V<version>__<description>.sql``, ``R__<description>.sql``. The naming rules are stricter; `create` and `lint` hold to
them, everything else warns.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Mapping, Sequence
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from dbt_cicd_toolkit.db.folders import sql_files
from dbt_cicd_toolkit.errors import InvalidInput

_VERSION = re.compile(r"[0-9]+([._][0-9]+)*")
_MIGRATION = re.compile(r"V([0-9]+(?:[._][0-9]+)*)__(.+)\.sql", re.DOTALL)
_REPEATABLE = re.compile(r"R__(.+)\.sql", re.DOTALL)
_ROLLBACK = re.compile(r"V([0-9]+(?:[._][0-9]+)*)__(.+)_rollback\.sql", re.DOTALL)
_GOOD = re.compile(r"V[0-9]+\.[0-9]+\.[0-9]+__[A-Za-z0-9]+(?:_[A-Za-z0-9]+)+\.sql")
_PIECE = 1 << 16  # bytes read at once
_VERSION_CHARACTERS = 50  # of the history's column "version"


class Version(tuple[int, ...]):
    """Dotted numbers as Flyway's: 1.1, 1.1.0 and 1_1 are one version, (1, 1). ``text`` is as it was written."""

    text = ""

    @staticmethod
    def parse(text: str) -> Version:
        """Raises InvalidInput when ``text`` is not dotted numbers."""
        if not _VERSION.fullmatch(text) or len(text) > _VERSION_CHARACTERS:
            raise InvalidInput(f"'{text}' is no version: write numbers with dots between, 1.2.0 for example.")
        return Version._of(text)

    @staticmethod
    @cache
    def _of(text: str) -> Version:
        text = text.replace("_", ".")
        numbers = [*map(int, text.split("."))]
        while len(numbers) > 1 and not numbers[-1]:
            numbers.pop()
        version = Version(numbers)
        version.text = text
        return version

    def __str__(self) -> str:
        return self.text


NONE = Version()  # below every version


class Migration(NamedTuple):
    """A file of migrations/. ``version`` is None for a repeatable one; ``script`` is its path below the folder."""

    version: Version | None
    description: str
    script: str
    file: str
    data: bytes
    checksum: int

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self.file)

    @property
    def label(self) -> str:
        """What people call it: ``1.1.0``, or the file name of a repeatable one."""
        return str(self.version) if self.version else self.script


class Folder(NamedTuple):
    """What lies in migrations/ and rollback/.

    Attributes:
        versioned: by version, ascending; of duplicates the first.
        repeatable: by description.
        rollbacks: the file by version.
        duplicates: each file that has the version of another, with that other one.
        duplicate_rollbacks: a second file that rolls a version back.
        warnings: why a name that runs should not have been chosen, by file.
    """

    versioned: Sequence[Migration]
    repeatable: Sequence[Migration]
    rollbacks: Mapping[Version, str]
    duplicate_rollbacks: Mapping[Version, str]
    duplicates: Sequence[tuple[Migration, Migration]]
    warnings: Mapping[Path, str]

    def migration(self, version: Version) -> Migration | None:
        """The file of a version."""
        return next((migration for migration in self.versioned if migration.version == version), None)


def checksum(data: bytes) -> int:
    """CRC32 over the lines without their ends and without a BOM, as Java's signed int: Flyway's checksum."""
    value = zlib.crc32(data.removeprefix(b"\xef\xbb\xbf").translate(None, b"\r\n"))
    return value - (1 << 32) if value >> 31 else value


def read(migrations: Path, rollback: Path) -> Folder:
    """Read both folders.

    Raises:
        InvalidInput: migrations/ is missing, or holds a .sql file whose name is not that of a migration; something that
            is called .sql cannot be read, is no file, or has a name that the history cannot hold.
    """
    versioned: list[tuple[Version, Migration]] = []
    repeatable: list[Migration] = []
    warnings: dict[Path, str] = {}
    if not migrations.is_dir():
        raise InvalidInput(f"there is no folder {migrations}: run `dbt-cicd db init`, or name another one with --dir.")
    for script, path in sql_files(migrations):
        name = script.rpartition("/")[2]
        if match := _MIGRATION.fullmatch(name):
            number, description = match.groups()
            version = _version(number, path)
            versioned.append((version, _migration(version, description, script, path)))
            if not _GOOD.fullmatch(name):
                warnings[Path(path)] = "; ".join(name_problems(name))
        elif match := _REPEATABLE.fullmatch(name):
            repeatable.append(_migration(None, match[1], script, path))
        elif re.match(r"U[0-9]", name):
            warnings[Path(path)] = f"Flyway's undo scripts are not run; rollbacks lie in {rollback}"
        else:
            problems = "; ".join(name_problems(name))
            raise InvalidInput(
                f"{path} is no migration: {problems}. Name it V1.2.0__What_it_does.sql, or move it away."
            )
    versioned.sort(key=itemgetter(0))
    first: dict[Version, Migration] = {}
    duplicates = []
    for version, migration in versioned:
        if first.setdefault(version, migration) is not migration:
            duplicates.append((migration, first[version]))
    repeatable.sort(key=lambda migration: migration.description)
    return Folder(list(first.values()), repeatable, *_rollbacks(rollback), duplicates, warnings)


def _version(text: str, path: str) -> Version:
    if len(text) > _VERSION_CHARACTERS:
        raise InvalidInput(
            f"{path}: the version has {len(text)} characters. Allowed: at most {_VERSION_CHARACTERS}. Rename it."
        )
    return Version._of(text)


def _migration(version: Version | None, description: str, script: str, path: str) -> Migration:
    data = contents(path)
    return Migration(version, description.replace("_", " "), script, path, data, checksum(data))


def contents(path: str) -> bytes:
    """The bytes of a file, without what Python's own files cost where there are thousands. Raises InvalidInput."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            parts = [os.read(descriptor, _PIECE)]
            while len(parts[-1]) == _PIECE:
                parts.append(os.read(descriptor, _PIECE))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}.") from error
    return b"".join(parts)


def _rollbacks(directory: Path) -> tuple[dict[Version, str], dict[Version, str]]:
    """The rollback of each version, and a second one where there is one."""
    found: dict[Version, str] = {}
    twice: dict[Version, str] = {}
    if directory.is_dir():
        for script, path in sql_files(directory):
            if match := _ROLLBACK.fullmatch(script.rpartition("/")[2]):
                version = _version(match[1], path)
                if found.setdefault(version, path) is not path:
                    twice[version] = path
    return found, twice


def title(data: bytes) -> str | None:
    """What the header ``-- Migration: …`` of a file says."""
    match = re.search(rb"^--[ \t]*Migration:[ \t]*(.+?)[ \t]*\r?$", data[:4096], re.MULTILINE)
    return match[1].decode("utf-8", "replace") if match else None


def name_problems(name: str) -> list[str]:
    """Why a file's name breaks the rule ``V{MAJOR.MINOR.PATCH}__{Words_with_underscores}.sql``; [] if it does not."""
    if _REPEATABLE.fullmatch(name):
        return _words_problems(name[3:-4])
    stem = name.removesuffix(".sql")
    head = re.match(r"V([0-9][0-9A-Za-z.+-]*)", stem)
    if not head:
        return ["No version"]
    problems = version_problems(head[1])
    if not name.endswith(".sql"):
        problems.append("No .sql at the end")
    rest = stem[head.end() :]
    if rest.startswith("__"):
        return [*problems, *_words_problems(rest[2:])]
    return [*problems, "Underscore instead of double underscore" if rest.startswith("_") else "No description"]


def version_problems(text: str) -> list[str]:
    """Why ``text`` is no version of the naming rules; [] if it is one."""
    if re.fullmatch(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)){2}", text) and len(text) <= _VERSION_CHARACTERS:
        return []
    if re.match(r"[0-9]+(\.[0-9]+)*[-+]", text):
        return [f"'{text}' is a pre-release or a build: migrations have plain versions, MAJOR.MINOR.PATCH"]
    if re.fullmatch(r"[0-9]+(\.[0-9]+)*", text):
        return [f"Version '{text}' is not MAJOR.MINOR.PATCH"]
    return [f"No version: '{text}' is not MAJOR.MINOR.PATCH"]


def description_problems(description: str) -> list[str]:
    """Why a description given to `create` makes no good file name; [] if it does."""
    return _words_problems(slug(description))


def slug(description: str) -> str:
    """A description as it stands in a file's name."""
    return re.sub(r" +", "_", description.strip(" "))


def _words_problems(text: str) -> list[str]:
    if not text.strip("_"):
        return ["No description"]
    problems = []
    if "-" in text:
        problems.append("Hyphens not underscores")
    elif not re.fullmatch(r"[A-Za-z0-9_]+", text):
        problems.append("Other characters than letters, digits and underscores")
    elif "__" in text or text.startswith("_") or text.endswith("_"):
        problems.append("Single underscores between words, none around them")
    if len(re.findall(r"[A-Za-z0-9]+", text)) < 2:
        problems.append("Vague description: say in some words what it does")
    return problems
