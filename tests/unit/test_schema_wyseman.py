"""Wyseman's files, as it writes them and as its documentation prints them."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbt_cicd_toolkit.errors import Differs, InvalidInput
from dbt_cicd_toolkit.schema.wyseman import WysemanObject, read_delta, read_hist

CREATE = "create table wmtest.items (item text primary key);"
# The fields as wm.hist() selects them, and as lib/history.js replaces the SQL in them.
ITEMS: dict[str, Any] = {
    "obj_typ": "table",
    "obj_nam": "wmtest.items",
    "obj_ver": 2,
    "module": "wmtest",
    "min_rel": 2,
    "max_rel": 3,
    "deps": ["wmtest"],
    "grants": ["table:wmtest.items,public,0,select"],
    "col_data": ["pri,item"],
    "delta": ["rename comment to descr"],
    "create": base64.b64encode(CREATE.encode()).decode(),
    "drop": base64.b64encode(b"drop table wmtest.items;").decode(),
}
HISTORY: dict[str, Any] = {
    "release": 1,
    "module": "wmtest",
    "releases": ["2022-01-14 13:05:02.118-07", "2022-02-01 09:00:00-07", "2022-02-03 10:00:00-07", 4],
    "prev": [ITEMS, ITEMS],
    "arch": [{"boot": "eJzN", "init": None, "dict": "eJzN"}],
}


def history(**changes: object) -> str:
    return json.dumps(HISTORY | changes, indent=2)


def items(**changes: object) -> str:
    return history(prev=[ITEMS | changes])


def deltas(text: str) -> list[str]:
    return [str(delta) for delta in read_delta(text, "Wyseman.delta")]


def test_a_history_is_read() -> None:
    found = read_hist(history(), "Wyseman.hist")
    assert found.module == "wmtest"
    assert found.releases == (*HISTORY["releases"][:3], None)
    assert found.past == (
        WysemanObject(
            type="table",
            name="wmtest.items",
            version=2,
            module="wmtest",
            first=2,
            last=3,
            deps=("wmtest",),
            delta=("rename comment to descr",),
            grants=("table:wmtest.items,public,0,select",),
            create=CREATE,
            drop="drop table wmtest.items;",
        ),
    )
    assert found.current == ()
    assert [(release, str(delta)) for release, delta in found.deltas] == [(2, "wmtest.items rename comment descr")]


@pytest.mark.parametrize("beta", [0, 1])
def test_the_history_of_a_new_module_is_read(beta: int) -> None:
    text = json.dumps({"release": 1, "module": "mychips", "releases": [beta], "prev": [], "arch": []}, indent=2)
    found = read_hist(text, "x")
    assert (found.module, found.releases, found.past, found.deltas) == ("mychips", (None,), (), ())


def test_a_history_is_read_as_the_docs_print_it() -> None:
    record = {"hash": "ABC", "type": "view", "name": "a.v", "version": 1, "first": 1, "last": 2, "deps": ["table:a.t"]}
    document = {"module": "m", "releases": ["Release 1 publish date", "Release 2 publish date", 0], "past": [record]}
    [found] = read_hist(json.dumps(document), "x").past
    assert (found.type, found.name, found.version, found.first, found.last) == ("view", "a.v", 1, 1, 2)
    assert (found.deps, found.module, found.delta, found.create) == (("table:a.t",), "", (), "")


def test_older_histories_are_read() -> None:
    old = {key: value for key, value in ITEMS.items() if key not in ("create", "drop")}
    old |= {"crt_sql": CREATE, "drp_sql": "drop table wmtest.items;"}
    expected = read_hist(history(), "x").past
    for name in ("past", "history"):
        assert read_hist(json.dumps({"module": "m", "releases": [0], name: [old]}), "x").past == expected
    spelt = [{"oper": "rename", "col": "comment", "spec": "descr"}, {"oper": "drop", "col": "n"}]
    [found] = read_hist(items(delta=spelt), "x").past
    assert found.delta == ("rename comment descr", "drop n")


def encoded(sql: str, compress: bool) -> str:
    return base64.b64encode(zlib.compress(sql.encode()) if compress else sql.encode()).decode()


def schema_file(*, compress: bool = True, **changes: object) -> str:
    """As lib/schema.js writes it."""
    create, drop = encoded(CREATE, compress), encoded("", compress)
    current = {
        **ITEMS,
        "obj_ver": 3,
        "min_rel": 4,
        "max_rel": 4,
        "delta": ["drop descr"],
        "create": create,
        "drop": drop,
    }
    document = {
        "module": "wmtest",
        "release": 4,
        "publish": None,
        "compress": compress,
        "releases": HISTORY["releases"],
        "boot": encoded("create schema wm;", compress),
        "init": encoded("", compress),
        "dict": encoded("", compress),
        "objects": [current],
        "prev": [ITEMS],
    }
    text = "".join(str(document[key]) for key in ("boot", "init", "dict")) + create + drop
    return json.dumps({"hash": base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()} | document | changes)


@pytest.mark.parametrize("compress", [True, False])
def test_a_schema_file_has_the_objects_of_its_release_too(compress: bool) -> None:
    found = read_hist(schema_file(compress=compress), "schema-4.json")
    assert [(each.version, each.create, each.drop) for each in found.current] == [(3, CREATE, "")]
    assert [(each.version, each.create) for each in found.past] == [(2, CREATE)]
    assert [(release, str(delta)) for release, delta in found.deltas] == [
        (2, "wmtest.items rename comment descr"),
        (4, "wmtest.items drop descr"),
    ]


def test_an_edited_schema_file_is_refused() -> None:
    with pytest.raises(Differs, match=r"schema-4\.json: it is not what its hash says"):
        read_hist(schema_file(init=encoded("select 1", True)), "schema-4.json")


def test_the_open_operations_are_read() -> None:
    # The one Wyseman.delta that is public: MyCHIPs, schema/Wyseman.delta
    text = """{
  "base.country": [
    "rename code to co_code",
    "rename com_name to co_name",
    "drop cur_name"
  ]
}"""
    assert deltas(text) == [
        "base.country rename code co_code",
        "base.country rename com_name co_name",
        "base.country drop cur_name",
    ]
    assert deltas("{}") == deltas("") == []


OPERATIONS = {
    "add column n int not null default 0": "t add n 'int not null default 0'",
    "ADD n varchar(20)": "t add n 'varchar(20)'",
    "add mode text check (mode in ('a', 'b'))": "t add mode 'text check (mode in (''a'', ''b''))'",
    "add email 'text not null' ''": "t add email 'text not null' ''",
    "add species 'text' maple": "t add species 'text' maple",
    "drop column n": "t drop n",
    "rename column y to z": "t rename y z",
    "rename comment descr": "t rename comment descr",
    "rename to u": "t rename table u",
    "update status 'upper(status) where status <> ''x''": "",
    "update status 'upper(status) where status <> ''x'''": "t update set status = upper(status) where status <> 'x'",
    "update status = upper(status)": "t update set status = upper(status)",
    "update set status = 1": "t update set status = 1",
    "update insert into u select a from t": "t update insert into u select a from t",
}


@pytest.mark.parametrize(("operation", "expected"), OPERATIONS.items())
def test_operations_are_read_as_sql_and_as_in_the_docs(operation: str, expected: str) -> None:
    text = json.dumps({"t": [operation]})
    if expected:
        assert deltas(text) == [expected]
    else:
        with pytest.raises(InvalidInput, match=r"^Wyseman.delta: t, operation 1:\d+: "):
            deltas(text)


def test_operations_that_were_parted_are_read() -> None:
    parted = [
        {"oper": "add", "col": "species", "spec": "text not null", "init": "'maple'"},
        {"oper": "rename", "col": "cell", "spec": "mobile", "dirty": True},
        {"oper": "update", "col": "status", "spec": "'closed'"},
        {"oper": "drop", "col": "n"},
    ]
    assert deltas(json.dumps({"s.trees": parted})) == [
        "s.trees add species 'text not null' 'maple'",
        "s.trees rename cell mobile",
        "s.trees update set status = 'closed'",
        "s.trees drop n",
    ]


def test_lines_are_read_as_the_docs_print_them() -> None:
    text = "-- first\nmytable add new_column 'text not null' default_value\nmytable drop old_column\n\n"
    assert deltas(text) == ["mytable add new_column 'text not null' default_value", "mytable drop old_column"]


def test_questions_that_wyseman_kept_are_passed_over() -> None:
    assert deltas(json.dumps({"t": ["list", "drop a"]})) == ["t drop a"]


REFUSED = {
    "[]": "x: this is JSON, but no object ({…})",
    "{": "x: this is no JSON: ",
    history(module=None): "x: module is missing; it must be a text",
    history(prev=5): "x: prev is 5; it must be a list",
    history(prev=["a"]): "x: object 1 of prev is 'a'; it must be an object",
    history(releases="2022"): "x: releases is '2022'; it must be a list",
    history(releases=[{}]): "x: releases has {}; it holds dates, and a number for the open release",
    history(objects=7): "x: objects is 7; it must be a list",
    items(obj_nam=None): "x: object 1 of prev: obj_nam is missing; it must be a text",
    items(min_rel="2"): "x: object 1 of prev: min_rel is '2'; it must be a number",
    items(obj_ver=True): "x: object 1 of prev: obj_ver is True; it must be a number",
    items(create="%"): "x: object 1 of prev: create is no SQL in base64",
    items(create="/w=="): "x: object 1 of prev: create is no SQL in base64",
    items(delta=["drop a", 5]): "x: object 1 of prev: delta has 5; an operation is a text or",
    items(delta=["add check (a > 0)"]): "x: table wmtest.items version 2, operation 1:18: CHECK is a keyword",
    schema_file(objects=[{**ITEMS, "create": "eJzN"}], hash=None): "x: object 1 of objects: create is no SQL in base64",
}


@pytest.mark.parametrize(("text", "message"), REFUSED.items(), ids=REFUSED.values())
def test_what_is_no_history_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        read_hist(text, "x")
    assert str(refusal.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "x: this is no JSON: "),
        ('{"t": "drop a"}', "x: t is 'drop a'; it must be a list"),
        ('{"t": [[]]}', "x: t has []; an operation is a text or"),
        ('{"t": ["alter a"]}', "x: t, operation 1:10: a type is missing"),
        ('{"t": ["add constraint c unique (a)"]}', "x: t, operation 1:7: CONSTRAINT is a keyword"),
        ("t ad a", "x:1:3: 'ad' is no operation"),
    ],
)
def test_what_are_no_operations_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        read_delta(text, "x")
    assert str(refusal.value).startswith(message)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["AA==", "drop a"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*HISTORY, *ITEMS, "objects", "hash", "compress"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(st.sampled_from([*HISTORY, "objects", "hash", "compress"]), st.none() | st.sampled_from(list(ITEMS)), JSON)
@settings(deadline=None)
def test_any_history_is_read_or_refused(field: str, of_object: str | None, value: object) -> None:
    text = history(**{field: value}) if of_object is None else items(**{of_object: value})
    for read in (read_hist, read_delta):
        try:
            read(text, "x")
        except (InvalidInput, Differs) as refusal:
            assert str(refusal).startswith("x: ")
