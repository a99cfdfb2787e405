"""What `status`, `check` and `history` tell; nothing here writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dbt_cicd_toolkit.errors import InvalidInput
from dbt_cicd_toolkit.postgres import catalog
from dbt_cicd_toolkit.postgres.catalog import Selection
from dbt_cicd_toolkit.postgres.session import Session
from dbt_cicd_toolkit.schema import fingerprint, locked, sources
from dbt_cicd_toolkit.schema.fingerprint import Mark
from dbt_cicd_toolkit.schema.installed import Current, Log
from dbt_cicd_toolkit.schema.project import Project
from dbt_cicd_toolkit.schema.records import History, Record, sha256
from dbt_cicd_toolkit.schema.upgrade import Reference, Tell

Describe = Callable[[History, int], Mapping[str, str] | None]


@dataclass
class Status:
    """Where sources, releases and database stand. ``changed``: places and names of sources that no release has so;
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
    project.verify_files(history)
    newest = history.newest
    released = history.at(newest.number) if newest else {}
    hashes = {record.hash for record in released.values()}
    found = {sha256(source.text): source for source in sources.read(project.objects)}
    return Status(
        history.module,
        history.schemas,
        [{"number": r.number, "label": r.label, "date": r.date} for r in history.releases],
        [f"{source.place}: {source.title}" for digest, source in found.items() if digest not in hashes],
        [record.key for record in released.values() if record.hash not in found],
        [line.text for line in project.deltas.open],
    )


@dataclass
class Checked:
    """A database against its release: what it lacks or has otherwise, and what it has beyond it; ``diff`` shows what is
    otherwise; None where there is no server to make the release on."""

    current: Current
    differences: Sequence[str] = field(default_factory=list)
    additions: Sequence[str] = field(default_factory=list)
    diff: str | None = ""


def check(session: Session, history: History, reference: Reference, describe: Describe, tell: Tell) -> Checked | None:
    """Compare a database with the release it has; None when it has none.

    Args:
        reference: makes the fingerprint of a release for a major that it was not recorded of.
        describe: makes the definitions of its objects.
    """
    current = Log(session, history.module, history.schemas, only_read=True).current()
    if current is None:
        return None
    if current.number > len(history.releases):
        raise InvalidInput(
            f"the database has release {current.label}, which the files do not know. Pull the newer files."
        )
    released = history.until(current.number)
    wanted, found = compared(session, released, reference, tell)
    lines = fingerprint.differences(wanted, found)
    diff: str | None = ""
    if changed := fingerprint.changed(wanted, found):
        there = describe(released, session.major)
        diff = None if there is None else _diff(session, released, changed, there)
    if history.releases[current.number - 1].hash != current.hash:
        lines.insert(0, f"release {current.label} of the database is not the one in the files")
    return Checked(current, lines, fingerprint.additions(wanted, found), diff)


def compared(
    session: Session, released: History, reference: Reference, tell: Tell
) -> tuple[Mapping[str, Mark], Mapping[str, Mark]]:
    """The fingerprints of the newest release, and of a database."""
    assert released.newest is not None
    wanted = released.fingerprint(released.newest.number, session.major) or reference(released, session.major)
    return wanted, locked.read(session, released.schemas, tell)


def _diff(session: Session, released: History, changed: Sequence[str], there: Mapping[str, str]) -> str:
    assert released.newest is not None
    here = catalog.describe(session.connection, Selection(schemas=released.schemas))
    before, after = ({identity: side[identity] for identity in changed if identity in side} for side in (there, here))
    return catalog.diff_text(before, after, f"release {released.newest.label}", "the database")


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
        raise InvalidInput(f"no release has an object called {name}. {_near(name, history)}")
    return found


def _near(name: str, history: History) -> str:
    import difflib

    keys = sorted({record.key for record in history.records if not record.attached})
    short = {key: key.partition("(")[0].rpartition(".")[2].lower() for key in keys}
    asked = name.strip().lower().partition("(")[0].rpartition(".")[2]
    near = [key for key in keys if short[key] in difflib.get_close_matches(asked, short.values())]
    return f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(keys) or 'none yet'}."
