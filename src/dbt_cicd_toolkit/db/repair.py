"""Mend what a person has decided on: each repair is asked for by name and written into the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dbt_cicd_toolkit.db.files import Version
from dbt_cicd_toolkit.db.plan import plan
from dbt_cicd_toolkit.db.run import Run
from dbt_cicd_toolkit.errors import InvalidInput, Refused
from dbt_cicd_toolkit.postgres.journal import Step

_AS = {"done": "done", "again": "failed"}


@dataclass(frozen=True)
class Repairs:
    """What is asked for.

    Attributes:
        edited: versions whose files are right as they are now.
        deleted: versions that the history is to forget, because their files are gone.
        drift: the catalog is right as it is now.
        statements: (script, number, 'done' | 'again') for statements of which nobody knows what became of them.
        abandon: scripts that were begun statement by statement and will not be finished.
    """

    edited: Sequence[Version] = ()
    deleted: Sequence[Version] = ()
    drift: bool = False
    statements: Sequence[tuple[str, int, str]] = ()
    abandon: Sequence[str] = ()

    def __bool__(self) -> bool:
        return bool(self.edited or self.deleted or self.drift or self.statements or self.abandon)


def parse_statement(text: str) -> tuple[str, int, str]:
    """Parse ``SCRIPT:NUMBER=done|again``. Raises InvalidInput."""
    place, _, word = text.rpartition("=")
    script, _, number = place.rpartition(":")
    if word not in _AS or not script or not number.isdigit():
        raise InvalidInput(f"--statement '{text}': write SCRIPT:NUMBER=done or SCRIPT:NUMBER=again.")
    return script, int(number), word


def repair(run: Run, asked: Repairs, *, dry_run: bool = False) -> list[str]:
    """Do what is asked for, all of it in one transaction, and return what was done, in words.

    Raises Refused when one of the repairs has nothing to mend. Then nothing was done.
    """
    with run.session.lock(run.watcher.tell):
        run.applied = run.history.read()
        if not run.history.exists():
            raise Refused("the database has no history: there is nothing to repair.")
        run.history.create()  # which makes nothing, and looks whose tables they are
        done: list[str] = []
        sql: list[str] = []
        _edited(run, asked.edited, done, sql)
        _deleted(run, asked.deleted, done, sql)
        _statements(run, asked.statements, done, sql)
        _abandon(run, asked.abandon, done, sql)
        if asked.drift:
            changes = run.drift.changes()
            if changes is not None and not changes:
                raise Refused("--drift: nothing has drifted. Nothing was done.")
            names = [f"{change.kind}: {change.identity}" for change in changes or []]
            done.append(f"accepted the catalog as it is ({len(names)} objects differed)")
            sql.append(run.history.log("repair", detail={"drift": names}))
        if not dry_run and sql:
            run.session.begin()
            run.session.be_ourselves()
            run.session.execute("; ".join(sql))
            accepts = asked.drift or asked.deleted or asked.abandon
            run.session.commit(run.drift.record() if accepts else "")
        return done


def _edited(run: Run, versions: Sequence[Version], done: list[str], sql: list[str]) -> None:
    rows = {row.version: row for row in run.applied if row.version}
    for version in versions:
        migration, row = run.folder.migration(version), rows.get(version)
        if not migration or not row or row.type != "SQL":
            raise Refused(f"--edited {version}: there is no file of it, or the database does not have it.")
        if row.checksum == migration.checksum:
            raise Refused(f"--edited {version}: its file is what was applied. Nothing was done.")
        done.append(f"accepted {migration.path} as it is")
        sql.append(
            run.session.literal(
                f"update {run.history.name} set checksum = %s, description = %s, script = %s where installed_rank = %s",
                [migration.checksum, migration.description[:200], migration.script, row.rank],
            )
        )
        detail = {"edited": {"from": row.checksum, "to": migration.checksum}}
        sql.append(run.history.log("repair", version=str(version), script=migration.script, detail=detail))


def _deleted(run: Run, versions: Sequence[Version], done: list[str], sql: list[str]) -> None:
    gone = {problem.label for problem in plan(run.folder, run.applied).problems if problem.kind == "deleted"}
    rank = run.history.next_rank()
    for version in versions:
        row = next((row for row in run.applied if row.version == version and row.label in gone), None)
        if row is None:
            raise Refused(f"--deleted {version}: its file is there, or the database does not have it.")
        done.append(f"the history forgets {row.script}")
        # A row of type DELETE is how Flyway's repair says it.
        sql.append(run.history.insert_marker(rank, version, row.description, "DELETE", row.script))
        sql.append(run.history.log("repair", version=str(version), script=row.script, detail={"deleted": row.rank}))
        rank += 1


def _statements(run: Run, asked: Sequence[tuple[str, int, str]], done: list[str], sql: list[str]) -> None:
    for script, number, word in asked:
        journal = run.history.journal(script)
        step = journal.steps().get(number)
        if step is None or step.state != "intent":
            known = ", ".join(run.history.unfinished()) or "none"
            raise Refused(
                f"--statement {script}:{number}: no such statement is undecided. Unfinished scripts: {known}."
            )
        done.append(f"statement {number} of {script}: {word}")
        sql.append(journal.note(number, Step(_AS[word], step.md5, step.before)))
        detail = {"statement": number, "as": word}
        sql.append(run.history.log("repair", script=script, detail=detail))


def _abandon(run: Run, scripts: Sequence[str], done: list[str], sql: list[str]) -> None:
    for script in scripts:
        if script not in run.history.unfinished():
            raise Refused(f"--abandon {script}: it was not begun, or it was finished.")
        steps = run.history.journal(script).steps()
        stay = sum(step.state == "done" for step in steps.values())
        done.append(f"{script} counts as not begun; {stay} of its statements stay done")
        sql.append(run.history.journal(script).note(0, Step("finished", "")))
        sql.append(
            run.history.log("repair", script=script, detail={"abandoned": {n: s.state for n, s in steps.items()}})
        )
