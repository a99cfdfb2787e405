-- What dropping the object $1, $2, $3 (classid, objid, objsubid) loses although its definition does not tell it: of
-- itself and of what hangs on it (triggers, rules, indexes, statistics …), in an order in which that can be made again.

-- "own": made by a statement of its own, with an owner and privileges; anything else comes with its "part".
with recursive hanging (classid, objid, objsubid, own, level, part_classid, part_objid) as (
    select $1::oid, $2::oid, $3::integer, true, 0, $1::oid, $2::oid
    union
    select d.classid, d.objid, d.objsubid, x.own, h.level + 1,
        case when x.own then d.classid else h.part_classid end, case when x.own then d.objid else h.part_objid end
    from hanging h
    join pg_depend d on d.refclassid = h.classid and d.refobjid = h.objid and h.objsubid in (0, d.refobjsubid)
    cross join lateral (
        select d.deptype = 'a' or d.deptype = 'P' and exists (
            select from pg_index i where d.classid = 'pg_class'::regclass and i.indexrelid = d.objid
                and not exists (select from pg_constraint k
                    where k.conindid = i.indexrelid and k.contype in ('p', 'u', 'x'))) as own
    ) x
    left join pg_class c on d.classid = 'pg_class'::regclass and c.oid = d.objid
    where d.deptype in ('i', 'P') and d.classid <> 'pg_attrdef'::regclass and c.relkind is distinct from 't'
       or d.deptype = 'a' and not exists (
           select from pg_depend p where p.classid = d.classid and p.objid = d.objid and p.deptype = 'P'
       ) and (c.relkind in ('i', 'I')
           or d.classid in ('pg_trigger'::regclass, 'pg_rewrite'::regclass, 'pg_statistic_ext'::regclass,
               'pg_constraint'::regclass, 'pg_policy'::regclass, 'pg_publication_rel'::regclass,
               'pg_attrdef'::regclass))
),

wanted as materialized (
    select classid, objid, objsubid, bool_or(own) as own, max(level) as level, max(part_classid) as part_classid,
        max(part_objid) as part_objid
    from hanging group by classid, objid, objsubid
),

{named},

{defined},

-- With the relation that its columns are of.
object as materialized (
    select d.*, coalesce(c.oid, d.relation, nullif(t.typrelid, 0)) as columns_of, c.relkind,
        coalesce(r.identity, d.name) as relation_name
    from defined d
    left join pg_class c on d.classid = 'pg_class'::regclass and c.oid = d.objid
    left join pg_type t on d.classid = 'pg_type'::regclass and t.oid = d.objid
    left join lateral pg_identify_object('pg_class'::regclass, coalesce(d.relation, c.oid), 0) r
        on coalesce(d.relation, c.oid) is not null
),

{facets}

-- Of each object: its identity, that of the part it belongs to, what makes that part, the columns that it names, the
-- extension it belongs to, and its facets: [column, facet, value, weak, undo, set].
select o.identity, p.identity, case when o.own then o.make end,
    array(
        select a.attname::text
        from pg_attribute a
        where a.attrelid = r.columns_of and a.attnum > 0 and not a.attisdropped and (o.level = 0 or exists (
            select from pg_depend d
            where d.classid = o.classid and d.objid = o.objid and d.refclassid = 'pg_class'::regclass
                and d.refobjid = a.attrelid and d.refobjsubid = a.attnum))
    ),
    (select e.extname from pg_depend d join pg_extension e on e.oid = d.refobjid
        where d.classid = o.classid and d.objid = o.objid and d.refclassid = 'pg_extension'::regclass
            and d.deptype = 'e'),
    coalesce((
        select jsonb_agg(jsonb_build_array(f.attribute, f.facet, f.value, f.weak, f.undo, f.set)
            order by f.place, f.number, f.facet collate "C")
        from facet f where f.classid = o.classid and f.objid = o.objid and f.objsubid = o.objsubid
    ), '[]')
from object o
join object p on p.classid = o.part_classid and p.objid = o.part_objid
join object r on r.level = 0
left join pg_constraint k on o.classid = 'pg_constraint'::regclass and k.oid = o.objid
order by o.level,
    case when o.classid = 'pg_attrdef'::regclass then 0 when k.contype = 'n' then 1
        when k.contype in ('p', 'u', 'x') then 2 when o.relkind in ('i', 'I') then 3 else 4 end,
    o.identity collate "C"
