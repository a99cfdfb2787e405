"""Read what Wyseman keeps: Wyseman.hist, Wyseman.delta and the schema files (schema-2.json) of `wyseman --schema`.

Sources, in the repository gotchoices/wyseman: lib/history.js, lib/migrate.js, lib/schema.js, and wm.hist() and
wm.migrate() in lib/bootstrap.sql. Its documentation differs from them, and they from release to release; both are read:
- Past objects are called prev, once past or history; the fields of an object obj_typ, obj_nam … or, in the docs, type,
  name …. SQL is base64, that of the current objects of a schema file also deflated; once it was plain.
- A past object stands there once for each release that had it.
- Operations of the open release are in Wyseman.delta, {table: [operation]}, in no order among tables. Those of a
  release are with the version of the table that they led to, so that of the objects of the last release they are in its
  schema file only. Wyseman pastes them behind ALTER TABLE, so most are SQL: "rename code to co_code", "add n int
  default 0"; the docs show add with the type in quotes and an expression. Once they were {"oper", "col", "spec"}.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dbt_cicd_toolkit.errors import Differs, InvalidInput
from dbt_cicd_toolkit.postgres.reader import Reader
from dbt_cicd_toolkit.schema.delta import COMMANDS, Delta, parse
from dbt_cicd_toolkit.schema.delta_file import DeltaFile


@dataclass(frozen=True, slots=True)
class WysemanObject:
    """One version of one object.

    Attributes:
        type, name: 'table', 'base.country'; functions with argument types.
        version: from 1; one more with the first change after a release.
        module: whose it is: 'wyseman' for what Wyseman itself needs.
        first, last: the releases that have it.
        deps: as its author wrote them: names, with or without a type ('table:base.country').
        delta: the operations that led from the version before to this one.
        grants: 'type:name,privilege,level,right': the right is granted to the role privilege_level, or to public.
        create, drop: SQL.
    """

    type: str
    name: str
    version: int
    module: str
    first: int
    last: int
    deps: tuple[str, ...]
    delta: tuple[str, ...]
    grants: tuple[str, ...]
    create: str
    drop: str


@dataclass(frozen=True, slots=True)
class WysemanHistory:
    """A Wyseman.hist or a schema file.

    Attributes:
        module: 'mychips'.
        releases: when each was committed, in Wyseman's words; None for the open one.
        past: objects that later releases changed or dropped.
        current: objects of the release of a schema file, in the order in which they are made; () of a Wyseman.hist.
        deltas: by release the operations that led to it, as far as the file has them.
    """

    module: str
    releases: tuple[str | None, ...]
    past: tuple[WysemanObject, ...]
    current: tuple[WysemanObject, ...]
    deltas: tuple[tuple[int, Delta], ...]


def read_hist(text: str, where: str) -> WysemanHistory:
    """The history in a Wyseman.hist or in a schema file.

    Raises:
        InvalidInput: it is no such file; the message begins with ``where`` and names the object.
        Differs: a schema file is not what its hash says.
    """
    document = _json(text, where)
    _check_hash(document, where)
    past = _objects(document, ("prev", "past", "history"), where)
    current = _objects(document, ("objects",), where) if "objects" in document else ()
    releases = _get(document, ("releases",), list, where)
    if wrong := [each for each in releases if isinstance(each, bool) or not isinstance(each, str | int | None)]:
        raise InvalidInput(f"{where}: releases has {wrong[0]!r}; it holds dates, and a number for the open release.")
    deltas = [
        (each.first, delta)
        for each in sorted((*past, *current), key=lambda each: each.first)
        for delta in _deltas(each.name, each.delta, f"{where}: {each.type} {each.name} version {each.version}")
    ]
    return WysemanHistory(
        module=_get(document, ("module",), str, where),
        releases=tuple(each if isinstance(each, str) else None for each in releases),
        past=past,
        current=current,
        deltas=tuple(deltas),
    )


def read_delta(text: str, where: str) -> list[Delta]:
    """The operations of the open release in a Wyseman.delta: the JSON that Wyseman writes, or the lines of its docs.

    Raises:
        InvalidInput: it is neither, or an operation is none; the message begins with ``where``.
    """
    if text.strip() and not text.lstrip().startswith("{"):
        return [line.delta for line in DeltaFile.parse(text, where).open]
    tables = _json(text, where)
    return [
        delta for table in tables for delta in _deltas(table, _operations(tables, table, where), f"{where}: {table}")
    ]


def _deltas(table: str, operations: Sequence[str], where: str) -> list[Delta]:
    found = (parse(f"{table} {_ours(text)}", f"{where}, operation {n}") for n, text in enumerate(operations, 1))
    return [delta for delta in found if delta.op not in COMMANDS]  # Wyseman keeps these and passes over them


def _operations(record: Mapping[str, Any], field: str, where: str) -> tuple[str, ...]:
    """The operations in a field, each as a text."""
    found = []
    for each in _get(record, (field,), list, where, []):
        if isinstance(each, dict) and isinstance(each.get("oper"), str):
            oper, col, spec, init = (str(each.get(key) or "") for key in ("oper", "col", "spec", "init"))
            spec = _literal(spec) if spec and oper in ("add", "update") else spec
            found.append(" ".join(filter(None, (oper, col, spec, init))))
        elif isinstance(each, str):
            found.append(each)
        else:
            raise InvalidInput(f'{where}: {field} has {each!r}; an operation is a text or {{"oper", "col", "spec"}}.')
    return tuple(found)


_UPDATE_COLUMN = re.compile(r"update\s+(\S+)\s+('(?:[^']|'')*')\s*", re.IGNORECASE)
_UPDATE_SET = re.compile(r"update\s+(?=\S+\s*=)", re.IGNORECASE)
_RENAME_TABLE = re.compile(r"rename\s+to\s", re.IGNORECASE)


def _ours(operation: str) -> str:
    """Wyseman's operation as parse() reads it."""
    if update := _UPDATE_COLUMN.fullmatch(operation):  # the docs: update column 'expression [where …]'
        expression = update[2][1:-1].replace("''", "'")
        return f"update set {update[1]} = {expression}"
    operation = _UPDATE_SET.sub("update set ", operation, count=1)
    operation = _RENAME_TABLE.sub("rename table ", operation, count=1)
    reader = Reader(operation)
    if reader.accept("ADD"):
        reader.accept("COLUMN")
        reader.next()
        if (type_ := reader.peek()) and type_.kind != "string":  # SQL: all that follows the name
            return f"{operation[: type_.offset]}{_literal(operation[type_.offset :])}"
    return operation


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _json(text: str, where: str) -> dict[str, Any]:
    """The JSON object that a text is; the original reads an empty file as an empty object."""
    try:
        document = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{where}: this is no JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidInput(f"{where}: this is JSON, but no object ({{…}}).")
    return document


