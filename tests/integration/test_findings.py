"""Breaking changes are found: what counts as major, minor and patch, and what a contradiction does."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from dbt_cicd_toolkit.errors import InvalidInput, Refused
from support.shop import Shop

Tiny = Callable[[Mapping[str, str]], Shop]
MAJOR, MINOR, PATCH = "2.0.0", "1.1.0", "1.0.1"
TWO = "select 1 as a, 2 as b"


def contract(*columns: dict[str, Any], enforced: bool = True) -> dict[str, Any]:
    return {"config": {"contract": {"enforced": enforced}}, "columns": list(columns)}


def column(type: str, *constraints: str, name: str = "a") -> dict[str, Any]:
    return {"name": name, "data_type": type, "constraints": [{"type": one} for one in constraints]}


def cast(type: str, value: str = "'1'") -> str:
    return f"select cast({value} as {type}) as a"


@dataclass
class Case:
    """One model before and after: its SQL, its YAML, the next version by what changed, and the changes."""

    before: str
    after: str
    version: str
    changes: list[str] = field(default_factory=list)
    yaml_before: dict[str, Any] = field(default_factory=dict)
    yaml_after: dict[str, Any] = field(default_factory=dict)
    only: str = ""


def retyped(old: str, new: str, version: str, verb: str, **rest: Any) -> Case:
    return Case(cast(old), cast(new), version, [f"type of column a was {verb} from {old} to {new}"], **rest)


def under_contract(old: str, new: str, version: str, verb: str) -> Case:
    return retyped(old, new, version, verb, yaml_before=contract(column(old)), yaml_after=contract(column(new)))


CHANGED = "narrowed or changed"
INTEGER = contract(column("integer"))
A, A_AGAIN = cast("integer"), cast("integer") + " -- again"
CASES = {
    "code_only": Case(TWO, TWO + " -- the same", PATCH),
    "columns_swapped": Case(TWO, "select 2 as b, 1 as a", PATCH),
    "column_removed": Case(TWO, "select 1 as a", MAJOR, ["column b was removed or renamed"]),
    "column_renamed": Case(
        TWO, "select 1 as a, 2 as c", MAJOR, ["column b was removed or renamed", "column c integer was added"]
    ),
    "column_added": Case(TWO, TWO + ", 3 as c", MINOR, ["column c integer was added"]),
    "numeric_narrowed": retyped("numeric(12,4)", "numeric(10,2)", MAJOR, CHANGED),
    "numeric_less_before_the_point": retyped("numeric(12,2)", "numeric(12,4)", MAJOR, CHANGED),
    "numeric_widened": retyped("numeric(10,2)", "numeric(12,4)", MINOR, "widened"),
    "integer_widened": retyped("integer", "bigint", MINOR, "widened"),
    "integer_narrowed": retyped("bigint", "integer", MAJOR, CHANGED),
    "changed": Case(
        "select 1 as a",
        "select true as a",
        MAJOR,
        ["type of column a was narrowed or changed from integer to boolean"],
    ),
    "varchar_narrowed": retyped("character varying(10)", "character varying(3)", MAJOR, CHANGED, only="postgres"),
    "varchar_widened": retyped("character varying(3)", "character varying(10)", MINOR, "widened", only="postgres"),
    "varchar_narrowed_by_contract": under_contract("varchar(10)", "varchar(3)", MAJOR, CHANGED),
    "varchar_widened_by_contract": under_contract("varchar(10)", "varchar(30)", MINOR, "widened"),
    "varchar_called_otherwise": Case(
        cast("varchar(10)"),
        cast("character varying(10)"),
        PATCH,
        yaml_before=contract(column("varchar(10)")),
        yaml_after=contract(column("character varying(10)")),
    ),
    "numeric_narrowed_by_contract": under_contract("numeric(12,4)", "numeric(10,2)", MAJOR, CHANGED),
    "constraint_removed": Case(
        A,
        A_AGAIN,
        MAJOR,
        ["constraint not_null(a) was removed or changed"],
        contract(column("integer", "not_null")),
        INTEGER,
    ),
    "constraint_added": Case(
        A, A_AGAIN, MINOR, ["constraint not_null(a) was added"], INTEGER, contract(column("integer", "not_null"))
    ),
    "contract_off": Case(
        A, A, MAJOR, ["the contract is no longer enforced"], INTEGER, contract(column("integer"), enforced=False)
    ),
    "contract_on": Case(A, A, MINOR, ["the contract is now enforced"], {}, INTEGER),
    "access_narrowed": Case(
        A, A, MAJOR, ["access changed from public to protected"], {"config": {"access": "public"}}, {}
    ),
    "access_widened": Case(
        A, A, MINOR, ["access changed from protected to public"], {}, {"config": {"access": "public"}}
    ),
    "alias": Case(A, A, MAJOR, ["the relation moved from alias to elsewhere"], {}, {"config": {"alias": "elsewhere"}}),
    "schema": Case(
        A,
        A_AGAIN,
        MAJOR,
        ["the relation moved from schema to other.schema"],
        {},
        {"config": {"schema": "other"}},
    ),
    "to_ephemeral": Case(
        A,
        A,
        MAJOR,
        [
            "the columns of the present code are unknown: an ephemeral model has no relation",
            "materialization changed from view to ephemeral",
        ],
        {},
        {"config": {"materialized": "ephemeral"}},
    ),
    "to_table": Case(
        A, A, MINOR, ["materialization changed from view to table"], {}, {"config": {"materialized": "table"}}
    ),
    "to_view": Case(
        A, A, MINOR, ["materialization changed from table to view"], {"config": {"materialized": "table"}}, {}
    ),
}


def files(cases: Mapping[str, Case], after: bool) -> dict[str, str]:
    written = {}
    for name, case in cases.items():
        settings = {"name": name, **(case.yaml_after if after else case.yaml_before)}
        written[f"models/{name}.sql"] = case.after if after else case.before
        written[f"models/{name}.yml"] = json.dumps({"models": [settings]})
    return written


@pytest.mark.matrix
def test_what_changed_for_readers(every_tiny: Tiny) -> None:
    shop = every_tiny({})
    cases = {name: case for name, case in CASES.items() if case.only in ("", shop.database)}
    shop.write_all(files(cases, after=False))
    shop.build()
    first = shop.op("register_changed_models")
    assert {row["model"]: row["version"] for row in first["registered"]} == dict.fromkeys(cases, "1.0.0")
    shop.write_all(files(cases, after=True))
    shop.build()
    before = shop.counts()
    planned = shop.op("register_changed_models", dry_run=True)
    assert shop.counts() == before
    registered = shop.op("register_changed_models")
    assert registered == {**planned, "dry_run": False}
    assert registered["unchanged"] == []

    def plain(text: str) -> str:  # DuckDB prints types in capitals, and its own names for some
        return text.lower().replace("decimal(", "numeric(")

    found = {
        row["model"]: (row["version"], sorted(plain(c["change"]) for c in row["findings"]))
        for row in registered["registered"]
    }
    wrong = {
        name: (found[name], case.version)
        for name, case in cases.items()
        if found[name] != (case.version, sorted(map(plain, case.changes)))
    }
    assert wrong == {}, "model: (what was found, the version that was right)"
    assert {row["model"] for row in registered["registered"] if row["is_breaking"]} == {
        name for name, case in cases.items() if case.version == MAJOR
    }


TYPES = """
{% macro types_report(pairs) %}
    {% set verdicts = [] %}
    {% for pair in pairs %}
        {% do verdicts.append(dbt_cicd_toolkit._compare_types(pair[0], pair[1])) %}
    {% endfor %}
    {% do print(tojson(verdicts)) %}
{% endmacro %}
"""
SAME = [
    ("int", "INTEGER"),
    ("int4", "integer"),
    ("int8", "bigint"),
    ("decimal(12, 4)", "numeric(12,4)"),
    ("numeric(8)", "numeric(8,0)"),
    ("varchar(10)", "character varying(10)"),
    ("VARCHAR", "text"),
    ("string", "character varying"),
    ("char", "character(1)"),
    ("bpchar", "character(1)"),
    ("timestamp", "timestamp without time zone"),
    ("timestamptz", "TIMESTAMP WITH TIME ZONE"),
    ("timestamp(3) with time zone", "timestamptz(3)"),
    ("float8", "double"),
    ("bool", "BOOLEAN"),
    ("STRUCT(a INTEGER)", "struct(a integer)"),
    ("integer[]", "INTEGER[]"),
]
WIDENED = [
    ("smallint", "integer"),
    ("integer", "numeric(12,2)"),
    ("integer", "numeric(38,0)"),
    ("numeric(10,2)", "numeric(11,3)"),
    ("varchar(3)", "varchar(10)"),
    ("varchar(3)", "text"),
    ("real", "double precision"),
    ("timestamp(3)", "timestamp(6)"),
]
NARROWED = [
    ("varchar(10)", "varchar(3)"),
    ("text", "varchar(300)"),
    ("numeric(12,4)", "numeric(10,2)"),
    ("numeric(10,2)", "numeric(10,3)"),
    ("numeric(10,2)", "integer"),
    ("integer", "numeric(10,2)"),
    ("bigint", "integer"),
    ("integer", "text"),
    ("text", "integer"),
    ("integer", "real"),
    ("double precision", "real"),
    ("timestamp(6)", "timestamp(3)"),
    ("timestamp", "timestamptz"),
    ("timestamp", "date"),
    ("boolean", "integer"),
    ("integer", "integer[]"),
    ("struct(a integer)", "struct(b integer)"),
]


def test_types_compared(every_tiny: Tiny) -> None:
    shop = every_tiny({"macros/types_report.sql": TYPES})
    expected = dict.fromkeys(SAME, "same") | dict.fromkeys(WIDENED, "widened") | dict.fromkeys(NARROWED, "narrowed")
    if shop.database == "postgres":
        expected |= {("numeric(10,2)", "numeric"): "widened", ("numeric", "numeric(38,9)"): "narrowed"}
        expected |= {("float", "double precision"): "same"}
    else:
        expected |= {("decimal", "decimal(18,3)"): "same", ("float", "real"): "same", ("hugeint", "bigint"): "narrowed"}
    verdicts = shop.op("types_report", pairs=list(expected))
    got = dict(zip(expected, verdicts, strict=True))
    assert {pair: got[pair] for pair in expected if got[pair] != expected[pair]} == {}


def one(shop: Shop, **args: Any) -> tuple[dict[str, Any], str]:
    """register_version of model a: its entry, and what dbt said."""
    done = shop.dbt("run-operation", "register_version", "--args", json.dumps({"model_name": "a", **args}))
    assert done.ok, done.output
    return json.loads(done.printed[-1]), done.output


@pytest.mark.matrix
def test_a_contradiction_by_policy(any_tiny: Tiny) -> None:
    shop = any_tiny({"models/a.sql": TWO})
    shop.build()
    one(shop, version="1.0.0")
    shop.write("models/a.sql", "select 1 as a")
    shop.build()

    shop.vars = {"dbt_cicd_toolkit_breaking_policy": "refuse"}
    for args, said in [
        ({"version": "1.0.1"}, "is_breaking is false, but column b was removed or renamed since 1.0.0"),
        ({"version": "1.1.0", "is_breaking": True}, "1.0.0 to 1.1.0 is too small a step for a major change"),
        ({"version": "2.0.0"}, "is_breaking is false, but column b was removed"),
        ({"version": "1.0.1"}, "the next would be 2.0.0"),
    ]:
        error = shop.error("register_version", model_name="a", **args)
        assert isinstance(error, Refused) and said in str(error)
    assert len(shop.rows("versions")) == 1

    shop.vars = {"dbt_cicd_toolkit_breaking_policy": "loose"}
    error = shop.error("register_version", model_name="a", version="1.0.1")
    assert isinstance(error, InvalidInput) and "Allowed: warn, refuse, off" in str(error)

    shop.vars = {"dbt_cicd_toolkit_breaking_policy": "off"}
    entry, said = one(shop, version="1.0.1")
    assert (entry["is_breaking"], entry["findings"]) == (False, []) and "WARNING" not in said

    shop.vars = {}
    entry, said = one(shop, version="1.0.0+again")  # held against what is below: nothing, precedence is equal
    assert (entry["is_breaking"], entry["findings"]) == (False, []) and "WARNING" not in said
    shop.write("models/a.sql", "select 1 as b")
    shop.build()
    entry, said = one(shop, version="1.0.2")
    assert entry["is_breaking"] is True
    assert entry["findings"] == [
        {"level": "major", "change": "column a was removed or renamed"},
        {"level": "minor", "change": f"column b {entry['findings'][1]['change'].split()[2]} was added"},
    ]
    assert "WARNING dbt_cicd_toolkit.register_version(): a 1.0.2: is_breaking is false, but column a was" in said
    assert "Recorded as breaking." in said
    assert shop.op("check_breaking_version", model_name="a", version="1.0.2") is True
    entry, said = one(shop, version="3.0.0", is_breaking=True)
    assert entry["findings"] == [] and entry["is_breaking"] is True and "WARNING" not in said


@pytest.mark.parametrize(
    ("old", "new", "is_breaking", "said"),
    [
        ("0.3.0", "0.4.0", True, ""),
        ("0.3.0", "0.3.1", True, "0.3.0 to 0.3.1 is too small a step for a major change"),
        ("0.3.0", "1.0.0", True, ""),
        ("0.3.0", "0.4.0", False, "is_breaking is false, but"),
        ("1.0.0-rc.1", "1.0.0-rc.2", True, "too small a step"),
    ],
)
def test_below_1_a_minor_step_carries_a_breaking_change(
    tiny: Any, old: str, new: str, is_breaking: bool, said: str
) -> None:
    shop = tiny({"models/a.sql": TWO}, "duckdb")
    shop.build()
    one(shop, version=old)
    shop.write("models/a.sql", "select 1 as a")
    shop.build()
    entry, output = one(shop, version=new, is_breaking=is_breaking)
    assert entry["is_breaking"] is True
    assert (said in output) if said else ("WARNING" not in output)


def test_automatic_steps_below_1(tiny: Any) -> None:
    shop = tiny({"models/a.sql": TWO, "models/b.sql": TWO, "models/c.sql": TWO}, "duckdb")
    shop.vars = {"dbt_cicd_toolkit_first_version": "0.1.0"}
    shop.build()
    shop.op("register_changed_models")
    shop.write_all({"models/a.sql": "select 1 as a", "models/b.sql": TWO + ", 3 as c", "models/c.sql": TWO + " --"})
    shop.build()
    registered = shop.op("register_changed_models")["registered"]
    assert {row["model"]: row["version"] for row in registered} == {"a": "0.2.0", "b": "0.1.1", "c": "0.1.1"}


@pytest.mark.matrix
def test_unknown_columns_are_said_and_never_a_patch(any_tiny: Tiny) -> None:
    shop = any_tiny({"models/a.sql": TWO, "models/b.sql": TWO})
    entry, said = one(shop, version="1.0.0")  # never built: there is nothing below it to compare either
    assert "WARNING" not in said
    shop.build()
    shop.write("models/a.sql", TWO + " -- 2")
    entry, said = one(shop, version="1.0.1")
    unknown = f"the columns of the version before are unknown: no build is recorded in target {shop.target}"
    assert entry["findings"] == [{"level": "unknown", "change": unknown}] and entry["is_breaking"] is False
    assert f"{unknown}, so breaking changes of columns could not be looked for. Build the model" in said

    shop.op("register_changed_models", models="b")
    shop.write("models/b.sql", "select 1 as c")  # its newest build has a and b: those are not its columns
    error = shop.error("register_changed_models")
    assert isinstance(error, Refused)
    why = f"the columns of the present code are unknown: the newest build in target {shop.target} is of other code"
    assert f"b ({why})" in str(error) and "a (" not in str(error).replace("b (", "")
    assert "give bump: patch, minor or major" in str(error)
    entry = shop.op("register_changed_models", bump="patch")["registered"][0]
    assert (entry["version"], entry["findings"]) == ("1.0.1", [{"level": "unknown", "change": why}])

    shop.build()
    shop.write("models/b.sql", "select 1 as d")
    shop.build()
    relation = "dev.b" if shop.database == "postgres" else "main.b"
    shop.sql(f"drop view {relation}")
    error = shop.error("register_changed_models", models="b")
    assert isinstance(error, Refused) and "are unknown" in str(error)


def test_a_finding_outweighs_unknown_columns(tiny: Any) -> None:
    shop = tiny({"models/a.sql": TWO, "models/a.yml": json.dumps({"models": [{"name": "a"}]})}, "duckdb")
    shop.build()
    one(shop, version="1.0.0")
    shop.write("models/a.yml", json.dumps({"models": [{"name": "a", "config": {"alias": "z"}}]}))
    row = shop.op("register_changed_models")["registered"][0]
    assert (row["version"], row["is_breaking"]) == (MAJOR, True)
    assert [change["level"] for change in row["findings"]] == ["unknown", "major"]
