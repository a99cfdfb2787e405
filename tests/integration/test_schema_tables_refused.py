"""Changes of tables that are not provably safe are refused, with the delta to enter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pytest

from dbt_cicd_toolkit.postgres.session import identifier
from dbt_cicd_toolkit.schema.changes import changes
from dbt_cicd_toolkit.schema.delta import parse
from dbt_cicd_toolkit.schema.pair import Refusal
from support.databases import Databases
from support.tables import BASE, PARTED, PARTS, Case, columns, installed, query, read

Names = tuple[str, str]


class Expected(NamedTuple):
    """What a refusal says: the beginning of its message, its deltas, its column."""

    message: str
    delta: str | None = None
    column: str | None = None


def filled(delta: str, column: str) -> Expected:
    quoted = column if column.isalpha() else f'"{column}"'
    return Expected(f"nothing fills the new column {quoted} of old rows.", delta, column)


def retyped(column: str, was: str, now: str, cast: bool = False) -> Expected:
    """``cast``: PostgreSQL does not do it by itself."""
    message = f"column {column} is {was} and becomes {now}, which is no plain widening."
    return Expected(message, f"s.t alter {column} '{now}'{f' {column}::{now}' if cast else ''}", column)


REFUSED: Mapping[str, tuple[Case, list[Expected]]] = {
    "dropped column": (
        columns("a int, b text", "a int"),
        [Expected("column b is no longer in the source, and its data would be lost.", "s.t drop b", "b")],
    ),
    "renamed, or not": (
        columns("a int, b text", "a int, c text"),
        [
            Expected(
                "column b is no longer in the source, and c of the same type is new. If it was renamed, enter "
                "`s.t rename b c`; if these are different columns, `s.t drop b`.",
                column="b",
            )
        ],
    ),
    "renamed, or not, and not null": (
        columns("a int, b text", "a int, c text not null"),
        [
            Expected(
                "column b is no longer in the source, and c of the same type is new. If it was renamed, enter "
                "`s.t rename b c`; if these are different columns, `s.t drop b` and `s.t add c 'text not null' ''`.",
                column="b",
            )
        ],
    ),
    "renamed, to which": (
        columns("a int, b text", "a int, c text, d text, e int not null"),
        [
            Expected(
                "column b is no longer in the source, and c, d of the same type is new. If it was renamed, enter "
                "`s.t rename b c` or `s.t rename b d`; if these are different columns, `s.t drop b`.",
                column="b",
            ),
            filled("s.t add e 'integer not null' 0", "e"),
        ],
    ),
    "dropped, and another type is new": (
        columns("a int, b text", "a int, c int"),
        [Expected("column b is no longer in the source, and its data would be lost.", "s.t drop b", "b")],
    ),
    "nothing fills a new column": (
        columns(
            "x int",
            "x int, a text not null, b int not null, c boolean not null, d date not null, e interval not null, "
            "f uuid not null, g jsonb not null, h text[] not null, i bytea not null, j timestamptz not null, "
            'k mood not null, l varchar(3) collate "C" not null, m numeric(5, 2) not null, n given, o code not null, '
            '"P q" time not null, r filled not null',
        ),
        [
            filled("s.t add a 'text not null' ''", "a"),
            filled("s.t add b 'integer not null' 0", "b"),
            filled("s.t add c 'boolean not null' false", "c"),
            filled("s.t add d 'date not null' now()", "d"),
            filled("s.t add e 'interval not null' '0'", "e"),
            filled("s.t add f 'uuid not null' gen_random_uuid()", "f"),
            filled("s.t add g 'jsonb not null' '{}'", "g"),
            filled("s.t add h 'text[] not null' '{}'", "h"),
            filled("s.t add i 'bytea not null' ''", "i"),
            filled("s.t add j 'timestamp with time zone not null' now()", "j"),
            filled("s.t add k 's.mood not null' <expression>", "k"),
            filled("s.t add l 'character varying(3) collate \"C\" not null' ''", "l"),
            filled("s.t add m 'numeric(5,2) not null' 0", "m"),
            filled("s.t add n 's.given' ''", "n"),
            filled("s.t add o 's.code not null' ''", "o"),
            filled("s.t add \"P q\" 'time without time zone not null' now()", "P q"),
        ],
    ),
    "other types": (
        columns(
            "a bigint, b text, c varchar(5), d numeric(5, 2), e numeric(5, 2), f timestamp, g char(3), h mood, i code, "
            "j double precision, k interval second, l varchar(3)[], m varchar, n timestamp(3)",
            "a int, b int, c varchar(4), d numeric(6, 3), e int, f timestamptz, g char(4), h text, i text, "
            "j real, k interval minute, l varchar(4)[], m varchar(3), n timestamp(2)",
        ),
        [
            retyped("a", "bigint", "integer"),
            retyped("b", "text", "integer", cast=True),
            retyped("c", "character varying(5)", "character varying(4)"),
            retyped("d", "numeric(5,2)", "numeric(6,3)"),
            retyped("e", "numeric(5,2)", "integer"),
            retyped("f", "timestamp without time zone", "timestamp with time zone"),
            retyped("g", "character(3)", "character(4)"),
            retyped("h", "s.mood", "text"),
            retyped("i", "s.code", "text"),
            retyped("j", "double precision", "real"),
            retyped("k", "interval second", "interval minute"),
            retyped("l", "character varying(3)[]", "character varying(4)[]"),
            retyped("m", "character varying", "character varying(3)"),
            retyped("n", "timestamp(3) without time zone", "timestamp(2) without time zone"),
        ],
    ),
    "collation": (
        columns("a text, b varchar(3)", 'a text collate "C", b text collate "C"'),
        [
            Expected('column a is text and becomes text collate "C"', "s.t alter a 'text collate \"C\"'", "a"),
            Expected(
                'column b is character varying(3) and becomes text collate "C"',
                "s.t alter b 'text collate \"C\"'",
                "b",
            ),
        ],
    ),
    "generated": (
        columns("a int, b int", "a int, b int generated always as (a * 2) stored"),
        [Expected("column b becomes a generated one, and its data would be lost.", "s.t drop b", "b")],
    ),
    "virtual no longer": (
        columns("a int, b int generated always as (a * 2) virtual", "a int, b int", 18),
        [
            Expected(
                "column b is virtual and becomes an ordinary one, which goes last.",
                "s.t drop b\ns.t add b 'integer' (a * 2)",
                "b",
            )
        ],
    ),
    "generated otherwise, and not the last": (
        columns(
            "a int, b int generated always as (a * 2) stored, c text",
            "a int, b int generated always as (a * 3) stored, c text",
        ),
        [
            Expected(
                "in the source, column b stands where an upgraded table has c: new columns go last in the source, "
                "because a view over select * would differ. A generated column that is computed otherwise is made "
                "anew, and counts as new. Write the columns in this order: a, c, b.",
                column="b",
            )
        ],
    ),
    "generated otherwise, with an index": (
        Case(
            "create table t (a int, b int generated always as (a * 2) stored); create index i on t (b)",
            "create table t (a int, b int generated always as (a * 3) stored); create index i on t (b)",
        ),
        [Expected("to compute column b otherwise it is made anew: index s.i would go with it.", "s.t drop b", "b")],
    ),
    "order": (
        columns("a int, b text", "a int, c int, b text"),
        [
            Expected(
                "in the source, column c stands where an upgraded table has b: new columns go last in the source, "
                "because a view over select * would differ. Write the columns in this order: a, b, c.",
                column="c",
            )
        ],
    ),
    "order of old columns": (
        columns("a int, b text", 'b text, a int, "C" int'),
        [Expected("in the source, column b stands where an upgraded table has a:", column="b")],
    ),
    "partition key": (
        Case(PARTED, PARTED.replace("range (a)", "list (a)")),
        [
            Expected(
                "a table partitioned by RANGE (a) cannot become a table partitioned by LIST (a). Give the table "
                "another name in the sources, such as s.t_new, and enter: `s.t_new update insert into s.t_new select "
                "* from s.t`, then `s.t drop table`."
            )
        ],
    ),
    "partitioned": (
        Case("create table t (a int not null, b text)", PARTED),
        [Expected("an ordinary table cannot become a table partitioned by RANGE (a). Give")],
    ),
    "type in the partition key": (
        Case(PARTED, PARTED.replace("a integer", "a bigint")),
        [Expected("column a is integer and becomes bigint, but a partition key cannot change. Give", column="a")],
    ),
    "bounds": (
        Case(PARTED + PARTS, PARTED + PARTS.replace("(10) to (20)", "(10) to (30)")),
        [
            Expected(
                "it is a partition of another table, or for other values, and rows may be outside of them.",
                "s.t2 update alter table s.t detach partition s.t2\n"
                "s.t2 update alter table s.t attach partition s.t2 FOR VALUES FROM (10) TO (30)",
            )
        ],
    ),
    "inheritance": (
        Case(
            BASE + "create table e (a integer, b text, d date)",
            "create table p (a integer, b text); create table c (a integer, b text, d date);"
            "create table e () inherits (c)",
        ),
        [
            Expected("it inherits from s.p, in the source from none.", "s.c update alter table s.c no inherit s.p"),
            Expected("it inherits from none, in the source from s.c.", "s.e update alter table s.e inherit s.c"),
        ],
    ),
    "unlogged": (
        Case(
            "create table t (a int); create unlogged table u (a int)",
            "create unlogged table t (a int); create table u (a int)",
        ),
        [
            Expected("it is logged, in the source unlogged.", "s.t update alter table s.t set unlogged"),
            Expected("it is unlogged, in the source logged.", "s.u update alter table s.u set logged"),
        ],
    ),
    "typed": (
        Case("create table t of pair", "create table t (x int, y text)"),
        [Expected("it is of type s.pair, in the source none.", "s.t update alter table s.t not of")],
    ),
    "typed, and the type changes": (
        Case("create table t of pair", "alter type pair add attribute z int; create table t of pair"),
        [Expected("its columns are those of s.pair: change that, with `… update alter type s.pair … cascade`.")],
    ),
    "columns of a parent": (
        Case(BASE, "create table p (a bigint, c text not null); create table c (d date) inherits (p);"),
        [Expected("column b is no longer in the source, and c of the same type is new.", column="b")],
    ),
    "identity of a table with partitions": (
        Case(PARTED + PARTS, PARTED.replace("b text", "b text, c int generated always as identity") + PARTS),
        [
            Expected(
                "PostgreSQL adds no identity c to a table with partitions or children: add a column first.",
                "s.t add c 'integer not null' <expression>",
                "c",
            )
        ],
    ),
    "several tables": (
        Case(
            "create table t (a int, b int); create table u (a int)", "create table t (a int); create table u (a text)"
        ),
        [
            Expected("column b is no longer in the source", "s.t drop b", "b"),
            Expected("column a is integer and becomes text", "s.u alter a 'text'", "a"),
        ],
    ),
}


@pytest.fixture(scope="module")
def names(databases: Databases) -> Names:
    return databases.make(), databases.make()


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_safe_is_refused_with_the_delta_to_enter(databases: Databases, names: Names, name: str) -> None:
    case, expected = REFUSED[name]
    if databases.major < case.since:
        return
    with installed(databases, names[0], case.before) as one, installed(databases, names[1], case.after) as two:
        found = changes(read(one), read(two))
    assert found.steps == []
    assert [(each.delta, each.column) for each in found.refusals] == [(each.delta, each.column) for each in expected]
    for refusal, (message, _, _) in zip(found.refusals, expected, strict=True):
        assert refusal.message.startswith(message)
        for line in (refusal.delta or "").splitlines():
            assert str(parse(line, "here")) == line


def declared(line: str) -> str:
    """SQL that does what a delta says."""
    delta = parse(line, "here")
    table, column = f"{delta.table.schema}.{delta.table.name}", identifier(delta.column)
    if delta.op == "update":
        return delta.statement
    if delta.op == "add":
        return f"alter table {table} add {column} {delta.type}; update {table} set {column} = {delta.sql}"
    using = f"using {delta.sql}" if delta.sql else ""
    return f"alter table {table} {delta.op} {column} " + (f"type {delta.type} {using}" if delta.op == "alter" else "")


DECLARED = [
    name
    for name, (_, expected) in REFUSED.items()
    if all(each.delta and "<expression>" not in each.delta for each in expected)
]


@pytest.mark.parametrize("name", DECLARED)
def test_with_the_deltas_entered_the_rest_is_done(databases: Databases, names: Names, name: str) -> None:
    case, _ = REFUSED[name]
    if databases.major < case.since:
        return
    with installed(databases, names[0], case.before) as one, installed(databases, names[1], case.after) as two:
        for refusal in changes(read(one), read(two)).refusals:
            for line in (refusal.delta or "").splitlines():
                query(one, declared(line))
        found = changes(read(one), read(two))
        assert found.refusals == []
        for step in found.steps:
            query(one, step.sql)
        assert changes(read(one), read(two)).steps == []


def test_a_refusal_is_told_with_its_table_and_its_delta() -> None:
    assert str(Refusal("s.t", "column b is gone.", "s.t drop b")) == (
        's.t: column b is gone. Enter: dbt-cicd schema delta "s.t drop b"'
    )
    assert str(Refusal("s.t", "no.")) == "s.t: no."
