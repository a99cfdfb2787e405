"""Warn of migrations that lock or lose: squawk's rules, and those it lacks.

Of squawk's rules these are left out, because they say nothing about how a migration runs here or are a matter of taste:
- require-*-timeout, prefer-robust-stmts, transaction-nesting, ban-concurrent-index-creation-in-transaction: the runner
  sets lock_timeout and tries again, wraps a file in one transaction or keeps a journal of its statements, and chooses
  between the two. Files that it runs in a transaction are told to squawk as such, the others as not.
- prefer-text-field, prefer-bigint-over-*: the guide itself uses VARCHAR and INTEGER.
- In a rollback ban-drop-*, renaming-* and require-concurrent-index-deletion: taking away is what it is for.
require-concurrent-index-creation stays: on a table that is there and large it is right. Nothing is said of statements
that touch only what an earlier statement of the same file has made.

``-- squawk-ignore rule, rule -- reason`` on the line of a finding or the one before ignores it,
``-- squawk-ignore-file rule -- reason`` in the whole file; the reason may also be a comment on the line above. Squawk
reads these comments the same way, and one without a reason is a finding. A project's .squawk.toml is squawk's to read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from dbt_cicd_toolkit.config import Lint
from dbt_cicd_toolkit.db import data_vault, lint_rules, lint_squawk
from dbt_cicd_toolkit.db.files import name_problems
from dbt_cicd_toolkit.db.lint_source import WITHOUT_REASON, Finding, Source

__all__ = ["Finding", "lint"]

NAMING = "naming"
OWN_RULES = (*lint_rules.RULES, *data_vault.RULES, NAMING, WITHOUT_REASON)


def lint(files: Sequence[Path], config: Lint | None = None) -> list[Finding]:
    """What there is to say of migrations and rollbacks, in the order of the files, then of the lines.

    Args:
        files: .sql files; one that ends in _rollback.sql, and is in no folder `migrations`, is a rollback.
        config: rules to leave out, and whether the Data Vault rules are asked for.
    Raises:
        InvalidInput: squawk is not installed, or a file cannot be read.
        Refused: squawk fails.
    """
    config = config or Lint()
    lint_squawk.program()
    sources = [Source(path) for path in files]
    squawk = lint_squawk.run(sources, OWN_RULES)
    findings: list[Finding] = []
    for source in sources:
        found = [*squawk.get(source.path, []), *_own(source, config)]
        kept = [each for each in source.without_ignored(found) if each.rule not in config.exclude]
        findings += sorted(kept, key=lambda each: (each.line, each.column))
    return findings


def _own(source: Source, config: Lint) -> Iterator[Finding]:
    name = source.path.name
    for problem in name_problems(name.removesuffix("_rollback.sql") + ".sql" if source.rollback else name):
        yield source.finding(0, NAMING, f"{name}: {problem}", "Name it V1.2.0__What_it_does.sql.")
    if source.broken:
        yield source.broken
        return
    yield from lint_rules.check(source)
    if config.data_vault:
        yield from data_vault.check(source, config.exempt)
