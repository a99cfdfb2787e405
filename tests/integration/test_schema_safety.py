"""What would lose data, or could never be upgraded, is refused when the release is made; and what is in the way of an
upgrade is told: other sessions, roles that are not there."""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

from dbt_cicd_toolkit.postgres import embedded
from support.databases import Databases
from support.schema_project import SchemaProject
from support.schema_releases import Stage, installed, released

if TYPE_CHECKING:
    from conftest import MakeSchema

once = pytest.mark.parametrize("databases", [18], indirect=True, ids=["any"])
T = "create schema s; create table s.t (id integer primary key, a text, n numeric);"


def refusal(project: SchemaProject, source: str, *deltas: str, code: int = 1) -> str:
    """What `release` says to these sources and deltas; it must refuse them."""
    project.write({"objects.sql": source})
    for delta in deltas:
        project.done("delta", delta)
    result = project.schema("release", "9.0.0")
    assert result.code == code, (result.out, result.err)
    return result.err


def entered(message: str) -> list[str]:
    """The lines that a refusal asks for, as a shell reads them."""
    return [shlex.split(each)[-1] for each in re.findall(r"Enter: (.*)", message)]


# Indexes of partitioned tables

PARTED = """create schema s; create table s.e (id integer) partition by list (id);
{}create table s.p partition of s.e default;"""


@once
def test_a_concurrent_index_of_a_partitioned_table_is_refused(make_schema: MakeSchema) -> None:
    index = "create index concurrently ei on s.e (id);"
    project = released(make_schema, "s", Stage(PARTED.format("")))
    message = refusal(project, PARTED.format(index), code=2)
    assert "objects.sql:2:1: the table is partitioned" in message
    project.write({"objects.sql": PARTED.format(index.replace("s.e", "s.p"))})
    project.done("release", "2.0.0")
    database = installed(project)
    project.done("upgrade", database=database)


# Roles


GRANTED = T + "grant select on s.t to {};"


def role(databases: Databases, name: str) -> str:
    """A name that the server of the test does not have; the scratch servers keep theirs."""
    databases.execute("postgres", f"drop role if exists {name}")
    return name


def test_a_role_that_is_missing_is_told_with_what_makes_it(make_schema: MakeSchema, databases: Databases) -> None:
    name = role(databases, "bill_reader")
    project = released(make_schema, "s", Stage(T), Stage(GRANTED.format(name)))
    result = project.schema("install", database=databases.make())
    assert result.code == 1
    assert f'create role "{name}"' in result.err
    result = project.schema("upgrade", database=installed(project))
    assert result.code == 1
    assert f'create role "{name}"' in result.err
    assert "Everything was rolled back." in result.err


@once
def test_a_new_role_is_told_when_the_release_is_made(make_schema: MakeSchema) -> None:
    project = make_schema()
    project.done("init", "--schemas", "s")
    one, both = GRANTED.format("bill_reader"), GRANTED.format("bill_reader, bill_wirter")
    for number, (source, new) in enumerate(
        ((one, ["bill_reader"]), (f"{one} comment on table s.t is 'x';", []), (both, ["bill_wirter"])), 1
    ):
        project.write({"objects.sql": source})
        told = re.findall(r"role (\S+) is new", project.done("release", f"{number}.0.0").err)
        assert told == new


@once
def test_the_project_s_own_server_gets_the_roles(make_schema: MakeSchema) -> None:
    project = released(
        make_schema,
        "s",
        Stage(T),
        Stage(GRANTED.format("bill_reader") + "create policy p on s.t to bill_writer using (true);"),
    )
    local = project.path / ".local"
    shared = local.resolve()
    local.unlink()
    local.mkdir()
    for each in shared.glob("scratch-*"):
        (local / each.name).symlink_to(each)
    try:
        told = project.done("install", "--embedded", "--to", "1.0.0").err
        assert "role " not in told
        told = project.done("upgrade", "--embedded").err
        assert "role bill_reader is made" in told
        assert "role bill_writer is made" in told
        told = project.done("install", "--embedded", database="second").err
        assert "role " not in told
    finally:
        embedded.stop(local / "postgres")


# Others in the way

SEEN = T + "create view s.v as select id from s.t;"  # its query is read under a lock of the table
TWO = (Stage(T), Stage(T.replace("n numeric", "n numeric, more date")))


