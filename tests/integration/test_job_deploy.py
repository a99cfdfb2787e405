"""Jobs in the ledger: registered from the manifest and deployed in one call, refused while a model is not there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dbt_cicd_toolkit.dbt_runner import Dbt
from dbt_cicd_toolkit.jobs.deploy import Deployment, dbt_project, deployed
from dbt_cicd_toolkit.jobs.manifest import Entry, Manifest, content_hash
from dbt_cicd_toolkit.jobs.number import Number
from support.database import Result
from support.job_project import JobProject, job_text
from support.shop import OperationFailed, Shop

MODELS = {
    "models/customers.sql": "select 1 as id",
    "models/orders.sql": "select 1 as id",
    "models/job_runs.sql": "select 1 as id",
    "seeds/countries.csv": "id\n1\n",
}
# What the job reads and writes: models, a seed, and a table that dbt does not build.
READS, WRITES = ("customers", "countries", "tiny.orders"), ("analytics.my_table",)


class Jobs:
    """A repository of jobs beside a dbt project."""

    def __init__(self, path: Path, shop: Shop) -> None:
        self.shop = shop
        self.project = JobProject(path)
        self.project.write({"jobs.toml": 'package = "dwh"\n', "dwh/jobs/__init__.py": "", "VERSION": "0.0.0\n"})

    def release(
        self,
        version: str,
        reads: tuple[str, ...] | None = READS,
        writes: tuple[str, ...] | None = WRITES,
        job: str = "my_job",
    ) -> None:
        """A folder and its manifest, committed."""
        number = Number.parse(version)
        files = {
            f"dwh/jobs/{number.folder}/__init__.py": "",
            f"dwh/jobs/{number.folder}/{job}.py": job_text(says=version),
        }
        entry = Entry(f"dwh.jobs.{number.folder}.{job}", "MyJob", reads, writes, None)
        hashes = {name: content_hash(text.encode()) for name, text in files.items()}
        manifest = Manifest(number, "2026-11-21", None, {job: entry}, hashes)
        self.project.commit(version, {**files, f"releases/{version}.json": manifest.text(), "VERSION": f"{version}\n"})

    def deploy(self, *arguments: str, vars: dict[str, Any] | None = None) -> Result:
        """`dbt-cicd job deploy`, which changes no file of the repository."""
        before = self.project.state()
        options = ["--dbt-project-dir", str(self.shop.path), "--target", self.shop.target]
        options += ["--vars", json.dumps(vars)] if vars else []
        environment = {"DBT_CICD_DBT": os.environ["DBT_CICD_V2"]} if self.shop.engine == 2 else {}
        result = self.project.job("deploy", *arguments, *options, environment=environment)
        assert self.project.state() == before
        return result

    def done(self, *arguments: str, vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The same, which must succeed: its document."""
        result = self.deploy(*arguments, "--json", vars=vars)
        assert result.code == 0, (result.out, result.err)
        found: dict[str, Any] = json.loads(result.out)
        return found

    def refused(self, code: int, *arguments: str, vars: dict[str, Any] | None = None) -> str:
        """The same, which must end with this code and write nothing but a refused attempt: its message."""
        before = self.rows()
        result = self.deploy(*arguments, vars=vars)
        assert result.code == code, (result.out, result.err)
        assert self.rows() == before
        return result.out + result.err

    def rows(self) -> dict[str, int]:
        """How many versions and deployments of jobs the ledger has."""
        tables = ("dbt_cicd_versions", "dbt_cicd_deployments")
        return {name: count for name, count in self.shop.counts().items() if name in tables}

    def ledger(self) -> Dbt:
        """The dbt project, as a caller of deployed() has it."""
        return Dbt(self.shop.path, target=self.shop.target)


@pytest.fixture
def jobs(every_tiny: Callable[..., Shop], tmp_path: Path) -> Jobs:
    """Releases 0.1.0 and 0.2.0 of a job; every model is built, and customers and orders are in production."""
    shop = every_tiny(MODELS)
    shop.build()
    made = Jobs(tmp_path / "repository", shop)
    made.release("0.1.0")
    made.release("0.2.0")
    shop.op("promote_to_environment", target_environment="production", models="customers,orders")
    return made


