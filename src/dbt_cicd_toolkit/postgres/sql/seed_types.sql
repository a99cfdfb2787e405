-- The types of the tables' columns and what they are made of: one JSON document per type. Behind catalog.sql.
, used as (
    with recursive used (oid) as (
        select distinct a.atttypid from pg_attribute a join relation r on r.oid = a.attrelid
        where r.relkind in ('r', 'p') and a.attnum > 0 and not a.attisdropped
        union
        select x.oid from used u join pg_type t on t.oid = u.oid, unnest(array[t.typbasetype, t.typelem]) x (oid)
        where x.oid <> 0
    )
    select oid from used
)
select jsonb_build_object(
    'oid', t.oid::bigint, 'name', t.typname, 'type', t.typtype, 'category', t.typcategory,
    'base', t.typbasetype::bigint, 'base_typmod', t.typtypmod,
    'element', case when t.typcategory = 'A' then t.typelem::bigint else 0 end,
    'attributes', coalesce((
        select count(*) from pg_attribute a where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped), 0),
    'labels', coalesce((
        select jsonb_agg(e.enumlabel order by e.enumsortorder) from pg_enum e where e.enumtypid = t.oid), '[]'),
    'checks', coalesce((
        select jsonb_agg(pg_get_constraintdef(c.oid)) from pg_constraint c
        where c.contypid = t.oid and c.contype = 'c'),
        '[]'))
from used u join pg_type t on t.oid = u.oid