@pytest.mark.parametrize("command", ["upgrade", "check"])
def test_a_lock_that_never_ends_is_told_with_its_holder(
    make_schema: MakeSchema, databases: Databases, command: str
) -> None:
    project = released(make_schema, "s", Stage(SEEN), Stage(T))
    database = installed(project)
    with contextlib.closing(databases.connect(database, application_name="the culprit")) as other:
        other.cursor().execute("begin; lock table s.t")
        result = project.schema(command, "--wait", "0", database=database)
        pid = other.info.backend_pid
    assert result.code == 1
    assert "in: reading the catalog" in result.err
    assert f"table s.t is locked (AccessExclusiveLock) by server process {pid} (" in result.err
    assert "the culprit" in result.err


def test_a_statement_that_waits_is_told_with_the_holder(make_schema: MakeSchema, databases: Databases) -> None:
    project = released(make_schema, "s", *TWO)
    database = installed(project)
    with contextlib.closing(databases.connect(database)) as other:
        other.cursor().execute("begin; lock table s.t in access share mode")
        result = project.schema("upgrade", "--wait", "0", database=database)
        pid = other.info.backend_pid
    assert result.code == 1
    assert "in: alter table s.t add column more date" in result.err
    assert f"table s.t is locked (AccessShareLock) by server process {pid} (" in result.err
    assert "Everything was rolled back." in result.err


@pytest.mark.parametrize("command", ["upgrade", "check", "plan"])
def test_a_lock_that_ends_is_waited_for(make_schema: MakeSchema, databases: Databases, command: str) -> None:
    project = released(make_schema, "s", Stage(SEEN), Stage(SEEN.replace("a text", "a text not null")))
    database = installed(project)
    with contextlib.closing(databases.connect(database)) as other:
        other.cursor().execute("begin; lock table s.t")
        process = project.start(command, "--wait", "60", database=database)
        told = next(line for line in process.stderr if "trying again" in line)
        other.cursor().execute("rollback")
    out, err = process.communicate()
    assert process.returncode == 0, (told, out, err)


# What is still in the sources


@once
@pytest.mark.parametrize(
    ("delta", "said"),
    [
        ("t drop table", "s.t is still in the sources."),
        ("t drop a", "column a is still in the source of s.t."),
    ],
)
def test_what_is_still_in_the_sources_is_not_dropped(make_schema: MakeSchema, delta: str, said: str) -> None:
    project = released(make_schema, "s", Stage(T))
    message = refusal(project, T + "create view s.v as select id from s.t;", delta)
    assert f"schema.delta:2: {said} Take it out there" in message


@once
def test_a_table_that_goes_takes_no_other_along(make_schema: MakeSchema) -> None:
    child = "create table s.c () inherits (s.t);"
    project = released(make_schema, "s", Stage(T + child))
    alone = "create schema s; create table s.c (id integer not null, a text, n numeric);"
    assert "s.c, which is a partition of it or inherits from it" in refusal(project, alone, "t drop table")
    project.done("delta", "pop")
    message = refusal(project, "create schema s;")
    assert entered(message) == ["s.c drop table", "s.t drop table"]
    for line in ("s.c drop table", "s.t drop table"):
        project.done("delta", line)
    project.done("release", "2.0.0")


@once
@pytest.mark.parametrize(
    ("source", "deltas", "rows"),
    [
        pytest.param(
            T.replace("a text, n numeric", "n numeric, b text"),
            ["t add b text a", "t drop a"],
            (1, "x"),
            id="other-name",
        ),
        pytest.param(
            "create schema s; create table s.t (id integer primary key, n numeric, a text);",
            ["t update set a = 'y'", "t drop a", "t add a text 'z'"],
            (1, "z"),
            id="made-again",
        ),
        pytest.param(
            "create schema s; create table s.t (id integer primary key, a numeric);",
            ["t drop a", "t rename n a"],
            (1, 5),
            id="name-of-another",
        ),
        pytest.param(
            "create schema s; create table s.t (id integer primary key, n numeric,"
            " a text generated always as (case when n = 5 then '5' end) stored);",
            ["t drop a"],
            (1, "5"),
            id="computed",
        ),
    ],
)
def test_what_gives_the_name_to_another_is_done(
    make_schema: MakeSchema, source: str, deltas: Sequence[str], rows: tuple[object, ...]
) -> None:
    project = released(make_schema, "s", Stage(T), Stage(source, tuple(deltas)))
    database = installed(project, "insert into s.t values (1, 'x', 5)")
    project.done("upgrade", database=database)
    name = "b" if "b text" in source else "a"
    assert project.databases.rows(database, f"select id, {name} from s.t") == [rows]


# Types that do not hold every value


