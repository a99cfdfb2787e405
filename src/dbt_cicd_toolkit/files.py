"""Write files, each one whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def unfinished(path: Path, process: int) -> Path:
    """What a process that was killed may have left of a file that it was writing."""
    return path.with_name(f".{path.name}.{process}.new")  # in the same folder: os.replace works in one file system


def write_atomically(path: Path, text: str | bytes, mode: int | None = None) -> None:
    """Give a file this text (UTF-8, line ends as they are), and this mode; a reader sees the old text or the new one.

    Raises:
        OSError: the folder cannot be written to; then the file is as it was.
    """
    new = unfinished(path, os.getpid())
    try:
        with new.open("wb") as stream:
            stream.write(text.encode("utf-8") if isinstance(text, str) else text)
            stream.flush()
            os.fsync(stream.fileno())
            if mode is not None:
                os.fchmod(stream.fileno(), mode)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
