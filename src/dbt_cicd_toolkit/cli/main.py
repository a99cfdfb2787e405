"""``dbt-cicd``: finds the command, loads only its file, turns errors into one message and an exit code."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import click

from dbt_cicd_toolkit.errors import ToolkitError

# Name: one line of help. The command `x` is the attribute `command` of cli/x.py, imported when it is used.
COMMANDS = {
    "version": "Versions of models: register, bump, deploy, history.",
    "promote": "Test models and promote them to an environment, all or none.",
    "status": "Which version of which model and job each environment has, and its database.",
    "db": "Git for databases: migrations, rollbacks, snapshots, drift.",
    "schema": "Objects as sources: releases, upgrades from any release to any later one.",
    "job": "Versions of pipeline jobs side by side: releases, maintenance lines, retirement.",
    "ledger": "The ledger in the warehouse, and its mirror below target/.",
}


class LazyGroup(click.Group):
    """A group that lists COMMANDS without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"dbt_cicd_toolkit.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        import dbt_cicd_toolkit

        click.echo(f"dbt-cicd {dbt_cicd_toolkit.__version__}")
        ctx.exit()


@click.group(cls=LazyGroup)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print it.")
def cli() -> None:
    """Release management for a dbt warehouse.

    Exit codes: 0 done; 1 refused or failed; 2 malformed or unknown input; 3 recorded and present differ.
    """


def _wants_json(argv: Sequence[str]) -> bool:
    return bool({"--json", "--output-format=json"} & set(argv)) or ("--output-format", "json") in pairwise(argv)


def run(command: click.Command, name: str, argv: Sequence[str] | None = None) -> int:
    """Run a click command as program ``name`` and return its exit code.

    A command returns its exit code, or None for 0. An error is one message on stderr and, with
    ``--output-format json``, one JSON document on stdout.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        result: Any = command.main(args=argv, prog_name=name, standalone_mode=False)
        return result if isinstance(result, int) else 0
    except ToolkitError as error:
        message, code = str(error), error.exit_code
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return error.exit_code
    except click.ClickException as error:
        message, code = error.format_message(), error.exit_code
    except OSError as error:
        message, code = f"{error.filename or 'output'}: {error.strerror}", 1
    except click.Abort:
        message, code = "interrupted", 130
    click.echo(f"{name}: {message}", err=True)
    if _wants_json(argv):
        click.echo(json.dumps({"success": False, "error": message, "exit_code": code}))
    return code


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``dbt-cicd``; returns the exit code."""
    return run(cli, "dbt-cicd", argv)


if __name__ == "__main__":
    sys.exit(main())
