"""The pages on `dbt-cicd db` are run as people run them: every command in order, by bash, in a fresh git repository."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
import yaml

from dbt_cicd_toolkit import config
from dbt_cicd_toolkit.cli.main import cli, run
from dbt_cicd_toolkit.db import history
from dbt_cicd_toolkit.postgres import embedded
from support import document
from support.messages import unknown_and_missing
from support.pages import Repository, blocks

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs/db"
TEMPLATES = ROOT / "src/dbt_cicd_toolkit/db/templates"
ONE_VAULT = ROOT / "tests/support/one_vault"
TOOL = "python database/tools/db_version_manager.py"


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """What a team has: the sample applied and committed, the branches main and develop pushed."""
    made = Repository(tmp_path_factory.mktemp("laid_out"))
    try:
        made.lay_out()
    finally:
        made.stop()
    return made


@pytest.fixture
def repository(laid_out: Repository, tmp_path: Path) -> Generator[Repository]:
    """A copy of it for one test."""
    made = laid_out.copy(tmp_path)
    try:
        yield made
    finally:
        made.stop()


def page(name: str) -> str:
    return (PAGES / name).read_text(encoding="utf-8")


def on_tcp(repository: Repository) -> dict[str, str]:
    """Let the server of the repository listen on localhost too; what a shell must have set to reach it there."""
    server = embedded.start(repository.postgres, tcp=True)
    return {"DB_HOST": "localhost", "DB_PORT": str(server.port), "DB_PASSWORD": server.password}


def test_the_guide(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    try:
        repository.follow(page("guide.md"))
    finally:
        repository.stop()


def test_the_git_workflow(repository: Repository) -> None:
    repository.follow(page("git_workflow.md"))
    assert "feature/customer-analytics" in repository.bash("git branch -r")


def test_the_commands_and_their_documents(repository: Repository) -> None:
    repository.follow(page("commands.md"))


def test_the_guides_that_init_writes(repository: Repository) -> None:
    for name in ("database_version_control_guide.md", "ENTERPRISE_DATABASE_GIT_WORKFLOW.md"):
        written = next(repository.path.rglob(name)).read_text(encoding="utf-8")
        assert written == (TEMPLATES / name).read_text(encoding="utf-8")
        repository.follow(written)


def test_troubleshooting(repository: Repository) -> None:
    settings = on_tcp(repository)
    repository.follow(page("troubleshooting.md"), settings | psql(settings))


def test_the_pre_commit_hook(repository: Repository) -> None:
    shutil.copy(PAGES / "hooks/pre-commit", repository.path / ".git/hooks/pre-commit")
    repository.bash("echo hello > README.md && git add . && git commit -qm 'Nothing of the database'")

    repository.bash(f"{TOOL} create 1.1.0 'Add a table' && rm database/rollback/V1.1.0* && git add .")
    refused = repository.bash("git commit -qm 'No rollback'", code=1)
    assert "database/migrations/V1.1.0__Add_a_table.sql has no rollback" in refused

    repository.write("-- Rollback: Add a table\n-- Version: 1.1.0\nDROP TABLE business.a;\n")
    repository.write("-- Migration: Add a table\n-- Version: 1.1.0\nCREATE TABEL business.a ();\n")
    refused = repository.bash("git add . && git commit -qm 'No SQL'", code=1)
    assert 'V1.1.0__Add_a_table.sql:3:8: syntax error at or near "TABEL"' in refused

    repository.write("-- Migration: Add a table\n-- Version: 1.1.0\nCREATE TABLE business.a ();\n")
    done = repository.bash("git add . && git commit -qm 'Add a table' && git log -1 --format=%s")
    assert "Would execute: V1.1.0__Add_a_table.sql" in done
    assert done.endswith("Add a table\n")


def test_the_github_workflow(repository: Repository, tmp_path: Path) -> None:
    repository.bash(f"git checkout -q develop && {TOOL} create 1.1.0 'Add a table' && git add .")
    repository.write("-- Migration: Add a table\n-- Version: 1.1.0\nCREATE TABLE business.a (i INT PRIMARY KEY);\n")
    repository.write("-- Rollback: Add a table\n-- Version: 1.1.0\nDROP TABLE business.a;\n")
    repository.bash("git add . && git commit -qm 'Add a table' && git checkout -q --detach")
    workflow = yaml.safe_load((ROOT / "docs/workflows/database.yml").read_text(encoding="utf-8"))
    jobs = workflow["jobs"]
    assert jobs["migrate"]["concurrency"]["cancel-in-progress"] is False
    summary = tmp_path / "summary.md"
    service = on_tcp(repository) | {"GITHUB_STEP_SUMMARY": str(summary), "GITHUB_BASE_REF": "main"}

    def job(name: str, database: str) -> str:
        environment = service | {"DB_NAME": database}
        repository.bash(
            f"psql -d postgres -h localhost -U postgres -qc 'create database {database}'", environment=psql(service)
        )
        return "".join(
            repository.bash(step["run"], environment=environment) for step in jobs[name]["steps"] if "run" in step
        )

    checked = job("check", "checked")
    assert "Executing: V1.0.0__Initial_Foundation.sql" in checked  # what main has
    assert "2 files agree with the history" in checked
    assert "Would execute: V1.1.0__Add_a_table.sql" in summary.read_text()
    assert "Executing: V1.1.0__Add_a_table.sql" in job("migrate", "staging")
    assert "Current version: 1.1.0" in summary.read_text()


def psql(settings: dict[str, str]) -> dict[str, str]:
    """The same server for psql."""
    return {"PGPORT": settings["DB_PORT"], "PGPASSWORD": settings["DB_PASSWORD"]}


def test_five_minutes_to_the_first_migration_and_on_to_production(repository: Repository) -> None:
    for directory in ("frontend/src/components", "backend/app/routes"):
        (repository.path / directory).mkdir(parents=True)
    assert re.fullmatch(document.STATUS, repository.bash(f"{TOOL} status"))
    flyway = (repository.path / "database/config/flyway.conf").read_text(encoding="utf-8").splitlines()
    assert set(document.FLYWAY.splitlines()) <= set(flyway)

    created = repository.bash(document.START_FEATURE)
    assert "📄 database/migrations/V1.1.0__Add_customer_analytics.sql (forward migration)\n" in created
    assert "↩️ database/rollback/V1.1.0__Add_customer_analytics_rollback.sql (rollback script)\n" in created
    for file in (
        "migrations/V1.1.0__Add_customer_analytics.sql",
        "rollback/V1.1.0__Add_customer_analytics_rollback.sql",
    ):
        text = (ONE_VAULT / Path(file).name).read_text(encoding="utf-8")
        written = repository.path / "database" / file
        assert written.read_text(encoding="utf-8").splitlines()[0] == text.splitlines()[0]
        written.write_text(text, encoding="utf-8")

    assert repository.bash(document.TEST_LOCALLY) == document.TESTED
    snapshot = "📸 Creating schema snapshot: database/schema_snapshots/schema_v1.1.0.sql\n"
    assert repository.bash(f"{TOOL} snapshot 1.1.0") == snapshot
    for file in ("frontend/src/components/analytics/Chart.jsx", "backend/app/routes/analytics.py"):
        (repository.path / file).touch()
    repository.bash(document.COMMIT)
    repository.bash(document.DEPLOY)
    assert repository.bash("git log -1 --format=%s") == "Add customer analytics feature - v1.1.0\n"
    assert "V1.1.0__Add_customer_analytics_rollback.sql\n   ✅ Rolled back" in repository.bash(f"{TOOL} rollback")
    assert repository.bash("python database/tools/database_version_manager.py migrate --dry-run").startswith("🧪 DRY")


def test_the_hook(repository: Repository) -> None:
    hook = repository.path / ".git/hooks/pre-commit"
    hook.write_text(document.HOOK)
    hook.chmod(0o755)
    repository.bash(f"{TOOL} create 1.1.0 'Add a table'")
    assert "Would execute: V1.1.0__Add_a_table.sql" in repository.bash("git add . && git commit -qm 'Add a table'")
    repository.write("-- Migration: Add a table\n-- Version: 1.1.0\nCREATE TABEL a ();\n")
    assert "syntax error" in repository.bash("git commit -qam 'A mistake'", code=1)


def test_common_issues(repository: Repository) -> None:
    nobody = {"DB_HOST": "localhost", "DB_PORT": "1"}
    assert "Connection failed" in repository.bash(f"{TOOL} status", 1, nobody)
    told = repository.bash(f"{TOOL} create 1.0.0 'Something new'", code=1)
    assert "Migration already exists" in told
    assert "1.0.1" in told
    created = repository.bash(document.USE_ANOTHER_NUMBER)
    assert created.startswith("V1.0.0__Initial_Foundation.sql\n📄 database/migrations/V1.1.1__Different_feature.sql")

    server = embedded.start(repository.postgres, tcp=True)
    port, password = str(server.port), server.password
    psql = {"PGPORT": port, "PGPASSWORD": password, "DB_PASSWORD": password}
    assert repository.bash(document.CHECK_CONNECTION, environment=psql) == f"{password}\n"


def test_settings_of_the_environment_and_of_env(repository: Repository) -> None:
    server = embedded.start(repository.postgres, tcp=True)
    mine = {"DB_HOST": "localhost", "DB_PORT": str(server.port)}
    refused = repository.bash(f"{document.VARIABLES}\nexport DB_PORT={server.port}\n{TOOL} status", code=1)
    assert "check the user and the password, which came from DB_PASSWORD" in refused

    repository.bash('# Create .env file in project root\necho "DB_PASSWORD=your_password" > .env')
    assert "which came from .env" in repository.bash(f"{TOOL} status", 1, mine)
    repository.bash(f'echo "DB_PASSWORD={server.password}" > .env')
    assert "Current Version: 1.0.0" in repository.bash(f"{TOOL} status", environment=mine)
    assert repository.bash("git status --short") == ""
    # What the pipeline runs, and the same from the toolkit's own clone.
    password = {**mine, "DB_PASSWORD": server.password}
    assert "Nothing to do" in repository.bash(f"rm .env && {TOOL} migrate", environment=password)
    script = ROOT / "scripts/db_version_manager.py"
    assert "1.0.0" in repository.bash(f"{sys.executable} {script} status", environment=password)


def create(monkeypatch: pytest.MonkeyPatch, path: Path, *arguments: str) -> int:
    """`dbt-cicd db create` in this process."""
    (path / "database/migrations").mkdir(parents=True)
    monkeypatch.chdir(path)
    return run(cli, "dbt-cicd", ["db", "create", *arguments])


@pytest.mark.parametrize("example", document.GOOD_EXAMPLES.splitlines())
def test_good_examples(example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = example.split()[0]
    version, _, description = name.removeprefix("V").removesuffix(".sql").partition("__")
    assert create(monkeypatch, tmp_path, version, description.replace("_", " ")) == 0
    assert (tmp_path / "database/migrations" / name).is_file()


@pytest.mark.parametrize("example", document.BAD_EXAMPLES.splitlines())
def test_bad_examples(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name, reason = (part.strip() for part in example.split("#"))
    assert create(monkeypatch, tmp_path, name) == 2
    assert reason in capsys.readouterr().err
    # Found in the folder, `lint` and `status` say the same of those that run, and every command of the others.
    (tmp_path / "database/migrations" / name).write_text("select 1;\n")
    assert run(cli, "dbt-cicd", ["db", "lint"]) in (1, 2)
    said = capsys.readouterr()
    assert reason in said.out + said.err


@pytest.mark.parametrize("name", sorted(path.name for path in PAGES.glob("*.md")))
def test_settings_that_a_page_shows_are_settings(name: str, tmp_path: Path) -> None:
    for number, block in enumerate(blocks(page(name))):
        if block.language == "yaml" and block.text.startswith("# database/config/db_config.yaml"):
            file = tmp_path / f"{number}.yaml"
            file.write_text(block.text, encoding="utf-8")
            assert config.load(file) != config.Config()


def test_the_pull_request_template_is_the_same_everywhere() -> None:
    template = page("pull_request_template.md")
    told = (TEMPLATES / "ENTERPRISE_DATABASE_GIT_WORKFLOW.md").read_text(encoding="utf-8")
    assert re.findall(r"^- \[ \] .*$", template, re.M) == re.findall(r"^- \[ \] .*$", told, re.M)


def test_the_reference_has_every_column_of_the_tables() -> None:
    columns = re.findall(r'^    "?(\w+)"? [a-z]', history.ddl("s", "t"), re.M)
    documented = re.findall(r"^\| `(\w+)` \|", page("history_tables.md"), re.M)
    assert set(columns) - {"constraint"} <= set(documented)


def test_the_messages_in_troubleshooting_are_those_of_the_code() -> None:
    package = ROOT / "src/dbt_cicd_toolkit"
    files = [*package.glob("db/*.py"), *package.glob("postgres/*.py"), package / "config.py", package / "cli/db.py"]
    errors = ("Refused", "InvalidInput", "Differs", "ConnectionLost", "AlreadyThere", "Problem")
    assert unknown_and_missing(page("troubleshooting.md"), files, errors) == ([], [])
