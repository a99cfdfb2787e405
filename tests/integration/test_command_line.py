"""`dbt-cicd` and scripts/promote_models.py as a user runs them: one document on stdout, exit codes, a mended mirror."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest

import dbt_cicd_toolkit
from dbt_cicd_toolkit.cli import main as program
from support.shop import ROOT, Shop

HOSTILE = """'); drop table t; -- "x" \\ {{ 1/0 }} {% raw %} | <b> `id` $(id) %s: [a, é😀]\nline 2"""


@dataclass(frozen=True)
class Done:
    """What a command said: its exit code, stdout and stderr."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def cicd(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """cicd(shop, 'promote', …): `dbt-cicd` on a project, in this process, with the project's engine."""

    def run(shop: Shop, *argv: str) -> Done:
        monkeypatch.delenv("DBT_CICD_GIT_COMMIT", raising=False)
        if shop.engine == 2:
            monkeypatch.setenv("DBT_CICD_DBT", os.environ["DBT_CICD_V2"])
        capfd.readouterr()
        code = program.main([*argv, "--project-dir", str(shop.path)])
        out, err = capfd.readouterr()
        return Done(code, out, err)

    return run


def state(shop: Shop) -> dict[str, bytes]:
    """The mirror's files."""
    files = (path for folder in ("versions", "promotion_states") for path in (shop.path / "target" / folder).glob("*"))
    return {str(path.relative_to(shop.path)): path.read_bytes() for path in files}


@pytest.mark.matrix
def test_promote(every_shop: Shop, cicd: Callable[..., Done]) -> None:
    shop = every_shop
    done = cicd(shop, "version", "register", "customers", "1.0.0", "--description", HOSTILE)
    assert (done.code, done.err) == (0, "") and done.out.startswith("customers 1.0.0 registered at ")
    assert cicd(shop, "version", "latest", "customers").out == "1.0.0\n"
    request = (
        "promote",
        "--target-environment",
        "production",
        "--models",
        "customers, orders",
        "--description",
        HOSTILE,
    )

    planned = cicd(shop, *request, "--dry-run", "--json")
    assert planned.code == 0 and planned.json["status"] == "planned" and planned.json["promotion_id"] is None
    assert shop.rows("promotions") == [] and not (shop.path / "target/promotion_states").exists()

    done = cicd(shop, *request, "--output-format", "json")
    assert done.code == 0, done.err
    plan = done.json
    assert plan["success"] and plan["models"] == ["customers", "orders"] and plan["description"] == HOSTILE
    assert plan["versions"] == {"customers": "1.0.0", "orders": None}
    assert set(plan["tests"]) == {"pass"} and plan["tests"]["pass"] >= 12
    assert shop.document("promotion_states/production.json")["promotions"][0]["description"] == HOSTILE
    [entry] = shop.document("versions/customers.json")["versions"]
    assert entry["description"] == HOSTILE and entry["environments"] == ["production"]

    done = cicd(shop, *request, "--output-format", "markdown")
    assert done.out.startswith("## ✅ 0 of 2 models promoted to production, 2 unchanged\n")
    assert "| customers | 1.0.0 | 1.0.0 | unchanged | 5 passed |" in done.out and "<b>" not in done.out
    done = cicd(shop, "status", "--json")
    assert set(done.json["production"]) == {"customers", "orders"}
    assert "customers" in cicd(shop, "status", "--environment", "production", "--output-format", "markdown").out


@pytest.mark.matrix
def test_a_failing_test_refuses(every_shop: Shop, cicd: Callable[..., Done]) -> None:
    shop = every_shop
    shop.write("tests/no_customers.sql", "select * from {{ ref('customers') }}")
    for argv in (
        ["--models", "customers"],
        ["--select", "customers,config.materialized:table"],
        ["--models", "customers", "--build"],
    ):
        done = cicd(shop, "promote", "--environment", "production", "--output-format", "markdown", *argv)
        assert done.code == 1, done.err
        assert done.out.startswith("## ❌ Nothing was promoted to production: 1 of 1 models refused\n")
        assert "- customers: test no\\_customers failed" in done.out.replace("no_customers", "no\\_customers")
    assert [row["status"] for row in shop.rows("promotions")] == ["failed"] * 3 and shop.rows("deployments") == []
    done = cicd(shop, "promote", "--environment", "production", "--models", "customers", "--skip-tests", "--json")
    assert done.code == 0 and done.json["tests"] is None and done.json["plan"][0]["evidence"] == "not required"


