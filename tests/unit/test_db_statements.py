"""What a statement is, form by form. Its twin in tests/integration asks PostgreSQL about transactions."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbt_cicd_toolkit.postgres.script import split
from dbt_cicd_toolkit.postgres.statements import (
    Action,
    Name,
    action,
    asks_no_transaction,
    cluster_wide,
    forbidden,
    reason_to_run_singly,
    transactional,
)


def name(text: str) -> Name:
    schema, _, last = text.rpartition(".")
    return Name(schema or None, last)


def act(verb: str, names: str = "", table: str = "", **others: object) -> Action:
    return Action(verb, tuple(map(name, names.split())), name(table) if table else None, **others)  # type: ignore[arg-type]


EXISTS, CASCADE, ALONE = {"if_exists": True}, {"cascade": True}, {"alone": True}
CONCURRENTLY = {"concurrently": True, "alone": True}
ACTIONS = {
    "create table a.b (c int)": act("CREATE TABLE", "a.b"),
    "CREATE GLOBAL TEMPORARY TABLE IF NOT EXISTS B()": act("CREATE TABLE", "b", **EXISTS),
    'create unlogged table db.s."T ""x"""()': Action("CREATE TABLE", (Name("s", 'T "x"'),)),
    "create or replace view Ärger as select 1": act("CREATE VIEW", "Ärger"),
    "create materialized view m as select 1": act("CREATE MATERIALIZED VIEW", "m"),
    "create or replace function a.f(x int) returns int": act("CREATE FUNCTION", "a.f"),
    "create schema a": act("CREATE SCHEMA", "a"),
    "create schema if not exists authorization joe": act("CREATE SCHEMA", "joe", **EXISTS),
    "create unique index i on only a.t (b)": act("CREATE INDEX", "i", "a.t"),
    "create index on t (b)": act("CREATE INDEX", "", "t"),
    "create/**/unique index--\nconcurrently if not exists i on t (b)": act(
        "CREATE INDEX CONCURRENTLY", "i", "t", **EXISTS, **CONCURRENTLY
    ),
    "create index concurrently on t (b)": act("CREATE INDEX CONCURRENTLY", "", "t", **CONCURRENTLY),
    "create constraint trigger g after update of a, b on s.t for each row execute function f()": act(
        "CREATE TRIGGER", "g", "s.t"
    ),
    "create rule r as on insert to t do also (notify a; notify b)": act("CREATE RULE", "r", "t"),
    "create policy p on t using (true)": act("CREATE POLICY", "p", "t"),
    "create event trigger e on ddl_command_end execute function f()": act("CREATE EVENT TRIGGER", "e"),
    "create cast (a as b) without function": act("CREATE CAST"),
    "create user mapping for u server s": act("CREATE USER MAPPING"),
    "create user u": act("CREATE ROLE", "u"),
    "create type a.t as enum ('x')": act("CREATE TYPE", "a.t"),
    "create database d": act("CREATE DATABASE", "d", **ALONE),
    "create tablespace t location '/x'": act("CREATE TABLESPACE", "t", **ALONE),
    "create subscription s connection '' publication p, q": act("CREATE SUBSCRIPTION", "s", **ALONE),
    "create subscription s connection '' publication p with (connect = false)": act("CREATE SUBSCRIPTION", "s"),
    "create subscription s connection '' publication p with (copy_data, create_slot = off)": act(
        "CREATE SUBSCRIPTION", "s"
    ),
    "create subscription s connection '' publication p with (create_slot)": act("CREATE SUBSCRIPTION", "s", **ALONE),
    "drop table if exists a.b, only cascade": act("DROP TABLE", "a.b only", **EXISTS, **CASCADE),
    "drop table a, b, c restrict": act("DROP TABLE", "a b c"),
    "drop function f(int, a.b), g cascade": act("DROP FUNCTION", "f g", **CASCADE),
    "drop operator class o using btree cascade": act("DROP OPERATOR CLASS", "o", **CASCADE),
    "drop operator = (int, int)": act("DROP OPERATOR"),
    "drop trigger if exists g on s.t": act("DROP TRIGGER", "g", "s.t", **EXISTS),
    "drop index a.i, j": act("DROP INDEX", "a.i j"),
    "drop index concurrently if exists a.i": act("DROP INDEX CONCURRENTLY", "a.i", **EXISTS, **CONCURRENTLY),
    "drop owned by a, b cascade": act("DROP OWNED", "a b", **CASCADE),
    "drop group g": act("DROP ROLE", "g"),
    "drop database if exists d with (force)": act("DROP DATABASE", "d", **EXISTS, **ALONE),
    "drop tablespace t": act("DROP TABLESPACE", "t", **ALONE),
    "drop subscription s": act("DROP SUBSCRIPTION", "s", **ALONE),
    "alter table t add c int references u on delete cascade": act("ALTER TABLE", "t", "t"),
    "alter table t drop constraint c cascade": act("ALTER TABLE", "t", "t", **CASCADE),
    "alter table if exists only a.t * drop c": act("ALTER TABLE DROP COLUMN", "a.t", "a.t", columns=("c",), **EXISTS),
    'alter table t add x numeric(3,2), drop column if exists "C d" cascade, drop constraint k, drop E': act(
        "ALTER TABLE DROP COLUMN", "t", "t", columns=("C d", "e"), **CASCADE
    ),
    "alter table t alter c drop not null, alter d drop default": act("ALTER TABLE", "t", "t"),
    "alter table all in tablespace a set tablespace b": act("ALTER TABLE"),
    "alter table a.t detach partition a.p": act("ALTER TABLE DETACH PARTITION", "a.p", "a.t"),
    "alter table t detach partition p finalize": act("ALTER TABLE DETACH PARTITION", "p", "t"),
    "alter table if exists t detach partition p concurrently": act(
        "ALTER TABLE DETACH PARTITION CONCURRENTLY", "p", "t", **EXISTS, **CONCURRENTLY
    ),
    "alter type a.t add value if not exists 'x' after 'y'": act("ALTER TYPE ADD VALUE", "a.t", **EXISTS),
    "alter type t add attribute a int, drop attribute b cascade": act(
        "ALTER TYPE DROP ATTRIBUTE", "t", columns=("b",), **CASCADE
    ),
    "alter type t rename value 'a' to 'b'": act("ALTER TYPE", "t"),
    "alter trigger g on t rename to h": act("ALTER TRIGGER", "g", "t"),
    "alter system set a = 1": act("ALTER SYSTEM", **ALONE),
    "alter database d set tablespace t": act("ALTER DATABASE SET TABLESPACE", "d", **ALONE),
    "alter database d set a = 1": act("ALTER DATABASE", "d"),
    "alter default privileges in schema a grant select on tables to b": act("ALTER DEFAULT PRIVILEGES"),
    "alter user u password 'x'": act("ALTER ROLE", "u"),
    "alter subscription s refresh publication": act("ALTER SUBSCRIPTION", "s", **ALONE),
    "alter subscription s set publication p, q": act("ALTER SUBSCRIPTION", "s", **ALONE),
    "alter subscription s add publication p with (refresh = false)": act("ALTER SUBSCRIPTION", "s"),
    "alter subscription s set (failover = true)": act("ALTER SUBSCRIPTION", "s", **ALONE),
    "alter subscription s set (binary = true)": act("ALTER SUBSCRIPTION", "s"),
    "alter subscription s disable": act("ALTER SUBSCRIPTION", "s"),
    "truncate table only a.t, u * cascade": act("TRUNCATE", "a.t u", "a.t", **CASCADE),
    "truncate t": act("TRUNCATE", "t", "t"),
    "delete from only a.t": act("DELETE", "", "a.t"),
    "insert into t values (1)": act("INSERT", "", "t"),
    "update t set a = 1": act("UPDATE", "", "t"),
    "merge into t using u on true when matched then delete": act("MERGE", "", "t"),
    "copy a.t (b) from stdin": act("COPY", "", "a.t"),
    "copy (select 1) to stdout": act("COPY"),
    "with a as (select 1), b (x) as (values (2)) delete from t": act("DELETE", "", "t"),
    "with recursive a as materialized (select delete from x) select 1": act("SELECT"),
    "with a as (delete from t returning *) select * from a": act("DELETE", "", "t"),
    "with a as (delete from t returning *) insert into u select * from a": act("INSERT", "", "u"),
    "((select 1) union (select 2))": act("SELECT"),
    "vacuum": act("VACUUM", **ALONE),
    "vacuum full verbose a.t, u (b)": act("VACUUM FULL", "a.t u", **ALONE),
    "vacuum (full, analyze) t": act("VACUUM FULL", "t", **ALONE),
    "vacuum (full off) t": act("VACUUM", "t", **ALONE),
    "analyze verbose t (a), u": act("ANALYZE", "t u"),
    "cluster": act("CLUSTER", **ALONE),
    "cluster (verbose)": act("CLUSTER", **ALONE),
    "cluster verbose a.t using i": act("CLUSTER", "a.t", "a.t"),
    "cluster i on t": act("CLUSTER", "t", "t"),
    "reindex table t": act("REINDEX TABLE", "t"),
    "reindex (verbose) index concurrently a.i": act("REINDEX INDEX CONCURRENTLY", "a.i", **CONCURRENTLY),
    "reindex (concurrently) table t": act("REINDEX TABLE CONCURRENTLY", "t", **CONCURRENTLY),
    "reindex (concurrently false, tablespace x) table t": act("REINDEX TABLE", "t"),
    "reindex schema a": act("REINDEX SCHEMA", "a", **ALONE),
    "reindex database": act("REINDEX DATABASE", **ALONE),
    "reindex system concurrently d": act("REINDEX SYSTEM CONCURRENTLY", "d", **CONCURRENTLY),
    "refresh materialized view concurrently a.m with data": Action(
        "REFRESH MATERIALIZED VIEW CONCURRENTLY", (Name("a", "m"),), concurrently=True
    ),
    "lock table only a.t, u in share mode": act("LOCK", "a.t u"),
    "comment on table a.t is 'x'": act("COMMENT ON TABLE", "a.t"),
    "comment on column t.c is 'x'": act("COMMENT ON COLUMN"),
    "comment on role r is null": act("COMMENT ON ROLE", "r"),
    "security label for p on database d is 'x'": act("SECURITY LABEL ON DATABASE", "d"),
    "grant select (a, b) on t to u": act("GRANT"),
    "grant all on database d to u": act("GRANT ON DATABASE"),
    "grant a, b to c with admin option": act("GRANT ROLE"),
    "revoke admin option for a from b": act("REVOKE ROLE"),
    "revoke create on tablespace t from b": act("REVOKE ON TABLESPACE"),
    "call a.p(1)": act("CALL", "a.p"),
    "do $$ drop table t $$": act("DO"),
    "set a = 'drop'": act("SET"),
    "explain analyze delete from t": act("EXPLAIN"),
    "begin": act("BEGIN"),
    "start transaction read only": act("START TRANSACTION"),
    "commit and chain": act("COMMIT"),
    "commit prepared 'x'": act("COMMIT PREPARED"),
    "rollback work": act("ROLLBACK"),
    "rollback transaction to savepoint s": act("ROLLBACK TO"),
    "rollback prepared 'x'": act("ROLLBACK PREPARED"),
    "prepare transaction 'x'": act("PREPARE TRANSACTION"),
    "prepare transaction as select 1": act("PREPARE"),
    "discard all": act("DISCARD ALL"),
    "discard plans": act("DISCARD"),
    "savepoint s": act("SAVEPOINT"),
    "reassign owned by a to b": act("REASSIGN OWNED"),
    "": act(""),
    "'x'": act(""),
}


