"""Embedded servers for scratch databases: one that several runs share, or one for a single run."""

from __future__ import annotations

import fcntl
import secrets
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from dbt_cicd_toolkit.errors import InvalidInput
from dbt_cicd_toolkit.postgres import embedded
from dbt_cicd_toolkit.postgres.embedded import EmbeddedServer


@contextmanager
def shared(local: Path, major: int) -> Generator[EmbeddedServer]:
    """An embedded server that several runs may use at once: each holds a lock with the others, and who gets it alone at
    the end is the last one and stops it. A killed process loses its lock."""
    directory = (local / f"scratch-{major}").absolute()
    local.mkdir(parents=True, exist_ok=True)
    with directory.with_name(f"scratch-{major}.users").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        try:
            yield embedded.start(directory, major=major)
        finally:
            if _alone(users):
                embedded.stop(directory)


def _alone(users: IO[str]) -> bool:
    # The shared lock is given up in any case, so that of two that end at once the later one finds itself alone.
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def private(local: Path, major: int) -> Generator[EmbeddedServer]:
    """A new embedded server for one run. Those of killed runs are removed."""
    local.mkdir(parents=True, exist_ok=True)
    for lock in local.glob("scratch-*-alone-*.user"):
        with suppress(BlockingIOError, FileNotFoundError), lock.open("r+") as user:
            fcntl.flock(user, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(lock)
    lock = local.absolute() / f"scratch-{major}-alone-{secrets.token_hex(4)}.user"
    new = lock.with_suffix(".new")
    with new.open("w") as user:
        fcntl.flock(user, fcntl.LOCK_EX)
        new.rename(lock)  # others find it locked
        try:
            yield embedded.start(lock.with_suffix(""), major=major)
        finally:
            _remove(lock)


def _remove(lock: Path) -> None:
    directory = lock.with_suffix("").absolute()
    with suppress(InvalidInput):  # of an extra that was uninstalled
        embedded.stop(directory)
    shutil.rmtree(directory, ignore_errors=True)
    for leftover in lock.parent.glob(f".{directory.name}.*"):
        shutil.rmtree(leftover, ignore_errors=True) if leftover.is_dir() else leftover.unlink(missing_ok=True)
    lock.unlink(missing_ok=True)