def test_a_failure_that_could_not_be_recorded_refuses(shop: Shop, cicd: Callable[..., Done]) -> None:
    project = (shop.path / "dbt_project.yml").read_text()
    shop.write("dbt_project.yml", project + "\nvars: {dbt_cicd_toolkit_record_evidence: false}\n")
    shop.sql("insert into dev.raw_customers select * from dev.raw_customers where id = 1")
    done = cicd(shop, "promote", "--environment", "production", "--models", "customers", "--build", "--json")
    assert done.code == 1 and "which could not be recorded" in done.json["error"]


def test_what_contradicts_a_version_is_said(shop: Shop, cicd: Callable[..., Done]) -> None:
    """A version registered before it was built does not know its columns, and does not hide those of the one before."""
    file = "models/marts/customers.sql"
    assert cicd(shop, "version", "register", "customers", "1.0.0").err == ""
    shop.write(file, (shop.path / file).read_text() + "\n-- 1.0.1\n")
    assert "columns of the present code are unknown" in cicd(shop, "version", "register", "customers", "1.0.1").err
    text = (shop.path / file).read_text().replace("customers.first_name,", "")
    shop.write(file, text)
    shop.build("--select", "customers")
    done = cicd(shop, "version", "register", "customers", "1.0.2")
    assert done.code == 0 and done.out.endswith("(breaking)\n")
    assert "column first_name was removed or renamed since 1.0.0" in done.err and "would be 2.0.0" in done.err
    assert json.loads((shop.path / "target/versions/customers.json").read_text())["versions"][0]["is_breaking"]


def test_a_build_that_fails_refuses_a_model_without_tests(shop: Shop, cicd: Callable[..., Done]) -> None:
    shop.write("models/untested.sql", "{{ config(materialized='table') }} select 1/0 as id")
    done = cicd(shop, "promote", "--environment", "production", "--models", "untested", "--build", "--json")
    assert done.code == 1 and "untested: its build failed in the run just before" in done.json["error"]
    shop.write("models/untested.sql", "select {{ no_such_macro() }}")
    done = cicd(shop, "promote", "--environment", "production", "--models", "untested", "--build", "--json")
    assert done.code == 1 and "untested: its build failed in the run just before" in done.json["error"]
    assert [row["status"] for row in shop.rows("promotions")] == ["failed"] * 2 and shop.rows("deployments") == []


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["promote", "--environment", "production", "--models", " , "], 2, "--models is empty"),
        (["promote", "--environment", "production"], 2, "no model is named"),
        (["promote", "--environment", "../../etc", "--models", "customers"], 2, "'../../etc'. Allowed: letters"),
        (["promote", "--environment", "production", "--select", "tag:none"], 2, "tag:none names no model"),
        (["promote", "--models", "customers"], 2, "--target-environment"),
        (["version", "register", "customers", "v1.0"], 2, "Write 1.0.0"),
        (["version", "register", "custmers", "1.0.0"], 2, "The nearest: customers"),
        (["version", "check", "customers", "9.9.9"], 2, "9.9.9 of customers is not registered"),
        (["version", "deploy", "customers", "9.9.9", "--environment", "production"], 1, "is not registered"),
        (["version", "bump", "1.0", "patch"], 2, "1.0.0"),
        (["version", "rename", "gone", "customers"], 2, "'gone' is not in this project"),
        (["ledger", "pull", "--from-target", "nowhere"], 1, "nowhere"),
        (["ledger", "prune", "--keep-days", "-1"], 2, "keep-days"),
    ],
    ids=lambda value: " ".join(value[:3]) if isinstance(value, list) else "",
)
def test_errors(shop: Shop, cicd: Callable[..., Done], argv: list[str], code: int, words: str) -> None:
    before = shop.rows("versions"), shop.rows("deployments"), state(shop)
    if argv[:2] == ["version", "bump"]:
        assert program.main(argv) == code
        return
    done = cicd(shop, *argv, "--json")
    assert done.code == code, done
    assert words in done.err + done.out
    answer = done.json
    assert answer["success"] is False and answer["error"] in (
        done.err + done.out.replace("\\n", "\n") + answer["error"]
    )
    assert (shop.rows("versions"), shop.rows("deployments")) == before[:2]


