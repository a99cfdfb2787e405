"""``dbt-cicd job init | new | new-version | release | maintenance | backport | sync | notes``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dbt_cicd_toolkit.cli.options import output_options, repository_option, show

if TYPE_CHECKING:
    from dbt_cicd_toolkit.jobs.create import Made
    from dbt_cicd_toolkit.jobs.project import Project
    from dbt_cicd_toolkit.jobs.release import Released

Command = TypeVar("Command", bound=Callable[..., Any])
_BUMP = "major, minor, patch or the number itself. Without: minor on main, patch on a maintenance line."
_DRY_RUN = click.option("--dry-run", is_flag=True, help="Change nothing; show what would be done.")


def project_options(command: Command) -> Command:
    """Add ``--project-dir`` and the output options; passes ``project``.

    A command that writes (it has ``--dry-run``, and that is not given) first ends what an interrupted one left; others
    tell of it."""

    @functools.wraps(command)
    def with_project(directory: Path, **others: Any) -> Any:
        from dbt_cicd_toolkit.jobs.journal import pending
        from dbt_cicd_toolkit.jobs.project import Project
        from dbt_cicd_toolkit.jobs.writer import recover

        project = Project.find(directory)
        if others.get("dry_run", True):
            if what := pending(project):
                click.echo(f"warning: the {what} was interrupted; the next command that writes ends it", err=True)
        elif said := recover(project):
            click.echo(f"dbt-cicd job: {said}", err=True)
            project = Project.find(directory)
        return command(project=project, **others)

    wrapped: Any = output_options(repository_option(with_project))
    result: Command = wrapped
    return result


def _show_made(made: Made, what: str, dry_run: bool, output_format: str) -> None:
    value = {
        "version": str(made.version),
        "files": made.files,
        "renamed_from": str(made.moved) if made.moved else None,
        "hints": made.hints,
        "dry_run": dry_run,
    }
    lines = [f"{what}{' (dry run: nothing was written)' if dry_run else ''}", *[f"  {each}" for each in made.files]]
    if made.moved:
        lines.append(f"The open folder {made.moved.folder} is {made.version.folder} now.")
    lines += [f"Note: {each}." for each in made.hints]
    show(value, "\n".join(lines), output_format)


@click.command()
@click.argument("package")
@_DRY_RUN
@repository_option
@output_options
def init(package: str, directory: Path, dry_run: bool, output_format: str) -> None:
    """Lay out versions of jobs in PACKAGE/jobs: VERSION, jobs.toml, changes/, releases/.

    Example: dbt-cicd job init dwh
    """
    from dbt_cicd_toolkit.jobs import create

    made = create.init(directory, package, dry_run=dry_run)
    _show_made(
        made, f"Jobs will be in {package.replace('.', '/')}/jobs. VERSION {made.version}.", dry_run, output_format
    )


@click.command()
@click.argument("name")
@click.option("--bump", metavar="PART", help=_BUMP)
@_DRY_RUN
@project_options
def new(project: Project, name: str, bump: str | None, dry_run: bool, output_format: str) -> None:
    """Write a job into the open folder, that of the next release.

    Example: dbt-cicd job new load_customers
    """
    from dbt_cicd_toolkit.jobs import create

    made = create.new(project, name, bump, dry_run=dry_run)
    _show_made(made, f"New job {name}, to be released as {made.version}.", dry_run, output_format)


@click.command("new-version")
@click.argument("name")
@click.option("--bump", metavar="PART", help=_BUMP)
@_DRY_RUN
@project_options
def new_version(project: Project, name: str, bump: str | None, dry_run: bool, output_format: str) -> None:
    """Copy the newest version of a job into the open folder, with the helpers beside it that it imports.

    A larger --bump renames the open folder, and what imports it.

    Example: dbt-cicd job new-version load_customers --bump major
    """
    from dbt_cicd_toolkit.jobs import create

    made = create.new_version(project, name, bump, dry_run=dry_run)
    _show_made(made, f"New version of {name}, to be released as {made.version}.", dry_run, output_format)


class _ReleaseGroup(click.Group):
    """`release`, which takes a number, besides `release tag` and `release push`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = ["make", *args]
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, each.get_short_help_str(100)) for name, each in self.commands.items()])


