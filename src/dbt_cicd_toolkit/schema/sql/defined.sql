-- How the objects of "named" are dropped and, from their present definition, made again: "relation" they belong to,
-- "drop", "make" (null: not at all, or together with what they belong to).
defined as materialized (
    select n.*, d.relation, coalesce(d.drop, 'drop ' || n.target) as drop, d.make
    from named n
    left join lateral (
        -- Tables, views, indexes. Of what is temporary another session is the owner.
        select i.indrelid as relation, null as drop,
            case
                when c.relpersistence = 't' then null
                when c.relkind = 'v' then concat('create view ', n.name, ' with (' || o.options || ')', E' as\n',
                    rtrim(pg_get_viewdef(c.oid), ';'))
                -- It is filled by its owner, see facets.sql: what its query calls is not ours to run.
                when c.relkind = 'm' then concat('create materialized view ', n.name,
                    ' using ' || nullif(quote_ident(am.amname), 'heap'), ' with (' || o.options || ')', E' as\n',
                    rtrim(pg_get_viewdef(c.oid), ';'), E'\nwith no data')
                -- An invalid index may be so because the rows do not allow it; a partitioned one waits for its parts.
                when i.indisvalid or c.relkind = 'I' then pg_get_indexdef(c.oid) end as make
        from pg_class c
        left join pg_index i on i.indexrelid = c.oid
        left join pg_am am on am.oid = c.relam
        cross join lateral (
            select string_agg(format('%s = %L', x.name, x.value), ', ') as options
            from (
                select quote_ident(option_name) as name, option_value as value
                from pg_options_to_table(c.reloptions)
                union all
                select 'toast.' || quote_ident(option_name), option_value
                from pg_class t, pg_options_to_table(t.reloptions) where t.oid = c.reltoastrelid
            ) x
        ) o
        where n.classid = 'pg_class'::regclass and n.objsubid = 0 and c.oid = n.objid

        union all

        -- Columns. A generated one has no data of its own. It comes back as the last of its table.
        select a.attrelid,
            case c.relkind when 'c' then format('alter type %s drop attribute %I', r.name, a.attname)
                else format('alter table %s drop column %I', r.name, a.attname) end,
            case when a.attgenerated <> '' and a.attinhcount = 0
                    and not exists (select from pg_inherits where inhparent = a.attrelid)
                then concat(
                    format('alter table %s add column %I %s', r.name, a.attname, format_type(a.atttypid, a.atttypmod)),
                    case when a.attcollation <> t.typcollation then ' collate ' || a.attcollation::regcollation end,
                    format(' generated always as (%s) ', pg_get_expr(d.adbin, d.adrelid)),
                    case a.attgenerated when 'v' then 'virtual' else 'stored' end,
                    case when a.attnotnull and not exists (
                        select from pg_constraint k
                        where k.contype = 'n' and k.conrelid = a.attrelid and k.conkey[1] = a.attnum
                    ) then ' not null' end) end
        from pg_attribute a
        join pg_class c on c.oid = a.attrelid
        join pg_type t on t.oid = a.atttypid
        left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
        cross join lateral (select identity as name from pg_identify_object('pg_class'::regclass, c.oid, 0)) r
        where n.classid = 'pg_class'::regclass and n.objsubid > 0 and a.attrelid = n.objid and a.attnum = n.objsubid

        union all

        select d.adrelid, format('alter table only %s alter column %I drop default', r.identity, a.attname),
            case when a.attgenerated = '' then format('alter table only %s alter column %I set default %s',
                r.identity, a.attname, pg_get_expr(d.adbin, d.adrelid)) end
        from pg_attrdef d
        join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
        cross join lateral pg_identify_object('pg_class'::regclass, d.adrelid, 0) r
        where n.classid = 'pg_attrdef'::regclass and d.oid = n.objid

        union all

        -- Not made again: what is the parent's, what has the indexes of partitions (their names would be lost), a
        -- foreign key that is not enforced.
        select nullif(k.conrelid, 0), format('alter %s drop constraint %I', h.name, k.conname),
            case when k.coninhcount > 0 and not k.conislocal
                or k.contype in ('p', 'u', 'x') and (c.relkind = 'p' or c.relispartition)
                or exists (select from pg_trigger t
                    where t.tgconstraint = k.oid and t.tgisinternal and t.tgenabled <> 'O')
                then null
            else format('alter %s add constraint %I %s', h.name, k.conname, pg_get_constraintdef(k.oid)) end
        from pg_constraint k
        left join pg_class c on c.oid = k.conrelid
        cross join lateral (
            select 'table ' || identity as name
            from pg_identify_object('pg_class'::regclass, k.conrelid, 0) where k.conrelid <> 0
            union all
            select 'domain ' || identity
            from pg_identify_object('pg_type'::regclass, k.contypid, 0) where k.contypid <> 0
        ) h
        where n.classid = 'pg_constraint'::regclass and k.oid = n.objid and k.contype <> 't'

        union all

        select t.tgrelid, null, case when not t.tgisinternal and t.tgparentid = 0 then pg_get_triggerdef(t.oid) end
        from pg_trigger t
        where n.classid = 'pg_trigger'::regclass and t.oid = n.objid

        union all

        select w.ev_class, null, rtrim(pg_get_ruledef(w.oid), ';')
        from pg_rewrite w
        where n.classid = 'pg_rewrite'::regclass and w.oid = n.objid and w.rulename <> '_RETURN'

        union all

        select p.polrelid, null, concat('create ', n.identity,
            case when not p.polpermissive then ' as restrictive' end,
            case p.polcmd when 'r' then ' for select' when 'a' then ' for insert' when 'w' then ' for update'
                when 'd' then ' for delete' end,
            ' to ' || (
                select string_agg(case x when 0 then 'public' else quote_ident(pg_get_userbyid(x)) end, ', ')
                from unnest(p.polroles) x),
            ' using (' || pg_get_expr(p.polqual, p.polrelid) || ')',
            ' with check (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')')
        from pg_policy p
        where n.classid = 'pg_policy'::regclass and p.oid = n.objid

        union all

        select s.stxrelid, null, pg_get_statisticsobjdef(s.oid)
        from pg_statistic_ext s
        where n.classid = 'pg_statistic_ext'::regclass and s.oid = n.objid

        union all

        -- A body that is text is not looked at again: it may name things as another search_path does.
        select null, null, case
            when p.prokind = 'a' then null
            when p.prosqlbody is not null then rtrim(pg_get_functiondef(p.oid), E'\n')
            else format(E'set local check_function_bodies = off;\n%s;\nset local check_function_bodies = %s',
                rtrim(pg_get_functiondef(p.oid), E'\n'), current_setting('check_function_bodies')) end
        from pg_proc p
        where n.classid = 'pg_proc'::regclass and p.oid = n.objid

        union all

        select null, null, concat('create ', n.identity, ' on ', t.evtevent,
            ' when tag in (' || (select string_agg(quote_literal(x), ', ') from unnest(t.evttags) x) || ')',
            ' execute function ', t.evtfoid::regproc, '()')
        from pg_event_trigger t
        where n.classid = 'pg_event_trigger'::regclass and t.oid = n.objid

        union all

        select null, format('drop user mapping for %s server %I',
            case u.umuser when 0 then 'public' else quote_ident(u.usename) end, u.srvname), null
        from pg_user_mappings u
        where n.classid = 'pg_user_mapping'::regclass and u.umid = n.objid

        -- from 15
        union all

        select t.prrelid, format('alter publication %I drop table only %s', p.pubname, r.identity),
            concat(format('alter publication %I add table only %s', p.pubname, r.identity),
                ' (' || (
                    select string_agg(quote_ident(a.attname), ', ' order by a.attnum) from pg_attribute a
                    where a.attrelid = t.prrelid and a.attnum = any (t.prattrs::smallint[])) || ')',
                ' where (' || pg_get_expr(t.prqual, t.prrelid) || ')')
        from pg_publication_rel t
        join pg_publication p on p.oid = t.prpubid
        cross join lateral pg_identify_object('pg_class'::regclass, t.prrelid, 0) r
        where n.classid = 'pg_publication_rel'::regclass and t.oid = n.objid
        -- end
    ) d on true
)
