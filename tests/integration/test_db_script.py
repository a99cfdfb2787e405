"""Files run statement by statement do to a real server what `psql -f` does."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import pglast
import pytest

from dbt_cicd_toolkit.postgres.script import Statement, split
from support.databases import Databases

HARD = Path(__file__).parents[1] / "support" / "hard.sql"
# What psql itself cuts at the wrong place: it reads by line, and counts CASE and END wherever they stand.
BEYOND_PSQL = r"""
CREATE TABLE t AS SELECT E'a' --
  'b\';' AS e;
CREATE FUNCTION e() RETURNS int BEGIN ATOMIC SELECT 1 AS end; SELECT t.case FROM (SELECT 2 AS case) t; END;
CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1 end; SELECT CASE WHEN true THEN 3 END end; END;
CREATE FUNCTION g(begin int) RETURNS int RETURN begin;
CREATE FUNCTION h() RETURNS int LANGUAGE sql AS 'SELECT 1';
"""


def run(databases: Databases, name: str, statements: tuple[Statement, ...]) -> None:
    with contextlib.closing(databases.connect(name)) as connection, connection.cursor() as cursor:
        for statement in statements:
            if statement.data is None:
                cursor.execute(statement.text)
            else:
                cursor.copy_expert(statement.text, io.StringIO(statement.data))


def contents(databases: Databases, name: str) -> str:
    dump = databases.run(name, "pg_dump", "--no-owner")
    return "\n".join(line for line in dump.splitlines() if "restrict" not in line)


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_a_hard_file_as_psql_runs_it(databases: Databases, tmp_path: Path, newline: str) -> None:
    text = HARD.read_text(encoding="utf-8").replace("\n", newline)
    path = tmp_path / "hard.sql"
    path.write_bytes(text.encode())
    theirs, ours = databases.make(), databases.make()
    # A psql before the minor release that knows \restrict takes these lines for errors and goes on.
    databases.run(theirs, "psql", "-Xqf", str(path))
    run(databases, ours, split(text, "hard.sql").statements)
    assert contents(databases, ours) == contents(databases, theirs)
    assert databases.rows(ours, "select e from seen where n in (2, 4, 5)") == [("e\\",), ("hi;",), ("4",)]


def test_what_psql_cuts_wrongly(databases: Databases) -> None:
    name = databases.make()
    run(databases, name, split(BEYOND_PSQL, "x").statements)
    assert databases.rows(name, "select e(), f(), g(5), h(), e from t") == [(2, 3, 5, 1, "ab';")]


def test_a_dump_as_psql_loads_it(databases: Databases, tmp_path: Path) -> None:
    path = tmp_path / "dump.sql"
    path.write_text(databases.run(databases.rich(), "pg_dump", "--no-owner"), encoding="utf-8")
    theirs, ours = databases.make(), databases.make()
    databases.run(theirs, "psql", "-Xqf", str(path))
    run(databases, ours, split(path.read_text(encoding="utf-8"), "dump.sql").statements)
    assert contents(databases, ours) == contents(databases, theirs)


def test_a_dump_as_the_servers_parser_splits_it(databases: Databases) -> None:
    dump = databases.run(databases.rich(), "pg_dump", "--inserts")
    text = "".join(line for line in dump.splitlines(keepends=True) if not line.startswith("\\"))
    assert [each.text for each in split(dump, "dump.sql").statements] == [
        text[piece] for piece in pglast.parser.split(text, only_slices=True)
    ]