def _get(record: Mapping[str, Any], fields: tuple[str, ...], kind: type, where: str, default: Any = None) -> Any:
    """The first of these fields that is there and not null, else the default. Raises InvalidInput for another type."""
    field, value = next(((each, record[each]) for each in fields if record.get(each) is not None), (fields[0], default))
    if not isinstance(value, kind) or isinstance(value, bool):
        raise InvalidInput(
            f"{where}: {field} is {'missing' if value is None else repr(value)}; it must be {_KINDS[kind]}."
        )
    return value


_KINDS = {str: "a text", int: "a number", list: "a list"}


def _objects(document: Mapping[str, Any], fields: tuple[str, ...], where: str) -> tuple[WysemanObject, ...]:
    found: dict[tuple[str, str, int], WysemanObject] = {}
    compressed = document.get("compress") is True and fields == ("objects",)
    for number, record in enumerate(_get(document, fields, list, where), 1):
        here = f"{where}: object {number} of {fields[0]}"
        if not isinstance(record, dict):
            raise InvalidInput(f"{here} is {record!r}; it must be an object ({{…}}).")
        each = _object(record, here, compressed)
        found.setdefault((each.type, each.name, each.version), each)
    return tuple(found.values())


def _object(record: Mapping[str, Any], where: str, compressed: bool) -> WysemanObject:
    return WysemanObject(
        type=_get(record, ("obj_typ", "type"), str, where),
        name=_get(record, ("obj_nam", "name"), str, where),
        version=_get(record, ("obj_ver", "version"), int, where),
        module=_get(record, ("module",), str, where, ""),
        first=_get(record, ("min_rel", "first"), int, where),
        last=_get(record, ("max_rel", "last"), int, where),
        deps=tuple(map(str, _get(record, ("deps",), list, where, []))),
        delta=_operations(record, "delta", where),
        grants=tuple(map(str, _get(record, ("grants",), list, where, []))),
        create=_sql(record, "create", where, compressed) or _get(record, ("crt_sql",), str, where, ""),
        drop=_sql(record, "drop", where, compressed) or _get(record, ("drp_sql",), str, where, ""),
    )


def _sql(record: Mapping[str, Any], field: str, where: str, compressed: bool) -> str:
    try:
        data = base64.b64decode(_get(record, (field,), str, where, ""), validate=True)
        return (zlib.decompress(data) if compressed and data else data).decode()
    except (ValueError, zlib.error) as error:
        raise InvalidInput(f"{where}: {field} is no SQL in base64: {error}.") from None


def _check_hash(document: Mapping[str, Any], where: str) -> None:
    """The hash of a schema file: SHA-256 over what is encoded, as it stands there."""
    recorded = document.get("hash")
    objects = _get(document, ("objects",), list, where, [])
    encoded = [document.get(field) for field in ("boot", "init", "dict")]
    encoded += [each.get(field) for each in objects if isinstance(each, dict) for field in ("create", "drop")]
    digest = hashlib.sha256("".join(str(each or "") for each in encoded).encode(errors="replace")).digest()
    if recorded and recorded != base64.b64encode(digest).decode():
        raise Differs(
            f"{where}: it is not what its hash says: somebody edited it. Let `wyseman --schema` write it again."
        )
