"""Prove rollbacks: in a scratch database, with a row in every table, apply each migration, take it back, and apply it
again. The catalog must be what it was, to the last grant and comment."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import psycopg2

from dbt_cicd_toolkit.db import snapshots
from dbt_cicd_toolkit.db.plan import plan
from dbt_cicd_toolkit.db.proofs import Proof, Proofs, structure_of_baseline
from dbt_cicd_toolkit.db.proving import File, Result, prove
from dbt_cicd_toolkit.errors import Refused
from dbt_cicd_toolkit.postgres import embedded
from dbt_cicd_toolkit.postgres.scratch import Scratch, missing_extensions, scratch
from dbt_cicd_toolkit.postgres.script import Script
from dbt_cicd_toolkit.postgres.statements import action, cluster_wide

if TYPE_CHECKING:
    from dbt_cicd_toolkit.db.project import Project
    from dbt_cicd_toolkit.db.run import Run, Watcher


@dataclass(frozen=True)
class Verification:
    """All of them; ``source`` says where it was tried, '' when everything was proven before."""

    results: Sequence[Result]
    source: str

    @property
    def ok(self) -> bool:
        """Is every rollback proven?"""
        return all(result.status in ("proven", "kept") for result in self.results)

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {"ok": self.ok, "source": self.source, "results": [asdict(result) for result in self.results]}


def verify(
    project: Project,
    watcher: Watcher,
    *,
    run: Run | None = None,
    again: bool = False,
    scratch_url: str | None = None,
) -> Verification:
    """Prove the rollback of every migration that is not proven, and write the proofs.

    A rollback that fails or leaves something behind is a result; it does not keep the others from being proven, unless
    the next migrations have nothing to stand on.

    Args:
        run: of the real database, of which only the server's version and the baseline are read; without one the newest
            embedded server is used.
        again: also what is proven.
        scratch_url: the server to try it on, else the config file's.
    Raises:
        Differs: two files have the same version.
        InvalidInput: a file cannot be run.
        Refused: no scratch database can be had, or it lacks an extension; the structure of the baseline is missing.
    """
    plan(project.folder, []).refuse_problems()
    start = structure_of_baseline(project, run)
    known = Proofs(project.layout, project.folder, start.text.encode() if start else b"")
    chosen = [*project.folder.versioned, *project.folder.repeatable]
    results = [Result(one.script, str(one.version) if one.version else None) for one in chosen]
    files = [File(project, one, result, again, known) for one, result in zip(chosen, results, strict=True)]
    last = max((number for number, file in enumerate(files, 1) if not file.proven), default=0)
    for file in files:
        file.result.status = "kept" if file.proven else "not reached"
    source = ""
    done = 0
    try:
        while done < last:
            with _scratch(project, files[:last], run, scratch_url) as made:
                source = made.source
                watcher.tell(f"verifying in {source}")
                done = prove(project, made, watcher, start, files[:last], done)
    finally:
        if last:
            _write(known, files)
    return Verification(results, source)


def _write(proofs: Proofs, files: Sequence[File]) -> None:
    for file in files:
        if file.result.status == "proven":
            wanted = proofs.wanted(file.migration)
            rows, unfilled = file.result.rows_lost, file.result.unfilled
            proofs.keep(file.migration, Proof(wanted.migration, wanted.rollback, wanted.predecessors, rows, unfilled))
        elif file.result.status != "kept" and not file.proven:
            proofs.keep(file.migration, None)
    snapshots.replace(proofs.path, proofs.text().encode())


@contextmanager
def _scratch(project: Project, files: Sequence[File], run: Run | None, scratch_url: str | None) -> Generator[Scratch]:
    scripts = [script for file in files for script in file.scripts]
    actions = [action(statement.text) for script in scripts for statement in script.statements]
    roles = {name.name for what in actions if what.verb == "CREATE ROLE" for name in what.names}
    with scratch(
        project.settings,
        url=scratch_url or project.config.scratch_url,
        local=project.root / ".local",
        cluster_wide=any(map(cluster_wide, actions)),
        major=run.session.major if run else max(embedded.majors(), default=0),
        without_roles=roles,
    ) as made:
        _refuse_missing_extensions(made, scripts)
        yield made


def _refuse_missing_extensions(made: Scratch, scripts: Sequence[Script]) -> None:
    wanted = snapshots.extensions(scripts)
    if not wanted:
        return
    arguments: dict[str, Any] = dict(made.settings.arguments())
    connection = psycopg2.connect(**arguments)
    try:
        missing = missing_extensions(connection, wanted)
    finally:
        connection.close()
    if missing:
        raise Refused(
            f"the migrations need extensions that {made.source} lacks: {', '.join(missing)}. Install them there, or "
            "name a server that has them with --scratch-url."
        )
