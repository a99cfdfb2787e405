"""register_changed_models: the next version of whatever changed, all of it or nothing."""

from __future__ import annotations

from typing import Any

import pytest

from dbt_cicd_toolkit.errors import InvalidInput, Refused
from support.shop import Shop

CUSTOMERS, ORDERS = "models/marts/customers.sql", "models/marts/orders.sql"


def versions(outcome: dict[str, Any]) -> dict[str, str]:
    return {row["model"]: row["version"] for row in outcome["registered"]}


@pytest.mark.matrix
def test_first_then_what_changed(every_shop: Shop) -> None:
    shop = every_shop
    planned = shop.op("register_changed_models", dry_run=True)
    assert shop.rows("versions") == [] and planned["dry_run"] is True
    first = shop.op("register_changed_models", description="Hello")
    assert first == {**planned, "dry_run": False}
    assert set(versions(first)) > {"customers", "customer_segments.v1", "int_order_payments", "stg_orders"}
    assert set(versions(first).values()) == {"1.0.0"}
    assert {row["description"] for row in shop.rows("versions")} == {"Hello"}
    if shop.engine == 1:
        assert shop.document("versions/payments.json")["versions"][0]["version"] == "1.0.0"

    again = shop.op("register_changed_models")
    assert (again["registered"], again["unchanged"]) == ([], sorted(versions(first)))

    shop.edit(CUSTOMERS, "    customers.email,\n", "")
    shop.edit(ORDERS, "orders.store_id,", "orders.store_id, -- where")
    shop.build("--select", "customers", "orders", "--indirect-selection", "empty")
    only = shop.op("register_changed_models", models="orders, payments", dry_run=True)
    assert (versions(only), only["unchanged"]) == ({"orders": "1.0.1"}, ["payments"])
    changed = shop.op("register_changed_models")
    assert changed["registered"] == [
        {
            "model": "customers",
            "unique_id": "model.shop.customers",
            "version": "2.0.0",
            "from_version": "1.0.0",
            "is_breaking": True,
            "findings": [{"level": "major", "change": "column email was removed or renamed"}],
        },
        {
            "model": "orders",
            "unique_id": "model.shop.orders",
            "version": "1.0.1",
            "from_version": "1.0.0",
            "is_breaking": False,
            "findings": [],
        },
    ]
    assert shop.op("register_changed_models", models=["orders"]) == {
        "registered": [],
        "unchanged": ["orders"],
        "dry_run": False,
    }


def test_what_is_refused_writes_nothing(shop: Shop) -> None:
    shop.op("register_changed_models", models="orders")
    before = shop.counts()
    shop.edit(ORDERS, "orders.store_id,", "")
    for kind, args, said in [
        (Refused, {}, "how large a step these models took cannot be told: orders ("),
        (InvalidInput, {"models": "customers,ordres"}, "The nearest: orders"),
        (InvalidInput, {"models": "customers,raw_orders"}, "'raw_orders' is a seed"),
        (InvalidInput, {"models": " , "}, "models is empty"),
        (InvalidInput, {"models": []}, "models is empty"),
        (InvalidInput, {"models": {"a": 1}}, "Allowed: a list of model names"),
        (InvalidInput, {"bump": "huge"}, "bump is 'huge'. Allowed: auto, patch, minor, major."),
        (InvalidInput, {"dry_run": "perhaps"}, "Allowed: true, false."),
    ]:
        error = shop.error("register_changed_models", **args)
        assert isinstance(error, kind) and said in str(error), args
    shop.vars = {"dbt_cicd_toolkit_first_version": "1.0"}
    error = shop.error("register_changed_models", models="customers")
    assert "dbt_cicd_toolkit_first_version '1.0' is no SemVer 2.0.0 version. Write 1.0.0." in str(error)
    assert shop.counts() == before


def test_a_step_that_is_given(any_shop: Shop) -> None:
    any_shop.vars = {"dbt_cicd_toolkit_first_version": "0.1.0-rc.1"}
    assert versions(any_shop.op("register_changed_models", models="orders")) == {"orders": "0.1.0-rc.1"}
    any_shop.vars = {}
    for bump, version in [("minor", "0.1.0"), ("patch", "0.1.1"), ("major", "1.0.0"), ("minor", "1.1.0")]:
        any_shop.edit(ORDERS, "with items as", f"-- {version}\nwith items as")
        outcome = any_shop.op("register_changed_models", bump=bump, models=["orders"])
        assert versions(outcome) == {"orders": version}, bump


def test_a_given_step_that_what_changed_contradicts(shop: Shop) -> None:
    shop.op("register_changed_models", models="customers")
    shop.edit(CUSTOMERS, "    customers.email,\n", "")
    shop.build("--select", "customers", "--indirect-selection", "empty")
    shop.vars = {"dbt_cicd_toolkit_breaking_policy": "refuse"}
    error = shop.error("register_changed_models", bump="patch", models="customers,orders")
    assert isinstance(error, Refused) and "column email was removed or renamed" in str(error)
    assert [row["version"] for row in shop.rows("versions")] == ["1.0.0"], "all of them or none"
    shop.vars = {}
    row = shop.op("register_changed_models", bump="patch", models="customers")["registered"][0]
    assert (row["version"], row["is_breaking"]) == ("1.0.1", True), "warned, and recorded as what it is"
