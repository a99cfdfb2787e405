"""A database in which a transition is worked out: what works is run for good and noted, the rest leaves nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import psycopg2
import psycopg2.extensions as pg
from psycopg2 import errorcodes

from dbt_cicd_toolkit.errors import Refused
from dbt_cicd_toolkit.postgres import catalog
from dbt_cicd_toolkit.postgres.catalog import Selection
from dbt_cicd_toolkit.postgres.session import error_text
from dbt_cicd_toolkit.schema.dependents import Dependent, dependents
from dbt_cicd_toolkit.schema.executor import Executor
from dbt_cicd_toolkit.schema.keep import address
from dbt_cicd_toolkit.schema.objects import MISSING
from dbt_cicd_toolkit.schema.step import Step

_LATER = (
    "\nA new value of an enum can be used from the next release on: make a release that has it, then one that uses it."
)
_PARTITION = "select 1 from pg_catalog.pg_class where oid = %s and relispartition"
_ROWS = "holds rows. Say with deltas what is to become of them: `alter` or `drop` its column, or `update`."
_BOUND = {errorcodes.DEPENDENT_OBJECTS_STILL_EXIST, errorcodes.FEATURE_NOT_SUPPORTED}


class Bench:
    """One transaction on a connection, and the ``steps`` that were run in it.

    Args:
        make_missing: makes what is new and can be made already; called when a step misses something.
    """

    def __init__(self, connection: pg.connection, schemas: Sequence[str], make_missing: Callable[[], object]) -> None:
        self.connection = connection
        self.schemas = tuple(schemas)
        self.cursor = connection.cursor()
        self.steps: list[Step] = []
        self.uncommitted = False  # something was refused because it needs what was not committed yet
        self._executor = Executor(connection, schemas)
        self._make_missing = make_missing

    def attempt(self, step: Step) -> psycopg2.Error | None:
        """Run a step; when the server refuses it, return what it said, and nothing has happened."""
        self.cursor.execute("savepoint dbt_cicd_step")
        try:
            self._executor.run(step)
        except psycopg2.Error as error:
            self.cursor.execute("rollback to savepoint dbt_cicd_step")
            self.uncommitted = self.uncommitted or error.pgcode == errorcodes.UNSAFE_NEW_ENUM_VALUE_USAGE
            return error
        self.cursor.execute("release savepoint dbt_cicd_step")
        self.steps.append(step)
        return None

    def attempt_with_missing(self, step: Step) -> psycopg2.Error | None:
        """attempt(), once more when what it missed may have been made."""
        error = self.attempt(step)
        if error and error.pgcode in MISSING:
            self._make_missing()
            error = self.attempt(step)
        return error

    def can(self, query: str) -> bool:
        """Does the server know how to run a query, here where there are no rows?"""
        self.cursor.execute("savepoint dbt_cicd_step")
        try:
            self.cursor.execute(query)
        except psycopg2.Error:
            return False
        finally:
            self.cursor.execute("rollback to savepoint dbt_cicd_step")
        return True

    def do(self, step: Step, place: str) -> None:
        """Run a step, after what it waits for: what is bound to its object is dropped, what it misses is made.

        Raises Refused, beginning with ``place``, when that does not help.
        """
        if step.columns or step.kind == "drop":  # the executor would take what it finds there for undeclared
            self._unbind(step)
        error = self.attempt_with_missing(step)
        if error and error.pgcode in _BOUND:
            self._unbind(step)
            error = self.attempt(step)
        if error:
            raise Refused(f"{place}: {error_text(error)}\n  in: {step.sql}{later(error)}")

    def _unbind(self, step: Step) -> None:
        """Drop what depends on the object of a step, or on its columns. The sources have all that is to come back, but
        rows: those of a partition may go with the table that a delta drops, no others."""
        at = address(self.connection, step.object)
        for each in dependents(self.connection, at, step.columns) if at else ():
            if each.holds_rows and not (step.kind == "drop" and self._is_partition(each)):
                if step.columns or step.kind == "drop":
                    raise Refused(f"{each.identity} needs {step.object}, which is to go or to change, and it {_ROWS}")
                continue
            self.do(Step(each.drop, "drop", each.identity), each.identity)

    def _is_partition(self, each: Dependent) -> bool:
        self.cursor.execute(_PARTITION, [each.address.objid if each.kind == "table" else None])
        return self.cursor.fetchone() is not None

    def exists(self, key: str) -> bool:
        """Is there an object of this identity?"""
        return address(self.connection, key) is not None

    def describe(self) -> dict[str, str]:
        """catalog.describe() of the managed schemas as they are now."""
        return catalog.describe(self.connection, Selection(schemas=self.schemas))


def later(error: psycopg2.Error) -> str:
    """What to do when a statement needs a value that an enum does not have yet, or has not for good; else nothing."""
    unknown = error.pgcode == errorcodes.INVALID_TEXT_REPRESENTATION and "enum" in str(error).lower()
    return _LATER if unknown or error.pgcode == errorcodes.UNSAFE_NEW_ENUM_VALUE_USAGE else ""
