"""promote_to_environment and deploy_version: what they promote, what they refuse, and what they write."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.shop import OperationFailed, Shop

if TYPE_CHECKING:
    from conftest import MakeShop, MakeTiny

CUSTOMERS = "models/marts/customers.sql"
TINY = {"models/one.sql": "select 1 as id", "models/two.sql": "select id from {{ ref('one') }}"}


def promote(shop: Shop, environment: str, models: Any, **rest: Any) -> Any:
    return shop.op("promote_to_environment", target_environment=environment, models=models, **rest)


def mirror(shop: Shop) -> dict[str, bytes]:
    """Every file below target/ that is not dbt's own."""
    target = shop.path / "target"
    folders = [folder for folder in target.iterdir() if folder.is_dir() and folder.name not in ("compiled", "run")]
    return {str(file.relative_to(target)): file.read_bytes() for folder in folders for file in folder.rglob("*")}


def change(shop: Shop, path: str = CUSTOMERS) -> None:
    """Another code with the same columns."""
    file = shop.path / path
    shop.write(path, file.read_text(encoding="utf-8") + "\n-- changed\n")


@pytest.mark.matrix
def test_models_are_a_list_or_a_comma_text(every_shop: Shop) -> None:
    every_shop.op("register_version", model_name="customers", version="1.2.0")
    for models in (["customers", "orders"], "customers,orders", " customers , orders,shop.customers,"):
        environment = f"production{len(models)}"
        plan = promote(every_shop, environment, models)
        assert plan["models"] == ["customers", "orders"]
        assert plan["versions"] == {"customers": "1.2.0", "orders": None}
        assert (plan["status"], plan["success"], plan["target_environment"]) == ("success", True, environment)
        rows = every_shop.rows("deployments", environment=environment)
        assert sorted((row["name"], row["version"]) for row in rows) == [("customers", "1.2.0"), ("orders", None)]
        assert {row["promotion_id"] for row in rows} == {plan["promotion_id"]}


def test_an_empty_set_is_an_error(shop: Shop) -> None:
    before = shop.counts()
    for models in ([], "", " , ", None, {"customers": 1}, 7):
        with pytest.raises(OperationFailed, match="models is"):
            promote(shop, "production", models)
    assert shop.counts() == before


@pytest.mark.matrix
def test_a_dry_run_writes_nothing(any_shop: Shop) -> None:
    any_shop.op("register_version", model_name="customers", version="1.0.0")
    before, files = any_shop.counts(), mirror(any_shop)
    plan = promote(any_shop, "production", "customers", update_state=False)
    assert (plan["status"], plan["dry_run"], plan["promotion_id"]) == ("planned", True, None)
    assert plan["plan"][0]["action"] == "promote"
    with pytest.raises(OperationFailed, match="'nobody' is not in this project"):
        promote(any_shop, "production", "customers,nobody", update_state=False)
    assert (any_shop.counts(), mirror(any_shop)) == (before, files)


def test_a_dry_run_makes_no_ledger(tiny: MakeTiny) -> None:
    shop = tiny(TINY)
    plan = promote(shop, "production", "one", require_tests=False, update_state=False)
    assert plan["status"] == "planned"
    assert shop.counts() == {}
    assert shop.sql("select 1 from pg_namespace where nspname = 'dbt_cicd'") == []
    assert mirror(shop) == {}


def test_the_highest_version_of_the_present_code(shop: Shop) -> None:
    for version in ("1.0.0", "1.10.0", "1.9.0", "1.10.0-rc.1"):
        shop.op("register_version", model_name="customers", version=version)
    before = (shop.path / CUSTOMERS).read_text(encoding="utf-8")
    change(shop)
    shop.op("register_version", model_name="customers", version="2.0.0")
    shop.write(CUSTOMERS, before)
    assert promote(shop, "production", "customers")["versions"] == {"customers": "1.10.0"}


def test_code_that_is_not_registered_is_refused_when_older_is(shop: Shop) -> None:
    shop.op("register_version", model_name="customers", version="1.0.0")
    change(shop)
    shop.build("--select", "customers")
    with pytest.raises(OperationFailed, match=r"customers: the present code is not registered.*register it first"):
        promote(shop, "production", "customers")
    assert shop.rows("deployments") == []


