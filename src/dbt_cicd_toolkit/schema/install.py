"""Scratch databases with a release in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import psycopg2
import psycopg2.extensions as pg

from dbt_cicd_toolkit.errors import Refused
from dbt_cicd_toolkit.postgres.session import error_text
from dbt_cicd_toolkit.postgres.settings import Settings
from dbt_cicd_toolkit.schema import fingerprint, objects
from dbt_cicd_toolkit.schema.project import Project
from dbt_cicd_toolkit.schema.records import History, Record


def connect(settings: Settings) -> pg.connection:
    """A connection in autocommit mode to a scratch database."""
    arguments: dict[str, Any] = {**settings.arguments(), "client_encoding": "UTF8"}
    connection: pg.connection = psycopg2.connect(**arguments)
    connection.autocommit = True
    return connection


def install_records(
    connection: pg.connection, found: Mapping[str, Record], schemas: Sequence[str], *, make_roles: bool = False
) -> None:
    """Make the objects of a release in an empty database, in order. Raises Refused naming the first that fails.

    Their bodies were checked when the release was made: one that is a string may stand before what it names.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"{objects.settings(schemas)}; set check_function_bodies = off")
        for record in found.values():
            try:
                objects.run(cursor, record.plain, make_roles)
            except psycopg2.Error as error:
                raise Refused(f"{record.key}: {error_text(error)}") from error


def reference(project: Project, history: History, major: int) -> dict[str, fingerprint.Mark]:
    """What a server of this major shows of the newest release, which did not record it: installed in scratch."""
    assert history.newest is not None
    with project.scratch(major) as made, closing(connect(made.settings)) as connection:
        install_records(connection, history.at(history.newest.number), history.schemas, make_roles=made.embedded)
        return fingerprint.read(connection, history.schemas)
