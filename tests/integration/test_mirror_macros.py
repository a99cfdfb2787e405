"""The JSON files below target/, as plain `dbt run-operation` writes them: their shape is printed in the documents and
read by pipelines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.shop import Shop

VERSION = ["version", "timestamp", "description", "is_breaking", "status", "last_deployed"]
VERSION += ["environments", "deployments"]
DEPLOYMENT = ["environment", "timestamp", "status"]
PROMOTION = ["promotion_id", "target_environment", "models", "versions", "timestamp", "status", "success", "reasons"]


def release(shop: Shop) -> None:
    """Two versions of customers: 1.1.0 in three environments, 1.2.0 in two, and one refused promotion."""
    for version, description in [("1.1.0", "Added email validation"), ("1.2.0", "Added customer segment field")]:
        shop.op("register_version", model_name="customers", version=version, description=description)
    for version, environments in [
        ("1.1.0", ("development", "staging", "production")),
        ("1.2.0", ("development", "staging", "development")),
    ]:
        for environment in environments:
            shop.op("deploy_version", model_name="customers", version=version, environment=environment)
    # An edited model that was not built: refused.
    shop.edit("models/marts/customers.sql", "with customer_orders", "-- edited\nwith customer_orders")
    shop.op("register_version", model_name="customers", version="1.3.0")
    shop.error("deploy_version", model_name="customers", version="1.3.0", environment="qa")


def files(shop: Shop) -> dict[str, bytes]:
    target = shop.path / "target"
    found = [*target.glob("versions/*"), *target.glob("promotion_states/*")]
    return {str(path.relative_to(target)): path.read_bytes() for path in found}


@pytest.mark.matrix
def test_shape_and_export_after_clean(any_shop: Shop) -> None:
    shop = any_shop
    release(shop)
    shop.op("register_version", model_name="customer_segments", version="1.0.0")
    shop.op("promote_to_environment", target_environment="production", models="orders")

    document = shop.document("versions/customers.json")
    assert list(document)[:2] == ["model", "versions"] and document["model"] == "customers"
    versions = document["versions"]
    assert [entry["version"] for entry in versions] == ["1.3.0", "1.2.0", "1.1.0"]
    for entry in versions:
        assert list(entry)[: len(VERSION)] == VERSION
        assert all(list(row)[: len(DEPLOYMENT)] == DEPLOYMENT for row in entry["deployments"])
    latest, middle, first = versions
    assert (latest["status"], latest["last_deployed"], latest["environments"]) == ("registered", None, [])
    assert latest["deployments"] == [], "a refused promotion is none"
    assert middle["status"] == "deployed" and middle["environments"] == ["development", "staging"]
    assert [row["environment"] for row in middle["deployments"]] == ["development", "staging"]
    assert first["environments"] == ["development", "staging", "production"], "where it ever was, also if it is gone"
    assert {row["status"] for row in first["deployments"]} == {"success"}
    assert first["last_deployed"] == first["deployments"][-1]["timestamp"]

    state = shop.document("promotion_states/production.json")
    assert list(state)[:2] == ["environment", "promotions"] and state["environment"] == "production"
    assert all(list(promotion)[: len(PROMOTION)] == PROMOTION for promotion in state["promotions"])
    assert [promotion["models"] for promotion in state["promotions"]] == [["orders"], ["customers"]], "newest first"
    refused = shop.document("promotion_states/qa.json")["promotions"]
    assert [(row["status"], row["success"], len(row["reasons"])) for row in refused] == [("failed", False, 1)]

    before = files(shop)
    assert set(before) == {
        "versions/customers.json",
        "versions/customer_segments.v2.json",
        "versions/orders.json",  # no version, but deployed
        *(f"promotion_states/{name}.json" for name in ("development", "staging", "production", "qa")),
    }
    assert shop.dbt("clean").ok and files(shop) == {}
    (shop.path / "dbt_packages").mkdir(exist_ok=True)  # clean deletes the package too, as it does everywhere
    (shop.path / "dbt_packages/dbt_cicd_toolkit").symlink_to(Path(__file__).parents[2])
    assert set(shop.op("export_state")) == set(before)
    assert files(shop) == before

    (shop.path / "target/versions/customers.json").write_text('{"model": "cus')
    assert shop.op("export_state", models="customer_segments")[0] == "versions/customer_segments.v2.json"
    assert files(shop) != before, "only what was asked for"
    shop.op("export_state", models=["customers"])
    assert files(shop) == before


def test_readers_write_nothing(shop: Shop) -> None:
    release(shop)
    for path in [*(shop.path / "target").glob("versions/*"), *(shop.path / "target").glob("promotion_states/*")]:
        path.unlink()
    shop.op("get_latest_version", model_name="customers")
    shop.op("get_version_history", model_name="customers")
    shop.op("get_promotion_status")
    shop.op("get_staging_validated_models")
    shop.op("promote_to_environment", target_environment="production", models="orders", update_state=False)
    shop.op("register_changed_models", models="orders", dry_run=True)
    assert files(shop) == {}
    shop.op("register_version", model_name="orders", version="1.0.0", vars={"dbt_cicd_toolkit_write_mirror": False})
    assert files(shop) == {}


def test_the_last_ten_promotions(shop: Shop) -> None:
    for number in range(12):
        shop.op("promote_to_environment", target_environment="staging", models="orders", description=f"No. {number}")
    promotions = shop.document("promotion_states/staging.json")["promotions"]
    assert [row["description"] for row in promotions] == [f"No. {number}" for number in range(11, 1, -1)]
    assert len(shop.rows("promotions")) == 12 and len(shop.rows("deployments")) == 1


@pytest.mark.parametrize("how", ["option", "absolute option", "variable"])
def test_the_mirror_follows_the_target_path(shop: Shop, tmp_path: Path, how: str) -> None:
    arguments = ["run-operation", "register_version", "--args", "{model_name: customers, version: 1.0.0}"]
    place = tmp_path / "elsewhere" if how == "absolute option" else shop.path / "elsewhere"
    env = {"DBT_TARGET_PATH": "elsewhere"} if how == "variable" else {}
    if how != "variable":
        arguments += ["--target-path", str(place) if how == "absolute option" else "elsewhere"]
    done = shop.dbt(*arguments, env=env)
    assert done.ok, done.output
    assert json.loads((place / "versions/customers.json").read_text())["versions"][0]["version"] == "1.0.0"


@pytest.mark.v2
def test_v2_says_in_one_line_who_writes_the_files(make_shop: Any) -> None:
    shop = make_shop("duckdb", 2)
    arguments = ["run-operation", "register_version", "--args", "{model_name: customers, version: 1.0.0}"]
    done = shop.dbt(*arguments, quiet=False)
    assert done.ok, done.output
    assert len([line for line in done.output.splitlines() if "dbt-cicd" in line and "target/" in line]) == 1
    quiet = shop.dbt(*arguments, quiet=True)
    assert json.loads(quiet.stdout)["version"] == "1.0.0", "the value and nothing else"
