-- What the selected objects consist of: each entry with the object that people know it by. Behind catalog.sql.
, home (class, oid, told_class, told) as (
    select 'pg_class'::regclass, oid, 'pg_class'::regclass, oid from relation
    union all
    select 'pg_class'::regclass, i.indexrelid, 'pg_class'::regclass, i.indexrelid
    from pg_index i join relation r on r.oid = i.indrelid
    union all
    select 'pg_type'::regclass, t.oid, 'pg_type'::regclass, t.oid
    from pg_type t join namespace n on n.oid = t.typnamespace where t.typrelid = 0
    union all
    select 'pg_proc'::regclass, p.oid, 'pg_proc'::regclass, p.oid
    from pg_proc p join namespace n on n.oid = p.pronamespace
    union all
    select 'pg_constraint'::regclass, c.oid, 'pg_constraint'::regclass, c.oid
    from pg_constraint c join relation r on r.oid = c.conrelid
    union all
    select 'pg_rewrite'::regclass, w.oid, 'pg_class'::regclass, w.ev_class
    from pg_rewrite w join relation r on r.oid = w.ev_class
    union all
    select 'pg_trigger'::regclass, t.oid, 'pg_trigger'::regclass, t.oid
    from pg_trigger t join relation r on r.oid = t.tgrelid where not t.tgisinternal
    union all
    select 'pg_attrdef'::regclass, a.oid, 'pg_class'::regclass, a.adrelid
    from pg_attrdef a join relation r on r.oid = a.adrelid
    union all
    select 'pg_policy'::regclass, p.oid, 'pg_policy'::regclass, p.oid
    from pg_policy p join relation r on r.oid = p.polrelid
)
