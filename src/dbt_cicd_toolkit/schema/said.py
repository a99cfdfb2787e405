"""What is said of an object besides its structure, and how it is taken back."""

from __future__ import annotations

import re


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
    granted = re.fullmatch(r"grant (.*) to (.*?)(?: with grant option)?", said)
    if not granted:
        return None
    rights = ", ".join(f"{right} ({column})" if column else right for right in granted[1].split(", "))
    on = name if kind in ("table", "view", "materialized view") else f"{'type' if kind == 'domain' else kind} {name}"
    return f"revoke {rights} on {on} from {granted[2]} cascade"
