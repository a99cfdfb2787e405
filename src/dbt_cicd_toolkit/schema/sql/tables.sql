-- What tables.py reads: one JSON document per table. It is put behind postgres/sql/catalog.sql, whose common tables it
-- selects from, and holds on PostgreSQL 14 to 18. Of columns that older servers do not have, JSON tells nothing.
, sequence_of as (
    select o.owner, o.number, json_build_object(
            'schema', quote_ident(n.nspname), 'name', quote_ident(c.relname), 'type', format_type(s.seqtypid, null),
            'increment', s.seqincrement, 'minimum', s.seqmin, 'maximum', s.seqmax, 'start', s.seqstart,
            'cache', s.seqcache, 'cycle', s.seqcycle, 'unlogged', c.relpersistence = 'u') as document,
        row_number() over (partition by o.owner, o.number order by o.identity desc, o.oid) as nth
    from owned_sequence o
    join pg_class c on c.oid = o.oid
    join pg_namespace n on n.oid = c.relnamespace
    join pg_sequence s on s.seqrelid = o.oid
),

-- The columns that the expression of a generated column reads. Until PostgreSQL 14 the column depends on them itself.
reads as (
    select r.attrelid, r.attnum, array_agg(distinct u.attname::text) as names
    from (
        select ad.adrelid as attrelid, ad.adnum as attnum, d.refobjsubid
        from pg_attrdef ad
        join pg_depend d on d.classid = 'pg_attrdef'::regclass and d.objid = ad.oid
            and d.refclassid = 'pg_class'::regclass and d.refobjid = ad.adrelid
        union
        select d.objid, d.objsubid, d.refobjsubid
        from pg_depend d
        where d.classid = 'pg_class'::regclass and d.objsubid > 0
          and d.refclassid = 'pg_class'::regclass and d.refobjid = d.objid
    ) r
    join pg_attribute u on u.attrelid = r.attrelid and u.attnum = r.refobjsubid
    where r.refobjsubid <> r.attnum
    group by r.attrelid, r.attnum
),

column_of as (
    select a.attrelid, json_agg(json_build_object(
            'name', a.attname,
            'quoted', quote_ident(a.attname),
            'type', format_type(a.atttypid, a.atttypmod),
            'base', format_type(a.atttypid, null),
            'modifier', a.atttypmod,
            'category', t.typcategory,
            'assigned_to', (
                select coalesce(json_agg(format_type(k.casttarget, null)), '[]')
                from pg_cast k where k.castsource = a.atttypid and k.castcontext in ('a', 'i')),
            'collation', case when a.attcollation <> t.typcollation then a.attcollation::regcollation::text else '' end,
            'not_null', case when a.attnotnull then json_build_object(
                'name', coalesce(nn.conname, ''), 'quoted', coalesce(quote_ident(nn.conname), ''),
                'validated', coalesce(nn.convalidated, true), 'no_inherit', coalesce(nn.connoinherit, false),
                'local', coalesce(nn.conislocal, false)) end,
            'domain_not_null', t.typnotnull,
            'domain_default', t.typdefault is not null,
            'default', pg_get_expr(ad.adbin, ad.adrelid),
            'generated', case a.attgenerated when 's' then 'stored' when 'v' then 'virtual' else '' end,
            'reads', coalesce(case when a.attgenerated <> '' then reads.names end, '{}'),
            'bound', (
                select coalesce(json_agg(distinct pg_describe_object(d.classid, d.objid, d.objsubid)), '[]')
                from pg_depend d
                where a.attgenerated <> '' and d.refclassid = 'pg_class'::regclass and d.refobjid = a.attrelid
                  and d.refobjsubid = a.attnum and d.classid not in (
                      'pg_attrdef'::regclass, 'pg_constraint'::regclass, 'pg_rewrite'::regclass)),
            'identity', case a.attidentity when 'a' then 'always' when 'd' then 'by default' else '' end,
            'sequence', s.document,
            'storage', case a.attstorage
                when 'p' then 'plain' when 'e' then 'external' when 'm' then 'main' else 'extended' end,
            'type_storage', case t.typstorage
                when 'p' then 'plain' when 'e' then 'external' when 'm' then 'main' else 'extended' end,
            'compression', case a.attcompression when 'p' then 'pglz' when 'l' then 'lz4' else 'default' end,
            'statistics', coalesce(a.attstattarget, -1),
            'options', coalesce(a.attoptions, '{}'),
            'inherited', a.attinhcount > 0
        ) order by a.attnum) as document
    from relation r
    join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
    join pg_type t on t.oid = a.atttypid
    left join pg_attrdef ad on a.atthasdef and ad.adrelid = a.attrelid and ad.adnum = a.attnum
    left join pg_constraint nn on nn.contype = 'n' and nn.conrelid = a.attrelid and nn.conkey[1] = a.attnum
    left join reads on reads.attrelid = a.attrelid and reads.attnum = a.attnum
    left join sequence_of s on s.owner = a.attrelid and s.number = a.attnum and s.nth = 1
    where r.relkind in ('r', 'p', 'f')
    group by a.attrelid
),

