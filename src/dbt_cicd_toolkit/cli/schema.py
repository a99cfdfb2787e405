"""``dbt-cicd schema``: objects as source files, releases, upgrades."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dbt_cicd_toolkit.cli.options import Connection, Seconds, connection_options, output_options, show

if TYPE_CHECKING:
    from dbt_cicd_toolkit.postgres.session import Session
    from dbt_cicd_toolkit.schema.project import Project
    from dbt_cicd_toolkit.schema.upgrade import Done, Reference

_NO_DIFF = [
    "To see what differs, give it a server to make the release on: pip install 'dbt_cicd_toolkit[embedded]', or "
    "--scratch-url."
]
Command = TypeVar("Command", bound=Callable[..., Any])


def project_options(command: Command) -> Command:
    """Add the options that say which folder and which database are meant; passes ``project``."""

    @functools.wraps(command)
    def with_project(
        directory: Path, connection: Connection, scratch_url: str | None, wait: float, **others: Any
    ) -> Any:
        from dbt_cicd_toolkit.schema.project import Project

        project = Project(
            directory,
            connection.options,
            connection.role,
            connection.embedded,
            scratch_url,
            wait=wait,
        )
        return command(project=project, **others)

    wrapped: Any = connection_options(with_project)
    wrapped = click.option(
        "--wait",
        type=Seconds(),
        default=300,
        show_default=True,
        help="Seconds to wait for another run, and for locks.",
    )(wrapped)
    wrapped = click.option("--scratch-url", help="A server to make scratch databases on.")(wrapped)
    result: Command = click.option(
        "--dir",
        "directory",
        type=click.Path(file_okay=False, path_type=Path),
        default="schema",
        show_default=True,
        help="Folder of objects/, schema.hist, schema.delta and releases/.",
    )(wrapped)
    return result


def tell(text: str) -> None:
    """Why something takes longer, on stderr."""
    click.echo(f"   {text}", err=True)


class SeedGroup(click.Group):
    """A group that knows the spellings of Wyseman, too: -g "TABLE OPERATION …" and --release=LABEL."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for short, long, name in (("-g", "--migrate", "delta"), ("-r", "--release", "release")):
            for place, argument in enumerate(args):
                if argument in (short, long):
                    args = [name, *args[:place], *args[place + 1 :]]
                    break
                if argument.startswith(f"{long}="):
                    args = [name, *args[:place], argument.partition("=")[2], *args[place + 1 :]]
                    break
        return super().parse_args(ctx, args)


@click.group(cls=SeedGroup)
def command() -> None:
    """Objects of a PostgreSQL database as source files; releases; upgrades from any release to any later one.

    The spellings of Wyseman work, too: -g "myschema.mytable add email 'text' ''" and --release=1.2.0.
    """


@command.command()
@click.option("--schemas", default="", help="PostgreSQL schemas that it manages, with commas.")
@click.option("--module", default=None, help="Name of the module; the folder's unless told.")
@click.option(
    "--from-wyseman",
    "wyseman",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Take over the objects of a schema file of Wyseman (schema-2.json).",
)
@project_options
@output_options
def init(schemas: str, module: str | None, wyseman: Path | None, project: Project, output_format: str) -> None:
    """Lay out schema/ with objects/, releases/, schema.hist and schema.delta.

    Example: dbt-cicd schema init --schemas business,util
    """
    from dbt_cicd_toolkit.schema.adopt import from_wyseman
    from dbt_cicd_toolkit.schema.project import init as lay_out

    names = [name.strip() for name in schemas.split(",") if name.strip()]
    if wyseman:
        paths = from_wyseman(project, wyseman, names, module)
    else:
        paths = lay_out(project, names, module or project.root.name)
    made = [str(path) for path in paths]
    _show({"made": made}, "\n".join(made), output_format)


@command.command()
@project_options
@output_options
def repair(project: Project, output_format: str) -> None:
    """Make schema.hist, release files and released lines that are missing or damaged again, out of the others.

    Example: dbt-cicd schema repair
    """
    from dbt_cicd_toolkit.schema.repair import repair as run

    with project.exclusive():
        made = run(project)
    _show({"made": made}, "\n".join(made) or "Every file is as it was written.", output_format)


