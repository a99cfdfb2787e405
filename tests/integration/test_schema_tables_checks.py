"""Before a rule is added, its check lists the rows that break it: all of them, and no others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pytest

from dbt_cicd_toolkit.schema.changes import changes
from support.databases import Databases
from support.tables import BASE, PARENT, PARTED, PARTS, installed, query, read

Names = tuple[str, str]
# Tables to refer to, and a type whose equality is none of the server's: -1 equals 1.
OTHERS = f"""{PARENT}
create table q (j integer, k text, unique (j, k)); insert into q values (1, 'a'), (2, 'b');
create type odd;
create function odd_in(cstring) returns odd language internal immutable strict as 'int4in';
create function odd_out(odd) returns cstring language internal immutable strict as 'int4out';
create type odd (input = odd_in, output = odd_out, like = integer);
create cast (odd as integer) without function;
create function odd_compare(odd, odd) returns integer language sql immutable
    return btint4cmp(abs($1::integer), abs($2::integer));
create function odd_less(odd, odd) returns boolean language sql immutable return odd_compare($1, $2) < 0;
create function odd_equal(odd, odd) returns boolean language sql immutable return odd_compare($1, $2) = 0;
create function odd_more(odd, odd) returns boolean language sql immutable return odd_compare($1, $2) > 0;
create operator < (leftarg = odd, rightarg = odd, function = odd_less);
create operator = (leftarg = odd, rightarg = odd, function = odd_equal);
create operator > (leftarg = odd, rightarg = odd, function = odd_more);
create operator class odd_ops default for type odd using btree as
    operator 1 <, operator 3 =, operator 5 >, function 1 odd_compare(odd, odd);
