"""The gates that a project sets per environment, and get_staging_validated_models, which must agree with them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from support.shop import OperationFailed, Shop

if TYPE_CHECKING:
    from conftest import MakeTiny

MODEL = "models/sales.sql"
TINY = {
    MODEL: "select 1 as id",
    "models/models.yml": "models: [{name: sales, columns: [{name: id, data_tests: [not_null]}]}]",
}


@pytest.fixture
def sales(tiny: MakeTiny) -> Shop:
    """One model, built and tested, with version 1.0.0."""
    shop = tiny(TINY)
    shop.build()
    shop.op("register_version", model_name="sales", version="1.0.0")
    return shop


def environments(**settings: Any) -> dict[str, Any]:
    return {"dbt_cicd_toolkit_environments": settings}


def promote(shop: Shop, environment: str, models: str = "sales", **rest: Any) -> Any:
    return shop.op("promote_to_environment", target_environment=environment, models=models, **rest)


def refusal(shop: Shop, environment: str = "production", models: str = "sales", **rest: Any) -> str:
    with pytest.raises(OperationFailed) as failed:
        promote(shop, environment, models, **rest)
    return str(failed.value)


def age(shop: Shop, days: float, table: str = "deployments", **where: str) -> None:
    """Make rows of the ledger older."""
    condition = " and ".join(f"{name} = '{value}'" for name, value in where.items()) or "true"
    shop.sql(
        f"update dbt_cicd.dbt_cicd_{table} set recorded_at = recorded_at - interval '{days} days' where {condition}"
    )


def next_version(shop: Shop, version: str, **rest: Any) -> None:
    """Another code of the model, built, tested and registered."""
    shop.write(MODEL, f"select 1 as id -- {version}")
    shop.build()
    shop.op("register_version", model_name="sales", version=version, **rest)


WRONG = {
    "unknown setting": ({"production": {"promote_form": "staging"}}, "unknown setting 'promote_form'. Allowed: target"),
    "breaking": ({"production": {"breaking": "ask"}}, "is 'ask'. Allowed: allow, approve, refuse"),
    "days": ({"production": {"promote_from": "staging", "min_days_in_source": "two"}}, "min_days_in_source is 'two'"),
    "negative": ({"production": {"promote_from": "staging", "min_days_in_source": -1}}, "min_days_in_source is '-1'"),
    "days of nothing": ({"production": {"min_days_in_source": 1}}, "min_days_in_source and no promote_from"),
    "tests": ({"production": {"require_tests": "maybe"}}, "require_tests is 'maybe'"),
    "no mapping": ("production", "is no mapping of environments"),
    "no settings": ({"production": "staging"}, "'staging', not a mapping of settings"),
}  # fmt: skip


def test_settings_that_mean_nothing_are_refused(sales: Shop) -> None:
    before = sales.counts()
    for value, said in WRONG.values():
        assert said in refusal(sales, vars={"dbt_cicd_toolkit_environments": value})
    assert sales.counts() == before
    promote(sales, "elsewhere", vars=environments(production={"promote_form": "staging"}))


@pytest.mark.matrix
def test_promote_from(any_tiny: Any) -> None:
    sales = any_tiny(TINY)
    sales.build()
    sales.op("register_version", model_name="sales", version="1.0.0")
    vars = environments(production={"promote_from": "staging"})
    said = refusal(sales, vars=vars)
    assert "staging never had it. Promote it there first" in said
    promote(sales, "staging", vars=vars)
    promote(sales, "production", vars=vars)
    next_version(sales, "1.1.0")
    assert "staging has version 1.0.0, not 1.1.0" in refusal(sales, vars=vars)
    promote(sales, "staging", vars=vars)
    promote(sales, "production", vars=vars)
    # What was here may come back, though staging has another version now.
    sales.op("deploy_version", model_name="sales", version="1.0.0", environment="production", vars=vars)
    next_version(sales, "1.2.0")
    with pytest.raises(OperationFailed, match=r"staging has version 1\.1\.0, not 1\.2\.0"):
        sales.op("deploy_version", model_name="sales", version="1.2.0", environment="production", vars=vars)


def test_promote_from_of_unversioned_code(tiny: MakeTiny) -> None:
    shop = tiny(TINY)
    shop.build()
    vars = environments(production={"promote_from": "staging"})
    promote(shop, "staging")
    promote(shop, "production", vars=vars)
    shop.edit(MODEL, "1", "2")
    shop.build()
    assert "staging has other, unversioned code" in refusal(shop, vars=vars)


def test_min_days_in_source(sales: Shop) -> None:
    vars = environments(production={"promote_from": "staging", "min_days_in_source": 2})
    promote(sales, "staging")
    age(sales, 1.9)
    promote(sales, "staging")  # unchanged: it does not begin anew
    assert "it is in staging since" in refusal(sales, vars=vars)
    age(sales, 0.2)
    promote(sales, "production", vars=vars)


BEFORE = """{% macro times(moment, steps) %}
    {% set found = [] %}
    {% for step in steps %}
        {% do found.append(dbt_cicd_toolkit._time_before(moment, **step)) %}
    {% endfor %}
    {% do print(tojson(found)) %}
{% endmacro %}"""


@pytest.mark.matrix
def test_times_before_another_keep_their_fraction(every_tiny: Callable[[Mapping[str, str]], Shop]) -> None:
    moment = "2026-03-01 00:00:01.000450"
    steps = [{}, {"days": 1}, {"hours": 1}, {"days": 0.5}, {"days": 1e9}]
    found = every_tiny({"macros/times.sql": BEFORE}).op("times", moment=moment, steps=steps)
    assert found[:4] == [
        moment, "2026-02-28 00:00:01.000450", "2026-02-28 23:00:01.000450", "2026-02-28 12:00:01.000450"
    ]  # fmt: skip
    assert found[4] == "0109-08-18 00:00:01.000450"


def test_target_and_required_tests_of_an_environment(sales: Shop) -> None:
    vars = environments(production={"target": "staging", "require_tests": True}, sandbox={"require_tests": False})
    assert "in target staging" in refusal(sales, vars=vars, require_tests=False)
    sales.build(target="staging")
    promote(sales, "production", vars=vars)
    sales.edit(MODEL, "1", "2")
    sales.op("register_version", model_name="sales", version="1.1.0")
    assert promote(sales, "sandbox", vars=vars)["plan"][0]["evidence"] == "not required"


@pytest.mark.matrix
def test_breaking_versions(sales: Shop) -> None:
    approve, refuse = (environments(production={"breaking": policy}) for policy in ("approve", "refuse"))
    promote(sales, "production", vars=refuse)
    next_version(sales, "2.0.0", is_breaking=True)
    next_version(sales, "2.0.1")
    # 2.0.1 is not breaking, but the way there is.
    assert "1.0.0 to 2.0.1 is breaking, and breaking is 'refuse'" in refusal(sales, vars=refuse)
    assert "only with an approval" in refusal(sales, vars=approve)
    plan = promote(sales, "production", vars=approve, approved_by="Grace", description="told everybody")
    assert "sales: 1.0.0 to 2.0.1 is breaking (approved by Grace)" in plan["warnings"]
    row = sales.rows("promotions", status="success")[-1]
    assert (row["approved_by"], row["description"]) == ("Grace", "told everybody")
    promote(sales, "production", vars=refuse)  # unchanged
    # Back to 2.0.0 nothing breaks: it stands on this side of the break. Back to 1.0.0 it does.
    deploy = {"model_name": "sales", "environment": "production"}
    sales.op("deploy_version", **deploy, version="2.0.0", vars=refuse)
    with pytest.raises(OperationFailed, match=r"2\.0\.0 to 1\.0\.0 is breaking"):
        sales.op("deploy_version", **deploy, version="1.0.0", vars=refuse)
    assert "sales: 2.0.0 to 2.0.1" not in str(promote(sales, "production", vars=refuse)["warnings"])
    promote(sales, "elsewhere")


def test_an_approval_must_name_somebody(sales: Shop) -> None:
    promote(sales, "production")
    next_version(sales, "2.0.0", is_breaking=True)
    vars = environments(production={"breaking": "approve"})
    for nobody in ("", "  ", None):
        assert "only with an approval" in refusal(sales, vars=vars, approved_by=nobody)
    assert "approved_by" in refusal(sales, vars=vars, approved_by=True)


# get_staging_validated_models


def validated(shop: Shop, days: float = 0, **rest: Any) -> list[str]:
    text = shop.printed("get_staging_validated_models", min_days_in_staging=days, **rest)
    return text.split(",") if text else []


@pytest.mark.matrix
def test_nothing_is_printed_when_there_is_none(any_tiny: Any) -> None:
    shop = any_tiny(TINY)
    shop.build()
    result = shop.dbt("run-operation", "get_staging_validated_models", process=True)
    assert (result.returncode, result.stdout) == (0, "")
    promote(shop, "staging")
    result = shop.dbt("run-operation", "get_staging_validated_models", process=True)
    assert (result.returncode, result.stdout) == (0, "sales\n")


def test_what_is_validated(shop: Shop) -> None:
    promote(shop, "staging", "customers,orders,payments")
    assert validated(shop) == ["customers", "orders", "payments"]
    promote(shop, "production", "orders")
    assert validated(shop) == ["customers", "payments"]  # production has it
    assert validated(shop, 1) == []
    age(shop, 2, environment="staging", name="payments")
    assert validated(shop, 1) == ["payments"]
    assert validated(shop, 10**9) == []
    shop.edit("models/marts/customers.sql", "customers.email,", "customers.email ,")
    assert validated(shop) == ["payments"]  # the code is no longer staging's
    shop.sql("update dbt_cicd.dbt_cicd_test_results set status = 'fail' where name = 'payments'")
    assert validated(shop) == []


def test_red_since(sales: Shop) -> None:
    """Green for all the days that are asked for, not only at the end."""
    promote(sales, "staging")
    age(sales, 5)
    assert validated(sales, 2) == ["sales"]
    sales.write("tests/fails.sql", "select id from {{ ref('sales') }} where {{ var('red', false) }}")
    assert not sales.dbt("test", vars={"red": True}).ok
    assert sales.dbt("test").ok
    assert validated(sales) == ["sales"]
    assert validated(sales, 2) == []
    age(sales, 3, "test_results", status="fail")
    assert validated(sales, 2) == ["sales"]
    # What went red over an empty relation, or in another schema, says nothing.
    for place in ("flags = 'empty'", "relation_name = 'elsewhere'"):
        sales.sql(f"update dbt_cicd.dbt_cicd_test_results set {place}, recorded_at = now() where status = 'fail'")
        assert validated(sales, 2) == ["sales"]


def test_green_where_tests_are_not_required(sales: Shop) -> None:
    vars = environments(staging={"require_tests": False, "target": "staging"})
    promote(sales, "staging", vars=vars)
    assert validated(sales, vars=vars) == []
    sales.build(target="staging")
    assert validated(sales, vars=vars) == ["sales"]


@pytest.mark.parametrize("days", [-1, "soon", None, True])
def test_days_that_are_none(sales: Shop, days: Any) -> None:
    with pytest.raises(OperationFailed, match="min_days_in_staging"):
        sales.op("get_staging_validated_models", min_days_in_staging=days)


NAMES = ["alpha", "beta", "gamma"]


def _walk(shop: Shop, chance: random.Random) -> None:
    """One thing that happens to a project."""
    name = chance.choice(NAMES)
    path = f"models/{name}.sql"
    step = chance.choice(
        ["edit", "build", "test", "build", "register", "stage", "stage", "red", "age", "produce", "empty"]
    )
    if step == "edit":
        shop.write(path, f"select {chance.randint(1, 3)} as id")
    elif step in ("build", "test"):
        shop.dbt(step, "--select", name)
    elif step == "empty":
        shop.dbt("build", "--empty", "--select", name)
    elif step == "red":
        shop.dbt("test", "--select", name, vars={"red": name})
    elif step == "age":
        age(shop, chance.choice([1, 3]), environment="staging", name=name)
    else:
        calls: dict[str, tuple[str, dict[str, Any]]] = {
            "register": ("register_changed_models", {"models": name, "bump": chance.choice(["patch", "major"])}),
            "stage": (
                "promote_to_environment",
                {"target_environment": "staging", "models": name, "require_tests": False},
            ),
            "produce": ("promote_to_environment", {"target_environment": "production", "models": name}),
        }
        macro, arguments = calls[step]
        try:
            shop.op(macro, **arguments)
        except OperationFailed as refused:
            assert "[refused]" in str(refused), refused


def _may_go(shop: Shop, name: str, days: float) -> str | None:
    """Why a model is not validated by the conditions of the documentation, asked of other macros; None when it is."""
    status = shop.op("get_promotion_status", models=name)
    staged = status.get("staging", {}).get(name)
    if not staged or staged["status"] != "deployed":
        return "not in staging"
    if staged["code_changed"]:
        return "other code"
    deployed = shop.rows("deployments", environment="staging", name=name)[-1]
    recent = f"recorded_at > (clock_timestamp() at time zone 'utc') - interval '{days} days'"
    if shop.sql(f"select 1 from dbt_cicd.dbt_cicd_deployments where id = %s and {recent}", deployed["id"]):
        return "too new"
    red = f"name = %s and checksum = %s and status = 'fail' and flags = '' and {recent}"
    if shop.sql(f"select 1 from dbt_cicd.dbt_cicd_test_results where {red}", name, deployed["checksum"]):
        return "red since"
    try:
        plan = shop.op(
            "promote_to_environment", target_environment="production", models=name, update_state=False
        )["plan"][0]  # fmt: skip
    except OperationFailed as refused:
        return str(refused)
    if plan["action"] == "unchanged":
        return "there already"
    return None if plan["version"] == staged["version"] else "staging has another version of this code"


@pytest.mark.parametrize("seed", [1, 2])
def test_validated_is_what_production_accepts(tiny: MakeTiny, seed: int) -> None:
    test = "select id from {{ ref('%s') }} where {{ var('red', 'none') == '%s' }}"
    shop = tiny({f"models/{name}.sql": "select 1 as id" for name in NAMES}
                | {f"tests/{name}_is_green.sql": test % (name, name) for name in NAMES[:2]})  # fmt: skip
    shop.vars = environments(production={"promote_from": "staging", "breaking": "approve"})
    shop.build()
    promote(shop, "staging", ",".join(NAMES))
    chance = random.Random(seed)
    printed = 0
    for _ in range(6):
        for _ in range(2):
            _walk(shop, chance)
        days = chance.choice([0, 0, 2])
        names = validated(shop, days)
        printed += len(names)
        for name in NAMES:
            why_not = _may_go(shop, name, days)
            assert (name in names) == (why_not is None), (name, days, names, why_not)
        if names:
            promote(shop, "production", ",".join(names), update_state=False)
    assert printed
