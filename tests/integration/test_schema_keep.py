"""What is dropped and made again is as it was: owners, privileges, comments, what hangs on it, what depends on it."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator

import psycopg2
import psycopg2.extensions as pg
import pytest

from dbt_cicd_toolkit.errors import Refused
from dbt_cicd_toolkit.postgres import catalog
from dbt_cicd_toolkit.postgres.catalog import Selection
from dbt_cicd_toolkit.postgres.session import identifier
from dbt_cicd_toolkit.schema import keep
from dbt_cicd_toolkit.schema.dependents import Dependent, bound_columns, dependents
from dbt_cicd_toolkit.schema.keep import Address, Kept, address, save
from support.databases import Databases

ROLES = "".join(
    f"do $$ begin create role {role}; exception when duplicate_object or unique_violation then null; end $$;"
    for role in ("keep_owner", "keep_reader", "keep_writer", '"Keep % ""it"""')
)
# One of every way in which something can depend on something, with metadata everywhere.
LAYERS = r'''
create schema base;
create schema mart;
create schema "Odd % ""Schema""";
grant usage, create on schema base, mart, "Odd % ""Schema""" to keep_owner, keep_writer with grant option;
grant usage on schema mart to keep_reader, "Keep % ""it""";

create function base.code(x integer) returns text language sql immutable as $$ select 'c' || x $$;
create function base.rows(x integer) returns setof integer language sql as 'select generate_series(1, x)';
create function base.keep_row() returns trigger language plpgsql as $$ begin return new; end $$;
create function base.on_ddl() returns event_trigger language plpgsql as $$ begin null; end $$;
create type base.pair as (a integer, "B %" text);
comment on column base.pair."B %" is 'second''s';
create type base.mood as enum ('sad', 'ok');

create table base.thing (
    id integer primary key,
    name text collate "C" not null default base.code(7),
    mood base.mood,
    pair base.pair,
    tag text default 'x',
    code text generated always as (base.code(id)) stored,
    constraint thing_code check (base.code(id) <> 'c0'),
    constraint thing_name unique (name) with (fillfactor = 77)
);
comment on constraint thing_code on base.thing is 'the code';
comment on index base.thing_name is 'the index';
comment on column base.thing.code is 'made of the id';
grant select on base.thing to keep_owner;
grant select (code), update (name) on base.thing to keep_reader;
alter table base.thing alter code set statistics 33, alter code set (n_distinct = 5), alter code set storage external;
insert into base.thing (id, name) select g, 'n' || g from generate_series(1, 20) g;
alter table base.thing add constraint thing_later check (base.code(id) <> 'c9') not valid;
create index thing_code_index on base.thing (code desc, tag) include (name) with (fillfactor = 66);
comment on index base.thing_code_index is 'an index';
create unique index thing_by_code on base.thing (base.code(id)) where base.code(id) > 'b';
alter index base.thing_by_code alter column 1 set statistics 44;
alter table base.thing cluster on thing_code_index;
create statistics base.thing_stats (dependencies) on code, tag from base.thing;
alter statistics base.thing_stats set statistics 12;
alter statistics base.thing_stats owner to keep_owner;
comment on statistics base.thing_stats is 'together';
create statistics base.thing_codes on (base.code(id)), (base.code(id + 1)) from base.thing;
alter table base.thing enable row level security;
create policy thing_policy on base.thing as restrictive for update to keep_reader, keep_writer
    using (base.code(id) <> 'x') with check (code <> 'y');
comment on policy thing_policy on base.thing is 'policy';
create trigger thing_trigger before update of name on base.thing
    for each row when (base.code(new.id) <> old.name) execute function base.keep_row('a', 'it''s');
comment on trigger thing_trigger on base.thing is 'trigger';
alter table base.thing disable trigger thing_trigger;
create constraint trigger thing_constraint after insert on base.thing deferrable initially deferred
    for each row when (base.code(new.id) <> 'q') execute function base.keep_row();
create rule thing_rule as on update to base.thing where base.code(old.id) = 'z' do also select base.code(new.id);
alter table base.thing enable always rule thing_rule;
comment on rule thing_rule on base.thing is 'rule';
create table base.part (thing_id integer references base.thing, thing_name text references base.thing (name)
    on update cascade deferrable initially deferred, during integer, price text default base.code(3));
comment on constraint part_thing_id_fkey on base.part is 'belongs to';
create domain base.coded as text constraint "c on d % ""e""" check (value <> base.code(0));
comment on constraint "c on d % ""e""" on domain base.coded is 'of a domain';
create event trigger keep_event on ddl_command_end when tag in ('CREATE CAST') execute function base.on_ddl();
comment on event trigger keep_event is 'watches';
alter event trigger keep_event enable replica;

create table base.measure (at date not null, value integer, code text default base.code(5),
    constraint measure_code check (base.code(value) <> 'c0')) partition by range (at);
create table base.measure_1 partition of base.measure for values from ('2024-01-01') to ('2025-01-01');
create table base.measure_2 partition of base.measure for values from ('2025-01-01') to ('2026-01-01')
    partition by list (value);
create table base.measure_2_one partition of base.measure_2 for values in (1);
create index measure_index on base.measure (base.code(value)) with (fillfactor = 55);
comment on index base.measure_1_code_idx is 'of a partition';
create trigger measure_trigger after insert on base.measure
    for each row when (base.code(new.value) <> 'q') execute function base.keep_row();
alter table base.measure_1 disable trigger measure_trigger;
alter table base.measure_1 alter code set default base.code(6);
create table base.parent (id integer, constraint parent_check check (base.code(id) <> 'x'));
create table base.child (more text) inherits (base.parent);
create table base.grandchild (constraint parent_check check (base.code(id) <> 'x')) inherits (base.child);

create view mart.first with (security_barrier = true, security_invoker = false) as
    select t.id, t.name as "Name %", base.code(t.id) as code, t.mood, t.pair from base.thing t;
alter view mart.first rename column code to coded;
comment on view mart.first is 'it''s the \\ first %';
comment on column mart.first."Name %" is 'column %s';
alter view mart.first alter column id set default base.code(4)::name::text::xid::text::integer;
grant select on mart.first to keep_reader with grant option;
grant insert ("Name %"), select (id) on mart.first to keep_writer;
grant update on mart.first to public;
alter view mart.first owner to keep_owner;
set role keep_reader;
grant select on mart.first to "Keep % ""it""" with grant option;
set role "Keep % ""it""";
grant select on mart.first to keep_writer;
set role none;
create trigger first_trigger instead of insert on mart.first for each row execute function base.keep_row('%');
comment on trigger first_trigger on mart.first is 'instead';
create rule first_rule as on delete to mart.first do instead select base.code(old.id), old."Name %";
comment on rule first_rule on mart.first is 'instead of nothing';

create view mart.second with (check_option = local) as
    select f.id, f."Name %", f.coded from mart.first f where f.id > 0;
create view mart.third as
    with recursive r(n, c) as (select 1, s.coded from mart.second s union all select n + 1, c from r where n < 3)
    select r.n, r.c, s.* from r join mart.second s on s.coded = r.c union all select 1, 'x', 2, 'y', 'z';
create view mart.vals as values (1, base.code(1)), (2, base.code(2));
create view mart.whole as select f as one, (f).id as number, f.* from mart.first f;

create materialized view mart.sums
    with (fillfactor = 90, autovacuum_enabled = false, toast.autovacuum_enabled = false) as
    select s.coded, count(*) as n, base.code(max(s.id)) as best, max(s."Name %") as "Max %"
    from mart.second s group by 1;
create unique index sums_coded on mart.sums (coded);
create index sums_best on mart.sums (base.code(n::integer)) where n > 0;
alter materialized view mart.sums cluster on sums_coded;
comment on index mart.sums_coded is 'unique';
create statistics mart.sums_stats on coded, best from mart.sums;
comment on statistics mart.sums_stats is 'of sums';
alter statistics mart.sums_stats owner to keep_owner;
alter materialized view mart.sums alter best set statistics 21, alter best set storage external,
    alter "Max %" set (n_distinct = 3), alter best set compression pglz;
comment on materialized view mart.sums is 'sums';
comment on column mart.sums.n is 'number';
grant select (n) on mart.sums to keep_reader;
grant select on mart.sums to keep_writer;
grant usage on schema mart, base to keep_owner; grant select on mart.second to keep_owner; -- who fills it
alter materialized view mart.sums owner to keep_owner;
create materialized view mart.empty as select * from mart.sums with no data;
create index empty_index on mart.empty (n);
create view mart.last as select e.n, s.best, s."Max %" from mart.empty e join mart.sums s using (n);
grant select on mart.last to keep_reader, keep_writer;

set check_function_bodies = off;
create function mart.of_first(f mart.first) returns text language sql stable
    as $$ select f.coded from only_in_this_path $$ ;
set check_function_bodies = on;
comment on function mart.of_first(mart.first) is 'of the row';
revoke all on function mart.of_first(mart.first) from public;
grant execute on function mart.of_first(mart.first) to keep_reader with grant option;
alter function mart.of_first(mart.first) owner to keep_writer;
create function mart.all_of() returns setof mart.first language sql stable begin atomic
    select * from mart.first where coded <> base.code(1); end;
create view mart.from_function as select a.id, a.coded from mart.all_of() a;
create procedure mart.proc(inout x integer, y mart.first[] default null) language plpgsql
    set work_mem = '5MB' as $$ begin x := x; end $$;
grant execute on procedure mart.proc(integer, mart.first[]) to keep_reader;
create table mart.policed (id integer);
create policy policed on mart.policed using (exists (select from mart.first f where f.id = policed.id));
create rule policed_rule as on insert to mart.policed do also select mart.of_first(f) from mart.first f;
create rule first_loop as on update to mart.first do instead select mart.of_first(new);

create table "Odd % ""Schema"""."T %s ""x""" ("C %s ""x""" integer primary key, "ünï 😀" text default 'grüße %');
create view "Odd % ""Schema"""."V %s ""x""" as select * from "Odd % ""Schema"""."T %s ""x""";
create view "Odd % ""Schema"""."W 😀 %%" with (security_barrier) as select * from "Odd % ""Schema"""."V %s ""x""";
comment on view "Odd % ""Schema"""."V %s ""x""" is '%s \\ '' "';
comment on column "Odd % ""Schema"""."V %s ""x"""."C %s ""x""" is '%(x)s';
grant select ("C %s ""x""") on "Odd % ""Schema"""."V %s ""x""" to "Keep % ""it""";
grant all on "Odd % ""Schema"""."W 😀 %%" to "Keep % ""it""" with grant option;
alter view "Odd % ""Schema"""."W 😀 %%" owner to "Keep % ""it""";
create function "Odd % ""Schema"""."F %s ""x"""("A %" integer, "Ö" "Odd % ""Schema"""."V %s ""x""") returns text
    language sql as $_$ select '%s $$ ' $_$;
create materialized view "Odd % ""Schema"""."M %s" as select "ünï 😀" as "U %s" from "Odd % ""Schema"""."V %s ""x""";
create index "I %s ""x""" on "Odd % ""Schema"""."M %s" ("U %s");
comment on index "Odd % ""Schema"""."I %s ""x""" is '%';

create publication keep_publication for table base.thing, mart.policed with (publish = 'insert');
create publication keep_filtered for table base.thing (id, name) where (name <> 'x');
'''
LAYERS_18 = """
create table mart.virtual (id integer, half integer generated always as (id / 2) virtual not null);
alter table base.thing add constraint thing_not_enforced check (base.code(id) <> 'k') not enforced;
"""
# What depends on something and cannot be made again, or stands in the way of that.
STUCK = """
create schema stuck;
create extension vector schema stuck;
create type stuck.pair as (a integer, b text);
create type stuck.outer as (pair stuck.pair, more integer);
create function stuck.f(x integer) returns integer language sql immutable as 'select x';
create function stuck.eq(a integer, b integer) returns boolean language sql immutable as 'select a = b';
create function stuck.cmp(a integer, b integer) returns integer language sql immutable as 'select btint4cmp(a, b)';
create function stuck.cmp(a integer, b smallint) returns integer language sql immutable as 'select a - b';
create function stuck.pair_text(stuck.pair) returns text language sql immutable as $$ select $1.b $$;
create function stuck.of_outer(stuck.outer) returns stuck.pair language sql immutable begin atomic select $1.pair; end;
create cast (stuck.pair as text) with function stuck.pair_text(stuck.pair);
create aggregate stuck.sums(integer) (sfunc = int4pl, stype = integer);
create aggregate stuck.counts(*) (sfunc = stuck.f, stype = integer);
create operator stuck.=== (leftarg = integer, rightarg = integer, function = stuck.eq);
create operator class stuck.ops for type integer using btree as
    operator 1 <, operator 2 <=, operator 3 =, operator 4 >=, operator 5 >, function 1 stuck.cmp(integer, integer);
alter operator family stuck.ops using btree add function 1 (integer, smallint) stuck.cmp(integer, smallint);
create domain stuck.by_default as integer default stuck.f(1);
create domain stuck.of_domain as stuck.by_default check (value > stuck.f(0));
create sequence stuck.numbers;
create table stuck.tree (id stuck.of_domain primary key, up integer references stuck.tree, pairs stuck.pair[],
    number integer default nextval('stuck.numbers'), serial bigserial, ident integer generated always as identity,
    vector stuck.vector, v stuck.by_default default 3, exclude using btree (stuck.f(up) with =) where (number > 3));
create index tree_ops on stuck.tree (up stuck.ops) where up operator(stuck.===) 3;
create view stuck.grouped as select t.*, stuck.sums(1), stuck.counts(*) from stuck.tree t group by t.id;
create table stuck.typed of stuck.outer;
create table stuck.two (a integer unique, b integer generated always as (stuck.f(a)) stored,
    c integer generated always as (stuck.f(a + 1)) stored primary key, check (b + c > a));
create index two_index on stuck.two (b, c);
create index two_all on stuck.two (a, b, c);
create statistics stuck.two_stats on a, b, c from stuck.two;
create view stuck.of_two as select b, c from stuck.two;
create table stuck.refers (c integer references stuck.two, a integer references stuck.two (a));
create table stuck.parts (id integer, v integer, g integer generated always as (stuck.f(v)) stored, p stuck.pair,
    constraint same unique (v, id), check (g > v)) partition by range (id);
create table stuck.part_1 partition of stuck.parts for values from (1) to (10);
create table stuck.part_2 partition of stuck.parts for values from (10) to (20) partition by list (v);
create table stuck.part_2_1 partition of stuck.part_2 for values in (1);
create index part_g on stuck.parts (g);
create index part_1_g on stuck.part_1 (g, v);
create table stuck.by_function (v integer) partition by range (stuck.f(v));
create view stuck.of_part as select v, g from stuck.part_1;
create view stuck.of_deep as select g, p from stuck.part_2_1;
create policy part_policy on stuck.part_1 using (v > 1);
create table stuck.part_refers (id integer, v integer, w integer, foreign key (v, id) references stuck.parts (v, id))
    partition by hash (id);
create table stuck.part_refers_0 partition of stuck.part_refers for values with (modulus 1, remainder 0);
create view stuck.numbered as select 1 as one;
alter view stuck.numbered alter one set default nextval('stuck.numbers');
create function stuck.fires() returns trigger language plpgsql as $$ begin return null; end $$;
create trigger fires after update of v on stuck.part_1 for each row when (old.id > 1) execute function stuck.fires();
create trigger looks after update on stuck.tree referencing new table as n
    for each statement execute function stuck.fires();
create trigger parts_fire after update of v on stuck.parts for each row execute function stuck.fires();
create foreign data wrapper stuck_wrapper;
create server stuck_server foreign data wrapper stuck_wrapper;
create foreign table stuck.far (a integer default stuck.f(2) check (a > stuck.f(1))) server stuck_server;
create table stuck.above (a integer, b integer default stuck.f(9));
create table stuck.beside (a integer, c integer);
create table stuck.below (d integer) inherits (stuck.above, stuck.beside);
create view stuck.of_below as select a, b, c, d from stuck.below;
create publication stuck_tables for table stuck.two, stuck.above;
create publication stuck_schema for tables in schema stuck;
"""
# Rights that new objects get by themselves, for roles that have none on the old ones.
DEFAULTS = """
alter default privileges in schema mart grant select, delete on tables to keep_writer, public;
alter default privileges in schema mart grant all on tables to keep_reader with grant option;
alter default privileges grant insert on tables to keep_owner;
alter default privileges in schema mart grant execute on functions to keep_writer with grant option;
alter default privileges revoke execute on functions from public;
alter default privileges grant usage on types to keep_reader;
"""
# Beyond catalog.describe(): owners, privileges with their grantors, and every comment.
STATE = """
with object as (
    select 'pg_class'::regclass as classid, oid as objid, 0 as objsubid, relowner as owner,
        coalesce(relacl, acldefault(case relkind when 'S' then 's' else 'r' end::"char", relowner)) as acl
    from pg_class where relkind <> 't'
    union all
    select 'pg_class'::regclass, attrelid, attnum, null, attacl from pg_attribute
    where attnum > 0 and not attisdropped and attacl is not null
    union all
    select 'pg_proc'::regclass, oid, 0, proowner, coalesce(proacl, acldefault('f', proowner)) from pg_proc
    union all
    select 'pg_type'::regclass, oid, 0, typowner, coalesce(typacl, acldefault('T', typowner)) from pg_type
    where typtype <> 'b' or typelem = 0
    union all
    select 'pg_statistic_ext'::regclass, oid, 0, stxowner, null from pg_statistic_ext
    union all
    select 'pg_event_trigger'::regclass, oid, 0, evtowner, null from pg_event_trigger
)
select concat(i.type, ' ', i.identity),
    concat(o.owner::regrole, ' ', (select string_agg(a::text, ', ' order by a::text) from unnest(o.acl) a))
from object o, pg_identify_object(o.classid, o.objid, o.objsubid) i
where o.objid >= 16384 and i.schema is distinct from 'pg_toast'
union all
select concat('comment on ', i.type, ' ', i.identity), d.description
from pg_description d, pg_identify_object(d.classoid, d.objoid, d.objsubid) i where d.objoid >= 16384
"""
EVERYTHING = Selection()


