"""The package installed as users install it: the base alone, without dbt."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.shop import ROOT


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a fresh environment with the base alone, installed as `pip install git+…` does."""
    folder = tmp_path_factory.mktemp("base")
    source = folder / "source"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(source)], check=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    pip = [str(folder / "venv/bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--prefer-binary", f"git+file://{source}"], check=True)
    return folder / "venv/bin"


def run(bin_folder: Path, *command: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "DBT_", "VIRTUAL_"))
    }
    environment["PATH"] = f"{bin_folder}:/usr/bin:/bin"
    program = [str(bin_folder / command[0]), *command[1:]]
    return subprocess.run(program, cwd=path, env=environment, capture_output=True, text=True)


def test_what_needs_no_dbt_works_without_it(base: Path) -> None:
    assert run(base, "python", "-c", "import dbt").returncode == 1
    assert run(base, "bump_version", "1.2.3", "minor").stdout == "1.3.0\n"
    assert run(base, "dbt-cicd", "version", "bump", "1.2.3", "minor", "--pre", "rc").stdout == "1.3.0-rc.1\n"
    assert run(base, "dbt-cicd", "--version").stdout == f"dbt-cicd {(ROOT / 'VERSION').read_text().strip()}\n"
    for command in ("version", "promote", "status", "ledger"):
        assert run(base, "dbt-cicd", command, "--help").returncode == 0


def test_a_command_that_lacks_dbt_names_the_extra(base: Path, tmp_path: Path) -> None:
    (tmp_path / "dbt_project.yml").write_text("name: x\n")
    done = run(base, "dbt-cicd", "status", "--json", path=tmp_path)
    assert done.returncode == 2 and "pip install 'dbt_cicd_toolkit[dbt]'" in done.stderr
    assert json.loads(done.stdout)["exit_code"] == 2


def test_starting_up_imports_nothing_heavy(base: Path) -> None:
    """dbt Core imports every top-level module named dbt_… each time it starts."""
    listing = "import dbt_cicd_toolkit, sys; print([m for m in sys.modules if m.startswith('dbt_cicd_toolkit.')])"
    assert run(base, "python", "-c", listing).stdout == "[]\n"
    heavy = "import dbt_cicd_toolkit.cli.main, sys; print({'rich', 'psycopg2', 'yaml', 'dbt'} & set(sys.modules))"
    assert run(base, "python", "-c", heavy).stdout == "set()\n"
