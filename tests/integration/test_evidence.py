"""Evidence: which results of builds and tests count for a promotion, and that recording them never fails a dbt run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.shop import OperationFailed, Result, Shop

if TYPE_CHECKING:
    from conftest import MakeTiny

MODEL = "models/sales.sql"
YAML = "models/models.yml"
TINY = {
    MODEL: "select 1 as id, 'paid' as status",
    YAML: """
models:
  - name: sales
    columns:
      - name: id
        data_tests: [not_null]
      - name: status
        data_tests:
          - accepted_values: {arguments: {values: [paid]}}
""",
}
HOOK = "this run was not recorded as evidence: "


def accepted(shop: Shop, models: str = "sales", **rest: Any) -> bool:
    try:
        plan = shop.op(
            "promote_to_environment", target_environment="production", models=models, update_state=False, **rest
        )
    except OperationFailed:
        return False
    return bool(plan["success"])


def refusal(shop: Shop, models: str = "sales", **rest: Any) -> str:
    with pytest.raises(OperationFailed) as failed:
        shop.op("promote_to_environment", target_environment="production", models=models, update_state=False, **rest)
    return str(failed.value).split("nothing was promoted to production. ")[1]


@pytest.mark.matrix
def test_code_that_was_only_tested_is_refused(any_tiny: Any) -> None:
    shop = any_tiny(TINY)
    shop.build()
    assert accepted(shop)
    shop.edit(MODEL, "1 as id", "2 as id")
    assert shop.dbt("test").ok
    said = refusal(shop)
    assert "tests not_null_sales_id, accepted_values_sales_status__paid have no result" in said
    assert "dbt build --select sales" in said
    assert shop.dbt("run").ok
    assert not accepted(shop)
    assert shop.dbt("test").ok
    assert accepted(shop)


def test_a_test_speaks_of_what_was_built_when_it_ran(tiny: MakeTiny) -> None:
    """The tests of the code before count for the code before, also when they run after an edit."""
    shop = tiny(TINY)
    shop.op("register_version", model_name="sales", version="1.0.0")
    assert shop.dbt("run").ok
    shop.edit(MODEL, "1 as id", "2 as id")
    assert shop.dbt("test").ok
    deploy = {"model_name": "sales", "version": "1.0.0", "environment": "production"}
    assert shop.op("deploy_version", **deploy)["status"] == "deployed"


@pytest.mark.matrix
@pytest.mark.parametrize("flag", ["--empty", "--sample"])
def test_an_empty_or_sampled_build_proves_nothing(tiny: MakeTiny, flag: str) -> None:
    shop = tiny(TINY)
    argv = ("--empty",) if flag == "--empty" else ("--sample", "1 day")
    assert shop.dbt("build", *argv).ok
    assert "have no result" in refusal(shop)
    assert shop.dbt("test").ok
    assert "have no result" in refusal(shop)
    assert {row["flags"] for row in shop.rows("builds")} == {flag[2:]}
    shop.build()
    assert accepted(shop)


def test_full_refresh_is_no_less_a_build(tiny: MakeTiny) -> None:
    shop = tiny(TINY)
    shop.build("--full-refresh")
    assert accepted(shop)


@pytest.mark.matrix
def test_a_failing_test_refuses_and_the_newest_outcome_decides(any_tiny: Any) -> None:
    shop = any_tiny(
        {**TINY, "tests/no_refunds.sql": "select id from {{ ref('sales') }} where {{ var('wrong', false) }}"}
    )
    shop.build()
    assert not shop.dbt("test", vars={"wrong": True}).ok
    said = refusal(shop)
    assert "sales: test no_refunds failed at " in said and "Got 1 result" in said
    assert shop.dbt("test", "--select", "not_null_sales_id").ok
    assert not accepted(shop)
    assert shop.dbt("test", "--select", "no_refunds").ok
    assert accepted(shop)


def test_a_warning_passes(tiny: MakeTiny) -> None:
    code = "{{ config(severity='warn') }} select id from {{ ref('sales') }}"
    shop = tiny({**TINY, "tests/warns.sql": code})
    shop.build()
    plan = shop.op("promote_to_environment", target_environment="production", models="sales")
    assert plan["plan"][0]["evidence"] == "2 passed, 1 warned"


def test_a_test_that_ends_in_an_error_refuses(tiny: MakeTiny) -> None:
    shop = tiny({**TINY, "tests/broken.sql": "select no_such_column from {{ ref('sales') }}"})
    assert not shop.dbt("build").ok
    assert "test broken ended in an error" in refusal(shop)


def test_a_skipped_test_refuses(tiny: MakeTiny) -> None:
    shop = tiny({**TINY, "models/before.sql": "select 1 as id"})
    shop.write(MODEL, "select id, 'paid' as status from {{ ref('before') }}")
    shop.build()
    shop.write("models/before.sql", "select no_such_column as id")
    assert not shop.dbt("build").ok
    assert "was skipped at" in refusal(shop)


EDITS = {
    "severity": (YAML, "data_tests: [not_null]", "data_tests: [{not_null: {config: {severity: warn}}}]"),
    "where": (YAML, "data_tests: [not_null]", "data_tests: [{not_null: {config: {where: id < 0}}}]"),
    "arguments": (YAML, "values: [paid]", "values: [paid, open]"),
    "sql": ("tests/singular.sql", "where id < 0", "where id < 1"),
    "new": (YAML, "data_tests: [not_null]", "data_tests: [not_null, unique]"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_test_must_run_again(tiny: MakeTiny, edit: str) -> None:
    shop = tiny({**TINY, "tests/singular.sql": "select id from {{ ref('sales') }} where id < 0"})
    shop.build()
    assert accepted(shop)
    shop.edit(*EDITS[edit])
    assert "has no result recorded for this code" in refusal(shop)
    assert shop.dbt("test").ok
    assert accepted(shop)


def test_a_singular_test_guards_every_model_it_reads(tiny: MakeTiny) -> None:
    both = "select a.id from {{ ref('one') }} a join {{ ref('two') }} b on a.id = b.id"
    shop = tiny({"models/one.sql": "select 1 as id", "models/two.sql": "select 1 as id", "tests/both.sql": both})
    assert not shop.dbt("build").ok
    for model in ("one", "two"):
        assert f"{model}: test both failed" in refusal(shop, model)


UNIT = """
unit_tests:
  - name: id_is_kept
    model: sales
    given: [{input: ref('seeded'), rows: [{id: 7}]}]
    expect: {rows: [{id: %s, status: paid}]}
