"""Where a database stands: its version, its structure, what is pending, failed, late or broken. Changes nothing."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from dbt_cicd_toolkit.db import files
from dbt_cicd_toolkit.db.files import NONE
from dbt_cicd_toolkit.db.history import LOG
from dbt_cicd_toolkit.db.plan import plan
from dbt_cicd_toolkit.db.run import Run
from dbt_cicd_toolkit.db.selected import LEDGER

# Without the tables of the history and of the models' part, and without their default schema when that holds no other.
_STRUCTURE = """select n.nspname, count(c.oid) from pg_catalog.pg_namespace n
left join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relkind in ('r', 'p') and not c.relispartition
    and not (n.nspname = %s and c.relname = any (%s)) and not (n.nspname = %s and starts_with(c.relname, 'dbt_cicd_'))
where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
group by 1 having n.nspname <> %s or count(c.oid) > 0 order by n.nspname collate "C" """
_INVALID = """select pg_catalog.format('%I.%I', n.nspname, c.relname) from pg_catalog.pg_index i
join pg_catalog.pg_class c on c.oid = i.indexrelid join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where not i.indisvalid and c.relkind = 'i' and n.nspname !~ '^pg_' order by 1"""


class Status(NamedTuple):
    """What `status` reports.

    Attributes:
        version: the highest applied; None when there is none.
        name: what the header of its file says, else its description.
        deployed: when, UTC.
        schemas: number of tables of each; partitions do not count.
        pending, late: labels of migrations. failed: of those that were tried last without success.
        problems: where folder and history disagree.
        invalid_indexes: half built, or left by a failed REINDEX.
        drift: objects that differ from what the last run recorded; None: not looked at, or no record.
    """

    database: str
    version: str | None
    name: str | None
    deployed: str | None
    schemas: dict[str, int]
    pending: list[str]
    failed: list[str]
    late: list[str]
    problems: list[str]
    unfinished: list[str]
    invalid_indexes: list[str]
    warnings: list[str]
    drift: list[str] | None = None

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return self._asdict()


def status(run: Run, *, drift: bool = False) -> Status:
    """Read the status; with ``drift`` compare the catalog with its record too."""
    history = run.history
    run.applied = history.read()
    todo = plan(run.folder, run.applied, out_of_order=True)
    strict = plan(run.folder, run.applied)
    # The highest, not the last: one that was applied out of order brings the database no further.
    last = max((row for row in run.applied if row.version), key=lambda row: row.version or NONE, default=None)
    migration = run.folder.migration(last.version) if last and last.version else None
    changes = run.drift.changes() if drift and history.exists() else None
    pending = [migration.label for migration in todo.pending]
    return Status(
        database=run.session.execute("select pg_catalog.current_database()")[0][0],
        version=str(last.version) if last else None,
        name=((migration and files.title(migration.data)) or last.description) if last else None,
        deployed=f"{last.installed_on:%Y-%m-%d %H:%M:%S}" if last else None,
        schemas=dict(run.session.execute(_STRUCTURE, [history.schema, [history.table, LOG], LEDGER, LEDGER])),
        pending=pending,
        failed=[script for script in history.failed() if script in {one.script for one in todo.pending}],
        late=[problem.label for problem in strict.problems if problem.kind == "late"],
        problems=[str(problem) for problem in strict.problems],
        unfinished=history.unfinished(),
        invalid_indexes=[row[0] for row in run.session.execute(_INVALID)],
        warnings=[f"{path}: {why}" for path, why in run.folder.warnings.items()],
        drift=None if changes is None else [f"{change.kind}: {change.identity}" for change in changes],
    )


def timeline(run: Run) -> list[dict[str, Any]]:
    """All that was done to the database, oldest first: {at (UTC), action, version, script, by, note}."""
    found: list[tuple[datetime, dict[str, Any]]] = []
    for row in run.history.rows():
        action = "migrate" if row.type == "SQL" else row.type.lower()
        if row.type != "DELETE":  # the log says more of it
            note = f"{row.execution_time} ms" if row.type == "SQL" else ""
            found.append(_event(row.installed_on, action, row.version, row.script, row.installed_by, note))
    for event in run.history.events():
        detail = event["detail"] or {}
        if event["action"] == "rollback":  # what it took back is no longer in the history
            on, by = datetime.fromisoformat(detail["installed_on"]), detail["installed_by"]
            found.append(_event(on, "migrate", event["version"], event["script"], by, "rolled back since"))
        if event["action"] != "baseline":  # it has its row in the history
            note = _note(event["action"], detail)
            at, action = event["at"], event["action"]
            found.append(_event(at, action, event["version"], event["script"], event["installed_by"], note))
    return [event for _, event in sorted(found, key=lambda item: item[0])]


def _event(
    at: datetime, action: str, version: object, script: str | None, by: str, note: str
) -> tuple[datetime, dict[str, Any]]:
    when = f"{at:%Y-%m-%d %H:%M:%S}"
    name = str(version) if version else None
    return at, {"at": when, "action": action, "version": name, "script": script, "by": by, "note": note}


def _note(action: str, detail: dict[str, Any]) -> str:
    if action == "failed":
        return f"{detail['during']}: {detail['error']}"
    if action == "rollback":
        lost = ", ".join(f"{count} of {name}" for name, count in sorted(detail["rows_lost"].items()))
        return f"lost rows: {lost}" if lost else ""
    if action == "import":
        return f"{detail['rows']} rows of {detail['from']}"
    for key, told in (
        ("edited", "the file was accepted as edited"),
        ("deleted", "forgotten, its file is gone"),
        ("abandoned", "counts as not begun"),
    ):
        if key in detail:
            return told
    if "drift" in detail:
        return f"accepted as it is: {', '.join(detail['drift']) or 'the catalog'}"
    return f"statement {detail['statement']}: {detail['as']}" if "statement" in detail else ""
