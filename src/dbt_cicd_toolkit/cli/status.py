"""``dbt-cicd status``."""

from __future__ import annotations

from typing import Any

import click

from dbt_cicd_toolkit.cli.options import Connection, Project, connection_options, dbt_options, output_options


@click.command()
@click.option("--environment", help="Only this environment, with its database's migrations and schema release.")
@click.option("--models", help="Only these models, comma-separated.")
@dbt_options
@connection_options
@output_options
def command(
    environment: str | None,
    models: str | None,
    project: Project,
    connection: Connection,
    output_format: str,
) -> int:
    """Show which version of which model and job each environment has, since when, and what differs from the project.

    With --environment also the migrations and the schema release of its database, which the options of a connection
    name. Exit code 1 when that cannot be asked. Example: dbt-cicd status --environment production
    """
    from dbt_cicd_toolkit import report
    from dbt_cicd_toolkit.overview import Repository, databases

    repository = Repository(project.directory, connection.options, connection.role, connection.embedded)
    found: dict[str, Any] = {}
    if repository.has_models or not environment:
        from dbt_cicd_toolkit.models import ledger

        arguments = {"environment": environment, "models": ledger.names(models)}
        found |= project.call("get_promotion_status", arguments).value
    if environment and models is None:
        found.setdefault(environment, {}).update(databases(repository))
    click.echo(report.status(found, output_format))
    return int(any(entry["status"] == "unknown" for entries in found.values() for entry in entries.values()))
