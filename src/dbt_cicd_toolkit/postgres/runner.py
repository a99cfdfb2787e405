"""Run a SQL script: all of it in one transaction, or, where a statement cannot be in one, statement by statement.

Statement by statement, each transactional statement commits together with its entry in the journal, so whether it was
done is never in doubt. Each other one is entered as intended before and as done after; when a run died between the two,
outcome.py reads from the catalog what became of it, and what it cannot tell is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager

import psycopg2

from dbt_cicd_toolkit.errors import Differs, InvalidInput, Refused
from dbt_cicd_toolkit.postgres import outcome
from dbt_cicd_toolkit.postgres.journal import Journal, Step
from dbt_cicd_toolkit.postgres.script import Script, Statement
from dbt_cicd_toolkit.postgres.session import RETRIED, ServerError, Session, Tell, error_text
from dbt_cicd_toolkit.postgres.statements import (
    Action,
    action,
    asks_no_transaction,
    forbidden,
    reason_to_run_singly,
    transactional,
)


def check(script: Script) -> None:
    """Raise InvalidInput when the script holds a statement that may not be in one: COMMIT, DISCARD ALL …"""
    for statement in script.statements:
        if statement.words and statement.words[0] in _SUSPECT and (reason := forbidden(action(statement.text))):
            raise InvalidInput(f"{script.name}:{statement.line}:{statement.column}: {reason}")
        if "CONCURRENTLY" in statement.words and statement.words[0] == "CREATE" and not action(statement.text).names:
            raise InvalidInput(
                f"{script.name}:{statement.line}:{statement.column}: give the index a name: after a run that died, the "
                "name is what tells whether it was built."
            )


_SUSPECT = {"BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "PREPARE", "DISCARD"}


def execute(session: Session, statement: Statement) -> int:
    """Run one statement with its COPY data; return the number of rows it touched, -1 when that has no meaning."""
    try:
        cursor = session.cursor
        if statement.data is None:
            cursor.execute(statement.text)
        else:
            import io

            cursor.copy_expert(statement.text, io.StringIO(statement.data))
    except psycopg2.Error as error:
        session.raise_if_lost(error)
        raise
    connection = session.connection
    for name, value in _AS_SPLIT.items():
        if connection.get_parameter_status(name) != value:
            raise InvalidInput(f"{name} must stay '{value}': files are UTF-8, and are split by the standard's rules.")
    rows: int = cursor.rowcount
    return rows


_AS_SPLIT = {"client_encoding": "UTF8", "standard_conforming_strings": "on"}
Each = Callable[[Statement], object]


def run(
    session: Session,
    script: Script,
    journal: Journal,
    finish: Callable[[], str],
    tell: Tell,
    *,
    each: Each | None = None,
    begin: Callable[[], object] | None = None,
    begun: bool = False,
) -> None:
    """Run a script and commit it together with what ``finish`` returns.

    Args:
        session: holds the lock.
        journal: used when the script cannot run in one transaction.
        finish: called last, inside the last transaction; its SQL is sent together with the COMMIT.
        tell: hears why something takes longer.
        each: runs a statement inside the transaction instead of execute().
        begin: begins a transaction that all of the script runs in, instead of session.begin().
        begun: an earlier run began it and did not finish, so that the journal says where to go on.
    Raises:
        InvalidInput: a statement that may not be in a script.
        Refused: a statement failed; the message has file:line:column and what the server said.
        Differs: a script was begun earlier, and what was run has been edited since.
        ConnectionLost: nobody knows yet whether the last transaction was committed.
    """
    check(script)
    runner = _Runner(session, script, tell, each or (lambda statement: execute(session, statement)))
    try:
        if reason_to_run_singly(script, session.connection.server_version) is None and not begun:
            runner.in_one_transaction(begin or session.begin, finish)
        else:
            runner.singly(journal, finish)
    except (psycopg2.Error, ServerError) as error:
        session.rollback()
        said = error.error if isinstance(error, ServerError) else error
        raise failure(script, runner.current, said, runner.next_step(said)) from error
    except BaseException:
        session.rollback()
        raise
    finally:
        session.take_back()


def failure(script: Script, statement: Statement | None, error: psycopg2.Error, next_step: str = "") -> Refused:
    """What the server said, behind the place in the file, and what to do next."""
    place = f"{script.name}: at COMMIT"
    if statement:
        offset = statement.offset
        if error.diag.statement_position and not error.diag.internal_query:
            offset += int(error.diag.statement_position) - 1
        place = ":".join(map(str, (script.name, *script.position(offset))))
    return Refused(f"{place}: {error_text(error)}{next_step}")


class _Runner:
    """One run of one script. ``current`` is the statement that is being run, None at COMMIT."""

    def __init__(self, session: Session, script: Script, tell: Tell, each: Each) -> None:
        self.session = session
        self.script = script
        self.tell = tell
        self.each = each
        self.current: Statement | None = None
        self.journal: Journal | None = None

    def next_step(self, error: psycopg2.Error) -> str:
        """What to know beyond what the server said."""
        text = ""
        if error.pgcode in RETRIED:
            text = "\n  Others were in the way for as long as --wait allows: let them end, or wait longer."
        if self.journal is not None and not self.session.connection.closed:
            done = sum(step.state == "done" for step in self.journal.steps().values())
            text += (
                f"\n  It runs statement by statement: {done} of {len(self.script.statements)} are done and stay done. "
                "Mend the rest of the file, or the data, and run the same command again: it goes on there."
            )
        return text

    def in_one_transaction(self, begin: Callable[[], object], finish: Callable[[], str]) -> None:
        def attempt() -> None:
            self.current = next(iter(self.script.statements), None)  # begin() may look at what it needs
            begin()
            for statement in self.script.statements:
                self.current = statement
                self.each(statement)
            self.current = None
            self.session.commit(finish())

        self.session.retrying(attempt, self.tell)

    def singly(self, journal: Journal, finish: Callable[[], str]) -> None:
        self.journal = journal
        steps = dict(journal.steps())
        free = asks_no_transaction(self.script)
        self._refuse_edited(steps)
        self.session.hand_over()
        for number, statement in enumerate(self.script.statements, 1):
            self.current = statement
            what = action(statement.text)
            if _is_setting(statement):
                execute(self.session, statement)  # again on every run: it is for the statements behind it
                continue
            if number in steps and steps[number].state == "done":
                continue
            step = Step("done", _md5(statement))
            if transactional(what, no_transaction=free):
                self._with_entry(statement, journal.note(number, step))
            else:
                self._outside(number, statement, what, journal, steps.get(number))
        self.current = None
        self.session.begin()
        last = journal.note(len(self.script.statements), Step("finished", ""))
        self.session.commit(f"{finish()}; {last}")

    def _refuse_edited(self, steps: Mapping[int, Step]) -> None:
        for number, step in steps.items():
            if step.state != "failed" and (
                number > len(self.script.statements) or _md5(self.script.statements[number - 1]) != step.md5
            ):
                raise Differs(
                    f"{self.script.name}: its statement {number} was run earlier and has been edited since. Put it "
                    "back as it was; only what was not run yet may change."
                )

    def _with_entry(self, statement: Statement, entry: str) -> None:
        def attempt() -> None:
            self.session.begin(reset=False)
            self.each(statement)
            self.session.commit(entry)

        self.session.retrying(attempt, self.tell)

    def _outside(self, number: int, statement: Statement, what: Action, journal: Journal, step: Step | None) -> None:
        name = self.script.name
        now = outcome.observe(self.session, what)
        if step and step.state == "intent":
            verdict = outcome.decide(what, step.before, now)
            if verdict is None:
                raise Refused(
                    f"{name}:{statement.line}:{statement.column}: an earlier run died while it ran this {what.verb}, "
                    "and the catalog does not tell what became of it. Look at the database, then say "
                    f"`dbt-cicd db repair --statement {journal.name}:{number}=done` or `=again`."
                )
            self.tell(f"{name}:{statement.line}: begun by a run that died; {verdict.told}")
            if verdict.done:
                self.session.execute(journal.note(number, Step("done", step.md5, step.before)))
                return
        elif now == outcome.INVALID and not step and what.verb.startswith("CREATE"):
            index = outcome.str_of(what.names[0])
            raise Refused(
                f"{name}:{statement.line}:{statement.column}: {index} exists and is invalid, and it was not this file "
                f"that left it: drop it ({what.verb.replace('CREATE', 'DROP')} {index}) and run again."
            )
        before = step.before if step else now
        self.session.execute(journal.note(number, Step("intent", _md5(statement), before)))
        try:
            if step:
                self._clean(statement, what)
            finish = outcome.finish(self.session, what) if step else None
            self._run_outside(statement._replace(text=finish) if finish else statement, what)
        except (psycopg2.Error, ServerError):
            if not self.session.connection.closed:
                self.session.execute(journal.note(number, Step("failed", _md5(statement), before)))
            raise
        self.session.execute(journal.note(number, Step("done", _md5(statement), before)))

    def _clean(self, statement: Statement, what: Action) -> None:
        for sql in outcome.leftovers(self.session, what):
            self.tell(f"{self.script.name}:{statement.line}: {sql}")
            with self._patiently():
                self.session.send(sql)

    @contextmanager
    def _patiently(self) -> Generator[None]:
        """CONCURRENTLY waits for transactions as long as they last and blocks nobody; a timeout leaves it half done."""
        timeout = self.session.send("show lock_timeout")[0][0]
        self.session.send("set lock_timeout = 0")
        yield
        self.session.send("select pg_catalog.set_config('lock_timeout', %s, false)", [timeout])

    def _run_outside(self, statement: Statement, what: Action) -> None:
        self.session.refuse_without_lock()
        if not what.concurrently:
            self.session.retrying(lambda: execute(self.session, statement), self.tell)
            return
        with self._patiently():
            execute(self.session, statement)
        if what.verb.startswith("CREATE") and outcome.observe(self.session, what) == outcome.INVALID:
            index = outcome.str_of(what.names[0])
            raise Refused(f"{self.script.name}:{statement.line}: {what.verb} left {index} invalid.")


def _is_setting(statement: Statement) -> bool:
    words = statement.words
    return words[:1] in (("SET",), ("RESET",)) or (words[:1] == ("SELECT",) and "SET_CONFIG" in words[1:3])


def _md5(statement: Statement) -> str:
    import hashlib

    return hashlib.md5(statement.text.encode(), usedforsecurity=False).hexdigest()
