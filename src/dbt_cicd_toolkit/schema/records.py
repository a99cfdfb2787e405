"""What is kept of every object of every release, and the history made of it."""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from dbt_cicd_toolkit.errors import Differs, InvalidInput
from dbt_cicd_toolkit.schema.dependencies import Installed
from dbt_cicd_toolkit.schema.fingerprint import Mark
from dbt_cicd_toolkit.schema.sources import plain
from dbt_cicd_toolkit.schema.step import Check, Step

FORMAT = 1
ATTACHED = ("comment", "grant", "revoke", "alter", "security label")


@dataclass(frozen=True, slots=True)
class Record:
    """One version of one object, and the releases that have it.

    Attributes:
        name: fully qualified, functions with argument types.
        type: as PostgreSQL calls it: 'table', 'view', 'function' …; 'comment', 'grant' … for what is said of one.
        version: 1 at first, one more with every release that has it otherwise than the release before.
        dependencies: keys of the objects it needs.
        first, last: numbers of the releases.
        hash: SHA-256 of the source.
        source: the statement.
    """

    name: str
    type: str
    version: int
    dependencies: tuple[str, ...]
    first: int
    last: int
    hash: str
    source: str

    @property
    def key(self) -> str:
        """What identifies the object: 'table business.customer'."""
        return f"{self.type} {self.name}"

    @property
    def attached(self) -> bool:
        """Is it said of another object?"""
        return self.type in ATTACHED

    @property
    def concurrently(self) -> bool:
        """Is it an index that an upgrade builds after its COMMIT?"""
        return self.type == "index" and plain(self.source) != self.source

    @property
    def plain(self) -> str:
        """What a database without rows is given."""
        return plain(self.source) if self.type == "index" else self.source


@dataclass(frozen=True, slots=True)
class Release:
    """What one release adds to the one before.

    Attributes:
        number, label, date: 3, '1.2.0', '2026-11-21T10:00:00Z'.
        deltas: the declared lines.
        steps: the transition from the release before, proven; of the first none. {server major: statements for that
            one and later ones}, because servers name not-null constraints since 18, and tell them by it.
        apart: the transition needs what an earlier one did to be committed: a new value of an enum.
        fingerprint: {server major: {identity: Mark, or None where the identity is no longer}}, only what differs.
        hash: SHA-256 over all of it, its objects and the release before.
    """

    number: int
    label: str
    date: str
    deltas: tuple[str, ...]
    steps: Mapping[str, tuple[Step, ...]]
    fingerprint: Mapping[str, Mapping[str, Mark | None]]
    apart: bool = False
    hash: str = ""

    def steps_for(self, major: int) -> tuple[Step, ...]:
        """The transition on a server of this major."""
        known = [int(each) for each in self.steps if int(each) <= major]
        return self.steps[str(max(known))] if known else ()


