"""Squawk (squawk-cli on PyPI), run on files, and which of its rules are worth a word here; lint.py says why."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from dbt_cicd_toolkit.db.lint_source import SYNTAX_ERROR, Finding, Source
from dbt_cicd_toolkit.errors import InvalidInput, Refused
from dbt_cicd_toolkit.postgres.statements import reason_to_run_singly

# The runner's work: a lock_timeout for all, a transaction or a journal, the choice between the two.
_RUNNER = {
    "require-timeout-settings",
    "require-lock-timeout",
    "require-statement-timeout",
    "prefer-robust-stmts",
    "transaction-nesting",
    "ban-uncommitted-transaction",
    "ban-concurrent-index-creation-in-transaction",
}
# Taste in types. PostgreSQL lengthens a varchar without touching the table, and the guide uses VARCHAR and INTEGER.
_TASTE = {"prefer-text-field", "prefer-bigint-over-int", "prefer-bigint-over-smallint"}
# A rollback takes away what its migration gave. What that loses, `rollback` counts and `verify` proves.
_ROLLBACK = re.compile("ban-drop-(?!not-null)|renaming-|require-concurrent-index-deletion")
_ARGUMENT_BYTES = 100_000  # Linux takes 2 MB of arguments in all, macOS 1 MB


def program() -> Path:
    """Squawk, beside this Python or on the PATH. Raises InvalidInput when there is none."""
    beside = Path(sys.executable).with_name("squawk")
    found = str(beside) if beside.is_file() else shutil.which("squawk")
    if not found:
        raise InvalidInput("lint needs squawk, which is not installed: pip install 'dbt_cicd_toolkit[lint]'.")
    return Path(found)


def run(sources: Iterable[Source], own_rules: Iterable[str]) -> dict[Path, list[Finding]]:
    """What squawk finds in files, by file.

    Args:
        own_rules: rules that squawk does not know and may be told to ignore.
    Raises:
        InvalidInput: squawk is not installed.
        Refused: it fails.
    """
    squawk = str(program())
    own = frozenset(own_rules)
    found: dict[Path, list[Finding]] = {}
    plain: dict[bool, list[Source]] = {True: [], False: []}
    for source in sources:
        if source.script is None:
            continue
        together = reason_to_run_singly(source.script) is None
        if source.has_data or not str(source.path).isprintable():
            # Squawk does not know the rows of COPY, and a name that is no text does not come back in its JSON.
            reported = _squawk(squawk, together, ["--stdin-filepath", "stdin.sql"], source.sql)
            found[source.path] = _findings(source, reported, own)
        else:
            plain[together].append(source)
    for together, group in plain.items():
        by_path = {str(source.path.absolute()): source for source in group}
        reported = []
        for paths in _batches(by_path):
            reported += _squawk(squawk, together, [_literal(path) for path in paths])
        by_file: dict[str, list[dict[str, Any]]] = {}
        for each in reported:
            by_file.setdefault(each["file"], []).append(each)
        found.update({source.path: _findings(source, by_file.get(path, []), own) for path, source in by_path.items()})
    return found


def _batches(paths: Iterable[str]) -> Iterable[Sequence[str]]:
    batch: list[str] = []
    size = 0
    for path in paths:
        length = len(os.fsencode(path))
        if batch and size + length > _ARGUMENT_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(path)
        size += length
    if batch:
        yield batch


def _literal(path: str) -> str:
    """A path as squawk's pattern for it: in brackets, *, ? and [ are themselves. An absolute one is no option."""
    return re.sub(r"[*?\[]", r"[\g<0>]", path)


def _squawk(squawk: str, together: bool, arguments: Sequence[str], text: str | None = None) -> list[dict[str, Any]]:
    wrapped = "--assume-in-transaction" if together else "--no-assume-in-transaction"
    done = subprocess.run(
        [squawk, "--reporter", "json", wrapped, *arguments],
        input=None if text is None else text.encode(),
        stdin=subprocess.DEVNULL if text is None else None,
        capture_output=True,
    )
    try:
        reported = json.loads(done.stdout)
        if done.returncode in (0, 1) and isinstance(reported, list):
            return reported
    except ValueError:
        pass
    told = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
    raise Refused(f"{squawk} failed with exit code {done.returncode}: {told or 'it said nothing'}")


def _findings(source: Source, reported: Iterable[dict[str, Any]], own: frozenset[str]) -> list[Finding]:
    lines = source.sql.split("\n")
    findings = []
    for each in reported:
        rule, row = str(each["rule_name"]), int(each["line"])
        before = lines[row].encode()[
            : max(0, int(each["column"]) - 3 * (source.bom and not source.has_data and row == 0))
        ]
        line, column = row + 1, len(before.decode("utf-8", "ignore")) + 1
        message, level = str(each["message"]), str(each["level"]).lower()
        if rule == SYNTAX_ERROR or not _is_idle(source, rule, message, line, column, own):
            findings.append(Finding(source.path, line, column, rule, level, message, each.get("help")))
    return findings


def _is_idle(source: Source, rule: str, message: str, line: int, column: int, own: frozenset[str]) -> bool:
    """Whether a rule says nothing here that anyone should act on."""
    if rule in _RUNNER or rule in _TASTE or (source.rollback and _ROLLBACK.match(rule)):
        return True
    if rule == "unused-ignore":
        return message.removeprefix("unknown name ") in own
    step = source.step_at(line, column)
    return step is not None and step.fresh
