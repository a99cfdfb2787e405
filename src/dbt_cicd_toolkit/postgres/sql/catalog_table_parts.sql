-- Constraints, indexes, triggers, rules, policies and extended statistics. Of what was dropped since the query began
-- the functions that write definitions fail; whether it is visible is null then.

-- Not-null constraints are told by their column. A partition's copy of a foreign key is told by the parent's.
select format('constraint %I on %s', c.conname, r.name),
    concat(
        E'\n  ' || case when pg_table_is_visible(c.conrelid) is not null then pg_get_constraintdef(c.oid) end,
        case when c.coninhcount > 0 and not c.conislocal then E'\n  inherited' end,
        E'\n  partition of ' || case when c.conparentid <> 0
            then (
                select quote_ident(p.conname) || ' on ' || p.conrelid::regclass
                from pg_constraint p where p.oid = c.conparentid) end,
        E'\n  options ' || (select string_agg(o, ', ' order by o collate "C") from unnest(ic.reloptions) o),
        case when not i.indisvalid then E'\n  index invalid' end,
        case when i.indisclustered then E'\n  clustered' end,
        case when i.indisreplident then E'\n  replica identity' end,
        off.text,
        E'\n  comment ' || quote_literal(d.description),
        E'\n  index comment ' || quote_literal(id.description)),
    null
from relation r
join pg_constraint c on c.conrelid = r.oid
left join pg_index i on i.indexrelid = c.conindid and c.contype in ('p', 'u', 'x')
left join pg_class ic on ic.oid = i.indexrelid
left join (
    select tgconstraint, E'\n  not enforced: its triggers are disabled' as text
    from pg_trigger where tgisinternal and tgconstraint <> 0 and tgenabled <> 'O' group by tgconstraint
) off on off.tgconstraint = c.oid
left join pg_description d on d.classoid = 'pg_constraint'::regclass and d.objoid = c.oid
left join pg_description id on id.classoid = 'pg_class'::regclass and id.objoid = i.indexrelid and id.objsubid = 0
where c.contype in ('c', 'p', 'u', 'x') or c.contype = 'f' and c.conparentid = 0

union all

-- The index of a constraint is told by the constraint.
select format('index %I.%I', n.nspname, c.relname),
    concat(
        E'\n  ' || case when pg_table_is_visible(i.indrelid) is not null then pg_get_indexdef(c.oid) end,
        case when not i.indisvalid then E'\n  invalid' end,
        case when i.indisclustered then E'\n  clustered' end,
        case when i.indisreplident then E'\n  replica identity' end,
        (select E'\n  partition of ' || p.inhparent::regclass
            from pg_inherits p where p.inhrelid = c.oid and c.relispartition),
        (select string_agg(E'\n  column ' || a.attnum || ' statistics ' || a.attstattarget, '' order by a.attnum)
            from pg_attribute a where a.attrelid = c.oid and a.attstattarget >= 0 and i.indexprs is not null),
        E'\n  comment ' || quote_literal(d.description)),
    null
from relation r
join pg_index i on i.indrelid = r.oid
join pg_class c on c.oid = i.indexrelid
join pg_namespace n on n.oid = c.relnamespace
left join pg_description d on d.classoid = 'pg_class'::regclass and d.objoid = c.oid and d.objsubid = 0
where not exists (select from pg_constraint k where k.conindid = c.oid and k.contype in ('p', 'u', 'x'))
  and not exists (select from member m where m.classid = 'pg_class'::regclass and m.objid = c.oid)

union all

-- A partition's copy of a trigger is told when it is enabled otherwise than the parent's.
-- only if select from pg_trigger where not tgisinternal
select format('trigger %I on %s', t.tgname, r.name),
    concat(
        case when t.tgparentid <> 0 then E'\n  copy of the parent''s'
            when pg_table_is_visible(t.tgrelid) is not null then E'\n  ' || pg_get_triggerdef(t.oid) end,
        case t.tgenabled when 'D' then E'\n  disabled' when 'R' then E'\n  enabled on replicas'
            when 'A' then E'\n  enabled always' when 'O' then case when t.tgparentid <> 0 then E'\n  enabled' end end,
        E'\n  comment ' || quote_literal(d.description)),
    null
from relation r
join pg_trigger t on t.tgrelid = r.oid
left join pg_trigger p on p.oid = t.tgparentid
left join pg_description d on d.classoid = 'pg_trigger'::regclass and d.objoid = t.oid
where not t.tgisinternal and (t.tgparentid = 0 or t.tgenabled <> p.tgenabled)

union all

-- only if select from pg_rewrite where rulename <> '_RETURN' and oid >= 16384
select format('rule %I on %s', w.rulename, r.name),
    concat(
        E'\n  ' || case when pg_table_is_visible(w.ev_class) is not null then pg_get_ruledef(w.oid) end,
        case w.ev_enabled when 'D' then E'\n  disabled' when 'R' then E'\n  enabled on replicas'
            when 'A' then E'\n  enabled always' end,
        E'\n  comment ' || quote_literal(d.description)),
    null
from relation r
join pg_rewrite w on w.ev_class = r.oid
left join pg_description d on d.classoid = 'pg_rewrite'::regclass and d.objoid = w.oid
where w.rulename <> '_RETURN'

union all

-- only if select from pg_policy
select format('policy %I on %s', p.polname, r.name),
    concat(
        case when p.polpermissive then E'\n  permissive' else E'\n  restrictive' end,
        case p.polcmd when 'r' then ' for select' when 'a' then ' for insert' when 'w' then ' for update'
            when 'd' then ' for delete' else ' for all' end,
        ' to ' || (
            select string_agg(case x when 0 then 'public' else quote_ident(pg_get_userbyid(x)) end, ', '
                order by pg_get_userbyid(x) collate "C")
            from unnest(p.polroles) x),
        E'\n  using ' || pg_get_expr(p.polqual, p.polrelid),
        E'\n  with check ' || pg_get_expr(p.polwithcheck, p.polrelid),
        E'\n  comment ' || quote_literal(d.description)),
    null
from relation r
join pg_policy p on p.polrelid = r.oid
left join pg_description d on d.classoid = 'pg_policy'::regclass and d.objoid = p.oid

union all

-- only if select from pg_statistic_ext
select format('statistics %I.%I', n.nspname, s.stxname),
    concat(
        E'\n  ' || pg_get_statisticsobjdef(s.oid),
        E'\n  statistics ' || case when s.stxstattarget >= 0 then s.stxstattarget end,
        E'\n  comment ' || quote_literal(d.description)),
    null
from pg_statistic_ext s
join namespace n on n.oid = s.stxnamespace
join relation r on r.oid = s.stxrelid
left join pg_description d on d.classoid = 'pg_statistic_ext'::regclass and d.objoid = s.oid
