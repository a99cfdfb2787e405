"""resolve('my_job', '~=0.1.0'): the class that jobs.lock says. DAGs import it: standard library and packaging only.

It is a function of the lock alone: which releases there are, what time it is and what the network says does not matter,
so that a DAG means the same on every machine that has the same commit.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from dbt_cicd_toolkit.errors import Differs, InvalidInput
from dbt_cicd_toolkit.jobs import pins
from dbt_cicd_toolkit.jobs.nearest import meant

FORMAT = 1
VARIABLE = "DBT_CICD_ENVIRONMENT"
_VERSION = re.compile(r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)")
Environments = dict[str, dict[str, dict[str, str]]]  # environment: {job: {pin: version}}


class Resolve(Protocol):
    """What bind() returns."""

    def __call__(self, job: str, pin: str = ..., environment: str | None = ...) -> type[Any]: ...


def bind(package: str, file: str) -> Resolve:
    """Make the resolve() of a package of jobs.

    Args:
        package, file: ``__name__`` and ``__file__`` of its ``__init__.py``, beside which jobs.lock is.
    """
    lock = Lock(Path(file).with_name("jobs.lock"), f"{package.replace('.', '/')}/jobs.lock")

    def resolve(job: str, pin: str = pins.LATEST, environment: str | None = None) -> type[Any]:
        """The class of the version of a job that jobs.lock gives for a pin.

        Args:
            job: its name, 'my_job'.
            pin: a PEP 440 specifier, '~=0.1.0'; by default the latest version that was locked.
            environment: by default what DBT_CICD_ENVIRONMENT says.
        """
        version = lock.version(job, pin, environment)
        if said := lock.new_warning(pin):
            warnings.warn(said, stacklevel=2)
        return class_of(_module(package, job, version, lock.name))

    return resolve


class Lock:
    """A jobs.lock, read again when it changes. ``name`` is what messages call it."""

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name
        self._read: tuple[object, Environments] = (None, {})
        self._warned: set[str] = set()

    def version(self, job: str, pin: str = pins.LATEST, environment: str | None = None) -> str:
        """The version of a job that a pin leads to. Raises InvalidInput for what the lock does not have, Differs for a
        lock that is missing or damaged."""
        found = self._environments()
        environment = environment or os.environ.get(VARIABLE) or None
        try:
            return found[environment or ""][job][pin]
        except KeyError:
            raise InvalidInput(self._unknown(found, job, pin, environment)) from None

    def new_warning(self, pin: str) -> str | None:
        """What is to be said of a pin, once."""
        if pin in self._warned:
            return None
        self._warned.add(pin)
        return pins.warning(pin)

    def _environments(self) -> Environments:
        try:
            state = os.stat(self.path)  # noqa: PTH116 (a tenth of the time of Path.stat)
        except FileNotFoundError:
            raise Differs(f"{self.name} is missing. Write it with `dbt-cicd job lock`, and commit it.") from None
        known = (state.st_mtime_ns, state.st_size, state.st_ino)
        if self._read[0] != known:
            self._read = (known, parse(self.path.read_bytes(), self.name))
        return self._read[1]

    def _unknown(self, found: Environments, job: str, pin: str, environment: str | None) -> str:
        where = f"resolve('{job}'" + (f", '{pin}')" if pin != pins.LATEST else ")")
        pins.check(pin, where)
        if environment is None:
            known = ", ".join(found) or "none yet: name one in jobs.toml and run `dbt-cicd job lock`"
            return f"{where}: no environment is named. Set {VARIABLE}, or give environment=…; {self.name} has {known}."
        lock = "Run `dbt-cicd job lock` when it is new."
        if environment not in found:
            said = meant(environment, found, "It has none yet.")
            return f"{where}: {self.name} has no environment '{environment}'. {said} {lock}"
        jobs = found[environment]
        if job not in jobs:
            said = meant(job, jobs, "It has none.")
            return f"{where}: {self.name} has no job '{job}' in {environment}. {said} {lock}"
        there = ", ".join(f"'{each}' ({version})" for each, version in jobs[job].items())
        return f"{where}: {self.name} has no such pin of {job} in {environment}. There are: {there}. {lock}"


def parse(content: bytes, name: str) -> Environments:
    """Read a jobs.lock; ``name`` is what messages call it. Raises Differs; InvalidInput for one of a newer toolkit."""
    try:
        body = json.loads(content)
        if body["format"] > FORMAT:
            raise InvalidInput(f"{name} was written by a newer version of dbt_cicd_toolkit. Upgrade the toolkit.")
        found: Environments = body["environments"]
        for jobs in found.values():
            for each in jobs.values():
                for version in each.values():
                    if not isinstance(version, str) or not _VERSION.fullmatch(version):
                        raise ValueError(f"{version!r} is no version")
    except InvalidInput:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise Differs(
            f"{name} is not as it was written: {error}. Restore it (git restore {name}), or delete it and run "
            "`dbt-cicd job lock`."
        ) from None
    return found


def text(environments: Mapping[str, Mapping[str, Mapping[str, str]]]) -> str:
    """A jobs.lock; the same pins give the same bytes."""
    return json.dumps({"format": FORMAT, "environments": environments}, indent=2, sort_keys=True) + "\n"


def _module(package: str, job: str, version: str, lock: str) -> ModuleType:
    name = f"{package}.v{version.replace('.', '_')}.{job}"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise  # something that the job itself imports
        raise Differs(
            f"{lock} leads to {job} {version}, and {name} is not there. Run `dbt-cicd job lock`, and commit it."
        ) from None


def class_of(module: ModuleType) -> type[Any]:
    """The class of a job's module: the one that has run(). Raises InvalidInput when it is not one."""
    found = {
        value
        for value in vars(module).values()
        if inspect.isclass(value) and value.__module__ == module.__name__ and "run" in vars(value)
    }
    if len(found) != 1:
        raise InvalidInput(f"{module.__name__} has {len(found)} classes with run(); a job has one.")
    return found.pop()
