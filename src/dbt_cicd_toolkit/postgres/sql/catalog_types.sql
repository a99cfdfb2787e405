-- Schemas, types and collations.

select 'schema ' || n.name,
    concat(g.text, E'\n  comment ' || quote_literal(d.description)),
    null
from namespace n
left join granted g on g.class = 'pg_namespace'::regclass and g.oid = n.oid
left join pg_description d on d.classoid = 'pg_namespace'::regclass and d.objoid = n.oid

union all

-- The row types of tables and the array and multirange types that come with another type go with these.
-- only if select from pg_type t where typnamespace not in (
--     select oid from pg_namespace where nspname in ('pg_catalog', 'information_schema'))
--     and (typtype in ('d', 'e', 'r', 'p')
--     or typtype = 'c' and exists (select from pg_class c where c.oid = typrelid and relkind = 'c')
--     or typtype = 'b' and not exists (select from pg_type e where e.oid = t.typelem and e.typarray = t.oid))
select format('%s %I.%I', case t.typtype when 'd' then 'domain' else 'type' end, n.nspname, t.typname),
    concat(
        case t.typtype
            when 'e' then (
                select string_agg(E'\n  value ' || quote_literal(e.enumlabel), '' order by e.enumsortorder)
                from pg_enum e where e.enumtypid = t.oid)
            when 'c' then (
                select string_agg(
                    concat(E'\n  attribute ', quote_ident(a.attname), ' ', format_type(a.atttypid, a.atttypmod),
                        ' collate ' || nullif(a.attcollation, at.typcollation)::regcollation,
                        E'\n  attribute ' || quote_ident(a.attname) || ' comment ' || quote_literal(ad.description)),
                    '' order by a.attnum)
                from pg_attribute a
                join pg_type at on at.oid = a.atttypid
                left join pg_description ad on ad.classoid = 'pg_class'::regclass and ad.objoid = a.attrelid
                    and ad.objsubid = a.attnum
                where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped)
            when 'd' then concat(
                E'\n  ' || format_type(t.typbasetype, t.typtypmod),
                case when t.typcollation <> bt.typcollation then ' collate ' || t.typcollation::regcollation end,
                case when t.typnotnull then ' not null' end,
                ' default ' || coalesce(pg_get_expr(t.typdefaultbin, 0), t.typdefault),
                (select string_agg(
                    concat(E'\n  constraint ', quote_ident(c.conname), ' ', pg_get_constraintdef(c.oid),
                        E'\n  constraint ' || quote_ident(c.conname) || ' comment ' || quote_literal(cd.description)),
                    '' order by c.conname collate "C")
                from pg_constraint c
                left join pg_description cd on cd.classoid = 'pg_constraint'::regclass and cd.objoid = c.oid
                where c.contypid = t.oid and (c.contype = 'c' or c.conname <> t.typname || '_not_null')))
            when 'r' then (
                select concat(E'\n  range of ', format_type(r.rngsubtype, null), E'\n  operator class ', o.name,
                    E'\n  collation ' || nullif(r.rngcollation, st.typcollation)::regcollation,
                    E'\n  canonical ' || nullif(r.rngcanonical::oid, 0)::regproc,
                    E'\n  difference ' || nullif(r.rngsubdiff::oid, 0)::regproc,
                    E'\n  multirange ' || format_type(r.rngmultitypid, null))
                from pg_range r
                join pg_type st on st.oid = r.rngsubtype
                join (
                    select oc.oid, format('%I.%I', ns.nspname, oc.opcname) as name
                    from pg_opclass oc join pg_namespace ns on ns.oid = oc.opcnamespace
                ) o on o.oid = r.rngsubopc
                where r.rngtypid = t.oid)
            else case when not t.typisdefined then E'\n  shell' else concat(
                format(E'\n  input %s output %s', t.typinput, t.typoutput),
                ' receive ' || nullif(t.typreceive::oid, 0)::regproc, ' send ' || nullif(t.typsend::oid, 0)::regproc,
                ' modifier input ' || nullif(t.typmodin::oid, 0)::regproc,
                ' modifier output ' || nullif(t.typmodout::oid, 0)::regproc,
                ' analyze ' || nullif(t.typanalyze::oid, 0)::regproc,
                ' subscript ' || nullif(t.typsubscript::oid, 0)::regproc,
                format(E'\n  length %s by value %s alignment %s storage %s category %s preferred %s delimiter %s',
                    t.typlen, t.typbyval, t.typalign, t.typstorage, t.typcategory, t.typispreferred, t.typdelim),
                E'\n  element ' || case when t.typelem <> 0 then format_type(t.typelem, null) end,
                case when t.typcollation <> 0 then E'\n  collatable' end,
                E'\n  default ' || t.typdefault) end
        end,
        g.text,
        E'\n  comment ' || quote_literal(d.description)),
    null
from pg_type t
join namespace n on n.oid = t.typnamespace
left join pg_class c on c.oid = t.typrelid
left join pg_type bt on bt.oid = t.typbasetype
left join granted g on g.class = 'pg_type'::regclass and g.oid = t.oid
left join pg_description d on d.classoid = 'pg_type'::regclass and d.objoid = t.oid
where t.typtype in ('b', 'c', 'd', 'e', 'r', 'p')
  and (t.typtype <> 'c' or c.relkind = 'c')
  and not (t.typtype = 'b' and t.typelem <> 0 and exists (
      select from pg_type e where e.oid = t.typelem and e.typarray = t.oid))
  and not exists (select from member m where m.classid = 'pg_type'::regclass and m.objid = t.oid)

union all

-- What the columns are called differs between servers; the version of a collation belongs to the machine.
-- only if select from pg_collation where collnamespace <> 'pg_catalog'::regnamespace
select format('collation %I.%I', n.nspname, c.collname),
    concat(
        case c.collprovider when 'i' then E'\n  provider icu' when 'c' then E'\n  provider libc'
            when 'b' then E'\n  provider builtin' else E'\n  provider default' end,
        E'\n  locale ' || coalesce(j ->> 'colllocale', j ->> 'colliculocale'),
        E'\n  collate ' || c.collcollate, E'\n  ctype ' || c.collctype,
        E'\n  rules ' || quote_literal(j ->> 'collicurules'),
        case when not c.collisdeterministic then E'\n  not deterministic' end,
        E'\n  comment ' || quote_literal(d.description)),
    null
from pg_collation c
join namespace n on n.oid = c.collnamespace
cross join lateral to_jsonb(c) j
left join pg_description d on d.classoid = 'pg_collation'::regclass and d.objoid = c.oid
where not exists (select from member m where m.classid = 'pg_collation'::regclass and m.objid = c.oid)