@pytest.mark.parametrize(
    ("column", "type_", "value", "line"),
    [
        ("a", "varchar(6)", "'a very long text indeed'", "s.t alter a 'character varying(6)'"),
        ("n", "integer", "1.5", "s.t alter n 'integer'"),
        ("n", "numeric(10,1)", "1.25", "s.t alter n 'numeric(10,1)'"),
    ],
)
def test_a_value_that_would_be_cut_or_rounded_refuses_the_upgrade(
    make_schema: MakeSchema, column: str, type_: str, value: str, line: str
) -> None:
    other = T.replace(f"{column} text" if column == "a" else "n numeric", f"{column} {type_}")
    project = released(make_schema, "s", Stage(T))
    message = refusal(project, other)
    assert entered(message) == [line]
    project.done("delta", line)
    project.done("release", "2.0.0")
    database = installed(project, f"insert into s.t (id, {column}) values (1, {value}), (2, '7'), (3, null)")
    rows = f"select id, {column}::text from s.t order by id"
    before = project.databases.rows(database, rows)
    assert project.done("plan", "--json", database=database).json["rows"]
    result = project.schema("upgrade", database=database)
    assert result.code == 1
    assert f"s.t.{column} keeps its values as" in result.err
    assert "1 rows break it" in result.err
    assert project.databases.rows(database, rows) == before
    project.databases.execute(database, "delete from s.t where id = 1")
    project.done("upgrade", database=database)


@once
def test_an_expression_says_that_values_may_change(make_schema: MakeSchema) -> None:
    stages = Stage(T), Stage(T.replace("a text", "a varchar(6)"), ("t alter a 'varchar(6)' left(a, 6)",))
    project = released(make_schema, "s", *stages)
    database = installed(project, "insert into s.t (id, a) values (1, 'a very long text indeed')")
    project.done("upgrade", database=database)
    assert project.databases.rows(database, "select a from s.t") == [("a very",)]


# Triggers

AUDITED = """create schema s; create table s.t (id integer primary key, a text{});
create function s.f() returns trigger language plpgsql as $$ begin raise exception 'it fired'; end $$;
create trigger f before update on s.t for each row execute function s.f();"""


@once
@pytest.mark.parametrize("quiet", [False, True])
def test_the_triggers_of_a_table_that_is_filled(make_schema: MakeSchema, quiet: bool) -> None:
    """As the page on deltas says."""
    lines = ["t add b 'text not null' upper(a)"]
    if quiet:
        lines = [f"t update alter table s.t {each} trigger user" for each in ("disable", "enable")]
        lines.insert(1, "t add b 'text not null' upper(a)")
    project = released(
        make_schema, "s", Stage(AUDITED.format("")), Stage(AUDITED.format(", b text not null"), tuple(lines))
    )
    database = installed(project, "insert into s.t values (1, 'x')")
    result = project.schema("upgrade", database=database)
    assert (result.code, "it fired" in result.err) == ((0, False) if quiet else (1, True)), result.err


# Tables that are gone


@once
def test_a_table_that_is_gone_is_refused_with_the_line(make_schema: MakeSchema) -> None:
    other = "create table s.other (x integer);"
    project = released(make_schema, "s", Stage(T + other))
    message = refusal(project, T)
    assert "s.other: the table is no longer in the sources, and its rows would be lost." in message
    assert entered(message) == ["s.other drop table"]
    assert "If it was renamed, enter `s.other rename table another`" in refusal(
        project, T + other.replace("other", "another")
    )
    assert entered(refusal(project, "create schema s;")) == ["s.other drop table", "s.t drop table"]
    assert "holds no source" in refusal(project, "-- nothing", code=2)


@once
def test_partitions_go_with_their_table(make_schema: MakeSchema) -> None:
    project = released(make_schema, "s", Stage(PARTED.format("")))
    assert entered(refusal(project, "create schema s;")) == ["s.e drop table"]
    project.done("delta", "e drop table")
    project.done("release", "2.0.0")


# Deltas that the sources do not follow


@once
@pytest.mark.parametrize(
    ("delta", "said"),
    [
        ("t rename a b", "schema.delta:2 renames column a to b, which the source does not have. Write it there"),
        ("t add b text", "schema.delta:2 adds column b, and the source does not have it. Write it there"),
        ("t rename table u", "schema.delta:2 renames t so, and the sources have no such table. Write it there"),
    ],
)
def test_a_delta_that_the_source_does_not_follow(make_schema: MakeSchema, delta: str, said: str) -> None:
    project = released(make_schema, "s", Stage(T))
    message = refusal(project, T, delta)
    assert said in message, message
    assert "no longer in the source" not in message
