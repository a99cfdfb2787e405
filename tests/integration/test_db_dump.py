"""Dumps: loadable, equal to what they were made of, the same bytes each time, without secrets; and pg_dump found."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

import pytest

from dbt_cicd_toolkit.errors import Refused
from dbt_cicd_toolkit.postgres import catalog, dump, embedded
from dbt_cicd_toolkit.postgres.catalog import Selection
from dbt_cicd_toolkit.postgres.script import split
from dbt_cicd_toolkit.postgres.settings import Setting, Settings
from dbt_cicd_toolkit.postgres.settings import embedded as settings_of
from support.databases import Databases

ALL = Selection()


def dumped(databases: Databases, name: str, selection: Selection = ALL) -> str:
    with contextlib.closing(databases.connect(name)) as connection:
        return dump.dump(settings_of(databases.server, name), selection, connection)


def fingerprint(databases: Databases, name: str, selection: Selection = ALL) -> dict[str, str]:
    with contextlib.closing(databases.connect(name)) as connection:
        return catalog.fingerprint(connection, selection)


def load_with_psql(databases: Databases, text: str, file: Path) -> str:
    """A new database that psql loaded the text into."""
    file.write_bytes(text.encode())
    name = databases.make()
    databases.run(name, "psql", "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-f", str(file))
    return name


def load_statement_by_statement(databases: Databases, text: str) -> str:
    name = databases.make()
    with contextlib.closing(databases.connect(name)) as connection, connection.cursor() as cursor:
        for statement in split(text, "dump").statements:
            cursor.execute(statement.text)
    return name


def test_a_dump_loads_and_gives_an_equal_fingerprint(databases: Databases, tmp_path: Path) -> None:
    rich = databases.rich()
    text = dumped(databases, rich)
    expected = fingerprint(databases, rich)
    assert fingerprint(databases, load_with_psql(databases, text, tmp_path / "a.sql")) == expected
    ours = load_statement_by_statement(databases, text)
    assert fingerprint(databases, ours) == expected
    assert dumped(databases, rich) == text


def test_a_dump_holds_no_password_owner_tablespace_or_version(databases: Databases) -> None:
    text = dumped(databases, databases.rich())
    assert "never told" not in text
    assert re.search(r"password '\*\*\*'", text)
    assert "OWNER TO" not in text and "TABLESPACE" not in text.upper().replace("DEFAULT_TABLESPACE", "")
    assert "Dumped" not in text and "transaction_timeout" not in text


def test_the_key_that_restricts_psql_depends_on_the_text_alone(databases: Databases) -> None:
    name = databases.make()
    before = dumped(databases, name)
    databases.execute(name, "create table t (a integer)")
    after = dumped(databases, name)
    keys = [re.findall(r"^\\(?:un)?restrict ([0-9a-f]{64})$", text, re.MULTILINE) for text in (before, after)]
    assert [len(key) for key in keys] == [2, 2]
    assert keys[0][0] == keys[0][1] != keys[1][0]


def test_a_dump_is_limited_to_schemas_and_brings_the_extensions_they_need(databases: Databases, tmp_path: Path) -> None:
    name = databases.make()
    databases.execute(
        name,
        """
        create schema kept; create schema lost; create schema ext;
        create extension vector schema ext;
        create table kept.t (a serial primary key, v ext.vector(3));
        create table lost.t (a integer); create table public.t (a integer);
        """,
    )
    selection = Selection(schemas=("kept", "public"))
    text = dumped(databases, name, selection)
    assert " lost." not in text
    loaded = load_with_psql(databases, text, tmp_path / "a.sql")
    assert fingerprint(databases, loaded, selection) == fingerprint(databases, name, selection)
    assert databases.rows(
        loaded,
        "select nspname from pg_extension e join pg_namespace n on n.oid = extnamespace where extname = 'vector'",
    ) == [("ext",)]
    only_public = dumped(databases, name, Selection(schemas=("public",)))
    assert "vector" not in only_public
    load_with_psql(databases, only_public, tmp_path / "b.sql")


def test_excluded_schemas_and_relations_are_left_out_with_their_sequences(databases: Databases, tmp_path: Path) -> None:
    name = databases.make()
    databases.execute(
        name,
        """
        create schema "dbt's ""schema"; create table "dbt's ""schema".model (a integer);
        create table history (rank serial primary key); create table "Odd.Name" (a serial);
        create table kept (a serial);
        create extension vector schema "dbt's ""schema";
        """,
    )
    selection = Selection(
        excluded_schemas=("dbt's \"schema",), excluded_relations=("public.history", "public.Odd.Name")
    )
    text = dumped(databases, name, selection)
    loaded = load_with_psql(databases, text, tmp_path / "a.sql")
    assert databases.rows(
        loaded, "select relname from pg_class where relnamespace = 'public'::regnamespace order by 1"
    ) == [
        ("kept",),
        ("kept_a_seq",),
    ]
    assert fingerprint(databases, loaded, selection) == fingerprint(databases, name, selection)


def test_a_selection_that_needs_what_is_left_out_is_refused(databases: Databases) -> None:
    name = databases.make()
    databases.execute(
        name,
        """
        create schema auth; create schema business;
        create table auth.tenant (id integer primary key); create type auth.mood as enum ('ok');
        create function auth.f() returns integer language sql as 'select 1';
        create table business.hub (id integer references auth.tenant, mood auth.mood, n integer default auth.f());
        create view business.v as select * from auth.tenant;
        create index on business.hub (id);
        """,
    )
    with pytest.raises(Refused) as error:
        dumped(databases, name, Selection(schemas=("business",)))
    assert str(error.value).split("\n") == [
        "what is selected needs what is left out, so that its dump could not be loaded:",
        "  constraint hub_id_fkey on table business.hub needs table auth.tenant",
        "  table business.hub needs function auth.f()",
        "  table business.hub needs type auth.mood",
        "  view business.v needs table auth.tenant",
        "Select it too (schema auth), or leave out also what needs it.",
    ]
    with pytest.raises(Refused, match=r"needs table auth\.tenant"):
        dumped(databases, name, Selection(excluded_relations=("auth.tenant",)))


def test_materialized_views_are_refreshed_behind_those_they_read(databases: Databases, tmp_path: Path) -> None:
    name = databases.make()
    databases.execute(
        name,
        """
        create materialized view z as select 1 as a; create view between as select a from z;
        create materialized view a as select a from between;
        create materialized view m as select a from a union table z;
        create materialized view empty as select 1 as x with no data;
        """,
    )
    text = dumped(databases, name)
    assert re.findall("^REFRESH.*", text, re.MULTILINE) == [
        f"REFRESH MATERIALIZED VIEW public.{view};" for view in ("z", "a", "m")
    ]
    loaded = load_with_psql(databases, text, tmp_path / "a.sql")
    assert fingerprint(databases, loaded) == fingerprint(databases, name)


def test_an_empty_database_gives_a_loadable_dump(databases: Databases, tmp_path: Path) -> None:
    name = databases.make()
    loaded = load_with_psql(databases, dumped(databases, name), tmp_path / "a.sql")
    assert fingerprint(databases, loaded) == fingerprint(databases, name)


def test_what_pg_dump_says_is_told(databases: Databases) -> None:
    name = databases.make()
    with (
        contextlib.closing(databases.connect(name)) as connection,
        pytest.raises(Refused, match=r'pg_dump failed \(exit code 1\):\n.*database "nowhere" does not exist'),
    ):
        dump.dump(settings_of(databases.server, "nowhere"), ALL, connection)


SETTINGS = {
    "standard_conforming_strings": "off",
    "client_encoding": "LATIN1",
    "datestyle": "German",
    "intervalstyle": "sql_standard",
    "bytea_output": "escape",
    "search_path": "elsewhere",
    "quote_all_identifiers": "on",
}


def test_settings_of_the_database_do_not_matter(databases: Databases, tmp_path: Path) -> None:
    name = databases.make()
    databases.execute(
        name,
        r"""
        create table t (a text default '\ ä€', d date default '2026-02-01', i interval default '1 day 2 hours',
            b bytea default '\x00ff', t timestamptz default '2026-02-01 10:00+00');
        comment on table t is 'a\b ä€';
        create function f() returns text language sql as 'select ''\n''';
        """,
    )
    expected = fingerprint(databases, name)
    databases.execute(name, "".join(f"alter database {name} set {key} = '{to}';" for key, to in SETTINGS.items()))
    with contextlib.closing(databases.connect(name, client_encoding="UTF8")) as connection:
        assert catalog.fingerprint(connection, ALL) == expected
        text = dump.dump(settings_of(databases.server, name), ALL, connection)
    assert "ä€" in text
    assert fingerprint(databases, load_with_psql(databases, text, tmp_path / "a.sql")) == expected
    assert fingerprint(databases, load_statement_by_statement(databases, text)) == expected


def test_options_of_the_settings_are_kept(databases: Databases) -> None:
    name = databases.make()
    databases.execute(name, f"alter database {name} set standard_conforming_strings = off")
    settings = settings_of(databases.server, name)
    settings = Settings({**settings.values, "options": Setting("-c role=nobody_at_all", "a test")})
    with contextlib.closing(databases.connect(name)) as connection, pytest.raises(Refused, match="nobody_at_all"):
        dump.dump(settings, ALL, connection)


def test_what_is_not_utf8_is_refused(databases: Databases) -> None:
    name = databases.make("template0 encoding SQL_ASCII lc_collate 'C' lc_ctype 'C'")
    with contextlib.closing(databases.connect(name)) as connection, connection.cursor() as cursor:
        cursor.execute(b"create function f() returns text language sql as $$ select 'caf\xe9' $$")
    with pytest.raises(Refused, match=r"invalid byte sequence for encoding \"UTF8\": 0xe9"):
        dumped(databases, name)


def test_what_pg_dump_writes_must_be_utf8(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = fake_pg_dump(tmp_path / "bin", "18.1")
    program.write_text(program.read_text() + "printf '\\ncaf\\351;\\n'\n")
    monkeypatch.setenv("PATH", str(program.parent))
    with pytest.raises(Refused, match=r"wrote is not UTF-8 \(line 3: b'caf\\xe9;'\)"):
        dumped(databases, databases.make())


@pytest.mark.parametrize(("failures", "ends"), [(4, True), (5, False)])
def test_pg_dump_is_run_again_when_it_lost_sight_of_something(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: int, ends: bool
) -> None:
    program = fake_pg_dump(tmp_path / "bin", "18.1")
    program.write_text(
        f"""#!/bin/sh
        [ "$1" = --version ] && echo 'pg_dump (PostgreSQL) 18.1' && exit
        echo >> {tmp_path}/tries
        [ $(wc -l < {tmp_path}/tries) -gt {failures} ] && exec {databases.server.bin}/pg_dump "$@"
        echo 'pg_dump: error: query failed: FEHLER:  konnte Relation mit OID 4711 nicht oeffnen' >&2
        exit 1
        """
    )
    name = databases.make()
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    if ends:
        assert "PostgreSQL database dump complete" in dumped(databases, name)
    else:
        with pytest.raises(Refused, match="OID 4711"):
            dumped(databases, name)


def fake_pg_dump(folder: Path, version: str) -> Path:
    """A program that says it is a pg_dump of a version."""
    folder.mkdir()
    program = folder / "pg_dump"
    program.write_text(f"#!/bin/sh\necho 'pg_dump (PostgreSQL) {version}'\n")
    program.chmod(0o755)
    return program


def test_the_first_pg_dump_that_is_not_older_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_pg_dump(tmp_path / "old", "13.4 (Debian 13.4-1)")
    same, newer = fake_pg_dump(tmp_path / "same", "16.1"), fake_pg_dump(tmp_path / "newer", "19devel")
    monkeypatch.setenv("PATH", os.pathsep.join(str(tmp_path / name) for name in ("none", "old", "same", "newer")))
    monkeypatch.setattr(dump, "_ELSEWHERE", ())
    assert dump.find_pg_dump(16) == same
    assert dump.find_pg_dump(17) == newer
    monkeypatch.setenv("PATH", str(tmp_path / "old"))
    assert dump.find_pg_dump(18) == embedded.binaries(18) / "pg_dump"
    assert dump.find_pg_dump(17) == embedded.binaries(18) / "pg_dump"


def test_only_older_ones_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = fake_pg_dump(tmp_path / "old", "13.4 (Debian 13.4-1)")
    monkeypatch.setenv("PATH", str(tmp_path / "old"))
    monkeypatch.setattr(dump, "_ELSEWHERE", ())
    with pytest.raises(Refused) as error:
        dump.find_pg_dump(21)
    assert str(error.value).startswith(
        f"the server is PostgreSQL 21, and every pg_dump found is older: {program} (13.4), "
    )
    assert "Install pg_dump 21 or later" in str(error.value)
