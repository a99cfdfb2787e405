"""Projects on real databases. `shop` (PostgreSQL), `any_shop` (PostgreSQL and DuckDB), `every_shop` (those, and dbt v2)
are seeded and built; `make_shop` makes more; `tiny`, `any_tiny`, `every_tiny` make projects of the files a test gives.
Selecting -m v2 runs the dbt v2 half of what takes an `every_…` fixture."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Protocol

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from dbt_cicd_toolkit.postgres import embedded, scratch_server
from support import database
from support.database import Database
from support.databases import Databases
from support.schema_project import SchemaProject
from support.shop import Shop, Workshop

V2 = pytest.param(("duckdb", 2), id="v2-duckdb", marks=pytest.mark.v2)
ANY = [pytest.param(("postgres", 1), id="postgres"), pytest.param(("duckdb", 1), id="duckdb")]
MakeShop = Callable[..., Shop]


class MakeTiny(Protocol):
    """Makes a project of files (path: text) on an empty database."""

    def __call__(self, files: Mapping[str, str], database: str = ..., engine: int = ...) -> Shop: ...


def _shared(config: pytest.Config) -> Path:
    """The directory of this test session, one for all workers."""
    base: Path = config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    return base.parent if hasattr(config, "workerinput") else base


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> Generator[None]:
    """The tests see neither the CI that runs them nor the user's settings of dbt and PostgreSQL."""
    ours = {"DBT_CICD_V2", "DBT_CICD_NO_SKIP", "DBT_ALLOW_EXPERIMENTAL_ADAPTERS"}
    prefixes = ("DBT_", "PG", "GITHUB_", "GITLAB_", "CI_", "BUILDKITE_", "CIRCLE_", "BUILD_", "BITBUCKET_")
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith(prefixes) and name not in ours:
                patch.delenv(name)
        patch.setenv("DBT_SEND_ANONYMOUS_USAGE_STATS", "false")
        yield


@pytest.fixture(autouse=True)
def _no_commit_left_behind() -> Generator[None]:
    """A command in this process leaves the commit of its project to the dbt it runs, in the environment."""
    yield
    os.environ.pop("DBT_CICD_GIT_COMMIT", None)


@pytest.fixture(scope="session", params=[16, 18])
def databases(request: pytest.FixtureRequest, pytestconfig: pytest.Config) -> Databases:
    """Makes databases on the session's embedded PostgreSQL 16, and 18."""
    return Databases(_shared(pytestconfig), request.param, os.environ.get("PYTEST_XDIST_WORKER", "main"))


@pytest.fixture(autouse=True)
def _databases_are_dropped(request: pytest.FixtureRequest) -> Generator[None]:
    """Those that the test makes; what a fixture of its module has made before it stays."""
    with contextlib.ExitStack() as stack:
        if "databases" in request.fixturenames:
            stack.enter_context(request.getfixturevalue("databases").dropped())
        yield


@pytest.fixture(scope="session")
def workshop(pytestconfig: pytest.Config) -> Workshop:
    return Workshop(_shared(pytestconfig), os.environ.get("PYTEST_XDIST_WORKER", "main"))


@pytest.fixture
def make_shop(workshop: Workshop, tmp_path: Path) -> Generator[MakeShop]:
    """make_shop(database='postgres', engine=1, template='built' | 'empty', project='shop' | 'tiny')."""
    numbers = itertools.count()
    with contextlib.ExitStack() as stack:

        def make(database: str = "postgres", engine: int = 1, template: str = "built", project: str = "shop") -> Shop:
            directory = tmp_path / str(next(numbers))
            return stack.enter_context(workshop.shop(directory, database, engine, template, project))

        yield make


@pytest.fixture
def shop(make_shop: MakeShop) -> Shop:
    return make_shop()


@pytest.fixture(params=ANY)
def any_shop(request: pytest.FixtureRequest, make_shop: MakeShop) -> Shop:
    return make_shop(*request.param)


@pytest.fixture(params=[*ANY, V2])
def every_shop(request: pytest.FixtureRequest, make_shop: MakeShop) -> Shop:
    return make_shop(*request.param)


@pytest.fixture
def tiny(make_shop: MakeShop) -> MakeTiny:
    def make(files: Mapping[str, str], database: str = "postgres", engine: int = 1) -> Shop:
        made = make_shop(database, engine, "empty", "tiny")
        made.write_all(files)
        return made

    return make


@pytest.fixture(params=ANY)
def any_tiny(request: pytest.FixtureRequest, tiny: MakeTiny) -> Callable[[Mapping[str, str]], Shop]:
    return lambda files: tiny(files, *request.param)


@pytest.fixture(params=[*ANY, V2])
def every_tiny(request: pytest.FixtureRequest, tiny: MakeTiny) -> Callable[[Mapping[str, str]], Shop]:
    return lambda files: tiny(files, *request.param)


MakeDatabase = Callable[[], Database]


@pytest.fixture
def make_db(workshop: Workshop, tmp_path: Path) -> Generator[MakeDatabase]:
    """Makes empty databases on the server of the session, each with a folder of migrations."""
    numbers = itertools.count()
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(
            database.database(workshop.server, tmp_path / f"db-{next(numbers)}", workshop.worker)
        )


@pytest.fixture
def db(make_db: MakeDatabase) -> Database:
    """An empty database with a folder of migrations."""
    return make_db()


@pytest.fixture(scope="session")
def schema_local(pytestconfig: pytest.Config) -> Generator[Path]:
    """The folder of the scratch servers that all schema projects of the session share."""
    local = _shared(pytestconfig) / "schema_local"
    with contextlib.ExitStack() as stack:
        for major in embedded.BUNDLED:
            stack.enter_context(scratch_server.shared(local, major))
        yield local


MakeSchema = Callable[[], SchemaProject]


@pytest.fixture
def make_schema(databases: Databases, schema_local: Path, tmp_path: Path) -> MakeSchema:
    """Makes folders for sources and releases."""
    numbers = itertools.count()
    return lambda: SchemaProject(databases, tmp_path / f"project-{next(numbers)}", schema_local)