-- The columns of keys: their own, and those of the table that a foreign key refers to, with the operator between both.
key_of as (
    select c.oid,
        array_agg(a.attname::text order by k.nth) as names,
        string_agg(quote_ident(a.attname), ', ' order by k.nth) as listed,
        string_agg(quote_ident(a.attname) || ' is not null', ' and ' order by k.nth) as filled,
        string_agg('child.' || quote_ident(a.attname) || ' is not null',
            case c.confmatchtype when 'f' then ' or ' else ' and ' end order by k.nth) as child_filled,
        string_agg('parent.' || quote_ident(p.attname) || ' '
            || case o.oprnamespace when 'pg_catalog'::regnamespace then o.oprname::text
                else format('operator(%s.%s)', o.oprnamespace::regnamespace, o.oprname) end
            || ' child.' || quote_ident(a.attname)
            || case when p.attcollation <> a.attcollation
                then ' collate ' || nullif(p.attcollation, 0)::regcollation else '' end,
            ' and ' order by k.nth) as matched
    from pg_constraint c
    cross join lateral unnest(c.conkey, c.confkey, c.conpfeqop) with ordinality k (own, other, operator, nth)
    join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.own
    left join pg_attribute p on p.attrelid = c.confrelid and p.attnum = k.other
    left join pg_operator o on o.oid = k.operator
    where c.contype in ('c', 'p', 'u', 'x', 'f')
    group by c.oid
),

-- A foreign key on a partitioned table has a row for each of its partitions beside its own: those have a parent here.
constraint_of as (
    select c.conrelid, json_agg(json_build_object(
            'name', c.conname,
            'quoted', quote_ident(c.conname),
            'kind', c.contype,
            'definition', pg_get_constraintdef(c.oid),
            'columns', coalesce(k.names, '{}'),
            'inherited', c.coninhcount > 0 and not c.conislocal or c.conparentid <> 0,
            'refers_to', case when c.contype = 'f' then f.name end,
            'refers_by', case when c.contype = 'f' then i.relname end,
            'options', coalesce(case when c.contype <> 'f' then i.reloptions end, '{}'),
            'rows', case
                when not c.convalidated or (to_jsonb(c) ->> 'conperiod')::boolean or r.relkind = 'f' then null
                when c.contype = 'c' then format('select * from %s%s where (%s) is false',
                    case when c.connoinherit then 'only ' end, r.name, pg_get_expr(c.conbin, c.conrelid))
                when c.contype in ('p', 'u') then format(
                    'select * from (select *, count(*) over (partition by %s) as "rows of this key" from %s%s%s) keys '
                    'where "rows of this key" > 1', k.listed, case when r.relkind = 'r' then 'only ' end, r.name,
                    case when not coalesce((to_jsonb(x) ->> 'indnullsnotdistinct')::boolean, false)
                        then ' where ' || k.filled end)
                when c.contype = 'f' then format(
                    'select * from %s%s child where (%s) and not exists (select from %s%s parent where %s)',
                    case when r.relkind = 'r' then 'only ' end, r.name, k.child_filled,
                    case when f.relkind = 'r' then 'only ' end, f.name, k.matched) end
        ) order by c.conname collate "C") as document
    from relation r
    join pg_constraint c on c.conrelid = r.oid
    left join key_of k on k.oid = c.oid
    left join pg_class i on i.oid = c.conindid
    left join pg_index x on x.indexrelid = c.conindid and c.contype <> 'f'
    left join (
        select t.oid, t.relkind, format('%I.%I', n.nspname, t.relname) as name
        from pg_class t join pg_namespace n on n.oid = t.relnamespace
    ) f on f.oid = c.confrelid
    where c.contype in ('c', 'p', 'u', 'x', 'f')
      and not exists (select from pg_constraint p where p.oid = c.conparentid and p.conrelid = c.conrelid)
    group by c.conrelid
),

