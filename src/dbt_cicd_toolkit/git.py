"""The one place that starts git."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


def head(directory: Path) -> str | None:
    """Return the commit that ``directory`` is at, 40 hex digits; None outside a repository, before its first commit,
    or without git."""
    if shutil.which("git") is None:
        return None
    done = subprocess.run(
        ["git", "-C", str(directory), "rev-parse", "--verify", "--quiet", "HEAD"],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    return done.stdout.strip() if done.returncode == 0 else None
