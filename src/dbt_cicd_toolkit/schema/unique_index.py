"""What rows stand in the way of a unique index that is no constraint: it may be partial, and of expressions."""

from __future__ import annotations

import psycopg2.extensions as pg

from dbt_cicd_toolkit.postgres import catalog
from dbt_cicd_toolkit.schema.step import Check

_INDEX = """select 'unique index ' || x.indexrelid::regclass, pg_catalog.format(
    'select * from (select *, count(*) over (partition by %%s) as "rows of this key" from %%s%%s%%s) keys '
    'where "rows of this key" > 1',
    k.listed, case when t.relkind = 'r' then 'only ' end, pg_catalog.format('%%I.%%I', n.nspname, t.relname),
    nullif(pg_catalog.concat_ws(' and ', ' where ' || pg_catalog.pg_get_expr(x.indpred, x.indrelid),
        case when not coalesce((pg_catalog.to_jsonb(x) ->> 'indnullsnotdistinct')::boolean, false)
            then case when x.indpred is null then ' where ' end || k.filled end), ''))
from pg_catalog.pg_index x
join pg_catalog.pg_class t on t.oid = x.indrelid
join pg_catalog.pg_namespace n on n.oid = t.relnamespace
cross join lateral (
    select pg_catalog.string_agg(key, ', ' order by nth),
        pg_catalog.string_agg(key || ' is not null', ' and ' order by nth)
    from pg_catalog.generate_series(1, x.indnkeyatts) nth,
        lateral (select '(' || pg_catalog.pg_get_indexdef(x.indexrelid, nth, false) || ')') d (key)
) k (listed, filled)
where x.indexrelid = pg_catalog.to_regclass(%s) and x.indisunique"""


def check(connection: pg.connection, name: str) -> Check | None:
    """Of an index in this database, called as in SQL: which rows are not unique; None when they need not be."""
    with catalog.pinned(connection) as prefix, connection.cursor() as cursor:
        cursor.execute(prefix + _INDEX, [name])
        row = cursor.fetchone()
    return Check(*row) if row else None
