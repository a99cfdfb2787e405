-- Extensions, text search, foreign data, event triggers, publications, languages, default privileges.

-- Every database is created with plpgsql. A relocatable extension's schema is the user's choice.
-- only if select from pg_extension where extname <> 'plpgsql'
select format('extension %I', e.extname),
    concat(E'\n  version ' || e.extversion, E'\n  schema ' || quote_ident(n.nspname),
        E'\n  comment ' || quote_literal(d.description)),
    null
from pg_extension e
join pg_namespace n on n.oid = e.extnamespace
cross join selection s
left join pg_description d on d.classoid = 'pg_extension'::regclass and d.objoid = e.oid
where e.extname <> 'plpgsql' and (s.schemas is null or n.nspname = any (s.schemas))

union all

-- only if select from pg_ts_config where cfgnamespace <> 'pg_catalog'::regnamespace
select format('text search configuration %I.%I', n.nspname, c.cfgname),
    concat(
        (select format(E'\n  parser %I.%I', pn.nspname, p.prsname)
            from pg_ts_parser p join pg_namespace pn on pn.oid = p.prsnamespace where p.oid = c.cfgparser),
        (select string_agg(format(E'\n  %s %s', t.alias, m.dictionaries), '' order by t.alias collate "C")
            from (
                select maptokentype, string_agg(mapdict::regdictionary::text, ', ' order by mapseqno) as dictionaries
                from pg_ts_config_map where mapcfg = c.oid group by maptokentype
            ) m join ts_token_type(c.cfgparser) t on t.tokid = m.maptokentype),
        E'\n  comment ' || quote_literal(d.description)),
    null
from pg_ts_config c
join namespace n on n.oid = c.cfgnamespace
left join pg_description d on d.classoid = 'pg_ts_config'::regclass and d.objoid = c.oid
where not exists (select from member m where m.classid = 'pg_ts_config'::regclass and m.objid = c.oid)

union all

-- only if select from pg_ts_dict where dictnamespace <> 'pg_catalog'::regnamespace
select format('text search dictionary %I.%I', n.nspname, c.dictname),
    concat(
        (select format(E'\n  template %I.%I', tn.nspname, t.tmplname)
            from pg_ts_template t join pg_namespace tn on tn.oid = t.tmplnamespace where t.oid = c.dicttemplate),
        E'\n  options ' || c.dictinitoption,
        E'\n  comment ' || quote_literal(d.description)),
    null
from pg_ts_dict c
join namespace n on n.oid = c.dictnamespace
left join pg_description d on d.classoid = 'pg_ts_dict'::regclass and d.objoid = c.oid
where not exists (select from member m where m.classid = 'pg_ts_dict'::regclass and m.objid = c.oid)

union all

-- only if select from pg_ts_parser where prsnamespace <> 'pg_catalog'::regnamespace
select format('text search parser %I.%I', n.nspname, c.prsname),
    concat(
        format(E'\n  start %s token %s end %s types %s', c.prsstart, c.prstoken, c.prsend, c.prslextype),
        E'\n  headline ' || nullif(c.prsheadline::oid, 0)::regproc,
        E'\n  comment ' || quote_literal(d.description)),
    null
from pg_ts_parser c
join namespace n on n.oid = c.prsnamespace
left join pg_description d on d.classoid = 'pg_ts_parser'::regclass and d.objoid = c.oid
where not exists (select from member m where m.classid = 'pg_ts_parser'::regclass and m.objid = c.oid)

union all

-- only if select from pg_ts_template where tmplnamespace <> 'pg_catalog'::regnamespace
select format('text search template %I.%I', n.nspname, c.tmplname),
    concat(
        E'\n  init ' || nullif(c.tmplinit::oid, 0)::regproc, E'\n  lexize ' || c.tmpllexize,
        E'\n  comment ' || quote_literal(d.description)),
    null
from pg_ts_template c
join namespace n on n.oid = c.tmplnamespace
left join pg_description d on d.classoid = 'pg_ts_template'::regclass and d.objoid = c.oid
where not exists (select from member m where m.classid = 'pg_ts_template'::regclass and m.objid = c.oid)

union all

-- Of an option that may hold a secret only its presence is told.
-- only if select from pg_foreign_data_wrapper
select format('foreign data wrapper %I', w.fdwname),
    concat(
        E'\n  handler ' || nullif(w.fdwhandler::oid, 0)::regproc,
        E'\n  validator ' || nullif(w.fdwvalidator::oid, 0)::regproc,
        E'\n  options ' || (
            select string_agg(case
                when o.option_name ~* 'passw|secret|token' then quote_ident(o.option_name) || ' (set)'
                else format('%I %L', o.option_name, o.option_value) end, ', ' order by o.option_name collate "C")
            from pg_options_to_table(w.fdwoptions) o),
        g.text,
        E'\n  comment ' || quote_literal(d.description)),
    null
