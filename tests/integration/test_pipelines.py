"""Pipelines as people copy them, run by bash: the snippets that the documents print, and every shell step of
docs/workflows. Only what fetches from the network (pip install) is left out."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.shop import ROOT, Shop

WORKFLOWS = ROOT / "docs/workflows"
NOT_IN_A_CLONE = (
    ".git",
    ".venv",
    ".local",
    "build",
    "target",
    "dbt_packages",
    "logs",
    ".*_cache",
    "*.egg-info",
    "__pycache__",
)

# Word for word what the documents of version management and environment promotion have always printed.
VERSION_STEPS = """
- name: Register new version
  run: |
    # Get current version and increment patch
    current_version=$(dbt run-operation get_latest_version --args '{"model_name": "customers"}')
    new_version=$(bump_version $current_version patch)
    
    # Register new version
    dbt run-operation register_version \\
      --args '{"model_name": "customers", "version": "'$new_version'", "description": "Updated in CI"}'
- name: Deploy to staging
  if: github.ref == 'refs/heads/main'
  run: |
    # Get latest version
    latest_version=$(dbt run-operation get_latest_version --args '{"model_name": "customers"}')
    
    # Deploy to staging
    dbt run-operation deploy_version \\
      --args '{"model_name": "customers", "version": "'$latest_version'", "environment": "staging"}'
- name: Check for breaking changes
  run: |
    # Check if version is marked as breaking
    is_breaking=$(dbt run-operation check_breaking_version \\
      --args '{"model_name": "customers", "version": "'$version'"}')
    
    if [ "$is_breaking" = "true" ]; then
      echo "This version contains breaking changes. Requires manual approval."
      exit 1
    fi
"""  # noqa: W293
PROMOTION_STEPS = """
- name: Get models to promote
  run: |
    # Get models that are ready for production
    MODELS=$(dbt run-operation get_staging_validated_models --args '{"min_days_in_staging": 1}')
    echo "models_to_promote=$MODELS" >> $GITHUB_ENV

- name: Promote to production
  if: env.models_to_promote != ''
  run: |
    python dbt_cicd_toolkit/scripts/promote_models.py \\
      --target-environment production \\
      --models "${{ env.models_to_promote }}" \\
      --output-format markdown
