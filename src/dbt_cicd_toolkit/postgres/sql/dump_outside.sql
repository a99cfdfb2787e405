-- What the selected objects refer to and is not selected, so that they could not be created without it: rows
-- (object, what it needs, that one's schema). Behind catalog.sql and dump_home.sql.
, outside (class, oid, nspname) as (
    select o.class, o.oid, n.nspname
    from (
        select 'pg_class'::regclass as class, c.oid, c.relnamespace as namespace from pg_class c
        where c.oid not in (select oid from relation) and c.relkind not in ('i', 'I', 't')
        union all
        select 'pg_type'::regclass, oid, typnamespace from pg_type
        where typnamespace not in (select oid from namespace)
        union all
        select 'pg_proc'::regclass, oid, pronamespace from pg_proc where pronamespace not in (select oid from namespace)
        union all
        select 'pg_operator'::regclass, oid, oprnamespace from pg_operator
        where oprnamespace not in (select oid from namespace)
        union all
        select 'pg_collation'::regclass, oid, collnamespace from pg_collation
        where collnamespace not in (select oid from namespace)
        union all
        select 'pg_ts_config'::regclass, oid, cfgnamespace from pg_ts_config
        where cfgnamespace not in (select oid from namespace)
    ) o
    join pg_namespace n on n.oid = o.namespace and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
    where not exists (select from member m where m.classid = o.class and m.objid = o.oid)
)
select distinct pg_describe_object(h.told_class, h.told, 0), pg_describe_object(o.class, o.oid, 0), o.nspname
from home h
join pg_depend d on d.classid = h.class and d.objid = h.oid
join outside o on o.class = d.refclassid and o.oid = d.refobjid
order by 1, 2
