-- What the other catalog_*.sql files select from; "selection" (one row: schemas, excluded_schemas, excluded_relations)
-- is put in front by catalog.py. Every file yields rows (identity, definition, verbatim): the definition is compared in
-- its canonical form, verbatim as it is. A query with a comment "only if" is left out where that finds no row: there are
-- no objects of its kind but the server's own, whose numbers are below 16384 (access/transam.h).

-- Owned by extensions: told by the extension's version.
member as materialized (select classid, objid from pg_depend where deptype = 'e'),

namespace as materialized (
    select n.oid, n.nspname, quote_ident(n.nspname) as name, n.nspowner, n.nspacl
    from pg_namespace n, selection s
    where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
      and (s.schemas is null or n.nspname = any (s.schemas))
      and n.nspname <> all (s.excluded_schemas)
      and not exists (select from member m where m.classid = 'pg_namespace'::regclass and m.objid = n.oid)
),

-- Objects of no schema are limited by nothing but their age: those of initdb have small numbers (access/transam.h).
everything as materialized (select 16384::oid as first_oid from selection where schemas is null),

-- A sequence goes with the table that owns it.
owned_sequence as materialized (
    select d.objid as oid, d.refobjid as owner, d.refobjsubid as number, d.deptype = 'i' as identity
    from pg_depend d join pg_class c on c.oid = d.objid and c.relkind = 'S'
    where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i')
),

relation as materialized (
    select c.oid, c.relname, c.relkind, c.relnamespace, c.reltype, c.reloftype, c.relowner, c.relam, c.reltoastrelid,
        c.relpersistence, c.relrowsecurity, c.relforcerowsecurity, c.relispopulated, c.relreplident, c.relispartition,
        c.relacl, c.reloptions, c.relpartbound, n.name || '.' || quote_ident(c.relname) as name
    from pg_class c
    join namespace n on n.oid = c.relnamespace
    cross join selection s
    left join owned_sequence o on o.oid = c.oid
    left join pg_class ot on ot.oid = o.owner
    left join pg_namespace ons on ons.oid = ot.relnamespace
    where c.relkind in ('r', 'p', 'f', 'v', 'm', 'S', 'c')
      and n.nspname || '.' || c.relname <> all (s.excluded_relations)
      and (o.oid is null or ons.nspname || '.' || ot.relname <> all (s.excluded_relations))
      and not exists (
          select from member m where m.classid = 'pg_class'::regclass and m.objid in (c.oid, o.owner)
      )
),

acl as materialized (
    select 'pg_class'::regclass::oid as class, oid, 0 as number, relowner as owner, relacl as acl
    from relation where relacl is not null
    union all
    select 'pg_class'::regclass, r.oid, a.attnum, r.relowner, a.attacl
    from relation r join pg_attribute a on a.attrelid = r.oid
    where a.attacl is not null and not a.attisdropped
    union all
    select 'pg_namespace'::regclass, oid, 0, nspowner, nspacl from namespace where nspacl is not null
    union all
    select 'pg_proc'::regclass, p.oid, 0, p.proowner, coalesce(p.proacl, acldefault('f', p.proowner))
    from pg_proc p join namespace n on n.oid = p.pronamespace
    union all
    select 'pg_type'::regclass, t.oid, 0, t.typowner, coalesce(t.typacl, acldefault('T', t.typowner))
    from pg_type t join namespace n on n.oid = t.typnamespace
    where t.typtype in ('b', 'd', 'e', 'r') and t.typcategory <> 'A'
       or t.typtype = 'c' and exists (select from relation r where r.reltype = t.oid and r.relkind = 'c')
    union all
    select 'pg_language'::regclass, oid, 0, lanowner, coalesce(lanacl, acldefault('l', lanowner)) from pg_language
    union all
    select 'pg_foreign_data_wrapper'::regclass, oid, 0, fdwowner, fdwacl from pg_foreign_data_wrapper
    union all
    select 'pg_foreign_server'::regclass, oid, 0, srvowner, srvacl from pg_foreign_server
),

-- Without the owner's own privileges and without the grantor: owners stay out.
privilege as materialized (
    select a.class, a.oid, a.number,
        case x.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(x.grantee)) end as grantee,
        string_agg(distinct lower(x.privilege_type), ', ' order by lower(x.privilege_type)) as privileges,
        x.is_grantable
    from acl a
    cross join lateral aclexplode(a.acl) x
    where x.grantee <> a.owner
    group by a.class, a.oid, a.number, x.grantee, x.is_grantable
),

granted as materialized (
    select class, oid, number, string_agg(
        format(E'\n  %sgrant %s to %s%s',
            case when number > 0 then (
                select 'column ' || quote_ident(attname) || ' '
                from pg_attribute where attrelid = oid and attnum = number
            ) end,
            privileges, grantee, case when is_grantable then ' with grant option' end),
        '' order by grantee collate "C", is_grantable) as text
    from privilege
    group by class, oid, number
)
