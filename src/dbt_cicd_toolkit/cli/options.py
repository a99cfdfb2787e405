"""Options that several commands share, each one decorator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])
_DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)


def output_options(command: Command) -> Command:
    """Add ``--output-format text|json|markdown`` and its short form ``--json``; passes ``output_format``."""
    command = click.option("--json", "output_format", flag_value="json", help="Short for --output-format json.")(
        command
    )
    return click.option(
        "--output-format",
        type=click.Choice(["text", "json", "markdown"]),
        default="text",
        show_default=True,
        help="Form of the one document on stdout.",
    )(command)


def dbt_options(command: Command) -> Command:
    """Add the options that say which dbt project is meant; passes ``project_dir``, ``profiles_dir`` and ``target``."""
    command = click.option("--target", help="Target of the dbt profile (an output of profiles.yml).")(command)
    command = click.option("--profiles-dir", type=_DIRECTORY, help="Directory of profiles.yml.")(command)
    return click.option(
        "--project-dir",
        "--dbt-project-dir",
        "project_dir",
        type=_DIRECTORY,
        default=".",
        show_default=True,
        help="Directory of dbt_project.yml.",
    )(command)
