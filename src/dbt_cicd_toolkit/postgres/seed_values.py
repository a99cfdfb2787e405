"""Values that may stand in a column: a few of each type, and what its check constraints give away. Pure."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_INTEGERS = ("1", "2", "0", "3", "10", "100", "1000", "-1")
_NUMBERS = ("1", "2", "0", "0.5", "0.1", "10", "100", "-1")
# '1' comes first because most other types can be cast from it: a later migration may change the column's type.
_TEXTS = (
    "1", "2", "a", "b", "A", "abc", "ABC", "a@b.cd", "USD", "US", "en", "12345", "+10000000000", "https://a.bc", "a-b",
    "2024-01-01", "a" * 32, "a" * 40, "a" * 64, "00000000-0000-0000-0000-000000000001", "",
)  # fmt: skip
_DATES = ("2024-01-01", "2024-01-02", "2023-12-31", "2999-12-31", "1999-12-31")
_TIMES = ("2024-01-01 00:00:00", "2024-01-02 00:00:00", "2023-12-31 00:00:00", "2999-12-31 00:00:00")
_JSON = ("{}", "[]", "1", '{"a": 1}', "null")
_DATE_RANGE = ("[2024-01-01,2024-01-02)", "empty")
_ANYTHING = ("1", "", "{}", "[1]", "(1,1)", "a", "0", "[1,2)", "[2024-01-01,2024-01-02)", "empty")
_BY_NAME: Mapping[str, Sequence[str]] = {
    "bool": ("true", "false"),
    **dict.fromkeys(("int2", "int4", "int8", "oid"), _INTEGERS),
    **dict.fromkeys(("numeric", "float4", "float8", "money"), _NUMBERS),
    **dict.fromkeys(("text", "varchar", "bpchar", "name", "citext"), _TEXTS),
    "char": ("1", "2", "a", "A"),
    "uuid": ("00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"),
    "date": _DATES,
    **dict.fromkeys(("timestamp", "timestamptz"), _TIMES),
    **dict.fromkeys(("time", "timetz"), ("00:00:00", "01:00:00", "23:00:00")),
    "interval": ("1 day", "2 days", "0"),
    "bytea": ("\\x01", "\\x02", *("\\x" + "01" * length for length in (16, 20, 32, 64)), "\\x"),
    **dict.fromkeys(("json", "jsonb"), _JSON),
    "xml": ("<a/>",),
    "inet": ("10.0.0.1", "10.0.0.2", "::1"),
    "cidr": ("10.0.0.0/8", "192.168.0.0/16", "::/0"),
    "macaddr": ("08:00:2b:01:02:03",),
    "macaddr8": ("08:00:2b:01:02:03:04:05",),
    "point": ("(1,1)", "(2,2)"),
    "line": ("{1,1,1}",),
    **dict.fromkeys(("lseg", "box"), ("(1,1),(2,2)",)),
    **dict.fromkeys(("path", "polygon"), ("((1,1),(2,2),(3,1))",)),
    "circle": ("<(1,1),1>",),
    **dict.fromkeys(("tsvector", "tsquery"), ("1", "")),
    "pg_lsn": ("0/1",),
    **dict.fromkeys(("int4range", "int8range", "numrange"), ("[1,2)", "empty")),
    **dict.fromkeys(("daterange", "tsrange", "tstzrange"), _DATE_RANGE),
    "hstore": ("a=>1", ""),
    "ltree": ("a",),
    **dict.fromkeys(("geometry", "geography"), ("POINT(1 1)", "LINESTRING(1 1,2 2)", "POLYGON((0 0,1 0,1 1,0 0))")),
}
_STRING = re.compile(r"'((?:[^']|'')*)'")
_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])")
_PATTERN = re.compile(r"~\*? '((?:[^']|'')*)'")
_CLASSES = {"alpha": "a-zA-Z", "digit": "0-9", "alnum": "a-zA-Z0-9", "upper": "A-Z", "lower": "a-z", "space": " "}
_LONGEST = 300
_MORE = (0, 1, 2, 3, 7)


@dataclass(frozen=True)
class Type:
    """A type as sql/seed_types.sql tells it; oids are 0 where there is none."""

    oid: int
    name: str
    type: str
    category: str
    base: int
    base_typmod: int
    element: int
    attributes: int
    labels: Sequence[str]
    checks: Sequence[str]


def candidates(types: Mapping[int, Type], oid: int, typmod: int, checks: Iterable[str] = ()) -> list[str]:
    """Texts that may be cast to a type, the most likely first; ``checks`` are the constraints they must satisfy."""
    type_, constraints = types[oid], list(checks)
    while type_.type == "d":
        constraints += type_.checks
        typmod = type_.base_typmod if typmod < 0 else typmod
        type_ = types[type_.base]
    usual = _usual(types, type_, typmod)
    hints = [hint for text in constraints for hint in _hints(text, type_)]
    # A check is the first suspect: what it names goes first, but an ordinary value where that may do.
    return list(dict.fromkeys([*usual[:1], *hints, *usual]))


def certain(types: Mapping[int, Type], oid: int, typmod: int) -> bool:
    """Whether every candidate without hints is a value of the type, so that nobody needs to try."""
    type_ = types[oid]
    return type_.type == "e" or (type_.type == "b" and type_.name in _BY_NAME and typmod < 0)


def _usual(types: Mapping[int, Type], type_: Type, typmod: int) -> list[str]:
    if type_.type == "e":
        return list(type_.labels)
    if type_.type == "c":
        return ["(" + "," * (type_.attributes - 1) + ")"]
    if type_.type == "m":
        return ["{}"]
    if type_.element:
        first = _usual(types, types[type_.element], -1)[:1] if types[type_.element].type in "be" else []
        return ["{}", *('{"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"}' for value in first)]
    if type_.name in ("bit", "varbit"):
        return ["1" * max(typmod, 1), "0" * max(typmod, 1)]
    values = list(_BY_NAME.get(type_.name, _ANYTHING))
    if type_.name in ("varchar", "bpchar") and typmod > 4:
        return [value for value in values if len(value) <= typmod - 4]
    if type_.name not in _BY_NAME and typmod > 0:  # a vector of so many dimensions
        return ["[" + ",".join("1" * typmod) + "]", *values]
    return values


def _hints(check: str, type_: Type) -> list[str]:
    """What stands in a check constraint: its strings and numbers, what is just beside them, texts of that length."""
    strings = [text.replace("''", "'") for text in _STRING.findall(check)]
    numbers = _NUMBER.findall(_STRING.sub("''", check))
    patterns = [text.replace("''", "'") for text in _PATTERN.findall(check)]
    hints = strings + [found for pattern in patterns for more in _MORE if (found := sample(pattern, more))]
    if type_.category == "N":
        whole = [int(number) for number in numbers + strings if re.fullmatch(r"-?\d+", number)]
        return [*hints, *numbers, *(str(number + step) for number in whole for step in (1, -1))]
    lengths = [int(number) + step for number in numbers if number.isdigit() for step in (0, 1, -1)]
    lengths = [length for length in lengths if 0 < length <= _LONGEST]
    if type_.category == "S":
        return [*hints, *(char * length for length in lengths for char in ("1", "a"))]
    if type_.name == "bytea":
        return [*hints, *("\\x" + "01" * length for length in lengths)]
    return hints


def sample(pattern: str, more: int = 0) -> str | None:
    """A text that a regular expression matches, where it is as simple as they are in check constraints; else None.

    ``more``: so often are repeated parts repeated above the least number.
    """
    for name, characters in _CLASSES.items():
        pattern = pattern.replace(f"[:{name}:]", characters)
    parser: Any = getattr(re, "_parser", None) or importlib.import_module("sre_parse")  # until Python 3.10
    try:
        text = _sample(parser.parse(pattern), more)
        return text if re.search(pattern, text) else None
    except (re.error, OverflowError, ValueError, LookupError, TypeError):
        return None


def _sample(items: Any, more: int) -> str:
    parts = []
    for operation, argument in items:
        kind = str(operation)
        if kind == "LITERAL":
            parts.append(chr(argument))
        elif kind in ("MAX_REPEAT", "MIN_REPEAT"):
            low, high, inside = argument
            parts.append(_sample(inside, more) * min(max(low, 1) + more, high))
        elif kind == "SUBPATTERN":
            parts.append(_sample(argument[-1], more))
        elif kind == "BRANCH":
            parts.append(_sample(argument[1][0], more))
        elif kind == "IN":
            parts.append(_member(argument))
        elif kind == "ANY":
            parts.append("a")
        elif kind != "AT":
            raise ValueError(kind)
    return "".join(parts)


def _member(items: Any) -> str:
    """A character of a class, a letter or a digit rather than another."""
    negated = str(items[0][0]) == "NEGATE"
    characters = "a1A_- .@/" + "".join(map(chr, range(33, 127)))
    for char in characters:
        if any(_holds(kind, argument, char) for kind, argument in items[negated:]) != negated:
            return char
    raise ValueError("no printable character")


def _holds(kind: Any, argument: Any, char: str) -> bool:
    name = str(kind)
    if name == "LITERAL":
        return bool(ord(char) == argument)
    if name == "RANGE":
        return bool(argument[0] <= ord(char) <= argument[1])
    if name == "CATEGORY":
        category = str(argument)
        if "DIGIT" in category:
            found = char.isdigit()
        elif "SPACE" in category:
            found = char.isspace()
        else:
            found = char.isalnum() or char == "_"
        return found != ("NOT" in category)
    raise ValueError(name)
