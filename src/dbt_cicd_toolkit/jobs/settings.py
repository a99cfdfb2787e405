"""jobs.toml: what may change after a version is frozen. Every key is listed here, every other is refused."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from dbt_cicd_toolkit.errors import InvalidInput
from dbt_cicd_toolkit.jobs.number import Number

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

_NEW = """\
# Settings of the versions of jobs: https://semver.org numbers, one folder each. See `dbt-cicd job --help`.
package = "{package}"

# [environments.production]
# branch = "main"        # the branch whose DAGs run there
# dags = ["dags"]        # where they are
"""


@dataclass(frozen=True)
class Environment:
    """Where jobs run: the branch that is deployed there (None: the one that is checked out), and its DAGs' paths (none:
    jobs.toml does not tell)."""

    name: str
    branch: str | None = None
    dags: tuple[str, ...] = ()

    @property
    def folders(self) -> tuple[str, ...]:
        """Where its DAGs are looked for."""
        return self.dags or ("dags",)


@dataclass(frozen=True)
class SharedWrite:
    """Versions of these jobs may write this table in one environment (None: in every one)."""

    table: str
    jobs: tuple[str, ...]
    environment: str | None = None


@dataclass(frozen=True)
class Deprecation:
    """Nobody should use a version of a job after that day."""

    job: str
    version: Number
    until: datetime.date


@dataclass(frozen=True)
class Removal:
    """A version of a job that was deleted on purpose."""

    job: str
    version: Number
    date: datetime.date


@dataclass(frozen=True)
class Acceptance:
    """A shared module may have this content, though frozen versions reach it."""

    module: str
    hash: str
    reason: str


@dataclass(frozen=True)
class Settings:
    """The file. ``main`` is the main branch; None: what the remote calls so, else main or master."""

    package: str
    environments: Mapping[str, Environment] = field(default_factory=dict)
    shared_writes: tuple[SharedWrite, ...] = ()
    deprecations: tuple[Deprecation, ...] = ()
    removals: tuple[Removal, ...] = ()
    accepted: tuple[Acceptance, ...] = ()
    main: str | None = None

    @staticmethod
    def read(path: Path) -> Settings:
        """Read it. Raises InvalidInput for no TOML, an unknown key, or a value that is not of its kind."""
        return Settings.parse(path.read_bytes(), path.name)

    @staticmethod
    def parse(content: bytes, name: str) -> Settings:
        """The same of the content of a file, as git has it for example; ``name`` is what messages call it."""
        return _Reader(name).settings(_parse(content, name))


def new_text(package: str) -> str:
    """A jobs.toml for a project whose jobs are in ``package``.jobs."""
    return _NEW.format(package=package)


def with_entry(path: Path, table: str, values: Mapping[str, Any], key: tuple[str, ...]) -> bytes:
    """The file with an entry more in an array of tables ('deprecations', 'removals', 'accepted'); comments and order
    stay. An entry with the same values of ``key`` gets the new ones instead."""
    import tomlkit

    document = _load(path)
    if table not in document:
        document.add(tomlkit.nl())
    array = document.setdefault(table, tomlkit.aot())
    plain = {name: str(value) if isinstance(value, Number) else value for name, value in values.items()}
    same = [each for each in array if all(each.get(name) == plain[name] for name in key)]
    entry = same[0] if same else tomlkit.table()
    entry.update(plain)
    if not same:
        array.append(entry)
    return tomlkit.dumps(document).encode("utf-8")


def _load(path: Path) -> TOMLDocument:
    return _parse(path.read_bytes(), path.name)


def _parse(content: bytes, name: str) -> TOMLDocument:
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        return tomlkit.parse(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{name} is not UTF-8 at byte {error.start}: save it as UTF-8.") from None
    except TOMLKitError as error:
        raise InvalidInput(f"{name}: no TOML: {error}.") from None


class _Reader:
    def __init__(self, name: str) -> None:
        self.name = name

    def settings(self, document: Mapping[str, Any]) -> Settings:
        body = self._table(
            dict(document),
            "",
            ("package", "main", "environments", "shared_writes", "deprecations", "removals", "accepted"),
        )
        if "package" not in body:
            raise InvalidInput(f'{self.name}: package is missing. Write it: package = "dwh" for jobs in dwh/jobs.')
        package = self._text(body, "package")
        if not all(part.isidentifier() for part in package.split(".")):
            raise InvalidInput(f"{self.name}: package is '{package}', which is no name of a Python package.")
        environments = {
            name: self._environment(name, value) for name, value in self._mapping(body, "environments").items()
        }
        return Settings(
            package,
            environments,
            tuple(self._each(body, "shared_writes", self._shared_write)),
            tuple(self._each(body, "deprecations", self._deprecation)),
            tuple(self._each(body, "removals", self._removal)),
            tuple(self._each(body, "accepted", self._acceptance)),
            self._text(body, "main") if "main" in body else None,
        )

    def _table(self, value: Any, key: str, allowed: tuple[str, ...]) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise InvalidInput(f"{self.name}: {key} must be a table with {', '.join(allowed)}.")
        for name in value:
            if name not in allowed:
                where = f"{key}." if key else ""
                raise InvalidInput(f"{self.name}: unknown key '{where}{name}'. Allowed: {', '.join(allowed)}.")
        return value

    def _mapping(self, body: Mapping[str, Any], key: str) -> Mapping[str, Any]:
        value = body.get(key, {})
        if not isinstance(value, dict):
            raise InvalidInput(f"{self.name}: {key} must be tables, such as [{key}.production].")
        return value

    def _each(self, body: Mapping[str, Any], key: str, one: Callable[[Any, str], Any]) -> list[Any]:
        value = body.get(key, [])
        if not isinstance(value, list):
            raise InvalidInput(f"{self.name}: {key} must be a list of tables: write [[{key}]].")
        return [one(each, key) for each in value]

    def _text(self, body: Mapping[str, Any], key: str, where: str = "") -> str:
        value = body.get(key)
        if not isinstance(value, str) or not value:
            raise InvalidInput(f"{self.name}: {where}{key} is {value!r}; it must be a text.")
        return str(value)

    def _texts(self, body: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
        value = body.get(key)
        if not isinstance(value, list) or not value or not all(isinstance(each, str) for each in value):
            raise InvalidInput(f"{self.name}: {where}{key} is {value!r}; it must be a list of texts.")
        return tuple(str(each) for each in value)

    def _date(self, body: Mapping[str, Any], key: str, where: str) -> datetime.date:
        value = body.get(key)
        if not isinstance(value, datetime.date) or isinstance(value, datetime.datetime):
            raise InvalidInput(
                f"{self.name}: {where}{key} is {value!r}; it must be a date, without quotes: 2026-12-31."
            )
        return datetime.date(value.year, value.month, value.day)

    def _environment(self, name: str, value: Any) -> Environment:
        where = f"environments.{name}"
        body = self._table(value, where, ("branch", "dags"))
        branch = self._text(body, "branch", f"{where}.") if "branch" in body else None
        return Environment(name, branch, self._paths(body, "dags", f"{where}.") if "dags" in body else ())

    def _paths(self, body: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
        paths = self._texts(body, key, where)
        for path in paths:
            if not path or PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
                raise InvalidInput(
                    f"{self.name}: {where}{key} has '{path}', which is not inside of the repository. Write a path from "
                    "its top, such as dags."
                )
        return paths

    def _shared_write(self, value: Any, key: str) -> SharedWrite:
        body = self._table(value, key, ("table", "jobs", "environment"))
        environment = self._text(body, "environment", f"{key}.") if "environment" in body else None
        return SharedWrite(self._text(body, "table", f"{key}."), self._texts(body, "jobs", f"{key}."), environment)

    def _job(self, body: Mapping[str, Any], key: str) -> tuple[str, Number]:
        version = Number.parse(self._text(body, "version", f"{key}."), f"{self.name}: {key}.version")
        return self._text(body, "job", f"{key}."), version

    def _deprecation(self, value: Any, key: str) -> Deprecation:
        body = self._table(value, key, ("job", "version", "until"))
        return Deprecation(*self._job(body, key), self._date(body, "until", f"{key}."))

    def _removal(self, value: Any, key: str) -> Removal:
        body = self._table(value, key, ("job", "version", "date"))
        return Removal(*self._job(body, key), self._date(body, "date", f"{key}."))

    def _acceptance(self, value: Any, key: str) -> Acceptance:
        body = self._table(value, key, ("module", "hash", "reason"))
        return Acceptance(*(self._text(body, name, f"{key}.") for name in ("module", "hash", "reason")))
