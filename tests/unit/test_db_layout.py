"""`init`: what it lays out, what it leaves alone; the texts of its files and of new migrations."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest

from dbt_cicd_toolkit import config
from dbt_cicd_toolkit.config import Config
from dbt_cicd_toolkit.db import texts
from dbt_cicd_toolkit.db.layout import (
    AlreadyThere,
    Layout,
    flyway_text,
    has_util,
    init,
    migration_text,
    rollback_text,
    write_new,
)
from dbt_cicd_toolkit.errors import InvalidInput, Refused

NOW = datetime(2024, 1, 15, 15, 45)
FILES = [
    "ENTERPRISE_DATABASE_GIT_WORKFLOW.md",
    "database/config/db_config.yaml",
    "database/config/flyway.conf",
    "database/config/postgresql_production.conf",
    "database/migrations/.gitkeep",
    "database/rollback/.gitkeep",
    "database/schema_snapshots/.gitkeep",
    "database/tools/database_version_manager.py",
    "database/tools/db_version_manager.py",
    "database/version_control/database_version_control_guide.md",
    "database/version_control/enhanced_database_version_control.sql",
]
CONNECTION = {"host": "localhost", "port": "5432", "dbname": "one_vault", "user": "postgres"}


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    project = tmp_path / "project"
    (project / ".git").mkdir(parents=True)
    monkeypatch.chdir(project)
    return Layout(Path("database"))


def listing(folder: Path) -> list[str]:
    files = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in files if name != ".gitignore")


def test_init_lays_everything_out_and_twice_is_once(layout: Layout) -> None:
    made = init(layout, now=NOW)
    assert sorted(map(str, made.created)) == FILES == listing(Path())
    assert made.kept == [] and made.notes == [".gitignore: added .env and .local/"]
    layout.config_file.write_text("role: changed\n")
    before = {name: Path(name).stat().st_mtime_ns for name in FILES}
    again = init(layout, now=NOW)
    assert again.created == [] and {str(path) for path in again.kept} == {f for f in FILES if ".gitkeep" not in f}
    assert {name: Path(name).stat().st_mtime_ns for name in FILES} == before
    assert config.load(layout.config_file).role == "changed"


def test_init_with_the_sample(layout: Layout) -> None:
    made = init(layout, sample=True, now=NOW)
    names = [str(path) for path in made.created]
    back = "database/rollback/V1.0.0__Initial_Foundation_rollback.sql"
    forward = "database/migrations/V1.0.0__Initial_Foundation.sql"
    assert names.index(back) < names.index(forward), "a killed init leaves no migration without its rollback"
    assert not (layout.migrations / ".gitkeep").exists() and (layout.snapshots / ".gitkeep").exists()
    lines = Path(forward).read_text(encoding="utf-8").splitlines()
    assert lines[:3] == [
        "-- Migration: Initial Data Vault 2.0 Foundation",
        "-- Version: 1.0.0",
        "-- Created: 2024-01-15T15:45:00",
    ]
    assert has_util([Path(forward).read_bytes()])
    assert init(layout, sample=True).created == []
    (layout.migrations / "V1.1.0__Add_things.sql").touch()
    with pytest.raises(Refused, match=r"V1\.1\.0__Add_things\.sql is there already, and the sample is a first"):
        init(layout, sample=True)


def test_the_config_file_that_init_writes(layout: Layout, tmp_path: Path) -> None:
    init(layout)
    text = layout.config_file.read_text(encoding="utf-8")
    assert config.load(layout.config_file) == Config(), "all of it is a comment"
    uncommented = tmp_path / "uncommented.yaml"
    uncommented.write_text(re.sub(r"^#(?=\S|  )", "", text, flags=re.MULTILINE))
    assert config.load(uncommented) == Config(connection=CONNECTION), "and shows every key with its default"
    for key in (*Config._fields, "host", "data_vault"):
        assert re.search(rf"^#\s*{key}:", text, re.MULTILINE), key


def test_init_writes_the_settings_it_was_given(layout: Layout) -> None:
    given = {"host": "db.example", "dbname": 'odd "name": \\ Grüße\n', "user": ""}
    init(layout, embedded=True, connection=given)
    found = config.load(layout.config_file)
    assert found == Config(embedded=True, connection={"host": "db.example", "dbname": given["dbname"]})
    assert "jdbc:postgresql://db.example:5432/odd%20%22name" in layout.config_file.with_name("flyway.conf").read_text()
    again = init(layout, connection={"host": "other"})
    assert again.notes[0] == f"{layout.config_file} is there and was not changed: write the settings into it yourself"


def test_the_other_files_follow_the_config_that_is_there(layout: Layout) -> None:
    layout.config_file.parent.mkdir(parents=True)
    layout.config_file.write_text("history_schema: ledger\nhistory_table: done\nschemas: [auth, business]\n")
    init(layout)
    flyway = layout.config_file.with_name("flyway.conf").read_text().splitlines()
    assert {"flyway.defaultSchema=ledger", "flyway.table=done", "flyway.schemas=auth,business"} <= set(flyway)
    assert '"ledger"."done"' in (layout.version_control / "enhanced_database_version_control.sql").read_text()
    layout.config_file.write_text("nonsense: 1\n")
    with pytest.raises(InvalidInput, match="unknown key 'nonsense'"):
        init(layout)


def test_everything_in_init_is_good_utf8(layout: Layout) -> None:
    init(layout, sample=True)
    for name in listing(Path()):
        text = Path(name).read_bytes().decode("utf-8")
        assert not re.search("[ÃâðŸ]", text), name
        assert "@" not in re.sub(r"@v\d|%u@%d|checkout@|user@host|\w@\w", "", text), name


@pytest.mark.parametrize("name", [".", "..", "other/db", "/absolute"])
def test_the_folder_may_be_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    here = tmp_path / "a" / "b"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    directory = tmp_path / "absolute" if name.startswith("/") else Path(name)
    layout = Layout.find(Path(), directory)
    init(layout)
    real = (here / directory).resolve()
    assert layout.root.resolve() == real.parent and layout.name == real.name
    assert (real / "tools/db_version_manager.py").is_file() and (real.parent / FILES[0]).is_file()
    assert f"./{real.name}/migrations" in (real / "config/flyway.conf").read_text()


def test_the_default_folder() -> None:
    assert Layout.find(Path()).directory == Path("database")
    assert Layout.find(Path("x"), Path("db")).directory == Path("x/db")


# .gitignore


def test_gitignore_gets_what_is_missing(layout: Layout) -> None:
    assert init(layout).notes == [".gitignore: added .env and .local/"]
    assert Path(".gitignore").read_text() == "# of `dbt-cicd db`: passwords, the embedded server\n.env\n.local/\n"
    assert init(layout).notes == []


def test_gitignore_is_kept_as_it_is(layout: Layout) -> None:
    Path("real").write_bytes(b"caf\xe9\r\n/.env\r\nlast")
    Path("real").chmod(0o640)
    Path(".gitignore").symlink_to("real")
    assert init(layout).notes == [".gitignore: added .local/"]
    assert Path("real").read_bytes() == (
        b"caf\xe9\r\n/.env\r\nlast\r\n# of `dbt-cicd db`: the embedded server\r\n.local/\r\n"
    )
    assert Path(".gitignore").is_symlink() and Path("real").stat().st_mode & 0o777 == 0o640


def test_outside_git_there_is_advice_only(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.chdir(folder)
        layout = Layout(Path("database"))
        assert init(layout).notes == ["once this is in git, let it ignore .env and .local/"]
        Path(".gitignore").touch()
        assert init(layout).notes == [".gitignore: added .env and .local/"]
        monkeypatch.undo()


def test_gitignore_of_the_repository_counts_in_a_folder_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "repo/service").mkdir(parents=True)
    (tmp_path / "repo/.git").touch()  # a worktree's is a file
    (tmp_path / "repo/.gitignore").write_text(".env\n**/.local/\n")
    monkeypatch.chdir(tmp_path / "repo/service")
    assert init(Layout(Path("database"))).notes == []
    assert not Path(".gitignore").exists()


# Writing


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new"
    write_new(path, "ü\n")
    assert path.read_bytes() == "ü\n".encode()
    with pytest.raises(AlreadyThere, match="new exists already"):
        write_new(path, "other")
    with pytest.raises(Refused, match="cannot be written: No such file or directory"):
        write_new(tmp_path / "none" / "new", "x")
    with pytest.raises(Refused, match="cannot be written: File name too long"):
        write_new(tmp_path / ("x" * 300), "x")
    assert listing(tmp_path) == ["new"]


def test_many_inits_at_once(layout: Layout) -> None:
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: subprocess.run([sys.executable, "-c", INIT], capture_output=True), range(8)))
    assert [result.returncode for result in results] == [0] * 8, results
    assert listing(Path()) == FILES
    assert sum(int(result.stdout) for result in results) == len(FILES), "each file was made by one of them"


INIT = """
from pathlib import Path
from dbt_cicd_toolkit.db.layout import Layout, init
print(len(init(Layout(Path("database"))).created))
"""


def test_a_file_in_the_place_of_a_folder(layout: Layout) -> None:
    Path("database").touch()
    with pytest.raises(InvalidInput, match=r"database(/[\w.]+)* cannot be a folder: a file is in its place"):
        init(layout)


# The tools


def test_the_tools_are_programs_that_say_what_they_lack(layout: Layout, tmp_path: Path) -> None:
    init(layout)
    for name in ("db_version_manager.py", "database_version_manager.py"):
        tool = layout.tools / name
        assert tool.stat().st_mode & 0o100
        done = subprocess.run([sys.executable, "-I", "-S", tool, "status"], capture_output=True, text=True)
        assert done.returncode == 2 and done.stdout == ""
        assert done.stderr.startswith(f"{name}: {sys.executable} has no dbt_cicd_toolkit with `dbt-cicd db`.")
        assert "-m pip install" in done.stderr and "Traceback" not in done.stderr


# Texts of migrations

HEADER = """\
-- Migration: Add customer analytics
-- Version: 1.1.0
-- Created: 2024-01-15T15:45:00
-- Description: Add customer analytics