from pg_foreign_data_wrapper w
cross join everything e
left join granted g on g.class = 'pg_foreign_data_wrapper'::regclass and g.oid = w.oid
left join pg_description d on d.classoid = 'pg_foreign_data_wrapper'::regclass and d.objoid = w.oid
where not exists (select from member m where m.classid = 'pg_foreign_data_wrapper'::regclass and m.objid = w.oid)

union all

-- only if select from pg_foreign_server
select format('server %I', s.srvname),
    concat(
        format(E'\n  wrapper %I', w.fdwname), E'\n  type ' || quote_literal(s.srvtype),
        E'\n  version ' || quote_literal(s.srvversion),
        E'\n  options ' || (
            select string_agg(case
                when o.option_name ~* 'passw|secret|token' then quote_ident(o.option_name) || ' (set)'
                else format('%I %L', o.option_name, o.option_value) end, ', ' order by o.option_name collate "C")
            from pg_options_to_table(s.srvoptions) o),
        g.text,
        E'\n  comment ' || quote_literal(d.description)),
    null
from pg_foreign_server s
join pg_foreign_data_wrapper w on w.oid = s.srvfdw
cross join everything e
left join granted g on g.class = 'pg_foreign_server'::regclass and g.oid = s.oid
left join pg_description d on d.classoid = 'pg_foreign_server'::regclass and d.objoid = s.oid
where not exists (select from member m where m.classid = 'pg_foreign_server'::regclass and m.objid = s.oid)

union all

-- only if select from pg_foreign_server
select format('user mapping for %s on server %I',
        case u.umuser when 0 then 'public' else quote_ident(u.usename) end, u.srvname),
    concat(E'\n  options ' || (
        select string_agg(case
                when o.option_name ~* 'passw|secret|token' then quote_ident(o.option_name) || ' (set)'
            else format('%I %L', o.option_name, o.option_value) end, ', ' order by o.option_name collate "C")
        from pg_options_to_table(u.umoptions) o)),
    null
from pg_user_mappings u
cross join everything e
where not exists (select from member m where m.classid = 'pg_foreign_server'::regclass and m.objid = u.srvid)

union all

-- only if select from pg_event_trigger
select format('event trigger %I', t.evtname),
    concat(
        format(E'\n  on %s execute %s', t.evtevent, t.evtfoid::regprocedure),
        E'\n  when tag in ' || (select string_agg(x, ', ' order by x collate "C") from unnest(t.evttags) x),
        case t.evtenabled when 'D' then E'\n  disabled' when 'R' then E'\n  enabled on replicas'
            when 'A' then E'\n  enabled always' end,
        E'\n  comment ' || quote_literal(d.description)),
    null
from pg_event_trigger t
cross join everything e
left join pg_description d on d.classoid = 'pg_event_trigger'::regclass and d.objoid = t.oid
where not exists (select from member m where m.classid = 'pg_event_trigger'::regclass and m.objid = t.oid)

union all

-- Columns and row filters came with 15, other settings with 18.
-- only if select from pg_publication
select format('publication %I', p.pubname),
    concat(
        case when p.puballtables then E'\n  all tables' end,
        E'\n  publish ' || concat_ws(', ', case when p.pubinsert then 'insert' end,
            case when p.pubupdate then 'update' end, case when p.pubdelete then 'delete' end,
            case when p.pubtruncate then 'truncate' end),
        case when p.pubviaroot then E'\n  via root' end,
        E'\n  generated columns ' || nullif(to_jsonb(p) ->> 'pubgencols', 'n'),
        (select string_agg(
            concat(E'\n  table ', t.prrelid::regclass,
                -- from 15
                ' (' || (
                    select string_agg(quote_ident(a.attname), ', ' order by a.attname collate "C") from pg_attribute a
                    where a.attrelid = t.prrelid and a.attnum = any (t.prattrs::smallint[])) || ')',
                ' where ' || pg_get_expr(t.prqual, t.prrelid),
                -- end
                ''),
            '' order by t.prrelid::regclass::text collate "C")
        from pg_publication_rel t join relation r on r.oid = t.prrelid where t.prpubid = p.oid),
        -- from 15
        (select string_agg(E'\n  tables of schema ' || quote_ident(n.nspname), '' order by n.nspname collate "C")
            from pg_publication_namespace x join pg_namespace n on n.oid = x.pnnspid where x.pnpubid = p.oid),
        -- end
        E'\n  comment ' || quote_literal(d.description)),
    null
from pg_publication p
cross join everything e
left join pg_description d on d.classoid = 'pg_publication'::regclass and d.objoid = p.oid
where not exists (select from member m where m.classid = 'pg_publication'::regclass and m.objid = p.oid)

union all

-- only if select from pg_language where oid >= 16384
select format('language %I', l.lanname),
    concat(
        E'\n  handler ' || nullif(l.lanplcallfoid::oid, 0)::regproc,
        E'\n  inline ' || nullif(l.laninline::oid, 0)::regproc,
        E'\n  validator ' || nullif(l.lanvalidator::oid, 0)::regproc, case when l.lanpltrusted then E'\n  trusted' end,
        g.text,
        E'\n  comment ' || quote_literal(d.description)),
    null
