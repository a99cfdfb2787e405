"""Which changes of a column's type lose nothing, whatever the rows hold.

Source: the PostgreSQL manual, "Numeric Types", "Character Types" …, and how the server packs their modifiers
(pg_attribute.atttypmod): numerictypmodin(), intervaltypmodin() and their kind.
"""

from __future__ import annotations

from dbt_cicd_toolkit.schema.tables import Column

_WIDER = {
    "smallint": ("integer", "bigint"),
    "integer": ("bigint",),
    "real": ("double precision",),
    "character varying": ("text",),
    "text": ("character varying",),
}
# The modifier is one number, and more of it holds more.
_BY_LENGTH = (
    "character varying",
    "bit varying",
    "timestamp without time zone",
    "timestamp with time zone",
    "time without time zone",
    "time with time zone",
)
_NONE = -1  # no modifier, no limit


def widens(was: Column, now: Column) -> bool:
    """Whether every value of the old type is one of the new, and PostgreSQL makes it that. Collations must be equal."""
    if was.collation != now.collation:
        return False
    if was.base != now.base:
        return now.base in _WIDER.get(was.base, ()) and now.modifier == _NONE
    if was.base in _BY_LENGTH:
        return now.modifier == _NONE or _NONE < was.modifier <= now.modifier
    if was.base in ("numeric", "interval"):
        return now.modifier == _NONE or (was.modifier != _NONE and _both_wider(was, now))
    return False


def _both_wider(was: Column, now: Column) -> bool:
    """numeric(precision, scale): the scale stays. interval fields (precision): the fields stay."""
    offset = 4 if was.base == "numeric" else 0
    (high, low), (new_high, new_low) = (divmod(each.modifier - offset, 1 << 16) for each in (was, now))
    if was.base == "numeric":
        return low == new_low and high <= new_high
    return high == new_high and low <= new_low
