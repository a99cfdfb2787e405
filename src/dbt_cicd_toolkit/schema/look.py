"""What `status`, `check` and `history` tell; nothing here writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dbt_cicd_toolkit.errors import InvalidInput
from dbt_cicd_toolkit.postgres.session import Session
from dbt_cicd_toolkit.schema import fingerprint, sources
from dbt_cicd_toolkit.schema.installed import Current, Log
from dbt_cicd_toolkit.schema.project import Project
from dbt_cicd_toolkit.schema.records import History, Record, sha256
from dbt_cicd_toolkit.schema.upgrade import Reference


@dataclass
class Status:
    """Where sources, releases and database stand. ``changed``: places of sources that no release has as they are;
    ``gone``: objects of the newest release whose source is not there as it was."""

    module: str
    schemas: Sequence[str]
    releases: Sequence[Mapping[str, Any]]
    changed: Sequence[str]
    gone: Sequence[str]
    deltas: Sequence[str]
    current: Current | None = None

    @property
    def open(self) -> bool:
        """Is there something to release?"""
        return bool(self.changed or self.gone or self.deltas)


def status(project: Project) -> Status:
    """Of the files alone, without a server. Raises as Project.history does."""
    history = project.history
    newest = history.newest
    released = history.at(newest.number) if newest else {}
    hashes = {record.hash for record in released.values()}
    found = {sha256(source.text): source for source in sources.read(project.objects)}
    return Status(
        history.module,
        history.schemas,
        [{"number": r.number, "label": r.label, "date": r.date} for r in history.releases],
        [source.place for digest, source in found.items() if digest not in hashes],
        [record.key for record in released.values() if record.hash not in found],
        [line.text for line in project.deltas.open],
    )


@dataclass
class Checked:
    """A database against its release: what it lacks or has otherwise, and what it has beyond it."""

    current: Current
    differences: Sequence[str] = field(default_factory=list)
    additions: Sequence[str] = field(default_factory=list)


def check(session: Session, history: History, reference: Reference) -> Checked | None:
    """Compare a database with the release it has; None when it has none.

    ``reference`` makes the fingerprint of a release for a major that it was not recorded of.
    """
    current = Log(session, history.module, history.schemas, only_read=True).current()
    if current is None:
        return None
    if current.number > len(history.releases):
        raise InvalidInput(
            f"the database has release {current.label}, which the files do not know. Pull the newer files."
        )
    wanted = history.fingerprint(current.number, session.major) or reference(
        history.until(current.number), session.major
    )
    found = fingerprint.read(session.connection, history.schemas)
    lines = fingerprint.differences(wanted, found)
    if history.releases[current.number - 1].hash != current.hash:
        lines.insert(0, f"release {current.label} of the database is not the one in the files")
    return Checked(current, lines, fingerprint.additions(wanted, found))


def past(history: History, name: str) -> list[Record]:
    """Every version of the objects of this name: 'business.customer', 'customer' or 'table business.customer'.

    Raises InvalidInput when no release has one.
    """
    wanted = name.strip().lower()

    def called(record: Record) -> bool:
        short = record.name.partition("(")[0]
        return wanted in (record.key.lower(), record.name.lower(), short.lower(), short.lower().rpartition(".")[2])

    found = sorted((record for record in history.records if called(record)), key=lambda r: (r.key, r.first))
    if not found:
        raise InvalidInput(f"no release has an object called {name}. `dbt-cicd schema status` lists what there is.")
    return found
