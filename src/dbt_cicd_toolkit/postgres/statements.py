"""What may be done with a statement: in a transaction or not, in a migration or not; does it reach beyond its database?

What may not be in a transaction: the callers of PreventInTransactionBlock in PostgreSQL 14 to 18 (src/backend/tcop/
utility.c, src/backend/commands/). The text does not tell of REINDEX and CLUSTER whether the table is partitioned, nor
of procedures and DO blocks whether they commit; they are taken to be transactional. A file that has such a statement
says ``-- dbt-cicd: no-transaction`` in the comments at its head.
"""

from __future__ import annotations

import re

from dbt_cicd_toolkit.postgres import lexer
from dbt_cicd_toolkit.postgres.actions import Action, action
from dbt_cicd_toolkit.postgres.reader import Name
from dbt_cicd_toolkit.postgres.script import Script, Statement

__all__ = [
    "Action",
    "Name",
    "action",
    "asks_no_transaction",
    "cluster_wide",
    "forbidden",
    "reason_to_run_singly",
    "transactional",
]


def transactional(action: Action, *, no_transaction: bool = False) -> bool:
    """Whether it may run inside a transaction block.

    ``no_transaction``: the file asks to run outside of one, so its CALL and DO may commit.
    """
    return not action.alone and not (no_transaction and action.verb in ("CALL", "DO"))


_CLUSTER_WIDE = re.compile(
    r"(?:CREATE|ALTER|DROP|COMMENT ON|SECURITY LABEL ON|GRANT ON|REVOKE ON)"
    r" (?:ROLE|TABLESPACE|DATABASE|SUBSCRIPTION|PARAMETER)\b"
    r"|ALTER SYSTEM|(?:GRANT|REVOKE) ROLE|REASSIGN OWNED|DROP OWNED"
)


def cluster_wide(action: Action) -> bool:
    """Whether it reaches beyond its database: roles, tablespaces, databases, settings of the server.

    Subscriptions count, too: creating one makes a slot on another server. What a statement executes in turn, in a DO
    block or a function it calls, its text does not tell: that is not seen.
    """
    return bool(_CLUSTER_WIDE.match(action.verb))


_FORBIDDEN = frozenset(("BEGIN", "START TRANSACTION", "COMMIT", "END", "ROLLBACK", "ABORT")) | frozenset(
    ("PREPARE TRANSACTION", "COMMIT PREPARED", "ROLLBACK PREPARED")
)


def forbidden(action: Action) -> str | None:
    """Why it may not be in a migration, or None."""
    if action.verb in _FORBIDDEN:
        return (
            f"{action.verb} is not for a migration, which is one transaction with its entry in the history. Remove it; "
            "what must be committed in between goes into files of its own."
        )
    if action.verb == "DISCARD ALL":
        return "DISCARD ALL would release the lock under which migrations run. Remove it."
    return None


_NO_TRANSACTION = re.compile(r"--[ \t]*dbt-cicd:[ \t]*no-transaction\s*")
# First words of what may be refused inside a transaction, with a word of which one comes soon behind; () for any.
_SUSPECTS: dict[str, frozenset[str]] = {
    "CREATE": frozenset(("CONCURRENTLY", "DATABASE", "TABLESPACE", "SUBSCRIPTION")),
    "DROP": frozenset(("CONCURRENTLY", "DATABASE", "TABLESPACE", "SUBSCRIPTION")),
    "ALTER": frozenset(("SYSTEM", "TABLESPACE", "SUBSCRIPTION", "DETACH")),
    "VACUUM": frozenset(),
    "CLUSTER": frozenset(),
    "REINDEX": frozenset(),
}


def asks_no_transaction(script: Script) -> bool:
    """Whether a comment ``-- dbt-cicd: no-transaction`` stands before the first statement."""
    head = script.text[: script.statements[0].offset] if script.statements else script.text
    return "no-transaction" in head and any(
        _NO_TRANSACTION.fullmatch(token.value) for token in lexer.tokens(head, comments=True)
    )


def reason_to_run_singly(script: Script, server_version: int = 0) -> tuple[Statement, str] | None:
    """The first statement because of which a file must run statement by statement, and why; None: one transaction.

    ``server_version`` as psycopg2 gives it; since 170000 a label may be used at once when its type is as new.
    """
    if not script.statements:
        return None
    if asks_no_transaction(script):
        return script.statements[0], "the file asks for it: -- dbt-cicd: no-transaction"
    for index, statement in enumerate(script.statements):
        first = statement.words[0] if statement.words else ""
        if first not in _SUSPECTS:
            continue
        if not _SUSPECTS[first] or not _SUSPECTS[first].isdisjoint(statement.words):
            what = action(statement.text)
            if what.alone:
                return statement, f"{what.verb} cannot run inside a transaction"
        elif statement.words[:2] == ("ALTER", "TYPE") and "VALUE" in statement.words:
            used = _label_used(script, index, server_version)
            if used:
                return (
                    statement,
                    f"{used[0]} is added here and used in line {used[1].line}, which needs a commit between",
                )
    return None


def _label_used(script: Script, index: int, server_version: int) -> tuple[str, Statement] | None:
    """The label that ALTER TYPE … ADD VALUE adds, and a later statement in which it occurs.

    A new label cannot be used before it is committed (PostgreSQL's ALTER TYPE, Notes; AddEnumLabel in pg_enum.c).
    """
    statement = script.statements[index]
    what = action(statement.text)
    label = next((token.value for token in lexer.tokens(statement.text) if token.kind == "string"), None)
    if what.verb != "ALTER TYPE ADD VALUE" or label is None:
        return None
    if server_version >= 170000 and any(_creates(earlier, what.names) for earlier in script.statements[:index]):
        return None
    for later in script.statements[index + 1 :]:
        if _uses(later, label):
            return "'" + label.replace("'", "''") + "'", later
    return None


def _creates(statement: Statement, types: tuple[Name, ...]) -> bool:
    return statement.words[:2] == ("CREATE", "TYPE") and action(statement.text).names == types


def _uses(statement: Statement, label: str) -> bool:
    """Whether a string is the label, or holds it quoted (the body of a function), or a field of COPY data is."""
    if statement.words[:2] == ("ALTER", "TYPE"):
        return False  # … ADD VALUE 'b' AFTER 'a' reads the catalog only
    if statement.data and re.search(rf"(?m)(?:^|[\t,\"]){re.escape(label)}(?:$|[\t\r,\"])", statement.data):
        return True
    return any(
        token.value == label or f"'{label}'" in token.value
        for token in lexer.tokens(statement.text)
        if token.kind == "string"
    )
