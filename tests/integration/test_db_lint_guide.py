"""The guide's rules in lint: names of files, and Data Vault 2.0 where it is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from dbt_cicd_toolkit.config import Lint
from dbt_cicd_toolkit.db.lint import lint

NAMES = {
    "V1.1.0__Add_User_Preferences.sql": [],
    "V1.1.0__Add_User_Preferences_rollback.sql": [],
    "R__Current_customers_view.sql": [],
    "migration1.sql": ["No version"],
    "V1__stuff.sql": ["Version '1' is not MAJOR.MINOR.PATCH", "Vague description: say in some words what it does"],
    "V1.1.0_add_tables.sql": ["Underscore instead of double underscore"],
    "V1.1.0__add-user-stuff.sql": ["Hyphens not underscores"],
}


@pytest.mark.parametrize(("name", "problems"), NAMES.items(), ids=NAMES)
def test_names(tmp_path: Path, name: str, problems: list[str]) -> None:
    (tmp_path / name).write_text("select 1", encoding="utf-8")
    findings = lint([tmp_path / name])
    assert [each.message for each in findings] == [f"{name}: {problem}" for problem in problems]
    assert {each.rule for each in findings} <= {"naming"}


HUB = """create table business.x_h (x_hk bytea primary key, x_bk text not null, tenant_hk bytea not null,
load_date date, record_source text not null)"""
SATELLITE = """create table x_s (x_hk bytea, load_date date, load_end_date date, hash_diff bytea not null,
record_source text not null, a numeric(3, 2), constraint k primary key (load_date, x_hk))"""
LINK = """create table x_l (X_HK bytea, a_hk bytea, b_hk bytea, tenant_hk bytea not null, load_date date,
record_source text not null, primary key (x_hk))"""
HUB_LACKS = [
    "x_hk BYTEA PRIMARY KEY",
    "x_bk NOT NULL",
    "tenant_hk BYTEA NOT NULL",
    "load_date",
    "record_source NOT NULL",
]
VAULT = {
    "a hub": (HUB, []),
    "a satellite": (SATELLITE, []),
    "a link": (LINK, []),
    "the guide's bad example": (
        "create table new_feature (id serial primary key, name varchar(100))",
        ["is no hub (_h), satellite (_s) or link (_l): tenant isolation and Data Vault structure are missing"],
    ),
    "an empty hub": (
        "create table x_h ()",
        [f"is a hub without {each}" for each in HUB_LACKS],
    ),
    "a hub with other columns": (
        HUB.replace("x_hk bytea", "x_hk text").replace("x_bk text not null", "x_bk text"),
        ["is a hub without x_hk BYTEA PRIMARY KEY", "is a hub without x_bk NOT NULL"],
    ),
    "a satellite without its key": (
        SATELLITE.replace("(load_date, x_hk)", "(x_hk)"),
        ["is a satellite without PRIMARY KEY (<name>_hk, load_date)"],
    ),
    "a link of one hub": (
        LINK.replace("a_hk bytea, b_hk bytea, tenant_hk", "tenant_hk"),
        ["is a link without the hash keys of two hubs"],
    ),
    "tables of which the columns are elsewhere": (
        "create table x_h as select 1 as a; create table p partition of q default; create table y_s (like x_s);"
        "create temp table z (a int)",
        [],
    ),
    "exempt": ("create table util.log (a int); create table util.\"a\"()", []),
}  # fmt: skip


@pytest.mark.parametrize(("text", "problems"), VAULT.values(), ids=VAULT)
def test_data_vault(tmp_path: Path, text: str, problems: list[str]) -> None:
    path = tmp_path / "V1.2.0__Do_it.sql"
    path.write_text(text, encoding="utf-8")
    findings = [each for each in lint([path], Lint(data_vault=True)) if each.rule.startswith("data-vault")]
    assert [each.message.partition(" ")[2] for each in findings] == problems
    assert not [each for each in lint([path]) if each.rule.startswith("data-vault")]


def test_data_vault_is_exempt_by_pattern_and_comment(tmp_path: Path) -> None:
    path = tmp_path / "V1.2.0__Do_it.sql"
    text = "create table ref.country (id bigint)"
    path.write_text(text, encoding="utf-8")
    assert [each.rule for each in lint([path], Lint(data_vault=True))] == ["data-vault-table"]
    assert lint([path], Lint(data_vault=True, exempt=("util.*", "ref.*"))) == []
    path.write_text(f"-- squawk-ignore data-vault-table -- a reference table\n{text}", encoding="utf-8")
    assert lint([path], Lint(data_vault=True)) == []
