"""Rules that squawk lacks: what locks a table while it works, what changes every row, what is not for a migration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dbt_cicd_toolkit.db.lint_source import Finding, Source, Step
from dbt_cicd_toolkit.postgres import lexer
from dbt_cicd_toolkit.postgres.statements import forbidden

VACUUM_FULL = "vacuum-full"
CLUSTER = "cluster"
REFRESH = "refresh-without-concurrently"
LOCK_TABLE = "lock-table"
UPDATE = "update-without-where"
DELETE = "delete-without-where"
TRANSACTION = "transaction-control"
RULES = (VACUUM_FULL, CLUSTER, REFRESH, LOCK_TABLE, UPDATE, DELETE, TRANSACTION)

_REWRITES = "and writes all of it anew, while nobody else reads or writes it."
_REPACK = "Leave it to autovacuum, or use pg_repack; or do it in a maintenance window and ignore this rule, saying so."
_LOCKS = {
    "VACUUM FULL": (VACUUM_FULL, f"VACUUM FULL locks the table {_REWRITES}", _REPACK),
    "CLUSTER": (CLUSTER, f"CLUSTER locks the table {_REWRITES}", _REPACK),
    "REFRESH MATERIALIZED VIEW": (
        REFRESH,
        "REFRESH MATERIALIZED VIEW locks out those who read it until it is filled.",
        "Write REFRESH MATERIALIZED VIEW CONCURRENTLY; the view needs a unique index.",
    ),
    "LOCK": (
        LOCK_TABLE,
        "LOCK TABLE blocks others until the migration commits.",
        "Leave it out: each statement takes the lock it needs; or lock in a mode that blocks no writer.",
    ),
}
_WEAK_MODES = (["ACCESS", "SHARE"], ["ROW", "SHARE"], ["ROW", "EXCLUSIVE"], ["SHARE", "UPDATE", "EXCLUSIVE"])


def check(source: Source) -> Iterator[Finding]:
    """What these rules find in a file. They are silent on what an earlier statement of the file has made."""
    for step in source.steps:
        reason = forbidden(step.action)
        if reason:
            yield source.finding(step.statement.offset, TRANSACTION, reason, level="error")
        elif step.action.verb in _LOCKS and not step.fresh and not _is_mild(step):
            yield source.finding(step.statement.offset, *_LOCKS[step.action.verb])
        elif step.statement.words[:1] in (("UPDATE",), ("DELETE",), ("WITH",)):
            yield from _every_row(source, step)


def _is_mild(step: Step) -> bool:
    """LOCK in a mode that blocks no writer; REFRESH … WITH NO DATA, which only empties."""
    words = [token.value.upper() for token in lexer.tokens(step.statement.text) if token.kind == "word"]
    if step.action.verb == "LOCK":
        words = words[: len(words) - words[::-1].index("MODE") - 1] if "MODE" in words else words
        return "IN" in words and words[len(words) - words[::-1].index("IN") :] in _WEAK_MODES
    return step.action.verb.startswith("REFRESH") and words[-3:] == ["WITH", "NO", "DATA"]


@dataclass(slots=True)
class _Level:
    """A query between one pair of parentheses: its UPDATE or DELETE, and whether it has a WHERE of its own."""

    change: lexer.Token | None = None
    has_where: bool = False
    open: bool = True  # the word that says what it does may still come


def _every_row(source: Source, step: Step) -> Iterator[Finding]:
    if step.fresh:
        return
    for change in _without_where(lexer.tokens(step.statement.text)):
        verb = change.value.upper()
        yield source.finding(
            step.statement.offset + change.offset,
            UPDATE if verb == "UPDATE" else DELETE,
            f"this {verb} has no WHERE: it changes every row, and holds their locks until the migration commits.",
            "Say which rows, in batches for a large table; WHERE true where all are meant.",
        )


def _without_where(tokens: Iterable[lexer.Token]) -> Iterator[lexer.Token]:
    """Each UPDATE and DELETE, also inside WITH, that has no WHERE outside parentheses."""
    levels = [_Level()]
    previous = None
    for token in tokens:
        level = levels[-1]
        if token.kind == "punctuation" and token.value == "(":
            # Only AS ( … ) of WITH can hold a change; anything else is an expression or a list.
            levels.append(_Level(open=previous is not None and previous.is_word("AS", "MATERIALIZED")))
        elif token.kind == "punctuation" and token.value == ")" and len(levels) > 1:
            if level.change and not level.has_where:
                yield level.change
            levels.pop()
        elif level.open and token.is_word("UPDATE", "DELETE"):
            level.change, level.open = token, False
        elif level.open and token.is_word("SELECT", "INSERT", "MERGE", "VALUES", "TABLE"):
            level.open = False
        elif token.is_word("WHERE"):
            level.has_where = True
        previous = token
    if levels[0].change and not levels[0].has_where:
        yield levels[0].change