def state(connection: pg.connection) -> dict[str, str]:
    """All that must be as before."""
    with catalog.pinned(connection) as prefix, connection.cursor() as cursor:
        cursor.execute(prefix + STATE)
        more = {f"besides: {name}": text for name, text in cursor.fetchall()}
    return catalog.describe(connection, EVERYTHING) | more


def differences(before: dict[str, str], after: dict[str, str]) -> str:
    return catalog.diff_text(before, after, "before", "after")


def itself(connection: pg.connection, at: Address) -> Dependent:
    """How an object is dropped and made again, in the same way as its dependents."""
    row = keep.query(connection, "dependents", [[number] for number in at])[0]
    return Dependent(Address(*row[:3]), *row[3:])


class Upgrade:
    """Drops an object with what depends on it, or what depends on some of its columns, and makes everything again."""

    def __init__(self, cursor: pg.cursor, at: Address, columns: tuple[str, ...] = ()) -> None:
        self.cursor = cursor
        self.connection = cursor.connection
        self.kept: list[Kept] = []
        self.everything = dependents(self.connection, at, columns)
        if not columns:
            self.everything.append(itself(self.connection, at))
        cursor.execute("set local search_path = pg_catalog, pg_temp")

    def drop(self) -> None:
        for each in self.everything:
            self.kept.append(save(self.connection, each.address))
            self.cursor.execute(each.drop)

    def make(self) -> None:
        for each, kept in zip(reversed(self.everything), reversed(self.kept), strict=True):
            assert each.create
            self.cursor.execute(each.create)
            for sql in kept.restore(self.connection):
                self.cursor.execute(sql)
            assert kept.restore(self.connection) == []