"""


class Runner:
    """A CI machine at work in a project: bash, an environment, and what GitHub keeps between the steps of a job."""

    def __init__(self, shop: Shop, variables: Mapping[str, str]) -> None:
        self.shop = shop
        self.kept: dict[str, str] = {}
        files = {name: shop.path / name.lower() for name in ("GITHUB_ENV", "GITHUB_STEP_SUMMARY")}
        for file in files.values():
            file.write_text("")
        self.summary = files["GITHUB_STEP_SUMMARY"]
        self._kept_file = files["GITHUB_ENV"]
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        fixed = {name: value for name, value in variables.items() if "${{" not in value}
        self.environment = os.environ | fixed | {name: str(file) for name, file in files.items()} | {"PATH": programs}

    def bash(self, script: str, expect: int = 0) -> str:
        """Run a script as GitHub and GitLab do, stopping at the first failure; its stdout."""
        script = "\n".join(line for line in script.splitlines() if not line.startswith("pip install"))
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", script],
            cwd=self.shop.path,
            env=self.environment | self.kept,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
        )
        assert done.returncode == expect, f"{script}\nexit code {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def step(self, step: Mapping[str, Any], expect: int = 0) -> str | None:
        """Run a step of a GitHub job; None when its condition does not hold."""
        if not self._holds(step.get("if", "")):
            return None
        script = re.sub(r"\$\{\{ env\.(\w+) \}\}", lambda name: self.kept[name[1]], step["run"])
        out = self.bash(script, expect)
        self.kept |= dict(line.split("=", 1) for line in self._kept_file.read_text().splitlines())
        return out

    def _holds(self, condition: str) -> bool:
        env = re.fullmatch(r"env\.(\w+) != ''", condition)
        assert env or condition in ("", "github.ref == 'refs/heads/main'"), condition
        return bool(self.kept.get(env[1])) if env else True


def copy_of_the_repository(to: Path) -> None:
    """What `git clone` would give, and what is not committed yet."""
    shutil.copytree(ROOT, to, ignore=shutil.ignore_patterns(*NOT_IN_A_CLONE))


def clone_beside(shop: Shop) -> None:
    """The toolkit as a clone inside the project."""
    (shop.path / "dbt_packages/dbt_cicd_toolkit").unlink()
    copy_of_the_repository(shop.path / "dbt_cicd_toolkit")
    shop.write("packages.yml", "packages:\n  - local: ./dbt_cicd_toolkit\n")


def git_package(shop: Shop) -> None:
    """The toolkit as a package that `dbt deps` fetches with git."""
    (shop.path / "dbt_packages/dbt_cicd_toolkit").unlink()
    repository = shop.path.parent / "dbt_cicd_toolkit"
    copy_of_the_repository(repository)
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "A release"], ["tag", "v0.1.0"]):
        subprocess.run(["git", *words], cwd=repository, check=True)
    shop.write("packages.yml", f"packages:\n  - git: file://{repository}\n    revision: v0.1.0\n")


def days_pass(shop: Shop, days: int) -> None:
    """Let all that the ledger has be older."""
    for table in ("versions", "builds", "test_results", "promotions", "deployments"):
        shop.sql(f"update dbt_cicd.dbt_cicd_{table} set recorded_at = recorded_at - {days} * interval '1 day'")


def in_production(shop: Shop) -> dict[str, str]:
    """Version by model."""
    rows = shop.sql("select name, version from dbt_cicd.dbt_cicd_deployments where environment = 'production'")
    return {row["name"]: row["version"] for row in rows}


@pytest.mark.matrix
def test_the_printed_pipeline(shop: Shop) -> None:
    clone_beside(shop)
    runner = Runner(shop, {"DBT_QUIET": "true"})
    runner.bash("dbt deps")
    register, deploy, check = yaml.safe_load(VERSION_STEPS)
    get_models, promote = yaml.safe_load(PROMOTION_STEPS)

    runner.step(register)
    runner.step(deploy)
    assert [row["version"] for row in shop.document("versions/customers.json")["versions"]] == ["0.0.1"]
    assert shop.document("promotion_states/staging.json")["promotions"][0]["versions"] == {"customers": "0.0.1"}
    runner.kept["version"] = "0.0.1"
    assert runner.step(check) == ""

    runner.step(get_models)
    assert runner.kept["models_to_promote"] == ""  # not a day in staging yet
    assert runner.step(promote) is None
    days_pass(shop, 2)
    runner.step(get_models)
    assert runner.kept["models_to_promote"] == "customers"
    report = runner.step(promote) or ""
    assert report.startswith("## ")
    assert re.search(r"^\| customers \| .* \| 0\.0\.1 \| promote \|", report, re.M)
    assert in_production(shop) == {"customers": "0.0.1"}
    assert shop.document("promotion_states/production.json")["promotions"][0]["success"] is True

    runner.bash(
        """dbt run-operation register_version --args '{model_name: customers, version: "1.0.0", is_breaking: true}'"""
    )
    runner.kept["version"] = "1.0.0"
    assert "Requires manual approval." in (runner.step(check, expect=1) or "")
    runner.kept["version"] = "9.9.9"
    runner.step(check, expect=1)  # not registered, which is not the same as not breaking


def test_the_documents_print_the_pipeline_that_was_run() -> None:
    page = (ROOT / "docs/version_management.md").read_text(encoding="utf-8")
    printed = [yaml.safe_load(block)[0] for block in re.findall(r"^```yaml\n(- name.*?)^```", page, re.S | re.M)]
    steps = yaml.safe_load(re.sub(r" +$", "", VERSION_STEPS, flags=re.M))
    assert printed == steps


def test_the_github_workflow(make_shop: Any) -> None:
    shop: Shop = make_shop(template="empty")
    clone_beside(shop)
    workflow = yaml.safe_load((WORKFLOWS / "github_actions.yml").read_text(encoding="utf-8"))
    assert next(iter(workflow["env"].items())) == ("DBT_QUIET", "true")

    def job(name: str) -> Runner:
        runner = Runner(shop, workflow["env"])
        for step in workflow["jobs"][name]["steps"]:
            if "run" in step:
                runner.step(step)
        return runner

    assert "customers" in job("check").summary.read_text()
    assert shop.sql("select * from dbt_cicd.dbt_cicd_versions") == []
    staged = job("staging").summary.read_text()
    assert re.search(r"^\| customers \| — \| 1\.0\.0 \| promote \|", staged, re.M)
    days_pass(shop, 2)
    runner = job("promote-to-production")
    assert "customers" in runner.kept["models_to_promote"].split(",")
    assert re.search(r"^\| customers \| — \| 1\.0\.0 \| promote \|", runner.summary.read_text(), re.M)
    assert in_production(shop).keys() == set(runner.kept["models_to_promote"].split(","))
    assert shop.sql("select count(*) as n from prod.customers")[0]["n"] > 0


def test_the_gitlab_workflow(tiny: Any) -> None:
    column = "{name: customer_id, data_tests: [unique]}"
    shop: Shop = tiny(
        {
            "seeds/raw_customers.csv": "id\n1\n2\n",
            "models/customers.sql": "select id as customer_id from {{ ref('raw_customers') }}",
            "models/customers.yml": f"models: [{{name: customers, columns: [{column}]}}]",
        }
    )
    git_package(shop)
    workflow = yaml.safe_load((WORKFLOWS / "gitlab-ci.yml").read_text(encoding="utf-8"))
    assert next(iter(workflow["variables"].items())) == ("DBT_QUIET", "true")

    def job(name: str, expect: int = 0) -> str:
        lines = [*workflow["default"]["before_script"], *workflow[name]["script"]]
        return Runner(shop, workflow["variables"]).bash("\n".join(lines), expect)

    assert "customers" in job("check")
    assert "| customers | — | 1.0.0 | promote |" in job("staging")
    assert "Nothing is ready" in job("production")
    days_pass(shop, 2)
    assert "| customers | — | 1.0.0 | promote |" in job("production")
    assert in_production(shop) == {"customers": "1.0.0"}
    assert shop.sql("select count(*) as n from prod.customers")[0]["n"] == 2

    # A refused promotion fails the job, and the report says why.
    shop.sql("insert into staging.raw_customers values (1)")
    workflow["staging"]["script"] = workflow["staging"]["script"][2:]
    report = job("staging", expect=1)
    assert "Nothing was promoted to staging" in report
    assert "unique_customers_customer_id" in report
