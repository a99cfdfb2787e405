"""What the small programs in database/tools/ call: `dbt-cicd db` for the folder that they lie in."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from dbt_cicd_toolkit.cli.main import run


def db(file: str, argv: Sequence[str] | None = None) -> int:
    """Run `dbt-cicd db` with ``--dir`` set to the folder above the one of ``file``; return the exit code.

    A ``--dir`` among the arguments still wins.
    """
    from dbt_cicd_toolkit.cli.db import command

    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and not arguments[0].startswith("-"):
        arguments[1:1] = ["--dir", _seen_from_here(Path(file).resolve().parents[1])]
    return run(command, Path(file).name, arguments)


def _seen_from_here(folder: Path) -> str:
    """Relative when it lies below the current directory, as people write it."""
    here = Path.cwd()
    return os.path.relpath(folder, here) if here in folder.parents else str(folder)
