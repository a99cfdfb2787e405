"""Write files, each one whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def write_atomically(path: Path, text: str) -> None:
    """Give a file this text (UTF-8, line ends as they are); a reader sees the old text or the new one.

    Raises:
        OSError: the folder cannot be written to; then the file is as it was.
    """
    new = path.with_name(f".{path.name}.{os.getpid()}.new")  # in the same folder: os.replace works in one file system
    try:
        with new.open("w", encoding="utf-8", newline="") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
