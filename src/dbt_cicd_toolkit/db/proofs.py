"""The proofs of rollbacks, kept in version_control/rollback_proofs.json: of which files, behind which predecessors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dbt_cicd_toolkit.db.files import Folder, Migration
from dbt_cicd_toolkit.db.layout import Layout

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
        self._wanted = dict(_wanted(folder, start))
        self._kept = _load(self.path)

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


def _key(migration: Migration) -> str:
    return str(migration.version) if migration.version else migration.script


def _wanted(folder: Folder, start: bytes) -> list[tuple[str, Proof]]:
    proofs = []
    chain = _sha256(start)
    for migration in folder.versioned:
        back = folder.rollbacks.get(migration.version) if migration.version else None
        own = _sha256(migration.data)
        proofs.append((_key(migration), Proof(own, _sha256(back.read_bytes()) if back else "", chain)))
        chain = _sha256((chain + own).encode())
    proofs += [(_key(migration), Proof(_sha256(migration.data), "", chain)) for migration in folder.repeatable]
    return proofs


def _sha256(data: bytes) -> str:
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
