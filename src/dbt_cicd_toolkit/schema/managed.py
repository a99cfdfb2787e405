"""A PostgreSQL schema is managed by `db` or by `schema`, never by both."""

from __future__ import annotations

from collections.abc import Sequence

from dbt_cicd_toolkit.errors import Refused
from dbt_cicd_toolkit.postgres.session import Session
from dbt_cicd_toolkit.schema.installed import Log

# Of the catalog that `dbt-cicd db` recorded last: the schemas of its tables, views, functions …
_OF_DB = """select distinct substring(key from
    '^(?:table|view|materialized view|function|sequence|type) ("[^"]+"|[^".]+)\\.')
from dbt_cicd.dbt_cicd_migration_log, lateral json_object_keys((detail -> 'objects')::json) key
where id = (select max(id) from dbt_cicd.dbt_cicd_migration_log where action = 'catalog')"""


def refuse(session: Session, schemas: Sequence[str], log: Log) -> None:
    """Raise Refused when a schema is managed by migrations (`dbt-cicd db`) or by another module."""
    if session.execute("select to_regclass('dbt_cicd.dbt_cicd_migration_log')")[0][0]:
        theirs = {row[0] for row in session.execute(_OF_DB) if row[0]}
        wanted = session.execute("select s, quote_ident(s) from unnest(%s) s", [list(schemas)])
        if taken := [name for name, quoted in wanted if quoted in theirs]:
            raise Refused(
                f"schema {taken[0]} is managed by migrations (`dbt-cicd db`), and a schema is managed by one of both. "
                "Take another schema, or leave it to db."
            )
    for schema, module in log.others():
        raise Refused(f"schema {schema} is managed by the module {module}. Take another schema.")