@pytest.mark.matrix
def test_deploy(jobs: Jobs) -> None:
    done = jobs.done("my_job", "0.1.0", "production", "--description", "First")
    assert done["action"] == "deploy" and done["registered"] and done["from_version"] is None and done["success"]
    (version,) = jobs.shop.rows("versions", kind="job")
    assert (version["unique_id"], version["name"], version["version"]) == ("job.tiny.my_job", "job.my_job", "0.1.0")
    assert version["git_commit"] == jobs.project.git("rev-parse", "HEAD")
    (deployment,) = jobs.shop.rows("deployments", kind="job")
    assert (deployment["version"], deployment["environment"], deployment["status"]) == (
        "0.1.0",
        "production",
        "success",
    )
    (promotion,) = jobs.shop.rows("promotions", kind="job")
    assert (promotion["id"], promotion["description"]) == (deployment["promotion_id"], "First")
    # Once more: nothing to do, and recorded as an attempt.
    again = jobs.done("my_job", "0.1.0", "production")
    assert again["action"] == "unchanged" and not again["registered"]
    assert jobs.done("my_job", "0.2.0", "production")["from_version"] == "0.1.0"
    status = jobs.shop.op("get_promotion_status", environment="production")["production"]
    assert set(status) == {"customers", "orders", "job.my_job"}
    assert status["job.my_job"]["version"] == "0.2.0" and status["job.my_job"]["status"] == "deployed"
    # Back to the older one.
    assert jobs.done("my_job", "0.1.0", "production")["from_version"] == "0.2.0"
    found = [(each.version, each.environment, each.live) for each in deployed(jobs.ledger())]
    assert found == [(Number(0, 2, 0), "production", False), (Number(0, 1, 0), "production", True)]
    assert deployed(jobs.ledger(), "staging") == []
    # The models' documents do not know of it.
    history = jobs.shop.op("get_version_history", model_name="customers")
    assert history["versions"] == []


@pytest.mark.matrix
def test_a_job_whose_models_are_not_there(jobs: Jobs) -> None:
    said = jobs.refused(1, "my_job", "0.1.0", "staging")
    assert "my_job 0.1.0 was not deployed to staging: it reads customers, which is not in staging." in said
    assert "promote_to_environment --args '{target_environment: staging, models: customers}'" in said
    assert "it reads orders, which is not in staging" in said
    assert "countries" not in said and "my_table" not in said
    # The attempt is recorded, and the version is not: it never got anywhere.
    (promotion,) = jobs.shop.rows("promotions", kind="job")
    assert promotion["status"] == "failed" and "customers" in promotion["reasons"]
    jobs.shop.op("promote_to_environment", target_environment="staging", models="customers")
    assert "customers" not in (said := jobs.refused(1, "my_job", "0.1.0", "staging")) and "orders" in said
    jobs.shop.op("promote_to_environment", target_environment="staging", models="orders")
    assert jobs.done("my_job", "0.1.0", "staging")["success"]


def test_what_a_job_writes_must_be_there_too(jobs: Jobs) -> None:
    schema = "main" if jobs.shop.database == "duckdb" else "dev"
    jobs.release("0.3.0", reads=(), writes=(f"{schema}.job_runs",))
    assert "it writes job_runs, which is not in production" in jobs.refused(1, "my_job", "0.3.0", "production")
    jobs.release("0.3.1", reads=("job_runs",), writes=("job_runs",))
    assert "it reads and writes job_runs" in jobs.refused(1, "my_job", "0.3.1", "production")


def test_a_job_that_does_not_say_what_it_reads(jobs: Jobs) -> None:
    jobs.release("0.3.0", reads=None, writes=None)
    result = jobs.deploy("my_job", "0.3.0", "production")
    assert result.code == 0 and result.out == "my_job 0.3.0 is in production\n"
    assert "warning: it does not say what it reads" in result.err and "it writes, so those models" in result.err


def test_a_dry_run_writes_nothing(jobs: Jobs) -> None:
    before = jobs.shop.counts()
    done = jobs.done("my_job", "0.1.0", "production", "--dry-run")
    assert done["status"] == "planned" and done["registered"] and done["promotion_id"] is None
    assert "would be put into production" in jobs.deploy("my_job", "0.1.0", "production", "--dry-run").out
    assert jobs.deploy("my_job", "0.1.0", "staging", "--dry-run").code == 1
    assert jobs.shop.counts() == before


def test_the_rules_of_an_environment(jobs: Jobs) -> None:
    jobs.shop.op("promote_to_environment", target_environment="staging", models="customers,orders")
    rules = {"production": {"promote_from": "staging", "breaking": "approve"}, "staging": {}}
    vars = {"dbt_cicd_toolkit_environments": rules}
    said = jobs.refused(1, "my_job", "0.1.0", "production", vars=vars)
    assert "staging never had it. Promote it there first: dbt-cicd job deploy my_job 0.1.0 staging." in said
    jobs.done("my_job", "0.1.0", "staging", vars=vars)
    jobs.done("my_job", "0.1.0", "production", vars=vars)
    jobs.release("1.0.0")
    jobs.done("my_job", "1.0.0", "staging", vars=vars)
    said = jobs.refused(1, "my_job", "1.0.0", "production", vars=vars)
    assert "0.1.0 to 1.0.0 is breaking, and production takes that only with an approval" in said
    jobs.done("my_job", "1.0.0", "production", "--approved-by", "Ada", vars=vars)


def test_other_code_under_a_registered_version(jobs: Jobs) -> None:
    jobs.done("my_job", "0.1.0", "production")
    path = "dwh/jobs/v0_1_0/my_job.py"
    before = jobs.project.read(path)
    jobs.project.write({path: before + "# changed\n"})
    assert f"{path} is not as it was released in 0.1.0: nothing was deployed" in jobs.refused(
        3, "my_job", "0.1.0", "production"
    )
    (jobs.project.path / path).unlink()
    assert f"{path} is missing in 0.1.0" in jobs.refused(3, "my_job", "0.1.0", "production")
    # Another repository, or a rewritten history: its manifest agrees with its files, and the ledger with neither.
    jobs.project.write({path: before.replace("0.1.0", "0.1.0!")})
    manifest = jobs.project.read("releases/0.1.0.json")
    new = content_hash(jobs.project.read(path).encode())
    jobs.project.write({"releases/0.1.0.json": manifest.replace(content_hash(before.encode()), new)})
    assert "registered with other code" in jobs.refused(3, "my_job", "0.1.0", "production")