@click.group(cls=_ReleaseGroup)
def release() -> None:
    """Release what is open: `release [VERSION]` is `release make [VERSION]`.

    Example: dbt-cicd job release && dbt-cicd job release push
    """


def _show_released(made: Released, text: str, dry_run: bool, output_format: str) -> None:
    from dbt_cicd_toolkit.jobs.release import summary

    show(summary(made, dry_run=dry_run), text, output_format)


@release.command()
@click.argument("version", required=False)
@click.option("--no-tag", is_flag=True, help="Only commit: for a branch that is merged; then `release tag`.")
@click.option("-m", "--message", help="Message of the commit. Without: Release <version>.")
@_DRY_RUN
@project_options
def make(
    project: Project, version: str | None, no_tag: bool, message: str | None, dry_run: bool, output_format: str
) -> None:
    """Commit and tag the release of the open folder. VERSION asserts its number, and is needed when nothing is open."""
    from dbt_cicd_toolkit.jobs import state
    from dbt_cicd_toolkit.jobs.number import Number
    from dbt_cicd_toolkit.jobs.release import release as run
    from dbt_cicd_toolkit.overview import heads

    wanted = Number.parse(version, "job release") if version else None
    made = run(project, wanted, tag=not no_tag, message=message, dry_run=dry_run, beside=heads(project.root))
    jobs = f": {state.some(made.jobs)}" if made.jobs else ""
    if dry_run:
        lines = [f"{made.version} would be released on {made.branch}{jobs}", *[f"  {each}" for each in made.files]]
        lines += ["", made.notes.rstrip()]
    else:
        lines = [f"Released {made.version} on {made.branch}{jobs}", f"Commit {str(made.commit)[:12]}"]
        lines[1] += f", tag {made.tag}" if made.tag else ", no tag"
        after = "dbt-cicd job release push" if made.tag else "after the merge: dbt-cicd job release tag"
        lines += [f"Note: {each}" for each in made.hints]
        lines.append(f"Next: {after}")
    _show_released(made, "\n".join(lines), dry_run, output_format)


@release.command()
@_DRY_RUN
@project_options
def tag(project: Project, dry_run: bool, output_format: str) -> None:
    """Tag the last release after it was merged, squashed or not, from a branch that made it with --no-tag."""
    from dbt_cicd_toolkit.jobs import release as library

    made = library.tag(project, dry_run=dry_run)
    text = f"{'Would tag' if dry_run else 'Tagged'} {str(made.commit)[:12]} as {made.tag}."
    _show_released(made, f"{text}\nNext: dbt-cicd job release push", dry_run, output_format)


@release.command()
@click.option("--remote", help="Where to. Without: the remote of the branch, else origin.")
@_DRY_RUN
@project_options
def push(project: Project, remote: str | None, dry_run: bool, output_format: str) -> None:
    """Push the branch and the tag of its last release: both, or none."""
    from dbt_cicd_toolkit.jobs import push as library

    value = library.push(project, remote, dry_run=dry_run)
    text = f"{'Would push' if dry_run else 'Pushed'} {value['branch']} and {value['tag']} to {value['remote']}."
    show({**value, "dry_run": dry_run}, text, output_format)


@click.group()
def maintenance() -> None:
    """Branches that keep an older line of releases patched.

    Example: dbt-cicd job maintenance start 0.1.0
    """


@maintenance.command()
@click.argument("version")
@_DRY_RUN
@project_options
def start(project: Project, version: str, dry_run: bool, output_format: str) -> None:
    """Make the branch VERSION-maintenance at the tag of that release. The checkout stays as it is."""
    from dbt_cicd_toolkit.jobs import maintenance as library
    from dbt_cicd_toolkit.jobs.number import Number

    made = library.start(project, Number.parse(version, "job maintenance start"), dry_run=dry_run)
    lines = [f"{'Would make' if dry_run else 'Made'} branch {made.branch} at {made.last.tag} ({made.commit[:12]})."]
    lines += [f"Note: {each}." for each in made.hints]
    lines.append(f"Next: git push --set-upstream origin {made.branch}; git switch {made.branch}")
    show({**made.value(), "dry_run": dry_run}, "\n".join(lines), output_format)


