"""What a transaction took, found by comparing the tables before it and after it, whatever its statements are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dbt_cicd_toolkit.db import losses_count
from dbt_cicd_toolkit.db.losses_count import COLUMN, GONE, REWRITTEN, Missing, Snapshot, Target, Written
from dbt_cicd_toolkit.postgres import runner
from dbt_cicd_toolkit.postgres.outcome import str_of
from dbt_cicd_toolkit.postgres.reader import Reader
from dbt_cicd_toolkit.postgres.script import Statement
from dbt_cicd_toolkit.postgres.session import ServerError, Session
from dbt_cicd_toolkit.postgres.statements import action

Rows = dict[str, int | None]
_NONE = Written(0, 0)


class Look:
    """One transaction. begin(), run() its statements, end().

    Deleted rows are what the server counted. Where a table or a column is gone or was written anew, everything is taken
    back, its rows are counted under lock, and everything is run again.

    Args:
        statements: all of the transaction, in their order.
        closes: what they leave open is not needed any longer, so that nothing of it can run at COMMIT.
    """

    def __init__(self, session: Session, statements: Sequence[Statement], *, closes: bool) -> None:
        self.session = session
        self.statements = statements
        self.closes = closes
        self.blind = False
        self._reset()

    def _reset(self) -> None:
        self._forgiven: dict[int, Written] = {}  # counted by the server, but no loss
        self._marks: list[tuple[str, dict[int, Written]]] = []  # savepoints of the file, and what was written by then

    def begin(self) -> None:
        """At the beginning of the transaction."""
        self._before = losses_count.snapshot(self.session)
        self.session.execute("savepoint dbt_cicd_look")

    def run(self, statement: Statement) -> None:
        """Run the next statement. Raises what runner.execute() raises."""
        self._switch_counting_on()
        if statement.words[:1] == ("UPDATE",):
            self._update(statement)
            return
        runner.execute(self.session, statement)
        if statement.words[:1] in (("SAVEPOINT",), ("RELEASE",), ("ROLLBACK",)):
            self._mark(statement)

    def end(self) -> Rows:
        """Behind the last statement: what was lost, by table or column; None is a number that we may not know."""
        known: set[Missing] = set()
        counts: dict[Target, int | None] = {}
        after = self._settle()
        while not (wanted := losses_count.missing(self._before, after)) <= known:
            known |= wanted
            self.session.execute("rollback to savepoint dbt_cicd_look" + ("; deallocate all" if self.closes else ""))
            self.session.connection.notices.clear()  # they will be told again
            self._reset()
            self._before = losses_count.snapshot(self.session)
            counts = losses_count.count(self.session, losses_count.targets(self.session, known))
            for statement in self.statements:
                self.run(statement)
            after = self._settle()
        self.session.execute("release savepoint dbt_cicd_look")
        rows = self._deleted(after, wanted) | self._missing(after, wanted, counts)
        return rows | {"any table (track_counts is off)": None} if self.blind else rows

    def _settle(self) -> Snapshot:
        """Let everything happen that waits for COMMIT, and look."""
        self._switch_counting_on()
        self.session.execute(f"{'close all; ' if self.closes else ''}set constraints all immediate")
        return losses_count.snapshot(self.session)

    def _switch_counting_on(self) -> None:
        if self.blind or self.session.execute("select pg_catalog.current_setting('track_counts')")[0][0] == "on":
            return
        self.session.execute("savepoint dbt_cicd_count")
        try:
            self.session.execute("set local track_counts = on; release savepoint dbt_cicd_count")
        except ServerError:
            self.session.execute("rollback to savepoint dbt_cicd_count; release savepoint dbt_cicd_count")
            self.blind = True

    def _update(self, statement: Statement) -> None:
        """An UPDATE that moves rows to another partition deletes and inserts them."""
        table = action(statement.text).table
        before = self._partitions(str_of(table)) if table else {}
        runner.execute(self.session, statement)
        if not before or not table:
            return
        after = self._partitions(str_of(table))
        moved = {oid: _minus(written, before.get(oid, _NONE)) for oid, written in after.items()}
        if sum(one.deleted for one in moved.values()) == sum(one.inserted for one in moved.values()):
            for oid, one in moved.items():
                self._forgiven[oid] = _plus(self._forgiven.get(oid, _NONE), one)

    def _partitions(self, table: str) -> dict[int, Written]:
        """By the search_path of the file, and therefore without operators."""
        sql = (
            "select relid::pg_catalog.oid, pg_catalog.pg_stat_get_xact_tuples_deleted(relid), "
            "pg_catalog.pg_stat_get_xact_tuples_inserted(relid) "
            "from pg_catalog.pg_partition_tree(pg_catalog.to_regclass(%s))"
        )
        return {oid: Written(deleted, inserted) for oid, deleted, inserted in self.session.execute(sql, [table])}

    def _mark(self, statement: Statement) -> None:
        """The server goes on counting what ROLLBACK TO takes back."""
        verb, name = _savepoint(statement)
        written = losses_count.snapshot(self.session).written
        if verb == "SAVEPOINT":
            self._marks.append((name, self._net(written)))
            return
        while self._marks and self._marks[-1][0] != name:
            self._marks.pop()
        if self._marks and verb == "ROLLBACK":
            then = self._marks[-1][1]
            self._forgiven = {oid: _minus(now, then.get(oid, _NONE)) for oid, now in written.items()}
        elif self._marks:
            self._marks.pop()

    def _net(self, written: Mapping[int, Written]) -> dict[int, Written]:
        return {oid: _minus(now, self._forgiven.get(oid, _NONE)) for oid, now in written.items()}

    def _since(self, after: Snapshot, table: int) -> Written:
        return _minus(self._net({table: after.written[table]})[table], self._before.written[table])

    def _deleted(self, after: Snapshot, wanted: set[Missing]) -> Rows:
        """Rows deleted from tables that were there before and have kept their storage."""
        still = [oid for oid in self._before.storage if oid in after.storage and (REWRITTEN, oid, 0) not in wanted]
        written = [oid for oid in still if after.written[oid] != self._before.written[oid]]
        deleted = {oid: self._since(after, oid).deleted for oid in written}
        chosen = [(GONE, oid, 0) for oid, number in deleted.items() if number > 0]
        return {one.label: deleted[one.table] for one in losses_count.targets(self.session, chosen)} if chosen else {}

    def _missing(self, after: Snapshot, wanted: set[Missing], counts: Mapping[Target, int | None]) -> Rows:
        rewritten = [one for one in wanted if one[0] == REWRITTEN]
        found = losses_count.targets(self.session, rewritten) if rewritten else []
        left = {(one.table, one.column): number for one, number in losses_count.count(self.session, found).items()}
        lost: Rows = {}
        rows: dict[int, int] = {}
        for target, number in counts.items():  # the rows of a table come before its columns
            table, column = target.table, target.column
            if (GONE, table, 0) in wanted:
                lost[target.label] = number if column == 0 else 0
            elif target.of:
                lost[target.label] = number if (COLUMN, *target.of) in wanted else 0
            elif (COLUMN, table, column) in wanted:
                lost[target.label] = number
            elif (REWRITTEN, table, 0) not in wanted:
                continue
            elif number is None or (now := left.get((table, column))) is None:
                lost[target.label] = None
            elif column == 0:
                rows[table] = max(0, number - now + self._since(after, table).inserted)
                lost[target.label] = rows[table]
            else:  # values that went with their rows are no others
                lost[target.label] = max(0, number - now - rows[table])
        return {label: number for label, number in lost.items() if number != 0}


def _savepoint(statement: Statement) -> tuple[str, str]:
    """SAVEPOINT a, RELEASE [SAVEPOINT] a, ROLLBACK [WORK] TO [SAVEPOINT] a: its first word, and a."""
    reader = Reader(statement.text)
    verb = reader.accept_any("SAVEPOINT", "RELEASE", "ROLLBACK")
    reader.accept_any("WORK", "TRANSACTION")
    reader.accept("TO")
    if verb != "SAVEPOINT":
        reader.accept("SAVEPOINT")
    name = reader.name()
    return verb, name.name if name else ""


def _minus(one: Written, other: Written) -> Written:
    return Written(one.deleted - other.deleted, one.inserted - other.inserted)


def _plus(one: Written, other: Written) -> Written:
    return Written(one.deleted + other.deleted, one.inserted + other.inserted)
