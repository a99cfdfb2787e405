"""Run migrations, each in one transaction with its row of the history, and look up what became of a lost COMMIT."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial

from dbt_cicd_toolkit.db.files import Migration
from dbt_cicd_toolkit.db.history import History
from dbt_cicd_toolkit.db.run import Run
from dbt_cicd_toolkit.errors import Refused
from dbt_cicd_toolkit.postgres import runner
from dbt_cicd_toolkit.postgres.runner import Each
from dbt_cicd_toolkit.postgres.script import Script, decode, split
from dbt_cicd_toolkit.postgres.session import ConnectionLost


def load(migration: Migration) -> Script:
    """A migration as statements. Raises InvalidInput with file:line:column."""
    script = split(decode(migration.data, migration.file), migration.file)
    runner.check(script)
    return script


def apply(run: Run, pending: Sequence[Migration], scripts: Mapping[str, Script]) -> list[Migration]:
    """Apply these, in this order, under the lock; record the catalog with the last of them."""
    rank = run.history.next_rank()
    with recording(run, len(pending)) as record:
        for number, migration in enumerate(pending, 1):
            run.watcher.begin(migration.script, number, len(pending))
            _apply_one(run, migration, scripts[migration.script], rank, partial(record, number))
            rank += 1
            run.watcher.end()
    return list(pending)


@contextmanager
def recording(run: Run, scripts: int) -> Generator[Callable[[int, str], str]]:
    """Record the catalog with the last of so many scripts, in its own transaction.

    Yields what completes the SQL that goes with the COMMIT of script ``number`` (from 1). When the run ends early, what
    it did is no drift and is recorded as far as it went; where the server is gone, the next run sees that the record is
    older than the history.
    """

    def complete(number: int, sql: str) -> str:
        if number < scripts:
            return sql
        run.session.be_ourselves()
        run.session.execute(sql)
        return run.drift.record()

    try:
        yield complete
    except BaseException:
        with suppress(Refused):
            before = run.history.recorded_catalog()
            if before is None or before[0] != run.history.state():
                run.session.begin()
                run.session.be_ourselves()
                run.session.commit(run.drift.record())
        raise


def _apply_one(run: Run, migration: Migration, script: Script, rank: int, complete: Callable[[str], str]) -> None:
    started = time.perf_counter()

    def finish() -> str:
        milliseconds = round((time.perf_counter() - started) * 1000)
        return complete(run.history.insert(rank, migration, milliseconds))

    try:
        execute_script(run, script, migration.script, finish)
    except ConnectionLost as error:
        run.session.reconnect(run.watcher.tell)
        if not run.history.has(rank, migration.script):
            raise Refused(
                f"{script.name}: {error}. The history was looked up: it was not applied"
                f"{unfinished_hint(run.history, migration.script)}. Run `dbt-cicd db migrate` again."
            ) from error
        run.watcher.tell(f"the history was looked up: {migration.script} was applied")
    except Refused as error:
        log_failure(run, "migrate", str(migration.version) if migration.version else None, migration.script, error)
        raise


def execute_script(
    run: Run,
    script: Script,
    key: str,
    finish: Callable[[], str],
    *,
    each: Each | None = None,
    begin: Callable[[], object] | None = None,
) -> None:
    """Run a script, known to the journal as ``key``, and pass on what the server noticed."""
    try:
        journal = run.history.journal(key)
        begun = key in run.unfinished
        runner.run(run.session, script, journal, finish, run.watcher.tell, each=each, begin=begin, begun=begun)
    finally:
        notices = run.session.connection.notices
        for notice in notices:
            run.watcher.tell(notice.strip())
        notices.clear()


def log_failure(run: Run, during: str, version: str | None, script: str, error: Exception) -> None:
    """Best effort: the failure itself is what counts, and the server may be unable to write."""
    with suppress(Refused):
        # Its first line: what follows may quote rows.
        detail = {"during": during, "error": str(error).splitlines()[0]}
        run.session.execute(run.history.log("failed", version=version, script=script, detail=detail))


def unfinished_hint(history: History, script: str) -> str:
    """What to add about a script that runs statement by statement."""
    return " as a whole; it goes on behind the last statement that was" if history.journal(script).steps() else ""
