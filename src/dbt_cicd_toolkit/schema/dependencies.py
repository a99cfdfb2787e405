"""What the objects of installed sources need of each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import psycopg2.extensions as pg

from dbt_cicd_toolkit.errors import InvalidInput
from dbt_cicd_toolkit.postgres import lexer
from dbt_cicd_toolkit.postgres.reader import Reader
from dbt_cicd_toolkit.schema.sources import Source

# But for a sequence that is owned by a column: the column's default needs the sequence.
_DEPENDS = """select d.classid, d.objid, d.refclassid, d.refobjid
from pg_catalog.pg_depend d left join pg_catalog.pg_class c
    on d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and c.oid = d.objid and c.relkind = 'S'
where d.objid >= 16384 and d.refobjid >= 16384 and not (d.deptype = 'a' and c.oid is not null)"""
_INSIDE = ("table", "view", "materialized view", "function", "procedure", "type", "domain", "sequence")


@dataclass
class Installed:
    """A source that was run, and what it made.

    Attributes:
        key: the identity of the object: 'table business.customer', 'function util.f(integer)'; of a statement about
            another object: 'comment on table business.customer'.
        made: the addresses (classid, objid) of everything it made.
        needs: keys of the objects it depends on.
    """

    source: Source
    key: str
    made: list[tuple[int, int]] = field(default_factory=list)
    needs: set[str] = field(default_factory=set)


def read_dependencies(connection: pg.connection, done: Sequence[Installed], schemas: Sequence[str]) -> None:
    """Fill in what each needs: by the server's catalog, by ``@requires``, and by the names in what is said of others.

    Raises InvalidInput for a ``@requires`` that names nothing or several, and for what is about an object elsewhere.
    """
    owner = {address: each.key for each in done for address in each.made}
    by_key = {each.key: each for each in done}
    with connection.cursor() as cursor:
        cursor.execute(_DEPENDS)
        for classid, objid, refclassid, refobjid in cursor.fetchall():
            key, needed = owner.get((classid, objid)), owner.get((refclassid, refobjid))
            if key and needed and key != needed:
                by_key[key].needs.add(needed)
    for each in done:
        each.needs |= {_find(name, by_key, each.source) for name in each.source.requires} - {each.key}
        if each.source.attached:
            each.needs |= _named(each, by_key, schemas)


def _find(name: str, known: Mapping[str, Installed], source: Source) -> str:
    """The object that a ``@requires`` names: with or without its type, its schema and its argument types."""
    wanted = name.strip()
    found = [key for key in known if wanted in _spellings(key)]
    if len(found) != 1:
        raise InvalidInput(
            f"{source.place}: @requires {wanted}: "
            + (f"that is {', '.join(found)}. Say which." if found else "no source makes it.")
        )
    return found[0]


def _spellings(key: str) -> set[str]:
    """What an object may be called: 'function util.f(integer)', 'util.f(integer)', 'function f', 'f' …"""
    kind = next((each for each in _INSIDE if key.startswith(f"{each} ")), key.partition(" ")[0])
    name = key.removeprefix(f"{kind} ")
    own, on, _ = name.partition(" on ")
    short = name.partition("(")[0]
    # Of a table: 'g on shop.t'.
    names = {name, own} if on else {name, short, short.rpartition(".")[2], name.partition(".")[2] or name}
    return names | {f"{kind} {each}" for each in names}


def _named(each: Installed, known: Mapping[str, Installed], schemas: Sequence[str]) -> set[str]:
    """The objects that a statement about others names, by their names alone.

    Raises InvalidInput when it is about something outside of the managed schemas.
    """
    words = {
        lexer.fold(token.value) if token.kind == "word" else token.value
        for token in lexer.tokens(each.source.text)
        if token.kind in ("word", "identifier")
    }
    # Of two that make a constraint, neither is about the other: what these need the server tells.
    others = {key: other for key, other in known.items() if not (each.made and other.source.attached)}
    found = {key for key, other in others.items() if other.made and _names(other) & words} - {each.key}
    if not found and words.isdisjoint(schemas):
        raise InvalidInput(
            f"{each.source.place}: this is about something outside of the managed schemas, {', '.join(schemas)}. Take "
            "it out."
        )
    return found


def _names(each: Installed) -> set[str]:
    """What other statements call it; of one about another object, the constraint that it makes."""
    if not each.source.attached:
        return {name.name for name in each.source.action.names}
    name = Reader(each.key.removeprefix("constraint ")).name() if each.key.startswith("constraint ") else None
    return {name.name} if name else set()