@dataclass(frozen=True, slots=True)
class History:
    """All that is known: of a module, its PostgreSQL schemas, its releases in order, and every object they ever had."""

    module: str
    schemas: tuple[str, ...]
    releases: tuple[Release, ...] = ()
    records: tuple[Record, ...] = ()

    @property
    def newest(self) -> Release | None:
        """The last release."""
        return self.releases[-1] if self.releases else None

    def at(self, number: int) -> dict[str, Record]:
        """{key: record} of the objects that a release has, in an order in which they can be made."""
        return in_order(record for record in self.records if record.first <= number <= record.last)

    def transitions(self, start: int, end: int, major: int) -> list[tuple[Step, ...]]:
        """The steps from release number ``start`` to ``end`` on a server of this major, release by release."""
        return [release.steps_for(major) for release in self.releases[start:end]]

    def commits(self, start: int) -> list[int]:
        """The numbers of the releases at which an upgrade from release number ``start`` to the newest commits."""
        between = [release.number - 1 for release in self.releases[start + 1 :] if release.apart]
        return [*between, len(self.releases)]

    def until(self, number: int) -> History:
        """The history as it was when that release was made."""
        records = (replace(r, last=min(r.last, number)) for r in self.records if r.first <= number)
        return replace(self, releases=self.releases[:number], records=tuple(records))

    def find(self, label: str) -> Release:
        """The release of this label or number. Raises InvalidInput."""
        for release in self.releases:
            if label in (release.label, str(release.number)):
                return release
        known = ", ".join(release.label for release in self.releases) or "none yet"
        raise InvalidInput(f"there is no release {label}. There are: {known}.")

    def fingerprint(self, number: int, major: int) -> dict[str, Mark] | None:
        """The objects of a release as a server of this major shows them; None when that was not recorded."""
        found: dict[str, Mark] = {}
        for release in self.releases[:number]:
            changes = release.fingerprint.get(str(major))
            if changes is None:
                return None
            for identity, mark in changes.items():
                if mark is None:
                    found.pop(identity, None)
                else:
                    found[identity] = mark
        return found

    def with_release(self, release: Release, objects: Mapping[str, Record]) -> History:
        """This history with one more release; ``objects`` is all that it has."""
        kept = (record for record in self.records if not _continues(record, objects))
        records = tuple(sorted((*kept, *objects.values()), key=lambda record: (record.key, record.first)))
        made = replace(self, releases=(*self.releases, release), records=records)
        return replace(made, releases=(*self.releases, replace(release, hash=made.digest(release.number))))

    def digest(self, number: int) -> str:
        """SHA-256 over a release, its objects and, by its hash, the release before."""
        before = self.releases[number - 2].hash if number > 1 else ""
        objects = [
            [r.key, r.version, r.hash, r.source, r.dependencies] for r in self.records if r.first <= number <= r.last
        ]
        body = _release_json(replace(self.releases[number - 1], hash=""))
        return sha256(json.dumps([self.module, self.schemas, before, body, objects], sort_keys=True))


def _continues(record: Record, objects: Mapping[str, Record]) -> bool:
    """Does the new release go on with this version of the object?"""
    now = objects.get(record.key)
    return now is not None and now.first == record.first


