"""dbt_runner on a small real project on DuckDB: dbt Core in this process and as a process, and dbt v2.

The project's ``_operation`` stands in for the package's, and fails in every way the runner must understand."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import dbt_cicd_toolkit
from dbt_cicd_toolkit import dbt_runner
from dbt_cicd_toolkit.dbt_runner import Dbt, Engine, find_dbt
from dbt_cicd_toolkit.errors import Differs, InvalidInput, Refused, ToolkitError

pytestmark = pytest.mark.matrix

V2 = os.environ.get("DBT_CICD_V2")
HOSTILE = (
    "quotes ' \" back\\slash {{ jinja }} {# x #} é 😀 \x7f \x85 \u2028 \ufeff \x01\nnew\tline; drop table t; -- '); "
    + "x" * 10_000
)

FILES = {
    "dbt_project.yml": "name: tiny\nversion: '1.0'\nprofile: tiny\nflags: {send_anonymous_usage_stats: false}\n"
    "models: {tiny: {+materialized: view}}\n",
    "profiles.yml": "tiny:\n  target: dev\n  outputs:\n    dev: {type: duckdb, path: PATH, password: hunter22}\n"
    "    ci: {type: duckdb, path: PATH, schema: ci}\n",
    "models/base.sql": "{{ config(materialized='ephemeral') }} select 1 as id",
    "models/a.sql": "select * from {{ ref('base') }}",
    "models/b.sql": "select id, {{ dbt.string_literal(dbt.escape_single_quotes(var('v', 'none'))) }} as v\n"
    "from {{ ref('a') }}",
    "models/schema.yml": "models:\n  - name: base\n    columns: [{name: id, data_tests: [not_null]}]\n"
    "  - name: b\n    columns: [{name: id, data_tests: [unique]}]\n",
    "tests/fails.sql": "select * from {{ ref('b') }}",
    "macros/operation.sql": """
{% macro _operation(call, arguments={}, program_version=none) %}
  {% set result = {'package_version': program_version, 'value': arguments, 'success': true} %}
  {% do print('some words before') %}
  {% if call in ('refused', 'invalid', 'differs') %}
    {% do print('DBT_CICD_RESULT ' ~ tojson(result)) %}
    {% set text = "dbt_cicd_toolkit.x(): '" ~ arguments.text ~ "' is wrong.\\n  - one\\n  - two\\nNext: dbt build." %}
    {{ inner(text ~ " [" ~ call ~ "]") }}
  {% elif call == 'plain' %}
    {{ exceptions.raise_compiler_error("just wrong, password=hunter22, hunter22!") }}
  {% elif call == 'sql' %}
    {% do run_query('select * from no_such_table') %}
  {% elif call == 'twice' %}
    {% do print('DBT_CICD_RESULT {}') %}
  {% elif call == 'torn' %}
    {% do print('DBT_CICD_RESULT {"a": ') %}
  {% elif call == 'unknown key' %}
    {% do result.update({'new_key': 1}) %}
  {% elif call == 'where' %}
    {% do result.update({'value': [target.name, var('v', none), graph.nodes.values() | list | length]}) %}
  {% elif call == 'sleep' %}
    {% do run_query('select count(*) from range(100000000000) a where a.range % 7 = 3') %}
  {% endif %}
  {% if call not in ('torn', 'silent') %}{% do print('DBT_CICD_RESULT ' ~ tojson(result)) %}{% endif %}
{% endmacro %}
{% macro inner(text) %}{{ exceptions.raise_compiler_error(text) }}{% endmacro %}
""",
}


@pytest.fixture(params=["in-process", "process", pytest.param("v2", marks=pytest.mark.v2)])
def engine(request: pytest.FixtureRequest) -> Engine:
    if request.param == "v2":
        return Engine(2, Path(str(V2)), False)
    return Engine(1, Path(sys.executable).with_name("dbt"), request.param == "in-process")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        file = tmp_path / "project" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("PATH", str(tmp_path / "db.duckdb")), encoding="utf-8")
    return tmp_path / "project"


@pytest.fixture
def dbt(project: Path, engine: Engine) -> Dbt:
    return Dbt(project, engine=engine)


def test_operations(dbt: Dbt, capfd: pytest.CaptureFixture[str]) -> None:
    before = Path.cwd()
    envelope = dbt.run_operation("echo", {"text": HOSTILE, "none": None, "list": [1, 2.5, True]})
    assert envelope.value == {"text": HOSTILE, "none": None, "list": [1, 2.5, True]}
    assert (envelope.success, envelope.documents, envelope.package_version) == (True, {}, dbt_cicd_toolkit.__version__)
    for kind, error in (("refused", Refused), ("invalid", InvalidInput), ("differs", Differs)):
        with pytest.raises(ToolkitError) as caught:
            dbt.run_operation(kind, {"text": "it's [refused]"})
        assert type(caught.value) is error
        expected = "dbt_cicd_toolkit.x(): 'it's [refused]' is wrong.\n  - one\n  - two\nNext: dbt build."
        assert str(caught.value) == expected
    with pytest.raises(Refused, match=r"(?s)exit code 1:.*no_such_table") as caught:
        dbt.run_operation("sql", {})
    assert "<unknown>" not in str(caught.value) and "clone3" not in str(caught.value)
    with pytest.raises(Refused, match=r"just wrong, password=\*\*\*, \*\*\*!") as caught:
        dbt.run_operation("plain", {})
    assert "hunter22" not in str(caught.value)
    assert capfd.readouterr().out == "" and Path.cwd() == before
    assert not (dbt.target_path / "run_results.json").exists(), "an operation must leave the last build's results alone"


def test_results_that_are_none(project: Path) -> None:
    dbt = Dbt(project, engine=Engine(1, None, True))
    for call, words in (
        ("twice", "printed 2 results"),
        ("silent", "printed 0 results"),
        ("torn", "cannot be read"),
        ("unknown key", "cannot be read"),
    ):
        with pytest.raises(Refused, match=words):
            dbt.run_operation(call, {})


def test_commands(dbt: Dbt, project: Path) -> None:
    assert dbt.list_models() == ["model.tiny.a", "model.tiny.b", "model.tiny.base"]
    assert dbt.list_models("b") == ["model.tiny.b"]
    assert dbt.list_models(["a", "base"]) == ["model.tiny.a", "model.tiny.base"]
    assert dbt.list_models("no_such_model") == []
    with pytest.raises(Refused, match="dbt failed"):
        dbt.list_models(["a", "--no-such-option"])
    for _ in range(2):  # a manifest used twice for compiling would lose the CTE of the ephemeral model
        built = dbt.run(["run"])
        assert (built.ok, built.returncode) == (True, 0), built.output
        # dbt v2 also lists the ephemeral model, as skipped.
        statuses = {r["unique_id"]: r["status"] for r in built.results if r["unique_id"] != "model.tiny.base"}
        assert statuses == {"model.tiny.a": "success", "model.tiny.b": "success"}
    tested = dbt.run(["test", "--select", "b", "base"])
    assert (tested.ok, tested.returncode) == (False, 1)
    assert sorted((r["unique_id"].split(".")[2], r["status"]) for r in tested.results if "test." in r["unique_id"]) == [
        ("fails", "fail"),
        ("not_null_base_id", "pass"),
        ("unique_b_id", "pass"),
    ]
    nothing = dbt.run(["test", "--no-such-option"])
    assert not nothing.ok and nothing.results == [] and "no-such-option" in nothing.output


def test_target_vars_and_target_path(project: Path, engine: Engine, tmp_path: Path) -> None:
    dbt = Dbt(project, target="ci", vars={"v": "it's"}, target_path=tmp_path / "elsewhere", engine=engine)
    assert dbt.run(["run"]).ok
    assert dbt.run_operation("where", {}).value[:2] == ["ci", "it's"]
    assert (tmp_path / "elsewhere/run_results.json").exists()
    assert not (project / "target").exists()


def test_package_missing(project: Path, engine: Engine) -> None:
    (project / "macros/operation.sql").write_text("{% macro other() %}{% endmacro %}")
    with pytest.raises(InvalidInput, match=r"packages\.yml and run `dbt deps`"):
        Dbt(project, engine=engine).run_operation("x", {})


def test_project_that_does_not_parse(project: Path, engine: Engine) -> None:
    (project / "models/a.sql").write_text("{{ ref('nowhere') }} {% if %}")
    with pytest.raises(Refused, match="dbt failed"):
        Dbt(project, engine=engine).run_operation("x", {})


def test_deps_parses_again(dbt: Dbt, project: Path) -> None:
    nodes = dbt.run_operation("where", {}).value[2]
    package = project.parent / "package"
    (package / "models").mkdir(parents=True)
    (package / "dbt_project.yml").write_text("name: extra\nversion: '1.0'\n")
    (package / "models/extra.sql").write_text("select 1 as id")
    (project / "packages.yml").write_text("packages: [{local: ../package}]\n")
    assert dbt.run(["deps"]).ok
    assert dbt.run_operation("where", {}).value[2] == nodes + 1


def test_large_arguments(project: Path, engine: Engine) -> None:
    text = "x" * 300_000
    dbt = Dbt(project, engine=engine)
    if engine.in_process:
        assert dbt.run_operation("echo", {"text": text}).value == {"text": text}
    else:
        with pytest.raises(InvalidInput, match="293 KiB, at most 100 KiB"):
            dbt.run_operation("echo", {"text": text})


def test_results_of_another_run_do_not_count(project: Path) -> None:
    silent = project.parent / "dbt"
    silent.write_text("#!/bin/sh\nexit 0\n")
    silent.chmod(0o755)
    (project / "target").mkdir()
    document = {"metadata": {"env": {"DBT_CICD_RUN": "another"}}, "results": [{"unique_id": "x"}]}
    (project / "target/run_results.json").write_text(json.dumps(document))
    assert Dbt(project, engine=Engine(1, silent, False)).run(["test"]).results == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_child_ends_with_us(project: Path, number: int) -> None:
    child = project.parent / "dbt"
    child.write_text(f"#!/bin/sh\necho $$ > {project}/pid\nexec sleep 100\n")
    child.chmod(0o755)
    code = (
        # A shell starts its background jobs with SIGINT ignored, and the tests may run in one.
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from pathlib import Path; from dbt_cicd_toolkit.dbt_runner import Dbt, Engine;"
        "Dbt(sys.argv[1], engine=Engine(1, Path(sys.argv[2]), False)).run(['test'])"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(dbt_cicd_toolkit.__file__).parents[1])}
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(project), str(child)], env=environment, stderr=subprocess.PIPE
    )
    pid_file = project / "pid"
    while not (pid_file.exists() and pid_file.read_text().strip()):
        assert parent.poll() is None
        time.sleep(0.02)
    parent.send_signal(number)
    parent.communicate(timeout=20)
    assert parent.returncode not in (0, None)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def executable(directory: Path, text: bytes) -> Path:
    directory.mkdir(exist_ok=True)
    (directory / "dbt").write_bytes(text)
    (directory / "dbt").chmod(0o755)
    return directory / "dbt"


def test_find_dbt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = Path(sys.executable).with_name("dbt")
    monkeypatch.delenv("DBT_CICD_DBT", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    assert find_dbt() == Engine(1, ours, True), "without one on PATH, the one beside this Python"
    script = executable(tmp_path / "core", b"#!/other/venv/bin/python\nimport dbt")
    v2 = executable(tmp_path / "v2", b"\x7fELF" + b"\0" * 300)
    shim = executable(tmp_path / "shim", b"#!/bin/sh\necho 'dbt-fusion 2.0.0'\n")
    for file, engine in (
        (script, Engine(1, script, False)),
        (v2, Engine(2, v2, False)),
        (shim, Engine(2, shim, False)),
    ):
        monkeypatch.setenv("PATH", str(file.parent))
        assert find_dbt() == engine
    monkeypatch.setenv("DBT_CICD_DBT", str(ours))
    assert find_dbt() == Engine(1, ours, False), "a named dbt runs as a process of its own"
    monkeypatch.setenv("DBT_CICD_DBT", str(tmp_path / "none"))
    with pytest.raises(InvalidInput, match=r"DBT_CICD_DBT=.*none"):
        find_dbt()
    monkeypatch.delenv("DBT_CICD_DBT")
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    assert find_dbt() == Engine(1, None, True)
    monkeypatch.setattr(dbt_runner, "_importable", lambda: False)
    with pytest.raises(InvalidInput, match=r"dbt_cicd_toolkit\[dbt\]"):
        find_dbt()


@pytest.mark.parametrize(
    ("setting", "path"),
    [
        ("", "target"),
        ("target-path: out", "out"),
        ("target-path: \"{{ env_var('TINY_TARGET') }}/x\"", "from_env/x"),
        ("target-path: \"{{ env_var('TINY_NONE', 'other') }}\"", "other"),
    ],
)
def test_target_path(project: Path, setting: str, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DBT_TARGET_PATH", raising=False)
    monkeypatch.setenv("TINY_TARGET", "from_env")
    with (project / "dbt_project.yml").open("a") as file:
        file.write(setting + "\n")
    assert Dbt(project).target_path == project / path
    monkeypatch.setenv("DBT_TARGET_PATH", "env")
    assert Dbt(project).target_path == project / "env"
    assert Dbt(project, target_path="/abs").target_path == Path("/abs")


def test_no_project(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no dbt_project\.yml"):
        Dbt(tmp_path)
