"""The one place that starts dbt: Core in this process where it can be imported, else the executable of either engine.

The formats relied upon (where errors go, run_results.json, exit codes) were measured on dbt Core 1.10-1.12 and dbt v2.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import yaml

import dbt_cicd_toolkit
from dbt_cicd_toolkit.dbt_output import failure, plain
from dbt_cicd_toolkit.errors import InvalidInput, Refused, ToolkitError

MARK = "DBT_CICD_RESULT "
MAX_ARGUMENT = 100 * 1024  # Linux refuses 128 KiB
# Commands that compile nodes into the manifest they are given; compiling one twice drops the CTEs of ephemeral models.
_COMPILING = {"build", "compile", "docs", "run", "seed", "show", "snapshot", "test"}
_READING = {"list", "ls", "run-operation"}
_OTHER_PROJECT = {"--defer", "--profile", "--project-dir", "--state", "--target", "-t", "--target-path", "--vars"}


@dataclass(frozen=True)
class Engine:
    """Which dbt runs: 1 (Core) or 2, its executable, and whether it is called in this process."""

    major: int
    executable: Path | None
    in_process: bool


@dataclass(frozen=True)
class DbtResult:
    """One dbt command: ``output`` is both streams, ``printed`` the lines of print(), ``results`` are
    {unique_id, status, message} of exactly this run."""

    ok: bool
    returncode: int
    output: str
    results: list[dict[str, Any]] = field(default_factory=list)
    printed: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Envelope:
    """What the macro ``_operation`` hands over; ``documents`` are mirror files by path, ``mirror`` their ``as_of``."""

    package_version: str
    value: Any
    success: bool
    message: str | None = None
    documents: dict[str, str] = field(default_factory=dict)
    mirror: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def find_dbt() -> Engine:
    """Find the dbt to use: the one DBT_CICD_DBT names (always as a process of its own), else the first on PATH, else
    the one beside this Python. dbt Core runs in this process when it belongs to this Python's environment.

    Raises:
        InvalidInput: there is none, or DBT_CICD_DBT names no executable.
    """
    here = Path(sys.executable).parent
    named = os.environ.get("DBT_CICD_DBT")
    found = shutil.which(named) if named else shutil.which("dbt") or shutil.which("dbt", path=str(here))
    if named and not found:
        raise InvalidInput(f"DBT_CICD_DBT={named} is not an executable file: name a dbt, or unset it.")
    if not found:
        if _importable():
            return Engine(1, None, True)
        raise InvalidInput("no dbt was found on PATH: pip install 'dbt_cicd_toolkit[dbt]', or put dbt v2 on PATH.")
    executable = Path(found).absolute()
    with executable.open("rb") as file:
        first = file.read(200)
    interpreter = Path(os.fsdecode(first[2:].split(b"\n")[0].strip().split(b" ")[0]))
    if first.startswith(b"#!") and b"python" in first:
        ours = here in (executable.parent, interpreter.parent) and _importable()
        return Engine(1, executable, ours and not named)
    if first.startswith(b"\x7fELF"):
        return Engine(2, executable, False)
    said = subprocess.run([executable, "--version"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return Engine(2 if "fusion" in (said.stdout + said.stderr).lower() else 1, executable, False)


def _importable() -> bool:
    return importlib.util.find_spec("dbt") is not None and importlib.util.find_spec("dbt.cli") is not None


class Dbt:
    """One dbt project with one profile, target and set of variables.

    In this process the parsed project is kept between commands: make a new object after editing files. ``deps`` and
    ``clean`` make it parse again.

    Args:
        project_dir: directory of dbt_project.yml.
        profiles_dir: directory of profiles.yml; default: DBT_PROFILES_DIR, else the project's, else dbt's.
        target: target of the profile.
        target_path: replaces the project's ``target-path``.
        vars: dbt variables.
        engine: default: what find_dbt() finds, at the first command.
    Raises:
        InvalidInput: there is no dbt_project.yml.
    """

    def __init__(
        self,
        project_dir: Path | str,
        profiles_dir: Path | str | None = None,
        target: str | None = None,
        target_path: Path | str | None = None,
        vars: Mapping[str, Any] | None = None,
        engine: Engine | None = None,
    ) -> None:
        self.project_dir = Path(project_dir).absolute()
        if not (self.project_dir / "dbt_project.yml").is_file():
            raise InvalidInput(f"{self.project_dir} has no dbt_project.yml: name the project with --project-dir.")
        profiles_dir = profiles_dir or os.environ.get("DBT_PROFILES_DIR")
        if not profiles_dir and (self.project_dir / "profiles.yml").is_file():
            profiles_dir = self.project_dir
        self.profiles_dir = Path(profiles_dir).absolute() if profiles_dir else None
        self.target = target
        self.vars = dict(vars or {})
        self._engine = engine
        self._target_path = target_path or os.environ.get("DBT_TARGET_PATH")
        self._manifest: Any = None
        self._compiled = False

    @property
    def engine(self) -> Engine:
        """The dbt that runs. Raises InvalidInput when there is none."""
        if self._engine is None:
            self._engine = find_dbt()
        return self._engine

    @property
    def target_path(self) -> Path:
        """Where dbt writes: the argument, else DBT_TARGET_PATH, else the project's ``target-path``, else ``target``.

        Raises InvalidInput when dbt_project.yml is not YAML or computes the path with more than ``env_var``.
        """
        if self._target_path:
            return self.project_dir / self._target_path
        file = self.project_dir / "dbt_project.yml"
        try:
            project = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        except yaml.YAMLError as error:
            raise InvalidInput(f"{file} is not YAML: {error}") from error
        path = re.sub(
            r"\{\{\s*env_var\(\s*(['\"])(\w+)\1\s*(?:,\s*(['\"])(.*?)\3\s*)?\)\s*\}\}",
            lambda match: os.environ.get(match[2], match[4] or ""),
            str(project.get("target-path") or "target"),
        )
        if "{{" in path:
            raise InvalidInput(f"target-path '{path}' in {file} cannot be read: set DBT_TARGET_PATH.")
        return self.project_dir / path

    def run(self, argv: Sequence[str]) -> DbtResult:
        """Run a dbt command such as ``['test', '--select', 'customers']``; its failure is in the result.

        The project, profile, target, target path and variables are added. Progress goes to stderr when that is a
        terminal. Raises InvalidInput for an argument too long for a process of its own, or when there is no dbt.
        """
        return self._invoke(list(argv), show=sys.stderr.isatty())

    def run_operation(self, call: str, arguments: Mapping[str, Any]) -> Envelope:
        """Run a macro of the package through its entry ``_operation`` and return what it hands over.

        Args:
            call: the macro, for example ``register_version``.
            arguments: its arguments, anything JSON can say.
        Raises:
            Refused, InvalidInput, Differs: as the macro said (Refused also when the package is of another version than
                this program); Refused for any other failure, with dbt's output.
            InvalidInput: the project lacks the package.
        """
        # The macros compare the versions, so that a mismatch is refused before anything is written.
        argument = _yaml({"call": call, "arguments": dict(arguments), "program_version": dbt_cicd_toolkit.__version__})
        # Artifacts stay those of the last build or test: dbt v2 would fill run_results.json with nodes that never ran.
        result = self._invoke(["run-operation", "_operation", "--args", argument, "--no-write-json"])
        if not result.ok:
            raise self._failure(result)
        marked = [line[len(MARK) :] for line in result.printed if line.startswith(MARK)]
        if len(marked) != 1:
            raise Refused(f"{call} printed {len(marked)} results, not one: is another package's _operation called?")
        try:
            document = json.loads(marked[0])
            return Envelope(**document)
        except (TypeError, json.JSONDecodeError) as error:
            raise Refused(f"{call} printed a result that cannot be read ({error}): {marked[0][:500]}") from error

    def list_models(self, select: str | Sequence[str] | None = None) -> list[str]:
        """Return the unique_ids of the models that dbt selectors name (all of them by default), in dbt's order.

        Raises Refused, with dbt's output, when dbt fails.
        """
        chosen = [select] if isinstance(select, str) else list(select or [])
        argv = ["ls", "--resource-type", "model", "--output", "json", "--output-keys", "unique_id"]
        result = self._invoke(argv + (["--select", *chosen] if chosen else []))
        if not result.ok:
            raise self._failure(result)
        return [json.loads(line)["unique_id"] for line in result.printed if line.startswith("{")]

    def _invoke(self, argv: list[str], show: bool = False) -> DbtResult:
        command = argv[0]
        options = ["--project-dir", str(self.project_dir)]
        if self.profiles_dir:
            options += ["--profiles-dir", str(self.profiles_dir)]
        if self.target:
            options += ["--target", self.target]
        if self._target_path and command != "deps":
            options += ["--target-path", str(self.target_path)]
        if self.vars:
            options += ["--vars", _yaml(self.vars)]
        if self.engine.in_process:
            return self._in_process(argv, options, show)
        return self._process([*argv, *options], quiet=command in _READING, show=show)

    def _in_process(self, argv: list[str], options: list[str], show: bool) -> DbtResult:
        command, manifest = argv[0], None
        if command not in _READING | _COMPILING:
            self._manifest = None
        elif not _OTHER_PROJECT & {option.split("=")[0] for option in argv}:
            if self._manifest is None:
                parsed, self._manifest = _call_core(["parse", *options], None, False)
                self._compiled = False
                if not parsed.ok:
                    return parsed
            if command in _READING or not self._compiled:
                manifest = self._manifest
            self._compiled = self._compiled or command in _COMPILING
        return _call_core([*argv, *options], manifest, show)[0]

    def _process(self, argv: list[str], quiet: bool, show: bool) -> DbtResult:
        for argument in argv:
            if len(argument.encode()) > MAX_ARGUMENT:
                raise InvalidInput(
                    f"an argument for dbt has {len(argument.encode()) // 1024} KiB, at most {MAX_ARGUMENT // 1024} KiB "
                    "fit on a command line: pass fewer models at a time or shorter texts."
                )
        run_id = uuid.uuid4().hex
        environment = {key: value for key, value in os.environ.items() if key not in ("DBT_NO_PRINT", "DBT_DEBUG")}
        environment |= {"DBT_QUIET": "false", "DBT_PRINT": "true", "DBT_LOG_FORMAT": "text", "DBT_LOG_LEVEL": "info"}
        environment |= {"DBT_USE_COLORS": "false", "DBT_ENV_CUSTOM_ENV_DBT_CICD_RUN": run_id}
        command = [str(self.engine.executable), *argv, *(["--quiet"] if quiet else [])]
        returncode, out, err = _child(command, self.project_dir, environment, show)
        return DbtResult(
            ok=returncode == 0,
            returncode=returncode,
            output=plain(out + err),
            results=self._recorded(run_id),
            printed=out.split("\n"),
        )

    def _recorded(self, run_id: str) -> list[dict[str, Any]]:
        """The rows of run_results.json if the run with this id wrote it (dbt copies DBT_ENV_CUSTOM_ENV_* into it)."""
        try:
            document = json.loads((self.target_path / "run_results.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return []
        if document["metadata"].get("env", {}).get("DBT_CICD_RUN") != run_id:
            return []
        return [{key: row.get(key) for key in ("unique_id", "status", "message")} for row in document["results"]]

    def _failure(self, result: DbtResult) -> ToolkitError:
        profiles = (self.profiles_dir or Path.home() / ".dbt") / "profiles.yml"
        return failure(result.output, result.returncode, self.project_dir, profiles)


def _yaml(value: object) -> str:
    """One line of ASCII that is YAML, as dbt reads --args and --vars: JSON but for characters outside the first plane,
    whose JSON escape YAML refuses; unescaped, YAML would fold or refuse some others."""
    text = json.dumps(value, ensure_ascii=False)
    return re.sub(r"[^ -~]", lambda match: f"\\U{ord(match[0]):08x}", text)


def _call_core(argv: list[str], manifest: Any, show: bool) -> tuple[DbtResult, Any]:
    """Call dbt Core in this process: its console stays silent, its events are the output."""
    from dbt.cli.main import dbtRunner

    lines: list[str] = []
    printed: list[str] = []

    def listen(event: Any) -> None:
        if event.info.level == "debug":
            return
        lines.append(event.info.msg)
        if event.info.name == "PrintEvent":
            printed.extend(event.data.msg.split("\n"))
        elif show:
            print(event.info.msg, file=sys.stderr)

    stray = io.StringIO()
    with _working_directory_kept(), contextlib.redirect_stdout(stray):
        done = dbtRunner(manifest, [listen]).invoke([*argv, "--log-level", "none", "--print"])
        duckdb = sys.modules.get("dbt.adapters.duckdb.connections")
        if duckdb:  # gives the file back, as a dbt process that ends does
            duckdb.DuckDBConnectionManager.close_all_connections()
    if isinstance(done.exception, (KeyboardInterrupt, SystemExit)):
        raise done.exception
    if done.exception and not any(str(done.exception) in line for line in lines):
        lines.append(str(done.exception))
    rows = getattr(done.result, "results", None) or []
    result = DbtResult(
        ok=done.success,
        returncode=0 if done.success else 2 if done.exception else 1,
        output=plain("\n".join([*lines, stray.getvalue()])),
        results=[
            {
                "unique_id": row.unique_id if hasattr(row, "unique_id") else row.node.unique_id,
                "status": str(row.status),
                "message": row.message,
            }
            for row in rows
        ],
        printed=printed,
    )
    return result, done.result


@contextlib.contextmanager
def _working_directory_kept() -> Generator[None]:
    """dbt Core changes into the project."""
    before = Path.cwd()
    try:
        yield
    finally:
        os.chdir(before)


def _child(command: list[str], cwd: Path, environment: dict[str, str], show: bool) -> tuple[int, str, str]:
    """Run a process to its end and return (exit code, stdout, stderr); when this one is stopped, so is the child."""

    def read(stream: IO[str], lines: list[str]) -> None:
        with stream:
            for line in stream:
                lines.append(line)
                if show:
                    sys.stderr.write(line)

    out: list[str] = []
    err: list[str] = []
    with _termination_raises():
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env=environment,
            encoding="utf-8",
            errors="replace",
        )
        pairs = ((child.stdout, out), (child.stderr, err))
        try:
            readers = [threading.Thread(target=read, args=pair, daemon=True) for pair in pairs]
            for reader in readers:
                reader.start()
            child.wait()
            for reader in readers:
                reader.join()
        finally:
            if child.poll() is None:
                child.terminate()
                try:
                    child.wait(10)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()
    return child.returncode, "".join(out), "".join(err)


@contextlib.contextmanager
def _termination_raises() -> Generator[None]:
    """Turn SIGTERM into SystemExit, so that what is under way is cleaned up (only the main thread may)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)
