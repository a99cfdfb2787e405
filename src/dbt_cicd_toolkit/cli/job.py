"""``dbt-cicd job``: the group, whose commands are in the files beside it."""

from __future__ import annotations

import importlib
import importlib.util

import click

from dbt_cicd_toolkit.errors import InvalidInput

# Command: the module that has it as an attribute, with _ for -, loaded when it is used; and one line of help.
COMMANDS: dict[str, tuple[str, str]] = {}
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
