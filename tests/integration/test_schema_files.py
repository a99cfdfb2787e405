"""The files of releases: no byte of them may change, each can be made again out of the others; the log they leave in a
database; a schema has one master; and the command line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dbt_cicd_toolkit.errors import Differs, InvalidInput
from dbt_cicd_toolkit.schema.project import read
from support.database import Database
from support.databases import Databases
from support.schema_project import SchemaProject
from support.schema_releases import Stage, everything, installed, released

if TYPE_CHECKING:
    from conftest import MakeSchema

once = pytest.mark.parametrize("databases", [18], indirect=True, ids=["any"])

STAGES = (
    Stage("""create schema shop; create table shop.t (id integer primary key, a text);
comment on table shop.t is 'Ünï'; create view shop.v as select id from shop.t; create view shop.w as select 1 as a;"""),
    Stage(
        """create schema shop; create table shop.t (id integer primary key, b text, c integer not null);
comment on table shop.t is 'Ünï'; create view shop.v as select id, b from shop.t;""",
        ("t rename a b", "t add c 'int not null' 0", "t update set b = 'released' where b is null"),
    ),
    Stage(
        """create schema shop; create table shop.t (id integer primary key, b text, c integer not null, d integer);
comment on table shop.t is 'Ünï'; create view shop.v as select id, b from shop.t;
create view shop.w as select 1 as a;""",
        ("t add d 'int' 7",),
    ),
)
NAMES = ["1_1.0.0.json", "2_2.0.0.json", "3_3.0.0.json"]


def three(make: MakeSchema) -> SchemaProject:
    """A project with three releases, and a delta that is open."""
    project = released(make, "shop", *STAGES)
    project.done("delta", "t update set c = 1")
    return project


def files(project: SchemaProject) -> dict[str, bytes]:
    """Every file of the folder, by its path there."""
    paths = (path for path in project.folder.rglob("*") if path.is_file())
    return {str(path.relative_to(project.folder)): path.read_bytes() for path in paths}


def newest(project: SchemaProject) -> Path:
    return project.folder / "releases" / NAMES[-1]


def flipped(data: bytes, at: int, bit: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]


# One byte


@once
def test_no_byte_of_a_release_or_of_the_history_may_change(make_schema: MakeSchema) -> None:
    project = released(make_schema, "shop", *STAGES[:2])
    path = project.folder / "schema.hist"
    data = path.read_bytes()
    assert data == (project.folder / "releases" / NAMES[1]).read_bytes()
    for at in range(len(data)):
        path.write_bytes(flipped(data, at, at * 5 % 8))
        with pytest.raises((Differs, InvalidInput)) as caught:
            read(path)
        assert caught.type is Differs or "has the format" in str(caught.value), (at, data[at - 20 : at + 20])


ON_HISTORY: list[tuple[str, ...]] = [
    ("status",), ("release", "4.0.0"), ("delta", "list"), ("delta", "t drop d"), ("history", "t"), ("check",)
]  # fmt: skip
ON_RELEASE: list[tuple[str, ...]] = [("upgrade",), ("plan",), ("install",), ("upgrade", "--dry-run")]


@once
@pytest.mark.parametrize(
    ("name", "commands"),
    [("schema.hist", ON_HISTORY), (f"releases/{NAMES[-1]}", ON_RELEASE)],
    ids=["history", "release"],
)
def test_every_command_refuses_what_was_changed(
    make_schema: MakeSchema, databases: Databases, name: str, commands: list[tuple[str, ...]]
) -> None:
    project = three(make_schema)
    database = installed(project, "insert into shop.t values (1, 'x')")
    before, path = everything(databases, database), project.folder / name
    data = path.read_bytes()
    for turn, at in enumerate(range(0, len(data), 97)):
        path.write_bytes(flipped(data, at, turn % 8))
        kept = files(project)
        result = project.schema(*commands[turn % len(commands)], database=database)
        assert result.code == 3, (at, result.out, result.err)
        assert name in result.err
        assert files(project) == kept
    assert everything(databases, database) == before
    path.write_bytes(data)
    project.done("upgrade", database=database)
    assert databases.rows(database, "select * from shop.t") == [(1, "x", 0, 7)]


@once
def test_no_byte_of_the_released_deltas_may_change(make_schema: MakeSchema) -> None:
    project = three(make_schema)
    path = project.folder / "schema.delta"
    data = path.read_bytes()
    end = data.index(b"-- release 3 3.0.0\n") + len(b"-- release 3 3.0.0")
    commands = [("status",), ("release", "4.0.0"), ("delta", "list"), ("history", "t")]
    for at in range(end):
        path.write_bytes(flipped(data, at, at % 8))
        kept = files(project)
        result = project.schema(*commands[at % len(commands)])
        assert result.code == 3, (at, path.read_bytes(), result.out, result.err)
        assert "schema.delta" in result.err
        assert files(project) == kept


@once
@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param(lambda _: b"", 3, id="empty"),
        pytest.param(lambda data: data[:-1], 3, id="shorter"),
        pytest.param(lambda data: data + b"\n", 3, id="longer"),
        pytest.param(lambda data: data[: len(data) // 2], 3, id="half"),
        pytest.param(lambda data: data.replace(b"\n", b"\r\n"), 3, id="line-ends"),
        pytest.param(lambda data: b"\xef\xbb\xbf" + data, 3, id="byte-order-mark"),
        pytest.param(lambda data: json.dumps(json.loads(data)).encode(), 3, id="reformatted"),
        pytest.param(lambda data: data.replace(b'"last": 2', b'"last": 3', 1), 3, id="overlapping"),
        pytest.param(lambda data: data.replace(b'"number": 1', b'"number": 2', 1), 3, id="number"),
        pytest.param(lambda data: data.replace(b'"module": "', b'"module": "other_', 1), 3, id="module"),
        pytest.param(lambda data: data.replace(b'"shop"\n ],', b'"shop",\n  "util"\n ],', 1), 3, id="schemas"),
        pytest.param(lambda data: data.replace(b'"check": null', b'"check": {}', 1), 3, id="check"),
        pytest.param(lambda data: data.replace(b'"steps": {}', b'"steps": []', 1), 3, id="steps"),
        pytest.param(lambda data: data.replace(b'"fingerprint": {', b'"fingerprint": {"17": [],', 1), 3, id="mark"),
        pytest.param(lambda data: data.replace(b'"format": 1', b'"format": "1"', 1), 3, id="format-text"),
        pytest.param(lambda data: data.replace(b'"format": 1', b'"format": 2', 1), 2, id="newer-format"),
        *(pytest.param(lambda _, text=text: text, 3, id=text.decode()[:9]) for text in (b"[]", b"{}", b"null", b"1")),
        pytest.param(lambda _: b"[" * 100_000, 3, id="deep"),
    ],
)
def test_files_that_are_something_else(make_schema: MakeSchema, change: Callable[[bytes], bytes], code: int) -> None:
    project = three(make_schema)
    for path, command in ((project.folder / "schema.hist", "status"), (newest(project), "upgrade")):
        data = path.read_bytes()
        path.write_bytes(change(data))
        assert path.read_bytes() != data
        result = project.schema(command)
        assert result.code == code, (result.out, result.err)
        assert str(path) in result.err
        path.write_bytes(data)


# Files that are not those of this release, this module, this database


@once
@pytest.mark.parametrize("name", ["3_3.0.1.json", "4_3.0.0.json", "30_3.0.0.json"])
def test_a_release_file_under_another_name(make_schema: MakeSchema, name: str) -> None:
    project = three(make_schema)
    newest(project).rename(newest(project).with_name(name))
    result = project.schema("upgrade")
    assert result.code == 3
    assert f"{name} holds another release than its name says" in result.err


@once
def test_an_older_release_in_the_file_of_a_later_one(make_schema: MakeSchema) -> None:
    project = three(make_schema)
    shutil.copy(newest(project).with_name(NAMES[1]), newest(project))
    for command in (("upgrade",), ("status",), ("release", "4.0.0")):
        result = project.schema(*command)
        assert result.code == 3
        assert NAMES[2] in result.err


@once
def test_a_history_of_another_module_or_an_older_one(make_schema: MakeSchema) -> None:
    project, other = released(make_schema, "shop", STAGES[0]), make_schema()
    other.done("init", "--schemas", "shop", "--module", "other")
    other.write({"objects.sql": STAGES[0].source})
    other.done("release", "1.0.0")
    history = project.folder / "schema.hist"
    shutil.copy(other.folder / "schema.hist", history)
    kept = files(project)
    for command in (("status",), ("release", "2.0.0"), ("check",)):
        result = project.schema(*command)
        assert result.code == 3, (command, result.out)
        assert str(history) in result.err
    assert project.schema("repair").code == 1
    assert files(project) == kept
    project = three(make_schema)
    shutil.copy(newest(project).with_name(NAMES[1]), project.folder / "schema.hist")
    assert project.schema("status").code == 3
    project.done("repair")
    project.done("status")


@once
def test_a_release_of_another_module_over_a_database(make_schema: MakeSchema, databases: Databases) -> None:
    project = released(make_schema, "shop", *STAGES[:1])
    database = installed(project)
    other = make_schema()
    other.done("init", "--schemas", "util,shop", "--module", "other")
    other.write({"objects.sql": f"create schema util; {STAGES[0].source}"})
    other.done("release", "1.0.0")
    before = everything(databases, database)
    result = other.schema("upgrade", database=database)
    assert (result.code, "no release of other" in result.err) == (1, True)
    result = other.schema("install", database=database)
    assert (result.code, "schema shop is managed by the module" in result.err) == (1, True)
    assert everything(databases, database) == before


@once
def test_an_older_release_over_a_newer_database(make_schema: MakeSchema, databases: Databases) -> None:
    project = three(make_schema)
    database = installed(project, "insert into shop.t (id, c) values (1, 2)", "3.0.0")
    before = everything(databases, database)
    for arguments in (("upgrade", "--to", "1.0.0"), ("upgrade", "--to", "2"), ("install", "--to", "1.0.0")):
        result = project.schema(*arguments, database=database)
        assert result.code == 1
        assert "3.0.0" in result.err
    for name in NAMES[1:]:
        (project.folder / "releases" / name).unlink()
    assert project.schema("upgrade", database=database).code == 1
    (project.folder / "schema.hist").unlink()
    assert project.schema("check", database=database).code == 2
    assert everything(databases, database) == before


@once
def test_a_release_that_was_made_twice(make_schema: MakeSchema, databases: Databases) -> None:
    """Two branches have made the same release: the database has the one, the files have the other."""
    project = released(make_schema, "shop", *STAGES[:1])
    database = installed(project)
    other = make_schema()
    other.done("init", "--schemas", "shop", "--module", project.path.name)
    other.write({"objects.sql": f"{STAGES[0].source} create view shop.x as select 1 as a;"})
    other.done("release", "1.0.0")
    other.write({"objects.sql": f"{STAGES[0].source} create view shop.y as select 1 as a;"})
    other.done("release", "2.0.0")
    module = json.loads((project.folder / "schema.hist").read_text(encoding="utf-8"))["module"]
    assert module == project.path.name
    before = everything(databases, database)
    result = other.schema("upgrade", database=database)
    assert (result.code, "is not the one in the files" in result.err) == (3, True)
    result = other.schema("check", "--json", database=database)
    assert result.code == 3
    assert result.json["differences"][0] == "release 1.0.0 of the database is not the one in the files"
    assert everything(databases, database) == before


@once
def test_a_source_that_others_need_is_gone(make_schema: MakeSchema) -> None:
    project = make_schema()
    project.done("init", "--schemas", "shop")
    parts = {f"{number}.sql": f"{part.strip()};" for number, part in enumerate(STAGES[0].source.split(";")[:-1])}
    project.write(parts)
    project.done("release", "1.0.0")
    project.write({name: text for name, text in parts.items() if "create table" not in text})
    kept = files(project)
    result = project.schema("release", "2.0.0")
    assert result.code == 1
    assert '3.sql:1:1: relation "shop.t" does not exist' in result.err
    assert '2.sql:1:1: relation "shop.t" does not exist' in result.err
    assert files(project) == kept


@once
@pytest.mark.parametrize(
    "line", ["t frobnicate b", "t", "t list", "t drop", "nope drop b", "t add x 'int", "nope list x"]
)
def test_an_unknown_operation(make_schema: MakeSchema, line: str) -> None:
    project = three(make_schema)
    kept = files(project)
    if line != "t list":
        assert project.schema("delta", line).code == 2
        assert files(project) == kept
    path = project.folder / "schema.delta"
    path.write_bytes(path.read_bytes() + f"{line}\n".encode())
    result = project.schema("release", "4.0.0")
    assert result.code == 2
    assert "schema.delta:9:" in result.err


# Made again


@once
@pytest.mark.parametrize(
    "lost",
    [
        ["schema.hist"],
        *([f"releases/{name}"] for name in NAMES),
        [f"releases/{name}" for name in NAMES],
        ["schema.hist", *(f"releases/{name}" for name in NAMES[:-1]), "schema.delta"],
    ],
    ids=["history", *NAMES, "releases", "all-but-newest"],
)
@pytest.mark.parametrize("how", ["deleted", "damaged"])
def test_what_is_lost_is_made_again_byte_by_byte(make_schema: MakeSchema, lost: list[str], how: str) -> None:
    project = three(make_schema)
    project.done("delta", "pop")  # what is open is nowhere else
    before = files(project)
    for name in lost:
        path = project.folder / name
        path.unlink() if how == "deleted" else path.write_bytes(path.read_bytes().replace(b"shop", b"s\xc3p", 1))
    damaged = [name for name in lost if files(project).get(name) != before[name]]
    result = project.done("repair", "--json")
    assert sorted(Path(each).name for each in result.json["made"]) == sorted(Path(each).name for each in damaged)
    assert files(project) == before
    assert project.done("repair", "--json").json["made"] == []
    project.done("status")


@once
def test_the_released_deltas_are_made_again_and_open_ones_stay(make_schema: MakeSchema) -> None:
    project = three(make_schema)
    path = project.folder / "schema.delta"
    whole = path.read_text()
    path.write_text(
        whole.replace("t add c 'int not null' 0\n", "").replace("-- release 3", "-- a comment\n-- release 3")
    )
    assert project.schema("status").code == 3
    project.done("repair")
    assert path.read_text() == whole.replace("-- release 3", "-- a comment\n-- release 3")
    assert project.done("delta", "list", "--json").json["deltas"] == ["t update set c = 1"]


@once
@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(lambda data: data + b"-- f\xfcr\n", "is 0xFC, which is not UTF-8", id="latin1"),
        pytest.param(lambda data: data + b"t drop \0\n", "is NUL", id="nul"),
        pytest.param(lambda data: data.decode().encode("utf-16"), "is UTF-16. Save it as UTF-8", id="utf-16"),
    ],
)
def test_what_is_open_is_not_guessed(make_schema: MakeSchema, change: Callable[[bytes], bytes], said: str) -> None:
    """Nothing else has it."""
    project = three(make_schema)
    path = project.folder / "schema.delta"
    path.write_bytes(change(path.read_bytes()))
    newest(project).unlink()
    kept = files(project)
    result = project.schema("repair")
    assert (result.code, said in result.err) == (2, True), result.err
    assert files(project) == kept


@once
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda data: data.replace(b"t rename", b"t \xff\0", 1), id="other-bytes"),
        pytest.param(lambda data: data.replace(b"-- release 3 3.0.0\n", b""), id="last-end"),
        pytest.param(lambda data: data.replace(b"-- release 2 2.0.0\n", b""), id="an-end"),
        pytest.param(lambda data: b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n"), id="line-ends"),
    ],
)
def test_what_is_released_is_made_again_and_no_open_line_is_changed(
    make_schema: MakeSchema, change: Callable[[bytes], bytes]
) -> None:
    project = three(make_schema)
    path = project.folder / "schema.delta"
    whole = path.read_bytes() + "t update set b = 'x\x0cy\u2028z'\n".encode()
    path.write_bytes(change(whole))
    project.done("repair")
    assert path.read_bytes() == whole
    project.done("status")


@once
def test_a_release_that_no_file_knows_any_more_is_not_forgotten(make_schema: MakeSchema) -> None:
    project = three(make_schema)
    for path in (project.folder / "schema.hist", newest(project)):
        path.unlink()
    kept = files(project)
    result = project.schema("repair")
    assert result.code == 1
    assert "tells of release 3" in result.err
    result = project.schema("status")
    assert result.code == 2
    assert "dbt-cicd schema repair" in result.err
    result = project.schema("init", "--schemas", "shop")
    assert result.code == 1
    assert files(project) == kept


@once
def test_nothing_is_left(make_schema: MakeSchema) -> None:
    project = three(make_schema)
    for path in (project.folder / "schema.hist", *project.folder.glob("releases/*")):
        path.write_bytes(b"{}")
    newest(project).write_bytes(b"{ \xff")
    kept = files(project)
    result = project.schema("repair")
    assert result.code == 1
    assert f"{newest(project)} is not as it was written: byte 2 is 0xFF, which is not UTF-8" in result.err
    assert files(project) == kept


@once
def test_old_releases_are_made_and_installed_from_the_files_alone(
    make_schema: MakeSchema, databases: Databases
) -> None:
    project = three(make_schema)
    shutil.rmtree(project.folder / "objects")
    structures = []
    for label in ("1.0.0", "2.0.0", "3.0.0"):
        database = installed(project, label=label)
        structures.append(project.structure(database, "shop"))
    assert "view shop.w" in structures[0]
    assert "view shop.w" not in structures[1]
    assert "view shop.w" in structures[2]
    for name in ("schema.hist", "schema.delta", *(f"releases/{name}" for name in NAMES[:-1])):
        (project.folder / name).unlink()
    database = databases.make()
    project.done("install", database=database)
    assert project.structure(database, "shop") == structures[2]
    assert databases.rows(database, "select label from dbt_cicd.dbt_cicd_schema_log") == [("3.0.0",)]


# A schema has one master


def migrations(databases: Databases, project: SchemaProject, database: str) -> Database:
    """The migrations of `dbt-cicd db` beside a project, for the same database."""
    return Database(databases.server, database, project.path / "beside")


@once
def test_a_schema_of_migrations_is_refused(make_schema: MakeSchema, databases: Databases) -> None:
    project = released(make_schema, "shop", *STAGES[:1])
    database = databases.make()
    beside = migrations(databases, project, database)
    beside.migration("1.0.0__Make_shop", "create schema shop; create table shop.theirs (id integer);")
    beside.done("migrate")
    before = everything(databases, database)
    result = project.schema("install", database=database)
    assert (result.code, "schema shop is managed by migrations" in result.err) == (1, True)
    assert everything(databases, database) == before


@once
def test_both_in_one_database(make_schema: MakeSchema, databases: Databases) -> None:
    project = three(make_schema)
    database = installed(project)
    beside = migrations(databases, project, database)
    beside.migration("1.0.0__Make_other", "create schema other; create table other.own (id integer);")
    beside.done("migrate")
    project.done("upgrade", "--strict", database=database)
    beside.migration("1.1.0__Make_more", "create table other.more (id integer);")
    beside.done("migrate")
    assert beside.tables("other") == ["more", "own"]


TOUCHING = (
    "alter table shop.t add theirs integer",
    'alter table only "shop" . "t" add theirs integer',
    "create table shop.theirs (id integer)",
    "create index theirs on shop.t (a)",
    "create trigger g before update on shop.t for each row execute function f()",
    "drop view if exists public.nothing, shop.v",
    "drop schema shop cascade",
    "insert into shop.t values (1)",
    "truncate shop.t",
    "comment on table shop.t is 'theirs'",
    "comment on column shop.t.id is 'theirs'",
    "grant select on shop.t to public",
    "revoke all on all tables in schema public, shop from public",
    "alter default privileges in schema shop grant select on tables to public",
    "alter table also set schema shop",
)


@once
def test_a_migration_that_touches_a_managed_schema_is_refused(make_schema: MakeSchema, databases: Databases) -> None:
    project = released(make_schema, "shop", *STAGES[:1])
    database = installed(project)
    beside = migrations(databases, project, database)
    beside.table("1.0.0", "theirs")
    beside.done("migrate")
    before = everything(databases, database)
    for statement in TOUCHING:
        path = beside.migration("1.1.0__Touch_it", f"create table also (id integer);\n  {statement};")
        result = beside.db("migrate")
        assert result.code == 1, (statement, result.out, result.err)
        assert f"{path.name}:2:3: the schema shop is managed by `dbt-cicd schema`" in result.err
        assert everything(databases, database) == before


def test_migrations_leave_a_managed_schema_out(make_schema: MakeSchema, databases: Databases) -> None:
    project = three(make_schema)
    database = installed(project)
    beside = migrations(databases, project, database)
    beside.table("1.0.0", "theirs")
    beside.done("migrate")
    project.done("upgrade", database=database)
    result = beside.db("status", "--drift", "--json")
    assert result.code == 0, (result.out, result.err)
    beside.table("1.1.0", "more")
    beside.done("migrate")
    beside.done("snapshot", "1.1.0")
    snapshots = "".join(path.read_text() for path in beside.path.rglob("*.sql") if "migrations" not in path.parts)
    assert "more" in snapshots
    assert "shop" not in snapshots
    result = project.done("check", "--json", database=database)
    assert (result.json["differences"], result.json["additions"]) == ([], [])
    recorded = databases.rows(
        database,
        "select detail -> 'objects' from dbt_cicd.dbt_cicd_migration_log where action = 'catalog' order by id desc",
    )
    assert not [name for name in recorded[0][0] if "shop" in name]


@once
def test_a_setting_that_names_a_managed_schema_is_refused(make_schema: MakeSchema, databases: Databases) -> None:
    project = released(make_schema, "shop", *STAGES[:1])
    database = installed(project)
    beside = migrations(databases, project, database)
    beside.table("1.0.0", "theirs")
    beside.config("schemas: [public, shop]\n")
    result = beside.db("migrate")
    assert (result.code, "the setting `schemas` names shop" in result.err) == (1, True)
    assert beside.tables() == []


# The command line


@once
def test_the_spellings_of_the_seed(make_schema: MakeSchema) -> None:
    project = released(make_schema, "shop", *STAGES[:1])
    assert project.done("-g", "shop.t rename a b").out == "shop.t rename a b\n"
    assert project.done("-g", "t add c integer 0", "--json").json["deltas"] == [
        "shop.t rename a b",
        "t add c 'integer' 0",
    ]
    assert project.done("--migrate", "shop.t list").out == "2: shop.t rename a b\n3: t add c 'integer' 0\n"
    assert project.done("--migrate=shop.t pop").out == "taken back: t add c 'integer' 0\n"
    assert project.done("delta", "list", "shop.t").out == "2: shop.t rename a b\n"
    source = STAGES[0].source.replace("a text", "b text")
    project.write({"objects.sql": source})
    assert project.done("--release=1.1.0", "--json").json["label"] == "1.1.0"
    assert [each["label"] for each in project.done("status", "--json").json["releases"]] == ["1.0.0", "1.1.0"]
    for spelling in (("-r", "1.0.5"), ("--release", "1.0.5"), ("--dry-run", "--release=1.0.5")):
        result = project.schema(*spelling)
        assert (result.code, "1.0.5 is not above 1.1.0" in result.err) == (2, True)
    result = project.schema("delta", "pop")
    assert (result.code, "no open operation" in result.err) == (1, True)


@once
def test_the_documents(make_schema: MakeSchema, databases: Databases) -> None:
    """Every command answers with one document, on success and on refusal."""
    project = three(make_schema)
    database = databases.make()

    def document(*arguments: str, code: int = 0) -> dict[str, object]:
        result = project.schema(*arguments, "--json", database=database)
        assert result.code == code, (result.out, result.err)
        found: dict[str, object] = result.json
        assert found["success"] is (code == 0)
        return found

    assert document("delta", "list")["deltas"] == ["t update set c = 1"]
    assert document("delta", "t drop d")["deltas"] == ["t update set c = 1", "t drop d"]
    assert document("delta", "pop")["deltas"] == ["t update set c = 1"]
    status = document("status")
    assert (status["schemas"], status["deltas"], status["changed"], status["gone"]) == (
        ["shop"], ["t update set c = 1"], [], []
    )  # fmt: skip
    project.write({"objects.sql": STAGES[2].source.replace("select 1 as a", "select 2 as a")})
    status = document("status")
    assert [str(each).rpartition("/")[2] for each in status["changed"]] == ["objects.sql:3:1: view shop.w"]  # type: ignore[attr-defined]
    assert status["gone"] == ["view shop.w"]
    objects = document("history", "shop.t")["objects"]
    assert [(each["version"], each["first"], each["last"]) for each in objects] == [(1, 1, 1), (2, 2, 2), (3, 3, 3)]  # type: ignore[attr-defined]
    objects = document("history", "w")["objects"]
    assert [(each["version"], each["first"], each["last"]) for each in objects] == [(1, 1, 1), (2, 3, 3)]  # type: ignore[attr-defined]

    assert document("check")["release"] is None
    assert document("upgrade", code=1)["exit_code"] == 1
    assert document("install", "--to", "9.9.9", code=2)["exit_code"] == 2
    assert document("install", "--to", "1") == {
        "success": True, "from": None, "release": "1.0.0", "steps": 5, "additions": []
    }  # fmt: skip
    databases.execute(database, "create index theirs on shop.t (a); insert into shop.t values (1, null)")
    assert document("check") == {
        "success": True, "release": "1.0.0", "differences": [], "additions": ["index shop.theirs"], "diff": ""
    }  # fmt: skip
    before = everything(databases, database)
    for arguments in (("plan",), ("upgrade", "--dry-run"), ("plan", "--from", "1.0.0")):
        plan = document(*arguments)
        assert (plan["before"], plan["after"]) == ("1.0.0", "3.0.0")
        steps = [(label, step["sql"]) for label, step in plan["steps"]]  # type: ignore[attr-defined]
        assert ("2.0.0", 'alter table "shop"."t" rename column "a" to "b"') in steps
        assert ("3.0.0", "create view shop.w as select 1 as a") in steps
    assert everything(databases, database) == before
    assert document("upgrade", "--to", "2.0.0")["additions"] == ["index shop.theirs"]
    assert document("upgrade")["release"] == "3.0.0"
    assert document("upgrade")["steps"] == 0
    databases.execute(database, "drop view shop.w")
    assert document("check", code=3)["differences"] == ["view shop.w: missing"]
    kept = files(project)
    made = document("release", "3.1.0", "--dry-run")
    assert (made["release"], made["label"]) == (4, "3.1.0")
    assert files(project) == kept
    made = document("release", "3.1.0")
    assert Path(str(made["file"])).read_bytes() == (project.folder / "schema.hist").read_bytes()
    assert [step["kind"] for step in made["steps"]["14"]] == ["data", "replace"]  # type: ignore[index]


@once
@pytest.mark.parametrize(
    ("label", "code", "said"),
    [
        ("1.2", 2, "write 1.2.0"),
        ("v4.0.0", 2, "write 4.0.0"),
        ("latest", 2, "SemVer"),
        ("", 2, "SemVer"),
        ("4.0.0/../../x", 2, "SemVer"),
        ("3.0.0", 1, "release 3.0.0 was made on"),
        ("1.0.0", 1, "release 1.0.0 was made on"),
        ("2.5.0", 2, "not above 3.0.0"),
        ("3.0.0-rc.1", 2, "not above 3.0.0"),
        ("3.0.0+build", 2, "not above 3.0.0"),
    ],
)
def test_labels_that_are_none(make_schema: MakeSchema, label: str, code: int, said: str) -> None:
    project = three(make_schema)
    project.write({"objects.sql": f"{STAGES[2].source} create view shop.x as select 1 as a;"})
    kept = files(project)
    result = project.schema("release", label)
    assert result.code == code, result.err
    assert said in result.err
    assert files(project) == kept


@once
def test_a_release_without_a_change_is_none(make_schema: MakeSchema) -> None:
    project = three(make_schema)
    project.done("delta", "pop")
    kept = files(project)
    result = project.schema("release", "4.0.0")
    assert (result.code, "nothing has changed since release 3.0.0" in result.err) == (1, True)
    assert files(project) == kept


@once
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("install", "--to", "0"), 2),
        (("upgrade", "--to", "4"), 2),
        (("plan", "--from", "3.1.0"), 2),
        (("plan", "--from", "3.0.0", "--to", "1.0.0"), 2),
        (("history", "nothing"), 2),
        (("delta", "t drop d", "too much"), 2),
        (("release",), 2),
        (("-g",), 2),
        (("frobnicate",), 2),
        (("init", "--schemas", "shop"), 1),
        (("upgrade", "--url", "postgresql://me:secret@localhost/x"), 2),
    ],
)
def test_arguments_that_are_refused(make_schema: MakeSchema, arguments: tuple[str, ...], code: int) -> None:
    project = three(make_schema)
    kept = files(project)
    result = project.schema(*arguments)
    assert result.code == code, (result.out, result.err)
    assert "secret" not in result.err
    assert files(project) == kept


@once
@pytest.mark.parametrize("seconds", ["nan", "inf", "-inf", "-1", "1e400", "soon", ""])
@pytest.mark.parametrize("command", ["upgrade", "check", "status"])
def test_a_time_to_wait_that_is_none(make_schema: MakeSchema, command: str, seconds: str) -> None:
    result = make_schema().schema(command, f"--wait={seconds}")
    assert (result.code, result.out) == (2, "")
    assert f"'--wait': '{seconds}' is no number of seconds. Write 0 or more" in result.err
