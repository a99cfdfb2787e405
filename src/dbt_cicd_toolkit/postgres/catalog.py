"""What a database is made of: one canonical definition per object, or its hash, in one statement.

Left out are owners, positions of columns, tablespaces and data (positions of sequences), so that a database that was
altered step by step equals one that was created anew or restored from pg_dump. Objects of extensions are told by the
extension's version. The queries are in sql/catalog*.sql; they hold on PostgreSQL 14 to 18.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import psycopg2
import psycopg2.extensions as pg
from psycopg2 import errorcodes

from dbt_cicd_toolkit.errors import Refused

_PARTS = ("relations", "table_parts", "types", "routines", "others")
# Everything that changes how the server writes a definition, as pg_dump pins it, and what slows a large query down.
_PINNED = {
    "search_path": "pg_catalog, pg_temp",
    "quote_all_identifiers": "off",
    "standard_conforming_strings": "on",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "jit": "off",
    "enable_nestloop": "off",  # the planner knows nothing of the common tables' sizes, and joins two large ones so
    "max_parallel_workers_per_gather": "0",
}
# The queries of sql/ join in the order in which they are written, which begins with what is chosen. Looking for another
# order takes as long as all the rest.
_AS_WRITTEN = """select pg_catalog.set_config('join_collapse_limit', '1', true),
    pg_catalog.set_config('from_collapse_limit', '1', true);
