"""``dbt-cicd db``, also ``scripts/db_version_manager.py``: git for databases."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dbt_cicd_toolkit.cli.console import Console, answer
from dbt_cicd_toolkit.cli.options import Connection, Seconds, connection_options, option, output_options
from dbt_cicd_toolkit.errors import InvalidInput

if TYPE_CHECKING:
    from dbt_cicd_toolkit.db.files import Version
    from dbt_cicd_toolkit.db.project import Project

Command = TypeVar("Command", bound=Callable[..., Any])


def database_options(command: Command) -> Command:
    """Add the options that say which folder and which database are meant; passes ``project``."""

    @functools.wraps(command)
    def with_project(directory: Path, connection: Connection, **others: Any) -> Any:
        from dbt_cicd_toolkit.db.places import Layout
        from dbt_cicd_toolkit.db.project import Project

        project = Project(Layout(directory), connection.options, connection.role, connection.embedded)
        return command(project=project, **others)

    wrapped: Any = _DIRECTORY(connection_options(with_project))
    result: Command = wrapped
    return result


_DIRECTORY = option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    default="database",
    show_default=True,
    help="Folder of migrations/, rollback/ …",
)


def version(text: str | None) -> Version | None:
    """A version given as an option."""
    from dbt_cicd_toolkit.db.files import Version

    return Version.parse(text.removeprefix("V")) if text is not None else None


@click.group()
def command() -> None:
    """Git for databases: migrations with rollbacks, snapshots, drift, for PostgreSQL.

    The database is that of --host, --port, --dbname, --user; else DB_HOST, DB_PORT, DB_NAME, DB_USER, DB_PASSWORD; else
    PGSERVICE, PGHOST … and ~/.pgpass; else .env; else database/config/db_config.yaml; else localhost, 5432, one_vault,
    postgres.
    """


@command.command()
@click.option("--sample", is_flag=True, help="Add the first migration of the guide, V1.0.0__Initial_Foundation.sql.")
@database_options
@output_options
def init(sample: bool, project: Project, output_format: str) -> None:
    """Lay out database/ with its folders, tools, settings and guides; what is there already stays as it is.

    With --embedded every later command uses a PostgreSQL of the project's own.

    Example: dbt-cicd db init --sample --embedded
    """
    from dbt_cicd_toolkit.db.layout import init as lay_out
    from dbt_cicd_toolkit.postgres.settings import parse_url

    given = {name: value for name, value in project.options.items() if value}
    given = {**(parse_url(given.pop("url"), "option --url") if "url" in given else {}), **given}
    if project.role:
        raise InvalidInput(f"init: --role is not written into the config file: write `role: {project.role}` there.")
    made = lay_out(project.layout, sample=sample, embedded=project.embedded, connection=given or None)
    lines = [f"📄 {path}" for path in made.created] + [f"   {path} is there already" for path in made.kept]
    value = {"created": list(map(str, made.created)), "kept": list(map(str, made.kept)), "notes": list(made.notes)}
    answer(value, "\n".join([*lines, *made.notes]), output_format)


@command.command()
@click.option("--drift", is_flag=True, help="Also compare every object with what the last run recorded.")
@click.option("--rebuild", is_flag=True, help="With --drift: with what the migrations make of a scratch database.")
@click.option("--scratch-url", help="The server of the scratch database, without a password.")
@database_options
@output_options
def status(drift: bool, rebuild: bool, scratch_url: str | None, project: Project, output_format: str) -> int:
    """Show the current version, the schemas with their tables, and what is pending, failed, late or broken.

    Example: dbt-cicd db status --drift
    """
    from dbt_cicd_toolkit.db import report
    from dbt_cicd_toolkit.db import status as module

    if (rebuild and not drift) or (scratch_url and not rebuild):
        raise InvalidInput("status: --rebuild goes with --drift, and --scratch-url with --rebuild.")
    with project.connect("status") as session:
        run = project.run(session, Console(output_format))
        found = module.status(run, drift=drift and not rebuild)
        if rebuild:
            from dbt_cicd_toolkit.db.rebuild import compare

            comparison = compare(project, run, scratch_url)
            found = found._replace(drift=[f"{one.kind}: {one.identity}" for one in comparison.changes])
            if comparison.changes:
                click.echo(comparison.text, err=True)
    value = {"success": not found.drift, **found.document()}
    answer(value, report.status(found, output_format), output_format)
    return 3 if found.drift else 0


@command.command()
@click.argument("version_", metavar="VERSION")
@click.argument("description", default="")
@database_options
@output_options
def create(version_: str, description: str, project: Project, output_format: str) -> None:
    """Make the two files of a new migration: forward and rollback.

    Example: dbt-cicd db create 1.1.0 "Add customer analytics"
    """
    from dbt_cicd_toolkit.db.create import create as make

    forward, back = make(project.layout, version_, description)
    text = f"📄 {forward} (forward migration)\n↩️ {back} (rollback script)"
    answer({"migration": str(forward), "rollback": str(back)}, text, output_format)


@command.command()
@click.option(
    "--dry-run",
    is_flag=False,
    flag_value="plan",
    type=click.Choice(["plan", "execute"]),
    help="plan: say what would be executed and check its syntax; execute: run it in a scratch database.",
)
@click.option(
    "--on-target",
    is_flag=True,
    help="With --dry-run=execute: the next one on the database itself, rolled back at the end.",
)
@click.option("--scratch-url", help="With --dry-run=execute: the server of the scratch database, without a password.")
@click.option("--to", help="Apply nothing above this version.")
@click.option("--out-of-order", is_flag=True, help="Apply migrations that are older than the latest applied one too.")
@click.option("--wait", type=Seconds(), help="Seconds to wait for another run, and for locked tables.")
@database_options
@output_options
def migrate(
    dry_run: str | None,
    on_target: bool,
    scratch_url: str | None,
    to: str | None,
    out_of_order: bool,
    wait: float | None,
    project: Project,
    output_format: str,
) -> int:
    """Apply the pending migrations, each in one transaction.

    Example: dbt-cicd db migrate --dry-run
    """
    from dbt_cicd_toolkit.db.migrate import migrate as apply

    if (on_target or scratch_url) and dry_run != "execute":
        raise InvalidInput("migrate: --on-target and --scratch-url go with --dry-run=execute.")
    if dry_run:
        from dbt_cicd_toolkit.db import report
        from dbt_cicd_toolkit.db.rehearse import dry_run as rehearse

        found = rehearse(
            project,
            Console(output_format),
            to=version(to),
            out_of_order=out_of_order,
            execute=dry_run == "execute",
            on_target=on_target,
            scratch_url=scratch_url,
        )
        answer(found.document(), report.dry_run(found, output_format), output_format)
        return 0
    with Console(output_format).running() as console, project.connect("migrate", wait) as session:
        run = project.run(session, console)
        done = apply(run, to=version(to), out_of_order=out_of_order)
    text = "" if done else "✅ Nothing to do: no migration is pending"
    if output_format == "markdown":
        text = "\n".join([f"{len(done)} migrations applied", "", *[f"- {one.script}" for one in done]])
    answer({"applied": [{"version": one.label, "script": one.script} for one in done]}, text, output_format)
    return 0


@command.command()
@click.option("--steps", type=click.IntRange(min=1), help="Take this many migrations back; one unless told.")
@click.option("--to", help="Take everything behind this version back; 0: everything.")
@click.option("--allow-data-loss", is_flag=True, help="Do it even if rows are lost.")
@click.option("--dry-run", is_flag=True, help="Say what would be executed, and change nothing.")
@click.option("--wait", type=Seconds(), help="Seconds to wait for another run, and for locked tables.")
@database_options
@output_options
def rollback(
    steps: int | None,
    to: str | None,
    allow_data_loss: bool,
    dry_run: bool,
    wait: float | None,
    project: Project,
    output_format: str,
) -> None:
    """Take the last migration back, or several, each in one transaction with its rollback file.

    Example: dbt-cicd db rollback --steps 2
    """
    from dbt_cicd_toolkit.db import rollback as module
    from dbt_cicd_toolkit.db.proofs import proofs

    if steps is not None and to is not None:
        raise InvalidInput("rollback: --steps and --to exclude each other.")
    with Console(output_format, "Rolled back").running() as console, project.connect("rollback", wait) as session:
        run = project.run(session, console)
        if dry_run:
            run.applied = run.history.read()
            undo = module.plan(run, steps=steps, to=version(to))
            lines = ["🧪 DRY RUN MODE", *[f"   📋 Would execute: {one.path.name}" for one in undo]]
        else:
            known = functools.partial(proofs, project, run)
            undo = module.rollback(run, steps=steps, to=version(to), allow_data_loss=allow_data_loss, proofs=known)
            lines = [] if undo else ["✅ Nothing to do: the database has no migration"]
            if output_format == "markdown" and undo:
                lines = ["Rolled back:", "", *[f"- {one.path.name}" for one in undo]]
    rows = [{"version": str(one.version), "script": one.path.name} for one in undo]
    answer({"dry_run": dry_run, "rolled_back": rows}, "\n".join(lines), output_format)


@command.command()
@database_options
@output_options
def history(project: Project, output_format: str) -> None:
    """Show all that was done to the database, oldest first.

    Example: dbt-cicd db history --json
    """
    from dbt_cicd_toolkit.db import report
    from dbt_cicd_toolkit.db.status import timeline

    with project.connect("history") as session:
        events = timeline(project.run(session, Console(output_format)))
    answer({"events": events}, report.history(events, output_format), output_format)


@command.command()
@database_options
@output_options
def validate(project: Project, output_format: str) -> None:
    """Check every file, and that folder, history and database agree; tells all that is wrong at once.

    Example: dbt-cicd db validate
    """
    from dbt_cicd_toolkit.db.validate import validate as check

    with project.connect("validate") as session:
        checked = check(project.run(session, Console(output_format)))
    answer({"files": checked}, f"✅ {checked} files agree with the history", output_format)


@command.command()
@click.option("--edited", multiple=True, metavar="VERSION", help="Accept the file of this version as it is now.")
@click.option(
    "--deleted", multiple=True, metavar="VERSION", help="Let the history forget a version whose file is gone."
)
@click.option("--drift", is_flag=True, help="Accept the database as it is now.")
@click.option(
    "--statement", multiple=True, metavar="SCRIPT:NUMBER=done|again", help="Decide what became of a statement."
)
@click.option("--abandon", multiple=True, metavar="SCRIPT", help="Never finish this script; what it did stays.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@database_options
@output_options
def repair(
    edited: tuple[str, ...],
    deleted: tuple[str, ...],
    drift: bool,
    statement: tuple[str, ...],
    abandon: tuple[str, ...],
    dry_run: bool,
    project: Project,
    output_format: str,
) -> None:
    """Mend what you have decided on; without options say what needs a decision.

    Example: dbt-cicd db repair --edited 1.1.0
    """
    from dbt_cicd_toolkit.db import repair as module
    from dbt_cicd_toolkit.db.files import Version
    from dbt_cicd_toolkit.db.validate import validate as check

    asked = module.Repairs(
        edited=[Version.parse(text) for text in edited],
        deleted=[Version.parse(text) for text in deleted],
        drift=drift,
        statements=[module.parse_statement(text) for text in statement],
        abandon=abandon,
    )
    with project.connect("repair") as session:
        run = project.run(session, Console(output_format))
        if not asked:
            check(run)
            answer({"repaired": []}, "✅ Nothing needs a repair", output_format)
            return
        done = module.repair(run, asked, dry_run=dry_run)
    lines = [f"would have {line}" for line in done] if dry_run else done
    answer({"dry_run": dry_run, "repaired": done}, "\n".join(lines), output_format)


@command.command()
@click.argument("version_", metavar="VERSION", required=False)
@click.option("--from-flyway", metavar="SCHEMA.TABLE", help="Take over the history of Flyway in this table instead.")
@database_options
@output_options
def baseline(version_: str | None, from_flyway: str | None, project: Project, output_format: str) -> None:
    """Say which version a database has that was not made by migrations.

    Example: dbt-cicd db baseline 1.0.0
    """
    from dbt_cicd_toolkit.db import baseline as module

    wanted = version(version_)
    if (wanted is None) == (from_flyway is None):
        raise InvalidInput("baseline: give a VERSION, or --from-flyway SCHEMA.TABLE.")
    with project.connect("baseline") as session:
        run = project.run(session, Console(output_format))
        if from_flyway is not None:
            number = module.import_flyway(run, from_flyway)
            answer({"imported": number}, f"✅ {number} migrations taken over from {from_flyway}", output_format)
        elif wanted is not None:
            new = module.baseline(run, wanted)
            text = (
                f"✅ The database counts as {wanted}" if new else f"✅ Nothing to do: the baseline is {wanted} already"
            )
            answer({"baseline": str(wanted), "recorded": new}, text, output_format)


@command.command()
@click.argument("version_", metavar="VERSION")
@database_options
@output_options
def snapshot(version_: str, project: Project, output_format: str) -> None:
    """Write the structure of the database to schema_snapshots/schema_v<VERSION>.sql and schema_current.sql.

    Example: dbt-cicd db snapshot 1.1.0
    """
    from dbt_cicd_toolkit.db.files import Version
    from dbt_cicd_toolkit.db.snapshots import snapshot as write

    wanted = Version.parse(version_)
    with project.connect("snapshot") as session:
        made = write(project, project.run(session, Console(output_format)), wanted)
    text = f"📸 Creating schema snapshot: {made.path}"
    answer({"snapshot": str(made.path), "current": str(made.current), "changed": made.changed}, text, output_format)


@command.command()
@click.argument("a")
@click.argument("b", default="live")
@database_options
@output_options
def diff(a: str, b: str, project: Project, output_format: str) -> int:
    """Compare two snapshots, or one with the database: each is a version, a file, `current` or `live`.

    Ends with 3 when they differ.

    Example: dbt-cicd db diff 1.0.0 1.1.0
    """
    from dbt_cicd_toolkit.db import report
    from dbt_cicd_toolkit.db.snapshots import LIVE
    from dbt_cicd_toolkit.db.snapshots import diff as compare

    console = Console(output_format)
    if LIVE in (a, b):
        with project.connect("diff") as session:
            found = compare(project, project.run(session, console), a, b, tell=console.tell)
    else:
        found = compare(project, None, a, b, tell=console.tell)
    changes = [{"identity": change.identity, "kind": change.kind} for change in found.changes]
    value = {"success": not found.changes, "a": found.a, "b": found.b, "changes": changes, "diff": found.text}
    answer(value, report.comparison(found, output_format), output_format)
    return 3 if found.changes else 0


@command.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@database_options
@output_options
def lint(paths: tuple[Path, ...], project: Project, output_format: str) -> int:
    """Warn of migrations that lock or lose, and of names that break the rules; all files unless some are named.

    Example: dbt-cicd db lint database/migrations/V1.1.0__Add_customer_analytics.sql
    """
    from dbt_cicd_toolkit.db import report
    from dbt_cicd_toolkit.db.lint import lint as check

    folder = project.folder
    every = [one.path for one in (*folder.versioned, *folder.repeatable)] + list(map(Path, folder.rollbacks.values()))
    found = check(paths or every, project.config.lint)
    value = {"success": not found, "files": len(paths or every), "findings": report.findings_document(found)}
    answer(value, report.findings(found, len(paths or every), output_format), output_format)
    return 1 if found else 0


@command.command()
@click.option("--all", "again", is_flag=True, help="Also what was proven before and has not changed since.")
@click.option("--scratch-url", help="The server of the scratch database, without a password.")
@database_options
@output_options
def verify(again: bool, scratch_url: str | None, project: Project, output_format: str) -> int:
    """Prove every rollback in a scratch database with a row in every table: up, down, up, catalogs compared.

    Example: dbt-cicd db verify
    """
    from dbt_cicd_toolkit.db import report
    from dbt_cicd_toolkit.db.verify import verify as prove

    with Console(output_format, "Tried", report=True).running() as console, project.connect("verify") as session:
        found = prove(project, console, run=project.run(session, console), again=again, scratch_url=scratch_url)
    answer({"success": found.ok, **found.document()}, report.verification(found, output_format), output_format)
    return 0 if found.ok else 1
