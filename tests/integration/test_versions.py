"""Versions: registered, read and deployed, as operations and from other code."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from dbt_cicd_toolkit.errors import Differs, InvalidInput, Refused
from support.shop import Shop

ENTRY = ["version", "timestamp", "description", "is_breaking", "status", "last_deployed", "environments", "deployments"]
ORDERS = "models/marts/orders.sql"


def register(shop: Shop, version: str, model: str = "customers", **rest: Any) -> dict[str, Any]:
    entry: dict[str, Any] = shop.op("register_version", model_name=model, version=version, **rest)
    return entry


@pytest.mark.matrix
def test_operations(every_shop: Shop) -> None:
    shop = every_shop
    assert shop.printed("get_latest_version", model_name="customers") == "0.0.0", "so that a bump loop can start"

    entry = register(shop, "1.2.0", description="Added customer segment field", is_breaking=False)
    assert [key for key in ENTRY if key not in entry] == []
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", entry["timestamp"])
    assert (entry["version"], entry["description"]) == ("1.2.0", "Added customer segment field")
    assert (entry["status"], entry["last_deployed"], entry["is_breaking"]) == ("registered", None, False)
    assert (entry["environments"], entry["deployments"]) == ([], [])

    assert shop.printed("get_latest_version", model_name="customers") == "1.2.0"
    assert shop.printed("get_latest_version", model_name="customers", environment="staging") == "0.0.0"
    assert shop.printed("check_breaking_version", model_name="customers", version="1.2.0") == "false"

    deployed = shop.op("deploy_version", model_name="customers", version="1.2.0", environment="staging")
    assert (deployed["version"], deployed["status"], deployed["environments"]) == ("1.2.0", "deployed", ["staging"])
    assert [(row["environment"], row["status"]) for row in deployed["deployments"]] == [("staging", "success")]
    assert deployed["last_deployed"] == deployed["deployments"][0]["timestamp"]

    register(shop, "2.0.0", is_breaking=True)
    assert shop.printed("check_breaking_version", model_name="customers", version="2.0.0") == "true"
    assert shop.printed("get_latest_version", model_name="customers", environment="staging") == "1.2.0"

    history = shop.op("get_version_history", model_name="customers")
    assert history["model"] == "customers"
    assert [entry["version"] for entry in history["versions"]] == ["2.0.0", "1.2.0"]
    there = shop.op("get_version_history", model_name="customers", environment="staging")
    assert [entry["version"] for entry in there["versions"]] == ["1.2.0"]
    assert shop.op("get_version_history", model_name="customers", environment="production")["versions"] == []


def test_of_a_process_stdout_is_the_value_and_nothing_else(every_shop: Shop) -> None:
    shop = every_shop
    for macro, args, printed in [
        ("register_version", {"model_name": "customers", "version": "1.0.0"}, None),
        # A breaking change that the number contradicts: the warning must not get between a pipeline and its value.
        ("register_version", {"model_name": "customers", "version": "1.0.1", "is_breaking": True}, None),
        ("get_latest_version", {"model_name": "customers"}, "1.0.1\n"),
        ("check_breaking_version", {"model_name": "customers", "version": "1.0.1"}, "true\n"),
    ]:
        done = shop.dbt("run-operation", macro, "--args", json.dumps(args), process=True)
        assert done.ok, done.output
        if printed:
            assert done.stdout == printed
        else:
            assert json.loads(done.stdout)["version"] == args["version"] and done.stdout.count("\n") == 1


CALLS = """
{% macro release(version) %}
    {% set t = dbt_cicd_toolkit %}
    {% set entry = t.register_version('customers', version, 'By a macro', is_breaking=true) %}
    {% set deployed = t.deploy_version('customers', version, 'staging') %}
    {% set promoted = t.promote_to_environment('production', ['customers']) %}
    {% do print(tojson({
        'registered': entry.version, 'deployed': deployed.environments, 'promoted': promoted.versions,
        'latest': t.get_latest_version('customers'), 'production': t.get_latest_version('customers', 'production'),
        'breaking': t.check_breaking_version('customers', version),
        'history': t.get_version_history('customers', 'staging').versions[0].description,
        'changed': t.register_changed_models(models='customers').unchanged,
        'status': t.get_promotion_status('production', 'customers').production.customers.version,
        'validated': t.get_staging_validated_models(),
    })) %}
{% endmacro %}
"""


def test_calls_from_another_macro_return_and_print_nothing(every_shop: Shop) -> None:
    every_shop.write("macros/release.sql", CALLS)
    assert every_shop.op("release", version="1.0.0") == {
        "registered": "1.0.0",
        "deployed": ["staging"],
        "promoted": {"customers": "1.0.0"},
        "latest": "1.0.0",
        "production": "1.0.0",
        "breaking": True,
        "history": "By a macro",
        "changed": ["customers"],
        "status": "1.0.0",
        "validated": "",
    }


@pytest.mark.matrix
def test_readers_inside_models(every_shop: Shop) -> None:
    register(every_shop, "1.4.0")
    register(every_shop, "1.5.0")
    every_shop.op("deploy_version", model_name="customers", version="1.4.0", environment="production")
    every_shop.write(
        "models/marts/about.sql",
        "select '{{ dbt_cicd_toolkit.get_latest_version('customers') }}' as latest,\n"
        "  '{{ dbt_cicd_toolkit.get_latest_version('customers', 'production') }}' as production,\n"
        "  {{ dbt_cicd_toolkit.check_breaking_version('customers', '1.4.0') }} as breaking,\n"
        "  {{ dbt_cicd_toolkit.get_version_history('customers').versions | length }} as registered,\n"
        "  '{{ dbt_cicd_toolkit.get_promotion_status('production').production.customers.version }}' as status",
    )
    every_shop.build("--select", "about")
    schema = every_shop.target if every_shop.database == "postgres" else "main"
    assert every_shop.sql(f"select * from {schema}.about") == [
        {"latest": "1.5.0", "production": "1.4.0", "breaking": False, "registered": 2, "status": "1.4.0"}
    ]


@pytest.mark.parametrize(
    "call",
    [
        "register_version('orders', '1.0.0')",
        "deploy_version('customers', '1.0.0', 'production')",
        "promote_to_environment('production', 'customers')",
        "register_changed_models()",
    ],
)
def test_a_write_while_a_model_compiles_raises(shop: Shop, call: str) -> None:
    register(shop, "1.0.0")
    before = shop.counts()
    shop.write("models/marts/about.sql", f"select 1 as id {{% do dbt_cicd_toolkit.{call} %}}")
    for command in ("compile", "run"):
        done = shop.dbt(command, "--select", "about")
        assert not done.ok
        assert f"{call.split('(')[0]}(): writes to the ledger and was reached while model.shop.about compiles" in (
            done.output
        )
    after = shop.counts()
    assert after.pop("dbt_cicd_builds") == before.pop("dbt_cicd_builds") + 1, "the failed run is evidence"
    assert after == before


@pytest.mark.v2
def test_a_write_while_a_model_compiles_raises_on_v2(make_shop: Any) -> None:
    shop = make_shop("duckdb", 2)
    shop.write("models/marts/about.sql", "select 1 as id {% do dbt_cicd_toolkit.register_version('orders', '1.0.0') %}")
    done = shop.dbt("compile", "--select", "about")
    assert not done.ok and "was reached while model.shop.about compiles" in done.output
    assert shop.rows("versions") == []


VALID_ARGUMENTS: dict[str, dict[str, Any]] = {
    "register_version": {"model_name": "customers", "version": "1.0.0"},
    "get_version_history": {"model_name": "customers"},
    "get_latest_version": {"model_name": "customers"},
    "deploy_version": {"model_name": "customers", "version": "1.0.0", "environment": "staging"},
    "check_breaking_version": {"model_name": "customers", "version": "1.0.0"},
    "register_changed_models": {},
    "rename_model": {"old": "clients", "new": "customers"},
    "promote_to_environment": {"target_environment": "staging", "models": "customers"},
    "get_promotion_status": {},
    "get_staging_validated_models": {},
    "setup_ledger": {},
    "prune_evidence": {"keep_days": 30},
    "export_state": {},
}


def test_an_unknown_argument_is_refused(every_shop: Shop) -> None:
    before = every_shop.counts()
    for macro, args in VALID_ARGUMENTS.items():
        error = every_shop.error(macro, **args, require_test=True)
        assert isinstance(error, InvalidInput)
        assert str(error).startswith(f"dbt_cicd_toolkit.{macro}(): unknown argument 'require_test'.")
    assert every_shop.counts() == before


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("{model_name: customers, version: 1.10}", 'version: "1.1"'),
        ("{model_name: customers, version: 1}", 'version: "1"'),
        ("{model_name: customers, version: [1, 2]}", "Put it in quotes"),
        ("{model_name: customers, version: null}", "version is missing"),
        ("{model_name: customers, version: ''}", "version is empty"),
        ("{model_name: customers, version: v1.2.0}", "'v1.2.0' is no SemVer 2.0.0 version. Write 1.2.0."),
        ("{model_name: customers, version: '1.10'}", "Write 1.10.0."),
        ("{model_name: customers, version: 01.0.0}", "Write 1.0.0."),
        ("{model_name: customers, version: latest}", "Allowed: MAJOR.MINOR.PATCH"),
        ("{model_name: customers, version: 1.0.0, is_breaking: perhaps}", "Allowed: true, false."),
        ("{model_name: customers, version: 1.0.0, description: [a]}", "description is"),
        ("{model_name: 17, version: 1.0.0}", 'model_name: "17"'),
        ("{model_name: null, version: 1.0.0}", "model_name is missing"),
    ],
)
def test_malformed_arguments(shop: Shop, args: str, said: str) -> None:
    error = shop.error("register_version", args_text=args)
    assert isinstance(error, InvalidInput)
    assert said in str(error)
    assert shop.rows("versions") == []


@pytest.mark.v2
def test_an_unquoted_version_on_v2(make_shop: Any) -> None:
    error = make_shop("duckdb", 2).error("register_version", args_text="{model_name: customers, version: 1.10}")
    assert isinstance(error, InvalidInput) and "Put it in quotes" in str(error)


def test_latest_is_precedence_never_time(any_shop: Shop) -> None:
    for version, latest in [
        ("1.0.0-beta.2", "1.0.0-beta.2"),
        ("1.0.0-beta.11", "1.0.0-beta.11"),
        ("1.0.0-beta.3", "1.0.0-beta.11"),
        ("0.9.0", "0.9.0"),  # a pre-release counts only while there is nothing else
        ("1.10.0", "1.10.0"),
        ("1.9.0", "1.10.0"),
        ("2.0.0-rc.1", "1.10.0"),
        ("1.10.0+build.7", "1.10.0+build.7"),
    ]:
        register(any_shop, version)
        assert any_shop.printed("get_latest_version", model_name="customers") == latest, f"after {version}"
    history = any_shop.op("get_version_history", model_name="customers")
    assert [entry["version"] for entry in history["versions"]] == [
        "2.0.0-rc.1",
        "1.10.0+build.7",
        "1.10.0",
        "1.9.0",
        "1.0.0-beta.11",
        "1.0.0-beta.3",
        "1.0.0-beta.2",
        "0.9.0",
    ]


@pytest.mark.matrix
def test_the_same_again_is_green_and_other_code_differs(every_shop: Shop) -> None:
    shop = every_shop
    first = register(shop, "1.0.0", model="orders", description="First")
    assert register(shop, "1.0.0", model="orders", description="Second", is_breaking=True) == first
    assert len(shop.rows("versions")) == 1

    code = (shop.path / ORDERS).read_text(encoding="utf-8")
    shop.write(ORDERS, code.replace("\n", "\r\n") + "\r\n\r\n")
    assert register(shop, "1.0.0", model="orders") == first, "line ends and blank space around are no code"

    shop.write(ORDERS, code + "-- and more\n")
    error = shop.error("register_version", model_name="orders", version="1.0.0")
    assert isinstance(error, Differs)
    assert f"version 1.0.0 of orders was registered at {first['timestamp']} with other code" in str(error)
    assert "for example 1.0.1" in str(error)
    assert shop.op("get_version_history", model_name="orders")["versions"] == [first]


def test_an_unknown_version_is_an_error(any_shop: Shop) -> None:
    for args in ({"model_name": "customers", "version": "1.0.0"}, {"model_name": "customers", "version": "1.0.0+x"}):
        error = any_shop.error("check_breaking_version", **args)
        assert isinstance(error, InvalidInput)
        assert "is not registered" in str(error) and "dbt run-operation register_version" in str(error)
        register(any_shop, "1.0.0")
    before = any_shop.counts()
    error = any_shop.error("deploy_version", model_name="customers", version="9.9.9", environment="staging")
    assert isinstance(error, Refused) and "version 9.9.9 of customers is not registered" in str(error)
    assert "The highest registered: 1.0.0." in str(error)
    after = any_shop.counts()
    assert after["dbt_cicd_deployments"] == before["dbt_cicd_deployments"] == 0


def test_readers_create_nothing(make_shop: Any) -> None:
    for database in ("postgres", "duckdb"):
        shop = make_shop(database, 1, "empty")
        assert shop.printed("get_latest_version", model_name="customers") == "0.0.0"
        assert shop.op("get_version_history", model_name="customers")["versions"] == []
        assert shop.op("get_promotion_status") == {}
        assert (
            shop.op("register_changed_models", dry_run=True, models="customers")["registered"][0]["version"] == "1.0.0"
        )
        assert isinstance(shop.error("check_breaking_version", model_name="customers", version="1.0.0"), InvalidInput)
        assert shop.counts() == {}


def test_who_and_which_commit(shop: Shop) -> None:
    register(shop, "1.0.0")
    register(shop, "1.0.1", env={"GITHUB_ACTOR": "octocat", "GITHUB_SHA": "abc123"})
    named = {"dbt_cicd_toolkit_actor": "Grace O'Hopper", "dbt_cicd_toolkit_git_commit": "def456"}
    register(shop, "1.0.2", vars=named, env={"GITHUB_ACTOR": "octocat"})
    assert [(row["recorded_by"], row["git_commit"]) for row in shop.rows("versions")] == [
        ("postgres", None),
        ("octocat", "abc123"),
        ("Grace O'Hopper", "def456"),
    ]


@pytest.mark.v2
def test_v2_on_postgresql_is_experimental_and_works(make_shop: Any) -> None:
    shop = make_shop("postgres", 2)
    assert register(shop, "1.0.0")["version"] == "1.0.0"
    assert shop.op(
        "deploy_version", model_name="customers", version="1.0.0", environment="staging", require_tests=True
    )["environments"] == ["staging"]
    assert shop.op("promote_to_environment", target_environment="production", models="customers")["success"]
    assert shop.printed("get_latest_version", model_name="customers", environment="production") == "1.0.0"
    error = shop.error("promote_to_environment", target_environment="production", models="nothing_like_it")
    assert isinstance(error, Refused)
    assert [row["status"] for row in shop.rows("promotions")] == ["success", "success", "failed"]