@contextlib.contextmanager
def transaction(connection: pg.connection) -> Generator[pg.cursor]:
    with connection.cursor() as cursor:
        cursor.execute("begin")
        try:
            yield cursor
        finally:
            cursor.execute("rollback")


@contextlib.contextmanager
def database(databases: Databases, sql: str) -> Generator[pg.connection]:
    name = databases.make()
    databases.execute(name, sql)
    with contextlib.closing(databases.connect(name)) as connection:
        yield connection


@pytest.fixture(scope="module")
def layers(databases: Databases) -> Generator[pg.connection]:
    more = LAYERS_18 if databases.major >= 18 else ""
    with database(databases, ROLES + LAYERS + more) as connection, connection.cursor() as cursor:
        cursor.execute(DEFAULTS)
        yield connection


@pytest.fixture(scope="module", params=["layers", "rich", "stuck"])
def some(request: pytest.FixtureRequest, databases: Databases) -> Generator[pg.connection]:
    """A database that tests leave as it is: LAYERS, rich.sql, STUCK."""
    if request.param == "layers":
        yield request.getfixturevalue("layers")
    elif request.param == "stuck":
        with database(databases, STUCK) as connection:
            yield connection
    else:
        with contextlib.closing(databases.connect(databases.rich())) as connection:
            yield connection


