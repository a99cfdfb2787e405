-- What can be said of the objects of "object": SQL that brings it about (set) and, for what default privileges give a
-- new object, SQL that takes it away (undo); what is weak gives way to what the new object has of its kind. In the order
-- of "place" and "number": as who made it, then as its owner.
owner as materialized (
    select o.classid, o.objid, coalesce(s.refobjid, 10) as role  -- what the first role owns is not recorded
    from object o
    left join pg_shdepend s on s.classid = o.classid and s.objid = o.objid and s.objsubid = 0 and s.deptype = 'o'
        and s.dbid = (select oid from pg_database where datname = current_database())
    where o.own and o.objsubid = 0 and (
        o.classid = 'pg_class'::regclass and o.relkind not in ('i', 'I')
        or o.classid in ('pg_proc'::regclass, 'pg_type'::regclass, 'pg_operator'::regclass, 'pg_opclass'::regclass,
            'pg_opfamily'::regclass, 'pg_collation'::regclass, 'pg_conversion'::regclass, 'pg_ts_config'::regclass,
            'pg_ts_dict'::regclass, 'pg_statistic_ext'::regclass, 'pg_event_trigger'::regclass,
            'pg_publication'::regclass, 'pg_foreign_data_wrapper'::regclass, 'pg_foreign_server'::regclass,
            'pg_namespace'::regclass, 'pg_language'::regclass))
),

acl as (
    select w.classid, w.objid, w.objsubid, null as attribute, c.relowner as role, c.relacl as acl,
        case c.relkind when 'S' then 's' else 'r' end as type,
        case c.relkind when 'S' then 'sequence ' else 'table ' end || w.name as target
    from object w join pg_class c on w.classid = 'pg_class'::regclass and c.oid = w.objid
    where w.own and w.objsubid = 0 and c.relkind not in ('i', 'I')
    union all
    select w.classid, w.objid, w.objsubid, a.attname, c.relowner, a.attacl, 'c', 'table ' || w.relation_name
    from object w
    join pg_class c on w.classid = 'pg_class'::regclass and c.oid = w.objid
    join pg_attribute a on a.attrelid = c.oid and w.objsubid in (0, a.attnum) and not a.attisdropped
    where w.own and a.attacl is not null
    union all
    select w.classid, w.objid, 0, null, p.proowner, p.proacl, 'f', 'routine ' || w.name
    from object w join pg_proc p on w.own and w.classid = 'pg_proc'::regclass and p.oid = w.objid
    union all
    select w.classid, w.objid, 0, null, t.typowner, t.typacl, 'T', 'type ' || w.name
    from object w join pg_type t on w.own and w.classid = 'pg_type'::regclass and t.oid = w.objid
    union all
    select w.classid, w.objid, 0, null, n.nspowner, n.nspacl, 'n', w.target
    from object w join pg_namespace n on w.own and w.classid = 'pg_namespace'::regclass and n.oid = w.objid
    union all
    select w.classid, w.objid, 0, null, l.lanowner, l.lanacl, 'l', w.target
    from object w join pg_language l on w.own and w.classid = 'pg_language'::regclass and l.oid = w.objid
    union all
    select w.classid, w.objid, 0, null, f.fdwowner, f.fdwacl, 'F', w.target
    from object w
    join pg_foreign_data_wrapper f on w.own and w.classid = 'pg_foreign_data_wrapper'::regclass and f.oid = w.objid
    union all
    select w.classid, w.objid, 0, null, s.srvowner, s.srvacl, 'S', 'foreign ' || w.target
    from object w join pg_foreign_server s on w.own and w.classid = 'pg_foreign_server'::regclass and s.oid = w.objid
),

-- In the order of the array, in which nobody grants what was not granted to him before.
privilege as (
    select a.classid, a.objid, a.objsubid, a.attribute, a.role, a.target, x.grantor, x.grantee, x.is_grantable,
        min(x.number) as number,
        string_agg(lower(x.privilege_type) || ' (' || quote_ident(a.attribute) || ')', ', ' order by x.number)
            as of_column,
        string_agg(lower(x.privilege_type), ', ' order by x.number) as of_object
    from acl a
    cross join lateral aclexplode(coalesce(a.acl, acldefault(a.type::"char", a.role)))
        with ordinality x (grantor, grantee, privilege_type, is_grantable, number)
    group by 1, 2, 3, 4, 5, 6, 7, 8, 9
),

