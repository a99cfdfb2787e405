"""The names of models: every way to write one, and what is said of a name that is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dbt_cicd_toolkit.errors import Differs, InvalidInput
from support.shop import Shop

SOURCES = json.dumps({"sources": [{"name": "bank", "tables": [{"name": "statements"}]}]})


@pytest.mark.matrix
def test_every_way_to_name_a_model(every_shop: Shop) -> None:
    names = [
        ("customers", "model.shop.customers", "customers"),
        ("shop.orders", "model.shop.orders", "orders"),
        ("model.shop.payments", "model.shop.payments", "payments"),
        (" store_sales ", "model.shop.store_sales", "store_sales"),
        ("customer_segments", "model.shop.customer_segments.v2", "customer_segments.v2"),
        ("customer_segments.v1", "model.shop.customer_segments.v1", "customer_segments.v1"),
        ("shop.customer_segments.v2", "model.shop.customer_segments.v2", "customer_segments.v2"),
        ("model.shop.customer_segments.v1", "model.shop.customer_segments.v1", "customer_segments.v1"),
    ]
    changed = every_shop.op("register_changed_models", models=[name for name, _, _ in names], dry_run=True)
    assert {(row["unique_id"], row["model"]) for row in changed["registered"]} == {pair[1:] for pair in names}
    every_shop.op("register_version", model_name="customer_segments", version="1.0.0")
    for name, version in [
        ("customer_segments", "1.0.0"),
        ("customer_segments.v2", "1.0.0"),
        ("shop.customer_segments.v2", "1.0.0"),
        ("customer_segments.v1", "0.0.0"),
    ]:
        assert every_shop.printed("get_latest_version", model_name=name) == version, name
    if every_shop.engine == 1:
        document = every_shop.document("versions/customer_segments.v2.json")
        assert (document["model"], document["unique_id"]) == ("customer_segments.v2", "model.shop.customer_segments.v2")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("custmers", "model 'custmers' is not in this project. The nearest: customers"),
        ("shop.ordres", "The nearest: shop.orders"),
        ("Customers", "The nearest: customers"),
        ("xyzzy", "model 'xyzzy' is not in this project. `dbt ls --resource-type model` lists its models."),
        ("customer_segments.v3", "customer_segments.v"),
        ("x" * 10_000, "`dbt ls --resource-type model` lists its models."),
        ("raw_customers", "'raw_customers' is a seed. Only models have versions."),
        ("products_snapshot", "'products_snapshot' is a snapshot. Only models have versions."),
        ("bank.statements", "'bank.statements' is a source. Only models have versions."),
        ("statements", "'statements' is a source."),
        ("source.shop.bank.statements", "is a source."),
        ("assert_completed_orders_are_paid", "is a test."),
        ("", "model_name is empty"),
    ],
    ids=lambda text: text[:20],
)
def test_a_name_that_is_no_model(workshop_shop: Shop, name: str, said: str) -> None:
    for macro, args in [("register_version", {"version": "1.0.0"}), ("get_latest_version", {})]:
        error = workshop_shop.error(macro, model_name=name, **args)
        assert isinstance(error, InvalidInput)
        assert said in str(error) and len(str(error)) < 600
    assert workshop_shop.rows("versions") == []


@pytest.fixture(scope="module")
def workshop_shop(workshop: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One shop for a table of errors, none of which changes anything."""
    with workshop.shop(tmp_path_factory.mktemp("names"), "postgres") as shop:
        shop.write("models/bank.yml", SOURCES)
        yield shop


@pytest.fixture
def two_packages(tiny: Any, tmp_path: Path) -> Shop:
    """A project with `a`, and a package `other` with `a` and `b`."""
    shop: Shop = tiny({"models/a.sql": "select 1 as id", "models/c.sql": "select 1 as id"}, "duckdb")
    shop.write("packages.yml", (shop.path / "packages.yml").read_text() + f"  - local: {tmp_path}/other\n")
    project = "name: other\nversion: 1.0.0\nconfig-version: 2\n"
    for root in (tmp_path / "other", shop.path / "dbt_packages/other"):
        (root / "models").mkdir(parents=True)
        (root / "dbt_project.yml").write_text(project)
        (root / "models/a.sql").write_text("{{ config(alias='other_a') }} select 2 as id")
        (root / "models/b.sql").write_text("select 2 as id")
    shop.touched()
    return shop


