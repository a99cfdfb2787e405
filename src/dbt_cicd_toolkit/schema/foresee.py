"""Refuse, before the first statement, an upgrade that what is in the database would stop."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import psycopg2

from dbt_cicd_toolkit.errors import Refused
from dbt_cicd_toolkit.schema.dependents import Dependent, bound_columns, dependents
from dbt_cicd_toolkit.schema.executor import Executor
from dbt_cicd_toolkit.schema.fingerprint import Mark
from dbt_cicd_toolkit.schema.keep import address
from dbt_cicd_toolkit.schema.renames import Names
from dbt_cicd_toolkit.schema.step import Check, Step

# The classes of errors about what is made, or gets its name or type, on the way: they are in the PostgreSQL manual,
# "PostgreSQL Error Codes".
NOT_YET = ("22", "3F", "42")
_DROPS_COLUMN = re.compile(r"\bdrop column\b", re.IGNORECASE)


def refuse(executor: Executor, steps: Sequence[Step], before: Mapping[str, Mark], after: Mapping[str, Mark]) -> None:
    """Ask for rows that break a rule, and for dependents that no release declares and that cannot be made again.

    What an earlier statement of the upgrade makes, or may still change, cannot be asked for yet: that is refused when
    its turn comes, and everything is rolled back.

    Args:
        before, after: the objects of both releases.
    Raises:
        Refused: naming the rows or the dependent. Nothing was done.
    """
    moved, names = False, Names()
    for step in steps:
        if step.check:
            _count(executor, step.check)
            if not moved:
                executor.refuse_rows(step.check, executor.before.get(step.check, 0))
        if step.columns or step.kind == "drop":
            _strangers(executor, step, names, before, after)
        moved = moved or step.kind == "data"
        names.follow(step)


def _count(executor: Executor, check: Check) -> None:
    executor.cursor.execute("savepoint dbt_cicd_foresee")
    try:
        executor.before[check] = executor.count(check)
    except psycopg2.Error as error:
        if not str(error.pgcode).startswith(NOT_YET):
            raise
    finally:
        if not executor.connection.closed:
            executor.cursor.execute("rollback to savepoint dbt_cicd_foresee")


def _strangers(
    executor: Executor, step: Step, names: Names, before: Mapping[str, Mark], after: Mapping[str, Mark]
) -> None:
    connection = executor.connection
    first = names.first(step.object)
    at = address(connection, first) if first else None
    if first is None or at is None:
        return
    columns = names.first_columns(first, step.columns)
    if step.columns and not columns:
        return
    for each in dependents(connection, at, tuple(columns.values())):
        if each.identity in before or each.table in before:
            continue
        gone = step.kind == "drop" and step.object not in after
        bound = bound_columns(connection, each.address, at) & set(columns.values()) if columns else set()
        lost = sorted(bound) if _DROPS_COLUMN.search(step.sql) else []
        if each.create is None or gone or lost:
            raise Refused(_message(each, first, lost))


def _message(each: Dependent, needed: str, lost: Sequence[str]) -> str:
    what = f"column {', '.join(lost)} of {needed}" if lost else needed
    return (
        f"{each.identity} is declared by no release, and it needs {what}, which goes. Nothing was done. Drop it, or "
        "change it, and run again."
    )
