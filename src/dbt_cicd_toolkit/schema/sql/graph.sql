-- What would be dropped with the objects $1, $2, $3 (arrays of classid, objid, objsubid), as the server finds it (see
-- findDependentObjects in src/backend/catalog/dependency.c). Each row is an edge from an object to one that it needs, and
-- how: 'i', 'e', 'h' (inherited), 'P', 'S': it is a part of that one; 'a': it vanishes with that one; 'o': it can be
-- dropped after that one only; anything else: it stands in the way. Relations and columns are "own": they are never
-- dropped silently.

with recursive wanted (classid, objid, objsubid) as (select * from unnest($1::oid[], $2::oid[], $3::integer[])),

-- What pg_depend does not tell: of a generated column, its expression is a part; the columns of a view, or of a table
-- that is made of a type, cannot be dropped alone; a column or check constraint that is inherited is dropped with its
-- parent's.
besides (classid, objid, objsubid, refclassid, refobjid, refobjsubid, deptype) as not materialized (
    select 'pg_attrdef'::regclass::oid, d.oid, 0, 'pg_class'::regclass::oid, d.adrelid, d.adnum::integer, 'i'::text
    from pg_attrdef d
    join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
    where a.attgenerated <> ''
    union all
    select 'pg_class'::regclass::oid, a.attrelid, a.attnum::integer, 'pg_class'::regclass::oid, a.attrelid, 0, 'i'::text
    from pg_attribute a
    join pg_class c on c.oid = a.attrelid
    where (c.relkind in ('v', 'm') or c.reloftype <> 0) and a.attnum > 0
    union all
    select 'pg_class'::regclass::oid, a.attrelid, a.attnum::integer, 'pg_class'::regclass::oid, p.attrelid,
        p.attnum::integer, 'h'::text
    from pg_inherits i
    join pg_attribute p on p.attrelid = i.inhparent and p.attnum > 0 and not p.attisdropped
    join pg_attribute a on a.attrelid = i.inhrelid and a.attname = p.attname
    where a.attinhcount = 1 and not a.attislocal
    union all
    select 'pg_constraint'::regclass::oid, c.oid, 0, 'pg_constraint'::regclass::oid, p.oid, 0,
        case when c.conislocal then 'o' else 'h' end
    from pg_inherits i
    join pg_constraint p on p.conrelid = i.inhparent
    join pg_constraint c on c.conrelid = i.inhrelid and c.conname = p.conname and c.contype = p.contype
    where c.coninhcount > 0 and c.contype in ('c', 'n')
),

-- A member of an operator family is the family here.
edge as not materialized (
    select classid, objid, objsubid, refclassid, refobjid, refobjsubid,
        case when refclassid = 'pg_opfamily'::regclass and classid in ('pg_amop'::regclass, 'pg_amproc'::regclass)
            then 'i' else deptype::text end as deptype
    from pg_depend
    union all
    select * from besides
),

reached (classid, objid, objsubid) as (
    select * from wanted
    union
    select n.* from reached r
    cross join lateral (
        select e.classid, e.objid, e.objsubid from edge e
        where e.refclassid = r.classid and e.refobjid = r.objid and r.objsubid in (0, e.refobjsubid)
            and e.deptype <> 'o'
        union all
        select e.refclassid, e.refobjid, e.refobjsubid from edge e
        where e.classid = r.classid and e.objid = r.objid and e.objsubid = r.objsubid and e.deptype in ('i', 'e')
            and (r.classid, r.objid, r.objsubid) not in (select * from wanted)
    ) n
)

select e.classid, e.objid, e.objsubid, r.classid, r.objid, r.objsubid, e.deptype,
    e.classid = 'pg_class'::regclass and c.relkind not in ('i', 'I', 'S') as own
from reached r
cross join lateral (
    select * from edge e
    where e.refclassid = r.classid and e.refobjid = r.objid and r.objsubid in (0, e.refobjsubid)
    offset 0  -- by the indexes of pg_depend, not by reading all of it
) e
left join pg_class c on e.classid = 'pg_class'::regclass and c.oid = e.objid
where e.deptype <> 'o' or (e.classid, e.objid, e.objsubid) in (select * from reached)