-- =============================================================================
-- FORWARD MIGRATION
-- =============================================================================
"""
LOG = """
-- Log deployment
SELECT util.log_deployment_start(
    'Add customer analytics (v1.1.0)',
    'Add customer analytics'
);
"""
ROLLBACK = """\
-- Rollback: Add customer analytics
-- Version: 1.1.0
-- Created: 2024-01-15T15:45:00

-- =============================================================================
-- ROLLBACK MIGRATION - UNDO ALL CHANGES
-- =============================================================================
"""
ROLLBACK_LOG = """
-- Log rollback
SELECT util.log_deployment_start(
    'ROLLBACK: Add customer analytics (v1.1.0)',
    'Rolling back: Add customer analytics'
);
"""


def test_the_templates() -> None:
    description = "Add customer analytics"
    for text, head, log in (
        (migration_text("1.1.0", description, NOW, True), HEADER, LOG),
        (rollback_text("1.1.0", description, NOW, True), ROLLBACK, ROLLBACK_LOG),
    ):
        assert text.startswith(head) and text.endswith(log)
    for text in (migration_text("1.1.0", description, NOW, False), rollback_text("1.1.0", description, NOW, False)):
        assert all(line.startswith("--") or not line for line in text.splitlines()), "nothing but comments"


@pytest.mark.parametrize("description", ['it\'s */ a $$ "trap" @version@', "back\\slash '' \\'", "Grüße 🚀 -- /*"])
def test_a_description_stays_in_its_comment_and_literal(description: str) -> None:
    for text in (migration_text("1.1.0", description, NOW, True), rollback_text("1.1.0", description, NOW, True)):
        assert f": {description}\n" in text.splitlines(keepends=True)[0]
        code = [line for line in text.splitlines() if line and not line.startswith("--")]
        assert len(code) == 4 and code[0] == "SELECT util.log_deployment_start(" and code[3] == ");"


@pytest.mark.parametrize("description", ["two\nlines", "a\rb", "a\tb", "a\x00b", "a\u2028b", "a\x1b[0m"])
def test_a_description_that_would_leave_its_comment_is_refused(description: str) -> None:
    with pytest.raises(InvalidInput, match="holds a line's end or another control character"):
        migration_text("1.1.0", description, NOW, False)


def test_util_is_seen_where_it_is_defined() -> None:
    assert has_util([b"select 1", b'CREATE  OR REPLACE\nFUNCTION "util" . log_deployment_start (name text)'])
    assert not has_util([b"select util.log_deployment_start('a', 'b')", b"create function log_deployment_start()"])
    assert not has_util([])


# flyway.conf


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_flyway_conf() -> None:
    text = flyway_text({**CONNECTION, "password": "s3cret"}, Config(), "database")
    assert lines(text) == [
        "flyway.url=jdbc:postgresql://localhost:5432/one_vault",
        "flyway.user=postgres",
        "flyway.defaultSchema=dbt_cicd",
        "flyway.table=dbt_cicd_migrations",
        "flyway.createSchemas=false",
        "flyway.locations=filesystem:./database/migrations",
        "flyway.validateMigrationNaming=true",
        "flyway.encoding=UTF-8",
        "flyway.placeholderReplacement=false",
        "flyway.postgresql.transactional.lock=false",
        "flyway.cleanDisabled=true",
    ]
    assert "s3cret" not in text and "Never run both tools at once" in text


@pytest.mark.parametrize(
    ("connection", "expected"),
    [
        ({"host": "::1"}, ["flyway.url=jdbc:postgresql://[::1]:5432/"]),
        ({"host": "/tmp", "port": "6000"}, ["flyway.url=jdbc:postgresql://localhost:6000/"]),
        (
            {"host": "h", "dbname": "a b/${c}?", "user": "me ", "sslmode": "verify-full", "sslrootcert": "/a b.pem"},
            [
                "flyway.url=jdbc:postgresql://h:5432/a%20b%2F%24%7Bc%7D%3F?"
                "sslmode=verify-full&sslrootcert=%2Fa%20b.pem&user=me%20"
            ],
        ),
    ],
)
def test_flyway_conf_of_other_connections(connection: dict[str, str], expected: list[str]) -> None:
    found = lines(flyway_text(connection, Config(), "database"))
    assert [line for line in found if line.startswith(("flyway.url", "flyway.user"))] == expected


def test_flyway_conf_refuses_what_it_cannot_hold() -> None:
    with pytest.raises(InvalidInput, match=r"cannot hold the name 'a\\nflyway.url=x'"):
        flyway_text(CONNECTION, Config(history_table="a\nflyway.url=x"), "database")


def test_every_template_is_used() -> None:
    folder = Path(texts.__file__).with_name("templates")
    code = "".join(Path(texts.__file__).with_name(name).read_text() for name in ("texts.py", "layout.py"))
    for path in folder.iterdir():
        assert f'"{path.name}"' in code, path.name
