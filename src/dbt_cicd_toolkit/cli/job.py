"""``dbt-cicd job``: the group, whose commands are in the files beside it."""

from __future__ import annotations

import importlib
import importlib.util

import click

from dbt_cicd_toolkit.errors import InvalidInput

# Command: the module that has it as an attribute, with _ for -, loaded when it is used; and one line of help.
COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("job_release", "Lay out versions of jobs in a package."),
    "new": ("job_release", "Write a job into the open folder, that of the next release."),
    "new-version": ("job_release", "Copy the newest version of a job into the open folder."),
    "release": ("job_release", "Commit and tag what is open; `release tag`, `release push`."),
    "maintenance": ("job_release", "Branches that keep an older line patched: start, list."),
    "backport": ("job_release", "Bring a commit to a maintenance line, in a working tree of its own."),
    "sync": ("job_release", "Bring a release of a maintenance line to main."),
    "notes": ("job_release", "Notes of the open release and of every released one."),
    "list": ("job_check", "Jobs, their versions and what state each is in."),
    "check": ("job_check", "Whether what is frozen is as it was, and every rule holds."),
    "adoption": ("job_check", "Which DAG, environment and branch uses which version."),
    "upgrade": ("job_check", "Move the DAGs of the working tree from one version of a job to another."),
    "deprecate": ("job_check", "Say until when a version may be used."),
    "remove": ("job_check", "Delete a version of a job that nobody uses any more."),
    "lock": ("job_run", "Write down which version each pin of a DAG leads to."),
    "resolve": ("job_run", "Which version a pin leads to."),
    "deploy": ("job_run", "Record in the ledger that an environment gets a version."),
    "accept": ("job_check", "Let a shared module change under frozen versions, and say why."),
}
_NEEDED = ("tomlkit", "libcst", "grimp")


class JobGroup(click.Group):
    """A group that lists COMMANDS without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"dbt_cicd_toolkit.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, said) for name, (_, said) in COMMANDS.items()])


@click.group(cls=JobGroup)
def command() -> None:
    """Versions of pipeline jobs side by side: releases, maintenance lines, safe retirement."""
    if missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        raise InvalidInput(f"{', '.join(missing)} is not installed: pip install 'dbt_cicd_toolkit[jobs]'.")
