-- The materialized views that hold data, each behind those it reads. Behind catalog.sql.
, reads as (
    with recursive reads (view, relation) as (
        select w.ev_class, d.refobjid
        from pg_rewrite w join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid
        where d.refclassid = 'pg_class'::regclass and d.refobjid <> w.ev_class
          and exists (select from relation r where r.oid = w.ev_class and r.relkind = 'm')
        union
        select r.view, d.refobjid
        from reads r
        join pg_rewrite w on w.ev_class = r.relation
        join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid
        where d.refclassid = 'pg_class'::regclass and d.refobjid <> w.ev_class
    )
    select * from reads
)
select r.name
from relation r
left join reads x on x.view = r.oid
left join pg_class c on c.oid = x.relation and c.relkind = 'm'
where r.relkind = 'm' and r.relispopulated
group by r.name
having coalesce(bool_and(c.relispopulated), true)
order by count(distinct c.oid), r.name collate "C"