def test_a_crlf_checkout_is_the_same_code(jobs: Jobs) -> None:
    path = jobs.project.path / "dwh/jobs/v0_1_0/my_job.py"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    jobs.done("my_job", "0.1.0", "production")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("my_jub", "0.1.0", "production"), "no release has a job my_jub. Did you mean my_job?"),
        (("my_job", "0.3.0", "production"), "my_job 0.3.0 is not released. There are: 0.1.0, 0.2.0."),
        (("my_job", "0.1", "production"), "'0.1'"),
        (("my_job", "0.1.0-rc.1", "production"), "more than three numbers"),
        (("my_job", "0.1.0", "pro/duction"), "environment is 'pro/duction'"),
    ],
)
def test_bad_input(tiny: Callable[..., Shop], tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    jobs = Jobs(tmp_path / "repository", tiny(MODELS))
    jobs.release("0.1.0")
    jobs.release("0.2.0")
    assert message in jobs.refused(2, *arguments)


def test_an_environment_that_jobs_toml_does_not_have(tiny: Callable[..., Shop], tmp_path: Path) -> None:
    jobs = Jobs(tmp_path / "repository", tiny(MODELS))
    jobs.release("0.1.0")
    jobs.project.write({"jobs.toml": 'package = "dwh"\n[environments.production]\n'})
    said = jobs.refused(2, "my_job", "0.1.0", "productoin")
    assert "jobs.toml has no environment 'productoin'. Did you mean production?" in said


def test_two_jobs_and_one_ledger(jobs: Jobs) -> None:
    jobs.release("0.3.0", reads=(), writes=(), job="other")
    jobs.done("my_job", "0.1.0", "production")
    jobs.done("other", "0.3.0", "staging")
    status = jobs.shop.op("get_promotion_status", models="job.my_job,job.other,customers")
    assert {name: {job: entry["version"] for job, entry in found.items()} for name, found in status.items()} == {
        "production": {"job.my_job": "0.1.0", "job.other": None, "customers": None},
        "staging": {"job.my_job": None, "job.other": "0.3.0", "customers": None},
    }
    assert status["production"]["customers"]["status"] == "deployed"
    assert status["staging"]["job.my_job"]["status"] == "not_deployed"
    assert set(jobs.shop.op("get_promotion_status", environment="staging")["staging"]) == {"job.other"}
    said = str(jobs.shop.error("get_promotion_status", models="job.my_jub"))
    assert "job 'my_jub' was never deployed. The nearest: job.my_job." in said
    found = [(each.job, each.environment) for each in deployed(jobs.ledger())]
    assert found == [("my_job", "production"), ("other", "staging")]


def test_before_there_is_a_ledger(tiny: Callable[..., Shop], tmp_path: Path) -> None:
    jobs = Jobs(tmp_path / "repository", tiny({"models/one.sql": "select 1 as id"}))
    assert deployed(jobs.ledger()) == []
    jobs.release("0.1.0", reads=(), writes=())
    assert jobs.deploy("my_job", "0.1.0", "production", "--dry-run").code == 0
    assert jobs.shop.counts() == {}
    jobs.done("my_job", "0.1.0", "production")
    (only,) = deployed(jobs.ledger())
    assert only == Deployment("my_job", Number(0, 1, 0), "production", only.since, only.by, True)


def test_which_dbt_project(tmp_path: Path) -> None:
    assert dbt_project(tmp_path) is None
    for name in ("warehouse", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "warehouse/dbt_project.yml").touch()
    assert dbt_project(tmp_path) == tmp_path / "warehouse"
    (tmp_path / "other/dbt_project.yml").touch()
    assert dbt_project(tmp_path) is None
    (tmp_path / "dbt_project.yml").touch()
    assert dbt_project(tmp_path) == tmp_path


def test_no_dbt_project(tmp_path: Path) -> None:
    project = JobProject(tmp_path / "repository")
    project.write({"jobs.toml": 'package = "dwh"\n'})
    assert "Name its directory with --dbt-project-dir" in project.refused(2, "deploy", "my_job", "0.1.0", "production")


def test_the_ledger_is_locked_and_asked_with_rights(shop: Shop, tmp_path: Path) -> None:
    """A user who may only read cannot deploy, and is told what is missing."""
    jobs = Jobs(tmp_path / "repository", shop)
    jobs.release("0.1.0", reads=(), writes=())
    shop.sql("alter database " + shop.name + " set default_transaction_read_only = on")
    with pytest.raises(OperationFailed, match="may not write the ledger"):
        shop.op("register_version", model_name="customers", version="1.0.0")
    assert "may not write the ledger" in jobs.refused(1, "my_job", "0.1.0", "production")