@command.command()
@click.argument("words", metavar='"TABLE OPERATION …"', nargs=-1, required=True)
@project_options
@output_options
def delta(words: Sequence[str], project: Project, output_format: str) -> None:
    """Declare a change of a table that its source cannot tell; `list` and `pop` show and take back what is open.

    Example: dbt-cicd schema delta "myschema.mytable add email 'text' ''"
    """
    from dbt_cicd_toolkit.schema import deltas

    with project.exclusive():
        lines, text = deltas.command(project, words)
    _show({"deltas": lines}, text, output_format)


@command.command()
@click.argument("label")
@click.option("--dry-run", is_flag=True, help="Show the transition, write nothing.")
@project_options
@output_options
def release(label: str, dry_run: bool, project: Project, output_format: str) -> None:
    """Make a release of the sources: install them in a scratch database, work out how the release before becomes it.

    Example: dbt-cicd schema release 1.2.0
    """
    from dbt_cicd_toolkit.schema.release import release as make

    with project.exclusive():
        made = make(project, label, tell, dry_run=dry_run)
    path = project.release_file(made)
    value = {
        "release": made.number,
        "label": made.label,
        "apart": made.apart,
        "file": str(path),
        "steps": asdict(made)["steps"],
    }
    steps = "".join(
        f"{'' if major == next(iter(made.steps)) else f'on PostgreSQL {major} and later:' + chr(10)}{_steps(each)}"
        for major, each in made.steps.items()
    )
    apart = "uses a new value of an enum: an upgrade from further back commits the releases before it first\n"
    text = f"release {made.number}, {made.label}: {path}\n{apart if made.apart else ''}{steps}"
    _show(value, text.rstrip(), output_format)


@command.command()
@click.option("--to", "label", help="The release; the newest unless told.")
@project_options
@output_options
def install(label: str | None, project: Project, output_format: str) -> None:
    """Make all objects of a release in a database that has none of them.

    Example: dbt-cicd schema install --to 1.0.0
    """
    from dbt_cicd_toolkit.schema.upgrade import install as run

    history = project.released(label)
    with _session(project, "install") as session:
        done = run(session, history, _reference(project), tell, make_roles=project.embedded)
    _show_done(done, output_format)


@command.command()
@click.option("--to", "label", help="The release; the newest unless told.")
@click.option("--strict", is_flag=True, help="Refuse a database that has more than its release.")
@click.option("--dry-run", is_flag=True, help="The same as `plan`: show what would be done.")
@project_options
@output_options
def upgrade(label: str | None, strict: bool, dry_run: bool, project: Project, output_format: str) -> None:
    """Take a database from the release it has to a later one, in one transaction.

    Example: dbt-cicd schema upgrade --to 1.2.0
    """
    if dry_run:
        return _show_plan(project, None, label, output_format)
    from dbt_cicd_toolkit.schema.upgrade import upgrade as run

    history = project.released(label)
    with _session(project, "upgrade") as session:
        done = run(session, history, _reference(project), tell, strict=strict, make_roles=project.embedded)
    _show_done(done, output_format)


@command.command()
@click.option("--from", "start", help="The release to begin at; the database's unless told.")
@click.option("--to", "label", help="The release to end at; the newest unless told.")
@project_options
@output_options
def plan(start: str | None, label: str | None, project: Project, output_format: str) -> None:
    """Show every statement of an upgrade, the tables it writes anew, its locks and the rows in its way; write nothing.

    With --from no database is needed. Example: dbt-cicd schema plan --from 1.0.0 --to 1.2.0
    """
    _show_plan(project, start, label, output_format)


@command.command()
@project_options
@output_options
def status(project: Project, output_format: str) -> None:
    """Show the releases, and what of the sources is not released yet. Looks at files only.

    Example: dbt-cicd schema status
    """
    from dbt_cicd_toolkit.schema.look import status as look

    found = look(project)
    lines = [f"{found.module}: schemas {', '.join(found.schemas)}"]
    lines += [f"release {each['number']}: {each['label']}, {each['date']}" for each in found.releases]
    lines += [f"not released: {place}" for place in found.changed]
    lines += [f"changed or gone: {key}" for key in found.gone]
    lines += [f"delta: {text}" for text in found.deltas]
    if not found.open and found.releases:
        lines.append("The sources are those of the last release.")
    _show(asdict(found), "\n".join(lines), output_format)


