"""What a statement does, read from its tokens by the forms of PostgreSQL's grammar (src/backend/parser/gram.y)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from dbt_cicd_toolkit.postgres import lexer
from dbt_cicd_toolkit.postgres.reader import Name, Reader


class Action(NamedTuple):
    """What one statement does.

    Attributes:
        verb: its command in capitals: 'CREATE INDEX CONCURRENTLY', 'ALTER TABLE DROP COLUMN', 'DELETE', 'SELECT' …
            Without OR REPLACE, TEMPORARY, UNIQUE …; USER and GROUP are called ROLE.
        names: the objects acted on; of DETACH PARTITION the partition; () for an index without a name.
        table: the table of an index, trigger, rule or policy, of ALTER TABLE, TRUNCATE, DELETE, INSERT, UPDATE or COPY.
        columns: those that ALTER TABLE drops; attributes that ALTER TYPE drops.
        if_exists: IF EXISTS or IF NOT EXISTS.
        alone: the server refuses it inside a transaction block.
    """

    verb: str
    names: tuple[Name, ...] = ()
    table: Name | None = None
    columns: tuple[str, ...] = ()
    if_exists: bool = False
    cascade: bool = False
    concurrently: bool = False
    alone: bool = False


# Kinds of objects of more than one word. None is the beginning of another.
_KINDS = (
    "ACCESS METHOD", "DEFAULT PRIVILEGES", "EVENT TRIGGER", "FOREIGN DATA WRAPPER", "FOREIGN TABLE", "LARGE OBJECT",
    "MATERIALIZED VIEW", "OPERATOR CLASS", "OPERATOR FAMILY", "TEXT SEARCH CONFIGURATION", "TEXT SEARCH DICTIONARY",
    "TEXT SEARCH PARSER", "TEXT SEARCH TEMPLATE", "USER MAPPING",
)  # fmt: skip
_BEGINNINGS = frozenset(kind.partition(" ")[0] for kind in _KINDS)
_MODIFIERS = (
    "OR", "REPLACE", "GLOBAL", "LOCAL", "TEMP", "TEMPORARY", "UNLOGGED", "UNIQUE", "RECURSIVE", "TRUSTED", "PROCEDURAL",
    "CONSTRAINT", "DEFAULT",
)  # fmt: skip
_WITHOUT_NAME = ("CAST", "OPERATOR", "TRANSFORM", "USER MAPPING", "DEFAULT PRIVILEGES", "LARGE OBJECT")
_HAS_TABLE = ("TRIGGER", "RULE", "POLICY")


def action(statement_text: str) -> Action:
    """What a statement does. Never raises: of what it does not know, the verb is the first word."""
    reader = Reader(statement_text)
    while reader.symbol("("):
        pass
    first = reader.word()
    reader.next()
    if first in _READ:
        return _READ[first](reader, first)
    return Action(first)


def _kind(reader: Reader) -> str:
    """The kind of object that CREATE, DROP, ALTER or COMMENT ON names next."""
    kind = reader.accept_any(*_KINDS) if reader.word() in _BEGINNINGS else ""
    if not kind and (kind := reader.word()):
        reader.next()
    return "ROLE" if kind in ("USER", "GROUP") else kind


def _one(name: Name | None) -> tuple[Name, ...]:
    return (name,) if name else ()


def _skip_to(reader: Reader, *words: str) -> bool:
    """Step behind the next of these keywords outside parentheses."""
    return any(token.is_word(*words) for token in reader.top())


def _is_off(options: dict[str, str], name: str) -> bool:
    return options.get(name) in ("false", "off", "0")


def _create(reader: Reader, first: str) -> Action:
    while reader.accept_any(*_MODIFIERS):
        pass
    kind = _kind(reader)
    concurrently = kind == "INDEX" and reader.accept("CONCURRENTLY")
    if_exists = reader.accept("IF NOT EXISTS")
    names: tuple[Name, ...] = ()
    table = None
    alone = concurrently or kind in ("DATABASE", "TABLESPACE")
    if kind == "SCHEMA":
        reader.accept("AUTHORIZATION")  # then the schema is called as the role
    if kind not in _WITHOUT_NAME and not (kind == "INDEX" and reader.word() == "ON"):
        names = _one(reader.name())
    if kind in ("INDEX", *_HAS_TABLE) and _skip_to(reader, "TO" if kind == "RULE" else "ON"):
        reader.accept("ONLY")
        table = reader.name()
    if kind == "SUBSCRIPTION":
        options = reader.options() if _skip_to(reader, "WITH") else {}
        alone = not _is_off(options, "CONNECT") and not _is_off(options, "CREATE_SLOT")
    verb = f"CREATE {kind} CONCURRENTLY" if concurrently else f"CREATE {kind}"
    return Action(verb, names, table, if_exists=if_exists, concurrently=concurrently, alone=alone)


def _drop(reader: Reader, first: str) -> Action:
    kind = _kind(reader)
    concurrently = kind == "INDEX" and reader.accept("CONCURRENTLY")
    if_exists = reader.accept("IF EXISTS")
    reader.accept("BY")  # DROP OWNED BY
    names = () if kind in _WITHOUT_NAME else reader.names()
    table = reader.name() if kind in _HAS_TABLE and reader.accept("ON") else None
    return Action(
        f"DROP {kind} CONCURRENTLY" if concurrently else f"DROP {kind}",
        names,
        table,
        if_exists=if_exists,
        cascade=_skip_to(reader, "CASCADE"),
        concurrently=concurrently,
        # DROP SUBSCRIPTION: unless it was taken from its slot before, which the text does not tell.
        alone=concurrently or kind in ("DATABASE", "TABLESPACE", "SUBSCRIPTION"),
    )


def _alter(reader: Reader, first: str) -> Action:
    kind = _kind(reader)
    if kind == "SYSTEM":
        return Action("ALTER SYSTEM", alone=True)
    if_exists = reader.accept("IF EXISTS")
    if kind in _WITHOUT_NAME or reader.accept("ALL IN TABLESPACE"):
        return Action(f"ALTER {kind}", if_exists=if_exists)
    reader.accept("ONLY")
    name = reader.name()
    plain = Action(f"ALTER {kind}", _one(name), if_exists=if_exists)
    if kind == "TABLE":
        return _alter_table(reader, name, if_exists)
    if kind == "TYPE":
        return _alter_type(reader, plain)
    if kind == "DATABASE" and reader.accept("SET TABLESPACE"):
        return Action("ALTER DATABASE SET TABLESPACE", plain.names, alone=True)
    if kind == "SUBSCRIPTION":
        return Action(plain.verb, plain.names, alone=_subscription_alone(reader))
    if kind in _HAS_TABLE and reader.accept("ON"):
        return Action(plain.verb, plain.names, reader.name(), if_exists=if_exists)
    return plain


def _alter_table(reader: Reader, table: Name | None, if_exists: bool) -> Action:
    reader.symbol("*")
    if reader.accept("DETACH PARTITION"):
        partition = _one(reader.name())
        concurrently = reader.accept("CONCURRENTLY")
        verb = "ALTER TABLE DETACH PARTITION" + (" CONCURRENTLY" if concurrently else "")
        return Action(verb, partition, table, if_exists=if_exists, concurrently=concurrently, alone=concurrently)
    columns, cascade = _dropped(reader, "COLUMN")
    verb = "ALTER TABLE DROP COLUMN" if columns else "ALTER TABLE"
    return Action(verb, _one(table), table, columns, if_exists, cascade)


def _alter_type(reader: Reader, plain: Action) -> Action:
    if reader.accept("ADD VALUE"):
        return Action("ALTER TYPE ADD VALUE", plain.names, if_exists=reader.accept("IF NOT EXISTS"))
    columns, cascade = _dropped(reader, "ATTRIBUTE")
    verb = "ALTER TYPE DROP ATTRIBUTE" if columns else "ALTER TYPE"
    return Action(verb, plain.names, columns=columns, cascade=cascade)


def _dropped(reader: Reader, kind: str) -> tuple[tuple[str, ...], bool]:
    """Columns or attributes that the subcommands of ALTER drop, and whether one of these has CASCADE."""
    columns: list[str] = []
    cascade = False
    while reader.peek():
        drops = reader.accept("DROP")
        if drops and reader.word() != "CONSTRAINT":
            reader.accept(kind)
            reader.accept("IF EXISTS")
            columns += [name.name for name in _one(reader.name())]
        for token in reader.top():
            if token.kind == "punctuation" and token.value == ",":
                break
            cascade |= drops and token.is_word("CASCADE")
    return tuple(columns), cascade


def _subscription_alone(reader: Reader) -> bool:
    """Whether it asks the publisher, or changes the slot there (src/backend/commands/subscriptioncmds.c)."""
    if reader.accept("REFRESH"):
        return True
    if reader.accept_any("SET PUBLICATION", "ADD PUBLICATION", "DROP PUBLICATION"):
        return not _is_off(reader.options() if _skip_to(reader, "WITH") else {}, "REFRESH")
    return reader.accept("SET") and not {"FAILOVER", "TWO_PHASE"}.isdisjoint(reader.options())


def _vacuum(reader: Reader, first: str) -> Action:
    options = reader.options()
    full = bool(options) and "FULL" in options and not _is_off(options, "FULL")
    while word := reader.accept_any("FULL", "FREEZE", "VERBOSE", "ANALYZE", "ANALYSE"):
        full |= word == "FULL"
    if first == "ANALYZE":
        return Action("ANALYZE", reader.names(only=True))
    return Action("VACUUM FULL" if full else "VACUUM", reader.names(only=True), alone=True)


def _cluster(reader: Reader, first: str) -> Action:
    reader.options()
    reader.accept("VERBOSE")
    name = reader.name()
    table = reader.name() if reader.accept("ON") else name  # CLUSTER index ON table: the form before 8.3
    return Action("CLUSTER", _one(table), table, alone=table is None)


def _reindex(reader: Reader, first: str) -> Action:
    options = reader.options()
    kind = _kind(reader)
    concurrently = reader.accept("CONCURRENTLY") or ("CONCURRENTLY" in options and not _is_off(options, "CONCURRENTLY"))
    verb = f"REINDEX {kind} CONCURRENTLY" if concurrently else f"REINDEX {kind}"
    alone = concurrently or kind in ("SCHEMA", "DATABASE", "SYSTEM")
    return Action(verb, _one(reader.name()), concurrently=concurrently, alone=alone)


def _refresh(reader: Reader, first: str) -> Action:
    reader.accept("MATERIALIZED VIEW")
    concurrently = reader.accept("CONCURRENTLY")
    verb = "REFRESH MATERIALIZED VIEW" + (" CONCURRENTLY" if concurrently else "")
    return Action(verb, _one(reader.name()), concurrently=concurrently)


def _truncate(reader: Reader, first: str) -> Action:
    reader.accept("TABLE")
    names = reader.names(only=True)
    return Action(first, names, names[0] if names else None, cascade=_skip_to(reader, "CASCADE"))


def _lock(reader: Reader, first: str) -> Action:
    reader.accept("TABLE")
    return Action("LOCK", reader.names(only=True))


def _write(reader: Reader, first: str) -> Action:
    """DELETE FROM, INSERT INTO, MERGE INTO, UPDATE, COPY."""
    reader.accept_any("FROM", "INTO", "BINARY")
    reader.accept("ONLY")
    return Action(first, table=reader.name())


def _with(reader: Reader, first: str) -> Action:
    """The statement behind WITH; a SELECT that reads what it deletes, inserts or updates is called after that."""
    verbs = ("SELECT", "VALUES", "TABLE", *_WRITES)
    main = next((token for token in reader.top() if token.is_word(*verbs)), None)
    if main is None:
        return Action(first)
    if not main.is_word(*_WRITES):
        tokens = list(lexer.tokens(reader.text[: main.offset]))
        inner = zip(tokens, tokens[1:], tokens[2:], strict=False)
        begun = (c for a, b, c in inner if a.is_word("AS", "MATERIALIZED") and b.value == "(" and c.is_word(*_WRITES))
        main = next(begun, main)
    return action(reader.text[main.offset :])


def _comment(reader: Reader, first: str) -> Action:
    verb = "COMMENT ON"
    if first == "SECURITY":
        verb = "SECURITY LABEL ON"
        reader.accept("LABEL")
        _skip_to(reader, "ON")
    else:
        reader.accept("ON")
    kind = _kind(reader)
    return Action(f"{verb} {kind}", () if kind in (*_WITHOUT_NAME, "COLUMN", "CONSTRAINT") else _one(reader.name()))


def _grant(reader: Reader, first: str) -> Action:
    """GRANT ROLE; GRANT ON DATABASE and the like; of objects inside the database GRANT."""
    if not any(token.is_word("ON") for token in reader.until("TO" if first == "GRANT" else "FROM")):
        return Action(f"{first} ROLE")
    shared = reader.accept_any("DATABASE", "TABLESPACE", "PARAMETER")
    return Action(f"{first} ON {shared}" if shared else first)


def _transaction(reader: Reader, first: str) -> Action:
    reader.accept_any("WORK", "TRANSACTION") if first == "ROLLBACK" else None
    second = reader.word()
    token = reader.peek(1)
    if (first, second) == ("PREPARE", "TRANSACTION") and not (token and token.kind == "string"):
        return Action("PREPARE")  # a statement called transaction
    return Action(f"{first} {second}" if second in _SECOND_WORDS[first] else first)


def _call(reader: Reader, first: str) -> Action:
    return Action("CALL", _one(reader.name()))


_WRITES = ("INSERT", "UPDATE", "DELETE", "MERGE")
_SECOND_WORDS = {
    "START": ("TRANSACTION",),
    "COMMIT": ("PREPARED",),
    "ROLLBACK": ("PREPARED", "TO"),
    "PREPARE": ("TRANSACTION",),
    "DISCARD": ("ALL",),
    "REASSIGN": ("OWNED",),
}
_READ: dict[str, Callable[[Reader, str], Action]] = {
    "CREATE": _create,
    "DROP": _drop,
    "ALTER": _alter,
    "VACUUM": _vacuum,
    "ANALYZE": _vacuum,
    "CLUSTER": _cluster,
    "REINDEX": _reindex,
    "REFRESH": _refresh,
    "TRUNCATE": _truncate,
    "LOCK": _lock,
    "COPY": _write,
    "WITH": _with,
    "COMMENT": _comment,
    "SECURITY": _comment,
    "GRANT": _grant,
    "REVOKE": _grant,
    "CALL": _call,
    **dict.fromkeys(_WRITES, _write),
    **dict.fromkeys(_SECOND_WORDS, _transaction),
}
