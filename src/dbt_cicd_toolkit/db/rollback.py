"""Take migrations back with their rollback files, the last one first, each in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from dbt_cicd_toolkit.db.apply import execute_script, log_failure, recording
from dbt_cicd_toolkit.db.files import Version, contents
from dbt_cicd_toolkit.db.history import Applied
from dbt_cicd_toolkit.db.losses import Losses, number_told, refuse_unseen
from dbt_cicd_toolkit.db.proofs import Proofs
from dbt_cicd_toolkit.db.run import Run
from dbt_cicd_toolkit.errors import Differs, InvalidInput, Refused
from dbt_cicd_toolkit.postgres import runner
from dbt_cicd_toolkit.postgres.script import Script, decode, split
from dbt_cicd_toolkit.postgres.session import ConnectionLost
from dbt_cicd_toolkit.postgres.statements import reason_to_run_singly


class Undo(NamedTuple):
    """A migration that is taken back, and the file that does it."""

    row: Applied
    version: Version
    file: str

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self.file)

    @property
    def key(self) -> str:
        """Its name in the journal."""
        return f"rollback/{self.name}"

    @property
    def name(self) -> str:
        """The file's name."""
        return self.file.rpartition("/")[2]


def plan(run: Run, *, steps: int | None = None, to: Version | None = None) -> list[Undo]:
    """What would be taken back, in that order: the last migration, the last ``steps``, or all applied behind ``to``.

    Raises:
        InvalidInput: ``to`` is not what the database has.
        Refused: a rollback file is missing, or it would go below the baseline.
        Differs: two files roll the same version back.
    """
    rows = [row for row in run.applied if row.version]
    if to is not None:
        positions = [position for position, row in enumerate(rows, 1) if row.version == to]
        if not positions and to != (0,):
            has = ", ".join(row.label for row in rows[-5:]) or "no migration"
            raise InvalidInput(f"--to {to}: the database does not have it. It has {has}; 0 takes all of them back.")
        chosen = rows[positions[-1] if positions else 0 :]
    else:
        chosen = rows[max(0, len(rows) - (steps or 1)) :]
        if steps and steps > len(rows):
            raise InvalidInput(f"--steps {steps}: the database has {len(rows)} migrations.")
    undo = []
    for row in reversed(chosen):
        if row.type != "SQL" or not row.version:
            raise Refused(f"{row.label} is the baseline: what was there before cannot be taken back. Nothing was done.")
        file = run.folder.rollbacks.get(row.version)
        if twice := run.folder.duplicate_rollbacks.get(row.version):
            raise Differs(f"{file} and {twice} both roll {row.version} back: delete one. Nothing was done.")
        if file is None:
            raise Refused(
                f"{row.script} has no rollback file. Nothing was done. Write "
                f"rollback/{Path(row.script).stem}_rollback.sql."
            )
        undo.append(Undo(row, row.version, file))
    return undo


def rollback(
    run: Run,
    *,
    steps: int | None = None,
    to: Version | None = None,
    allow_data_loss: bool = False,
    proofs: Callable[[], Proofs] | None = None,
) -> list[Undo]:
    """Take migrations back; return them. Those without one of the ``proofs`` are warned of.

    Raises:
        Differs: the database has drifted. Nothing was done.
        Refused: a statement failed, or rows would be lost. What was taken back before stays taken back.
        InvalidInput: as plan(), or a file that cannot be run. Nothing was done.
    """
    with run.session.lock(run.watcher.tell):
        run.open()
        undo = plan(run, steps=steps, to=to)
        scripts = [_load(one.file) for one in undo]
        for name in run.unfinished:
            if not undo or name != undo[0].key:
                raise Refused(
                    f"{name} was begun by an earlier run and not finished. Finish it first, or leave it as it is: "
                    f"`dbt-cicd db repair --abandon {name}`."
                )
        if not allow_data_loss:
            for one, script in zip(undo, scripts, strict=True):
                if _singly(run, one, script):
                    refuse_unseen(script)
        run.drift.refuse()
        if proofs and undo:
            _tell_unproven(run, undo, proofs())
        # They run again with the next migrate: what they made may be gone.
        repeatable = [row.rank for row in run.applied if not row.version]
        with recording(run, len(undo)) as record:
            for number, (one, script) in enumerate(zip(undo, scripts, strict=True), 1):
                run.watcher.begin(one.name, number, len(undo))
                try:
                    _undo(run, one, script, allow_data_loss, repeatable, partial(record, number))
                except (Refused, InvalidInput) as error:
                    log_failure(run, "rollback", str(one.version), one.key, error)
                    raise
                run.watcher.end()
        return undo


def _tell_unproven(run: Run, undo: Sequence[Undo], known: Proofs) -> None:
    migrations = {migration.version: migration for migration in run.folder.versioned}
    for one in undo:
        migration = migrations.get(one.version)
        if not (migration and known.find(migration)):
            run.watcher.tell(f"{one.file}: this rollback was never proven to work (dbt-cicd db verify)")


def _load(file: str) -> Script:
    script = split(decode(contents(file), file), file)
    runner.check(script)
    return script


def _singly(run: Run, one: Undo, script: Script) -> bool:
    version = run.session.connection.server_version
    return one.key in run.unfinished or reason_to_run_singly(script, version) is not None


def _undo(
    run: Run,
    one: Undo,
    script: Script,
    allow_data_loss: bool,
    repeatable: Sequence[int],
    complete: Callable[[str], str],
) -> None:
    losses = Losses(run.session, script, singly=_singly(run, one, script), allowed=allow_data_loss)

    def finish() -> str:
        return complete(_remove(run, one, losses.finish(), repeatable))

    try:
        execute_script(run, script, one.key, finish, each=losses.run, begin=losses.begin)
    except ConnectionLost as error:
        run.session.reconnect(run.watcher.tell)
        if run.history.has(one.row.rank, one.row.script):
            raise Refused(f"{script.name}: {error}. The history was looked up: it was not taken back.") from error
        run.watcher.tell(f"the history was looked up: {one.row.script} was taken back")


def _remove(run: Run, one: Undo, lost: Mapping[str, int | None], repeatable: Sequence[int]) -> str:
    """SQL: take the row out of the history, with those of repeatable ones, and write it into the log."""
    row = one.row
    detail = {
        "rank": row.rank,
        "description": row.description,
        "checksum": row.checksum,
        "installed_by": row.installed_by,
        "installed_on": row.installed_on,
        "rows_lost": {name: number_told(number) for name, number in lost.items()},
    }
    log = run.history.log("rollback", version=str(one.version), script=row.script, detail=detail)
    return f"{run.history.remove([row.rank, *repeatable])}; {log}"