def test_what_was_never_registered_is_unversioned(shop: Shop) -> None:
    plan = promote(shop, "production", "orders")
    assert plan["versions"] == {"orders": None}
    assert "orders: it has no registered version and is promoted as unversioned" in plan["warnings"]
    assert promote(shop, "production", "orders")["plan"][0]["action"] == "unchanged"
    with pytest.raises(OperationFailed, match="require_registered is true"):
        promote(shop, "staging", "orders", vars={"dbt_cicd_toolkit_require_registered": True})
    assert [row["environment"] for row in shop.rows("deployments")] == ["production"]


@pytest.mark.matrix
def test_all_or_nothing(any_shop: Shop) -> None:
    args = json.dumps({"target_environment": "production", "models": ["customers", "custmers", "raw_orders"]})
    refused = any_shop.dbt("run-operation", "promote_to_environment", "--args", args, process=True)
    assert refused.returncode == 1
    assert "custmers" in refused.output and "customers" in refused.output and "is a seed" in refused.output
    assert any_shop.rows("deployments") == []
    (row,) = any_shop.rows("promotions")
    assert (row["status"], json.loads(row["models"])) == ("failed", ["customers", "custmers", "raw_orders"])
    assert len(json.loads(row["reasons"])) == 2
    (entry,) = any_shop.document("promotion_states/production.json")["promotions"]
    assert (entry["promotion_id"], entry["status"], entry["success"]) == (row["id"], "failed", False)
    assert entry["reasons"] == json.loads(row["reasons"])


def test_one_refused_model_refuses_the_others(shop: Shop) -> None:
    change(shop)
    with pytest.raises(OperationFailed, match=r"customers: tests .* have no result"):
        promote(shop, "production", "orders,customers")
    assert shop.rows("deployments") == []
    plan = json.loads(shop.rows("promotions")[0]["plan"])
    assert {item["model"]: item["action"] for item in plan} == {"orders": "promote", "customers": "refused"}


def test_unchanged_keeps_its_since(shop: Shop) -> None:
    shop.op("register_version", model_name="customers", version="1.0.0")
    first = promote(shop, "production", "customers")
    before = shop.op("get_promotion_status")["production"]["customers"]
    second = promote(shop, "production", "customers,orders")
    assert {item["model"]: item["action"] for item in second["plan"]} == {"customers": "unchanged", "orders": "promote"}
    status = shop.op("get_promotion_status")["production"]
    assert status["customers"] == before
    assert status["customers"]["promotion_id"] == first["promotion_id"]
    assert status["orders"]["promotion_id"] == second["promotion_id"]


def test_the_state_file_keeps_the_last_ten_newest_first(shop: Shop) -> None:
    ids = []
    for number in range(12):
        if number == 4:
            with pytest.raises(OperationFailed):
                promote(shop, "production", "nobody")
            ids.append(shop.rows("promotions", status="failed")[0]["id"])
        else:
            ids.append(promote(shop, "production", "orders")["promotion_id"])
    document = shop.document("promotion_states/production.json")
    assert document["environment"] == "production"
    assert [entry["promotion_id"] for entry in document["promotions"]] == ids[:1:-1]
    keys = {"promotion_id", "target_environment", "models", "versions", "timestamp", "status", "success", "reasons"}
    assert all(keys <= entry.keys() for entry in document["promotions"])


@pytest.mark.matrix
def test_an_older_version_is_the_rollback(any_shop: Shop) -> None:
    shop = any_shop
    shop.op("register_version", model_name="customers", version="1.0.0")
    promote(shop, "production", "customers")
    change(shop)
    shop.op("register_version", model_name="customers", version="1.0.1")
    shop.build("--select", "customers")
    promote(shop, "production", "customers")
    change(shop)  # the present code is neither
    entry = shop.op("deploy_version", model_name="customers", version="1.0.0", environment="production")
    assert (entry["version"], entry["status"]) == ("1.0.0", "deployed")
    assert shop.op("get_latest_version", model_name="customers", environment="production") == "1.0.0"
    rows = shop.rows("deployments")
    assert [(row["from_version"], row["version"]) for row in rows] == [
        (None, "1.0.0"), ("1.0.0", "1.0.1"), ("1.0.1", "1.0.0"),
    ]  # fmt: skip
    assert rows[0]["checksum"] == rows[2]["checksum"] != rows[1]["checksum"]
    states = shop.document("promotion_states/production.json")["promotions"]
    assert [state["versions"]["customers"] for state in states] == ["1.0.0", "1.0.1", "1.0.0"]


