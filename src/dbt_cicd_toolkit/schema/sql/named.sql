-- What the objects of "wanted" (classid, objid, objsubid) are called: "kind", "name" and "identity" as in
-- catalog.describe(), where columns ('column s.t.c') and defaults ('default s.t.c') are no objects of their own. "target"
-- is the identity as ALTER, COMMENT ON and DROP take it.
named as materialized (
    select w.*, k.kind, k.name, k.kind || ' ' || k.name as identity,
        case
            when k.kind = 'aggregate' then 'routine ' || k.name
            when i.type = 'domain constraint' then (
                select format('constraint %I on domain %s', c.conname, t.identity)
                from pg_constraint c, pg_identify_object('pg_type'::regclass, c.contypid, 0) t where c.oid = w.objid)
            else k.kind || ' ' || k.name end as target
    from wanted w
    cross join lateral pg_identify_object(w.classid, w.objid, w.objsubid) i
    cross join lateral (
        select case
                when i.type like '% column' then 'column'
                when i.type like '% constraint' then 'constraint'
                when i.type = 'default value' then 'default'
                when i.type = 'statistics object' then 'statistics'
                when i.type = 'foreign-data wrapper' then 'foreign data wrapper'
                when i.type = 'publication relation' then 'publication table'
                when i.type = 'user mapping' then 'user mapping for'
                when exists (select from pg_type t
                    where w.classid = 'pg_type'::regclass and t.oid = w.objid and t.typtype = 'd') then 'domain'
                else i.type end as kind,
            case
                when w.classid = 'pg_proc'::regclass then w.objid::regprocedure::text
                when w.classid = 'pg_operator'::regclass then w.objid::regoperator::text
                when w.classid = 'pg_attrdef'::regclass then substr(i.identity, 5)  -- 'for s.t.c'
                when w.classid = 'pg_cast'::regclass then (
                    select format('(%s as %s)', format_type(c.castsource, null), format_type(c.casttarget, null))
                    from pg_cast c where c.oid = w.objid)
                when w.classid in ('pg_opclass'::regclass, 'pg_opfamily'::regclass)
                    then regexp_replace(i.identity, ' USING ([^ ]+)$', E' using \\1')
                else i.identity end as name
    ) k
)
