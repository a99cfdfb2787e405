"""Scratch databases with a release in them."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from types import MappingProxyType
from typing import Any

import psycopg2
import psycopg2.extensions as pg

from dbt_cicd_toolkit.errors import Refused
from dbt_cicd_toolkit.postgres import catalog, embedded
from dbt_cicd_toolkit.postgres.catalog import Selection
from dbt_cicd_toolkit.postgres.session import error_text
from dbt_cicd_toolkit.postgres.settings import Settings
from dbt_cicd_toolkit.schema import fingerprint, objects, roles
from dbt_cicd_toolkit.schema.project import Project
from dbt_cicd_toolkit.schema.records import History, Record
from dbt_cicd_toolkit.schema.sources import Source


def connect(settings: Settings) -> pg.connection:
    """A connection in autocommit mode to a scratch database."""
    arguments: dict[str, Any] = {**settings.arguments(), "client_encoding": "UTF8"}
    connection: pg.connection = psycopg2.connect(**arguments)
    connection.autocommit = True
    return connection


def install_records(
    connection: pg.connection,
    found: Mapping[str, Record],
    schemas: Sequence[str],
    *,
    make_roles: bool = False,
    sources: Mapping[str, Source] = MappingProxyType({}),
) -> None:
    """Make the objects of a release in an empty database, in order. Raises Refused naming the first that fails, with
    its place in the ``sources`` where these are given, by key.

    Their bodies were checked when the release was made: one that is a string may stand before what it names.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"{objects.settings(schemas)}; set check_function_bodies = off")
        for record in found.values():
            try:
                roles.run(cursor, record.plain, make_roles)
            except psycopg2.Error as error:
                source = sources.get(record.key)
                place = f"{source.place_of_error(error)}: " if source else ""
                raise Refused(f"{place}{record.key}: {error_text(error)}{roles.advice(error)}") from error


def reference(project: Project, history: History, major: int) -> dict[str, fingerprint.Mark]:
    """What a server of this major shows of the newest release, which did not record it: installed in scratch."""
    with _installed(project, history, major) as connection:
        return fingerprint.read(connection, history.schemas)


def described(project: Project, history: History, major: int) -> dict[str, str] | None:
    """The newest release as catalog.describe() has it, installed in scratch; None where there is no scratch server
    but the one of the database itself."""
    if not project.scratch_url and major not in embedded.majors():
        return None
    with _installed(project, history, major) as connection:
        return catalog.describe(connection, Selection(schemas=history.schemas))


@contextmanager
def _installed(project: Project, history: History, major: int) -> Generator[pg.connection]:
    assert history.newest is not None
    with project.scratch(major) as made, closing(connect(made.settings)) as connection:
        install_records(connection, history.at(history.newest.number), history.schemas, make_roles=made.embedded)
        yield connection