def test_a_rollback_looks_at_the_evidence_of_that_version(shop: Shop) -> None:
    shop.op("register_version", model_name="customers", version="1.0.0")
    change(shop)
    shop.op("register_version", model_name="customers", version="1.0.1")  # never built
    change(shop)
    with pytest.raises(OperationFailed, match=r"no test result is recorded for the code of version 1\.0\.1"):
        shop.op("deploy_version", model_name="customers", version="1.0.1", environment="production")
    shop.op("deploy_version", model_name="customers", version="1.0.0", environment="production")
    arguments = {"model_name": "customers", "version": "1.0.1", "environment": "production"}
    shop.op("deploy_version", **arguments, require_tests=False)
    with pytest.raises(OperationFailed, match=r"version 9\.9\.9"):
        shop.op("deploy_version", model_name="customers", version="9.9.9", environment="production")


def test_a_broken_build_does_not_bar_the_way_back(any_shop: Shop) -> None:
    """The tests that dbt skips when a new code does not build say nothing of the code before."""
    shop = any_shop
    shop.op("register_version", model_name="customers", version="1.0.0")
    shop.edit(CUSTOMERS, "customers.email", "customers.no_such_column")
    assert not shop.dbt("build", "--select", "customers", "--exclude-resource-type", "unit_test").ok
    shop.op("register_version", model_name="customers", version="1.0.1")
    with pytest.raises(OperationFailed, match="skipped"):
        promote(shop, "production", "customers")
    shop.op("deploy_version", model_name="customers", version="1.0.0", environment="production")


@pytest.mark.matrix
def test_both_ways_write_the_same(any_shop: Shop) -> None:
    any_shop.op("register_version", model_name="customers", version="1.0.0")
    promote(any_shop, "one", "customers", approved_by="Ada", description="why")
    arguments = {"model_name": "customers", "version": "1.0.0", "environment": "two"}
    any_shop.op("deploy_version", **arguments, approved_by="Ada", description="why")
    own = ("id", "promotion_id", "recorded_at", "invocation_id", "environment")
    for table in ("deployments", "promotions"):
        first, second = any_shop.rows(table)
        second = {k: v.replace("to two", "to one") if isinstance(v, str) else v for k, v in second.items()}
        assert {k: v for k, v in first.items() if k not in own} == {k: v for k, v in second.items() if k not in own}
    one, two = (any_shop.document(f"promotion_states/{name}.json")["promotions"][0] for name in ("one", "two"))
    changing = ("promotion_id", "timestamp", "target_environment", "warnings")
    assert {k: v for k, v in one.items() if k not in changing} == {k: v for k, v in two.items() if k not in changing}
    (version,) = any_shop.document("versions/customers.json")["versions"]
    assert version["environments"] == ["one", "two"]


def test_clean_then_export_gives_the_same_files(shop: Shop) -> None:
    shop.op("register_version", model_name="customers", version="1.0.0")
    promote(shop, "staging", "customers,orders")  # one of them is unversioned
    promote(shop, "production", "customers")
    with pytest.raises(OperationFailed):
        promote(shop, "production", "nobody")
    before = mirror(shop)
    assert "promotion_states/production.json" in before
    shutil.rmtree(shop.path / "target")  # what `dbt clean` does
    assert sorted(shop.op("export_state")) == sorted(before)
    assert mirror(shop) == before


def test_a_parent_that_was_never_there_is_a_warning(shop: Shop) -> None:
    warnings = promote(shop, "production", "customers")["warnings"]
    assert "customers: its parent orders was never promoted to production" in warnings
    promote(shop, "production", "orders,stg_customers")
    assert not [text for text in promote(shop, "production", "customers")["warnings"] if "parent" in text]
    assert not [text for text in promote(shop, "other", "customers,orders,stg_customers")["warnings"]
                if text.startswith("customers: its parent")]  # fmt: skip


def test_names_that_are_no_environment(shop: Shop) -> None:
    before = shop.counts()
    for name in ("", "../production", "a/b", "pro duction", ".hidden", "x" * 101, "prod\n", None, 7):
        with pytest.raises(OperationFailed, match="target_environment"):
            promote(shop, name, "customers")
    assert shop.counts() == before


def test_a_misspelt_argument_gates_nothing_silently(shop: Shop) -> None:
    with pytest.raises(OperationFailed, match="require_test"):
        promote(shop, "production", "customers", require_test=True)