@pytest.mark.parametrize(("text", "expected"), ACTIONS.items(), ids=ACTIONS)
def test_action(text: str, expected: Action) -> None:
    assert action(text) == expected
    assert transactional(expected) is not expected.alone


def test_names_are_cut_as_postgresql_cuts_them() -> None:
    assert action(f"drop table {'É' * 40}").names == (Name(None, "É" * 31),)
    assert action(f'drop table U&"\\00e9{"x" * 70}"').names == (Name(None, "é" + "x" * 61),)


@given(st.lists(st.sampled_from([*"abc.,()*='", *" \n", *" ".join(ACTIONS).upper().split()]), max_size=20))
@settings(deadline=None)
def test_any_words(words: list[str]) -> None:
    assert action(" ".join(words)).verb is not None


CLUSTER_WIDE = [
    *("create role r", "create user u", "alter group g add user u", "drop user u", "alter role all set a = 1"),
    *("create tablespace t location ''", "alter tablespace t rename to u", "drop tablespace t"),
    *("create database d", "alter database d owner to r", "drop database d", "alter system reset all"),
    *("grant a to b", "revoke a from b", "grant connect on database d to b", "grant set on parameter a to b"),
    *("comment on role r is ''", "comment on database d is ''", "comment on tablespace t is ''"),
    *("security label on role r is ''", "reassign owned by a to b", "drop owned by a", "drop subscription s"),
]
LOCAL = [
    *("create user mapping for u server s", "alter default privileges for role r grant select on tables to b"),
    *(
        "grant select on t to b",
        "comment on table t is ''",
        "create table role (a int)",
        "set role r",
        "drop schema database",
    ),
    *(
        "alter table t owner to r",
        "create policy p on t to r",
        "security label on table t is ''",
        "create type database",
    ),
]


