"""The rows that a rollback loses, counted inside its own transaction, under the locks that its statements take.

A transaction of nothing but DROP TABLE and what can hold no rows is counted table by table before each. Any other is
compared as a whole, with the tables, columns and deleted rows before and after it (losses_look.py), so that it does not
matter which statement, trigger or function did it. Lost are:

- the rows of a table that is gone, was emptied, or from which rows were deleted. Rows that were moved count as lost:
  copied to another table before theirs was dropped, or deleted and inserted again. None are those that an UPDATE (a
  statement of the file, not one in a block or a trigger) moves to another partition, nor what ROLLBACK TO SAVEPOINT (of
  the file, not the EXCEPTION of a block) brings back;
- the values that are not null of a column that is gone, or became null while ALTER TABLE wrote the table anew;
- the values of an attribute of a composite type, or of a column of a table, that is gone, in the columns that hold rows
  of it.

Temporary and foreign tables, materialized views, and tables made in the transaction do not count.

Not seen: values that an UPDATE overwrites; large objects; what a function does on another connection or to files; what
a function deletes that has SET track_counts in its definition (only a superuser can); outside a transaction, functions
in an index that is built, and event triggers. A table made by another session in a schema that is being dropped.

Where tables or columns are gone, the statements of the transaction are run a second time, after a count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from psycopg2 import errorcodes

from dbt_cicd_toolkit.db.losses_look import Look, Rows
from dbt_cicd_toolkit.errors import Refused
from dbt_cicd_toolkit.postgres import lexer, runner
from dbt_cicd_toolkit.postgres.outcome import str_of
from dbt_cicd_toolkit.postgres.script import Script, Statement
from dbt_cicd_toolkit.postgres.session import ServerError, Session
from dbt_cicd_toolkit.postgres.statements import Action, action, asks_no_transaction, transactional

# They take no rows and run nothing of the user's, unless an event trigger is there. DROP TABLE is counted by name.
_PLAIN = {
    *("GRANT", "LOCK", "RESET", "REVOKE", "SET"),
    *(f"COMMENT ON {kind}" for kind in ("COLUMN", "FUNCTION", "SCHEMA", "TABLE", "TYPE", "VIEW")),
    *(
        f"DROP {kind}"
        for kind in ("AGGREGATE", "DOMAIN", "FUNCTION", "INDEX", "MATERIALIZED VIEW", "POLICY", "ROUTINE")
    ),
    *(f"DROP {kind}" for kind in ("PROCEDURE", "RULE", "SCHEMA", "SEQUENCE", "STATISTICS", "TABLE", "TRIGGER", "TYPE")),
    "DROP VIEW",
}
# Event triggers may do anything; the rows of foreign partitions would be counted with those of the table above them.
_NEEDS_LOOK = "exists (select from pg_catalog.pg_event_trigger) or exists (select from pg_catalog.pg_foreign_table)"
# The rows of a table as a file calls it, by its search_path; and its name, pg_temp… for a temporary one.
_COUNT = """(select pg_catalog.count(*) from {name}), (pg_catalog.pg_identify_object(
    'pg_catalog.pg_class'::pg_catalog.regclass, {literal}::pg_catalog.regclass, 0)).identity"""
# Nobody sees what they take away where they run outside a transaction, or only when it commits (WITH HOLD).
_UNSEEN = frozenset(("CALL", "DO", "DROP DATABASE"))
_CONSTANT = frozenset(("SELECT", "PG_CATALOG", "SET_CONFIG", "TRUE", "FALSE"))


class Losses:
    """Runs the statements of a rollback; ``rows`` says what they lose.

    Args:
        singly: each statement is a transaction of its own.
        allowed: rows may be lost; otherwise that raises Refused in the transaction that would lose them.
    """

    def __init__(self, session: Session, script: Script, *, singly: bool, allowed: bool) -> None:
        self.session = session
        self.script = script
        self.singly = singly
        self.allowed = allowed
        self._actions = {statement.offset: action(statement.text) for statement in script.statements}
        self._plain = all(map(_is_plain, self._actions.values()))
        self._look: Look | None = None
        self._lost: dict[int, Rows] = {}  # by the offset of the first statement of a transaction
        self._told: tuple[Any, ...] | None = None  # what begin() has asked for the first statement

    @property
    def rows(self) -> Rows:
        """Rows lost by table (``schema.table``), values by column (``schema.table.column``); None: nobody knows."""
        total: Counter[str] = Counter()
        for lost in self._lost.values():
            total.update({label: number for label, number in lost.items() if number})
        unknown = [label for lost in self._lost.values() for label, number in lost.items() if number is None]
        return {**total, **dict.fromkeys(unknown)}

    def begin(self) -> None:
        """Begin the one transaction; where nothing speaks against it, count for its first statement in that message."""
        self._told = None
        first = next(iter(self.script.statements), None)
        if not self._plain or first is None or self._actions[first.offset].if_exists:
            self.session.begin()
            return
        names = self._dropped(first)
        try:
            self._told = self.session.begin(first=_locked(names), asking=[self._asked(names, True)])
        except ServerError as error:
            if error.error.pgcode not in _UNCOUNTABLE:
                raise
            self.session.rollback()
            self.session.begin()

    def run(self, statement: Statement) -> None:
        """Run a statement inside a transaction. Raises what runner.execute() raises, and Refused."""
        if self.singly:
            self._lost[statement.offset] = {}  # a transaction may be tried again
            self._look = Look(self.session, [statement], closes=False)
            self._look.begin()
            self._look.run(statement)
            self._lost[statement.offset] = self._look.end()
            self._refuse(f"{self.script.name}:{statement.line}:{statement.column}", self._lost[statement.offset])
            return
        first = statement is self.script.statements[0]
        if first:
            self._lost = {0: {}}
            self._look = None
        if (first and not self._plain) or (not self._look and self._count(statement, first)):
            self._look = Look(self.session, self.script.statements, closes=True)
            self._look.begin()
        if self._look:
            self._look.run(statement)
        else:
            runner.execute(self.session, statement)

    def finish(self) -> Rows:
        """Behind the last statement, inside the same transaction: all that is lost. Raises Refused."""
        if self._look and not self.singly:
            self._lost[0] = self._look.end()
        rows = self.rows
        self._refuse(self.script.name, rows)
        return rows

    def _count(self, statement: Statement, first: bool) -> bool:
        """Count the rows of the tables that a DROP TABLE names, locked against those who would add more.

        Returns whether the transaction, of which this is the ``first`` statement, must be looked at instead.
        """
        names = self._dropped(statement)
        if first and self._told is not None:
            row = self._told  # begin() has counted
        else:
            if self._actions[statement.offset].if_exists:
                exists = "select pg_catalog.to_regclass(%s) is not null"
                names = [name for name in names if self.session.execute(exists, [name])[0][0]]
            if not names and not first:
                return False
            try:
                row = self.session.execute(f"{'; '.join([*_locked(names), 'select '])}{self._asked(names, first)}")[0]
            except ServerError as error:
                if error.error.pgcode not in _UNCOUNTABLE:
                    raise
                self.session.execute("rollback to savepoint dbt_cicd_count; release savepoint dbt_cicd_count")
                if not first:
                    self._lost[0] |= dict.fromkeys(names)
                return first
        if row[0]:
            if names:
                self.session.execute("rollback to savepoint dbt_cicd_count; release savepoint dbt_cicd_count")
            return True
        for number, label in zip(row[1::2], row[2::2], strict=True):
            if number and not label.startswith("pg_temp"):
                self._lost[0][label] = number
        return False

    def _dropped(self, statement: Statement) -> list[str]:
        what = self._actions[statement.offset]
        return [str_of(name) for name in what.names] if what.verb == "DROP TABLE" else []

    def _asked(self, names: Sequence[str], first: bool) -> str:
        parts = [_COUNT.format(name=name, literal=self.session.literal("%s", [name])) for name in names]
        return ", ".join([_NEEDS_LOOK if first else "false", *parts])

    def _refuse(self, place: str, rows: Rows) -> None:
        if rows and not self.allowed:
            raise Refused(
                f"{place}: it loses rows: {', '.join(sentence(rows))}. Nothing of it was done. Save them first; or "
                "lose them with --allow-data-loss."
            )


def _locked(names: Sequence[str]) -> list[str]:
    """Before these are counted. The setting holds for the rest of a transaction in which nothing else reads a table."""
    if not names:
        return []
    tables = ", ".join(names)
    return [
        "savepoint dbt_cicd_count",
        "set local row_security = off",
        f"lock table {tables} in access exclusive mode",
    ]


# We may not see the rows; or DROP TABLE will say that there is no such table.
_UNCOUNTABLE = {
    errorcodes.INSUFFICIENT_PRIVILEGE,
    errorcodes.INVALID_SCHEMA_NAME,
    errorcodes.UNDEFINED_TABLE,
    errorcodes.WRONG_OBJECT_TYPE,
}


def sentence(rows: Mapping[str, int | None]) -> list[str]:
    """``3 of public.a``, sorted by name."""
    return [f"{number_told(number)} of {name}" for name, number in sorted(rows.items())]


def number_told(number: int | None) -> int | str:
    """A number of rows, as people and the log are told it."""
    return "an unknown number" if number is None else number


def refuse_unseen(script: Script) -> None:
    """Raise Refused for a statement of a script that runs singly, where what it takes away would not be counted."""
    free = asks_no_transaction(script)
    for statement in script.statements:
        what = action(statement.text)
        outside = what.verb in _UNSEEN and not transactional(what, no_transaction=free)
        if outside or what.verb == "DECLARE" or (_is_setting(statement) and not _is_constant(statement)):
            raise Refused(
                f"{script.name}:{statement.line}:{statement.column}: {what.verb} runs outside a transaction here, so "
                "the rows that it may take away cannot be counted. Nothing was done. Give it a file that is one "
                "transaction, where it can be in one; or lose them with --allow-data-loss."
            )


def _is_plain(what: Action) -> bool:
    return what.verb in _PLAIN and not what.cascade


def _is_setting(statement: Statement) -> bool:
    """The runner runs them on every run, outside of a transaction."""
    return "SET_CONFIG" in statement.words[1:3]


def _is_constant(statement: Statement) -> bool:
    """Does it nothing but hand constants to set_config()?"""
    for token in lexer.tokens(statement.text):
        if token.kind == "word":
            if token.value.upper() not in _CONSTANT:
                return False
        elif token.kind != "string" and token.value not in ("(", ")", ",", "."):
            return False
    return True
