"""releases/<version>.json: what a release is made of, and the hashes that freeze it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dbt_cicd_toolkit.errors import Differs, InvalidInput
from dbt_cicd_toolkit.jobs.number import Number

FORMAT = 1
_DAMAGE = (ValueError, LookupError, TypeError, AttributeError, RecursionError)


@dataclass(frozen=True)
class Entry:
    """A job of a release. ``reads``, ``writes``, ``requires``: None when its source does not say."""

    module: str
    class_name: str
    reads: tuple[str, ...] | None
    writes: tuple[str, ...] | None
    requires: tuple[str, ...] | None


@dataclass(frozen=True)
class Manifest:
    """A release.

    Attributes:
        version, date: 0.1.0, '2026-11-21'.
        previous: the release before it on its branch; None for the first.
        jobs: {name: what it was} of the folder of this release.
        files: {path from the root: content_hash()} of that folder.
        shared: {module: content_hash()} of the repository's other modules that these jobs reach.
        migration: version of the newest database migration in the repository, None without any.
        schema: {module: label of its newest schema release}.
        models: {model: its version when this was released}.
    """

    version: Number
    date: str
    previous: Number | None
    jobs: Mapping[str, Entry]
    files: Mapping[str, str]
    shared: Mapping[str, str] = field(default_factory=dict)
    migration: str | None = None
    schema: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """As it stands in its file; the same manifest gives the same bytes."""
        body = asdict(self) | {"version": str(self.version), "previous": self.previous and str(self.previous)}
        return json.dumps({"format": FORMAT, **body}, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def read(path: Path, name: str) -> Manifest:
    """Read a manifest; ``name`` is what messages call it.

    Raises:
        Differs: it is not as it was written.
        InvalidInput: it was written by a newer version of the toolkit.
    """
    return parse(path.read_bytes(), name)


def parse(content: bytes, name: str) -> Manifest:
    """The same of the content of a file, as git has it for example."""
    try:
        body: dict[str, Any] = json.loads(content)
        newer = body.pop("format") > FORMAT
    except _DAMAGE as error:
        raise _damaged(name, error) from None
    if newer:
        raise InvalidInput(f"{name} was written by a newer version of dbt_cicd_toolkit. Upgrade the toolkit.")
    try:
        found = _manifest(body)
    except (*_DAMAGE, InvalidInput) as error:
        raise _damaged(name, error) from None
    if Path(name).stem != str(found.version):
        raise Differs(f"{name} holds release {found.version}. Restore it (git restore {name}).")
    return found


def _damaged(name: str, error: Exception) -> Differs:
    said = str(error).rstrip(".")
    return Differs(f"{name} is not as it was written: {said}. Restore it (git restore {name}).")


def _manifest(body: dict[str, Any]) -> Manifest:
    jobs = {job: _entry(job, entry) for job, entry in _checked("jobs", body.pop("jobs"), dict).items()}
    version = Number.parse(_checked("version", body.pop("version"), str))
    previous = _checked("previous", body.pop("previous"), str, none=True)
    for key, value in body.items():
        if key in ("files", "shared", "schema", "models"):
            for each in _checked(key, value, dict).values():
                _checked(key, each, str)
        else:
            _checked(key, value, str, none=key == "migration")
    return Manifest(version, jobs=jobs, previous=Number.parse(previous) if previous else None, **body)


def _entry(job: str, body: Any) -> Entry:
    said = dict(_checked(f"jobs.{job}", body, dict))
    for key, value in said.items():
        if key in ("reads", "writes", "requires"):
            texts = _checked(f"{job}.{key}", value, list, none=True)
            said[key] = None if texts is None else tuple(_checked(f"{job}.{key}", each, str) for each in texts)
        else:
            _checked(f"{job}.{key}", value, str)
    return Entry(**said)


def _checked(key: str, value: Any, kind: type, *, none: bool = False) -> Any:
    """A value that is of its kind. Raises TypeError."""
    if not isinstance(value, kind) and not (none and value is None):
        raise TypeError(f"{key} has {value!r}")
    return value


def content_hash(content: bytes) -> str:
    """SHA-256 of a file, which is the same when a checkout has turned its line ends into CRLF."""
    return hashlib.sha256(content if b"\0" in content else content.replace(b"\r\n", b"\n")).hexdigest()
