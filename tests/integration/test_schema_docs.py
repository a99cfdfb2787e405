"""The pages on `dbt-cicd schema` are run as people run them: every command in order, by bash, in a git repository of
their own. Most go on where the guide ends."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Generator, Mapping
from pathlib import Path

import pytest
import yaml

from dbt_cicd_toolkit.postgres import embedded
from dbt_cicd_toolkit.schema import installed
from dbt_cicd_toolkit.schema.delta import FORMS
from dbt_cicd_toolkit.schema.records import Record, Release
from dbt_cicd_toolkit.schema.step import Step
from support.messages import unknown_and_missing
from support.pages import Repository

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs/schema"
# What Wyseman's documentation has always printed. Nothing of it may be changed to make a test pass.
SEED = """# Add a new column to a table
wyseman -g "myschema.mytable add email 'text' ''"

# Rename a column
wyseman -g "myschema.contacts rename phone mobile"

# List pending migrations
wyseman -g "myschema.mytable list"

# Commit a new schema release
wyseman --release=1.2.0
"""


# docs/schema/limits.md says that these are refused.
NOT_MANAGED = {
    "create role somebody": "is no source of an object",
    "insert into shop.customer (name) values ('Ann')": "is no source of an object",
    "create publication p for table shop.customer": "is of a kind that is in no schema",
    "create cast (text as shop.state) with inout": "is outside of the managed schemas",
    "create table public.other (i integer)": "is outside of the managed schemas",
    "create temp table other (i integer)": "is outside of the managed schemas",
    "create schema other": "is outside of the managed schemas",
    "alter default privileges grant select on tables to public": "Name the objects one by one",
    "grant select on all tables in schema shop to public": "Name the objects one by one",
    "create schema more create table t (i integer)": "this makes several objects",
    "vacuum shop.customer": "is no source of an object",
    "create view shop.a as select * from shop.nowhere": "What they miss is in no source",
}


def page(name: str) -> str:
    return (PAGES / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def guided(schema_local: Path, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """What somebody has who followed the guide."""
    made = Repository(tmp_path_factory.mktemp("guided"))
    made.share_scratch(schema_local)
    try:
        made.follow(page("guide.md"))
    finally:
        made.stop()
    return made


@pytest.fixture
def repository(guided: Repository, tmp_path: Path) -> Generator[Repository]:
    """A copy of it for one test."""
    made = guided.copy(tmp_path)
    try:
        yield made
    finally:
        made.stop()


def test_the_guide(guided: Repository) -> None:
    assert guided.bash("git status --short") == ""


@pytest.mark.parametrize("name", ["deltas", "upgrade_process", "commands", "files", "troubleshooting"])
def test_the_page(name: str, repository: Repository) -> None:
    repository.follow(page(f"{name}.md"))


def test_the_spellings_of_wyseman(schema_local: Path, tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.share_scratch(schema_local)
    text = page("wyseman.md")
    assert SEED.replace("wyseman ", "dbt-cicd schema ") in text
    repository.follow(text)


def test_the_readme(schema_local: Path, tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.share_scratch(schema_local)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    repository.follow(text.split("\n## Releases of a PostgreSQL database\n")[1].split("\n## ")[0])
    repository.stop()


def test_what_is_not_managed_is_refused(repository: Repository) -> None:
    for statement, told in NOT_MANAGED.items():
        repository.write(f"-- schema/objects/more.sql\ncreate type shop.state as enum ('new');\n{statement};\n")
        said = repository.bash("! dbt-cicd schema release 2.0.0 --dry-run")
        assert "schema/objects/more.sql:3:1: " in said, said
        assert told in said, said


def test_every_operation_has_a_section_and_its_form() -> None:
    text = page("deltas.md")
    for operation, form in FORMS.items():
        assert operation in re.findall(r"^## (.*)$", text, re.M) or operation in ("list", "pop")
        assert f'"mytable {operation}' in text, form


@pytest.mark.parametrize("kind", [Record, Release, Step])
def test_every_field_of_the_files_is_documented(kind: type) -> None:
    documented = re.findall(r"`(\w+)`", page("files.md"))
    assert {field.name for field in dataclasses.fields(kind)} <= set(documented)


def test_every_column_of_the_log_is_documented() -> None:
    columns = re.findall(r"^    (\w+) [a-z]", installed._DDL, re.M)
    assert len(columns) > 10
    assert set(columns) <= set(re.findall(r"^\| `(\w+)` \|", page("files.md"), re.M))


def job(repository: Repository, name: str, environment: Mapping[str, str]) -> str:
    """Run the shell steps of a job of the workflow, in order."""
    workflow = yaml.safe_load((ROOT / "docs/workflows/schema.yml").read_text(encoding="utf-8"))
    steps = [step["run"] for step in workflow["jobs"][name]["steps"] if "run" in step]
    return "".join(repository.bash(step, environment=environment) for step in steps)


def test_the_github_workflow(repository: Repository, tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    runner = {"GITHUB_STEP_SUMMARY": str(summary), "GITHUB_BASE_REF": "main", "RUNNER_TEMP": str(tmp_path)}
    repository.bash("git push -q origin main && git checkout -qb feature")
    repository.bash("sed -i 's/mobile text/cell text/' schema/objects/customer.sql")
    repository.bash("sed -i 's/c.mobile/c.cell/' schema/objects/reports/revenue.sql && git commit -qam 'Rename it'")
    with pytest.raises(AssertionError, match=r"shop\.customer rename mobile cell"):
        job(repository, "check", runner)

    repository.bash("dbt-cicd schema -g 'customer rename mobile cell' && git commit -qam 'Say so'")
    assert "1.0.0 → 1.1.0" in job(repository, "check", runner)
    assert 'rename column "mobile" to "cell"' in summary.read_text()
    repository.bash("git checkout -q main && git merge -q feature && dbt-cicd schema release 1.2.0 && git add schema")
    repository.bash("git commit -qm 'Schema 1.2.0' && git checkout -qb another && git rm -q schema/releases/2*")
    repository.bash("git push -q origin main && git commit -qm 'Take a release away'")
    with pytest.raises(AssertionError, match="make another one"):
        job(repository, "check", runner)

    repository.bash("git checkout -q main")
    server = embedded.start(repository.postgres, tcp=True)
    database = {"DB_HOST": "localhost", "DB_PORT": str(server.port), "DB_PASSWORD": server.password, "DB_ROLE": ""}
    assert "1.1.0 → 1.2.0: 3 statements" in job(repository, "upgrade", runner | database)
    assert "release 1.2.0, since" in summary.read_text()
    assert "nothing to do" in job(repository, "upgrade", runner | database)


def test_the_messages_in_troubleshooting_are_those_of_the_code() -> None:
    package = ROOT / "src/dbt_cicd_toolkit"
    files = [*package.glob("schema/*.py"), package / "cli/schema.py"]
    errors = ("Refused", "InvalidInput", "Differs", "_fail", "refuse")
    assert unknown_and_missing(page("troubleshooting.md"), files, errors) == ([], [])
