"""``dbt-cicd job resolve``, ``lock`` and ``deploy``: which version of a job runs where."""

from __future__ import annotations

from pathlib import Path

import click

from dbt_cicd_toolkit.cli.options import Ledger, ledger_options, output_options, repository_option, show


@click.command()
@click.argument("name")
@click.argument("pin", default="latest")
@click.option("--environment", help="Environment of jobs.toml; by default what DBT_CICD_ENVIRONMENT says.")
@repository_option
@output_options
def resolve(name: str, pin: str, environment: str | None, directory: Path, output_format: str) -> None:
    """Print the version of job NAME that jobs.lock gives for PIN, which is 'latest' by default.

    It is what `resolve('my_job', '~=0.1.0')` in a DAG gives. Example: dbt-cicd job resolve my_job '~=0.1.0'
    --environment production
    """
    from dbt_cicd_toolkit.jobs import pins
    from dbt_cicd_toolkit.jobs.lock import locked
    from dbt_cicd_toolkit.jobs.project import Project

    version = locked(Project.find(directory)).version(name, pin, environment)
    if said := pins.warning(pin):
        click.echo(f"warning: {said}", err=True)
    show({"job": name, "pin": pin, "version": version}, version, output_format)


@click.command()
@click.option(
    "--upgrade",
    is_flag=False,
    flag_value="",
    metavar="[NAME]",
    help="Move pins to the highest release that fits: those of job NAME, or all.",
)
@click.option("--dry-run", is_flag=True, help="Say what would change.")
@repository_option
@output_options
def lock(upgrade: str | None, dry_run: bool, directory: Path, output_format: str) -> None:
    """Lock the pins of resolve() in the DAGs of every environment: each one leads to one version in jobs.lock.

    What is locked stays as it is while it fits; new pins get the highest release that fits; pins of no DAG go. A DAG
    runs what the committed lock says. Example: dbt-cicd job lock --upgrade my_job
    """
    from dbt_cicd_toolkit import report
    from dbt_cicd_toolkit.jobs import lock as locks
    from dbt_cicd_toolkit.jobs.project import Project

    project = Project.find(directory)
    plan = locks.lock(project, upgrade or None, upgrade_all=upgrade == "", dry_run=dry_run)
    for warning in plan.warnings:
        click.echo(f"warning: {warning}", err=True)
    rows = [(each.environment, each.job, each.pin, each.old or "—", each.new or "—") for each in plan.changes]
    text = (
        report.table(("ENVIRONMENT", "JOB", "PIN", "FROM", "TO"), rows, output_format) if rows else "Nothing changes."
    )
    show({**plan.document(), "path": project.path(project.lock_file), "dry_run": dry_run}, text, output_format)


@click.command()
@click.argument("name")
@click.argument("version")
@click.argument("environment")
@click.option("--approved-by", help="Who approved it.")
@click.option("--description", help="Recorded with the deployment.")
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
@repository_option
@ledger_options
@output_options
def deploy(
    name: str,
    version: str,
    environment: str,
    approved_by: str | None,
    description: str | None,
    dry_run: bool,
    directory: Path,
    ledger: Ledger,
    output_format: str,
) -> int:
    """Record in the ledger that ENVIRONMENT gets the released VERSION of job NAME.

    The version is registered from its manifest. Refused while a model that the job reads or writes is not in that
    environment. No file changes. Example: dbt-cicd job deploy my_job 0.2.0 production
    """
    from dbt_cicd_toolkit.jobs import deploy as deployments
    from dbt_cicd_toolkit.jobs.number import Number
    from dbt_cicd_toolkit.jobs.project import Project

    project = Project.find(directory)
    envelope = deployments.deploy(
        project,
        ledger.dbt(project.root),
        name,
        Number.parse(version, "VERSION"),
        environment,
        description=description,
        approved_by=approved_by,
        dry_run=dry_run,
    )
    for warning in envelope.warnings:
        click.echo(f"warning: {warning}", err=True)
    value = envelope.value
    done = {"deploy": "would be put into" if dry_run else "is in", "unchanged": "was already in"}
    text = envelope.message or f"{name} {value['version']} {done[value['action']]} {environment}"
    show({**value, "success": envelope.success, "error": envelope.message}, text, output_format)
    return 0 if envelope.success else 1
