"""What a check finds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from dbt_cicd_toolkit import report

# Worst first. What a command ends with when it finds one; None: it is told, and refuses nothing.
LEVELS: dict[str, int | None] = {"invalid": 2, "differs": 3, "refused": 1, "unknown": None, "warning": None}
Level = Literal["invalid", "differs", "refused", "unknown", "warning"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or that cannot be told.

    Attributes:
        level: one of LEVELS.
        rule: frozen, shared, isolation, syntax …
        message: where, what, what is allowed, and the next command.
    """

    level: Level
    rule: str
    message: str


def exit_code(findings: Iterable[Finding]) -> int:
    """Of the worst: bad input hides the rest, a difference goes before a broken rule."""
    there = {finding.level for finding in findings}
    return next((code for level, code in LEVELS.items() if code and level in there), 0)


def document(findings: Sequence[Finding]) -> dict[str, Any]:
    """For JSON."""
    code = exit_code(findings)
    return {"success": code == 0, "exit_code": code, "findings": [asdict(finding) for finding in findings]}


def text(findings: Sequence[Finding], output_format: str) -> str:
    """One line each, the worst first."""
    order = [*LEVELS]
    rows = sorted(findings, key=lambda finding: order.index(finding.level))
    if not rows:
        return "Nothing is wrong."
    if output_format == "markdown":
        cells = [(finding.level, finding.rule, finding.message) for finding in rows]
        return report.table(("LEVEL", "RULE", "FINDING"), cells, output_format)
    counts = [(level, sum(finding.level == level for finding in rows)) for level in order]
    lines = [f"{finding.level}: {finding.rule}: {finding.message}" for finding in rows]
    return "\n".join([*lines, "", ", ".join(f"{number} {level}" for level, number in counts if number)])