create table o (k odd primary key); insert into o values ('1'), ('2');
"""


class Broken(NamedTuple):
    """Columns of a table t (id int, …), its rows, the columns it is to have, the rule, and the ids that break it."""

    before: str
    rows: str
    after: str
    rule: str
    ids: set[int]
    since: int = 14


def named(before: str, rows: str, constraint: str, ids: set[int], since: int = 14) -> Broken:
    """A constraint x."""
    return Broken(
        before, rows, f"{before}, constraint x {constraint}", f"constraint x on s.t, {constraint}", ids, since
    )


BROKEN: Mapping[str, Broken] = {
    "not null": Broken("a int", "(1, 1), (2, null), (3, null)", "a int not null", "not null on s.t.a", {2, 3}),
    "not null, quoted": Broken('"A b" int', "(1, null)", '"A b" int not null', 'not null on s.t."A b"', {1}),
    "not null, named": Broken("a int", "(1, 1), (2, null)", "a int constraint x not null", "not null on s.t.a", {2}),
    "check": named(
        "a int, b text",
        "(1, 1, 'x'), (2, -1, 'x'), (3, null, 'x'), (4, 1, null), (5, 0, '')",
        "CHECK (((a > 0) OR (b = 'y%'::text)))",
        {2, 5},
    ),
    "check of the row": named("a int", "(1, 1), (2, null)", "CHECK ((t.* IS NOT NULL))", {2}),
    "check with a function": named("a int", "(1, 1), (2, 2)", "CHECK ((s.twice(a) < 3))", {2}),
    "unique": named(
        "a int, b text",
        "(1, 1, 'x'), (2, 1, 'x'), (3, 1, 'y'), (4, 1, null), (5, 1, null), (6, null, null), (7, 1, 'x')",
        "UNIQUE (a, b)",
        {1, 2, 7},
    ),
    "unique, nulls not distinct": named(
        "a int, b text",
        "(1, 1, 'x'), (2, 1, 'y'), (3, 1, 'y'), (4, 1, null), (5, 1, null), (6, null, null)",
        "UNIQUE NULLS NOT DISTINCT (a, b)",
        {2, 3, 4, 5},
        15,
    ),
    "unique, of an odd type": named("a odd", "(1, '1'), (2, '-1'), (3, '2')", "UNIQUE (a)", {1, 2}),
    "unique, of a new column": Broken(
        "a int",
        "(1, 1), (2, 2)",
        "a int, b int default 3, constraint x unique (b)",
        "constraint x on s.t, UNIQUE (b)",
        {1, 2},
    ),
    "primary key": named("a int not null", "(1, 1), (2, 2), (3, 2)", "PRIMARY KEY (a)", {2, 3}),
    "primary key, nulls": Broken("a int", "(1, 1), (2, null)", "a int, primary key (a)", "not null on s.t.a", {2}),
    "foreign key": named("a int", "(1, 1), (2, 3), (3, null), (4, 4)", "FOREIGN KEY (a) REFERENCES s.p(id)", {2, 4}),
    "foreign key of two columns": named(
        "a int, b text",
        "(1, 1, 'a'), (2, 1, 'b'), (3, 1, null), (4, null, 'z'), (5, 9, 'a')",
        "FOREIGN KEY (a, b) REFERENCES s.q(j, k)",
        {2, 5},
    ),
    "foreign key of two columns, full": named(
        "a int, b text",
        "(1, 1, 'a'), (2, 1, 'b'), (3, 1, null), (4, null, 'z'), (5, null, null)",
        "FOREIGN KEY (a, b) REFERENCES s.q(j, k) MATCH FULL",
        {2, 3, 4},
    ),
    "foreign key between types": named("a smallint", "(1, 1), (2, 3)", "FOREIGN KEY (a) REFERENCES s.p(id)", {2}),
    "foreign key between collations": named(
        'a text collate "C"', "(1, 'a'), (2, 'z')", "FOREIGN KEY (a) REFERENCES s.p(k)", {2}
    ),
    "foreign key by an operator of another schema": named(
        "a odd", "(1, '1'), (2, '-1'), (3, '7')", "FOREIGN KEY (a) REFERENCES s.o(k)", {3}
    ),
    "validated": Broken(
        "a int",
        "(1, 1), (2, -1); alter table t add constraint x check (a > 0) not valid",
        "a int, constraint x check (a > 0)",
        "constraint x on s.t, CHECK ((a > 0))",
        {2},
    ),
    "validated not null": Broken(
        "a int",
        "(1, 1), (2, null); alter table t add constraint x not null a not valid",
        "a int constraint x not null",
        "not null on s.t.a",
        {2},
        18,
    ),
}


@pytest.fixture(scope="module")
def names(databases: Databases) -> Names:
    return databases.make(), databases.make()


@pytest.mark.parametrize("name", BROKEN)
def test_a_check_finds_the_rows_that_break_a_rule_and_no_others(databases: Databases, names: Names, name: str) -> None:
    case = BROKEN[name]
    if databases.major < case.since:
        return
    before = f"{OTHERS} create table t (i int, {case.before}); insert into t values {case.rows}"
    after = f"{OTHERS} create table t (i int, {case.after})"
    with installed(databases, names[0], before) as one, installed(databases, names[1], after) as two:
        for step in changes(read(one), read(two)).steps:
            if step.check and step.check.rule == case.rule:
                assert {row[0] for row in query(one, step.check.rows)} == case.ids
                return
            query(one, step.sql)
    raise AssertionError("no step has the check")


def test_checks_see_the_partitions_of_a_table_and_what_counts_of_the_children_of_another(
    databases: Databases, names: Names
) -> None:
    before = (
        f"{PARTED}{PARTS} insert into t values (1, 'x'), (1, 'y'), (11, null);"
        f"{BASE} insert into p values (1, 'x'); insert into c values (2, 'x', '2024-01-01');"
    )
    after = (
        f"create table t (a integer primary key, b text not null) partition by range (a); {PARTS}"
        "create table p (a integer not null check (a < 2), b text, unique (b), check (a < 1) no inherit);"
        "create table c (d date) inherits (p);"
    )
    with installed(databases, names[0], before) as one, installed(databases, names[1], after) as two:
        found = changes(read(one), read(two)).steps
        checks = {step.check.rule: query(one, step.check.rows) for step in found if step.check}
    assert {rule: {row[0] for row in rows} for rule, rows in checks.items()} == {
        "not null on s.t.b": {11},
        "constraint t_pkey on s.t, PRIMARY KEY (a)": {1},
        "not null on s.p.a": set(),
        "constraint p_a_check on s.p, CHECK ((a < 2))": {2},
        "constraint p_a_check1 on s.p, CHECK ((a < 1)) NO INHERIT": {1},
        "constraint p_b_key on s.p, UNIQUE (b)": set(),
    }


def test_checks_of_new_partitions_and_of_sequences(databases: Databases, names: Names) -> None:
    before = (
        "create table t (a integer) partition by range (a); create table t1 (a integer);"
        "insert into t1 values (1), (10), (null); create table u (a serial); select setval('u_a_seq', 50)"
    )
    after = (
        "create table t (a integer) partition by range (a);"
        "create table t1 partition of t for values from (0) to (10);"
        "create table u (a serial); alter sequence u_a_seq maxvalue 40"
    )
    with installed(databases, names[0], before) as one, installed(databases, names[1], after) as two:
        checks = [step.check for step in changes(read(one), read(two)).steps if step.check]
        assert [(check.rule, query(one, check.rows)) for check in checks] == [
            ("the position of sequence s.u_a_seq between 1 and 40", [(50,)]),
            ("s.t1 FOR VALUES FROM (0) TO (10)", [(10,), (None,)]),
        ]


def test_where_no_row_can_break_a_rule_there_is_no_check(databases: Databases, names: Names) -> None:
    foreign = "create foreign data wrapper w; create server v foreign data wrapper w;"
    before = f"{foreign} create foreign table f (a int) server v; create table t (a int, b int)"
    after = (
        f"{foreign} create foreign table f (a int not null check (a > 0)) server v;"
        "create table t (a int, b int); alter table t add check (a > 0) not valid"
    )
    with installed(databases, names[0], before) as one, installed(databases, names[1], after) as two:
        assert [step.check for step in changes(read(one), read(two)).steps] == [None] * 3
