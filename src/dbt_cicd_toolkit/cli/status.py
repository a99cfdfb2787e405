"""``dbt-cicd status``."""

from __future__ import annotations

import click

from dbt_cicd_toolkit.cli.options import Project, dbt_options, output_options


@click.command()
@click.option("--environment", help="Only this environment.")
@click.option("--models", help="Only these models, comma-separated.")
@dbt_options
@output_options
def command(
    environment: str | None,
    models: str | None,
    project: Project,
    output_format: str,
) -> None:
    """Show which version of which model each environment has, since when, and what has moved on.

    Example: dbt-cicd status --environment production
    """
    from dbt_cicd_toolkit import report
    from dbt_cicd_toolkit.models import ledger

    arguments = {"environment": environment, "models": ledger.names(models)}
    envelope = project.call("get_promotion_status", arguments)
    click.echo(report.status(envelope.value, output_format))
