"""The PostgreSQL of a project's own, below its ``.local/``: what ``--embedded`` means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dbt_cicd_toolkit.postgres import settings
from dbt_cicd_toolkit.postgres.settings import Settings


def database(root: Path, dbname: str) -> Settings:
    """The settings of a database on the embedded server of a project; starts the one and makes the other if need be.

    Raises Refused when the extra ``embedded`` is not installed or the server does not start.
    """
    import psycopg2

    from dbt_cicd_toolkit.postgres import embedded
    from dbt_cicd_toolkit.postgres.session import identifier

    server = embedded.start(root / ".local" / "postgres")
    found = settings.embedded(server, dbname)
    admin: dict[str, Any] = dict(found.on("postgres").arguments())
    connection = psycopg2.connect(**admin)
    try:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("select 1 from pg_database where datname = %s", [dbname])
        if not cursor.fetchone():
            cursor.execute(f"create database {identifier(dbname)}")
    except (psycopg2.errors.DuplicateDatabase, psycopg2.errors.UniqueViolation):
        pass  # another command was first
    finally:
        connection.close()
    return found