def test_it_returns_the_plan_to_other_macros(shop: Shop) -> None:
    shop.write(
        "macros/release.sql",
        """{% macro release() %}
        {% set plan = dbt_cicd_toolkit.promote_to_environment(
            target_environment='production', models=['customers', 'orders'], require_tests=true, update_state=true) %}
        {% do print(plan.status ~ ' ' ~ plan.models | join('+')) %}
        {% endmacro %}""",
    )
    assert shop.printed("release") == "success customers+orders"
    assert len(shop.rows("deployments")) == 2


# get_promotion_status


@pytest.mark.matrix
def test_status(any_shop: Shop) -> None:
    shop = any_shop
    assert shop.op("get_promotion_status") == {}
    assert shop.op("get_promotion_status", environment="production") == {"production": {}}
    shop.op("register_version", model_name="customers", version="1.0.0")
    promotion = promote(shop, "staging", "customers,orders")
    promote(shop, "production", "orders")
    status = shop.op("get_promotion_status")
    assert {name: sorted(models) for name, models in status.items()} == {
        "production": ["orders"],
        "staging": ["customers", "orders"],
    }
    customers = status["staging"]["customers"]
    assert customers == {
        "version": "1.0.0",
        "status": "deployed",
        "since": promotion["timestamp"],
        "promoted_by": customers["promoted_by"],
        "promotion_id": promotion["promotion_id"],
        "code_changed": False,
        "build_changed": False,
        "in_project": True,
        "unique_id": "model.shop.customers",
    }
    assert shop.op("get_promotion_status", environment="production") == {"production": status["production"]}
    assert shop.op("get_promotion_status", models="orders") == {
        name: {"orders": status[name]["orders"]} for name in ("production", "staging")
    }
    both = shop.op("get_promotion_status", environment="production", models=["orders", "customers"])
    assert both["production"]["customers"]["status"] == "not_deployed"
    assert shop.op("get_promotion_status", models="customers")["production"]["customers"]["status"] == "not_deployed"
    with pytest.raises(OperationFailed, match="The nearest: customers"):
        shop.op("get_promotion_status", models="custmers")


def test_status_says_who(shop: Shop) -> None:
    promote(shop, "staging", "orders", vars={"dbt_cicd_toolkit_actor": "Ada"})
    promote(shop, "production", "orders", env={"GITHUB_ACTOR": "alan"})
    status = shop.op("get_promotion_status")
    assert [status[name]["orders"]["promoted_by"] for name in ("staging", "production")] == ["Ada", "alan"]


def test_status_says_what_moved_on(shop: Shop) -> None:
    promote(shop, "staging", "customers")

    def moved() -> tuple[bool, bool]:
        row = shop.op("get_promotion_status", environment="staging")["staging"]["customers"]
        return row["code_changed"], row["build_changed"]

    assert moved() == (False, False)
    change(shop)
    assert moved() == (True, False)
    shop.dbt("run", "--select", "customers")
    assert moved() == (True, True)
    text = (shop.path / CUSTOMERS).read_text(encoding="utf-8")
    shop.write(CUSTOMERS, text.replace("\n-- changed\n", ""))
    assert moved() == (False, True)


def test_status_of_a_model_that_is_gone(tiny: MakeTiny) -> None:
    shop = tiny({"models/one.sql": "select 1 as id", "models/old.sql": "select 1 as id"})
    promote(shop, "staging", "one,old", require_tests=False)
    shop.remove("models/old.sql")
    row = shop.op("get_promotion_status")["staging"]["old"]
    assert (row["in_project"], row["status"], row["code_changed"]) == (False, "deployed", None)
    assert shop.op("get_promotion_status", models="old")["staging"]["old"] == row


def test_readers_need_no_ledger(tiny: MakeTiny) -> None:
    shop = tiny(TINY)
    assert shop.op("get_promotion_status") == {}
    assert shop.printed("get_staging_validated_models") is None
    assert shop.op("export_state") == []
    assert shop.counts() == {}


def test_a_clone_of_the_project_sees_the_same(make_shop: MakeShop, tmp_path: Path) -> None:
    """CI machines are thrown away: nothing is read from target/."""
    shop = make_shop()
    promote(shop, "staging", "customers")
    before = shop.op("get_promotion_status")
    for file in mirror(shop):
        (shop.path / "target" / file).write_text("{ torn", encoding="utf-8")
    assert shop.op("get_promotion_status") == before
    promote(shop, "staging", "orders")
    assert len(shop.document("promotion_states/staging.json")["promotions"]) == 2
