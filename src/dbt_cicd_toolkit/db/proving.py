"""Apply migrations in a scratch database, take each back and apply it again, and compare the catalogs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import psycopg2
from psycopg2 import errorcodes

from dbt_cicd_toolkit.db import apply, snapshots
from dbt_cicd_toolkit.db.files import Migration
from dbt_cicd_toolkit.db.history import History
from dbt_cicd_toolkit.db.losses import Losses
from dbt_cicd_toolkit.db.project import Silent
from dbt_cicd_toolkit.db.run import Run
from dbt_cicd_toolkit.errors import InvalidInput, Refused
from dbt_cicd_toolkit.postgres import catalog, runner
from dbt_cicd_toolkit.postgres.script import Script, decode, split
from dbt_cicd_toolkit.postgres.seed_rows import Seeded, seed_rows
from dbt_cicd_toolkit.postgres.session import connect
from dbt_cicd_toolkit.postgres.statements import reason_to_run_singly

if TYPE_CHECKING:
    from dbt_cicd_toolkit.db.project import Project
    from dbt_cicd_toolkit.db.proofs import Proofs
    from dbt_cicd_toolkit.db.run import Watcher
    from dbt_cicd_toolkit.postgres.scratch import Scratch


@dataclass
class Result:
    """What became of one migration.

    Attributes:
        status: 'proven'; 'kept' (proven before, and nothing has changed since); 'missing' (no rollback file);
            'differs' (the catalog is not what it was); 'failed'; 'not reached'.
        message: why, for people. diff: a unified diff of the definitions.
        rows_lost: rows that the rollback loses, by table, when each table holds one.
        unfilled: tables that could not be given a row before it, with the reason.
        notes: what was not tried.
    """

    script: str
    version: str | None
    status: str = "not reached"
    message: str = ""
    diff: str = ""
    rows_lost: dict[str, int] = field(default_factory=dict)
    unfilled: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class File:
    """A migration with its rollback, as statements; ``proven``: nothing is left to be proven of it."""

    def __init__(self, project: Project, migration: Migration, result: Result, again: bool, proofs: Proofs) -> None:
        self.migration = migration
        self.result = result
        self.up = apply.load(migration)
        path = project.folder.rollbacks.get(migration.version) if migration.version else None
        self.back = _load(Path(path)) if path else None
        self.key = f"rollback/{Path(path).name}" if path else ""
        self.proven = not again and (bool(self.back) or not migration.version) and bool(proofs.find(migration))

    @property
    def scripts(self) -> list[Script]:
        """What is run of it."""
        return [self.up, *([self.back] if self.back else [])]


def _load(path: Path) -> Script:
    script = split(decode(path.read_bytes(), str(path)), str(path))
    runner.check(script)
    return script


class _Lost(Exception):
    """The database is no longer what the next migrations stand on; ``again``: a new one can be."""

    def __init__(self, again: bool) -> None:
        super().__init__()
        self.again = again


def prove(
    project: Project, made: Scratch, watcher: Watcher, start: Script | None, files: Sequence[File], done: int
) -> int:
    """Prove what is not proven, in an empty scratch database; the results are in the files.

    Args:
        start: is run first, without proof.
        done: so many files are applied only.
    Returns:
        how many files are settled. Where they are not all, this database is spoilt, and it takes another one to go on.
    Raises:
        Refused: ``start`` does not load.
    """
    with (
        connect(made.settings, "db verify", role=None, lock_timeout=project.config.lock_timeout) as session,
        session.lock(),
    ):
        if start:
            snapshots.load(session.connection, start, may_make_roles=made.embedded)
        history = History(session, project.config.history_schema, project.config.history_table, lambda: None)
        history.create()
        prover = _Prover(Run(session, history, project.folder, None, Silent(watcher.tell)))
        for number, file in enumerate(files, 1):
            try:
                if number <= done:
                    prover.apply(file)
                    continue
                watcher.begin(file.migration.script, number, len(files))
                prover.one(file)
            except _Lost as lost:
                return number if lost.again else len(files)
            watcher.end()
        prover.last_rollback_with_repeatables(files)
    return len(files)


class _Prover:
    def __init__(self, run: Run) -> None:
        self.run = run
        self.selection = run.drift.selection
        self.seeds: set[str] = set()  # tables that hold a row of ours
        self.unfilled: dict[str, str] = {}
        self.now: dict[str, str] | None = None  # the catalog, while nothing but rows has changed since it was read

    def one(self, file: File) -> None:
        """Apply a migration and, unless that is proven, its rollback and itself again. Raises _Lost."""
        if file.proven:
            self.apply(file)
        elif file.migration.version:
            self._prove(file)
        else:
            self._prove_repeatable(file)

    def _prove(self, file: File) -> None:
        result, name = file.result, file.result.version
        self._seed(result)
        before = self.now or self._describe()
        on_rows = self.apply(file)
        if file.back is None:
            result.status, result.message = "missing", "it has no rollback file"
            return
        after = self._describe()
        self._seed(result)
        if not self._take_back(file, file.back):
            return
        result.diff = catalog.diff_text(before, self._describe(), f"before {name}", f"after the rollback of {name}")
        if result.diff:
            result.status, result.message = "differs", "its rollback leaves another database than there was before it"
        self._apply_again(file, on_rows)
        self.now = self._describe()
        text = catalog.diff_text(after, self.now, f"with {name}", f"with {name}, the second time")
        if text and not result.diff:
            result.diff = text
            result.status, result.message = "differs", "applied after its rollback it makes another database"
        if result.status == "not reached":
            result.status = "proven"

    def apply(self, file: File) -> bool:
        """Apply a migration; where our rows may be what it fails on, without them. Returns whether it met them.

        Raises _Lost when it does not apply.
        """
        result = file.result
        self.now = None
        try:
            self._run(file.up, file.migration.script)
            return True
        except (Refused, InvalidInput) as error:
            code = _sqlstate(error)
            told = str(error)
            if not self.seeds or code is None or code[:2] not in ("22", "23"):
                self._lose(result, f"it does not apply: {told}", again=False)
        self._empty()
        try:
            self._run(file.up, file.migration.script)
        except (Refused, InvalidInput) as error:
            self._lose(result, f"it does not apply: {error}", again=False)
        if code == errorcodes.NOT_NULL_VIOLATION:
            result.status, result.message = "failed", f"it does not apply where tables hold rows: {told}"
        else:
            result.notes.append(f"applied to empty tables only, because the row that was made up is in the way: {told}")
        return False

    def _take_back(self, file: File, script: Script) -> bool:
        """Run the rollback and count what it loses; False when it fails, and the migration is still applied."""
        singly = reason_to_run_singly(script, self.run.session.connection.server_version) is not None
        losses = Losses(self.run.session, script, singly=singly, allowed=True)

        def finish() -> str:
            losses.finish()
            return "select 1"

        try:
            apply.execute_script(self.run, script, file.key, finish, each=losses.run, begin=losses.begin)
        except (Refused, InvalidInput) as error:
            if singly:
                self._lose(file.result, f"its rollback fails: {error}", again=True)
            file.result.status, file.result.message = "failed", f"its rollback fails: {error}"
            return False
        # Each table holds one row; where row security hides it, it may be lost.
        file.result.rows_lost = {name: 1 if rows is None else rows for name, rows in sorted(losses.rows.items())}
        return True

    def _apply_again(self, file: File, on_rows: bool) -> None:
        if not on_rows:
            self._empty()
        try:
            self._run(file.up, file.migration.script)
        except (Refused, InvalidInput) as error:
            message = f"it does not apply a second time, after its rollback: {error}"
            if file.result.status == "differs":
                file.result.notes.append(message)
                raise _Lost(again=True) from error
            self._lose(file.result, message, again=True)

    def _prove_repeatable(self, file: File) -> None:
        """A repeatable migration must be one: run twice, it changes nothing the second time."""
        result = file.result
        on_rows = self.apply(file)
        after = self._describe()
        self._apply_again(file, on_rows)
        result.diff = catalog.diff_text(after, self._describe(), "once", "twice")
        result.status = "differs" if result.diff else "proven"
        result.message = "run twice it makes another database than run once" if result.diff else ""

    def last_rollback_with_repeatables(self, files: Sequence[File]) -> None:
        """The last migration is taken back with all repeatable ones applied, which may stand on it."""
        versioned = [file for file in files if file.migration.version]
        repeatable = [file for file in files if not file.migration.version]
        if not repeatable or not versioned or versioned[-1].result.status not in ("proven", "kept"):
            return
        last = versioned[-1]
        script = last.back
        if script is None:
            return
        status, lost = last.result.status, last.result.rows_lost
        with suppress(_Lost):
            self._take_back(last, script)
        if last.result.status != status:
            names = ", ".join(file.migration.script for file in repeatable)
            last.result.message = f"with {names} applied {last.result.message}"
        else:
            last.result.rows_lost = lost

    def _run(self, script: Script, key: str) -> None:
        apply.execute_script(self.run, script, key, lambda: "select 1")

    def _describe(self) -> dict[str, str]:
        return catalog.describe(self.run.session.connection, self.selection)

    def _seed(self, result: Result) -> None:
        self.run.session.reset()
        seeded: Seeded = seed_rows(self.run.session.connection, self.selection, complete=self.seeds)
        self.seeds |= set(seeded.filled)
        # A table that could not be filled is told once, at the migration that made it.
        result.unfilled |= {name: why for name, why in seeded.unfilled.items() if name not in self.unfilled}
        self.unfilled |= seeded.unfilled

    def _empty(self) -> None:
        """Take our rows out again; what migrations put into the same tables goes with them."""
        names = [
            name
            for name in sorted(self.seeds)
            if self.run.session.execute("select pg_catalog.to_regclass(%s) is not null", [name])[0][0]
        ]
        if names:
            self.run.session.execute(f"truncate {', '.join(names)} cascade")
        self.seeds.clear()

    def _lose(self, result: Result, message: str, *, again: bool) -> NoReturn:
        result.status, result.message = "failed", message
        raise _Lost(again)


def _sqlstate(error: BaseException | None) -> str | None:
    while error is not None:
        if isinstance(error, psycopg2.Error):
            return error.pgcode
        error = error.__cause__
    return None
