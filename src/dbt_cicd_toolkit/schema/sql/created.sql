-- Names are those of catalog.describe(). Everything made since the counter of oids stood at %(mark)s: (classid, objid,
-- type, identity, schema: null of what is in none, or in that of its table), as they were made.
select o.classid, o.objid,
    case when i.type = 'type' and t.typtype = 'd' then 'domain' when i.type = 'table constraint' then 'constraint'
        when i.type = 'statistics object' then 'statistics' else i.type end,
    case o.classid when 'pg_proc'::regclass then o.objid::regprocedure::text
        when 'pg_operator'::regclass then o.objid::regoperator::text else i.identity end,
    coalesce(i.schema, case i.type when 'schema' then i.name end)
from (
    select 'pg_namespace'::regclass::oid as classid, oid as objid from pg_namespace where oid > %(mark)s
    union all select 'pg_class'::regclass, oid from pg_class where oid > %(mark)s
    union all select 'pg_type'::regclass, oid from pg_type where oid > %(mark)s
    union all select 'pg_proc'::regclass, oid from pg_proc where oid > %(mark)s
    union all select 'pg_attrdef'::regclass, oid from pg_attrdef where oid > %(mark)s
    union all select 'pg_constraint'::regclass, oid from pg_constraint where oid > %(mark)s
    union all select 'pg_rewrite'::regclass, oid from pg_rewrite where oid > %(mark)s
    union all select 'pg_trigger'::regclass, oid from pg_trigger where oid > %(mark)s
    union all select 'pg_policy'::regclass, oid from pg_policy where oid > %(mark)s
    union all select 'pg_statistic_ext'::regclass, oid from pg_statistic_ext where oid > %(mark)s
    union all select 'pg_extension'::regclass, oid from pg_extension where oid > %(mark)s
    union all select 'pg_collation'::regclass, oid from pg_collation where oid > %(mark)s
    union all select 'pg_operator'::regclass, oid from pg_operator where oid > %(mark)s
    union all select 'pg_opclass'::regclass, oid from pg_opclass where oid > %(mark)s
    union all select 'pg_opfamily'::regclass, oid from pg_opfamily where oid > %(mark)s
    union all select 'pg_cast'::regclass, oid from pg_cast where oid > %(mark)s
    union all select 'pg_conversion'::regclass, oid from pg_conversion where oid > %(mark)s
    union all select 'pg_ts_config'::regclass, oid from pg_ts_config where oid > %(mark)s
    union all select 'pg_ts_dict'::regclass, oid from pg_ts_dict where oid > %(mark)s
) o
cross join lateral pg_identify_object(o.classid, o.objid, 0) i
left join pg_type t on o.classid = 'pg_type'::regclass and t.oid = o.objid
order by o.objid