"""


def test_a_unit_test_counts_when_recorded(tiny: MakeTiny) -> None:
    shop = tiny({**TINY, "models/seeded.sql": "select 1 as id", "models/unit.yml": UNIT % 7})
    shop.write(MODEL, "select id, 'paid' as status from {{ ref('seeded') }}")
    without = ("--exclude-resource-type", "unit_test")
    assert shop.dbt("build", *without).ok
    assert accepted(shop)  # absent
    shop.write("models/unit.yml", UNIT % 8)
    assert not shop.dbt("test", "--select", "test_type:unit").ok
    assert "sales: unit test id_is_kept failed" in refusal(shop)
    shop.edit(MODEL, "'paid'", "cast('paid' as text)")
    assert shop.dbt("build", *without).ok
    assert accepted(shop)  # failed at other code
    assert not shop.dbt("test", "--select", "test_type:unit").ok
    assert not accepted(shop)
    shop.write("models/unit.yml", UNIT % 7)
    assert shop.dbt("test", "--select", "test_type:unit").ok
    assert accepted(shop)


def test_an_untested_model(shop: Shop) -> None:
    plan = shop.op("promote_to_environment", target_environment="production", models="store_sales", update_state=False)
    assert "store_sales: no test guards it" in plan["warnings"]
    said = refusal(shop, "store_sales", vars={"dbt_cicd_toolkit_untested_models": "refuse"})
    assert "dbt_cicd_toolkit_untested_models is 'refuse'" in said
    with pytest.raises(OperationFailed, match="Allowed: warn, refuse"):
        shop.op("promote_to_environment", target_environment="production", models="store_sales", update_state=False,
                vars={"dbt_cicd_toolkit_untested_models": "deny"})  # fmt: skip


def test_old_evidence(shop: Shop) -> None:
    hours = {"dbt_cicd_toolkit_evidence_max_age_hours": 24}
    assert accepted(shop, "customers", vars=hours)
    age = "update dbt_cicd.dbt_cicd_test_results set recorded_at = recorded_at - interval '25 hours'"
    shop.sql(f"{age} where test_type = 'unit'")
    assert accepted(shop, "customers", vars=hours)  # an old unit test is as good as none, and none does not refuse
    shop.sql(f"{age} where test_unique_id like '%%not_null_customers_customer_id%%'")
    assert accepted(shop, "customers")
    said = refusal(shop, "customers", vars=hours)
    assert "test not_null_customers_customer_id passed at " in said and "(24) ago" in said
    assert shop.dbt("test", "--select", "customers").ok
    assert accepted(shop, "customers", vars=hours)
    with pytest.raises(OperationFailed, match="evidence_max_age_hours is 'soon'"):
        shop.op("promote_to_environment", target_environment="production", models="customers", update_state=False,
                vars={"dbt_cicd_toolkit_evidence_max_age_hours": "soon"})  # fmt: skip


def test_evidence_of_another_target_does_not_count(tiny: MakeTiny) -> None:
    shop = tiny(TINY)
    shop.build(target="staging")
    assert "have no result recorded for this code in target dev" in refusal(shop)
    assert accepted(shop, target="staging")
    environments = {"dbt_cicd_toolkit_environments": {"production": {"target": "staging"}}}
    assert accepted(shop, vars=environments)
    shop.edit(MODEL, "1 as id", "2 as id")
    shop.build()
    assert "dbt build --select sales --target staging" in refusal(shop, vars=environments)


def test_evidence_of_another_schema_does_not_count(tiny: MakeTiny) -> None:
    """Everybody's target is dev; what tells people apart is the schema."""
    shop = tiny({**TINY, "macros/schema.sql": "{% macro generate_schema_name(custom_schema_name, node) %}"
                 "{{ env_var('MY_SCHEMA', 'mine') }}{% endmacro %}"})  # fmt: skip
    shop.op("register_version", model_name="sales", version="1.0.0")
    others = {"MY_SCHEMA": "others"}
    shop.touched()
    shop.build(env=others)
    shop.touched()
    assert not accepted(shop)
    shop.edit(MODEL, "1 as id", "2 as id")
    with pytest.raises(OperationFailed, match=r"no test result is recorded for the code of version 1\.0\.0"):
        shop.op("deploy_version", model_name="sales", version="1.0.0", environment="production")
    shop.edit(MODEL, "2 as id", "1 as id")
    shop.build()
    assert accepted(shop)
    shop.edit(MODEL, "1 as id", "2 as id")
    shop.op("deploy_version", model_name="sales", version="1.0.0", environment="production")