@maintenance.command("list")
@project_options
def maintenance_list(project: Project, output_format: str) -> None:
    """Every maintenance branch, its last release, and what main has not got of it."""
    from dbt_cicd_toolkit import report
    from dbt_cicd_toolkit.jobs import maintenance as library

    found = library.listed(project)
    head = ("BRANCH", "LAST RELEASE", "OPEN", "UNRELEASED COMMITS", "NOT SYNCED")
    rows = [
        (
            each.branch + ("" if each.local else " (remote)"),
            str(each.last),
            str(each.open or "—"),
            str(each.ahead),
            ", ".join(map(str, each.unsynced)) or "—",
        )
        for each in found
    ]
    text = report.table(head, rows, output_format) if rows else "There are no maintenance branches."
    show({"branches": [each.value() for each in found]}, text, output_format)


@click.command()
@click.argument("commit")
@click.argument("version")
@click.option(
    "--worktree",
    type=click.Path(path_type=Path),
    help="Where to work. Without: beside the repository, called after it and the line.",
)
@_DRY_RUN
@project_options
def backport(
    project: Project, commit: str, version: str, worktree: Path | None, dry_run: bool, output_format: str
) -> None:
    """Bring COMMIT to the maintenance line of VERSION: its version folder becomes the open folder there.

    Works in a working tree of its own, which stays only when there are conflicts for you to resolve.

    Example: dbt-cicd job backport 1a2b3c4 0.1.0
    """
    from dbt_cicd_toolkit.jobs import backport as library
    from dbt_cicd_toolkit.jobs.number import Number

    made = library.backport(project, commit, Number.parse(version, "job backport"), worktree, dry_run=dry_run)
    verb = "Would bring" if dry_run else "Brought"
    lines = [f"{verb} {made.source[:12]} to {made.branch}, into {made.folder or 'shared files only'}."]
    lines += [f"  {each}" for each in made.files]
    lines += [f"Note: {each}." for each in made.hints]
    lines.append(f"Next: {made.following}")
    show({**made.value(), "dry_run": dry_run}, "\n".join(lines), output_format)


@click.command()
@click.argument("version")
@click.option("-m", "--message", help="Message of the commit. Without: Sync <version>.")
@_DRY_RUN
@project_options
def sync(project: Project, version: str, message: str | None, dry_run: bool, output_format: str) -> None:
    """Bring folder, manifest and notes of a release of a maintenance line to main: one commit that only adds them.

    Example: dbt-cicd job sync 0.1.1
    """
    from dbt_cicd_toolkit.jobs import sync as library
    from dbt_cicd_toolkit.jobs.number import Number

    made = library.sync(project, Number.parse(version, "job sync"), message, dry_run=dry_run)
    verb = f"Would add {made.version} to" if dry_run else f"Added {made.version} to"
    lines = [f"{verb} {made.branch}{f', commit {made.commit[:12]}' if made.commit else ''}"]
    lines += [f"  {each}" for each in made.files]
    lines += [f"Note: {each}." for each in made.hints()]
    show({**made.value(), "dry_run": dry_run}, "\n".join(lines), output_format)


@click.command()
@project_options
def notes(project: Project, output_format: str) -> None:
    """Notes of the open release, then those of every release of every line, the highest first.

    Example: dbt-cicd job notes --output-format markdown
    """
    from dbt_cicd_toolkit.jobs import notes as library

    opened = library.opened(project)
    pages = library.pages(project)
    texts = [opened.text] if opened else []
    texts += [
        each.text
        if each.here
        else f"{each.text.rstrip()}\n\n(Not on this branch: `dbt-cicd job sync {each.version}`.)\n"
        for each in pages
    ]
    value = {
        "open": {"version": str(opened.version) if opened.version else None, "text": opened.text} if opened else None,
        "releases": [{"version": str(each.version), "text": each.text, "here": each.here} for each in pages],
    }
    show(value, "\n".join(texts).rstrip() or "There are no notes yet.", output_format)
