-- A database with one of nearly everything that needs no compiled code. PostgreSQL 14 to 18; to be run by a superuser.
do $$
begin
    create role rich_reader;
exception when duplicate_object or unique_violation then null;
end $$;
do $$
begin
    create role rich_writer;
exception when duplicate_object or unique_violation then null;
end $$;

comment on schema public is 'the public schema';
create schema rich;
create schema "Odd Schema";
create schema parts;
comment on schema rich is 'first line
second line';
grant usage on schema rich to rich_reader, rich_writer;
grant create on schema rich to rich_writer with grant option;

-- types
create type rich.mood as enum ('sad', 'ok', 'it''s fine');
alter type rich.mood add value 'meh' before 'ok';
create type rich.address as (street text, "Zip Code" character varying(10), numbers integer[]);
comment on column rich.address.street is 'with the number';
create domain rich.email as text collate "C" default 'nobody@example.com' not null
    constraint email_has_at check (value like '%@%');
alter domain rich.email add constraint email_short check (length(value) < 300) not valid;
create domain rich.money2 as numeric(12, 2);
create type rich.span as range (subtype = double precision, subtype_diff = float8mi);
comment on type rich.mood is 'how it goes';
revoke usage on type rich.mood from public;
grant usage on type rich.mood to rich_reader;
create collation rich.plain (locale = 'C', provider = libc);
comment on collation rich.plain is 'bytes';

-- sequences
create sequence rich.counter as smallint start 10 increment 5 minvalue 5 maxvalue 1000 cache 3 cycle;
grant usage on sequence rich.counter to rich_writer;
comment on sequence rich.counter is 'counts';

-- functions
create function rich.twice(x integer, y integer default 2) returns integer
    language sql immutable strict parallel safe cost 5
    as $body$ select x * y -- 'not a string', "nor a name"
$body$;
create function rich.sum_of(a integer, b integer) returns integer language sql immutable
    begin atomic
        select a + b;
    end;
create function rich.rows_of(n integer, out id integer, out label text) returns setof record
    language plpgsql stable rows 7 security definer set search_path = rich, pg_temp
    as $$ begin return query select g, 'row ' || g from generate_series(1, n) g; end $$;
create procedure rich.do_nothing(inout x integer) language plpgsql as $$ begin x := x; end $$;
create function rich.touch() returns trigger language plpgsql as $$
begin
    new.touched_at := coalesce(new.touched_at, '2024-02-03 04:05:06+00'::timestamptz);
    return new;
end $$;
comment on function rich.twice(integer, integer) is 'twice';
revoke all on function rich.rows_of(integer) from public;
grant execute on function rich.rows_of(integer) to rich_reader;
create aggregate rich.product(numeric) (sfunc = numeric_mul, stype = numeric, initcond = '1', parallel = safe);
comment on aggregate rich.product(numeric) is 'multiplies';
create function rich.backwards(text, text) returns boolean language sql immutable as 'select $1 > $2';
create operator rich.<<<< (leftarg = text, rightarg = text, function = rich.backwards, restrict = scalargtsel);
create operator class rich.text_again for type text using btree as
    operator 1 <, operator 2 <=, operator 3 =, operator 4 >=, operator 5 >, function 1 bttextcmp(text, text);
create function rich.as_mood(integer) returns rich.mood language sql immutable as $$ select 'ok'::rich.mood $$;
create cast (integer as rich.mood) with function rich.as_mood(integer) as assignment;
create text search dictionary rich.simple_dict (template = pg_catalog.simple, stopwords = english);
create text search configuration rich.english (copy = pg_catalog.english);
alter text search configuration rich.english alter mapping for asciiword with rich.simple_dict, english_stem;

