"""One statement of a transition from a release to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# What a step does to its object. 'data' changes rows or looks at them; 'post' is run after the COMMIT.
Kind = Literal["rename", "drop", "create", "replace", "alter", "metadata", "data", "post"]


@dataclass(frozen=True, slots=True)
class Check:
    """What the rows of a table must satisfy before a step can work.

    Attributes:
        rule: for people: 'not null on business.t.email'.
        rows: a query that lists the rows that break it; it is counted by wrapping it.
    """

    rule: str
    rows: str


@dataclass(frozen=True, slots=True)
class Step:
    """One statement, proven in a scratch database.

    Attributes:
        sql: without a semicolon at its end.
        kind: see Kind.
        object: the identity of what it changes, as catalog.describe() writes it: 'table business.t'.
        check: what may stand in its way in the data.
        columns: those of the table that it drops or gives another type: what is bound to them must go first.
    """

    sql: str
    kind: Kind
    object: str
    check: Check | None = None
    columns: tuple[str, ...] = ()
