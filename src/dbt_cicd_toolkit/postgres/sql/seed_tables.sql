-- What is needed to make a row of each table: one JSON document per table. Partitions are reached through their
-- parents. Behind catalog.sql.
, partitioned as (
    select p.partrelid, coalesce(jsonb_agg(a.attname order by k.position), '[]') as keys
    from pg_partitioned_table p
    cross join unnest(p.partattrs::smallint[]) with ordinality k (number, position)
    left join pg_attribute a on a.attrelid = p.partrelid and a.attnum = k.number and k.number > 0
    group by p.partrelid
),
leaf (root, paths) as (
    with recursive leaf (root, oid, path) as (
        select r.oid, r.oid, '[]'::jsonb from relation r where r.relkind = 'p' and not r.relispartition
        union all
        select l.root, c.oid, l.path || jsonb_build_array(jsonb_build_array(p.keys, pg_get_expr(c.relpartbound, c.oid)))
        from leaf l
        join partitioned p on p.partrelid = l.oid
        join pg_inherits i on i.inhparent = l.oid
        join pg_class c on c.oid = i.inhrelid
    )
    select l.root, jsonb_agg(l.path order by l.path) from leaf l join pg_class c on c.oid = l.oid
    where c.relkind <> 'p' group by l.root
)
select jsonb_build_object(
    'oid', r.oid::bigint, 'name', r.name, 'kind', r.relkind,
    'columns', coalesce(columns.list, '[]'), 'foreign_keys', coalesce(keys.list, '[]'),
    'checks', coalesce(checks.list, '[]'), 'leaves', coalesce(leaf.paths, '[]'))
from relation r
left join leaf on leaf.root = r.oid
left join (
    select a.attrelid, jsonb_agg(jsonb_build_object(
        'name', a.attname, 'type', a.atttypid::bigint, 'sql', format_type(a.atttypid, a.atttypmod),
        'typmod', a.atttypmod, 'required', a.attnotnull,
        'default', a.atthasdef and a.attgenerated = '', 'identity', a.attidentity <> '',
        'generated', a.attgenerated <> '') order by a.attnum) as list
    from pg_attribute a join relation r on r.oid = a.attrelid
    where a.attnum > 0 and not a.attisdropped
    group by a.attrelid
) columns on columns.attrelid = r.oid
left join (
    select c.conrelid, jsonb_agg(jsonb_build_object(
        'name', c.conname, 'parent', c.confrelid::bigint, 'parent_name', c.confrelid::regclass::text,
        'columns', (
            select jsonb_agg(a.attname order by k.position) from unnest(c.conkey) with ordinality k (number, position)
            join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.number),
        'parent_columns', (
            select jsonb_agg(a.attname order by k.position) from unnest(c.confkey) with ordinality k (number, position)
            join pg_attribute a on a.attrelid = c.confrelid and a.attnum = k.number)) order by c.conname) as list
    from pg_constraint c
    where c.contype = 'f' and c.conparentid = 0
    group by c.conrelid
) keys on keys.conrelid = r.oid
left join (
    select c.conrelid, jsonb_agg(jsonb_build_object(
        'name', c.conname, 'text', pg_get_constraintdef(c.oid),
        'columns', coalesce((
            select jsonb_agg(a.attname order by a.attnum) from pg_attribute a
            where a.attrelid = c.conrelid and (a.attnum = any (c.conkey) or exists (
                -- what a generated column is computed from
                select from pg_attrdef ad
                join pg_depend d on d.classid = 'pg_attrdef'::regclass and d.objid = ad.oid
                where ad.adrelid = c.conrelid and ad.adnum = any (c.conkey) and d.refclassid = 'pg_class'::regclass
                  and d.refobjid = c.conrelid and d.refobjsubid = a.attnum))), '[]'))) as list
    from pg_constraint c
    where c.contype = 'c' and c.conrelid <> 0
    group by c.conrelid
) checks on checks.conrelid = r.oid
where r.relkind in ('r', 'p') and not r.relispartition
order by r.name collate "C"