-- Joined and not looked up table by table: the settings of postgres/catalog.py let the server hash all of pg_class.
index_of as (
    select i.indrelid, json_agg(quote_ident(c.relname)) as names,
        max(quote_ident(c.relname)) filter (where i.indisreplident) as of_replica,
        max(quote_ident(c.relname)) filter (where i.indisclustered) as of_cluster
    from pg_index i join pg_class c on c.oid = i.indexrelid
    group by i.indrelid
)

select json_build_object(
    'name', r.name,
    'schema', n.nspname,
    'quoted_schema', n.name,
    'relation', r.relname,
    'kind', r.relkind,
    'of_type', case when r.reloftype <> 0 then format_type(r.reloftype, null) else '' end,
    'method', coalesce(quote_ident(am.amname), ''),
    'persistence', case r.relpersistence when 'u' then 'unlogged' else 'logged' end,
    'partition_by', coalesce(case when r.relkind = 'p' then pg_get_partkeydef(r.oid) end, ''),
    'partition_columns', (
        select coalesce(json_agg(a.attname), '[]')
        from pg_partitioned_table p join pg_attribute a on a.attrelid = p.partrelid and a.attnum = any (p.partattrs)
        where p.partrelid = r.oid),
    'has_children', exists (select from pg_inherits i where i.inhparent = r.oid),
    'parents', (
        select coalesce(json_agg(i.inhparent::regclass::text order by i.inhseqno), '[]')
        from pg_inherits i where i.inhrelid = r.oid),
    'bound', coalesce(pg_get_expr(r.relpartbound, r.oid), ''),
    'in_bound', coalesce(pg_get_partition_constraintdef(r.oid), ''),
    'options', (
        select coalesce(json_agg(o), '[]')
        from (
            select unnest(r.reloptions) as o
            union all
            select 'toast.' || unnest(t.reloptions) from pg_class t where t.oid = r.reltoastrelid
        ) o),
    'row_security', r.relrowsecurity,
    'forced_row_security', r.relforcerowsecurity,
    'replica_identity', case r.relreplident
        when 'n' then 'nothing' when 'f' then 'full' when 'i' then 'index' else 'default' end,
    'replica_index', index_of.of_replica,
    'cluster_on', index_of.of_cluster,
    'indexes', coalesce(index_of.names, '[]'),
    'columns', coalesce(column_of.document, '[]'),
    'constraints', coalesce(constraint_of.document, '[]'))
from relation r
join namespace n on n.oid = r.relnamespace
left join pg_am am on am.oid = r.relam
left join column_of on column_of.attrelid = r.oid
left join index_of on index_of.indrelid = r.oid
left join constraint_of on constraint_of.conrelid = r.oid
where r.relkind in ('r', 'p', 'f')
order by r.name collate "C"