def everything(connection: pg.connection, *kinds: str) -> Iterator[tuple[str, Address]]:
    for identity in catalog.describe(connection, EVERYTHING):
        if identity.startswith(kinds) and (at := address(connection, identity)):
            yield identity, at


def columns(connection: pg.connection) -> list[tuple[Address, str]]:
    """The table and the name of every column that could be dropped."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select 'pg_class'::regclass::oid, c.oid, attname from pg_attribute a join pg_class c on c.oid = a.attrelid"
            " where c.oid >= 16384 and relkind in ('r', 'p', 'f') and attnum > 0 and not attisdropped"
        )
        return [(Address(classid, oid), name) for classid, oid, name in cursor.fetchall()]


def at(connection: pg.connection, identity: str) -> Address:
    found = address(connection, identity)
    assert found, identity
    return found


def test_every_identity_has_an_address(some: pg.connection) -> None:
    for identity in catalog.describe(some, EVERYTHING):
        if not identity.startswith(("default privileges ", "grants on ")):
            assert itself(some, at(some, identity)).identity == identity


def test_what_does_not_exist_has_no_address(layers: pg.connection) -> None:
    for identity in (
        "view mart.none",
        "table mart.first",
        "function base.code(text)",
        "view first",
        "x",
        "",
        "view %s",
    ):
        assert address(layers, identity) is None
    assert address(layers, "column base.thing.id") and address(layers, "default mart.first.id")


# One by one more goes than with CASCADE: there is no DROP for one member of a family of operators that is in no class,
# and none for one column of a table that is made of a type.
MORE_THAN_CASCADE = {"function stuck.cmp(integer,smallint)", "type stuck.pair"}


def drop_both_ways(connection: pg.connection, at: Address, drop: str, columns: tuple[str, ...] = ()) -> bool:
    """Whether it can be dropped; then CASCADE drops the same as the list does, and nothing more where that is empty."""
    found = dependents(connection, at, columns)
    with transaction(connection) as cursor:
        try:
            cursor.execute(f"{drop} cascade")
        except psycopg2.Error:
            return False
        cascaded = state(connection) if found else {}
    with transaction(connection) as cursor:
        for each in found:
            cursor.execute(each.drop)
        cursor.execute(drop)
        if found and not any(f"drop {identity}" == drop for identity in MORE_THAN_CASCADE):
            assert differences(cascaded, state(connection)) == "", drop
    return True


def test_one_by_one_the_same_is_dropped_as_with_cascade(some: pg.connection) -> None:
    objects = everything(some, "")
    assert sum(drop_both_ways(some, where, itself(some, where).drop) for _, where in objects) > 50


def test_one_by_one_the_same_is_dropped_with_a_column_as_with_cascade(some: pg.connection) -> None:
    dropped = 0
    for table, column in columns(some):
        drop = f"alter table {itself(some, table).identity.partition('table ')[2]} drop column {identifier(column)}"
        dropped += drop_both_ways(some, table, drop, (column,))
    assert dropped > 15


REPLACEABLE = ("view ", "materialized view ", "function ", "procedure ", "index ", "trigger ", "rule ", "policy ")
REPLACEABLE += ("statistics ", "constraint ", "event trigger ")


INHERITED = """
select i.identity from pg_depend d, pg_identify_object(d.classid, d.objid, d.objsubid) i where d.deptype = 'P'
union all
select i.identity from pg_constraint c, pg_identify_object('pg_constraint'::regclass, c.oid, 0) i
where c.coninhcount > 0
"""


def test_everything_is_as_it_was_when_it_was_made_again(some: pg.connection) -> None:
    before = state(some)
    with some.cursor() as cursor:
        cursor.execute(INHERITED)
        inherited = {name for (name,) in cursor.fetchall()}
    made = 0
    for identity, where in everything(some, *REPLACEABLE):
        with transaction(some) as cursor:
            upgrade = Upgrade(cursor, where)
            if all(each.create for each in upgrade.everything) and identity.split(" ", 1)[1] not in inherited:
                upgrade.drop()
                upgrade.make()
                assert differences(before, state(some)) == "", identity
                made += 1
    assert made > 20


def test_what_depends_on_a_column_is_made_again(some: pg.connection) -> None:
    before = state(some)
    made = 0
    for table, column in columns(some):
        with transaction(some) as cursor:
            upgrade = Upgrade(cursor, table, (column,))
            if upgrade.everything and all(each.create for each in upgrade.everything):
                upgrade.drop()
                upgrade.make()
                assert differences(before, state(some)) == "", column
                made += 1
    assert made >= 5


SHOP = r"""
create schema shop;
grant usage, create on schema shop to keep_owner, keep_reader, keep_writer;
create function shop.f(integer) returns integer language sql immutable as 'select $1';
create function shop.fires() returns trigger language plpgsql as $$ begin return new; end $$;
create table shop.t (id integer primary key, a text, b integer generated always as (shop.f(id)) stored);
insert into shop.t values (1, 'x'), (2, 'y');
grant select on shop.t to keep_owner;
create view shop.v with (security_barrier) as select id, a, b from shop.t;
comment on view shop.v is 'old';
comment on column shop.v.a is 'old a';
comment on column shop.v.b is 'old b';
alter view shop.v alter b set default 3;
grant select on shop.v to keep_reader with grant option;
grant update (a), update (b) on shop.v to keep_writer;
create trigger fires instead of update on shop.v for each row execute function shop.fires();
create rule names_b as on insert to shop.v do instead select new.b;
create materialized view shop.m with (fillfactor = 70, autovacuum_enabled = false) as select id, a, b from shop.t;
create index m_a on shop.m (a);
create index m_ab on shop.m (a, b);
create statistics shop.m_ab on a, b from shop.m;
alter materialized view shop.m alter a set statistics 7;
"""


@pytest.fixture
def shop(databases: Databases) -> Generator[pg.cursor]:
    """In a transaction on SHOP."""
    with database(databases, ROLES + SHOP) as connection, transaction(connection) as cursor:
        yield cursor


def run(cursor: pg.cursor, statements: list[str]) -> list[str]:
    for sql in statements:
        cursor.execute(sql)
    return statements


def test_of_another_definition_what_still_holds_is_restored(shop: pg.cursor) -> None:
    kept = save(shop.connection, at(shop.connection, "view shop.v"))
    shop.execute("drop view shop.v; create view shop.v as select id, a, 'c' as c from shop.t")
    shop.execute(
        "comment on view shop.v is 'new'; comment on column shop.v.c is 'new c'; grant select on shop.v to public"
    )
    assert run(shop, kept.restore(shop.connection)) == [
        "revoke select on table shop.v from public",
        "grant update (a) on table shop.v to keep_writer",
        "grant select on table shop.v to keep_reader with grant option",
        "comment on view shop.v is 'old'",
        "comment on column shop.v.a is 'old a'",
        "CREATE TRIGGER fires INSTEAD OF UPDATE ON shop.v FOR EACH ROW EXECUTE FUNCTION shop.fires()",
    ]
    assert kept.restore(shop.connection) == []
    assert kept.lost(["id", "a", "c"]) == [
        "grant update (b) on table shop.v to keep_writer",
        "comment on column shop.v.b is 'old b'",
        "default shop.v.b, which names b",
        "rule names_b on shop.v, which names b",
    ]
    assert kept.lost(["id", "a", "b"]) == []
    assert "security_barrier" not in catalog.describe(shop.connection, EVERYTHING)["view shop.v"]


def test_what_others_declare_is_left_to_them(shop: pg.cursor) -> None:
    kept = save(shop.connection, at(shop.connection, "materialized view shop.m"))
    shop.execute(
        "drop materialized view shop.m; create materialized view shop.m with (fillfactor = 80) as table shop.t"
    )
    assert run(shop, kept.restore(shop.connection, {"index shop.m_a", "statistics shop.m_ab"})) == [
        "alter materialized view shop.m set (autovacuum_enabled = 'false')",
        "alter table shop.m alter column a set statistics 7",
        "CREATE INDEX m_ab ON shop.m USING btree (a, b)",
    ]
    found = catalog.describe(shop.connection, EVERYTHING)
    assert "options autovacuum_enabled=false, fillfactor=80" in found["materialized view shop.m"]
    assert "index shop.m_a" not in found and "statistics shop.m_ab" not in found
    shop.execute("create index m_a on shop.m (b); create statistics shop.m_ab on id, b from shop.m")
    assert kept.restore(shop.connection) == []  # what is there again stays as it is


@pytest.mark.parametrize("populated", [True, False])
def test_a_materialized_view_has_rows_as_before(shop: pg.cursor, populated: bool) -> None:
    shop.execute("refresh materialized view shop.m with " + ("data" if populated else "no data"))
    kept = save(shop.connection, at(shop.connection, "materialized view shop.m"))
    again = itself(shop.connection, at(shop.connection, "materialized view shop.m")).create
    for create in (
        again,
        "create materialized view shop.m as table shop.t with " + ("no data" if populated else "data"),
    ):
        assert create
        shop.execute("drop materialized view shop.m")
        shop.execute(create)
        run(shop, kept.restore(shop.connection))
        shop.execute("select relispopulated from pg_class where relname = 'm'")
        assert shop.fetchall() == [(populated,)]
    if populated:
        shop.execute("select * from shop.m")
        assert shop.fetchall() == [(1, "x", 1), (2, "y", 2)]


def test_grants_of_others_are_theirs_again_or_else_the_owners(shop: pg.cursor) -> None:
    acl = "select relacl::text[] from pg_class where relname = 'v'"
    shop.execute("alter view shop.v owner to keep_owner; set local role keep_reader")
    shop.execute("grant select on shop.v to keep_writer with grant option; set local role keep_writer")
    shop.execute("grant select on shop.v to public; set local role none")
    shop.execute(acl)
    [before] = shop.fetchall()
    create = "create view shop.v as select id, a, b from shop.t"
    kept = save(shop.connection, at(shop.connection, "view shop.v"))
    shop.execute(f"drop view shop.v; {create}")
    run(shop, kept.restore(shop.connection))
    shop.execute(f"select current_user; {acl}")
    assert shop.fetchall() == [before]
    # Neither a superuser nor a member of the others' roles.
    shop.execute("set local role keep_owner")
    kept = save(shop.connection, at(shop.connection, "view shop.v"))
    shop.execute(f"drop view shop.v; {create}")
    shop.execute("reset role; grant execute on function shop.fires() to keep_owner; set local role keep_owner")
    run(shop, kept.restore(shop.connection))
    shop.execute(
        "select current_user, grantor, grantee, is_grantable from information_schema.table_privileges"
        " where table_name = 'v' and grantee <> 'keep_owner' order by grantee"
    )
    assert shop.fetchall() == [
        ("keep_owner", "keep_owner", "PUBLIC", "NO"),
        ("keep_owner", "keep_owner", "keep_reader", "YES"),
        ("keep_owner", "keep_owner", "keep_writer", "YES"),
    ]


def test_labels_are_restored(shop: pg.cursor) -> None:
    where = at(shop.connection, "view shop.v")
    for number, label in ((0, "it's"), (2, "of a column")):
        shop.execute(
            "insert into pg_seclabel values (%s, %s, %s, 'no provider', %s)",
            [where.objid, where.classid, number, label],
        )
    kept = save(shop.connection, where)
    shop.execute("drop view shop.v; create view shop.v as select id, a, b from shop.t")
    assert [sql for sql in kept.restore(shop.connection) if "label" in sql] == [
        "security label for \"no provider\" on view shop.v is 'it''s'",
        "security label for \"no provider\" on column shop.v.a is 'of a column'",
    ]


def test_tablespaces_are_restored(databases: Databases) -> None:
    with database(databases, ROLES + SHOP) as connection, connection.cursor() as cursor:
        space = f"keep_{connection.info.dbname}"
        cursor.execute("set allow_in_place_tablespaces = on")
        cursor.execute(f"create tablespace {space} location ''")
        cursor.execute(
            f"alter materialized view shop.m set tablespace {space}; alter index shop.m_a set tablespace {space}"
        )
        with transaction(connection):
            upgrade = Upgrade(cursor, at(connection, "materialized view shop.m"))
            upgrade.drop()
            upgrade.make()
            cursor.execute(
                "select relname from pg_class where reltablespace <> 0 and relkind in ('m', 'i') and relname ~ '^m'"
                " order by 1"
            )
            assert cursor.fetchall() == [("m",), ("m_a",)]
        cursor.execute(
            "alter materialized view shop.m set tablespace pg_default; alter index shop.m_a set tablespace pg_default"
        )
        cursor.execute(f"drop tablespace {space}")


def test_what_depends_on_an_extension_does_so_again(shop: pg.cursor) -> None:
    shop.execute("create extension vector schema shop; alter index shop.m_a depends on extension vector")
    shop.execute("alter function shop.f(integer) depends on extension vector")
    before = state(shop.connection)
    upgrade = Upgrade(shop, at(shop.connection, "function shop.f(integer)"))
    upgrade.drop()
    upgrade.make()
    assert differences(before, state(shop.connection)) == ""
    shop.execute("drop extension vector cascade")
    assert before.keys() - state(shop.connection).keys() >= {"function shop.f(integer)", "index shop.m_a"}


def test_what_is_in_an_extension_is_refused(shop: pg.cursor) -> None:
    shop.execute("create extension vector schema shop; create view shop.far as select '[1,2]'::shop.vector as v")
    member = at(shop.connection, "type shop.vector")
    found = {each.identity: each.create for each in dependents(shop.connection, member)}
    assert found["extension vector"] is None and found["view shop.far"]
    with pytest.raises(Refused, match=r"type shop\.vector belongs to the extension vector and cannot be dropped alone"):
        save(shop.connection, member)


def test_an_invalid_index_is_refused_before_it_is_lost(shop: pg.cursor) -> None:
    shop.execute("update pg_index set indisvalid = false where indexrelid = 'shop.m_a'::regclass")
    with pytest.raises(Refused, match=r"index shop\.m_a hangs on materialized view shop\.m, .* REINDEX or drop it"):
        save(shop.connection, at(shop.connection, "materialized view shop.m"))
    assert itself(shop.connection, at(shop.connection, "index shop.m_a")).create is None


def test_what_was_not_made_again_is_refused(shop: pg.cursor) -> None:
    kept = save(shop.connection, at(shop.connection, "view shop.v"))
    shop.execute("drop view shop.v; create table shop.v ()")
    with pytest.raises(Refused, match=r"view shop\.v is to get back what it had, but it was not made again"):
        kept.restore(shop.connection)


def test_a_circle_is_named(shop: pg.cursor) -> None:
    shop.execute("""
        create function shop.one() returns integer language sql begin atomic select 1; end;
        create function shop.two() returns integer language sql begin atomic select shop.one(); end;
        create or replace function shop.one() returns integer language sql begin atomic select shop.two(); end;
        create view shop.three as select shop.one()
    """)
    with pytest.raises(Refused, match=r"function shop\.one\(\) and function shop\.two\(\) depend on each other"):
        dependents(shop.connection, at(shop.connection, "function shop.one()"))


def test_what_another_session_has_for_itself_cannot_be_made_again(databases: Databases) -> None:
    with database(databases, ROLES + SHOP) as connection, connection.cursor() as cursor:
        cursor.execute("create temp view mine as select * from shop.v")
        with contextlib.closing(databases.connect(connection.info.dbname)) as other:
            [found] = dependents(other, at(other, "view shop.v"))
            assert found.identity.startswith("view pg_temp_") and found.create is None


def test_columns_that_an_object_names(layers: pg.connection) -> None:
    thing, first = (at(layers, identity) for identity in ("table base.thing", "view mart.first"))
    for identity, relation, expected in (
        ("view mart.first", thing, {"id", "name", "mood", "pair"}),
        ("view mart.second", thing, set()),
        ("view mart.second", first, {"id", "Name %", "coded"}),
        ("view mart.whole", first, {"id", "Name %", "coded", "mood", "pair"}),
        ("column base.thing.code", thing, {"id"}),
        ("policy thing_policy on base.thing", thing, {"id", "code"}),
        ("trigger thing_trigger on base.thing", thing, {"id", "name"}),
        ("index base.thing_code_index", thing, {"code", "tag", "name"}),
        ("constraint part_thing_name_fkey on base.part", thing, {"name"}),
        ("function mart.all_of()", first, {"id", "Name %", "coded", "mood", "pair"}),
        ("publication table base.thing in publication keep_filtered", thing, {"id", "name"}),
        ("default mart.first.id", first, {"id"}),
    ):
        assert bound_columns(layers, at(layers, identity), relation) == expected, identity


def test_dependents_tell_what_they_are(layers: pg.connection) -> None:
    found = {each.identity: each for each in dependents(layers, at(layers, "function base.code(integer)"))}
    check = found["constraint thing_code on base.thing"]
    assert (check.kind, check.table) == ("constraint", "table base.thing")
    assert check.drop == "alter table base.thing drop constraint thing_code"
    assert check.create == "alter table base.thing add constraint thing_code CHECK ((base.code(id) <> 'c0'::text))"
    assert found["view mart.second"].table is None
    assert found["trigger thing_trigger on base.thing"].table == "table base.thing"
    assert found["rule first_rule on mart.first"].table == "view mart.first"
    # Goes with its table's column, or its view.
    assert not {"index base.thing_code_index", "trigger first_trigger on mart.first"} & found.keys()
    assert dependents(layers, at(layers, "table base.thing"), ["no such column"]) == []
    assert len({each.address for each in found.values()}) == len(found)


SETTINGS = {
    "search_path": "mart, base, pg_catalog",
    "DateStyle": "SQL, DMY",
    "quote_all_identifiers": "on",
    "standard_conforming_strings": "off",
    "plan_cache_mode": "force_custom_plan",
}


def test_settings_do_not_matter_and_stay(databases: Databases, layers: pg.connection) -> None:
    def read(connection: pg.connection) -> object:
        where = at(connection, "function base.code(integer)")
        return (
            dependents(connection, where),
            save(connection, where),
            save(connection, at(connection, "view mart.first")),
        )

    expected = read(layers)
    with contextlib.closing(databases.connect(layers.info.dbname)) as connection, connection.cursor() as cursor:
        for name, value in SETTINGS.items():
            cursor.execute(f"set {name} = {value}")
        for autocommit in (True, False):
            connection.autocommit = autocommit
            for prepared in (False, True):
                if not prepared:
                    cursor.execute("deallocate all; create temp table if not exists pg_class (a text)")
                assert read(connection) == expected
            cursor.execute(
                'select setting from pg_settings where name = any (%s) order by name collate "C"', [list(SETTINGS)]
            )
            assert [row[0] for row in cursor.fetchall()] == [SETTINGS[name] for name in sorted(SETTINGS)]
        connection.rollback()
