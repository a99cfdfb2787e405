"""The Data Vault 2.0 rules of the guide, for tables that a migration creates; asked for by ``lint: data_vault: true``.

A hub ``x_h`` has ``x_hk BYTEA PRIMARY KEY`` and ``x_bk``; a satellite ``x_s`` has a hash key and load_date as its
primary key, load_end_date and hash_diff; a link ``x_l`` has ``x_hk BYTEA PRIMARY KEY`` and the hash keys of two hubs.
Each has load_date and record_source, hubs and links tenant_hk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from dbt_cicd_toolkit.db.lint_source import Finding, Source, Step
from dbt_cicd_toolkit.postgres import lexer
from dbt_cicd_toolkit.postgres.lexer import Token
from dbt_cicd_toolkit.postgres.reader import Reader

HUB, SATELLITE, LINK, OTHER = "data-vault-hub", "data-vault-satellite", "data-vault-link", "data-vault-table"
RULES = (HUB, SATELLITE, LINK, OTHER)
_CONSTRAINTS = ("CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN", "EXCLUDE", "NOT")
_HELP = "See 'Follow Data Vault 2.0 Standards' in the guide, or name the table in lint: exempt of db_config.yaml."


@dataclass(slots=True)
class _Table:
    types: dict[str, str] = field(default_factory=dict)  # column: first word of its type, in capitals
    not_null: set[str] = field(default_factory=set)
    key: frozenset[str] = frozenset()


def check(source: Source, exempt: Sequence[str]) -> Iterator[Finding]:
    """What a migration's new tables lack. ``exempt``: patterns of schema.table, such as util.*"""
    for step in source.steps:
        if source.rollback or step.action.verb != "CREATE TABLE" or not step.action.names or _is_temporary(step):
            continue
        name = step.action.names[0]
        full = f"{name.schema}.{name.name}" if name.schema else name.name
        if any(fnmatchcase(full, pattern) for pattern in exempt):
            continue
        table = _read(step.statement.text)
        if table is None:
            continue
        rule, problems = _problems(name.name, table)
        for problem in problems:
            yield source.finding(step.statement.offset, rule, f"{full} {problem}", _HELP)


def _is_temporary(step: Step) -> bool:
    return not {"TEMP", "TEMPORARY"}.isdisjoint(step.statement.words[1:3])


def _problems(name: str, table: _Table) -> tuple[str, list[str]]:
    base, kind = name[:-2], name[-2:]
    if kind == "_h":
        lacks = [_hash_key(f"{base}_hk", table), _column(table, f"{base}_bk", "", True)]
        return HUB, _told("hub", [*lacks, _tenant(table), *_loaded(table)])
    if kind == "_s":
        keys = [column for column in table.key if column.endswith("_hk")]
        key = None if len(keys) == 1 and table.key == {*keys, "load_date"} else "PRIMARY KEY (<name>_hk, load_date)"
        lacks = [key, _column(table, "load_end_date"), _column(table, "hash_diff", "BYTEA", True)]
        return SATELLITE, _told("satellite", [*lacks, *_loaded(table)])
    if kind == "_l":
        hubs = [column for column in table.types if column.endswith("_hk") and column != f"{base}_hk"]
        lacks = [_hash_key(f"{base}_hk", table), None if len(hubs) > 1 else "the hash keys of two hubs"]
        return LINK, _told("link", [*lacks, _tenant(table), *_loaded(table)])
    return OTHER, ["is no hub (_h), satellite (_s) or link (_l): tenant isolation and Data Vault structure are missing"]


def _told(kind: str, lacks: Sequence[str | None]) -> list[str]:
    return [f"is a {kind} without {lack}" for lack in lacks if lack]


def _hash_key(column: str, table: _Table) -> str | None:
    fine = table.types.get(column) == "BYTEA" and table.key == {column}
    return None if fine else f"{column} BYTEA PRIMARY KEY"


def _tenant(table: _Table) -> str | None:
    return _column(table, "tenant_hk", "BYTEA", True)


def _loaded(table: _Table) -> list[str | None]:
    return [_column(table, "load_date"), _column(table, "record_source", "", True)]


def _column(table: _Table, name: str, type_: str = "", not_null: bool = False) -> str | None:
    fine = name in table.types and (not type_ or table.types[name] == type_)
    if fine and (not not_null or name in table.not_null or name in table.key):
        return None
    return " ".join([name, *([type_] if type_ else []), *(["NOT NULL"] if not_null else [])])


def _read(statement: str) -> _Table | None:
    """The columns and the primary key of CREATE TABLE … ( … ); None where its columns are not all in the text."""
    reader = Reader(statement)
    while not reader.accept("TABLE"):
        if reader.next() is None:
            return None
    reader.accept("IF NOT EXISTS")
    reader.name()
    if not reader.symbol("("):
        return None  # AS SELECT, OF a type, PARTITION OF a table
    table = _Table()
    for element in _elements(reader):
        if element[0].is_word("LIKE"):
            return None
        _add(table, element)
    return table


def _elements(reader: Reader) -> Iterator[list[Token]]:
    """What stands between the commas, up to the closing parenthesis."""
    element: list[Token] = []
    depth = 0
    while token := reader.next():
        if token.kind == "punctuation":
            if depth == 0 and token.value in (",", ")"):
                if element:
                    yield element
                if token.value == ")":
                    return
                element = []
                continue
            depth += (token.value == "(") - (token.value == ")")
        element.append(token)


def _add(table: _Table, element: Sequence[Token]) -> None:
    words = " ".join(token.value.upper() if token.kind == "word" else "?" for token in element)
    if element[0].is_word(*_CONSTRAINTS):
        if "PRIMARY KEY" in words:
            opening = next((index for index, token in enumerate(element) if token.value == "("), len(element))
            table.key = frozenset(_names(element[opening + 1 :]))
        return
    name = _name(element[0])
    table.types[name] = element[1].value.upper() if len(element) > 1 else ""
    if "NOT NULL" in words:
        table.not_null.add(name)
    if "PRIMARY KEY" in words:
        table.key = frozenset((name,))


def _names(tokens: Sequence[Token]) -> Iterator[str]:
    for token in tokens:
        if token.value == ")" and token.kind == "punctuation":
            return
        if token.kind in ("word", "identifier"):
            yield _name(token)


def _name(token: Token) -> str:
    return lexer.fold(token.value) if token.kind == "word" else token.value