def sha256(text: str) -> str:
    """Of a text, as hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def records_of(installed: Iterable[Installed], history: History) -> dict[str, Record]:
    """{key: record} of the objects that were installed from the sources of the next release."""
    number = len(history.releases) + 1
    before = history.at(number - 1)
    versions: dict[str, int] = {}
    for record in history.records:
        versions[record.key] = max(record.version, versions.get(record.key, 0))
    found = []
    for each in installed:
        kind, name = split_key(each.key)
        digest, needs = sha256(each.source.text), tuple(sorted(each.needs))
        old = before.get(each.key)
        if old is not None and (old.hash, old.dependencies) == (digest, needs):
            found.append(replace(old, last=number))
        else:
            version = versions.get(each.key, 0) + 1
            found.append(Record(name, kind, version, needs, number, number, digest, each.source.text))
    return in_order(found)


_TYPES = ("materialized view", "foreign table", "security label", "text search", "operator class")


def split_key(key: str) -> tuple[str, str]:
    """'materialized view a.b' → ('materialized view', 'a.b')."""
    kind = next((each for each in _TYPES if key.startswith(f"{each} ")), key.partition(" ")[0])
    return kind, key.removeprefix(f"{kind} ")


# What is made first where nothing else decides, so that the order is the same every time.
_FIRST = ("schema", "extension", "collation", "type", "domain", "sequence", "function", "table")


def in_order(records: Iterable[Record]) -> dict[str, Record]:
    """{key: record}, each behind what it depends on; where that leaves a choice, by type and name."""
    known = {record.key: record for record in records}
    waiting = {key: len({need for need in record.dependencies if need in known}) for key, record in known.items()}
    needed_by: dict[str, list[str]] = {}
    for key, record in known.items():
        for need in set(record.dependencies):
            if need in known:
                needed_by.setdefault(need, []).append(key)

    def rank(key: str) -> tuple[int, str]:
        kind = known[key].type
        return (_FIRST.index(kind) if kind in _FIRST else len(_FIRST), key)

    ready = [rank(key) for key, number in waiting.items() if number == 0]
    heapq.heapify(ready)
    found: dict[str, Record] = {}
    while ready:
        _, key = heapq.heappop(ready)
        found[key] = known[key]
        for other in needed_by.get(key, ()):
            waiting[other] -= 1
            if waiting[other] == 0:
                heapq.heappush(ready, rank(other))
    if left := known.keys() - found.keys():
        raise InvalidInput(f"these need each other in a circle: {', '.join(sorted(left))}.")
    return found


def to_json(history: History) -> dict[str, Any]:
    """As a JSON document; the last number of ``releases`` stands for the open one."""
    return {
        "format": FORMAT,
        "module": history.module,
        "schemas": list(history.schemas),
        "releases": [*(release.date for release in history.releases), 0],
        "past": [asdict(record) for record in history.records],
        "transitions": [_release_json(release) for release in history.releases],
    }


def _release_json(release: Release) -> dict[str, Any]:
    body = asdict(release)
    body["fingerprint"] = {
        major: {identity: mark and mark.to_json() for identity, mark in changes.items()}
        for major, changes in release.fingerprint.items()
    }
    return body


def of_json(document: Mapping[str, Any], name: str) -> History:
    """The history in a document, every hash of which is recomputed.

    Raises:
        Differs: it was changed after it was released.
        InvalidInput: made by a newer version of the toolkit.
    """
    try:
        if document["format"] > FORMAT:
            raise InvalidInput(
                f"{name} has the format {document['format']}; this version knows {FORMAT}. Upgrade the toolkit."
            )
        releases = tuple(_release(each) for each in document["transitions"])
        records = tuple(Record(**each | {"dependencies": tuple(each["dependencies"])}) for each in document["past"])
        history = History(document["module"], tuple(document["schemas"]), releases, records)
        dates = document["releases"]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise Differs(f"{name} is not as it was written: {error!r}. Restore it (git restore).") from error
    if dates != [*(release.date for release in releases), 0]:
        raise Differs(f"{name}: the dates of its releases were changed. Restore it (git restore).")
    _verify(history, name)
    return history


def _verify(history: History, name: str) -> None:
    number = len(history.releases)
    if [release.number for release in history.releases] != [*range(1, number + 1)] or not all(
        1 <= record.first <= record.last <= number for record in history.records
    ):
        raise Differs(f"{name}: the numbers of its releases were changed. Restore it (git restore).")
    for record in history.records:
        if sha256(record.source) != record.hash:
            raise Differs(
                f"{name}: the source of {record.key} was changed after it was released. Restore it (git restore)."
            )
    for release in history.releases:
        if history.until(release.number).digest(release.number) != release.hash:
            raise Differs(f"{name}: release {release.label} was changed after it was made. Restore it (git restore).")


def _release(body: Mapping[str, Any]) -> Release:
    steps = {major: tuple(_step(each) for each in steps) for major, steps in body["steps"].items()}
    fingerprint = {
        major: {identity: mark and Mark.of_json(mark) for identity, mark in changes.items()}
        for major, changes in body["fingerprint"].items()
    }
    deltas = tuple(body["deltas"])
    return Release(**dict(body) | {"steps": steps, "fingerprint": fingerprint, "deltas": deltas})


def _step(body: Mapping[str, Any]) -> Step:
    check = Check(**body["check"]) if body["check"] else None
    return Step(**dict(body) | {"check": check, "columns": tuple(body["columns"])})


def difference(before: Mapping[str, Mark], after: Mapping[str, Mark]) -> dict[str, Mark | None]:
    """What a release's fingerprint adds to the one before."""
    changed: dict[str, Mark | None] = {key: mark for key, mark in after.items() if before.get(key) != mark}
    return dict(sorted((changed | dict.fromkeys(before.keys() - after.keys())).items()))
