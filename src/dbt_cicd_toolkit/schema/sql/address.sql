-- The address of what has the identity $1: of the objects of its kind whose name is in it, the one that is called so.
with asked (identity) as (select $1::text),

wanted (classid, objid, objsubid) as materialized (
    select o.classid::oid, o.oid, o.number
    from asked,
    lateral (
        select 'pg_class'::regclass as classid, oid, 0 as number, relname as name from pg_class
        where oid >= 16384 and identity ~ '^(table|view|materialized view|foreign table|sequence|index) '
        union all
        select 'pg_proc'::regclass, oid, 0, proname from pg_proc
        where oid >= 16384 and identity ~ '^(function|procedure|aggregate) '
        union all
        select 'pg_type'::regclass, oid, 0, typname from pg_type where oid >= 16384 and identity ~ '^(type|domain) '
        union all
        select 'pg_constraint'::regclass, oid, 0, conname from pg_constraint where identity like 'constraint %'
        union all
        select 'pg_trigger'::regclass, oid, 0, tgname from pg_trigger where identity like 'trigger %'
        union all
        select 'pg_rewrite'::regclass, oid, 0, rulename from pg_rewrite where identity like 'rule %'
        union all
        select 'pg_policy'::regclass, oid, 0, polname from pg_policy where identity like 'policy %'
        union all
        select 'pg_statistic_ext'::regclass, oid, 0, stxname from pg_statistic_ext where identity like 'statistics %'
        union all
        select 'pg_class'::regclass, attrelid, attnum, attname from pg_attribute
        where attrelid >= 16384 and attnum > 0 and not attisdropped and identity like 'column %'
        union all
        select 'pg_attrdef'::regclass, d.oid, 0, a.attname
        from pg_attrdef d join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
        where identity like 'default %'
        union all
        select 'pg_publication_rel'::regclass, r.oid, 0, p.pubname
        from pg_publication_rel r join pg_publication p on p.oid = r.prpubid where identity like 'publication table %'
        union all
        select 'pg_publication'::regclass, oid, 0, pubname from pg_publication where identity like 'publication %'
        union all
        select 'pg_namespace'::regclass, oid, 0, nspname from pg_namespace where identity like 'schema %'
        union all
        select 'pg_extension'::regclass, oid, 0, extname from pg_extension where identity like 'extension %'
        union all
        select 'pg_language'::regclass, oid, 0, lanname from pg_language where identity like 'language %'
        union all
        select 'pg_am'::regclass, oid, 0, amname from pg_am where identity like 'access method %'
        union all
        select 'pg_event_trigger'::regclass, oid, 0, evtname from pg_event_trigger where identity like 'event trigger %'
        union all
        select 'pg_collation'::regclass, oid, 0, collname from pg_collation
        where oid >= 16384 and identity like 'collation %'
        union all
        select 'pg_conversion'::regclass, oid, 0, conname from pg_conversion
        where oid >= 16384 and identity like 'conversion %'
        union all
        select 'pg_operator'::regclass, oid, 0, oprname from pg_operator
        where oid >= 16384 and identity like 'operator %'
        union all
        select 'pg_opclass'::regclass, oid, 0, opcname from pg_opclass
        where oid >= 16384 and identity like 'operator class %'
        union all
        select 'pg_opfamily'::regclass, oid, 0, opfname from pg_opfamily
        where oid >= 16384 and identity like 'operator family %'
        union all
        select 'pg_cast'::regclass, oid, 0, '' from pg_cast where oid >= 16384 and identity like 'cast %'
        union all
        select 'pg_transform'::regclass, oid, 0, '' from pg_transform where identity like 'transform %'
        union all
        select 'pg_ts_config'::regclass, oid, 0, cfgname from pg_ts_config
        where oid >= 16384 and identity like 'text search %'
        union all
        select 'pg_ts_dict'::regclass, oid, 0, dictname from pg_ts_dict
        where oid >= 16384 and identity like 'text search %'
        union all
        select 'pg_ts_parser'::regclass, oid, 0, prsname from pg_ts_parser
        where oid >= 16384 and identity like 'text search %'
        union all
        select 'pg_ts_template'::regclass, oid, 0, tmplname from pg_ts_template
        where oid >= 16384 and identity like 'text search %'
        union all
        select 'pg_foreign_data_wrapper'::regclass, oid, 0, fdwname from pg_foreign_data_wrapper
        where identity like 'foreign data wrapper %'
        union all
        select 'pg_foreign_server'::regclass, oid, 0, srvname from pg_foreign_server where identity like 'server %'
        union all
        select 'pg_user_mapping'::regclass, umid, 0, srvname from pg_user_mappings where identity like 'user mapping %'
    ) o
    where strpos(identity, replace(o.name::text, '"', '""')) > 0
),

{named}

select n.classid, n.objid, n.objsubid from named n join asked on n.identity = asked.identity
