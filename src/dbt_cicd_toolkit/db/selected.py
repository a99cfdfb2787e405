"""What snapshots and drift look at: neither our own tables nor what dbt builds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dbt_cicd_toolkit.db.history import LOG, History
from dbt_cicd_toolkit.errors import Refused
from dbt_cicd_toolkit.postgres.session import Session, identifier

if TYPE_CHECKING:
    from dbt_cicd_toolkit.postgres.catalog import Selection

# Where the models' part records what dbt built, in tables with this prefix; also the default schema of our own.
LEDGER = "dbt_cicd"
_PREFIX = "dbt_cicd_"
# What tables and views a schema holds, and what else: sequences, routines, types. What extensions own is theirs.
_CONTENTS = """select n.nspname, o.name, o.relation
from (
    select relnamespace as namespace, relname as name, relkind <> 'S' as relation, tableoid as class, oid
    from pg_catalog.pg_class where relkind in ('r', 'p', 'v', 'm', 'f', 'S')
    union all
    select pronamespace, proname, false, tableoid, oid from pg_catalog.pg_proc
    union all
    select typnamespace, typname, false, tableoid, oid from pg_catalog.pg_type where typtype in ('d', 'e', 'r')
) o
join pg_catalog.pg_namespace n on n.oid = o.namespace
where n.nspname = any (%s) and not exists (
    select from pg_catalog.pg_depend d where d.classid = o.class and d.objid = o.oid and d.deptype = 'e')"""
# Where the schema part records which schemas it manages.
_SCHEMA_LOG = f"{LEDGER}.dbt_cicd_schema_log"
_RECORDED = """select key
from (select detail from {log} where action = 'catalog' order by id desc limit 1) newest,
    pg_catalog.jsonb_object_keys(newest.detail -> 'objects') key
where key like 'schema %'"""


def selection(session: Session, history: History, schemas: Sequence[str] | None) -> Selection:
    """What counts now; ``schemas`` limits it. Raises Refused when that names one which `dbt-cicd schema` manages.

    Relations are left out: the two of the history, and those that dbt built, as far as the ledger knows them. A whole
    schema is left out when it is the default one of our tables and holds nothing else, or when dbt builds in it, for
    its seeds, snapshots and stored test failures are not in the ledger; never `public`, and none that the last record
    of the catalog has: a schema that a migration made stays when dbt begins to build in it.
    """
    from dbt_cicd_toolkit.postgres.catalog import Selection  # not imported where only the names here are wanted

    built = _built_by_dbt(session)
    holds = session.execute(_CONTENTS, [sorted({LEDGER, *(schema for schema, _ in built)})])
    own = {(history.schema, history.table), (history.schema, LOG)}
    own |= {(schema, name) for schema, name, _ in holds if schema == LEDGER and name.startswith(_PREFIX)}
    mixed = {schema for schema, name, _ in holds if schema == LEDGER and (schema, name) not in own}
    dbts = {schema for schema, _ in built} - {"public"}
    whole = ({LEDGER} - mixed) | dbts | {f"{schema}_dbt_test__audit" for schema in dbts}
    if dbts:
        whole -= _recorded_schemas(session, history)
    managed = managed_schemas(session)
    if taken := sorted(managed & set(schemas or ())):
        raise Refused(
            f"the setting `schemas` names {taken[0]}, which `dbt-cicd schema` manages, and a schema is managed by one "
            "of both. Take it out."
        )
    whole |= managed
    built |= {(schema, name) for schema, name, relation in holds if relation and _is_of(built, schema, name)}
    relations = sorted(f"{schema}.{name}" for schema, name in own | built if schema not in whole)
    return Selection(None if schemas is None else tuple(schemas), tuple(sorted(whole)), tuple(relations))


def managed_schemas(session: Session) -> set[str]:
    """The schemas that `dbt-cicd schema` manages in this database."""
    allowed = "select case when to_regclass(%s) is null then false else has_table_privilege(%s, 'select') end"
    if not session.execute(allowed, [_SCHEMA_LOG, _SCHEMA_LOG])[0][0]:
        return set()
    return {row[0] for row in session.execute(f"select distinct unnest(schemas) from {_SCHEMA_LOG}")}


def _is_of(built: set[tuple[str, str]], schema: str, name: str) -> bool:
    """Did dbt make it? For as long as it builds there are also model__dbt_tmp, model__dbt_backup and the like."""
    return (schema, name) in built or (schema, name.split("__dbt_")[0]) in built


def _built_by_dbt(session: Session) -> set[tuple[str, str]]:
    table = f"{identifier(LEDGER)}.dbt_cicd_builds"
    allowed = "select case when to_regclass(%s) is null then false else has_table_privilege(%s, 'select') end"
    if not session.execute(allowed, [table, table])[0][0]:
        return set()
    rows = session.execute(f"select distinct relation_name from {table} where relation_name is not null")
    names = [name_parts(row[0]) for row in rows]
    return {(parts[-2], parts[-1]) for parts in names if len(parts) > 1}


def name_parts(name: str) -> list[str]:
    """The parts of a relation's name as dbt writes it, quoted or not, as the server has them; [] when it is none."""
    part = r'(?:"(?:[^"]|"")+"|[^".]+)'
    if not re.fullmatch(rf"{part}(?:\.{part})*", name):
        return []
    found = re.findall(part, name)
    return [one[1:-1].replace('""', '"') if one.startswith('"') else one.lower() for one in found]


def _recorded_schemas(session: Session, history: History) -> set[str]:
    """The schemas that the last record of the catalog has."""
    if not session.execute("select pg_catalog.to_regclass(%s) is not null", [history.log_name])[0][0]:
        return set()
    rows = session.execute(_RECORDED.format(log=history.log_name))
    return {part for row in rows for part in name_parts(row[0].removeprefix("schema "))}
