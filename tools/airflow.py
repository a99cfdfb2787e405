#!/usr/bin/env python3
"""Set up Airflow 3 in an environment of its own, for the tests that run DAGs.

    python3 tools/airflow.py [FOLDER]           # default: .local/venvs/airflow

Airflow pins much of what it needs, and would pull the product's own dependencies along; a DAG needs none of them. So
it gets a virtual environment of its own, from PyPI, at the fixed versions of tools/airflow.txt. That file is one that
every Python this project supports can install: pip resolved it for the oldest one (see its first lines).

    bin/airflow, bin/python      Airflow 3, with the standard provider
    stamp.json                   what is in it; complete only when it says so

A second run finds the folder complete and does nothing. A folder made with other versions, by another Python, or left
unfinished by an interrupted run is made again; a folder that this script did not make is refused. Progress goes to
stderr.

Needs Python 3.10+ with venv and pip. Exit codes: 0 done, 1 a download or a check failed, 2 not possible here.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import platform
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

PINS = Path(__file__).with_suffix(".txt")


class Failed(Exception):
    """A download or a check failed."""


class NotHere(Exception):
    """This machine or this folder cannot be used."""


def say(text: str) -> None:
    print(f"airflow: {text}", file=sys.stderr, flush=True)


def run(*command: str | Path) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(
            f"`{shlex.join(str(part) for part in command)}` ended with {done.returncode}\n"
            f"{done.stdout}{done.stderr}".rstrip()
        )
    return done.stdout


def stamp(folder: Path) -> dict[str, object]:
    """What a complete folder says of itself. Scripts of an environment name its place, so that is part of it."""
    return {
        "made_by": "tools/airflow.py",
        "pins": hashlib.sha256(PINS.read_bytes()).hexdigest(),
        "python": platform.python_version(),
        "folder": str(folder),
    }


def stamp_of(folder: Path) -> dict[str, object] | None:
    """What an earlier run wrote there; None when the folder is not one of ours."""
    try:
        found = json.loads((folder / "stamp.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("made_by") == "tools/airflow.py" else None


def write_stamp(folder: Path, complete: bool) -> None:
    text = json.dumps({**stamp(folder), "complete": complete}, indent=2) + "\n"
    new = folder / ".stamp.json.new"
    new.write_text(text, encoding="utf-8")
    new.replace(folder / "stamp.json")


def set_up(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Whoever comes second waits here and then finds the folder complete.
    with (folder.parent / f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = stamp_of(folder)
        if found == {**stamp(folder), "complete": True} and (folder / "bin/airflow").is_file():
            (folder / "stamp.json").touch()  # make compares its time with that of the pins
            return
        if folder.exists() and found is None and (not folder.is_dir() or any(folder.iterdir())):
            raise NotHere(f"{folder} was not made by this script; name another folder, or remove it")
        began = time.monotonic()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        write_stamp(folder, complete=False)
        install(folder)
        version = run(folder / "bin/python", "-c", "import airflow; print(airflow.__version__)").strip()
        write_stamp(folder, complete=True)
        say(f"Airflow {version} is ready in {folder} after {time.monotonic() - began:.0f} s")


def install(folder: Path) -> None:
    say("installing from PyPI, about a minute and 300 MB")
    run(sys.executable, "-m", "venv", folder)
    pip = (folder / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(*pip, "--only-binary", ":all:", "--constraint", PINS, "apache-airflow-core")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path(".local/venvs/airflow"))
    folder: Path = parser.parse_args(argv).folder.absolute()
    try:
        set_up(folder)
    except (Failed, NotHere) as problem:
        say(str(problem))
        return 1 if isinstance(problem, Failed) else 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
