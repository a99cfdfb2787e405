"""``dbt-cicd version`` and ``bump_version``."""

from __future__ import annotations

from collections.abc import Sequence

import click

from dbt_cicd_toolkit import versions
from dbt_cicd_toolkit.cli.main import run
from dbt_cicd_toolkit.cli.options import Project, dbt_options, output_options, show


@click.group()
def command() -> None:
    """Versions of models."""


@command.command()
@click.argument("version")
@click.argument("part", metavar="|".join(versions.PARTS))
@click.option("--pre", help="Make or count up a pre-release of this name, for example rc.")
@output_options
def bump(version: str, part: str, pre: str | None, output_format: str) -> None:
    """Print the version that follows VERSION.

    Example: dbt-cicd version bump 1.2.3 minor --pre rc  prints 1.3.0-rc.1
    """
    new = versions.bump(version, part, pre)
    show({"version": new}, new, output_format)


@command.command()
@click.argument("model")
@click.argument("version")
@click.option("--description", help="What changed.")
@click.option("--breaking", is_flag=True, help="Declare it breaking for those who read the model.")
@dbt_options
@output_options
def register(
    model: str,
    version: str,
    description: str | None,
    breaking: bool,
    project: Project,
    output_format: str,
) -> None:
    """Register VERSION of MODEL at the present code.

    Example: dbt-cicd version register customers 1.2.0 --description 'Added customer segment field'
    """
    arguments = {"model_name": model, "version": version, "description": description, "is_breaking": breaking}
    value = project.call("register_version", arguments).value
    text = f"{model} {value['version']} registered at {value['timestamp']} UTC"
    show(value, text + (" (breaking)" if value["is_breaking"] else ""), output_format)


@command.command("register-changed")
@click.option(
    "--bump", type=click.Choice(["auto", *versions.PARTS]), default="auto", show_default=True, help="How far."
)
@click.option("--models", help="Only these models, comma-separated.")
@click.option("--description", help="What changed.")
@click.option("--dry-run", is_flag=True, help="Say what would be registered.")
@dbt_options
@output_options
def register_changed(
    bump: str,
    models: str | None,
    description: str | None,
    dry_run: bool,
    project: Project,
    output_format: str,
) -> None:
    """Register the next version of every model whose code is not that of its latest version.

    Example: dbt-cicd version register-changed --dry-run
    """
    from dbt_cicd_toolkit import report
    from dbt_cicd_toolkit.models import ledger

    arguments = {"bump": bump, "models": ledger.names(models), "description": description, "dry_run": dry_run}
    value = project.call("register_changed_models", arguments, writes=not dry_run).value
    rows = [
        (
            entry["model"],
            entry["from_version"] or "—",
            entry["version"],
            "yes" if entry["is_breaking"] else "no",
            "; ".join(finding["change"] for finding in entry["findings"]),
        )
        for entry in value["registered"]
    ]
    text = (
        report.table(("MODEL", "FROM", "TO", "BREAKING", "FINDINGS"), rows, output_format)
        if rows
        else "No model has changed."
    )
    show(value, text, output_format)


@command.command()
@click.argument("model")
@click.option("--environment", help="Only versions that were ever there.")
@dbt_options
@output_options
def history(
    model: str,
    environment: str | None,
    project: Project,
    output_format: str,
) -> None:
    """Show the versions of MODEL, highest first.

    Example: dbt-cicd version history customers --environment production
    """
    from dbt_cicd_toolkit import report

    arguments = {"model_name": model, "environment": environment}
    value = project.call("get_version_history", arguments).value
    click.echo(report.history(value, output_format))


@command.command()
@click.argument("model")
@click.option("--environment", help="The version that is there now.")
@dbt_options
@output_options
def latest(
    model: str,
    environment: str | None,
    project: Project,
    output_format: str,
) -> None:
    """Print the highest registered version of MODEL, or the one an environment has; 0.0.0 when there is none.

    Example: dbt-cicd version latest customers
    """
    arguments = {"model_name": model, "environment": environment}
    value = project.call("get_latest_version", arguments).value
    show({"model": model, "version": value}, value, output_format)


@command.command()
@click.argument("model")
@click.argument("version")
@click.option("--environment", required=True, help="Environment to deploy to.")
@click.option("--skip-tests", is_flag=True, help="Do not ask for test results.")
@click.option("--approved-by", help="Who approved it.")
@click.option("--description", help="Recorded with the deployment.")
@dbt_options
@output_options
def deploy(
    model: str,
    version: str,
    environment: str,
    skip_tests: bool,
    approved_by: str | None,
    description: str | None,
    project: Project,
    output_format: str,
) -> int:
    """Put VERSION of MODEL into an environment; an older version is the rollback.

    Example: dbt-cicd version deploy customers 1.1.0 --environment production
    """
    arguments = {
        "model_name": model,
        "version": version,
        "environment": environment,
        "require_tests": not skip_tests,
        "approved_by": approved_by,
        "description": description,
    }
    envelope = project.call("deploy_version", arguments)
    text = envelope.message or f"{model} {version} is in {environment}"
    show({**envelope.value, "success": envelope.success, "error": envelope.message}, text, output_format)
    return 0 if envelope.success else 1


@command.command()
@click.argument("model")
@click.argument("version")
@dbt_options
@output_options
def check(model: str, version: str, project: Project, output_format: str) -> None:
    """Print whether VERSION of MODEL is breaking: true or false.

    Example: dbt-cicd version check customers 2.0.0
    """
    arguments = {"model_name": model, "version": version}
    value = project.call("check_breaking_version", arguments).value
    show({"model": model, "version": version, "is_breaking": value}, str(value).lower(), output_format)


@command.command()
@click.argument("old")
@click.argument("new")
@dbt_options
@output_options
def rename(old: str, new: str, project: Project, output_format: str) -> None:
    """Carry the history of the model OLD, which is gone, over to NEW.

    Example: dbt-cicd version rename customers customers_v2
    """
    value = project.call("rename_model", {"old": old, "new": new}).value
    show(value, f"{new} has the {len(value['versions'])} versions of {old}", output_format)


def bump_version(argv: Sequence[str] | None = None) -> int:
    """Entry point of the console script ``bump_version``; returns the exit code."""
    return run(bump, "bump_version", argv)
