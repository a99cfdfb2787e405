"""``dbt-cicd promote`` and scripts/promote_models.py."""

from __future__ import annotations

from collections.abc import Sequence

import click

from dbt_cicd_toolkit.cli.main import run
from dbt_cicd_toolkit.cli.options import Project, dbt_options, output_options


@click.command()
@click.option("--target-environment", "--environment", "environment", required=True, help="Environment to promote to.")
@click.option("--models", help="Models, comma-separated, for example customers,orders.")
@click.option("--select", "-s", multiple=True, help="dbt selector of models; may be given more than once.")
@click.option("--skip-tests", is_flag=True, help="Skip test validation before promotion.")
@click.option("--build", is_flag=True, help="Build the models, with their tests, before promotion.")
@click.option("--dry-run", is_flag=True, help="Validate but do not update promotion state.")
@click.option("--approved-by", help="Who approved it; environments with breaking: approve ask for that.")
@click.option("--description", help="Recorded with the promotion.")
@dbt_options
@output_options
def command(
    environment: str,
    models: str | None,
    select: tuple[str, ...],
    skip_tests: bool,
    build: bool,
    dry_run: bool,
    approved_by: str | None,
    description: str | None,
    project: Project,
    output_format: str,
) -> int:
    """Run the models' tests, then promote the models: all of them, or none.

    Example: dbt-cicd promote --target-environment production --models customers,orders --output-format markdown
    """
    from dbt_cicd_toolkit import report
    from dbt_cicd_toolkit.models import ledger, promote

    promotion = promote.promote(
        project.dbt(),
        environment,
        ledger.names(models),
        select=select,
        skip_tests=skip_tests,
        build=build,
        dry_run=dry_run,
        approved_by=approved_by,
        description=description,
    )
    for warning in promotion.warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(report.promotion(promotion.plan, promotion.message, promotion.tests, output_format))
    return 0 if promotion.success else 1


def promote_models(argv: Sequence[str] | None = None) -> int:
    """Entry point of scripts/promote_models.py; returns the exit code."""
    return run(command, "promote_models.py", argv)
