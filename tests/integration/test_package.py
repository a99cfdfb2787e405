"""What installing the package adds to a project: macros and one hook."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.shop import Shop

KINDS = [
    "nodes", "sources", "exposures", "metrics", "groups", "selectors", "semantic_models", "unit_tests", "saved_queries",
    "disabled", "functions", "docs",
]  # fmt: skip


def manifest(shop: Shop) -> dict[str, Any]:
    done = shop.dbt("parse")
    assert done.ok, done.output
    parsed: dict[str, Any] = shop.document("manifest.json")
    return parsed


@pytest.mark.matrix
def test_macros_and_one_hook_enter_a_project(make_shop: Any) -> None:
    shop: Shop = make_shop("duckdb", 1, "empty")
    package = "dbt_cicd_toolkit"
    with_package = manifest(shop)
    listed = shop.dbt("ls").printed
    (shop.path / f"dbt_packages/{package}").unlink()
    shop.write("packages.yml", "packages: []\n")
    (shop.path / "target/partial_parse.msgpack").unlink()
    without = manifest(shop)
    assert shop.dbt("ls").printed == listed

    added = {
        kind: set(with_package.get(kind) or {}) - set(without.get(kind) or {})
        for kind in KINDS
        if (with_package.get(kind) or {}) != (without.get(kind) or {})
    }
    hook = f"operation.{package}.{package}-on-run-end-0"
    assert added.pop("nodes") == {hook}
    assert added == {} or set().union(*added.values()) == set()
    assert f"{package}._record_evidence(results)" in with_package["nodes"][hook]["raw_code"]
    macros = set(with_package["macros"]) - set(without["macros"])
    assert macros and all(name.startswith(f"macro.{package}.") for name in macros)
    assert set(without["macros"]) - set(with_package["macros"]) == set()
    # None of our macros takes the place of one of dbt's.
    generic = {name.split(".")[-1] for name in without["macros"] if not name.startswith("macro.shop.")}
    ours = {name.split(".")[-1] for name in macros}
    assert {name for name in ours & generic if not name.startswith("_")} == set()


@pytest.mark.matrix
def test_dbt_deps_from_a_local_path_then_the_first_operation(tiny: Any) -> None:
    shop: Shop = tiny({"models/a.sql": "select 1 as id"}, "duckdb")
    (shop.path / "dbt_packages/dbt_cicd_toolkit").unlink()
    shop.write("packages.yml", f"packages:\n  - local: {Path(__file__).parents[2]}\n")
    done = shop.dbt("deps")
    assert done.ok, done.output
    assert json.loads(shop.printed("register_version", model_name="a", version="1.0.0") or "")["version"] == "1.0.0"
