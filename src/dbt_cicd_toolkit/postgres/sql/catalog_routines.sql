-- Functions, procedures, aggregates, operators, their classes and families, and casts.

-- A body kept as text is compared as it is; a parsed one (BEGIN ATOMIC) in its canonical form.
-- only if select from pg_proc where pronamespace not in (
--     select oid from pg_namespace where nspname in ('pg_catalog', 'information_schema')) and prokind <> 'a'
select case p.prokind when 'p' then 'procedure ' else 'function ' end || p.oid::regprocedure,
    case when p.prosqlbody is not null then E'\n' || rtrim(pg_get_functiondef(p.oid), E'\n') end,
    concat(
        case when p.prosqlbody is null then E'\n' || rtrim(pg_get_functiondef(p.oid), E'\n') end,
        g.text,
        E'\n  comment ' || quote_literal(d.description))
from pg_proc p
join namespace n on n.oid = p.pronamespace
left join granted g on g.class = 'pg_proc'::regclass and g.oid = p.oid
left join pg_description d on d.classoid = 'pg_proc'::regclass and d.objoid = p.oid
where p.prokind in ('f', 'p', 'w')
  -- A range type makes its own constructors.
  and not exists (
      select from pg_depend x
      where x.classid = 'pg_proc'::regclass and x.objid = p.oid
        and x.refclassid = 'pg_type'::regclass and x.deptype = 'i')
  and not exists (select from member m where m.classid = 'pg_proc'::regclass and m.objid = p.oid)

union all

-- only if select from pg_proc where pronamespace not in (
--     select oid from pg_namespace where nspname in ('pg_catalog', 'information_schema')) and prokind = 'a'
select 'aggregate ' || p.oid::regprocedure,
    concat(
        E'\n  arguments ' || pg_get_function_arguments(p.oid),
        E'\n  returns ' || pg_get_function_result(p.oid),
        case a.aggkind when 'o' then E'\n  ordered set' when 'h' then E'\n  hypothetical set' end,
        format(E'\n  state %s by %s', format_type(a.aggtranstype, null), a.aggtransfn),
        E'\n  state space ' || nullif(a.aggtransspace, 0),
        E'\n  initial ' || quote_literal(a.agginitval),
        format(E'\n  final %s', nullif(a.aggfinalfn::oid, 0)::regproc), case when a.aggfinalextra then ' extra' end,
        ' modify ' || a.aggfinalmodify::text,
        E'\n  combine ' || nullif(a.aggcombinefn::oid, 0)::regproc,
        E'\n  serialize ' || nullif(a.aggserialfn::oid, 0)::regproc,
        E'\n  deserialize ' || nullif(a.aggdeserialfn::oid, 0)::regproc,
        case when a.aggmtransfn <> 0 then concat(
            format(E'\n  moving state %s by %s', format_type(a.aggmtranstype, null), a.aggmtransfn),
            E'\n  moving inverse ' || nullif(a.aggminvtransfn::oid, 0)::regproc,
            E'\n  moving state space ' || nullif(a.aggmtransspace, 0),
            E'\n  moving initial ' || quote_literal(a.aggminitval),
            E'\n  moving final ' || nullif(a.aggmfinalfn::oid, 0)::regproc,
            case when a.aggmfinalextra then ' extra' end,
            ' modify ' || a.aggmfinalmodify::text) end,
        E'\n  sort operator ' || case when a.aggsortop <> 0 then a.aggsortop::regoperator end,
        E'\n  parallel ' || p.proparallel::text,
        g.text,
        E'\n  comment ' || quote_literal(d.description)),
    null
from pg_proc p
join pg_aggregate a on a.aggfnoid = p.oid
join namespace n on n.oid = p.pronamespace
left join granted g on g.class = 'pg_proc'::regclass and g.oid = p.oid
left join pg_description d on d.classoid = 'pg_proc'::regclass and d.objoid = p.oid
where not exists (select from member m where m.classid = 'pg_proc'::regclass and m.objid = p.oid)

union all

-- only if select from pg_operator where oprnamespace <> 'pg_catalog'::regnamespace
select 'operator ' || o.oid::regoperator,
    concat(
        E'\n  function ' || nullif(o.oprcode::oid, 0)::regproc, E'\n  returns ' || format_type(o.oprresult, null),
        E'\n  commutator ' || case when o.oprcom <> 0 then o.oprcom::regoperator end,
        E'\n  negator ' || case when o.oprnegate <> 0 then o.oprnegate::regoperator end,
        E'\n  restrict ' || nullif(o.oprrest::oid, 0)::regproc, E'\n  join ' || nullif(o.oprjoin::oid, 0)::regproc,
        case when o.oprcanmerge then E'\n  merges' end, case when o.oprcanhash then E'\n  hashes' end,
        E'\n  comment ' || quote_literal(d.description)),
    null
