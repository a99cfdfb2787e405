"""The ledger: made, upgraded, locked, pruned; a newer one is left alone."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from support.shop import OperationFailed, Shop

if TYPE_CHECKING:
    from conftest import MakeTiny

KEY = "('x' || substr(md5('dbt_cicd_toolkit:dbt_cicd'), 2, 15))::bit(60)::bigint"

# A ledger as an earlier release made it: without what this release added to the tables' ends, without an index.
OLDER = """
create schema dbt_cicd;
create table dbt_cicd.dbt_cicd_ledger (major integer, package_version text, recorded_by text, recorded_at timestamp);
insert into dbt_cicd.dbt_cicd_ledger values (1, '0.0.1', 'Ada', '2026-01-01');
create table dbt_cicd.dbt_cicd_versions (id text, kind text, unique_id text, name text, version text,
    precedence_key text collate "C", is_prerelease boolean, description text, is_breaking boolean, findings text,
    checksum text, columns text, recorded_by text, recorded_at timestamp, invocation_id text);
insert into dbt_cicd.dbt_cicd_versions (id, kind, unique_id, name, version, precedence_key, is_prerelease, is_breaking,
    findings, checksum, recorded_by, recorded_at)
    values ('1', 'model', 'model.tiny.one', 'one', '1.0.0', '', false, false, '[]', 'other', 'Ada', '2026-01-01');
create table dbt_cicd.dbt_cicd_deployments (id text, kind text, unique_id text, name text, promotion_id text,
    version text, from_version text, checksum text, environment text, recorded_by text, recorded_at timestamp);
create table dbt_cicd.dbt_cicd_promotions (id text, kind text, environment text, status text, models text,
    versions text, plan text, reasons text, recorded_by text, recorded_at timestamp);
create table dbt_cicd.dbt_cicd_builds (id text, kind text, unique_id text, name text, checksum text, status text,
    target text, relation_name text, recorded_by text, recorded_at timestamp);