facet (classid, objid, objsubid, place, number, attribute, facet, value, weak, undo, set) as (
    -- As its owner, whose right it is to run what its query calls.
    select classid, objid, objsubid, 9, 0, null::name, 'populated', c.relispopulated::text, false, null,
        'refresh ' || o.target || case when c.relispopulated then '' else ' with no data' end
    from object o join pg_class c on o.relkind = 'm' and c.oid = o.objid
    where o.objsubid = 0
    union all
    select o.classid, o.objid, o.objsubid, 1, 0, null, 'owner', w.role::text, false, null,
        format('alter %s owner to %I', o.target, pg_get_userbyid(w.role))
    from object o join owner w using (classid, objid)
    where o.objsubid = 0
    union all
    -- The owner stands for whoever is it, before and after.
    select p.classid, p.objid, p.objsubid, 2, p.number, p.attribute,
        concat_ws(' ', case when p.grantee <> p.role then p.grantee end, 'may', y.list, p.is_grantable,
            case when p.grantor <> p.role then p.grantor end),
        '', false,
        case when p.attribute is null then format('revoke %s on %s from %s', y.list, p.target, y.grantee) end,
        -- What somebody else granted is granted by him again where that is allowed, otherwise by the owner.
        case when p.grantor = p.role or not pg_has_role(p.grantor,
                case when current_setting('server_version_num')::integer < 160000 then 'MEMBER' else 'SET' end)
            then y.given
            else format('set local role %I; %s; set local role %s', pg_get_userbyid(p.grantor), y.given,
                case current_setting('role') when 'none' then 'none' else quote_ident(current_setting('role')) end)
        end
    from privilege p
    cross join lateral (
        select case p.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(p.grantee)) end as grantee,
            coalesce(p.of_column, p.of_object) as list
    ) x
    cross join lateral (
        select x.*, format('grant %s on %s to %s%s', x.list, p.target, x.grantee,
            case when p.is_grantable then ' with grant option' end) as given
    ) y
    union all
    select o.classid, o.objid, o.objsubid, 3, s.objsubid, a.attname, s.verb, s.text, false,
        null, format('%s on %s is %L', s.verb, x.target, s.text)
    from object o
    cross join lateral (
        select objsubid, 'comment' as verb, description as text from pg_description
        where classoid = o.classid and objoid = o.objid and o.objsubid in (0, objsubid)
        union all
        select objsubid, 'security label for ' || quote_ident(provider), label from pg_seclabel
        where classoid = o.classid and objoid = o.objid and o.objsubid in (0, objsubid)
    ) s
    left join pg_attribute a on o.classid = 'pg_class'::regclass and a.attrelid = o.objid and a.attnum = s.objsubid
    cross join lateral (
        select case when s.objsubid > 0 then format('column %s.%I', o.relation_name, a.attname)
            else o.target end as target
    ) x
    union all
    select o.classid, o.objid, o.objsubid, 3, 0, null, 'depends on ' || e.extname, '', false,
        null, format('alter %s depends on extension %I', o.target, e.extname)
    from object o
    join pg_depend d on d.classid = o.classid and d.objid = o.objid and d.objsubid = 0 and d.deptype = 'x'
    join pg_extension e on d.refclassid = 'pg_extension'::regclass and e.oid = d.refobjid
    union all
    -- Options of a plain index are in its definition, those of a view are as its definition says, as with CREATE OR
    -- REPLACE VIEW.
    select o.classid, o.objid, o.objsubid, 3, 0, null, 'option ' || x.name, x.value, true, null,
        format('alter %s set (%s = %L)', o.target, x.name, x.value)
    from object o
    join pg_class c on c.oid = o.objid
    cross join lateral (
        select quote_ident(option_name) as name, option_value as value from pg_options_to_table(c.reloptions)
        union all
        select 'toast.' || quote_ident(option_name), option_value
        from pg_class t, pg_options_to_table(t.reloptions) where t.oid = c.reltoastrelid
    ) x
    where o.objsubid = 0 and (o.relkind = 'm' or o.relkind in ('i', 'I') and not o.own)
    union all
    select o.classid, o.objid, o.objsubid, 3, 0, null, 'tablespace', s.spcname, true, null,
        format('alter %s set tablespace %I', o.target, s.spcname)
    from object o
    join pg_class c on o.objsubid = 0 and o.relkind in ('m', 'i') and c.oid = o.objid
    join pg_tablespace s on s.oid = c.reltablespace
    union all
    select o.classid, o.objid, o.objsubid, 3, a.attnum, a.attname, x.facet, x.value, false, null,
        format('alter table %s alter column %I set %s', o.relation_name, a.attname, x.value)
    from object o
    join pg_attribute a on a.attrelid = o.objid and a.attnum > 0 and o.objsubid in (0, a.attnum)
    join pg_type t on t.oid = a.atttypid
    cross join lateral (
        select 'statistics' as facet, 'statistics ' || a.attstattarget as value where a.attstattarget >= 0
        union all
        select 'storage', 'storage ' || case a.attstorage when 'p' then 'plain' when 'e' then 'external'
            when 'm' then 'main' else 'extended' end
        where a.attstorage <> t.typstorage
        union all
        select 'compression', 'compression ' || case a.attcompression when 'p' then 'pglz' else 'lz4' end
        where a.attcompression <> ''
        union all
        select 'options', '(' || string_agg(format('%I = %L', option_name, option_value), ', ') || ')'
        from pg_options_to_table(a.attoptions) having count(*) > 0
    ) x
    where o.own and o.relkind in ('r', 'p', 'f', 'm')
    union all
    select o.classid, o.objid, o.objsubid, 3, a.attnum, null, 'statistics ' || a.attnum, a.attstattarget::text, false,
        null, format('alter %s alter column %s set statistics %s', o.target, a.attnum, a.attstattarget)
    from object o join pg_attribute a on o.relkind in ('i', 'I') and a.attrelid = o.objid and a.attstattarget >= 0
    union all
    select o.classid, o.objid, o.objsubid, 3, x.number, null, x.facet, '', false, null, x.set
    from object o
    join pg_index i on i.indexrelid = o.objid
    join pg_class c on c.oid = o.objid
    left join pg_inherits h on h.inhrelid = o.objid
    left join lateral pg_identify_object('pg_class'::regclass, h.inhparent, 0) p on h.inhparent is not null
    cross join lateral (
        select 0 as number, 'attached' as facet,
            format('alter index %s attach partition %s', p.identity, o.name) as set
        where p.identity is not null and o.own
        union all
        select 1, 'clustered', format('alter table %s cluster on %I', o.relation_name, c.relname)
        where i.indisclustered
        union all
        select 1, 'replica identity',
            format('alter table %s replica identity using index %I', o.relation_name, c.relname)
        where i.indisreplident
    ) x
    where o.relkind in ('i', 'I')
    union all
    -- The triggers of a partitioned table are those of its partitions, too, but may be enabled otherwise there.
    select o.classid, o.objid, o.objsubid, 3, 0, null, 'enabled', t.tgenabled::text, false,
        null, format('alter table %s %s trigger %I', o.relation_name, case t.tgenabled when 'D' then 'disable'
            when 'R' then 'enable replica' when 'A' then 'enable always' else 'enable' end, t.tgname)
    from object o
    join pg_trigger t on o.classid = 'pg_trigger'::regclass and t.oid = o.objid and not t.tgisinternal
    left join pg_trigger p on p.oid = t.tgparentid
    where t.tgenabled <> 'O' or p.tgenabled <> 'O'
    union all
    select o.classid, o.objid, o.objsubid, 3, 0, null, 'enabled', w.ev_enabled::text, false,
        null, format('alter table %s %s rule %I', o.relation_name, case w.ev_enabled when 'D' then 'disable'
            when 'R' then 'enable replica' else 'enable always' end, w.rulename)
    from object o join pg_rewrite w on o.classid = 'pg_rewrite'::regclass and w.oid = o.objid and w.ev_enabled <> 'O'
    union all
    select o.classid, o.objid, o.objsubid, 3, 0, null, 'enabled', t.evtenabled::text, false,
        null, format('alter event trigger %I %s', t.evtname, case t.evtenabled when 'D' then 'disable'
            when 'R' then 'enable replica' else 'enable always' end)
    from object o
    join pg_event_trigger t on o.classid = 'pg_event_trigger'::regclass and t.oid = o.objid and t.evtenabled <> 'O'
    union all
    select o.classid, o.objid, o.objsubid, 3, 0, null, 'statistics', s.stxstattarget::text, false, null,
        format('alter %s set statistics %s', o.target, s.stxstattarget)
    from object o
    join pg_statistic_ext s on o.classid = 'pg_statistic_ext'::regclass and s.oid = o.objid and s.stxstattarget >= 0
)
