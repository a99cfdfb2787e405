-- The columns of the relation $4 that the object $1, $2, $3 (classid, objid, objsubid) names, itself or in its parts:
-- the rule of a view, the expression of a generated column.
with recursive part (classid, objid, objsubid) as (
    select $1::oid, $2::oid, $3::integer
    union
    select d.classid, d.objid, d.objsubid
    from part p
    join pg_depend d on d.refclassid = p.classid and d.refobjid = p.objid and p.objsubid in (0, d.refobjsubid)
    where d.deptype = 'i'
)

select distinct a.attname::text
from part p
join pg_depend d on d.classid = p.classid and d.objid = p.objid and p.objsubid in (0, d.objsubid)
join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
where d.refclassid = 'pg_class'::regclass and d.refobjid = $4::oid and d.refobjsubid > 0
    and (d.refclassid, d.refobjid, d.refobjsubid) <> ($1::oid, $2::oid, $3::integer)
