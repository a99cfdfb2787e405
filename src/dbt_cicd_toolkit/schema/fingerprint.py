"""One hash per object, apart from what a database's owner may add: grants, comments, row security, options.

Built on postgres.catalog: owners and positions of columns stay out there, and what changes how the server writes a
definition is pinned.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import psycopg2.extensions as pg

from dbt_cicd_toolkit.postgres import catalog
from dbt_cicd_toolkit.postgres.catalog import Selection

_LITERAL = "E?'(?:[^']|'')*'"
_QUOTED = '"(?:[^"]|"")*"'
_NAME = rf'(?:{_QUOTED}|[^\s"]+)'
_ADDED = re.compile(
    rf"\n  ((?:column {_NAME} |index )?comment {_LITERAL}|(?:column {_NAME} )?grant [^\n]* to [^\n]*"
    rf"|row security (?:enabled|forced)|replica identity(?: \w+)?|clustered|not populated)|\n  options ([^\n]*)"
)
# catalog.describe() writes that before the query of a view and behind the text of a function, both of which may have
# lines that look like it.
_CLOSING = r"\n[^\n]*\$(?:\n|\Z)"  # the last line of a function's text, $function$
_PARTS = re.compile(
    rf"(?P<head>[^\n]*(?:\n  (?:{_LITERAL}|{_QUOTED}|[^\n'\"])*)*)"
    rf"(?P<text>.*?)(?P<tail>(?:(?!{_CLOSING}){_ADDED.pattern})*)",
    re.DOTALL,
)
_OPTION = " with grant option"
_GRANT = re.compile(rf"(column {_NAME} )?grant ([^\n]*) to ([^\n]*?)({_OPTION})?")
# PostgreSQL grants this to everybody by itself; where the owner has taken it away, the release is as it was.
IMPLIED = dict.fromkeys(("function", "procedure", "aggregate"), "grant execute to public")
IMPLIED |= dict.fromkeys(("type", "domain"), "grant usage to public")
# A publication is in no schema; that it publishes a table, or all of a schema, is said of these.
_PUBLISHED = """select pg_catalog.format('table %I.%I', n.nspname, c.relname),
    pg_catalog.format('publication %I', p.pubname)