-- tables
create table rich.tenant (
    id integer generated always as identity (start 100 increment 10) primary key,
    code character varying(10) not null constraint tenant_code_unique unique deferrable initially deferred,
    status character varying(20) not null default 'new'
        constraint tenant_status check (status in ('new', 'active', 'closed')),
    kind text constraint tenant_kind check (kind not in ('x', 'y')),
    host cidr check (host in ('10.0.0.0/8', '192.168.0.0/16')),
    mood rich.mood default 'ok',
    "select" text default 'quote''d',
    price rich.money2 default 1.5,
    ratio double precision default 0.1,
    at timestamp with time zone default '2024-01-15 14:30:00+02',
    every interval default '1 mon 2 days 03:04:05',
    raw bytea default '\x00ff',
    amount money default '12.34',
    home rich.address,
    email rich.email,
    name text collate "C",
    note text,
    width integer default 2,
    height integer default 3,
    area integer generated always as (width * height) stored,
    touched_at timestamp with time zone
) with (fillfactor = 70, autovacuum_enabled = false, toast.autovacuum_enabled = false);
comment on table rich.tenant is 'tenants';
comment on column rich.tenant.code is 'short; it''s unique';
comment on constraint tenant_kind on rich.tenant is 'a constraint';
comment on index rich.tenant_pkey is 'the index of the key';
alter table rich.tenant alter column note set storage external, alter column note set compression pglz,
    alter column kind set statistics 50, alter column width set (n_distinct = 5);
alter table rich.tenant replica identity using index tenant_pkey;
grant select on rich.tenant to rich_reader;
grant select, insert, update on rich.tenant to rich_writer with grant option;
grant update (note, name) on rich.tenant to rich_reader;
create index tenant_name on rich.tenant (lower(name) varchar_pattern_ops desc nulls last) include (kind)
    with (fillfactor = 80) where status in ('new', 'active');
alter index rich.tenant_name alter column 1 set statistics 77;
create unique index tenant_email on rich.tenant (email) ;
create index "Tenant Order" on rich.tenant using hash (kind);
create index tenant_period on rich.tenant using gist (tstzrange(at, touched_at));
comment on index rich.tenant_name is 'an index';
alter table rich.tenant cluster on tenant_email;
create statistics rich.tenant_stats (dependencies, ndistinct) on status, kind from rich.tenant;
alter statistics rich.tenant_stats set statistics 60;
create trigger tenant_touch before insert or update of name on rich.tenant
    for each row when (new.status <> 'closed') execute function rich.touch();
comment on trigger tenant_touch on rich.tenant is 'touches';
create trigger tenant_off after delete on rich.tenant for each statement execute function rich.touch();
alter table rich.tenant disable trigger tenant_off;
create trigger tenant_always before update on rich.tenant for each row execute function rich.touch('a', 'it''s');
alter table rich.tenant enable always trigger tenant_always;
create rule tenant_keep as on delete to rich.tenant where old.status = 'active' do instead nothing;
comment on rule tenant_keep on rich.tenant is 'keeps';
alter table rich.tenant enable row level security;
create policy tenant_read on rich.tenant for select to rich_reader, rich_writer using (status in ('new', 'active'));
create policy tenant_write on rich.tenant as restrictive for update using (true) with check (length(code) > 1);
comment on policy tenant_read on rich.tenant is 'reads';

create table rich.orders (
    id bigserial primary key,
    tenant_id integer not null,
    parent_id bigint references rich.orders deferrable,
    during daterange,
    quantity smallint default -1,
    constraint orders_tenant foreign key (tenant_id) references rich.tenant (id) on delete cascade on update set null,
    constraint orders_quantity check (quantity between -1 and 100) no inherit,
    constraint orders_during exclude using gist (during with &&) where (tenant_id > 0)
);
alter table rich.orders add constraint orders_late check (id > 0) not valid;
create unlogged table rich.cache (key text, value jsonb default '{"a": [1, 2]}') ;
alter table rich.cache replica identity full;
create table rich.base (id integer not null, created date default current_date, constraint base_id check (id > 0));
create table rich.derived (extra text) inherits (rich.base);
create table rich.of_type of rich.address (street with options not null default 'Main');
create table "Odd Schema"."Odd ""Table" ("Odd Column" integer, "ünïcode" text default 'grüße', "%s" text check ("%s" <> '%'));

