"""Sixteen processes at once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from support.forge import Forge
from support.shop import Shop

if TYPE_CHECKING:
    from conftest import MakeTiny

MANY = 16


def test_different_versions_of_one_model(shop: Shop) -> None:
    versions = [f"1.{number}.0" for number in range(MANY)]
    with Forge(shop) as forge:
        done = forge.run(*[forge.operation("register_version", model_name="customers", version=v) for v in versions])
    assert [one.returncode for one in done] == [0] * MANY, done
    assert sorted(row["version"] for row in shop.rows("versions")) == sorted(versions)
    listed = [entry["version"] for entry in shop.document("versions/customers.json")["versions"]]
    assert listed == versions[::-1]


def test_one_version_with_different_code(tiny: MakeTiny, tmp_path: Path) -> None:
    shop = tiny({"models/one.sql": "select 0 as id"})
    assert shop.dbt("parse").ok
    shop.op("setup_ledger")
    jobs = []
    with Forge(shop) as forge:
        for number in range(MANY):
            copy = tmp_path / f"checkout{number}"
            shutil.copytree(shop.path, copy, symlinks=True)
            (copy / "models/one.sql").write_text(f"select {number} as id", encoding="utf-8")
            args = json.dumps({"model_name": "one", "version": "1.0.0"})
            argv = shop.command("run-operation", "register_version", "--args", args)[1:]
            jobs.append(forge.job([*argv, "--project-dir", str(copy)], parsed=False))
            jobs[-1].out = copy / "said.txt"
        done = forge.run(*jobs)
    assert sorted(one.returncode != 0 for one in done) == [False] + [True] * (MANY - 1)
    (row,) = shop.rows("versions")
    winner = next(number for number, one in enumerate(done) if one.returncode == 0)
    assert row["checksum"] in done[winner].output
    for one in done:
        if one.returncode:
            assert "version 1.0.0 of one was registered at " in one.output and "with other code" in one.output


def test_one_version_with_the_same_code(shop: Shop) -> None:
    """A pipeline that runs twice is green twice."""
    with Forge(shop) as forge:
        done = forge.run(*[forge.operation("register_version", model_name="customers", version="1.0.0")] * 4)
    assert [one.returncode for one in done] == [0] * 4, done
    assert len(shop.rows("versions")) == 1


def test_first_writers(tiny: MakeTiny) -> None:
    """Nobody has made the ledger yet, and all of them want to write."""
    names = [f"model_{number}" for number in range(MANY)]
    tests = [f"{{name: {name}, columns: [{{name: id, data_tests: [not_null]}}]}}" for name in names]
    shop = tiny(
        {f"models/{name}.sql": "{{ config(materialized='table') }} select 1 as id" for name in names}
        | {"models/models.yml": f"models: [{', '.join(tests)}]"}
    )
    shop.sql("create schema dev")
    with Forge(shop) as forge:
        done = forge.run(*[forge.job(shop.command("build", "--select", name)[1:]) for name in names])
    assert [one.returncode for one in done] == [0] * MANY, done
    assert not [one for one in done if "not recorded as evidence" in one.output]
    assert len(shop.sql("select * from dbt_cicd.dbt_cicd_ledger")) == 1
    assert sorted(row["name"] for row in shop.rows("builds")) == sorted(names)
    assert sorted(row["name"] for row in shop.rows("test_results") if row["checksum"]) == sorted(names)
    shop.op("promote_to_environment", target_environment="production", models=names)


def test_promotions_at_once(shop: Shop) -> None:
    """Each decides on what the one before wrote: one promotes, the others find it done."""
    with Forge(shop) as forge:
        promotion = forge.operation(
            "promote_to_environment", target_environment="production", models="customers,orders"
        )
        done = forge.run(*[promotion] * 6)
    assert [one.returncode for one in done] == [0] * 6, done
    assert len(shop.rows("promotions", status="success")) == 6
    assert len(shop.rows("deployments")) == 2
    assert len({row["promotion_id"] for row in shop.rows("deployments")}) == 1
    documents = shop.document("promotion_states/production.json")["promotions"]
    assert [entry["promotion_id"] for entry in documents] == [row["id"] for row in shop.rows("promotions")][::-1]