def test_names_are_data(shop: Shop, cicd: Callable[..., Done]) -> None:
    """Names reach neither dbt's options and selectors nor a shell."""
    for name in ("--full-refresh", "customers+", "@orders", "$(touch x)", HOSTILE.replace(",", ""), "model.shop.nope"):
        done = cicd(shop, "promote", "--environment", "production", "--models", name, "--json")
        assert done.code == 1 and "is not in this project" in done.json["error"], done
    done = cicd(
        shop,
        "promote",
        "--environment",
        "uat",
        "--models",
        "model.shop.customers,shop.orders,customer_segments.v1",
        "--json",
    )
    assert done.code == 0 and done.json["models"] == ["customers", "orders", "customer_segments.v1"], done


@pytest.mark.matrix
def test_the_mirror_is_mended(every_shop: Shop, cicd: Callable[..., Done]) -> None:
    shop = every_shop
    cicd(shop, "version", "register-changed", "--bump", "auto")
    cicd(shop, "promote", "--environment", "production", "--models", "customers,orders", "--skip-tests")
    whole = state(shop)
    assert len(whole) == 15
    target = shop.path / "target"
    (target / "versions/customers.json").write_bytes(whole["target/versions/customers.json"][:40])
    (target / "versions/orders.json").unlink()
    older = json.loads(whole["target/promotion_states/production.json"]) | {
        "promotions": [],
        "as_of": "2020-01-01 00:00:00.000000",
    }
    (target / "promotion_states/production.json").write_text(json.dumps(older))
    assert cicd(shop, "status").code == 0
    assert state(shop) == whole
    if shop.engine == 1:
        assert shop.dbt("clean").ok and not target.exists()
        (shop.path / "dbt_packages").mkdir(exist_ok=True)
        (shop.path / "dbt_packages/dbt_cicd_toolkit").symlink_to(ROOT)
        assert cicd(shop, "ledger", "export").code == 0
        assert state(shop) == whole


