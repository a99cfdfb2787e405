"""The mirror: JSON copies of the ledger below dbt's target path. The ledger is the truth; these are rebuilt at will.

Each document is a JSON object whose ``as_of`` says how new it is; texts of ``as_of`` compare in order of time.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from dbt_cicd_toolkit.errors import InvalidInput


def write(documents: Mapping[str, str], target_path: Path) -> list[Path]:
    """Write documents below ``target_path``, each one whole or not at all.

    Args:
        documents: text by path relative to ``target_path``.
        target_path: dbt's target path; made when missing.
    Returns:
        the files written; one that is newer on disk (another process was faster) stays as it is.
    Raises:
        InvalidInput: a path that leaves ``target_path``, or a text that is no JSON object; then nothing is written.
    """
    files = {_inside(path, target_path): (_document(text), text) for path, text in documents.items()}
    for file, (document, _) in files.items():
        if document is None:
            raise InvalidInput(f"the document for {file} is not a JSON object.")
    if not files:
        return []
    written = []
    with _locked(target_path):
        for file, (document, text) in files.items():
            if _as_of(_read(file)) <= _as_of(document):
                _replace(file, text.rstrip("\n") + "\n")
                written.append(file)
    return written


def stale(mirror: Mapping[str, str], target_path: Path) -> list[str]:
    """Return the paths of ``mirror`` (path: ``as_of`` in the ledger) that are missing, torn or older below
    ``target_path``. Raises InvalidInput for a path that leaves it."""
    found = {path: _read(_inside(path, target_path)) for path in mirror}
    return [path for path, document in found.items() if document is None or _as_of(document) < mirror[path]]


def _inside(path: str, target_path: Path) -> Path:
    relative = PurePosixPath(path)
    file = target_path / relative
    escapes = relative.is_absolute() or ".." in relative.parts or not relative.parts or "\0" in path or "\\" in path
    if escapes or not file.resolve().is_relative_to(target_path.resolve()):
        raise InvalidInput(f"'{path}' is not a path below {target_path}.")
    return file


def _read(file: Path) -> dict[str, object] | None:
    try:
        return _document(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, UnicodeDecodeError):
        return None


def _document(text: str) -> dict[str, object] | None:
    """The JSON object that ``text`` is; None when it is torn or something else."""
    try:
        document = json.loads(text)
    except json.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None


def _as_of(document: dict[str, object] | None) -> str:
    return str((document or {}).get("as_of") or "")


@contextmanager
def _locked(target_path: Path) -> Generator[None]:
    """One writer at a time: whether a file is newer is looked at before it is replaced."""
    target_path.mkdir(parents=True, exist_ok=True)
    with (target_path / ".dbt_cicd_toolkit.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _replace(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f".{file.name}.new")  # one name: what a killed writer left is overwritten by the next
    with new.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(file)
