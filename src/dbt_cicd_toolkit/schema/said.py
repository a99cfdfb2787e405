"""What is said of an object besides its structure, how it is taken back, and how PostgreSQL's own grants come back."""

from __future__ import annotations

import re

from dbt_cicd_toolkit.schema.fingerprint import IMPLIED


def unsaid(identity: str, said: str) -> str | None:
    """SQL that takes back a comment or a grant, as fingerprint.mark() writes them; None for what is no such thing."""
    kind, _, name = identity.partition(" ")
    if identity.startswith("materialized view "):
        kind, name = "materialized view", identity.removeprefix("materialized view ")
    column = ""
    if said.startswith("column "):
        found = re.match(r'column ((?:"(?:[^"]|"")*"|\S+)) (.*)', said, re.DOTALL)
        if found:
            column, said = found[1], found[2]
    if said.startswith("comment "):
        return f"comment on column {name}.{column} is null" if column else f"comment on {kind} {name} is null"
    granted = re.fullmatch(r"grant (.*) to (.*?)( with grant option)?", said)
    if not granted:
        return None
    right = f"{granted[1]} ({column})" if column else granted[1]
    option = "grant option for " if granted[3] else ""
    return f"revoke {option}{right} on {_target(kind, name)} from {granted[2]} cascade"


def implied(identity: str) -> str | None:
    """SQL that grants what PostgreSQL grants to everybody on a new object of this kind."""
    kind, _, name = identity.partition(" ")
    granted = IMPLIED.get(kind)
    return granted and granted.replace(" to ", f" on {_target(kind, name)} to ")


def _target(kind: str, name: str) -> str:
    if kind in ("table", "view", "materialized view"):
        return name
    return f"{ {'domain': 'type', 'aggregate': 'function'}.get(kind, kind) } {name}"
