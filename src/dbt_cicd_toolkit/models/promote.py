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
        warnings: what went wrong beside it, such as a mirror that could not be written.
    """

    plan: dict[str, Any]
    message: str | None
    tests: dict[str, int] | None
    warnings: list[str]

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
    if not wanted and select:
        given = " ".join(select)
        raise InvalidInput(f"--select {given} names no model. See also: dbt ls --resource-type model --select {given}")
    if not wanted:
        raise InvalidInput("no model is named. Say --models customers,orders, or --select with a dbt selector.")
    run = _run(dbt, wanted, build=build, skip_tests=skip_tests)
    arguments = {
        "target_environment": environment,
        "models": wanted,
        "require_tests": not skip_tests,
        "update_state": not dry_run,
        "approved_by": approved_by,
        "description": description,
        "failures": _failures(run.results) if run else {},
    }
    envelope = ledger.call(dbt, "promote_to_environment", arguments, writes=not dry_run)
    tests = Counter(str(row["status"]).lower() for row in run.results if _is_test(row)) if run else None
    return Promotion(envelope.value, envelope.message, dict(tests) if tests is not None else None, envelope.warnings)


def _failures(results: Sequence[dict[str, Any]]) -> dict[str, str]:
    """What failed, with the beginning of each message: all of it travels in one command-line argument."""
    failed = [row for row in results if not _is_green(row)]
    length = min(300, 20_000 // max(1, len(failed)))
    return {row["unique_id"]: " ".join(str(row["message"] or "").split())[:length] for row in failed}


def _is_green(row: dict[str, Any]) -> bool:
    return str(row["status"]).lower() in _GREEN


def _is_test(row: dict[str, Any]) -> bool:
    return str(row["unique_id"]).split(".")[0] in ("test", "unit_test")


def _run(dbt: Dbt, models: Sequence[str], *, build: bool, skip_tests: bool) -> DbtResult | None:
    """Build and test in one dbt command; the package's hook records it. None when there is nothing to run."""
    if skip_tests and not build:
        return None
    selectors = _selectors(dbt, [name for name in models if _SELECTABLE.fullmatch(name)])
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


def _selectors(dbt: Dbt, names: Sequence[str]) -> list[str]:
    """The dbt selectors of models named as ref() takes them, as ``package.model`` or by unique_id."""
    ids: set[str] = set()
    if any("." in name for name in names):
        # Only the project tells whether a.b is version b of the model a, or the model b of the package a.
        ids = {unique_id.removeprefix("model.") for unique_id in dbt.list_models()}
    selectors = []
    for name in names:
        full = name.removeprefix("model.")
        package, _, rest = full.partition(".")
        has_package = any(known == full or known.startswith(f"{full}.") for known in ids) if rest else False
        selectors.append(f"{rest},package:{package}" if has_package else name)
    return selectors