from pg_operator o
join namespace n on n.oid = o.oprnamespace
left join pg_description d on d.classoid = 'pg_operator'::regclass and d.objoid = o.oid
where not exists (select from member m where m.classid = 'pg_operator'::regclass and m.objid = o.oid)

union all

-- only if select from pg_opclass where opcnamespace <> 'pg_catalog'::regnamespace
select format('operator class %I.%I using %I', n.nspname, c.opcname, a.amname),
    concat(
        E'\n  for type ' || format_type(c.opcintype, null), case when c.opcdefault then ' default' end,
        format(E'\n  family %I.%I', fn.nspname, f.opfname),
        E'\n  storage ' || case when c.opckeytype <> 0 then format_type(c.opckeytype, null) end,
        E'\n  comment ' || quote_literal(d.description)),
    null
from pg_opclass c
join namespace n on n.oid = c.opcnamespace
join pg_am a on a.oid = c.opcmethod
join pg_opfamily f on f.oid = c.opcfamily
join pg_namespace fn on fn.oid = f.opfnamespace
left join pg_description d on d.classoid = 'pg_opclass'::regclass and d.objoid = c.oid
where not exists (select from member m where m.classid = 'pg_opclass'::regclass and m.objid = c.oid)

union all

-- only if select from pg_opfamily where opfnamespace <> 'pg_catalog'::regnamespace
select format('operator family %I.%I using %I', n.nspname, f.opfname, a.amname),
    concat(
        (select string_agg(
            concat(
                E'\n  operator ', o.amopstrategy, ' ', o.amopopr::regoperator, ' order by ' || quote_ident(s.opfname)),
            '' order by o.amopstrategy, o.amopopr::regoperator::text collate "C")
        from pg_amop o left join pg_opfamily s on s.oid = o.amopsortfamily where o.amopfamily = f.oid),
        (select string_agg(
            format(E'\n  function %s (%s, %s) %s', p.amprocnum, format_type(p.amproclefttype, null),
                format_type(p.amprocrighttype, null), p.amproc::oid::regprocedure), ''
            order by p.amprocnum, format_type(p.amproclefttype, null) collate "C",
                format_type(p.amprocrighttype, null) collate "C")
        from pg_amproc p where p.amprocfamily = f.oid),
        E'\n  comment ' || quote_literal(d.description)),
    null
from pg_opfamily f
join namespace n on n.oid = f.opfnamespace
join pg_am a on a.oid = f.opfmethod
left join pg_description d on d.classoid = 'pg_opfamily'::regclass and d.objoid = f.oid
where not exists (select from member m where m.classid = 'pg_opfamily'::regclass and m.objid = f.oid)

union all

-- only if select from pg_cast where oid >= 16384
select format('cast (%s as %s)', format_type(c.castsource, null), format_type(c.casttarget, null)),
    concat(
        case c.castmethod when 'i' then E'\n  with inout' when 'b' then E'\n  without function'
            else E'\n  with function ' || c.castfunc::regprocedure end,
        case c.castcontext when 'a' then E'\n  as assignment' when 'i' then E'\n  as implicit' end,
        E'\n  comment ' || quote_literal(d.description)),
    null
from pg_cast c
join everything e on c.oid >= e.first_oid
left join pg_description d on d.classoid = 'pg_cast'::regclass and d.objoid = c.oid
where not exists (select from member m where m.classid = 'pg_cast'::regclass and m.objid = c.oid)
  -- A range type comes with the cast to its multirange.
  and not exists (
      select from pg_depend x
      where x.classid = 'pg_cast'::regclass and x.objid = c.oid
        and x.refclassid = 'pg_type'::regclass and x.deptype = 'i')

union all

-- only if select from pg_conversion where connamespace <> 'pg_catalog'::regnamespace
select format('conversion %I.%I', n.nspname, c.conname),
    concat(
        format(E'\n  %s to %s by %s',
            pg_encoding_to_char(c.conforencoding), pg_encoding_to_char(c.contoencoding), c.conproc),
        case when c.condefault then ' default' end,
        E'\n  comment ' || quote_literal(d.description)),
    null
from pg_conversion c
join namespace n on n.oid = c.connamespace
left join pg_description d on d.classoid = 'pg_conversion'::regclass and d.objoid = c.oid
where not exists (select from member m where m.classid = 'pg_conversion'::regclass and m.objid = c.oid)