@pytest.mark.parametrize("text", [*CLUSTER_WIDE, *LOCAL])
def test_cluster_wide(text: str) -> None:
    assert cluster_wide(action(text)) is (text in CLUSTER_WIDE)


FORBIDDEN = [
    *(
        "begin",
        "start transaction",
        "commit",
        "end",
        "rollback",
        "rollback and chain",
        "abort",
        "prepare transaction 'x'",
    ),
    *("commit prepared 'x'", "rollback prepared 'x'", "discard all", "begin isolation level serializable", "end work"),
]
ALLOWED = [
    "savepoint s",
    "rollback to s",
    "rollback work to savepoint s",
    "release s",
    "discard temp",
    "prepare p as select 1",
]


@pytest.mark.parametrize("text", [*FORBIDDEN, *ALLOWED])
def test_forbidden(text: str) -> None:
    assert (forbidden(action(text)) is not None) is (text in FORBIDDEN)


SINGLY = {
    "nothing": ("", None),
    "all may be together": ("create table t (); create index i on t (a); drop table t; analyze; do $$vacuum$$", None),
    "the first that may not": ("select 1;\n vacuum; reindex schema a", (2, "VACUUM cannot run inside a transaction")),
    "create index concurrently": (
        "create unique index concurrently i on t (a)",
        (1, "CREATE INDEX CONCURRENTLY cannot run inside a transaction"),
    ),
    "detach with long names": (
        'alter table if exists only "a"."b" detach partition c.d concurrently',
        (1, "ALTER TABLE DETACH PARTITION CONCURRENTLY cannot run inside a transaction"),
    ),
    "words in a name only": (
        "create table concurrently (database int, tablespace int); alter table t add system int",
        None,
    ),
    "asked for": (
        "-- x\n/* y */ -- dbt-cicd: no-transaction\ncall p()",
        (3, "the file asks for it: -- dbt-cicd: no-transaction"),
    ),
    "asked for too late": ("call p(); -- dbt-cicd: no-transaction", None),
    "asked for inside a comment": ("/*\n-- dbt-cicd: no-transaction\n*/ call p()", None),
    "a label, not used": ("alter type t add value 'x'; insert into u values ('y')", None),
    "a label, used before": ("insert into u values ('x'); alter type t add value 'x'", None),
    "a label, used as a neighbour": ("alter type t add value 'x'; alter type t add value 'y' after 'x'", None),
    "a label, used": (
        "select 1; alter type a.t add value if not exists 'it''s' after 'x';\nupdate u set v = E'it\\'s'",
        (1, "'it''s' is added here and used in line 2, which needs a commit between"),
    ),
    "a label, used, of a type made here": (
        "create type t as enum (); alter type t add value 'x'; select 'x'::t",
        (1, "'x' is added here and used in line 1, which needs a commit between"),
    ),
    "a label, used in a body": (
        "alter type t add value 'x';\n\ndo $$begin insert into u values ('x'); end$$",
        (1, "'x' is added here and used in line 3, which needs a commit between"),
    ),
    "a label, used in data": (
        "alter type t add value 'x y';\ncopy u from stdin;\n1\tx y\n\\.\n",
        (1, "'x y' is added here and used in line 2, which needs a commit between"),
    ),
}


@pytest.mark.parametrize(("text", "expected"), SINGLY.values(), ids=SINGLY)
def test_reason_to_run_singly(text: str, expected: tuple[int, str] | None) -> None:
    found = reason_to_run_singly(split(text, "x"))
    assert (found and (found[0].line, found[1])) == expected


def test_a_file_that_asks() -> None:
    asked = split("-- dbt-cicd:no-transaction \r\ncall p(); do ''; select 1", "x")
    assert asks_no_transaction(asked)
    assert [transactional(action(each.text), no_transaction=True) for each in asked.statements] == [False, False, True]
    assert asks_no_transaction(split("-- dbt-cicd: no-transaction", "x"))
