"""``dbt-cicd job``: what there is, whether the rules hold, who uses what, and how a version goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dbt_cicd_toolkit.cli.job_release import project_options
from dbt_cicd_toolkit.cli.options import Ledger, ledger_options, show
from dbt_cicd_toolkit.errors import InvalidInput

if TYPE_CHECKING:
    import datetime

    from dbt_cicd_toolkit.jobs.project import Project

_dry_run = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")


@click.command(name="adoption")
@click.argument("name", required=False)
@click.argument("version", required=False)
@click.option("--environment", help="Only this environment of jobs.toml.")
@project_options
def adoption(
    name: str | None, version: str | None, environment: str | None, project: Project, output_format: str
) -> None:
    """Say which DAG, environment and branch uses which version of which job.

    Files are read, nothing is imported. What only running would tell is shown as unknown. The DAGs of an environment
    are those of its branch in jobs.toml.

    Example: dbt-cicd job adoption my_job 0.1.0 --environment production
    """
    from dbt_cicd_toolkit.jobs.adoption import adoption as read
    from dbt_cicd_toolkit.jobs.number import Number

    if name is not None:
        project.versions_of(name)
    found = read(project, name, Number.parse(version, "VERSION") if version else None, environment)
    for warning in found.warnings:
        click.echo(f"warning: {warning}", err=True)
    show(found.document(), found.text(output_format), output_format)


@click.command(name="check")
@click.option("--strict", is_flag=True, help="Refuse (exit code 1) what is unknown, and warnings.")
@click.option("--with-ledger", is_flag=True, help="Hold the ledger against the DAGs, too: it asks the database.")
@ledger_options
@project_options
def check(strict: bool, with_ledger: bool, ledger: Ledger, project: Project, output_format: str) -> int:
    """Check everything that must hold, and say all that does not.

    \b
    Exit codes, the first that applies:
      2  bad input: a syntax error, an import cycle, a folder or VERSION that is
         no version, a pin that is no literal
      3  what is frozen differs: a changed, added or missing file, a changed
         manifest, a shared module that changed under a frozen version
      1  a broken rule: a version that reaches another one, two that write one
         table or cannot share an interpreter, DAGs and jobs.lock that disagree,
         use of a version that is gone or deprecated for longer than it said
      0  none of these. What cannot be told without running it is shown as
         unknown, a warning as such; --strict refuses both.

    Example: dbt-cicd job check --json
    """
    from dbt_cicd_toolkit.jobs import findings
    from dbt_cicd_toolkit.jobs.check import check as look

    found = look(project, ledger.dbt(project.root) if with_ledger else None)
    code = findings.exit_code(found) or (1 if strict and found else 0)
    document = findings.document(found) | {"success": code == 0, "exit_code": code}
    show(document, findings.text(found, output_format), output_format)
    return code


@click.command(name="list")
@click.argument("name", required=False)
@project_options
def list(name: str | None, project: Project, output_format: str) -> None:
    """List the jobs, their versions, and what state each is in.

    open: in no release yet; frozen: released, it cannot change; deprecated: frozen, and to be used until that day only;
    removed. What a job does not say (reads, writes, requires) is unknown.

    Example: dbt-cicd job list my_job
    """
    from dbt_cicd_toolkit import report
    from dbt_cicd_toolkit.jobs.inventory import inventory
    from dbt_cicd_toolkit.jobs.project import nearest

    items = inventory(project)
    jobs = sorted({job for job, _ in items})
    if name is not None and name not in jobs:
        raise InvalidInput(f"there is no job {name}. {nearest(name, jobs)}")
    found = [item for (job, _), item in items.items() if name in (None, job)]
    words = {"deprecated": "until", "removed": "on", "frozen": "since"}
    rows = [
        (
            item.job,
            str(item.version),
            f"{item.state} {words[item.state]} {item.date}" if item.date else item.state,
            *(_said(getattr(item, key)) for key in ("reads", "writes", "requires")),
        )
        for item in found
    ]
    head = ("JOB", "VERSION", "STATE", "READS", "WRITES", "REQUIRES")
    text = report.table(head, rows, output_format) if rows else "There is no job yet: dbt-cicd job new NAME."
    show({"jobs": [item.document() for item in found]}, text, output_format)


def _said(values: tuple[str, ...] | None) -> str:
    return "unknown" if values is None else ", ".join(values) or "—"


@click.command(name="upgrade")
@click.argument("name")
@click.argument("old")
@click.argument("new")
@_dry_run
@project_options
def upgrade(name: str, old: str, new: str, dry_run: bool, project: Project, output_format: str) -> None:
    """Move the DAGs of the working tree from version OLD of job NAME to version NEW.

    Imports, names in texts (a Glue job's --module_name, YAML, JSON) and pins of resolve() are rewritten, in the DAGs
    and in the modules that they reach. Comments and everything else stay. Refused, with nothing changed, when the new
    version lacks a name that is imported.

    Example: dbt-cicd job upgrade my_job 0.1.0 0.2.0
    """
    from dbt_cicd_toolkit.jobs.number import Number
    from dbt_cicd_toolkit.jobs.upgrade import upgrade as move

    done = move(project, name, Number.parse(old, "OLD"), Number.parse(new, "NEW"), dry_run=dry_run)
    lines = [f"{'would change' if dry_run else 'changed'} {path}" for path in done.files]
    if not lines:
        lines = [f"Nothing in the DAGs of the working tree uses {name} {old}."]
    elif done.pins:
        lines.append("Pins have changed: run `dbt-cicd job lock`.")
    show({**done.document(), "dry_run": dry_run}, "\n".join(lines), output_format)


@click.command(name="deprecate")
@click.argument("name")
@click.argument("version")
@click.option(
    "--until",
    required=True,
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="The last day that it may be used: 2026-12-31.",
)
@_dry_run
@project_options
def deprecate(
    name: str, version: str, until: datetime.datetime, dry_run: bool, project: Project, output_format: str
) -> None:
    """Record in jobs.toml until when VERSION of job NAME may be used.

    `job check` warns of its uses until that day and refuses them after it. Another call moves the day.

    Example: dbt-cicd job deprecate my_job 0.1.0 --until 2026-12-31
    """
    from dbt_cicd_toolkit.jobs import retire
    from dbt_cicd_toolkit.jobs.adoption import adoption as read
    from dbt_cicd_toolkit.jobs.number import Number

    number = Number.parse(version, "VERSION")
    changes = retire.deprecate(project, name, number, until.date(), dry_run=dry_run)
    uses = [use for use in read(project, name, number).uses if use.version]
    verb = ("would be" if dry_run else "is") if changes else "was already"
    lines = [f"{name} {number} {verb} deprecated: it may be used until {until:%Y-%m-%d}."]
    lines += ["It is used by:", *(f"  {use.said()}" for use in uses)] if uses else []
    value = {"job": name, "version": str(number), "until": f"{until:%Y-%m-%d}", "changed": changes}
    show(
        {**value, "uses": [use.document() for use in uses], "dry_run": dry_run},
        "\n".join(lines),
        output_format,
    )


@click.command(name="remove")
@click.argument("name")
@click.argument("version")
@click.option("--despite-unknown", is_flag=True, help="Remove it though some imports cannot be read.")
@click.option("--no-ledger", is_flag=True, help="Do not ask the ledger which environments have it.")
@_dry_run
@ledger_options
@project_options
def remove(
    name: str,
    version: str,
    despite_unknown: bool,
    no_ledger: bool,
    dry_run: bool,
    ledger: Ledger,
    project: Project,
    output_format: str,
) -> None:
    """Delete the files of VERSION of job NAME, and record that in jobs.toml. You commit it.

    Refused while anything uses it, with file, line, environment and branch of each use: imports, texts, YAML and JSON,
    jobs.lock, what the ledger has as live, and every other branch of this clone; and before the day that
    `job deprecate` said has passed.

    Example: dbt-cicd job remove my_job 0.1.0
    """
    from dbt_cicd_toolkit.jobs import retire
    from dbt_cicd_toolkit.jobs.number import Number

    number = Number.parse(version, "VERSION")
    dbt = None if no_ledger else ledger.find(project.root)
    done = retire.remove(project, name, number, dbt, despite_unknown=despite_unknown, dry_run=dry_run)
    for warning in done.warnings:
        click.echo(f"warning: {warning}", err=True)
    verb = "would delete" if dry_run else "deleted"
    lines = [f"{verb} {path}" for path in done.files]
    lines += [] if dry_run else ["Recorded in jobs.toml. Commit both."]
    show({**done.document(), "dry_run": dry_run}, "\n".join(lines), output_format)


@click.command(name="accept")
@click.argument("module")
@click.option("--reason", required=True, help="Why the change does no harm to the frozen versions.")
@_dry_run
@project_options
def accept(module: str, reason: str, dry_run: bool, project: Project, output_format: str) -> None:
    """Record in jobs.toml that a shared MODULE may be as it is now under the frozen versions that reach it.

    Its next change must be accepted anew.

    Example: dbt-cicd job accept dwh.common --reason "only a log message"
    """
    from dbt_cicd_toolkit.jobs import retire

    accepted = retire.accept(project, module, reason, dry_run=dry_run)
    text = f"{module} {'would be' if dry_run else 'is'} accepted as it is ({accepted[:12]})."
    show({"module": module, "hash": accepted, "reason": reason, "dry_run": dry_run}, text, output_format)
