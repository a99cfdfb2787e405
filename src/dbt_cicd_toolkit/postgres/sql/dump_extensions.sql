-- The extensions that a dump of the selected objects must create, with their schemas. With a limit to schemas they are
-- those that a selected object refers to; what does so inside the text of a function is not seen. Behind catalog.sql
-- and dump_home.sql.
select distinct e.extname, n.nspname, n.nspname in (select nspname from namespace) as selected
from pg_extension e
join pg_namespace n on n.oid = e.extnamespace
cross join selection s
where e.extname <> 'plpgsql' and (s.schemas is null or n.nspname = any (s.schemas) or exists (
    select from pg_depend x
    join pg_depend d on d.refclassid = x.classid and d.refobjid = x.objid
    join home h on h.class = d.classid and h.oid = d.objid
    where x.refclassid = 'pg_extension'::regclass and x.refobjid = e.oid and x.deptype = 'e'
      and not exists (select from member m where m.classid = h.class and m.objid = h.oid)))
order by 1
