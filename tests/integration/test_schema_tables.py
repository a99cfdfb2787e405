"""Tables become others where that is safe: they keep their rows and are equal to what is installed anew."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import psycopg2.extensions as pg
import pytest

from dbt_cicd_toolkit.schema import tables
from dbt_cicd_toolkit.schema.changes import changes
from dbt_cicd_toolkit.schema.step import Step
from dbt_cicd_toolkit.schema.tables import Table
from support.databases import Databases
from support.tables import PARENT, PARTED, PARTS, Case, T, cases, columns, difference, installed, query, read

SAFE = cases()
Names = tuple[str, str]


@pytest.fixture(scope="module")
def names(databases: Databases) -> Names:
    return databases.make(), databases.make()


def kept(connection: pg.connection, structure: Iterable[Table]) -> dict[str, list[str]]:
    """The rows of the tables, by those of their columns that are data, in any order."""

    def data(table: Table, row: dict[str, Any]) -> str:
        return json.dumps({name: row[name] for name, each in table.columns.items() if not each.generated})

    return {
        table.name: sorted(
            data(table, row)
            for (row,) in query(connection, f"select to_jsonb(whole) from only {table.name} whole")
        )
        for table in structure
        if table.kind == "r"
    }  # fmt: skip


def run(connection: pg.connection, steps: Iterable[Step]) -> None:
    for step in steps:
        if step.check:
            assert query(connection, f"select count(*) from (\n{step.check.rows}\n) broken") == [(0,)], step.check
        query(connection, step.sql)


@pytest.mark.parametrize("name", SAFE)
def test_tables_become_what_is_installed_anew_and_keep_their_rows(
    databases: Databases, names: Names, name: str
) -> None:
    case = SAFE[name]
    if databases.major < case.since:
        return
    with installed(databases, names[0], case.before) as one, installed(databases, names[1], case.after) as two:
        before, after = read(one), read(two)
        rows = kept(one, (table for name, table in before.items() if name in after))
        found = changes(before, after)
        assert found.refusals == []
        run(one, found.steps)
        assert difference(one, two) == ""
        assert changes(read(one), after).steps == []
        assert kept(one, (table for name, table in before.items() if name in after)) == rows
        assert found.steps or name in ("nothing", "default of varchar in other words")


# What the statements are, where more than their end counts: in which order, and nothing that is not needed.
STATEMENTS: Mapping[str, tuple[Case, list[str]]] = {
    "new column": (Case(T, "create table t (a int, b text, c text)"), ["alter table s.t add column c text"]),
    "new serial": (
        Case(T, "create table t (a int, b text, c serial)"),
        [
            "create sequence if not exists s.t_c_seq as integer increment by 1 minvalue 1 maxvalue 2147483647 "
            "start with 1 cache 1 no cycle",
            "alter table s.t add column c integer default nextval('s.t_c_seq'::regclass) not null",
            "alter sequence s.t_c_seq owned by s.t.c",
        ],
    ),
    "in an order that works": (
        Case(
            PARENT + "create table c (p integer references p, q varchar(3))",
            "create table p (id bigint primary key, k text unique check (k <> ''));"
            "create table c (p bigint not null references p on delete cascade, q text default '', r date, unique (p), "
            "check (p > 0)) with (fillfactor = 70)",
        ),
        [
            "alter table s.c drop constraint c_p_fkey",
            "alter table s.c alter column p type bigint",
            "alter table s.c alter column q type text",
            "alter table s.p alter column id type bigint",
            "alter table s.c add column r date",
            "alter table s.c alter column p set not null",
            "alter table s.c alter column q set default ''::text",
            "alter table s.c add constraint c_p_key UNIQUE (p)",
            "alter table s.c add constraint c_p_check CHECK ((p > 0))",
            "alter table s.p add constraint p_k_check CHECK ((k <> ''::text))",
            "alter table s.c add constraint c_p_fkey FOREIGN KEY (p) REFERENCES s.p(id) ON DELETE CASCADE",
            "alter table s.c set (fillfactor = '70')",
        ],
    ),
    "children follow their parents": (
        Case(
            PARTED + PARTS,
            "create table t (a int not null, b text default 'b' not null, c int default 3) partition by range (a);"
            + PARTS,
        ),
        [
            "alter table s.t add column c integer default 3",
            "alter table s.t alter column b set not null",
            "alter table s.t alter column b set default 'b'::text",
        ],
    ),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_the_statements(databases: Databases, names: Names, name: str) -> None:
    case, statements = STATEMENTS[name]
    with installed(databases, names[0], case.before) as one, installed(databases, names[1], case.after) as two:
        assert [step.sql for step in changes(read(one), read(two)).steps] == statements


def test_what_a_step_says_of_itself(databases: Databases, names: Names) -> None:
    case = columns(
        "a varchar(3), b int, c serial, constraint x check (b > 0), g int generated always as (b) stored",
        "a varchar(4), b int not null, c int not null, constraint y check (b > 0), "
        "g int generated always as (b + 1) stored",
    )
    with (
        installed(databases, names[0], case.before) as one,
        installed(databases, names[1], case.after + "with (fillfactor = 70)") as two,
    ):
        steps = changes(read(one), read(two)).steps
    assert [(step.sql, step.kind, step.object, step.columns) for step in steps] == [
        ("alter table s.t rename constraint x to y", "rename", "table s.t", ()),
        ("alter table s.t alter column c drop default", "alter", "table s.t", ()),
        ("alter table s.t drop column g", "alter", "table s.t", ("g",)),
        ("alter table s.t alter column a type character varying(4)", "alter", "table s.t", ("a",)),
        ("alter table s.t add column g integer generated always as ((b + 1)) stored", "alter", "table s.t", ()),
        ("alter table s.t alter column b set not null", "alter", "table s.t", ()),
        ("drop sequence s.t_c_seq", "drop", "sequence s.t_c_seq", ()),
        ("alter table s.t set (fillfactor = '70')", "metadata", "table s.t", ()),
    ]


def test_a_new_column_or_a_longer_one_rewrites_nothing(databases: Databases, names: Names) -> None:
    before = "create table t (a varchar(5), b numeric(5, 2)); insert into t values ('a', 1)"
    after = "create table t (a varchar(7), b numeric(9, 2), c text, d int not null default 3)"
    with installed(databases, names[0], before) as one, installed(databases, names[1], after) as two:
        file = query(one, "select pg_relation_filenode('s.t')")
        run(one, changes(read(one), read(two)).steps)
        assert query(one, "select pg_relation_filenode('s.t')") == file


# Columns before and after, and the number that the next row gets.
POSITIONS: Mapping[str, tuple[str, str, int]] = {
    "identity": ("a int generated always as identity", "a bigint generated always as identity (increment 2)", 10),
    "serial": ("a serial", "a bigserial", 9),
    "identity for serial": ("a serial", "a bigint generated always as identity", 9),
    "serial for identity": ("a int generated always as identity", "a serial", 9),
    "serial for an integer": ("a int", "a serial", 6),
    "identity for an integer": ("a int not null", "a int not null generated by default as identity", 6),
    "identity downwards": ("a int not null", "a int generated always as identity (maxvalue 7 increment -1)", 3),
    "identity that starts behind": ("a int not null", "a int generated always as identity (start 100)", 100),
    "new serial": ("b int", "b int, a serial", 3),
    "new identity": ("b int", "b int, a int generated always as identity", 3),
}


@pytest.mark.parametrize("name", POSITIONS)
def test_sequences_go_on_from_where_they_were(databases: Databases, names: Names, name: str) -> None:
    first, second, expected = POSITIONS[name]
    case = columns(first, second)
    rows = "; insert into t overriding system value values (4), (5);"
    if "serial" in first or "identity" in first:
        rows += "select setval(pg_get_serial_sequence('t', 'a'), 8);"
    with installed(databases, names[0], case.before + rows) as one, installed(databases, names[1], case.after) as two:
        run(one, changes(read(one), read(two)).steps)
        assert query(one, "insert into s.t default values returning a") == [(expected,)]
        assert difference(one, two) == ""


def test_tables_that_only_one_side_has_are_left_alone(databases: Databases, names: Names) -> None:
    before = "create table a (x int); create table t (a int);"
    after = "create table t (a int); create table b (x int not null);"
    with installed(databases, names[0], before) as one, installed(databases, names[1], after) as two:
        found = changes(read(one), read(two))
        assert (found.steps, found.refusals) == ([], [])


def test_an_index_that_is_made_later_is_marked_later(databases: Databases, names: Names) -> None:
    before = "create table t (a int not null)"
    index = "create unique index i on t (a);"
    after = f"{before}; {index} alter table t replica identity using index i, cluster on i"
    marks = ["alter table s.t cluster on i", "alter table s.t replica identity using index i"]
    with installed(databases, names[0], before) as one, installed(databases, names[1], after) as two:
        assert changes(read(one), read(two)).steps == []
        query(one, f"set local search_path = s; {index} set local search_path = public")
        found = changes(read(one), read(two)).steps
        assert [step.sql for step in found] == marks
        run(one, found)
        assert difference(one, two) == ""


def test_a_restored_dump_needs_no_changes(databases: Databases) -> None:
    schemas = ["rich", "parts", "Odd Schema"]
    rich, other = databases.rich(), databases.make()
    dump = databases.run(rich, "pg_dump", "--schema-only", "--no-owner")
    databases.run(other, "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", input=dump)
    with contextlib.closing(databases.connect(rich)) as one, contextlib.closing(databases.connect(other)) as two:
        before, after = tables.read(one, schemas), tables.read(two, schemas)
    assert len(before) == 17 and before.keys() == after.keys()
    for first, second in ((before, after), (after, before)):
        found = changes(first, second)
        assert (found.steps, found.refusals) == ([], [])
