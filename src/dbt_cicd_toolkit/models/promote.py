"""One promotion from the command line: the models' tests, then the operation that gates and records it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dbt_cicd_toolkit.dbt_runner import Dbt, DbtResult
from dbt_cicd_toolkit.errors import InvalidInput, Refused
from dbt_cicd_toolkit.models import ledger

# What dbt's selectors take as a plain name; any other name is left to the macro, which says what is wrong with it.
_SELECTABLE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_GREEN = ("pass", "warn", "success", "no-op", "reused")


@dataclass(frozen=True)
class Promotion:
    """What came of a promotion.

    Attributes:
        plan: the value of promote_to_environment: promotion_id, target_environment, status, plan, reasons, warnings …
        message: None, or why nothing was promoted.
        tests: number of results of the run before, by status; None when no tests were run.
    """

    plan: dict[str, Any]
    message: str | None
    tests: dict[str, int] | None

    @property
    def success(self) -> bool:
        """Whether the models are (or, in a dry run, would be) in the environment."""
        return self.message is None


def promote(
    dbt: Dbt,
    environment: str,
    models: Sequence[str] | None,
    *,
    select: Sequence[str] = (),
    skip_tests: bool = False,
    build: bool = False,
    dry_run: bool = False,
    approved_by: str | None = None,
    description: str | None = None,
) -> Promotion:
    """Promote models to an environment, all of them or none.

    Args:
        dbt: the project.
        environment: the environment to promote to.
        models: names as ref() takes them, ``package.model`` or unique_ids.
        select: dbt selectors; the models they name are promoted too.
        skip_tests: neither run nor ask for tests.
        build: build the models first, together with their tests.
        dry_run: run the tests and apply every gate; record no promotion.
        approved_by, description: recorded with it.
    Returns:
        the promotion; a refused one is recorded with its reasons, and is no error.
    Raises:
        InvalidInput: no model is named.
        Refused: dbt failed in another way than by a result.
    """
    wanted = list(models or [])
    if select:
        wanted += dbt.list_models(list(select))
    if not wanted:
        raise InvalidInput(
            f"--select {' '.join(select)} names no model. See what it names: dbt ls --resource-type model --select …"
            if select
            else "no model is named. Say --models customers,orders, or --select with a dbt selector."
        )
    run = _run(dbt, wanted, build=build, skip_tests=skip_tests)
    arguments = {
        "target_environment": environment,
        "models": wanted,
        "require_tests": not skip_tests,
        "update_state": not dry_run,
        "approved_by": approved_by,
        "description": description,
        "failures": {row["unique_id"]: row["message"] for row in run.results if not _is_green(row)} if run else {},
    }
    envelope = ledger.call(dbt, "promote_to_environment", arguments, writes=not dry_run)
    tests = Counter(str(row["status"]).lower() for row in run.results if _is_test(row)) if run else None
    return Promotion(envelope.value, envelope.message, dict(tests) if tests is not None else None)


def _is_green(row: dict[str, Any]) -> bool:
    return str(row["status"]).lower() in _GREEN


def _is_test(row: dict[str, Any]) -> bool:
    return str(row["unique_id"]).split(".")[0] in ("test", "unit_test")


def _run(dbt: Dbt, models: Sequence[str], *, build: bool, skip_tests: bool) -> DbtResult | None:
    """Build and test in one dbt command; the package's hook records it. None when there is nothing to run."""
    if skip_tests and not build:
        return None
    selectors = [_selector(name) for name in models if _SELECTABLE.fullmatch(name)]
    if not selectors:
        return None
    result = dbt.run(
        [{(True, False): "build", (True, True): "run"}.get((build, skip_tests), "test"), "--select", *selectors]
    )
    if not result.ok and all(_is_green(row) for row in result.results):
        # It failed before there were results, so nothing tells what these models are worth now.
        raise Refused(
            f"dbt failed with exit code {result.returncode}, and nothing was promoted:\n{result.output.strip()}"
        )
    return result


def _selector(name: str) -> str:
    """The dbt selector of a model named as ref() takes it, as ``package.model`` or by unique_id."""
    parts = name.split(".")
    if parts[0] == "model" and len(parts) > 2:
        parts = parts[1:]
    has_package = len(parts) > 1 and not (len(parts) == 2 and re.fullmatch(r"v[0-9]+", parts[1]))
    return f"{'.'.join(parts[1:])},package:{parts[0]}" if has_package else name
