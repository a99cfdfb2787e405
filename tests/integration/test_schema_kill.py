"""An upgrade that is killed at any moment, a server that stops, an answer that is lost, two runs at once: the database
is at one release, whole, and the next run ends what was begun."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from dbt_cicd_toolkit.postgres import embedded
from dbt_cicd_toolkit.postgres.session import LOCK_KEY
from support.database import Result, ended
from support.databases import Databases
from support.forge import Wire
from support.launcher import Launcher
from support.schema_project import SchemaProject
from support.schema_releases import Stage, everything, installed, released

if TYPE_CHECKING:
    from conftest import MakeSchema

pytestmark = pytest.mark.parametrize("databases", [18], indirect=True)

SHOP = """
create schema shop;
create function shop.shout(value text) returns text immutable language sql begin atomic select upper(value){more}; end;
create table shop.customer (id integer primary key, {name} text{not_null}, score {type}{columns});
create view shop.scores as select id, score from shop.customer;
create view shop.top as select * from shop.scores where score > {least};
create materialized view shop.totals as select score, count(*) as n from shop.customer group by score;
{index}
"""
STAGES = (
    Stage(
        SHOP.format(name="name", type="integer", more="", least=1, columns="", index="", not_null="")
        + "create table shop.gone (id integer);"
    ),
    Stage(
        SHOP.format(
            name="full_name", type="bigint", more=" || '!'", least=1, columns=", note text", index="", not_null=""
        ),
        ("gone drop table if empty", "customer rename name full_name", "customer update set score = score + 1"),
    ),
    Stage(
        SHOP.format(
            name="full_name",
            type="bigint",
            more=" || '?'",
            least=2,
            columns=", note text, state text not null",
            index="create index concurrently customer_state on shop.customer (state);",
            not_null=" not null",
        )
        + "create table shop.visit (id integer references shop.customer);",
        ("customer add state 'text not null' 'new'",),
    ),
)
ROWS = """
insert into shop.customer values (1, 'Ann', 1), (2, 'Bob', 2);
create schema analytics; create view analytics.report as select * from shop.scores;
"""
CHANGING = ("alter", "create", "drop", "update", "set constraints")


class Upgrades:
    """A project on a server behind a wire, and what a database is before and after an upgrade."""

    def __init__(self, project: SchemaProject, wire: Wire, launcher: Launcher) -> None:
        self.project, self.wire, self.launcher = project, wire, launcher
        self.databases = project.databases
        self.start = installed(project, ROWS)
        self.before = self.state(self.start)
        end = self.databases.make(self.start)
        project.done("upgrade", database=end)
        self.after = self.state(end)
        self.output = project.path / "output.txt"

    def state(self, database: str) -> dict[str, Any]:
        """All that must be as it was; of the log, the releases."""
        found = everything(self.databases, database)
        log = (
            "select action, label from dbt_cicd.dbt_cicd_schema_log where action in ('install', 'upgrade') order by id"
        )
        kept = {name: text for name, text in found.items() if not name.startswith("rows of dbt_cicd.")}
        return kept | {"log": self.databases.rows(database, log)}

    def ready(self, database: str, *arguments: str) -> int:
        """An upgrade through the wire, in a process that waits for launcher.go(); its id."""
        environment = self.project.environment(database) | {"DB_HOST": "127.0.0.1", "DB_PORT": str(self.wire.port)}
        argv = ["schema", "upgrade", "--dir", str(self.project.folder), *arguments]
        return self.launcher.ready(argv, environment, self.output)

    def statements(self) -> list[str]:
        """What an upgrade sends."""
        self.ready(self.databases.make(self.start))
        self.wire.expect()
        assert self.launcher.go() == 0, self.output.read_text()
        return list(self.wire.statements)

    def kill(self, database: str, number: int, moment: str) -> None:
        """Kill an upgrade at its statement ``number``, and see its session end."""
        self.wire.expect(self.ready(database), number, moment)
        assert self.launcher.go() == -signal.SIGKILL, self.output.read_text()
        self.wire.expect()
        self.wait_until_alone(database)

    def wait_until_alone(self, database: str) -> None:
        """Poll until no session is left in the database."""
        with contextlib.closing(self.databases.connect("postgres")) as connection, connection.cursor() as cursor:
            others = True
            while others:
                cursor.execute("select 1 from pg_stat_activity where datname = %s", [database])
                others = cursor.rowcount > 0


def wire_to(databases: Databases) -> Wire:
    server = databases.server
    if server.host.startswith("/"):
        return Wire(f"{server.host}/.s.PGSQL.{server.port}", 0)
    return Wire(server.host, server.port)


@pytest.fixture(scope="module")
def launcher() -> Generator[Launcher]:
    with Launcher() as launcher:
        yield launcher


@pytest.fixture
def upgrades(make_schema: MakeSchema, databases: Databases, launcher: Launcher) -> Generator[Upgrades]:
    with wire_to(databases) as wire:
        yield Upgrades(released(make_schema, "shop", *STAGES), wire, launcher)


def test_killed_after_every_statement(upgrades: Upgrades) -> None:
    """Its last statements build an index after the COMMIT: those go on where they were."""
    statements = upgrades.statements()
    commit = committing(statements)
    points = [number for number, text in enumerate(statements[:commit]) if text.startswith(CHANGING) or not number % 25]
    assert len(points) > 20
    database = upgrades.databases.make(upgrades.start)
    for number in points:
        upgrades.kill(database, number, "answered")
        assert upgrades.state(database) == upgrades.before, statements[number]
        if number % 25 == 0:
            again = upgrades.databases.make(database)
            upgrades.project.done("upgrade", database=again)
            assert upgrades.state(again) == upgrades.after
    for number in range(commit, len(statements)):
        database = upgrades.databases.make(upgrades.start)
        upgrades.kill(database, number, "answered" if number % 2 else "sent")
        upgrades.project.done("upgrade", database=database)
        assert upgrades.state(database) == upgrades.after, statements[number]


def committing(statements: list[str]) -> int:
    """The place of the COMMIT in them."""
    (place,) = (number for number, text in enumerate(statements) if "'upgrade'" in text and text.endswith("; commit"))
    return place


def test_the_answer_to_the_commit_is_lost(upgrades: Upgrades) -> None:
    commit = committing(upgrades.statements())
    for moment, codes in (("unsent", (1,)), ("sent", (0, 1)), ("answered", (0,))):
        database = upgrades.databases.make(upgrades.start)
        upgrades.ready(database)
        upgrades.wire.expect(None, commit, moment, lambda: upgrades.wire.expect())
        code = upgrades.launcher.go()
        said = upgrades.output.read_text()
        assert code in codes, said
        assert ("release 3.0.0 was committed" in said) == (code == 0)
        assert ("nothing was done" in said) == (code == 1)
        assert upgrades.state(database) == (upgrades.after if code == 0 else upgrades.before)
        upgrades.project.done("upgrade", database=database)
        assert upgrades.state(database) == upgrades.after


def test_the_server_ends_the_session(upgrades: Upgrades) -> None:
    """pg_terminate_backend() in the middle of it."""
    statements = upgrades.statements()
    database = upgrades.databases.make(upgrades.start)
    end = "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s"
    for number in [number for number, text in enumerate(statements) if text.startswith("alter table")][::2]:
        upgrades.ready(database)

        def terminate() -> None:
            upgrades.wire.expect()
            with contextlib.closing(upgrades.databases.connect("postgres")) as connection:
                connection.cursor().execute(end, [database])

        upgrades.wire.expect(None, number, "sent", terminate)
        assert upgrades.launcher.go() == 1
        assert "nothing was done" in upgrades.output.read_text()
        upgrades.wait_until_alone(database)
        assert upgrades.state(database) == upgrades.before


def test_the_server_crashes(make_schema: MakeSchema, launcher: Launcher, tmp_path: Path) -> None:
    project = released(make_schema, "shop", *STAGES)
    databases = project.databases = Databases(tmp_path, 18, "crash")
    directory = tmp_path / "postgres_18"
    with wire_to(databases) as wire:
        upgrades = Upgrades(project, wire, launcher)
        statements = upgrades.statements()
        commit = committing(statements)

        def crash() -> None:
            os.kill(int((directory / "postmaster.pid").read_text().split()[0]), signal.SIGQUIT)

        for number in [*range(commit - 120, commit, 30), commit - 1, commit, commit + 13]:
            database = databases.make(upgrades.start)
            databases.execute("postgres", "checkpoint")  # until then a crash takes the copied sequences back
            upgrades.ready(database, "--wait", "0")
            wire.expect(None, number, "answered" if number % 2 else "sent", crash)
            assert launcher.go() in (0, 1), (number, upgrades.output.read_text())
            wire.expect()
            embedded.stop(directory)  # waits for the dying server, which else could still be taken for a running one
            embedded.start(directory, major=18)
            if number < commit:
                assert upgrades.state(database) == upgrades.before
            project.done("upgrade", database=database)
            assert upgrades.state(database) == upgrades.after, number
    embedded.stop(directory)


# Two at once


def at_once(project: SchemaProject, database: str, *arguments: str) -> list[Result]:
    """The same command in two processes, which are let go when both have come to the lock."""
    waiting = "select 1 from pg_stat_activity where datname = %s and application_name like 'dbt-cicd schema %%'"
    with contextlib.closing(project.databases.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute("select pg_advisory_lock(%s)", [LOCK_KEY])
        processes = [project.start(*arguments, database=database) for _ in range(2)]
        while cursor.rowcount != 2:
            assert all(process.poll() is None for process in processes), [ended(process) for process in processes]
            cursor.execute(waiting, [database])
    return sorted((ended(process) for process in processes), key=lambda result: (result.code, result.out))


def test_two_upgrades_at_once(upgrades: Upgrades) -> None:
    first, second = at_once(upgrades.project, upgrades.start, "upgrade", "--json")
    assert (first.code, second.code) == (0, 0), (first, second)
    assert sorted(result.json["steps"] > 0 for result in (first, second)) == [False, True]
    assert {result.json["from"] for result in (first, second)} == {"1.0.0", "3.0.0"}
    assert upgrades.state(upgrades.start) == upgrades.after


def test_two_installations_at_once(upgrades: Upgrades) -> None:
    database = upgrades.databases.make()
    first, second = at_once(upgrades.project, database, "install")
    assert (first.code, second.code) == (0, 1), (first, second)
    assert "the database has release 3.0.0" in second.err
    assert upgrades.project.done("check", "--json", database=database).json["differences"] == []


def test_an_upgrade_waits_for_a_reader(upgrades: Upgrades) -> None:
    """With a lock_timeout, so that nobody queues behind it for long."""
    databases, database = upgrades.databases, upgrades.start
    with contextlib.closing(databases.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute("begin; select * from shop.customer")
        process = upgrades.project.start("upgrade", database=database)
        line = process.stderr.readline()
        while "trying again" not in line:
            assert line, ended(process)
            line = process.stderr.readline()
        assert "canceling statement due to lock timeout" in line
        cursor.execute("commit")
    assert ended(process).code == 0
    assert upgrades.state(database) == upgrades.after


# A release

# Kills its process before or after the writing of a file: sitecustomize.py of a Python that is started with it.
HOOK = """
import os, signal

