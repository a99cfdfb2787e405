"""Install sources in an empty database and learn from its catalog what they are: identities and dependencies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import psycopg2
import psycopg2.extensions as pg
from psycopg2 import errorcodes

from dbt_cicd_toolkit.errors import InvalidInput, Refused
from dbt_cicd_toolkit.postgres import catalog
from dbt_cicd_toolkit.postgres.reader import Reader
from dbt_cicd_toolkit.postgres.session import error_text, identifier
from dbt_cicd_toolkit.schema import roles
from dbt_cicd_toolkit.schema.dependencies import Installed, read_dependencies
from dbt_cicd_toolkit.schema.sources import Source

# What the server says of something that another source may still make.
MISSING = {
    errorcodes.UNDEFINED_TABLE,
    errorcodes.UNDEFINED_FUNCTION,
    errorcodes.UNDEFINED_OBJECT,
    errorcodes.UNDEFINED_COLUMN,
    errorcodes.INVALID_SCHEMA_NAME,
    errorcodes.INVALID_FOREIGN_KEY,
}
_NEWEST = "select greatest({})::bigint".format(
    ", ".join(
        f"(select max(oid::bigint) from pg_catalog.{name})"
        for name in ("pg_namespace", "pg_class", "pg_type", "pg_proc", "pg_constraint", "pg_rewrite", "pg_extension")
    )
)
_PARTITIONED = "select 1 from pg_catalog.pg_class where oid = any (%s::oid[]) and relkind = 'I'"
_PINNED = (
    "TimeZone = 'UTC'",
    "DateStyle = 'ISO, MDY'",
    "IntervalStyle = 'postgres'",
    "standard_conforming_strings = on",
)


def settings(schemas: Sequence[str], command: str = "set") -> str:
    """SQL, with ``set`` or ``set local``, so that a source means the same in every database.

    Unqualified names mean the managed schemas, in their order, then ``public``. Of a constant ('01/02/2025'::date) the
    server keeps what it meant when it was read.
    """
    names = ", ".join(identifier(name) for name in dict.fromkeys((*schemas, "public")))
    return "; ".join(f"{command} {each}" for each in (f"search_path = {names}", *_PINNED))


def install(
    connection: pg.connection, sources: Sequence[Source], schemas: Sequence[str], *, make_roles: bool = False
) -> list[Installed]:
    """Run the sources in an empty database, in an order that works, and return them in that order.

    Each is tried in turn, those that miss something again after the others, until nothing more succeeds. The
    connection is in autocommit mode, and nobody else makes anything in the database meanwhile. ``make_roles``: the
    server is one of our own.

    Raises:
        Refused: what is missing is in no source, or sources need each other in a circle; every one is named.
        InvalidInput: an object that two sources make, or one outside the managed schemas.
    """
    done: list[Installed] = []
    pending = list(sources)
    with connection.cursor() as cursor:
        cursor.execute(settings(schemas))
        cursor.execute(_NEWEST)
        first = mark = _one(cursor)
        while pending:
            errors: dict[Source, psycopg2.Error] = {}
            for source in pending:
                try:
                    roles.run(cursor, source.plain, make_roles)
                except psycopg2.Error as error:
                    if error.pgcode not in MISSING:
                        raise Refused(
                            f"{source.place_of_error(error)}: {error_text(error)}{_elsewhere(source, done)}"
                        ) from error
                    errors[source] = error
                    continue
                rows = _made(connection, mark)
                if source.concurrently:
                    _refuse_partitioned(cursor, source, rows)
                mark = max((row[1] for row in rows), default=mark)
                done.append(_installed(source, rows, schemas, done))
            if len(errors) == len(pending):
                raise Refused(_unsettled(errors))
            pending = list(errors)
        there = {f"{row[2]} {row[3]}" for row in _made(connection, first)}
    for each in done:
        if each.key not in there and not each.source.attached:
            raise InvalidInput(
                f"{each.source.place}: {each.key} is not there at the end: another source renames or moves it. Write "
                "it here as it is to be."
            )
    _refuse_twice(done)
    read_dependencies(connection, done, schemas)
    return done


def _elsewhere(source: Source, done: Sequence[Installed]) -> str:
    """Where the same is made, or can be."""
    if source.action.verb == "CREATE EXTENSION":
        return (
            "\n  Name a server that has the extension, for scratch databases: --scratch-url "
            "postgresql://user@host/postgres"
        )
    what = (source.action.verb, source.action.names)
    place = next(
        (each.source.place for each in done if (each.source.action.verb, each.source.action.names) == what), None
    )
    return f"\n  {place} makes it, too." if place else ""


def _one(cursor: pg.cursor) -> int:
    row = cursor.fetchone()
    return int(row[0] or 0) if row else 0


_Row = tuple[int, int, str, str, str | None]


def _made(connection: pg.connection, mark: int) -> list[_Row]:
    """What was made since the counter of oids stood there, see sql/created.sql."""
    with catalog.pinned(connection) as prefix, connection.cursor() as cursor:
        text = catalog.sql_text("created", connection.server_version // 10000, "dbt_cicd_toolkit.schema")
        cursor.execute(prefix + text, {"mark": mark})
        return list(cursor.fetchall())


def _refuse_partitioned(cursor: pg.cursor, source: Source, rows: Sequence[_Row]) -> None:
    """The server builds no index of a partitioned table concurrently, which shows where it is to be built so."""
    cursor.execute(_PARTITIONED, [[row[1] for row in rows]])
    if cursor.fetchone():
        raise InvalidInput(
            f"{source.place}: the table is partitioned, and no index of such a table is built concurrently. Leave out "
            "concurrently."
        )


def _installed(
    source: Source,
    rows: Sequence[_Row],
    schemas: Sequence[str],
    done: Sequence[Installed],
) -> Installed:
    made = [(row[0], row[1]) for row in rows]
    if not source.attached:
        kind = source.action.verb.removeprefix("CREATE ").removesuffix(" CONCURRENTLY").lower()
        # A type is made together with that of its arrays.
        main = next((row for row in rows if row[2] == kind and not row[3].endswith("[]")), None)
        if main is None:
            raise InvalidInput(
                f"{source.place}: this {source.action.verb} made nothing that is kept here: another source made it "
                f"before, or it is of a kind that is in no schema.{_elsewhere(source, done)}"
            )
        if kind == "schema" and len(rows) > 1:
            raise InvalidInput(f"{source.place}: this makes several objects. Write a statement for each of them.")
        name = f"{main[2]} {main[3]}"
        home = Reader(main[4]).name() if main[4] else None
        if (home and home.name not in schemas) or main[2] == "cast":
            raise InvalidInput(
                f"{source.place}: {name} is outside of the managed schemas, {', '.join(schemas)}. Take it out."
            )
    elif constraint := next((row for row in rows if row[2] == "constraint"), None):
        name = f"constraint {constraint[3]}"
    else:
        return Installed(source, f"{source.attached} {source.label}", made)
    return Installed(source, name, made)


def _refuse_twice(done: Sequence[Installed]) -> None:
    seen: dict[str, Installed] = {}
    for each in done:
        if other := seen.get(each.key):
            raise InvalidInput(f"{each.source.place}: {each.key} is in {other.source.place}, too. Delete one of them.")
        seen[each.key] = each


def _unsettled(errors: Mapping[Source, psycopg2.Error]) -> str:
    """Who misses what, and who waits for whom in a circle."""
    names = {source: [name.name for name in source.action.names] for source in errors}
    waits = {
        source: [other for other in errors if other is not source and any(_says(error, n) for n in names[other])]
        for source, error in errors.items()
    }
    lines = [
        f"\n  - {source.place}: {error.diag.message_primary!s}{roles.advice(error)}" for source, error in errors.items()
    ]
    text = f"{len(errors)} sources cannot be installed:{''.join(lines)}"
    if circle := _circle(waits):
        around = " → ".join(f"{_title(source)} ({source.place})" for source in circle)
        return f"{text}\nThey need each other in a circle: {around}. Break it: take one of these references out."
    return f"{text}\nWhat they miss is in no source. Add it, or take the reference out."


def _says(error: psycopg2.Error, name: str) -> bool:
    """Does the server miss this name? It writes it in quotes, qualified as the statement did; functions without."""
    said = error.diag.message_primary or ""
    return any(f"{before}{name}{after}" in said for before in ('"', ".", " ") for after in ('"', "("))


def _title(source: Source) -> str:
    name = source.action.names[0] if source.action.names else None
    return source.label if name is None else f"{name.schema}.{name.name}" if name.schema else name.name


def _circle(waits: Mapping[Source, Sequence[Source]]) -> list[Source]:
    """The first circle found, its first element again at its end; [] when there is none."""
    for start in waits:
        path: list[Source] = []
        source: Source | None = start
        while source is not None:
            if source in path:
                return [*path[path.index(source) :], source]
            path.append(source)
            source = next(iter(waits[source]), None)
    return []