@command.command()
@project_options
@output_options
def check(project: Project, output_format: str) -> int:
    """Compare a database with the release it has, and the files with their hashes. Exit code 3 when they differ.

    Example: dbt-cicd schema check
    """
    from dbt_cicd_toolkit.schema.install import described
    from dbt_cicd_toolkit.schema.look import check as look

    if project.history_file.exists():
        history = project.history
        project.verify_files(history)
    else:
        history = project.released()
    with _session(project, "check") as session:
        found = look(session, history, _reference(project), functools.partial(described, project), tell)
    if found is None:
        _show({"release": None}, f"The database has no release of {history.module}.", output_format)
        return 0
    value = {
        "release": found.current.label,
        "differences": found.differences,
        "additions": found.additions,
        "diff": found.diff,
    }
    lines = [f"release {found.current.label}, since {found.current.at} UTC"]
    lines += [f"differs: {line}" for line in found.differences]
    lines += [f"beyond the release: {line}" for line in found.additions]
    lines += _NO_DIFF if found.diff is None else found.diff.splitlines()
    _show({**value, "success": not found.differences}, "\n".join(lines), output_format)
    return 3 if found.differences else 0


@command.command()
@click.argument("name")
@project_options
@output_options
def history(name: str, project: Project, output_format: str) -> None:
    """Show every version of an object, and the releases that have it.

    Example: dbt-cicd schema history business.customer
    """
    from dbt_cicd_toolkit.schema.look import past

    known = project.history
    found = past(known, name)
    labels = {release.number: release.label for release in known.releases}
    lines = [
        f"{each.key}, version {each.version}: {labels[each.first]} to {labels[each.last]}, {each.hash[:12]}"
        for each in found
    ]
    _show({"objects": [asdict(each) for each in found]}, "\n".join(lines), output_format)


@contextmanager
def _session(project: Project, purpose: str) -> Generator[Session]:
    """A session on the database; says which one that is."""
    with project.connect(purpose) as session:
        tell(project.place(session))
        yield session


def _show(value: Mapping[str, Any], text: str, output_format: str) -> None:
    """The document; its lines stay lines in markdown."""
    show(value, f"```text\n{text}\n```" if output_format == "markdown" else text, output_format)


def _reference(project: Project) -> Reference:
    from dbt_cicd_toolkit.schema.install import reference

    return functools.partial(reference, project)


def _statements(number: int) -> str:
    return f"{number} statement{'' if number == 1 else 's'}"


def _steps(steps: Sequence[Any]) -> str:
    return "".join(f"  {step.kind}: {' '.join(step.sql.split())}\n" for step in steps)


def _show_plan(project: Project, start: str | None, label: str | None, output_format: str) -> None:
    from dbt_cicd_toolkit.schema import plan as planning

    known = project.released(label)
    if start is not None:
        made = planning.plan(project, known, project.released().find(start).number, planning.newest_major())
    else:
        with _session(project, "plan") as session:
            number = planning.current(session, known)
            made = planning.plan(project, known, number, session.major)
            planning.ask(made, session, known, _reference(project), tell)
    lines = [f"{made.before} → {made.after}: {_statements(len(made.steps))}"]
    lines += [f"  {release} {step.kind}: {' '.join(step.sql.split())}" for release, step in made.steps]
    lines += [f"commits at {label}: the next needs a value that an enum gets there" for label in made.commits[:-1]]
    lines += [f"written anew: {name}" for name in made.rewrites]
    lines += [f"rows in the way: {rows} break {rule}" for rule, rows in made.rows.items()]
    lines += [f"not known yet: {rule}" for rule in made.unknown]
    lines += [f"an upgrade refuses this database, which is not as it was released: {line}" for line in made.differences]
    allowed = f", of {made.allowed} that the server has room for" if made.allowed else ""
    lines.append(f"locks: {made.locks}{allowed}")
    _show(asdict(made), "\n".join(lines), output_format)


def _show_done(done: Done, output_format: str) -> None:
    before = done.before.label if done.before else None
    value: Mapping[str, Any] = {
        "from": before,
        "release": done.release.label,
        "steps": len(done.steps),
        "additions": list(done.additions),
    }
    if before == done.release.label:
        text = f"The database has release {before} already: nothing to do."
    elif before:
        text = f"{before} → {done.release.label}: {_statements(len(done.steps))}, equal to a fresh installation."
    else:
        text = f"{done.release.label} installed: {_statements(len(done.steps))}."
    _show(value, text, output_format)