"""
ONE = {
    "models/one.sql": "select 1 as id",
    "models/one.yml": "models: [{name: one, columns: [{name: id, data_tests: [unique]}]}]",
}


@pytest.mark.matrix
def test_setup_ledger(any_tiny: Any) -> None:
    shop = any_tiny(ONE)
    made = shop.op("setup_ledger")
    assert made["schema"] == "dbt_cicd"
    assert set(made["created"]) == set(shop.counts())
    assert shop.op("setup_ledger") == {"schema": "dbt_cicd", "created": [], "granted_to": []}
    assert shop.counts()["dbt_cicd_ledger"] == 1


def shape(shop: Shop) -> tuple[Any, Any]:
    """The columns and the indexes of the ledger."""
    columns = shop.sql("select table_name, column_name, data_type, collation_name from information_schema.columns"
                       " where table_schema = 'dbt_cicd' order by 1, 2")  # fmt: skip
    return columns, shop.sql("select indexname, indexdef from pg_indexes where schemaname = 'dbt_cicd' order by 1")


@pytest.mark.parametrize("by", ["setup_ledger", "a writer", "the hook"])
def test_an_older_ledger_is_upgraded_in_place(tiny: MakeTiny, by: str) -> None:
    shop = tiny(ONE)
    shop.op("setup_ledger")
    new = shape(shop)
    shop.sql("drop schema dbt_cicd cascade")
    shop.sql(OLDER)
    if by == "setup_ledger":
        with pytest.raises(OperationFailed, match="setup_ledger"):
            shop.op("get_latest_version", model_name="one")
        created = shop.op("setup_ledger")["created"]
        assert "dbt_cicd_versions.definition" in created and "dbt_cicd_test_results" in created
    elif by == "a writer":
        shop.op("register_version", model_name="one", version="1.1.0")
    else:
        shop.build()
    assert shape(shop) == new
    rows = shop.rows("versions", id="1")
    assert [(row["version"], row["recorded_by"], row["definition"]) for row in rows] == [("1.0.0", "Ada", None)]
    shop.op("register_version", model_name="one", version="1.2.0")
    assert shop.op("get_latest_version", model_name="one") == "1.2.0"
    with pytest.raises(OperationFailed, match="with other code"):
        shop.op("register_version", model_name="one", version="1.0.0")


def test_a_missing_index_is_made(tiny: MakeTiny) -> None:
    shop = tiny(ONE)
    shop.op("setup_ledger")
    before = shape(shop)
    shop.sql("drop index dbt_cicd.dbt_cicd_versions_version, dbt_cicd.dbt_cicd_builds_newest")
    shop.op("setup_ledger")
    assert shape(shop) == before


def test_a_newer_ledger_is_left_alone(tiny: MakeTiny) -> None:
    """Also one that lacks what this release knows: what it means is not ours to guess."""
    shop = tiny(ONE)
    shop.build()
    shop.sql("insert into dbt_cicd.dbt_cicd_ledger values (2, '7.0.0', 'Ada', now())")
    shop.sql("alter table dbt_cicd.dbt_cicd_versions drop column definition")
    before, counts = shape(shop), shop.counts()
    calls: list[tuple[str, dict[str, Any]]] = [
        ("get_latest_version", {"model_name": "one"}),
        ("get_version_history", {"model_name": "one"}),
        ("get_promotion_status", {}),
        ("get_staging_validated_models", {}),
        ("export_state", {}),
        ("register_version", {"model_name": "one", "version": "1.0.0"}),
        ("promote_to_environment", {"target_environment": "production", "models": "one"}),
        ("promote_to_environment", {"target_environment": "production", "models": "one", "update_state": False}),
        ("setup_ledger", {}),
        ("prune_evidence", {"keep_days": 0}),
    ]
    for macro, arguments in calls:
        with pytest.raises(OperationFailed, match=r"major version 2, written by dbt_cicd_toolkit 7\.0\.0.*Upgrade"):
            shop.op(macro, **arguments)
    result = shop.dbt("build")
    said = [line for line in result.output.splitlines() if "not recorded as evidence" in line]
    assert result.ok and len(said) == 1 and "major version 2" in said[0]
    assert (shape(shop), shop.counts()) == (before, counts)


@pytest.mark.matrix
def test_pruning_takes_evidence_only(any_tiny: Any) -> None:
    shop = any_tiny(ONE)
    shop.op("register_version", model_name="one", version="1.0.0")
    for _ in range(2):
        shop.build()
    shop.op("promote_to_environment", target_environment="production", models="one")
    before = shop.counts()
    assert shop.op("prune_evidence", keep_days=1) == {"builds": 0, "test_results": 0}
    assert shop.counts() == before
    for table in ("builds", "test_results", "versions", "deployments", "promotions"):
        shop.sql(f"update dbt_cicd.dbt_cicd_{table} set recorded_at = recorded_at - interval '30 days'")
    assert shop.op("prune_evidence", keep_days=7) == {"builds": 1, "test_results": 2}
    # The newest build stays: it says whose code the relation has.
    assert shop.counts() == before | {"dbt_cicd_builds": 1, "dbt_cicd_test_results": 0}
    assert shop.dbt("test").ok
    shop.op("promote_to_environment", target_environment="staging", models="one")
    for days in (-1, "all", None):
        with pytest.raises(OperationFailed, match="keep_days"):
            shop.op("prune_evidence", keep_days=days)


def test_pruning_keeps_what_refuses(tiny: MakeTiny) -> None:
    shop = tiny({"models/one.sql": "select 1 as id", "tests/fails.sql": "select id from {{ ref('one') }}"})
    assert not shop.dbt("build").ok
    assert not shop.dbt("build").ok
    shop.sql("update dbt_cicd.dbt_cicd_test_results set recorded_at = recorded_at - interval '30 days'")
    assert shop.op("prune_evidence", keep_days=7)["test_results"] == 1
    with pytest.raises(OperationFailed, match="test fails failed"):
        shop.op("promote_to_environment", target_environment="production", models="one")


@pytest.fixture
def holder(shop: Shop) -> Any:
    """A session that holds the ledger's lock."""
    with contextlib.closing(shop.connect(application_name="another operation")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"select pg_advisory_lock({KEY})")
        yield connection