def test_both_engines_of_the_command_line_agree(
    shop: Shop, cicd: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    """dbt Core in this process and as a process of its own give the same document."""
    plans = []
    for executable in (None, str(Path(sys.executable).with_name("dbt"))):
        monkeypatch.setenv("DBT_CICD_DBT", executable) if executable else monkeypatch.delenv(
            "DBT_CICD_DBT", raising=False
        )
        done = cicd(shop, "promote", "--environment", "production", "--models", "customers", "--dry-run", "--json")
        plan = done.json
        plan.pop("timestamp")
        plans.append((done.code, plan))
    assert plans[0] == plans[1]


def test_macros_of_another_release_are_refused(
    shop: Shop, cicd: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    for version, words in (("0.0.1", "Upgrade the command line"), ("99.0.0", "Upgrade the macros")):
        monkeypatch.setattr(dbt_cicd_toolkit, "__version__", version, raising=False)
        done = cicd(shop, "version", "register", "customers", "1.0.0")
        assert done.code == 1 and words in done.err
    assert shop.rows("versions") == []


def test_the_script_is_a_process_of_its_own(shop: Shop, tmp_path: Path) -> None:
    """scripts/promote_models.py from a clone at ./dbt_cicd_toolkit of a user's project, the package not installed."""
    (shop.path / "dbt_cicd_toolkit").symlink_to(ROOT)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [sys.executable, "dbt_cicd_toolkit/scripts/promote_models.py", "--target-environment", "staging"]
    done = subprocess.run(
        [*command, "--models", "customers", "--output-format", "markdown"],
        cwd=shop.path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("## ✅ 1 of 1 models promoted to staging")
    assert done.stderr == ""


def test_a_password_is_never_printed(shop: Shop, cicd: Callable[..., Done]) -> None:
    password = "s3cret-hunter2"
    profile = json.loads((shop.path / "profiles.yml").read_text())
    for output in profile["shop"]["outputs"].values():
        output |= {"password": password, "port": 1}
    (shop.path / "profiles.yml").write_text(json.dumps(profile))
    done = cicd(shop, "status")
    assert done.code == 1 and password not in done.out + done.err and "port 1" in done.err


def _second_ledger(shop: Shop) -> None:
    """A target `other` in a database that cannot see the first."""
    profile = json.loads((shop.path / "profiles.yml").read_text())
    outputs = profile["shop"]["outputs"]
    outputs["other"] = outputs["dev"] | {"dbname": f"{shop.name}_other"}
    (shop.path / "profiles.yml").write_text(json.dumps(profile))
    shop.sql(f"drop database if exists {shop.name}_other with (force)")
    shop.sql(f"create database {shop.name}_other")


def _other(shop: Shop, table: str) -> list[tuple[Any, ...]]:
    connection: psycopg2.extensions.connection = shop.connect(dbname=f"{shop.name}_other")
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"select * from dbt_cicd.dbt_cicd_{table} order by recorded_at, id")
            return cursor.fetchall()
    finally:
        connection.close()


def test_ledger_pull(shop: Shop, cicd: Callable[..., Done]) -> None:
    _second_ledger(shop)
    cicd(shop, "version", "register-changed", "--description", HOSTILE)
    assert cicd(shop, "promote", "--environment", "staging", "--models", "customers,orders").code == 0
    pull = ("ledger", "pull", "--from-target", "dev", "--target", "other", "--json")
    planned = cicd(shop, *pull, "--dry-run").json["copied"]
    done = cicd(shop, *pull)
    assert done.code == 0, done.err
    assert (
        done.json["copied"] == planned and planned["dbt_cicd_versions"] == 14 and planned["dbt_cicd_deployments"] == 2
    )
    for table in ("versions", "builds", "test_results", "promotions", "deployments"):
        rows = [tuple(row.values()) for row in shop.rows(table)]
        assert rows and _other(shop, table) == rows, table
    again = cicd(shop, *pull)
    assert again.code == 0 and set(again.json["copied"].values()) == {0}
    assert (
        cicd(shop, "version", "latest", "customers", "--environment", "staging", "--target", "other").out == "1.0.0\n"
    )


def test_ledger_pull_refuses_versions_that_differ(shop: Shop, cicd: Callable[..., Done]) -> None:
    _second_ledger(shop)
    cicd(shop, "version", "register", "orders", "1.0.0")
    cicd(shop, "version", "register", "customers", "1.0.0", "--target", "other")
    file = "models/marts/customers.sql"
    shop.write(file, (shop.path / file).read_text() + "\n-- changed\n")
    cicd(shop, "version", "register", "customers", "1.0.0")
    done = cicd(shop, "ledger", "pull", "--from-target", "dev", "--target", "other")
    assert done.code == 3 and "both ledgers registered customers 1.0.0" in done.err
    assert len(_other(shop, "versions")) == 1, "nothing may be copied"


def test_a_mirror_that_cannot_be_written_does_not_deny_the_promotion(shop: Shop, cicd: Callable[..., Done]) -> None:
    (shop.path / "target").mkdir(exist_ok=True)
    (shop.path / "target/promotion_states").touch()
    done = cicd(shop, "promote", "--environment", "production", "--models", "customers", "--json")
    assert done.code == 0 and done.json["success"], done
    assert "warning: recorded in the ledger, but its JSON files could not be written" in done.err
    assert [row["status"] for row in shop.rows("promotions")] == ["success"]


def test_variables_reach_the_macros(shop: Shop, cicd: Callable[..., Done]) -> None:
    rules = "{dbt_cicd_toolkit_environments: {production: {breaking: approve}}}"
    done = cicd(shop, "promote", "--environment", "prodution", "--models", "customers", "--dry-run", "--vars", rules)
    assert done.code == 0 and "environment 'prodution' has no rules" in done.out
    assert cicd(shop, "status", "--vars", "[1]").code == 2
