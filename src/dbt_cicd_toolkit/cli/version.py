"""``dbt-cicd version`` and ``bump_version``."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

from dbt_cicd_toolkit import versions
from dbt_cicd_toolkit.cli.main import run
from dbt_cicd_toolkit.cli.options import output_options


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

    Example: bump 1.2.3 minor --pre rc  prints 1.3.0-rc.1
    """
    new = versions.bump(version, part, pre)
    click.echo(json.dumps({"success": True, "version": new}) if output_format == "json" else new)


def bump_version(argv: Sequence[str] | None = None) -> int:
    """Entry point of the console script ``bump_version``; returns the exit code."""
    return run(bump, "bump_version", argv)