WRITERS = {
    "register_version": {"model_name": "customers", "version": "1.0.0"},
    "promote_to_environment": {"target_environment": "production", "models": "customers"},
    "setup_ledger": {},
    "export_state": {},
}


def test_a_lock_that_is_not_waited_for(shop: Shop, holder: Any) -> None:
    before = shop.counts()
    pid, user = holder.info.backend_pid, holder.info.user
    for macro, arguments in WRITERS.items():
        with pytest.raises(
            OperationFailed, match=rf"locked by another operation for 0 s \(user {user} .*process {pid}"
        ):
            shop.op(macro, vars={"dbt_cicd_toolkit_lock_timeout_seconds": 0}, **arguments)
    assert shop.counts() == before
    # Readers and the recording of evidence wait for nobody.
    assert shop.op("get_latest_version", model_name="customers") == "0.0.0"
    assert shop.dbt("test", "--select", "customers").ok
    assert shop.counts()["dbt_cicd_test_results"] > before["dbt_cicd_test_results"]


@pytest.mark.matrix
def test_an_operation_waits_for_the_lock(shop: Shop, holder: Any) -> None:
    process = shop.spawn("register_version", model_name="customers", version="1.0.0")
    polling = (
        "select 1 from pg_stat_activity where pid not in (pg_backend_pid(), %s) and query like '%%pg_sleep(0.1)%%'"
    )
    while not shop.sql(polling, holder.info.backend_pid):
        assert process.poll() is None, process.communicate()
    assert shop.rows("versions") == []
    holder.close()
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, out
    assert isinstance(process, subprocess.Popen)
    assert [row["version"] for row in shop.rows("versions")] == ["1.0.0"]


def test_the_lock_is_the_schema_s_own(shop: Shop, holder: Any) -> None:
    """Two ledgers in one database do not wait for one another."""
    vars = {"dbt_cicd_toolkit_ledger_schema": "other_ledger", "dbt_cicd_toolkit_lock_timeout_seconds": 0}
    shop.op("register_version", vars=vars, model_name="customers", version="1.0.0")
    assert shop.op("get_latest_version", vars=vars, model_name="customers") == "1.0.0"
    assert shop.op("get_latest_version", model_name="customers") == "0.0.0"


def test_whatever_the_server_says_of_backslashes(shop: Shop) -> None:
    """standard_conforming_strings = off turns a backslash before a quote into the end of a naive literal."""
    shop.sql(f"alter database {shop.name} set standard_conforming_strings = off")
    shop.sql("create table public.victim (i int)")
    description = "x\\' ) as _read; drop table public.victim; commit; select 1 --"
    assert shop.op("register_version", model_name="customers", version="1.0.0", description=description)
    assert shop.rows("versions")[0]["description"] == description
    assert "is not in this project" in str(shop.error("get_version_history", model_name=description))
    assert shop.build("--select", "customers").ok
    assert shop.sql("select to_regclass('public.victim')::text as victim") == [{"victim": "victim"}]


def test_a_ledger_schema_of_any_name(shop: Shop) -> None:
    settings = {"dbt_cicd_toolkit_ledger_schema": 'Led"ger; drop'}
    assert shop.build("--select", "store_sales", vars=settings).ok
    assert shop.op("register_version", vars=settings, model_name="customers", version="1.0.0")["version"] == "1.0.0"
    assert shop.sql("""select version from "Led""ger; drop".dbt_cicd_versions""") == [{"version": "1.0.0"}]
