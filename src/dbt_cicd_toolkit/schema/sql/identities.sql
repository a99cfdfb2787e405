-- What the objects $1, $2, $3 (arrays of classid, objid, objsubid) are called, of those that are there.
with wanted (classid, objid, objsubid) as materialized (
    select x.* from unnest($1::oid[], $2::oid[], $3::integer[]) x (classid, objid, objsubid)
    where (pg_identify_object(x.classid, x.objid, x.objsubid)).identity is not null
),

{named}

select identity, classid, objid, objsubid from named