def test_an_ambiguous_name_lists_its_candidates(two_packages: Shop) -> None:
    error = two_packages.error("register_version", model_name="a", version="1.0.0")
    assert isinstance(error, InvalidInput)
    assert "model 'a' is ambiguous. Write one of: other.a, tiny.a." in str(error)
    for name, shown in [("tiny.a", "a"), ("other.a", "other.a"), ("b", "other.b")]:
        two_packages.op("register_version", model_name=name, version="1.0.0")
        assert two_packages.document(f"versions/{shown}.json")["model"] == shown
    assert [(row["unique_id"], row["name"]) for row in two_packages.rows("versions")] == [
        ("model.tiny.a", "a"),
        ("model.other.a", "other.a"),
        ("model.other.b", "other.b"),
    ]


@pytest.mark.matrix
def test_a_model_that_is_gone_and_renamed(every_tiny: Any) -> None:
    shop: Shop = every_tiny({"models/clients.sql": "select 1 as id", "models/other.sql": "select 1 as id"})
    shop.build()
    for version in ("1.0.0", "1.1.0"):
        shop.op("register_version", model_name="clients", version=version, description=f"It's {version}")
    shop.op("deploy_version", model_name="clients", version="1.0.0", environment="production")
    history = shop.op("get_version_history", model_name="clients")
    assert history["in_project"] is True
    shop.rename("models/clients.sql", "models/customers.sql")

    for name in ("clients", "model.tiny.clients"):
        past = shop.op("get_version_history", model_name=name)
        assert past == {**history, "in_project": False}
        assert shop.printed("get_latest_version", model_name=name) == "1.1.0"
        assert shop.printed("get_latest_version", model_name=name, environment="production") == "1.0.0"
        assert shop.printed("check_breaking_version", model_name=name, version="1.1.0") == "false"
        assert shop.op("get_promotion_status", models=name)["production"]["clients"]["in_project"] is False
    for macro, args in [
        ("register_version", {"model_name": "clients", "version": "1.2.0"}),
        ("deploy_version", {"model_name": "clients", "version": "1.0.0", "environment": "staging"}),
        ("rename_model", {"old": "clients", "new": "customer"}),
    ]:
        error = shop.error(macro, **args)
        assert isinstance(error, InvalidInput) and "is not in this project" in str(error)
    error = shop.error("rename_model", old="nobody", new="customers")
    assert isinstance(error, InvalidInput) and "nobody" in str(error)
    error = shop.error("rename_model", old="other", new="customers")
    assert isinstance(error, InvalidInput) and "model 'other' is still in the project" in str(error)

    renamed = shop.op("rename_model", old="clients", new="customers")
    assert (renamed["model"], renamed["in_project"]) == ("customers", True)
    assert renamed["versions"] == history["versions"]
    counts = shop.counts()
    assert shop.op("rename_model", old="clients", new="customers") == renamed
    assert shop.counts() == counts, "a second time changes nothing"
    assert shop.printed("get_latest_version", model_name="customers") == "1.1.0"
    assert list(shop.op("get_promotion_status")["production"]) == ["customers"]
    if shop.engine == 1:
        assert shop.document("versions/customers.json") == renamed


def test_rename_onto_other_code_of_the_same_version(any_tiny: Any) -> None:
    shop: Shop = any_tiny({"models/clients.sql": "select 1 as id", "models/customers.sql": "select 2 as id"})
    shop.build()
    shop.op("register_changed_models")
    shop.remove("models/clients.sql")
    before = shop.counts()
    error = shop.error("rename_model", old="clients", new="customers")
    assert isinstance(error, Differs) and "both models registered 1.0.0 with other code" in str(error)
    assert shop.counts() == before
