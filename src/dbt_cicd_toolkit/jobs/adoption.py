"""Which DAG, in which environment and on which branch, uses which version of a job. Read, never imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dbt_cicd_toolkit import report
from dbt_cicd_toolkit.errors import InvalidInput
from dbt_cicd_toolkit.jobs.inventory import Item, of_tree
from dbt_cicd_toolkit.jobs.nearest import meant
from dbt_cicd_toolkit.jobs.number import Number
from dbt_cicd_toolkit.jobs.project import Project
from dbt_cicd_toolkit.jobs.references import Reference, Uses


@dataclass(frozen=True)
class Adoption:
    """What is used.

    Attributes:
        uses: by environment, file and line.
        states: of the versions that are used: open, frozen, deprecated, removed; missing for one that the branch has
            not got; unknown where the version cannot be told.
        warnings: environments that could not be looked at.
    """

    uses: Sequence[Reference]
    states: Mapping[Reference, str]
    warnings: Sequence[str]

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "uses": [each.document() | {"state": self.states[each]} for each in self.uses],
            "warnings": list(self.warnings),
        }

    def text(self, output_format: str) -> str:
        """As a table."""
        head = ("ENVIRONMENT", "BRANCH", "JOB", "VERSION", "STATE", "DAG", "BY", "WHERE")
        rows = [
            (
                each.environment or "—",
                each.branch or "—",
                each.job or ("—" if each.version is None else "(folder)"),
                str(each.version or "unknown"),
                self.states[each],
                ", ".join(each.dags) or "—",
                _by(each),
                each.where,
            )
            for each in self.uses
        ]
        return report.table(head, rows, output_format) if rows else "No DAG uses a job."


def _by(use: Reference) -> str:
    if use.how == "resolve":
        return f"resolve {use.text or '?'}"
    return use.text or "?" if use.how == "unknown" else use.how


def adoption(
    project: Project, job: str | None = None, version: Number | None = None, environment: str | None = None
) -> Adoption:
    """Read who uses what.

    Args:
        job, version, environment: only uses of these; what is unknown is always told.
    Raises:
        InvalidInput: an unknown environment or version; files that are no Python, all of them.
    """
    if environment is not None and environment not in project.settings.environments:
        known = meant(environment, project.settings.environments, "There are none.")
        raise InvalidInput(f"jobs.toml has no environment {environment}. {known}")
    uses = Uses(project)
    states: dict[Reference, str] = {}
    for place in uses.places:
        items = uses.items(place)
        states |= {use: _state(use, items) for use in uses.by_place(place)}
    if uses.broken:
        raise InvalidInput("\n".join(uses.broken))
    kept = [
        each
        for each in states
        if environment in (None, each.environment)
        if each.version is None or ((job is None or each.job in (None, job)) and version in (None, each.version))
    ]
    if job is not None and version is not None and all(each.version is None for each in kept):
        _refuse_unknown(project, uses, job, version)
    return Adoption(kept, states, uses.missing())


def _refuse_unknown(project: Project, uses: Uses, job: str, version: Number) -> None:
    """Neither the working tree nor an environment's branch has that version: 'nobody uses it' would be no answer."""
    trees = [of_tree(project, uses.working), *(uses.items(place) for place in uses.places)]
    known = sorted({number for items in trees for name, number in items if name == job})
    if version not in known:
        said = meant(str(version), list(map(str, known)), "It has none.")
        raise InvalidInput(f"there is no {job} {version}. {said}")


def _state(use: Reference, items: Mapping[tuple[str, Number], Item]) -> str:
    if use.version is None:
        return "unknown"
    if use.job is None:
        return "—"
    item = items.get((use.job, use.version))
    return item.state if item else "missing"
