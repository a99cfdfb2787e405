"""The database against what its own migrations make of an empty one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbt_cicd_toolkit.db import apply, snapshots
from dbt_cicd_toolkit.db.history import History
from dbt_cicd_toolkit.db.project import Project, Silent
from dbt_cicd_toolkit.db.proofs import structure_of_baseline
from dbt_cicd_toolkit.db.run import Run
from dbt_cicd_toolkit.errors import Differs
from dbt_cicd_toolkit.postgres import catalog
from dbt_cicd_toolkit.postgres.scratch import scratch
from dbt_cicd_toolkit.postgres.session import connect
from dbt_cicd_toolkit.postgres.statements import action, cluster_wide

if TYPE_CHECKING:
    from dbt_cicd_toolkit.db.files import Migration


def compare(project: Project, run: Run, scratch_url: str | None = None) -> snapshots.Comparison:
    """Run what the history names in a scratch database, in that order, and compare both catalogs.

    Raises:
        Differs: the file of a migration is gone or was edited.
        Refused: a migration fails there, or there is no scratch database to be had.
    """
    run.applied = run.history.read()
    todo = _files(run)
    scripts = {migration.script: apply.load(migration) for migration in todo}
    everywhere = any(cluster_wide(action(s.text)) for script in scripts.values() for s in script.statements)
    start = structure_of_baseline(project, run)
    with (
        scratch(
            project.settings,
            url=scratch_url or project.config.scratch_url,
            local=project.root / ".local",
            cluster_wide=everywhere,
            major=run.session.major,
        ) as made,
        connect(made.settings, "db rebuild", lock_timeout=project.config.lock_timeout) as session,
    ):
        run.watcher.tell(f"running {len(todo)} migrations in {made.source}")
        if start:
            snapshots.load(session.connection, start, may_make_roles=made.embedded)
        there = Run(
            session,
            History(session, run.history.schema, run.history.table, lambda: None),
            run.folder,
            run.schemas,
            Silent(run.watcher.tell),
        )
        with session.lock():
            there.history.create()
            apply.apply(there, todo, scripts)
        chosen = run.drift.selection
        wanted = catalog.describe(session.connection, chosen)
    found = catalog.describe(run.session.connection, chosen)
    a, b = "the migrations", "the database"
    return snapshots.Comparison(a, b, catalog.difference(wanted, found), catalog.diff_text(wanted, found, a, b))


def _files(run: Run) -> list[Migration]:
    known = {migration.script: migration for migration in (*run.folder.versioned, *run.folder.repeatable)}
    newest = {row.script: row for row in run.applied if row.type == "SQL"}
    wrong = [script for script, row in newest.items() if script not in known or known[script].checksum != row.checksum]
    if wrong:
        raise Differs(f"--rebuild needs the files that were applied; these are gone or edited: {', '.join(wrong)}.")
    return [known[script] for script in newest]