from pg_language l
join everything e on l.oid >= e.first_oid
left join granted g on g.class = 'pg_language'::regclass and g.oid = l.oid
left join pg_description d on d.classoid = 'pg_language'::regclass and d.objoid = l.oid
where not exists (select from member m where m.classid = 'pg_language'::regclass and m.objid = l.oid)

union all

-- only if select from pg_transform
select format('transform for %s language %I', format_type(t.trftype, null), l.lanname),
    concat(
        E'\n  from sql ' || nullif(t.trffromsql::oid, 0)::regproc,
        E'\n  to sql ' || nullif(t.trftosql::oid, 0)::regproc),
    null
from pg_transform t
join pg_language l on l.oid = t.trflang
cross join everything e
where not exists (select from member m where m.classid = 'pg_transform'::regclass and m.objid = t.oid)

union all

-- only if select from pg_am where oid >= 16384
select format('access method %I', a.amname), format(E'\n  type %s handler %s', a.amtype, a.amhandler), null
from pg_am a
join everything e on a.oid >= e.first_oid
where not exists (select from member m where m.classid = 'pg_am'::regclass and m.objid = a.oid)

union all

-- Whose objects they are for is part of what they say, so these owners are told.
-- only if select from pg_default_acl
select format('default privileges of %I on %s%s', pg_get_userbyid(a.defaclrole),
        case a.defaclobjtype when 'r' then 'tables' when 'S' then 'sequences' when 'f' then 'functions'
            when 'T' then 'types' when 'n' then 'schemas' else 'large objects' end,
        ' in schema ' || n.name),
    (select string_agg(
        format(E'\n  grant %s to %s%s', x.privileges, x.grantee,
            case when x.is_grantable then ' with grant option' end),
        '' order by x.grantee collate "C", x.is_grantable)
    from (
        select case y.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(y.grantee)) end as grantee,
            string_agg(distinct lower(y.privilege_type), ', ' order by lower(y.privilege_type)) as privileges,
            y.is_grantable
        from aclexplode(a.defaclacl) y
        where y.grantee <> a.defaclrole
        group by 1, 3
    ) x),
    null
from pg_default_acl a
left join namespace n on n.oid = a.defaclnamespace
where n.oid is not null or a.defaclnamespace = 0 and exists (select from everything)

union all

-- What belongs to the system, where its grants are no longer those of initdb.
-- only if select from pg_proc p
--     left join pg_init_privs i on i.classoid = 'pg_proc'::regclass and i.objoid = p.oid
--     where pronamespace = 'pg_catalog'::regnamespace and proacl <> coalesce(i.initprivs, acldefault('f', p.proowner))
--     union all select from pg_class c
--     left join pg_init_privs i on i.classoid = 'pg_class'::regclass and i.objoid = c.oid and i.objsubid = 0
--     where relnamespace = 'pg_catalog'::regnamespace
--     and relacl <> coalesce(i.initprivs, acldefault(case relkind when 'S' then 's' else 'r' end::"char", c.relowner))
select 'grants on ' || x.name,
    (select string_agg(
        format(E'\n  grant %s to %s%s', y.privileges, y.grantee,
            case when y.is_grantable then ' with grant option' end),
        '' order by y.grantee collate "C", y.is_grantable)
    from (
        select case z.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(z.grantee)) end as grantee,
            string_agg(distinct lower(z.privilege_type), ', ' order by lower(z.privilege_type)) as privileges,
            z.is_grantable
        from aclexplode(x.acl) z
        where z.grantee <> x.owner
        group by 1, 3
    ) y),
    null
from (
    select 'function ' || p.oid::regprocedure as name, p.proowner as owner, p.proacl as acl,
        coalesce(i.initprivs, acldefault('f', p.proowner)) as initial
    from pg_proc p
    cross join everything e
    left join pg_init_privs i on i.classoid = 'pg_proc'::regclass and i.objoid = p.oid
    where p.proacl is not null and p.pronamespace = 'pg_catalog'::regnamespace
      and not exists (select from member m where m.classid = 'pg_proc'::regclass and m.objid = p.oid)
    union all
    select 'relation ' || c.oid::regclass, c.relowner, c.relacl,
        coalesce(i.initprivs, acldefault(case c.relkind when 'S' then 's' else 'r' end::"char", c.relowner))
    from pg_class c
    cross join everything e
    left join pg_init_privs i on i.classoid = 'pg_class'::regclass and i.objoid = c.oid and i.objsubid = 0
    where c.relacl is not null and c.relnamespace = 'pg_catalog'::regnamespace
      and not exists (select from member m where m.classid = 'pg_class'::regclass and m.objid = c.oid)
) x
where (select array_agg(i::text order by i::text collate "C") from unnest(x.acl) i)
    is distinct from (select array_agg(i::text order by i::text collate "C") from unnest(x.initial) i)
