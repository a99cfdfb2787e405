"""Operations on the ledger, each followed by the mirror: what the macros answer is written below dbt's target path."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from dbt_cicd_toolkit import git
from dbt_cicd_toolkit.dbt_runner import MAX_ARGUMENT, Dbt, Envelope
from dbt_cicd_toolkit.errors import InvalidInput, Refused
from dbt_cicd_toolkit.models import mirror

# Parents before what names them: a pull that is interrupted leaves no deployment without its promotion.
TABLES = (
    "dbt_cicd_versions",
    "dbt_cicd_builds",
    "dbt_cicd_test_results",
    "dbt_cicd_promotions",
    "dbt_cicd_deployments",
)
EVIDENCE = ("dbt_cicd_builds", "dbt_cicd_test_results")
PAGE = 1000


def call(dbt: Dbt, macro: str, arguments: Mapping[str, Any], *, writes: bool = True) -> Envelope:
    """Call a public macro of the package and bring the mirror up to date with what it answers.

    Args:
        dbt: the project.
        macro: for example ``register_version``.
        arguments: its arguments; those that are None are left to the macro's defaults.
        writes: False for a dry run: then no file is touched either.
    Returns:
        the envelope; ``success`` is False for a refused attempt that was recorded.
    Raises:
        Refused, InvalidInput, Differs: as the macro said, see Dbt.run_operation.
    """
    if "DBT_CICD_GIT_COMMIT" not in os.environ:
        os.environ["DBT_CICD_GIT_COMMIT"] = git.head(dbt.project_dir) or ""
    envelope = dbt.run_operation(macro, {key: value for key, value in arguments.items() if value is not None})
    if writes:
        try:
            mirror.write(envelope.documents, dbt.target_path)
            _mend(dbt, envelope)
        except OSError as error:
            # The ledger has it, and the mirror is only a copy: to fail here would deny what was done.
            envelope.warnings.append(f"recorded in the ledger, but its JSON files could not be written: {error}")
    return envelope


def _mend(dbt: Dbt, envelope: Envelope) -> None:
    """Write again what is missing, torn or older than the ledger, as after a kill or ``dbt clean``."""
    stale = mirror.stale(envelope.mirror, dbt.target_path)
    if not stale:
        return
    names = [path.removeprefix("versions/").removesuffix(".json") for path in stale if path.startswith("versions/")]
    fits = names and len(names) < PAGE
    fresh = dbt.run_operation("export_state", {"models": names} if fits else {})
    mirror.write(fresh.documents, dbt.target_path)


def pull(source: Dbt, destination: Dbt, *, evidence_since: str | None = None, dry_run: bool = False) -> dict[str, int]:
    """Copy the rows of one ledger into another that cannot see it; rows that are there already stay as they are.

    Args:
        source, destination: the same project with two targets.
        evidence_since: leave out evidence recorded before this UTC time, ``YYYY-MM-DD HH:MM:SS``.
        dry_run: count only.
    Returns:
        rows copied, by table.
    Raises:
        Differs: both ledgers registered one version with different code; then nothing was copied.
    """
    if not dry_run:
        for rows in _pages(source, "dbt_cicd_versions", None, destination):
            destination.run_operation("import_ledger_rows", {"tables": {"dbt_cicd_versions": rows}, "dry_run": True})
    copied = dict.fromkeys(TABLES, 0)
    for table in TABLES:
        for rows in _pages(source, table, evidence_since if table in EVIDENCE else None, destination):
            answer = destination.run_operation("import_ledger_rows", {"tables": {table: rows}, "dry_run": dry_run})
            for name, count in answer.value["inserted"].items():
                copied[name] += int(count)
    if not dry_run and any(copied.values()):
        call(destination, "export_state", {})
    return copied


def _pages(source: Dbt, table: str, since: str | None, destination: Dbt) -> Iterator[list[dict[str, Any]]]:
    """The rows of a table, in parts that ``destination`` can take: where dbt is a process, an argument is limited."""
    after: dict[str, str] | None = None
    while True:
        page = source.run_operation("ledger_rows", {"table": table, "after": after, "limit": PAGE, "since": since})
        part: list[dict[str, Any]] = []
        size = 0
        for row in page.value["rows"]:
            # The longest form a character takes on the command line is \UXXXXXXXX.
            length = sum(10 if ord(character) > 126 else 1 for character in json.dumps(row, ensure_ascii=False)) + 2
            if length > MAX_ARGUMENT - 1024 and not destination.engine.in_process:
                raise Refused(
                    f"row {row['id']} of {table} is too long for a command line: pull with dbt Core installed."
                )
            if part and size + length > MAX_ARGUMENT - 1024 and not destination.engine.in_process:
                yield part
                part, size = [], 0
            part.append(row)
            size += length
        if part:
            yield part
        after = page.value["next"]
        if after is None:
            return


def names(text: str | None) -> list[str] | None:
    """Split a comma-separated list of models; None for None. Raises InvalidInput when it names nothing."""
    if text is None:
        return None
    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found:
        raise InvalidInput("--models is empty. Name at least one model, for example --models customers,orders.")
    return found
