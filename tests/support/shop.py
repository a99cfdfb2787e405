"""dbt projects to test on: copies of integration_tests (`shop`) or of a few models a test writes (`tiny`), on a real
database, with everything slow prepared once and copied."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extras

from dbt_cicd_toolkit.dbt_output import failure
from dbt_cicd_toolkit.dbt_runner import _call_core, _yaml
from dbt_cicd_toolkit.errors import ToolkitError
from dbt_cicd_toolkit.postgres import embedded
from dbt_cicd_toolkit.postgres.embedded import EmbeddedServer

ROOT = Path(__file__).parents[2]
SHOP = ROOT / "integration_tests"
TARGETS = {"postgres": "dev", "duckdb": "duckdb"}
# Commands that take a parsed project; any other parses for itself, and writes manifest.json.
_WITH_MANIFEST = {"build", "compile", "list", "ls", "run", "run-operation", "seed", "show", "snapshot", "test"}

TINY_PROJECT = """\
name: tiny
version: 1.0.0
config-version: 2
profile: shop
flags:
  send_anonymous_usage_stats: false
  require_generic_test_arguments_property: true
"""


def _quicken_dbt() -> None:
    """Spare dbt Core what it does again for every command of a process, and reading the source of its whole stack."""
    from dbt_common import behavior_flags, tests

    tests.enable_test_caching()
    behavior_flags.BehaviorFlagRendered._default_source = staticmethod(lambda: "")  # type: ignore[method-assign]


class OperationFailed(Exception):
    """A run-operation failed; the text is all that dbt said."""


@dataclass(frozen=True)
class Result:
    """One dbt command. ``output`` is all it said, ``printed`` the lines of print(), ``results`` the nodes of a run;
    stdout and stderr are filled by a real process only."""

    ok: bool
    returncode: int
    output: str
    printed: list[str] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)
    stdout: str = ""
    stderr: str = ""

    def statuses(self) -> dict[str, str]:
        """unique_id: status of every node of the run."""
        return {row["unique_id"]: row["status"] for row in self.results}


class Shop:
    """A dbt project of its own with a database of its own.

    Attributes:
        database: 'postgres' or 'duckdb'.
        engine: 1 (dbt Core, in this process) or 2 (the binary DBT_CICD_V2 names).
        path: the project; target: the target that commands use when none is given.
        name: of the database (PostgreSQL) or its file's stem (DuckDB).
    """

    def __init__(self, path: Path, database: str, engine: int, name: str, server: EmbeddedServer | None) -> None:
        self.path = path
        self.database = database
        self.engine = engine
        self.name = name
        self.server = server
        self.target = TARGETS[database]
        self.vars: dict[str, Any] = {}
        self._manifests: dict[str, bytes] = {}

    # files

    def write(self, path: str, text: str) -> None:
        """Write a file of the project (never one of the package: that is this repository)."""
        file = self.path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        self.touched()

    def write_all(self, files: Mapping[str, str]) -> None:
        """Write files of the project: {path: text}."""
        for path, text in files.items():
            self.write(path, text)

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace text that occurs exactly once in a file of the project."""
        text = (self.path / path).read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} occurs {text.count(old)} times in {path}"
        self.write(path, text.replace(old, new))

    def remove(self, path: str) -> None:
        """Delete a file of the project."""
        (self.path / path).unlink()
        self.touched()

    def rename(self, old: str, new: str) -> None:
        """Move a file of the project."""
        (self.path / old).rename(self.path / new)
        self.touched()

    def touched(self) -> None:
        """Forget the parsed project: its files changed."""
        self._manifests.clear()

    def document(self, path: str) -> Any:
        """The JSON below target/, for example versions/customers.json."""
        return json.loads((self.path / "target" / path).read_text(encoding="utf-8"))

    # dbt

    def dbt(
        self,
        *argv: str,
        target: str | None = None,
        vars: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        process: bool = False,
        quiet: bool = True,
    ) -> Result:
        """Run a dbt command and return what came of it, good or bad.

        Args:
            vars: for this command; those of ``self.vars`` hold too.
            env: environment variables for this command.
            process: a real dbt process, also with dbt Core; ``quiet`` is for it.
        """
        target = target or self.target
        given = {**self.vars, **(vars or {})}
        if process or self.engine == 2:
            child = self._popen(argv, target, given, env, quiet)
            out, err = child.communicate()
            return Result(
                child.returncode == 0,
                child.returncode,
                out + err,
                out.removesuffix("\n").split("\n") if out else [],
                [],
                out,
                err,
            )
        options = self._options(target, given)
        with _environment(env or {}):
            manifest = None
            if argv[0] in _WITH_MANIFEST and all(name.startswith("dbt_cicd_toolkit_") for name in given):
                parsed = self._parse(target)
                if isinstance(parsed, Result):
                    return parsed
                manifest = pickle.loads(parsed)
            done, _ = _call_core([*argv, *options], manifest, False)
        return Result(done.ok, done.returncode, done.output, done.printed, done.results)

    def op(
        self,
        macro: str,
        target: str | None = None,
        vars: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        process: bool = False,
        **args: Any,
    ) -> Any:
        """`dbt run-operation` and the value it printed: JSON where it is JSON, else the text, None when nothing.

        Raises:
            OperationFailed: it failed.
        """
        text = self.printed(macro, target=target, vars=vars, env=env, process=process, **args)
        try:
            return json.loads(text) if text is not None else None
        except json.JSONDecodeError:
            return text

    def printed(self, macro: str, args_text: str | None = None, **rest: Any) -> str | None:
        """`dbt run-operation` and the one line it printed, as it is. In: `args_text`, YAML for --args as a person types
        it, in place of keyword arguments; else as op()."""
        options = {name: rest.pop(name) for name in ("target", "vars", "env", "process") if name in rest}
        result = self.dbt("run-operation", macro, "--args", args_text or _yaml(rest), **options)
        if not result.ok:
            raise OperationFailed(result.output)
        lines = result.printed
        if self.engine == 2:  # dbt v2 logs on stdout even when it is quiet
            lines = [line for line in lines if not line.startswith(("WARNING dbt_cicd", "dbt_cicd_toolkit: "))]
        assert len(lines) <= 1, f"{macro} printed {len(lines)} lines: {lines}"
        return lines[0] if lines else None

    def error(self, macro: str, **rest: Any) -> ToolkitError:
        """The error of a `dbt run-operation` that must fail with a message of ours; its class says the kind. In: as
        printed()."""
        try:
            text = self.printed(macro, **rest)
        except OperationFailed as failed:
            error = failure(str(failed), 1, self.path, self.path / "profiles.yml")
            assert not str(error).startswith("dbt failed with"), error
            return error
        raise AssertionError(f"{macro} did not fail, it printed {text}")

    def build(self, *argv: str, target: str | None = None, **rest: Any) -> Result:
        """`dbt build` that must succeed."""
        result = self.dbt("build", *argv, target=target, **rest)
        assert result.ok, result.output
        return result

    def spawn(
        self,
        macro: str,
        target: str | None = None,
        vars: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        **args: Any,
    ) -> subprocess.Popen[str]:
        """A `dbt run-operation` as a process of its own, with pipes for both streams."""
        argv = ("run-operation", macro, "--args", _yaml(args))
        return self._popen(argv, target or self.target, {**self.vars, **(vars or {})}, env, True)

    def command(self, *argv: str, target: str | None = None, vars: Mapping[str, Any] | None = None) -> list[str]:
        """The command line of a dbt process on this project."""
        executable = os.environ["DBT_CICD_V2"] if self.engine == 2 else str(Path(sys.executable).with_name("dbt"))
        return [executable, *argv, *self._options(target or self.target, {**self.vars, **(vars or {})})]

    def _popen(
        self, argv: tuple[str, ...], target: str, given: dict[str, Any], env: Mapping[str, str] | None, quiet: bool
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*argv, target=target, vars=given),
            cwd=self.path,
            env=os.environ | {"DBT_QUIET": "true" if quiet else "false", "DBT_USE_COLORS": "false"} | dict(env or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    def _options(self, target: str, given: Mapping[str, Any]) -> list[str]:
        options = ["--project-dir", str(self.path), "--profiles-dir", str(self.path), "--target", target]
        return options + (["--vars", _yaml(given)] if given else [])

    def _parse(self, target: str) -> bytes | Result:
        """The parsed project, pickled: a command changes the manifest it is given."""
        if target not in self._manifests:
            # dbt keeps one partial parse; another target's makes it parse everything again.
            kept, current = self.path / ".parsed" / target, self.path / "target/partial_parse.msgpack"
            if kept.exists():
                current.parent.mkdir(exist_ok=True)
                shutil.copyfile(kept, current)
            done, manifest = _call_core(["parse", *self._options(target, {})], None, False)
            if not done.ok:
                return Result(done.ok, done.returncode, done.output, done.printed, done.results)
            kept.parent.mkdir(exist_ok=True)
            shutil.copyfile(current, kept)
            self._manifests[target] = pickle.dumps(manifest)
        return self._manifests[target]

    # database

    def sql(self, query: str, *params: Any) -> list[dict[str, Any]]:
        """Run SQL (parameters as %s) straight on the database, committed at once; its rows as dicts."""
        if self.database == "postgres":
            with contextlib.closing(self.connect()) as connection:
                connection.autocommit = True
                with connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
                    cursor.execute(query, params or None)
                    return [dict(row) for row in cursor.fetchall()] if cursor.description else []
        import duckdb

        with duckdb.connect(str(self.duckdb_file), read_only=self.engine == 2) as connection:
            cursor = connection.execute(query.replace("%s", "?") if params else query, list(params) or None)
            names = [column[0] for column in cursor.description or []]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def connect(self, **overrides: Any) -> psycopg2.extensions.connection:
        """A connection to the PostgreSQL database; ``overrides`` are psycopg2's (user, password …)."""
        return psycopg2.connect(**(connection_settings(self.server, self.name) | overrides))

    @property
    def duckdb_file(self) -> Path:
        """The DuckDB database."""
        return self.path.parent / "data" / f"{self.name}.duckdb"

    def rows(self, table: str, **where: Any) -> list[dict[str, Any]]:
        """The rows of a ledger table (without its prefix), oldest first."""
        condition = " and ".join(f"{name} = %s" for name in where) or "true"
        query = f"select * from dbt_cicd.dbt_cicd_{table} where {condition} order by recorded_at, id"
        return self.sql(query, *where.values())

    def counts(self) -> dict[str, int]:
        """How many rows every ledger table has; {} when there is no ledger."""
        tables = self.sql("select table_name from information_schema.tables where table_schema = 'dbt_cicd'")
        names = sorted(row["table_name"] for row in tables)
        if not names:
            return {}
        union = " union all ".join(f"select '{name}' as name, count(*) as n from dbt_cicd.{name}" for name in names)
        return {row["name"]: row["n"] for row in self.sql(union)}


def connection_settings(server: EmbeddedServer | None, database: str) -> dict[str, Any]:
    """psycopg2's arguments for a database of the server."""
    assert server is not None, "no PostgreSQL here"
    return {
        "host": server.host,
        "port": server.port,
        "user": server.user,
        "password": server.password,
        "dbname": database,
    }


@contextlib.contextmanager
def _environment(changes: Mapping[str, str]) -> Generator[None]:
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class Workshop:
    """Makes shops. What all workers of a test session share lies in ``shared`` (the server, the built databases, the
    parsed projects)."""

    def __init__(self, shared: Path, worker: str) -> None:
        _quicken_dbt()
        self.shared = shared
        self.worker = worker
        self._server: EmbeddedServer | None = None
        self._manifests: dict[str, bytes] = {}
        self._names: set[str] = set()

    @property
    def server(self) -> EmbeddedServer:
        """The PostgreSQL of the session, started by the first who asks."""
        if self._server is None:
            self._server = embedded.start(self.shared / "postgres", tcp=True)
        return self._server

    @contextlib.contextmanager
    def shop(
        self,
        directory: Path,
        database: str,
        engine: int = 1,
        template: str = "built",
        project: str = "shop",
    ) -> Generator[Shop]:
        """A project in ``directory``/shop. ``template``: 'built' (seeded and built, so the ledger has evidence and no
        versions) or 'empty'; ``project``: 'shop' or 'tiny' (no models)."""
        number = next(n for n in range(1000) if f"shop_{self.worker}_{n}" not in self._names)
        name = f"shop_{self.worker}_{number}"
        self._names.add(name)
        try:
            yield self._make(directory, database, engine, template, project, name)
        finally:
            self._names.discard(name)

    def _make(self, directory: Path, database: str, engine: int, template: str, project: str, name: str) -> Shop:
        # Every copy of a DuckDB file keeps its name, which is part of the names of its relations.
        name = name if database == "postgres" else "shop"
        built = self._built(database, engine) if template == "built" else None
        shop = self._copy(directory / "shop", database, engine, project, name)
        if database == "postgres":
            self._create_database(name, built)
        elif built:
            shutil.copyfile(built, shop.duckdb_file)
        if engine == 1:
            self._parsed(shop, project)
        return shop

    def _copy(self, path: Path, database: str, engine: int, project: str, name: str) -> Shop:
        """A project's files, with the package linked and a profile that holds the connection itself."""
        if project == "shop":
            ignored = shutil.ignore_patterns("target", "dbt_packages", "logs", "package-lock.yml", "profiles.yml")
            shutil.copytree(SHOP, path, ignore=ignored)
        else:
            path.mkdir(parents=True)
            (path / "dbt_project.yml").write_text(TINY_PROJECT, encoding="utf-8")
        (path / "packages.yml").write_text(f"packages:\n  - local: {ROOT}\n", encoding="utf-8")
        (path / "dbt_packages").mkdir()
        (path / "dbt_packages/dbt_cicd_toolkit").symlink_to(ROOT)
        (path / "target").mkdir()
        shop = Shop(path, database, engine, name, self.server if database == "postgres" else None)
        shop.duckdb_file.parent.mkdir(exist_ok=True)
        (path / "profiles.yml").write_text(json.dumps({"shop": self._profile(shop)}), encoding="utf-8")
        return shop

    def _profile(self, shop: Shop) -> dict[str, Any]:
        if shop.database == "duckdb":
            output = {"type": "duckdb", "path": str(shop.duckdb_file), "schema": "main", "threads": 2}
            return {"target": "duckdb", "outputs": {"duckdb": output}}
        connection = connection_settings(shop.server, shop.name) | {"type": "postgres", "threads": 2}
        outputs = {target: connection | {"schema": target} for target in ("dev", "staging", "prod")}
        return {"target": "dev", "outputs": outputs}

    def _parsed(self, shop: Shop, project: str) -> None:
        """Give a new copy the parsed project of an earlier one of the same database name."""
        key = f"parsed-{project}-{shop.name if shop.database == 'postgres' else 'duckdb'}"
        kept, pickled = self.shared / f"{key}.msgpack", self.shared / f"{key}.pickle"
        with locked(self.shared / f"{key}.lock"):
            if not pickled.exists():
                parsed = shop._parse(shop.target)
                assert isinstance(parsed, bytes), parsed.output
                shutil.copyfile(shop.path / "target/partial_parse.msgpack", kept)
                pickled.write_bytes(parsed)
                return
        if key not in self._manifests:
            self._manifests[key] = pickled.read_bytes()
        shop._manifests[shop.target] = self._manifests[key]
        (shop.path / ".parsed").mkdir()
        shutil.copyfile(kept, shop.path / ".parsed" / shop.target)
        shutil.copyfile(kept, shop.path / "target/partial_parse.msgpack")

    def _built(self, database: str, engine: int) -> Path:
        """The built database that copies are made of: a DuckDB file, or the name of a PostgreSQL database."""
        name = f"built_{database}_{engine}"
        folder = self.shared / name
        done = folder / "data/shop.duckdb" if database == "duckdb" else Path(name)
        with locked(self.shared / f"{name}.lock"):
            if not (folder / "done").exists():
                shutil.rmtree(folder, ignore_errors=True)
                shop = self._copy(folder / "shop", database, engine, "shop", name if database == "postgres" else "shop")
                if database == "postgres":
                    self._create_database(name, None)
                if engine == 1:
                    self._parsed(shop, "shop")
                # Unit tests are not implemented in dbt v2 on PostgreSQL.
                without = ("--exclude-resource-type", "unit_test") if (database, engine) == ("postgres", 2) else ()
                shop.build(*without)
                (folder / "done").touch()
        return done

    def _create_database(self, name: str, template: Path | None) -> None:
        with contextlib.closing(psycopg2.connect(**connection_settings(self.server, "postgres"))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f"drop database if exists {name} with (force)")
                cursor.execute(f"create database {name} template {template or 'template0'} strategy file_copy")
        if not template:
            return
        with contextlib.closing(psycopg2.connect(**connection_settings(self.server, name))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                # Relations are recorded with the name of their database.
                for table in ("builds", "test_results"):
                    cursor.execute(
                        f"update dbt_cicd.dbt_cicd_{table} set relation_name = replace(relation_name, %s, %s)",
                        (f'"{template}"', f'"{name}"'),
                    )


@contextlib.contextmanager
def locked(path: Path) -> Generator[None]:
    """One process at a time."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