from pg_catalog.pg_publication p join pg_catalog.pg_publication_rel r on r.prpubid = p.oid
join pg_catalog.pg_class c on c.oid = r.prrelid join pg_catalog.pg_namespace n on n.oid = c.relnamespace"""
_PUBLISHED_WHOLE = """
union all
select pg_catalog.format('schema %I', n.nspname), pg_catalog.format('publication %I', p.pubname)
from pg_catalog.pg_publication p join pg_catalog.pg_publication_namespace r on r.pnpubid = p.oid
join pg_catalog.pg_namespace n on n.oid = r.pnnspid"""


_INHERITED = """select pg_catalog.format('constraint %I on %I.%I', k.conname, n.nspname, c.relname)
from pg_catalog.pg_constraint k join pg_catalog.pg_class c on c.oid OPERATOR(pg_catalog.=) k.conrelid
join pg_catalog.pg_namespace n on n.oid OPERATOR(pg_catalog.=) c.relnamespace
where k.coninhcount OPERATOR(pg_catalog.>) 0 and not k.conislocal
union all
select pg_catalog.format('index %I.%I', n.nspname, c.relname)
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid OPERATOR(pg_catalog.=) c.relnamespace
where c.relispartition and c.relkind OPERATOR(pg_catalog.=) any (array['i', 'I']::pg_catalog."char"[])"""


@dataclass(frozen=True, slots=True)
class Mark:
    """An object as one catalog shows it: a hash of its structure, and what is said of it besides, line by line."""

    hash: str
    besides: frozenset[str] = frozenset()

    def to_json(self) -> str | list[Any]:
        """The hash alone where nothing is said besides."""
        return [self.hash, sorted(self.besides)] if self.besides else self.hash

    @classmethod
    def of_json(cls, value: str | Sequence[Any]) -> Mark:
        """What to_json() made."""
        return cls(value) if isinstance(value, str) else cls(value[0], frozenset(value[1]))


def mark(definition: str) -> Mark:
    """Of a definition by catalog.describe()."""
    besides: set[str] = set()

    def take(found: re.Match[str]) -> str:
        besides.update(_granted(found[1]) if found[1] else [f"option {each}" for each in found[2].split(", ")])
        return ""

    parts = _PARTS.fullmatch(definition)
    assert parts, definition
    bare = _ADDED.sub(take, parts["head"]) + parts["text"] + _ADDED.sub(take, parts["tail"])
    return Mark(hashlib.md5(bare.encode(), usedforsecurity=False).hexdigest(), frozenset(besides))


def _granted(said: str) -> list[str]:
    """What is said in a line: of grants one for each privilege, and one for the right to pass it on; of whether a
    materialized view has rows nothing, which are data."""
    found = _GRANT.fullmatch(said)
    if not found:
        return [] if said == "not populated" else [said]
    lines = [f"{found[1] or ''}grant {right} to {found[3]}" for right in found[2].split(", ")]
    return lines + [f"{line}{_OPTION}" for line in lines if found[4]]


def read(connection: pg.connection, schemas: Sequence[str]) -> dict[str, Mark]:
    """{identity: Mark} of everything in these schemas."""
    found = {identity: mark(text) for identity, text in catalog.describe(connection, Selection(tuple(schemas))).items()}
    with connection.cursor() as cursor:
        cursor.execute(_PUBLISHED + (_PUBLISHED_WHOLE if connection.server_version >= 150000 else ""))
        for identity, said in cursor.fetchall():
            if identity in found:
                found[identity] = replace(found[identity], besides=found[identity].besides | {said})
    return found


def differences(wanted: Mapping[str, Mark], found: Mapping[str, Mark]) -> list[str]:
    """What a database lacks of a release, or has otherwise; lines for people."""
    lines = []
    for identity, there in wanted.items():
        here = found.get(identity)
        if here is None:
            lines.append(f"{identity}: missing")
        elif here.hash != there.hash:
            lines.append(f"{identity}: differs")
        else:
            lacking = sorted(there.besides - here.besides - {IMPLIED.get(identity.partition(" ")[0], "")})
            lines += [f"{identity}: lacks {text}" for text in lacking]
    return lines


def changed(wanted: Mapping[str, Mark], found: Mapping[str, Mark]) -> list[str]:
    """The objects that a database has otherwise than a release."""
    return [identity for identity, there in wanted.items() if identity in found and found[identity].hash != there.hash]


def additions(wanted: Mapping[str, Mark], found: Mapping[str, Mark]) -> list[str]:
    """What a database has beyond a release: objects, and grants, comments and options on its objects."""
    lines = [identity for identity in found if identity not in wanted]
    for identity, there in wanted.items():
        if here := found.get(identity):
            lines += [f"{identity}: {text}" for text in sorted(here.besides - there.besides)]
    return sorted(lines)


def undeclared(found: Mapping[str, Mark], wanted: Collection[str]) -> dict[str, Mark]:
    """The objects that no release names."""
    return {identity: mark for identity, mark in found.items() if identity not in wanted}


def inherited(connection: pg.connection) -> set[str]:
    """The constraints and indexes that partitions and children have of their parents, and that go with them."""
    with connection.cursor() as cursor:
        cursor.execute(_INHERITED)
        return {identity for (identity,) in cursor.fetchall()}


def beyond_views(before: Mapping[str, Mark], found: Mapping[str, Mark]) -> dict[str, list[str]]:
    """{identity: what a database says of it beyond its release} of the views of that: they may be made anew."""
    known = {
        identity: sorted(found[identity].besides - before[identity].besides)
        for identity in sorted(before.keys() & found.keys())
        if identity.startswith(("view ", "materialized view "))
    }
    return {identity: texts for identity, texts in known.items() if texts}


def view_options(
    beyond: Mapping[str, Sequence[str]], called: Mapping[str, str], after: Mapping[str, Mark]
) -> list[tuple[str, str]]:
    """(identity, SQL) that gives views the options again that beyond_views() found: CREATE OR REPLACE VIEW takes them
    away. What the release has of the same name counts.

    Args:
        called: what they are called now.
        after: the objects of the release.
    """
    statements = []
    for first, texts in beyond.items():
        identity = called[first]
        if identity in after and identity.startswith("view "):
            said = {text.partition("=")[0] for text in after[identity].besides}
            for text in texts:
                if text.startswith("option ") and text.partition("=")[0] not in said:
                    statements.append((identity, f"alter {identity} set ({text.removeprefix('option ')})"))
    return statements


def gone_with_columns(
    beyond: Mapping[str, Sequence[str]], called: Mapping[str, str], now: Mapping[str, Mark]
) -> list[str]:
    """Of what beyond_views() found what a view that is still there has no longer: its column has another name."""
    return [
        f"{called[first]}: {text}"
        for first, texts in beyond.items()
        if called[first] in now
        for text in texts
        if text.startswith("column ") and text not in now[called[first]].besides
    ]
