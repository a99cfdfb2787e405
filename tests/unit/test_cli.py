"""The ``dbt-cicd`` program itself: lazy commands, one document on stdout, exit codes."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

import dbt_cicd_toolkit
from dbt_cicd_toolkit.cli.main import COMMANDS, main, run
from dbt_cicd_toolkit.cli.options import Project, dbt_options
from dbt_cicd_toolkit.errors import Differs, InvalidInput, Refused, ToolkitError

ROOT = Path(__file__).parents[2]


def test_version_is_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"dbt-cicd {(ROOT / 'VERSION').read_text().strip()}\n"
    assert not hasattr(dbt_cicd_toolkit, "plugins")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_loads_and_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(importlib.import_module(f"dbt_cicd_toolkit.cli.{name}").command, click.Command)
    assert main([name, "--help"]) == 0
    assert "Usage: dbt-cicd" in capsys.readouterr().out


def test_help_lists_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in COMMANDS)


@pytest.mark.parametrize("flag", [["--json"], ["--output-format", "json"], ["--output-format=json"]])
def test_json(flag: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version", "bump", "1.2.3", "patch", *flag]) == 0
    assert json.loads(capsys.readouterr().out) == {"success": True, "version": "1.2.4"}
    for argv in (["v1", "patch"], ["1.0.0", "patch", "--nope"]):
        assert main(["version", "bump", *argv, *flag]) == 2
        out, err = capsys.readouterr()
        document = json.loads(out)
        assert (document["success"], document["exit_code"]) == (False, 2)
        assert document["error"] in err


@pytest.mark.parametrize(("error", "code"), [(ToolkitError, 1), (Refused, 1), (InvalidInput, 2), (Differs, 3)])
def test_exit_codes(error: type[ToolkitError], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    @click.command()
    def fails() -> None:
        raise error("why")

    assert run(fails, "x", []) == code
    assert capsys.readouterr() == ("", "x: why\n")


def test_a_command_may_return_its_exit_code() -> None:
    @click.command()
    def refused() -> int:
        return 1

    assert run(refused, "x", []) == 1


def test_dbt_options(tmp_path: Path) -> None:
    seen = []

    @click.command()
    @dbt_options
    def show(project: Project) -> None:
        seen.append(project)

    for name in ("--project-dir", "--dbt-project-dir"):
        assert run(show, "x", [name, str(tmp_path), "--target", "ci"]) == 0
    assert run(show, "x", ["--profiles-dir", str(tmp_path / "none")]) == 2
    assert seen == [Project(tmp_path, None, "ci")] * 2


def test_start_up_is_light() -> None:
    code = (
        "import sys, dbt_cicd_toolkit.cli.main as m; m.main(['version', 'bump', '1.0.0', 'patch']);"
        "print(sorted({'dbt', 'psycopg2', 'yaml', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT / "src", check=True)
    assert done.stdout == "1.0.1\n[]\n"