"""
# What the server writes is not always what it reads again. `status IN ('a', 'b')` on a varchar column is written as
# (ARRAY['a'::character varying, …])::text[]; read (by pg_restore, for example) and written once more it becomes
# ARRAY[('a'::character varying)::text, …]. Both become ARRAY['a'::character varying, …]. Where expressions are written
# without needless parentheses (extended statistics) both lack theirs. A constant without a name in a body BEGIN ATOMIC
# gets the name of its type the second time.
_STRING = "'(?:[^']|'')*'"
_GROUP = rf"\((?:[^()']|{_STRING})*\)"
for _ in range(5):  # so many parentheses inside of each other
    _GROUP = rf"\((?:[^()']|{_STRING}|{_GROUP})*\)"
_ELEMENT = rf"(?:E?{_STRING}|{_GROUP})::(?:character varying|cidr)(?:\(\d+\))?"
_ARRAY = rf"ARRAY\[((?:{_ELEMENT}(?:, )?)+)\]"
CANONICAL = (
    (rf"\({_ARRAY}\)::(?:text|inet)\[\]|{_ARRAY}::(?:text|inet)\[\]", r"ARRAY[\1\2]"),
    (rf"\(({_ELEMENT})\)::(?:text|inet)\M|({_ELEMENT})::(?:text|inet)\M", r"\1\2"),
    (rf"((?:E?{_STRING}|NULL)::text) AS text\M", r"\1"),
)
# A query sees the catalog as it was at its start, the server's own functions (pg_get_viewdef …) as it is: what another
# session drops meanwhile (dbt does, at every build) they do not find. The next try does not see it either. What the
# queries ask most for, they look for first (pg_table_is_visible is null); that leaves little to happen in between.
_GONE = {errorcodes.INTERNAL_ERROR, errorcodes.UNDEFINED_TABLE, errorcodes.UNDEFINED_OBJECT}
_TRIES = 20
# Writing the definition of a view locks what it reads. Where another session and this one wait for each other, this one
# gives way, before the server's deadlock_timeout (a second) ends the other one: it may be a build of somebody else's.
# It waits as long as the session's own lock_timeout says, but never for more than this at once.
_WAIT = 500  # milliseconds
_GIVE_WAY = f"select pg_catalog.set_config('lock_timeout', '{_WAIT}ms', true);\n"
_LOCK_TIMEOUT = """select setting::pg_catalog.int4 from pg_catalog.pg_settings
where name operator(pg_catalog.=) 'lock_timeout'"""
_NEEDED = r"ARRAY\[|::text AS text"
_ONLY_IF = re.compile(r"^-- only if (.*(?:\n--     .*)*)", re.MULTILINE)
_SINCE = re.compile(r"^ *-- from (\d+)\n(.*?)^ *-- end\n", re.MULTILINE | re.DOTALL)


class Selection(NamedTuple):
    """Which objects count. Schemas of the system and of sessions, and what extensions own, never do.

    Attributes:
        schemas: only what is in these, and nothing that is in no schema (casts, publications …); None: everything.
        excluded_schemas: nothing that is in these.
        excluded_relations: tables left out with all that hangs on them, as 'schema.table' without quotes.
    """

    schemas: tuple[str, ...] | None = None
    excluded_schemas: tuple[str, ...] = ()
    excluded_relations: tuple[str, ...] = ()


class Change(NamedTuple):
    """One object that two catalogs do not have in common."""

    identity: str
    kind: Literal["added", "removed", "changed"]


def describe(connection: pg.connection, selection: Selection) -> dict[str, str]:
    """Return {identity: definition}, for example {'table auth.tenant_h': 'table auth.tenant_h\\n  column …'}.

    Identities are qualified and quoted where needed: 'function util.f(integer)', 'constraint c on business.t',
    'index business.i', 'trigger g on business.t', 'cast (a as b)'. No definition holds a password. The connection may
    be in autocommit or in a transaction; its settings stay as they are, also on failure. psycopg2.Error passes through.
    """
    return _read(connection, selection, "definition")


def fingerprint(connection: pg.connection, selection: Selection) -> dict[str, str]:
    """Return {identity: md5 of its definition}, computed on the server; everything else is as in describe()."""
    return _read(connection, selection, "md5(definition)")


def difference(before: Mapping[str, str], after: Mapping[str, str]) -> list[Change]:
    """Return what differs between two results of describe(), or two of fingerprint(), ordered by identity."""
    changes = []
    for identity in sorted(before.keys() | after.keys()):
        if identity not in after:
            changes.append(Change(identity, "removed"))
        elif identity not in before:
            changes.append(Change(identity, "added"))
        elif before[identity] != after[identity]:
            changes.append(Change(identity, "changed"))
    return changes


def diff_text(before: Mapping[str, str], after: Mapping[str, str], from_name: str, to_name: str) -> str:
    """Return a unified diff of two results of describe(), object by object as git shows files; '' when equal."""
    return "".join(_diff_lines(before, after, from_name, to_name))


def _diff_lines(before: Mapping[str, str], after: Mapping[str, str], from_name: str, to_name: str) -> Iterator[str]:
    import difflib

    for change in difference(before, after):
        old, new = (names.get(change.identity, "").split("\n") for names in (before, after))
        heads = (f"{from_name}: {change.identity}", f"{to_name}: {change.identity}")
        yield from difflib.unified_diff(
            [] if change.kind == "added" else [line + "\n" for line in old],
            [] if change.kind == "removed" else [line + "\n" for line in new],
            "/dev/null" if change.kind == "added" else heads[0],
            "/dev/null" if change.kind == "removed" else heads[1],
        )


def query(connection: pg.connection, selection: Selection, text: str) -> list[tuple[Any, ...]]:
    """Run a query that reads the common tables of sql/catalog.sql (namespace, relation, member …); return its rows.

    The text goes to the server as it is, behind their definitions; what else holds for describe() holds here. It is
    tried again a number of times when what it asks about was dropped meanwhile.
    """
    return _trying(connection, lambda: _query(connection, selection, text))


def _trying(connection: pg.connection, read: Callable[[], list[tuple[Any, ...]]]) -> list[tuple[Any, ...]]:
    tries = waited = 0
    while True:
        try:
            return read()
        except psycopg2.errors.LockNotAvailable:
            waited += _WAIT
            if 0 < _lock_timeout(connection) <= waited:
                raise
        except psycopg2.Error as error:
            if error.pgcode == errorcodes.CHARACTER_NOT_IN_REPERTOIRE:
                raise Refused(
                    f"the catalog of the database holds a text that is not UTF-8 ({error.diag.message_primary}), which "
                    "the encoding SQL_ASCII lets in: move the database to one that is UTF8."
                ) from error
            tries += 1
            if error.pgcode not in _GONE or tries == _TRIES:
                raise


def _lock_timeout(connection: pg.connection) -> int:
    """Milliseconds; 0: none."""
    with connection.cursor() as cursor:
        cursor.execute(_LOCK_TIMEOUT)
        milliseconds: int = cursor.fetchall()[0][0]
        return milliseconds


def _query(connection: pg.connection, selection: Selection, text: str) -> list[tuple[Any, ...]]:
    with pinned(connection) as prefix, connection.cursor() as cursor:
        common = _common(cursor, selection, connection.server_version // 10000)
        cursor.execute((prefix + _GIVE_WAY).encode() + common + text.encode())
        return list(cursor.fetchall())


def _common(cursor: pg.cursor, selection: Selection, major: int) -> bytes:
    chosen: bytes = cursor.mogrify(
        "with selection as materialized (select %s::text[] as schemas, %s::text[] as excluded_schemas,"
        " %s::text[] as excluded_relations),\n",
        [
            None if selection.schemas is None else list(selection.schemas),
            list(selection.excluded_schemas),
            list(selection.excluded_relations),
        ],
    )
    return chosen + sql_text("catalog", major).encode()


def _read(connection: pg.connection, selection: Selection, value: str) -> dict[str, str]:
    return dict(sorted(_trying(connection, lambda: _described(connection, selection, value))))


def _described(connection: pg.connection, selection: Selection, value: str) -> list[tuple[Any, ...]]:
    """Ask for the kinds of objects that are there: planning a query about all of them takes longer than running it."""
    major = connection.server_version // 10000
    branches = _branches(major)
    conditions = [f"exists ({only_if})" for only_if, _ in branches if only_if]
    with pinned(connection) as prefix, connection.cursor() as cursor:
        cursor.execute(f"{prefix}select {', '.join(conditions)}")
        there = iter(cursor.fetchall()[0])
        wanted = [branch for only_if, branch in branches if not only_if or next(there)]
        text = _objects(wanted).replace("{value}", value)
        prefix += _GIVE_WAY + _AS_WRITTEN
        cursor.execute(prefix.encode() + _common(cursor, selection, major) + text.encode())
        return list(cursor.fetchall())


@contextmanager
def pinned(connection: pg.connection) -> Iterator[str]:
    """Pin what changes how the server writes definitions, for each statement that the given text precedes.

    In a transaction a savepoint takes the settings back; otherwise the text and a statement, sent together, are a
    transaction of their own, and the settings end with it.
    """
    settings = ", ".join(f"pg_catalog.set_config('{name}', '{value}', true)" for name, value in _PINNED.items())
    text = f"select {settings};\n"
    idle = connection.info.transaction_status == pg.TRANSACTION_STATUS_IDLE
    if idle and connection.autocommit:
        yield text
        return
    with connection.cursor() as cursor:
        cursor.execute("savepoint dbt_cicd_catalog")
        try:
            yield text
        finally:
            if connection.info.transaction_status in (pg.TRANSACTION_STATUS_INTRANS, pg.TRANSACTION_STATUS_INERROR):
                cursor.execute("rollback to savepoint dbt_cicd_catalog; release savepoint dbt_cicd_catalog")


@lru_cache
def _branches(major: int) -> list[tuple[str, str]]:
    """The queries of sql/catalog_*.sql with the condition `-- only if` at their heads, '' where there is none."""
    branches = [branch for part in _PARTS for branch in sql_text(f"catalog_{part}", major).split("\nunion all\n")]
    found = [(_ONLY_IF.search(branch), branch) for branch in branches]
    return [(head[1].replace("\n--", "\n") if head else "", branch) for head, branch in found]


def _objects(branches: Sequence[str]) -> str:
    union = "\n\nunion all\n\n".join(branches)
    canonical = "definition"
    for pattern, replacement in CANONICAL:
        canonical = f"regexp_replace({canonical}, {_quoted(pattern)}, {_quoted(replacement)}, 'g')"
    return (
        f",\nobject (identity, definition, verbatim) as (\n{union}),\n"
        f"whole as (select identity, concat(identity, case when definition ~ {_quoted(_NEEDED)} then"
        f" {canonical} else definition end, verbatim) as definition from object)\n"
        "select identity, {value} from whole"
    )


@lru_cache
def sql_text(name: str, major: int, package: str = "dbt_cicd_toolkit.postgres") -> str:
    """The query in sql/``name``.sql of a package, without the blocks `-- from N` … `-- end` for newer servers."""
    folder = sys.modules[package].__path__[0]  # importlib.resources takes longer to import than to ask everything
    text = (Path(folder) / "sql" / f"{name}.sql").read_text(encoding="utf-8")
    return _SINCE.sub(lambda block: block[2] if major >= int(block[1]) else "", text)


def _quoted(text: str) -> str:
    """A literal whatever standard_conforming_strings is: it is pinned too late for the message that pins it."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
