"""The proofs of rollbacks, kept in version_control/rollback_proofs.json: of which files, behind which predecessors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbt_cicd_toolkit.db.files import Folder, Migration, Version, contents
from dbt_cicd_toolkit.db.places import Layout
from dbt_cicd_toolkit.errors import Refused

if TYPE_CHECKING:
    from dbt_cicd_toolkit.db.project import Project
    from dbt_cicd_toolkit.db.run import Run
    from dbt_cicd_toolkit.postgres.script import Script

FILE = "rollback_proofs.json"


@dataclass(frozen=True)
class Proof:
    """That a rollback takes its migration back.

    Attributes:
        migration, rollback: sha256 of the two files, indifferent to CR LF and a byte order mark.
        predecessors: sha256 over all migrations before it.
        rows_lost: of how many rows the rollback loses them, by table; each table held one when it was tried.
        unfilled: tables that were empty when it was tried, with the reason.
    """

    migration: str
    rollback: str
    predecessors: str
    rows_lost: Mapping[str, int] = field(default_factory=dict)
    unfilled: Mapping[str, str] = field(default_factory=dict)

    def same_files(self, other: Proof) -> bool:
        """Is it about the same bytes?"""
        return (self.migration, self.rollback, self.predecessors) == (
            other.migration,
            other.rollback,
            other.predecessors,
        )


class Proofs:
    """What is proven of a folder's migrations, and what would have to be."""

    def __init__(self, layout: Layout, folder: Folder, start: bytes = b"") -> None:
        """``start``: what the first migration is run on, when that is not an empty database."""
        self.path = layout.version_control / FILE
        self._folder = folder
        self._start = start
        self._kept = _load(self.path)

    @cached_property
    def _wanted(self) -> dict[str, Proof]:
        return dict(_wanted(self._folder, self._start))

    def wanted(self, migration: Migration) -> Proof:
        """The proof as it would have to be now; ``rollback`` is '' where there is no file."""
        return self._wanted[_key(migration)]

    def find(self, migration: Migration) -> Proof | None:
        """The proof of a migration's rollback, when neither file nor anything before it has changed since."""
        kept = self._kept.get(_key(migration))
        return kept if kept and kept.same_files(self.wanted(migration)) else None

    def keep(self, migration: Migration, proof: Proof | None) -> None:
        """Remember a proof, or that there is none."""
        self._kept.pop(_key(migration), None)
        if proof:
            self._kept[_key(migration)] = proof

    def text(self) -> str:
        """The file: proofs of files that are there, in the order of the migrations."""
        kept = {key: asdict(self._kept[key]) for key in self._wanted if key in self._kept}
        return json.dumps(kept, indent=2, ensure_ascii=False) + "\n"


def proofs(project: Project, run: Run | None) -> Proofs:
    """The proofs there are. ``run``: of the database, which may have begun with a baseline."""
    try:
        start = structure_of_baseline(project, run)
    except Refused:
        start = None  # what no migration makes and no snapshot holds, nothing was proven on
    return Proofs(project.layout, project.folder, start.text.encode() if start else b"")


def proof(project: Project, version: Version) -> Proof | None:
    """The proof that a version's rollback works, when nothing has changed since."""
    migration = project.folder.migration(version)
    return proofs(project, None).find(migration) if migration else None


def structure_of_baseline(project: Project, run: Run | None) -> Script | None:
    """What the first migration is run on, where the database began with a baseline that no file makes."""
    rows = run.history.read() if run else []
    baseline = max((row.version for row in rows if row.version and row.type == "BASELINE"), default=None)
    if baseline is None or any(one.version and one.version <= baseline for one in project.folder.versioned):
        return None
    # What takes long to import waits until it is needed.
    from dbt_cicd_toolkit.db import snapshots
    from dbt_cicd_toolkit.postgres.script import decode, split

    path = snapshots.versions(project.layout.snapshots).get(baseline)
    if path is None:
        raise Refused(
            f"verify: the database began with the baseline {baseline}, which no migration makes. Put its structure "
            f"into {project.layout.snapshots / f'schema_v{baseline}.sql'}: `dbt-cicd db snapshot {baseline}` on a "
            "database that is at it."
        )
    return split(decode(path.read_bytes(), str(path)), str(path))


def _key(migration: Migration) -> str:
    return str(migration.version) if migration.version else migration.script


def _wanted(folder: Folder, start: bytes) -> list[tuple[str, Proof]]:
    proofs = []
    chain = _sha256(start)
    for migration in folder.versioned:
        back = folder.rollbacks.get(migration.version) if migration.version else None
        own = _sha256(migration.data)
        proofs.append((_key(migration), Proof(own, _sha256(contents(back)) if back else "", chain)))
        chain = _sha256((chain + own).encode())
    proofs += [(_key(migration), Proof(_sha256(migration.data), "", chain)) for migration in folder.repeatable]
    return proofs


def _sha256(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")).hexdigest()


def _load(path: Path) -> dict[str, Proof]:
    """The file; what is no proof in it counts as none, so that a torn or merged file costs only another proof."""
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    proofs = {}
    for key, value in found.items() if isinstance(found, dict) else ():
        try:
            proofs[key] = Proof(**value)
        except TypeError:
            continue
    return proofs
