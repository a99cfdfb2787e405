#!/usr/bin/env python3
"""Set up dbt v2 (Fusion) in one folder, for the tests that run on it.

    python3 tools/dbt_v2.py [FOLDER]            # default: .local/dbt_v2
    eval "$(python3 tools/dbt_v2.py)"           # sets what it prints, in this shell
    python3 tools/dbt_v2.py --json              # the same variables as one JSON object

dbt v2 is one binary that shares its name with dbt Core, so it may not live in the environment of dbt
Core. It talks to databases through ADBC drivers, which it would download from a server of its own at
first use. This script gets everything from PyPI and npm instead, at fixed versions:

    bin/dbt                      the binary, from the wheel `dbt`
    drivers/duckdb.toml          where the DuckDB driver is; dbt v2 looks in ADBC_DRIVER_PATH
    drivers/libduckdb.so         the driver, from the npm package of DuckDB for Node.js
    cache/com.getdbt/adbc/...    the PostgreSQL driver from the wheel `adbc-driver-postgresql`, named
                                 and placed as if dbt had downloaded it; dbt v2 looks in XDG_CACHE_HOME
    stamp.json                   the versions; written last

The folder appears complete or not at all: it is made under another name and renamed at the end. A
second run finds it complete and only prints. A folder made by an older release of this script is made
again; a folder that this script did not make is refused. Progress goes to stderr.

Needs Linux on x86-64 (glibc), Python 3.10+ with pip, and npm. Exit codes: 0 done, 1 a download or a
check failed, 2 not possible here.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import platform
import shlex
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

DBT = "2.0.0rc196"
DUCKDB_NODE = "1.5.6-r.1"  # npm @duckdb/node-bindings-linux-x64
ADBC_POSTGRESQL = "1.13.0"

# The name under which this dbt looks for the PostgreSQL driver it would have downloaded.
POSTGRESQL_DRIVER = "com.getdbt/adbc/x86_64-manylinux_2_17-linux-gnu/libadbc_driver_postgresql-0.21.0+dbt0.21.0.so"
STAMP = {
    "made_by": "tools/dbt_v2.py",
    "layout": 1,
    "dbt": DBT,
    "duckdb_node_bindings": DUCKDB_NODE,
    "adbc_driver_postgresql": ADBC_POSTGRESQL,
}
PARTS = ("bin/dbt", "drivers/duckdb.toml", "drivers/libduckdb.so", f"cache/{POSTGRESQL_DRIVER}")


class Failed(Exception):
    """A download or a check failed."""


class NotHere(Exception):
    """This machine or this folder cannot be used."""


def say(text: str) -> None:
    print(f"dbt_v2: {text}", file=sys.stderr, flush=True)


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(
            f"`{shlex.join(str(part) for part in command)}` ended with {done.returncode}\n"
            f"{done.stdout}{done.stderr}".rstrip()
        )
    return done.stdout


def check_machine() -> None:
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise NotHere(f"dbt v2 is set up on Linux x86_64 only, this is {platform.system()} {platform.machine()}")
    if shutil.which("npm") is None:
        raise NotHere("npm is not on PATH; install Node.js, the DuckDB driver comes from npm")
    pip = subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False)
    if pip.returncode:
        raise NotHere(f"{sys.executable} has no pip; install it, or call this script with a Python that has it")


def manifest(folder: Path) -> str:
    """The ADBC driver manifest; it needs an absolute path, so it depends on where the folder stands."""
    library = json.dumps(str(folder / "drivers/libduckdb.so"), ensure_ascii=False)  # a TOML string too
    return (
        'manifest_version = 1\nname = "duckdb"\nversion = "1.0.0"\n\n'
        '[ADBC]\nversion = "1.1.0"\n\n'
        '[Driver]\nentrypoint = "duckdb_adbc_init"\n\n'
        f"[Driver.shared]\nlinux_amd64 = {library}\n"
    )


def add_dbt(into: Path) -> None:
    say(f"dbt {DBT} from PyPI")
    run(
        sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:",
        "--target", "wheel", f"dbt=={DBT}", cwd=into,
    )  # fmt: skip
    (into / "bin").mkdir()
    (into / "wheel/bin/dbt").replace(into / "bin/dbt")
    shutil.rmtree(into / "wheel")


def add_duckdb(into: Path, final: Path) -> None:
    say(f"DuckDB driver {DUCKDB_NODE} from npm")
    run("npm", "pack", "--silent", f"@duckdb/node-bindings-linux-x64@{DUCKDB_NODE}", cwd=into)
    (archive,) = into.glob("*.tgz")
    drivers = into / "drivers"
    drivers.mkdir()
    with tarfile.open(archive) as package:
        library = package.extractfile("package/libduckdb.so")
        if library is None:
            raise Failed(f"{archive.name} has no package/libduckdb.so")
        with library, (drivers / "libduckdb.so").open("wb") as copy:
            shutil.copyfileobj(library, copy)
    archive.unlink()
    (drivers / "duckdb.toml").write_text(manifest(final), encoding="utf-8")


def add_postgresql(into: Path) -> None:
    say(f"PostgreSQL driver {ADBC_POSTGRESQL} from PyPI")
    run(
        sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:",
        "--dest", ".", f"adbc-driver-postgresql=={ADBC_POSTGRESQL}", cwd=into,
    )  # fmt: skip
    (wheel,) = into.glob("adbc_driver_postgresql-*.whl")
    target = into / "cache" / POSTGRESQL_DRIVER
    target.parent.mkdir(parents=True)
    with (
        zipfile.ZipFile(wheel) as package,
        package.open("adbc_driver_postgresql/libadbc_driver_postgresql.so") as library,
        target.open("wb") as copy,
    ):
        shutil.copyfileobj(library, copy)
    wheel.unlink()


def stamp_of(folder: Path) -> dict[str, object] | None:
    """What an earlier run wrote there; None when the folder is not one of ours."""
    try:
        stamp = json.loads((folder / "stamp.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return stamp if isinstance(stamp, dict) and stamp.get("made_by") == STAMP["made_by"] else None


def set_up(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Whoever comes second waits here and then finds the folder complete.
    with (folder.parent / f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = stamp_of(folder)
        if stamp == STAMP and all((folder / part).is_file() for part in PARTS):
            toml = folder / "drivers/duckdb.toml"
            if toml.read_text(encoding="utf-8") != manifest(folder):  # the folder was moved
                toml.write_text(manifest(folder), encoding="utf-8")
            return
        if folder.exists() and stamp is None and (not folder.is_dir() or any(folder.iterdir())):
            raise NotHere(f"{folder} was not made by this script; name another folder, or remove it")
        check_machine()
        partial = folder.parent / f".{folder.name}.partial"
        shutil.rmtree(partial, ignore_errors=True)  # of an interrupted run
        partial.mkdir()
        add_dbt(partial)
        add_duckdb(partial, folder)
        add_postgresql(partial)
        version = run(partial / "bin/dbt", "--version", cwd=partial).strip()
        (partial / "stamp.json").write_text(json.dumps(STAMP, indent=2) + "\n", encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        partial.replace(folder)
        say(f"{version} is ready in {folder}")


def variables(folder: Path) -> dict[str, str]:
    return {
        "DBT_CICD_V2": str(folder / "bin/dbt"),
        "ADBC_DRIVER_PATH": str(folder / "drivers"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "DBT_ALLOW_EXPERIMENTAL_ADAPTERS": "true",  # PostgreSQL is experimental in dbt v2
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path(".local/dbt_v2"))
    parser.add_argument("--json", action="store_true", help="print the variables as one JSON object")
    options = parser.parse_args(argv)
    folder: Path = options.folder.absolute()
    try:
        set_up(folder)
    except (Failed, NotHere) as problem:
        say(str(problem))
        return 1 if isinstance(problem, Failed) else 2
    if options.json:
        print(json.dumps(variables(folder), indent=2))
    else:
        for name, value in variables(folder).items():
            print(f"export {name}={shlex.quote(value)}")
        print(f'export PATH={shlex.quote(str(folder / "bin"))}:"$PATH"')
    return 0


if __name__ == "__main__":
    sys.exit(main())
