-- The addresses of what has the identities $1: of the objects of their kinds that have the names $2 (or, where that is
-- null, a name that is in the identity) those that are called so.
with asked (identity, name) as materialized (select * from unnest($1::text[], $2::text[])),

kind (word) as materialized (select distinct substring(identity, '^[a-z]+') from asked),

wanted (classid, objid, objsubid) as materialized (
    select o.classid::oid, o.oid, o.number
    from (
        select 'pg_class'::regclass as classid, oid, 0 as number, relname as name from pg_class
        where oid >= 16384 and exists (
            select from kind where word in ('table', 'view', 'materialized', 'foreign', 'sequence', 'index'))
        union all
        select 'pg_proc'::regclass, oid, 0, proname from pg_proc
        where oid >= 16384 and exists (select from kind where word in ('function', 'procedure', 'aggregate'))
        union all
        select 'pg_type'::regclass, oid, 0, typname from pg_type
        where oid >= 16384 and exists (select from kind where word in ('type', 'domain'))
        union all
        select 'pg_constraint'::regclass, oid, 0, conname from pg_constraint
        where 'constraint' in (select word from kind)
        union all
        select 'pg_trigger'::regclass, oid, 0, tgname from pg_trigger where 'trigger' in (select word from kind)
        union all
        select 'pg_rewrite'::regclass, oid, 0, rulename from pg_rewrite where 'rule' in (select word from kind)
        union all
        select 'pg_policy'::regclass, oid, 0, polname from pg_policy where 'policy' in (select word from kind)
        union all
        select 'pg_statistic_ext'::regclass, oid, 0, stxname from pg_statistic_ext
        where 'statistics' in (select word from kind)
        union all
        select 'pg_class'::regclass, attrelid, attnum, attname from pg_attribute
        where attrelid >= 16384 and attnum > 0 and not attisdropped and 'column' in (select word from kind)
        union all
        select 'pg_attrdef'::regclass, d.oid, 0, a.attname
        from pg_attrdef d join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
        where 'default' in (select word from kind)
        union all
        select 'pg_publication_rel'::regclass, r.oid, 0, p.pubname
        from pg_publication_rel r join pg_publication p on p.oid = r.prpubid
        where 'publication' in (select word from kind)
        union all
        select 'pg_publication'::regclass, oid, 0, pubname from pg_publication
        where 'publication' in (select word from kind)
        union all
        select 'pg_namespace'::regclass, oid, 0, nspname from pg_namespace where 'schema' in (select word from kind)
        union all
        select 'pg_extension'::regclass, oid, 0, extname from pg_extension where 'extension' in (select word from kind)
        union all
        select 'pg_language'::regclass, oid, 0, lanname from pg_language where 'language' in (select word from kind)
        union all
        select 'pg_am'::regclass, oid, 0, amname from pg_am where 'access' in (select word from kind)
        union all
        select 'pg_event_trigger'::regclass, oid, 0, evtname from pg_event_trigger
        where 'event' in (select word from kind)
        union all
        select 'pg_collation'::regclass, oid, 0, collname from pg_collation
        where oid >= 16384 and 'collation' in (select word from kind)
        union all
        select 'pg_conversion'::regclass, oid, 0, conname from pg_conversion
        where oid >= 16384 and 'conversion' in (select word from kind)
        union all
        select 'pg_operator'::regclass, oid, 0, oprname from pg_operator
        where oid >= 16384 and 'operator' in (select word from kind)
        union all
        select 'pg_opclass'::regclass, oid, 0, opcname from pg_opclass
        where oid >= 16384 and 'operator' in (select word from kind)
        union all
        select 'pg_opfamily'::regclass, oid, 0, opfname from pg_opfamily
        where oid >= 16384 and 'operator' in (select word from kind)
        union all
        select 'pg_cast'::regclass, oid, 0, '' from pg_cast
        where oid >= 16384 and 'cast' in (select word from kind)
        union all
        select 'pg_transform'::regclass, oid, 0, '' from pg_transform where 'transform' in (select word from kind)
        union all
        select 'pg_ts_config'::regclass, oid, 0, cfgname from pg_ts_config
        where oid >= 16384 and 'text' in (select word from kind)
        union all
        select 'pg_ts_dict'::regclass, oid, 0, dictname from pg_ts_dict
        where oid >= 16384 and 'text' in (select word from kind)
        union all
        select 'pg_ts_parser'::regclass, oid, 0, prsname from pg_ts_parser
        where oid >= 16384 and 'text' in (select word from kind)
        union all
        select 'pg_ts_template'::regclass, oid, 0, tmplname from pg_ts_template
        where oid >= 16384 and 'text' in (select word from kind)
        union all
        select 'pg_foreign_data_wrapper'::regclass, oid, 0, fdwname from pg_foreign_data_wrapper
        where 'foreign' in (select word from kind)
        union all
        select 'pg_foreign_server'::regclass, oid, 0, srvname from pg_foreign_server
        where 'server' in (select word from kind)
        union all
        select 'pg_user_mapping'::regclass, umid, 0, srvname from pg_user_mappings
        where 'user' in (select word from kind)
    ) o
    where o.name::text in (select name from asked where name is not null)
       or exists (select from asked where name is null and strpos(identity, replace(o.name::text, '"', '""')) > 0)
),

{named}

select n.identity, n.classid, n.objid, n.objsubid from named n where n.identity in (select identity from asked)