replace, moments = os.replace, int(os.environ["KILL_AT"])


def moment():
    global moments
    if moments == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    moments -= 1


def replace_and_die(source, target):
    if "schema" not in str(target).split("/"):
        return replace(source, target)
    moment()
    replace(source, target)
    moment()


os.replace = replace_and_die
"""
DELTA = "customer add extra 'text'"


def killed_at(project: SchemaProject, moment: int, *arguments: str) -> bool:
    """Run a command that is killed at a moment of its writing; was it, or had it ended before?"""
    hook = project.path / "hook"
    hook.mkdir(exist_ok=True)
    (hook / "sitecustomize.py").write_text(HOOK)
    environment = {"PYTHONPATH": str(hook), "KILL_AT": str(moment)}
    result = ended(project.start(*arguments, database="postgres", environment=environment))
    assert result.code in (0, -signal.SIGKILL), result
    return result.code != 0


def open_release(make: MakeSchema) -> SchemaProject:
    """A project whose second release is still to be made."""
    project = released(make, "shop", STAGES[0])
    project.write({"objects.sql": STAGES[0].source.replace("score integer", "score integer, extra text")})
    project.done("delta", DELTA)
    return project


def one_server(project: SchemaProject) -> list[str]:
    """Options: work on the server of the database alone, which takes less time than on every bundled one."""
    server = project.databases.server
    return ["--scratch-url", f"postgresql://{server.user}@{quote(server.host, '')}:{server.port}/postgres"]


def made(project: SchemaProject) -> list[str]:
    """The labels of the releases. Nothing else is in the files."""
    status = project.done("status", "--json").json
    labels = [release["label"] for release in status["releases"]]
    files = sorted(path.name for path in project.folder.joinpath("releases").iterdir() if path.suffix == ".json")
    assert files == [f"{number}_{label}.json" for number, label in enumerate(labels, 1)]
    assert status["deltas"] == ([] if len(labels) == 2 else [DELTA])
    return labels


def test_a_release_is_killed_at_every_file_it_writes(make_schema: MakeSchema) -> None:
    moment, seen = 0, []
    while killed_at(project := open_release(make_schema), moment, "release", "2.0.0", *one_server(project)):
        if moment % 2:  # the next command is any
            labels = made(project)
        else:
            again = project.schema("release", "2.0.0", *one_server(project))
            assert again.code == 0 or "release 2.0.0 was made" in again.err, again
            labels = ["1.0.0"] if again.code == 0 else made(project)
        seen.append(len(labels))
        if labels == ["1.0.0"]:
            project.schema("release", "2.0.0", *one_server(project))
        assert made(project) == ["1.0.0", "2.0.0"]
        moment += 1
    assert made(project) == ["1.0.0", "2.0.0"]
    assert seen == sorted(seen), seen
    assert set(seen) == {1, 2}
    database = installed(project)
    project.done("upgrade", database=database)
    assert project.done("check", "--json", database=database).json["differences"] == []


def test_two_releases_at_once(make_schema: MakeSchema) -> None:
    """The second one finds the first."""
    project = open_release(make_schema)
    processes = [project.start("release", "2.0.0", *one_server(project), database="postgres") for _ in range(2)]
    first, second = sorted((ended(process) for process in processes), key=lambda result: result.code)
    assert (first.code, second.code) == (0, 1), (first, second)
    assert "release 2.0.0 was made" in second.err
    assert made(project) == ["1.0.0", "2.0.0"]
    project.done("install", database=project.databases.make())


def test_a_release_is_killed_while_it_works(make_schema: MakeSchema) -> None:
    project = open_release(make_schema)
    process = project.start("release", "2.0.0", database="postgres")
    assert "installing" in process.stderr.readline()
    process.kill()
    assert ended(process).code == -signal.SIGKILL
    assert made(project) == ["1.0.0"]
    project.done("release", "2.0.0")
    assert made(project) == ["1.0.0", "2.0.0"]


def test_init_and_delta_are_killed_at_every_file_they_write(make_schema: MakeSchema) -> None:
    moment = 0
    while killed_at(project := make_schema(), moment, "init", "--schemas", "shop"):
        moment += 1
        if project.schema("init", "--schemas", "shop").code:
            project.done("status")
    assert moment > 2
    moment, project = 0, released(make_schema, "shop", STAGES[0])
    while killed_at(project, moment, "delta", DELTA):
        moment += 1
        if project.done("status", "--json").json["deltas"]:
            project.done("delta", "pop")
    assert moment == 2
