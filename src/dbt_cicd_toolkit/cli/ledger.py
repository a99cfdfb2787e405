"""``dbt-cicd ledger``."""

from __future__ import annotations

import click

from dbt_cicd_toolkit.cli.options import Project, dbt_options, output_options, show


@click.group()
def command() -> None:
    """The ledger in the warehouse, and its mirror below target/."""


@command.command()
@click.option("--grant-to", multiple=True, help="Role that pipelines run as; may be given more than once.")
@dbt_options
@output_options
def init(grant_to: tuple[str, ...], project: Project, output_format: str) -> None:
    """Create the ledger, or upgrade it in place, and grant pipelines what they need.

    Example: dbt-cicd ledger init --grant-to ci
    """
    value = project.call("setup_ledger", {"grant_to": list(grant_to) or None}).value
    made = ", ".join(value["created"]) or "nothing was missing"
    granted = f"; granted to {', '.join(value['granted_to'])}" if value["granted_to"] else ""
    show(value, f"ledger in schema {value['schema']}: {made}{granted}", output_format)


@command.command()
@dbt_options
@output_options
def export(project: Project, output_format: str) -> None:
    """Write every file of the mirror again from the ledger.

    Example: dbt-cicd ledger export
    """
    value = project.call("export_state", {}).value
    show({"files": value}, "\n".join(value) or "The ledger is empty.", output_format)


@command.command()
@click.option("--from-target", required=True, help="Target of the profile whose ledger is copied.")
@click.option("--evidence-days", type=click.FloatRange(min=0), help="Leave out evidence older than this.")
@click.option("--dry-run", is_flag=True, help="Count the rows, copy nothing.")
@dbt_options
@output_options
def pull(
    from_target: str,
    evidence_days: float | None,
    dry_run: bool,
    project: Project,
    output_format: str,
) -> None:
    """Copy the ledger of another database that this one cannot see; run it as often as you like.

    Example: dbt-cicd ledger pull --from-target staging --target prod
    """
    from datetime import datetime, timedelta, timezone

    from dbt_cicd_toolkit.models import ledger

    since = None
    if evidence_days is not None:
        since = (datetime.now(timezone.utc) - timedelta(days=evidence_days)).strftime("%Y-%m-%d %H:%M:%S")
    copied = ledger.pull(project.dbt(from_target), project.dbt(), evidence_since=since, dry_run=dry_run)
    verb = "would be copied" if dry_run else "copied"
    text = "\n".join(f"{table}: {count} rows {verb}" for table, count in copied.items())
    show({"copied": copied, "dry_run": dry_run}, text, output_format)


@command.command()
@click.option("--keep-days", type=click.FloatRange(min=0), required=True, help="Keep evidence younger than this.")
@dbt_options
@output_options
def prune(keep_days: float, project: Project, output_format: str) -> None:
    """Delete old evidence (builds and test results), and nothing else; needs the right to DELETE.

    Example: dbt-cicd ledger prune --keep-days 90
    """
    value = project.call("prune_evidence", {"keep_days": keep_days}).value
    show(value, f"deleted {value['builds']} builds and {value['test_results']} test results", output_format)