EPHEMERAL = {
    "models/source.sql": "select 1 as id",
    MODEL: "{{ config(materialized='ephemeral') }} select id, 'paid' as status from {{ ref('source') }}",
    YAML: TINY[YAML],
}


@pytest.mark.matrix
def test_tests_of_an_ephemeral_model_count(any_tiny: Any) -> None:
    shop = any_tiny(EPHEMERAL)
    assert not accepted(shop)
    shop.build()
    assert accepted(shop)
    shop.edit(MODEL, "'paid'", "'open'")
    assert "have no result" in refusal(shop)
    assert not shop.dbt("test").ok
    assert "test accepted_values_sales_status__paid failed" in refusal(shop)
    shop.edit(MODEL, "'open'", "'paid' ")
    assert shop.dbt("test").ok
    assert accepted(shop)


def test_an_ephemeral_model_over_an_empty_relation_proves_nothing(tiny: MakeTiny) -> None:
    shop = tiny(EPHEMERAL)
    assert shop.dbt("build", "--empty").ok
    assert not accepted(shop)
    assert shop.dbt("test").ok
    assert not accepted(shop)
    shop.build()
    assert accepted(shop)


# The hook


def run_logged(shop: Shop, *argv: str, **rest: Any) -> tuple[Result, list[str]]:
    result = shop.dbt(*(argv or ("build",)), **rest)
    return result, [line for line in result.output.splitlines() if HOOK in line]


def test_a_variable_switches_the_hook_off(tiny: MakeTiny) -> None:
    shop = tiny(TINY)
    result, lines = run_logged(shop, vars={"dbt_cicd_toolkit_record_evidence": False})
    assert (result.ok, lines, shop.counts()) == (True, [], {})


def test_only_builds_and_tests_are_recorded(tiny: MakeTiny) -> None:
    shop = tiny(TINY)
    for argv in (("compile",), ("ls",), ("docs", "generate"), ("seed",)):
        assert shop.dbt(*argv).ok
    assert shop.counts() == {}


@pytest.fixture
def role(tiny: MakeTiny) -> Any:
    """A project whose target is used by a role of its own, which may create schemas for its models only."""
    shop = tiny(TINY)
    name = f"pipeline_{shop.name}"
    owner = shop.connect
    shop.sql(f"drop role if exists {name}")
    shop.sql(f"create role {name} login password 'secret'")
    shop.sql(f"create schema dev authorization {name}")
    shop.sql(f"create schema staging authorization {name}")
    profiles = (shop.path / "profiles.yml").read_text(encoding="utf-8")
    yield shop, name, owner, profiles
    (shop.path / "profiles.yml").write_text(profiles, encoding="utf-8")
    shop.sql(f"drop owned by {name} cascade")
    shop.sql(f"drop role {name}")