create table parts.event (
    id bigint generated by default as identity,
    tenant_id integer references rich.tenant,
    happened_on date not null,
    payload text,
    primary key (id, happened_on),
    constraint event_payload check (payload <> '')
) partition by range (happened_on);
create table parts.event_2024 partition of parts.event for values from ('2024-01-01') to ('2025-01-01');
create table parts.event_2025 partition of parts.event for values from ('2025-01-01') to ('2026-01-01')
    partition by list (id);
create table parts.event_2025_one partition of parts.event_2025 for values in (1, 2);
create table parts.event_rest partition of parts.event default;
create table parts.hashed (id integer primary key, what text) partition by hash (id);
create table parts.hashed_0 partition of parts.hashed for values with (modulus 2, remainder 0);
create table parts.hashed_1 partition of parts.hashed for values with (modulus 2, remainder 1);
create index event_payload_index on parts.event (payload);
create trigger event_trigger before insert on parts.event for each row execute function rich.touch();
alter table parts.event_2024 disable trigger event_trigger;
create table parts.detail (
    event_id bigint, happened_on date, foreign key (event_id, happened_on) references parts.event
);

-- views
create view rich.active with (security_barrier = true) as
    select t.id, t.code, t.at::date as day, t.status in ('active', 'new') as open, o.quantity
    from rich.tenant t left join rich.orders o on o.tenant_id = t.id
    where t.status not in ('closed') and t.code ~ '^[a-z]+$';
create view rich.loose as select id, code, status from rich.tenant where status in ('new', 'closed') with cascaded check option;
create view rich.on_view as
    with recursive walk(id, depth) as (
        select o.id, 0 from rich.orders o where o.parent_id is null
        union all
        select o.id, w.depth + 1 from rich.orders o join walk w on w.id = o.parent_id
    )
    select w.id, max(w.depth) filter (where w.depth > 0) over (partition by w.id) as deepest, a.code
    from walk w cross join lateral (select code from rich.active a where a.id = w.id limit 1) a;
alter view rich.loose alter column code set default 'from the view';
comment on view rich.active is 'active ones';
comment on column rich.active.day is 'the day';
grant select on rich.active to rich_reader;
create materialized view rich.totals with (fillfactor = 90) as
    select tenant_id, count(*) as n, sum(quantity)::numeric(10, 2) as quantity from rich.orders group by tenant_id;
create unique index totals_tenant on rich.totals (tenant_id);
create materialized view rich.totals_of_totals as select sum(n) as n from rich.totals;
create materialized view rich.unfilled as select 1 as one with no data;
comment on materialized view rich.totals is 'totals';

-- what belongs to no schema
create foreign data wrapper rich_wrapper options (debug 'true');
create server rich_server type 'none' version '1' foreign data wrapper rich_wrapper options (host 'example.com', port '5432');
comment on server rich_server is 'elsewhere';
grant usage on foreign server rich_server to rich_reader;
create user mapping for rich_reader server rich_server options (user 'reader', password 'never told');
create user mapping for public server rich_server;
create foreign table rich.remote (
    id integer options (column_name 'ID') not null, label text default 'none'
) server rich_server options (table_name 'remote');
create publication rich_publication for table rich.tenant, rich.orders with (publish = 'insert, update');
comment on publication rich_publication is 'published';
create function rich.on_ddl() returns event_trigger language plpgsql as $$ begin null; end $$;
create event trigger rich_event on ddl_command_start when tag in ('DROP TABLE', 'DROP VIEW') execute function rich.on_ddl();
alter event trigger rich_event disable;
comment on event trigger rich_event is 'watches';
alter default privileges in schema rich grant select on tables to rich_reader;
alter default privileges in schema rich grant execute on functions to rich_reader with grant option;
alter default privileges revoke execute on functions from public;
