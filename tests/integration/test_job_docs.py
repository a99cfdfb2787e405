"""The pages on `dbt-cicd job` are run as people run them: every command in order, by bash, in a git repository of their
own. Most go on where the guide ends; Airflow itself loads the DAGs of its page."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from dbt_cicd_toolkit.jobs.findings import LEVELS
from dbt_cicd_toolkit.jobs.manifest import Entry, Manifest
from dbt_cicd_toolkit.jobs.settings import Acceptance, Deprecation, Environment, Removal, Settings, SharedWrite
from dbt_cicd_toolkit.postgres import embedded
from support import airflow
from support.airflow import Airflow
from support.messages import unknown_and_missing
from support.pages import Repository, blocks
from support.shop import ROOT, TINY_PROJECT

PAGES = ROOT / "docs/jobs"
PACKAGE = ROOT / "src/dbt_cicd_toolkit"
# The DAG of the seed, but for its `...`, which is no Python: a positional argument behind named ones.
SEED = """\
# Example: Airflow DAG referencing a specific job version
from dwh.jobs.v0_1_0.my_job import MyJob as MyJobV1
from dwh.jobs.v0_2_0.my_job import MyJob as MyJobV2

# Use MyJobV1 for legacy workflows
legacy_task = PythonOperator(
    task_id='legacy_job',
    python_callable=MyJobV1().run,
)

# Use MyJobV2 for new workflows
new_task = PythonOperator(
    task_id='new_job',
    python_callable=MyJobV2().run,
)
"""
PROFILE = {"shop": {"target": "dev", "outputs": {"dev": {"type": "duckdb", "path": "", "schema": "main"}}}}


def page(name: str) -> str:
    return (PAGES / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def guided(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """What somebody has who followed the guide."""
    made = Repository(tmp_path_factory.mktemp("guided"))
    made.follow(page("guide.md"))
    return made


@pytest.fixture
def repository(guided: Repository, tmp_path: Path) -> Repository:
    """A copy of it for one test."""
    return guided.copy(tmp_path / "copy")


def test_the_guide(guided: Repository) -> None:
    assert guided.bash("git status --short") == ""
    assert guided.bash("git worktree list | wc -l").strip() == "1"
    assert guided.bash("git tag").split() == ["v0.1.0", "v0.1.1", "v0.1.2", "v0.2.0", "v0.3.0"]
    assert guided.bash("git ls-remote --tags origin | grep -c v0.3.0$").strip() == "1"


def test_the_guide_has_the_seed_s_dag() -> None:
    (dag,) = (block.text for block in blocks(page("guide.md")) if block.text.startswith("# dags/my_dag.py\n"))
    assert "\n".join(line.strip() for line in SEED.splitlines() if line) in "\n".join(
        line.strip() for line in dag.splitlines() if line and not line.startswith("with ")
    )


@pytest.mark.parametrize("name", ["commands", "files", "troubleshooting", "limits"])
def test_the_page(name: str, repository: Repository) -> None:
    repository.follow(page(f"{name}.md"))


def test_the_readme(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    Repository(tmp_path).follow(text.split("\n## Versions of jobs\n")[1].split("\n## ")[0])


def test_the_page_on_airflow(
    repository: Repository, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> None:
    repository.follow(page("airflow.md"))
    base = tmp_path_factory.getbasetemp()
    migrated = airflow.migrated(base.parent if hasattr(pytestconfig, "workerinput") else base)
    run = Airflow(tmp_path / "airflow", migrated, repository.path)
    # Glue's operator is in a provider of Amazon's; the rest needs Airflow alone.
    files = [f"dags/{name}.py" for name in ("my_dag", "stamped", "resolved", "apart")]
    found = {
        name: dag for dags in run.load(*files, DBT_CICD_ENVIRONMENT="production").values() for name, dag in dags.items()
    }
    assert found["stamped"].tags == ["finance", "my_job@0.1.2", "my_job@0.2.0"]
    assert found["stamped"].docs["new_job"] == "`my_job@0.2.0`\n\nFor the new workflows."
    assert found["resolved"].jobs == {"my_job": "dwh.jobs.v0_1_2.my_job"}
    assert found["apart"].jobs == {"legacy_job": "dwh.jobs.v0_1_2.my_job"}
    # What the page says of hashes: other code runs, and only what is stamped looks different.
    repository.bash("sed -i s/v0_1_1/v0_1_2/ dags/my_dag.py && sed -i s/v0_1_2/v0_1_1/ dags/stamped.py")
    moved = run.load("dags/my_dag.py", "dags/stamped.py")
    assert moved["dags/my_dag.py"]["my_dag"].hash == found["my_dag"].hash
    assert moved["dags/stamped.py"]["stamped"].hash != found["stamped"].hash


def test_the_page_on_the_ledger(repository: Repository) -> None:
    """Beside the jobs there is a dbt project, as the page says."""
    project = repository.path / "warehouse"
    profile = json.loads(json.dumps(PROFILE))
    profile["shop"]["outputs"]["dev"]["path"] = str(repository.path.parent / "warehouse.duckdb")
    files = {
        "dbt_project.yml": TINY_PROJECT,
        "packages.yml": f"packages:\n  - local: {ROOT}\n",
        "profiles.yml": json.dumps(profile),
        "models/orders.sql": "select 1 as id",
        ".gitignore": "/target/\n/logs/\n/dbt_packages/\n.user.yml\n",
    }
    for name, text in files.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text, encoding="utf-8")
    (project / "dbt_packages").mkdir()
    (project / "dbt_packages/dbt_cicd_toolkit").symlink_to(ROOT)
    repository.bash("git add . && git commit -qm 'A dbt project'")
    try:
        repository.follow(page("ledger.md"), {"DBT_PROFILES_DIR": str(project)})
    finally:
        embedded.stop(project / ".local/postgres")


def test_every_key_of_the_files_is_documented() -> None:
    documented = set(re.findall(r"`(\w+)`", page("files.md")))
    assert {field.name for kind in (Manifest, Entry) for field in dataclasses.fields(kind)} <= documented
    (example,) = (block.text for block in blocks(page("files.md")) if block.language == "toml")
    shown = set(re.findall(r"^(\w+) = |^\[+(\w+)", example, re.MULTILINE))
    kinds = (Settings, Environment, SharedWrite, Deprecation, Removal, Acceptance)
    keys = {field.name for kind in kinds for field in dataclasses.fields(kind)}
    # An environment's name stands in the head of its table.
    assert keys - {"name"} == {key for pair in shown for key in pair if key}
    Settings.parse(example.encode("utf-8"), "jobs.toml")


def test_every_rule_of_check_is_documented() -> None:
    rules = set()
    for file in PACKAGE.glob("jobs/*.py"):
        text = file.read_text(encoding="utf-8")
        rules |= set(re.findall(rf'Finding\(\s*(?:level|"(?:{"|".join(LEVELS)})"[^,]*),\s*"(\w+)"', text))
    assert len(rules) > 8
    assert rules <= set(re.findall(r"`(\w+)`", page("commands.md")))


def test_the_messages_in_troubleshooting_are_those_of_the_code() -> None:
    files = [*PACKAGE.glob("jobs/*.py"), *PACKAGE.glob("cli/job*.py"), PACKAGE / "cli/options.py"]
    errors = ("Refused", "InvalidInput", "Differs", "Finding", "invalid")
    unknown, missing = unknown_and_missing(page("troubleshooting.md"), files, errors)
    # Of the options of commands on dbt and PostgreSQL.
    assert (unknown, [text for text in missing if "--vars" not in text]) == ([], [])