def become(shop: Shop, name: str) -> None:
    """From here on, dbt connects as a role."""
    import json

    file = shop.path / "profiles.yml"
    profiles = json.loads(file.read_text(encoding="utf-8"))
    for output in profiles["shop"]["outputs"].values():
        output.update(user=name, password="secret")
    file.write_text(json.dumps(profiles), encoding="utf-8")


def return_to_owner(shop: Shop, profiles: str) -> None:
    (shop.path / "profiles.yml").write_text(profiles, encoding="utf-8")


def test_a_missing_ledger_that_may_not_be_made_is_one_line(role: Any) -> None:
    shop, name, _, _ = role
    become(shop, name)
    result, lines = run_logged(shop)
    assert result.ok
    assert len(lines) == 1 and "setup_ledger" in lines[0] and name in lines[0]
    assert shop.counts() == {}
    with pytest.raises(OperationFailed, match="setup_ledger"):
        shop.op("register_version", model_name="sales", version="1.0.0")


def test_missing_rights_are_one_line(role: Any) -> None:
    shop, name, _, _ = role
    shop.op("setup_ledger")
    become(shop, name)
    result, lines = run_logged(shop)
    assert result.ok
    assert len(lines) == 1 and "setup_ledger" in lines[0] and name in lines[0]
    shop.sql(f"grant usage on schema dbt_cicd to {name}")
    shop.sql(f"grant select on all tables in schema dbt_cicd to {name}")
    result, lines = run_logged(shop)
    assert result.ok and len(lines) == 1 and "setup_ledger" in lines[0]
    assert shop.op("get_latest_version", model_name="sales") == "0.0.0"
    with pytest.raises(OperationFailed, match=r"may not write the ledger.*setup_ledger"):
        shop.op("register_version", model_name="sales", version="1.0.0")


def test_a_read_only_role_is_one_line(role: Any) -> None:
    shop, name, _, _ = role
    shop.op("setup_ledger", grant_to=name)
    become(shop, name)
    assert shop.dbt("run").ok
    before = shop.counts()
    shop.sql(f"alter role {name} set default_transaction_read_only = on")
    result, lines = run_logged(shop, "test")
    assert result.ok and len(lines) == 1
    assert shop.counts() == before


def test_a_schema_that_was_made_for_the_ledger(role: Any) -> None:
    """The right to create tables in a schema is not the right to create schemas."""
    shop, name, _, _ = role
    shop.sql(f"create schema dbt_cicd authorization {name}")
    become(shop, name)
    result, lines = run_logged(shop)
    assert (result.ok, lines) == (True, []), result.output
    assert accepted(shop)


@pytest.mark.matrix
def test_two_roles(role: Any) -> None:
    """The owner sets the ledger up; the pipeline needs no more than it was granted."""
    shop, name, _, profiles = role
    created = shop.op("setup_ledger", grant_to=[name])
    assert created["granted_to"] == [name]
    become(shop, name)
    result, lines = run_logged(shop)
    assert (result.ok, lines) == (True, [])
    shop.op("register_version", model_name="sales", version="1.0.0")
    shop.op("promote_to_environment", target_environment="production", models="sales")
    assert {row["recorded_by"] for row in shop.rows("deployments")} == {name}
    shop.op("export_state")
    assert shop.op("setup_ledger")["created"] == []  # nothing is missing, so nothing needs the owner
    with pytest.raises(OperationFailed, match="permission denied"):
        shop.op("prune_evidence", keep_days=0)
    grants = shop.sql(
        "select distinct privilege_type from information_schema.role_table_grants where grantee = %s"
        " and table_schema = 'dbt_cicd'", name)  # fmt: skip
    assert {row["privilege_type"] for row in grants} == {"SELECT", "INSERT"}
    return_to_owner(shop, profiles)
    shop.op("prune_evidence", keep_days=0)


def test_a_relation_that_was_replaced_unseen_is_of_unknown_code(shop: Shop) -> None:
    """As a killed run, a clone or a failed post-hook leaves it: the ledger's newest build is not what stands there."""
    shop.sql("create table dev.other as select * from dev.customers")
    shop.sql("drop table dev.customers cascade")
    shop.sql("alter table dev.other rename to customers")
    shop.sql("delete from dbt_cicd.dbt_cicd_test_results")
    assert shop.dbt("test", "--select", "customers").ok
    with pytest.raises(OperationFailed, match="no result recorded for this code"):
        shop.op("promote_to_environment", target_environment="production", models="customers")
    shop.build("--select", "customers")
    assert shop.op("promote_to_environment", target_environment="production", models="customers")["success"]
