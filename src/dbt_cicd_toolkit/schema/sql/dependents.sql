-- The objects $1, $2, $3 (arrays of classid, objid, objsubid): their names, how they are dropped and made again.
with wanted (classid, objid, objsubid) as materialized (select * from unnest($1::oid[], $2::oid[], $3::integer[])),

{named},

{defined}

select d.classid, d.objid, d.objsubid, d.identity, d.kind, r.identity, d.drop, d.make
from defined d
left join lateral (
    select i.type || ' ' || i.identity as identity from pg_identify_object('pg_class'::regclass, d.relation, 0) i
    where d.relation is not null
) r on true
