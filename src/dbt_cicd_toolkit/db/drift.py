"""Drift: objects that differ from what the last run recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import psycopg2

from dbt_cicd_toolkit.db.history import History
from dbt_cicd_toolkit.db.selected import selection
from dbt_cicd_toolkit.errors import Differs, Refused
from dbt_cicd_toolkit.postgres import catalog
from dbt_cicd_toolkit.postgres.session import ServerError, Session, Tell

if TYPE_CHECKING:
    from dbt_cicd_toolkit.postgres.catalog import Change, Selection


class Drift:
    """The catalog of one database against its record. ``schemas`` limits it; None: all but those that dbt builds."""

    def __init__(self, session: Session, history: History, schemas: Sequence[str] | None, tell: Tell) -> None:
        self.session = session
        self.history = history
        self.schemas = schemas
        self.tell = tell

    @property
    def selection(self) -> Selection:
        """What counts at this moment: a migration may have put something of its own beside what dbt builds."""
        return selection(self.session, self.history, self.schemas)

    def changes(self) -> list[Change] | None:
        """What differs from the record; None when there is no record that can be compared, of which ``tell`` hears."""
        recorded = self.history.recorded_catalog()
        if recorded is None:
            return None
        state, objects = recorded
        if unfinished := self.history.unfinished():
            self.tell(f"{unfinished[0]} was begun and not finished: until it is, drift cannot be told apart from it")
            return None
        if state != self.history.state():
            self.tell("the last run ended before it could record the catalog: drift since then cannot be told apart")
            return None
        return catalog.difference(objects, self._fingerprint())

    def _fingerprint(self) -> dict[str, str]:
        try:
            return catalog.fingerprint(self.session.connection, self.selection)
        except psycopg2.Error as error:
            self.session.raise_if_lost(error)
            raise ServerError(error) from error

    def refuse(self) -> None:
        """Raises Differs naming every object that has drifted."""
        changes = self.changes()
        if changes:
            lines = "".join(f"\n  - {change.kind}: {change.identity}" for change in changes)
            raise Differs(
                f"the database has drifted from what the last run recorded, {len(changes)} objects:{lines}\nPut it "
                "back, or write the change as a migration; or accept it as it is: dbt-cicd db repair --drift."
            )

    def record(self) -> str:
        """SQL: the catalog as it is now, as this transaction sees it."""
        return self.history.record_catalog(self._fingerprint())

    def refuse_flyway(self) -> None:
        """Raises Refused for a database that holds a history of Flyway's, unless that is ours."""
        for schema, name in self.session.execute(
            "select n.nspname, c.relname from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = "
            "relnamespace where c.relname = 'flyway_schema_history' and c.relkind = 'r'"
        ):
            if (schema, name) == (self.history.schema, self.history.table):
                continue
            raise Refused(
                f"the database has a history of Flyway, {schema}.{name}. Take it over: `dbt-cicd db baseline "
                f"--from-flyway {schema}.{name}`; and do not run both."
            )

    def refuse_without_baseline(self) -> None:
        """Like Flyway: do not begin at the first migration in a database that is already in use. Raises Refused."""
        self.refuse_flyway()
        chosen = self.selection
        tables = [
            f"{schema}.{name}"
            for schema, name in self.session.execute(
                "select n.nspname, c.relname from pg_catalog.pg_class c join pg_catalog.pg_namespace n "
                "on n.oid = c.relnamespace where c.relkind in ('r', 'p') and n.nspname !~ '^pg_' "
                "and n.nspname <> 'information_schema' and not exists (select from pg_catalog.pg_depend "
                "where classid = 'pg_catalog.pg_class'::regclass and objid = c.oid and deptype = 'e') order by 1, 2"
            )
            if _counts(chosen, schema, name)
        ]
        if tables:
            raise Refused(
                f"the database has no history, and {len(tables)} tables, {tables[0]} for one. "
                "Say which migration they stand for: `dbt-cicd db baseline 1.0.0`; or, to apply all of them, "
                "`dbt-cicd db baseline 0`."
            )


def _counts(chosen: Selection, schema: str, name: str) -> bool:
    return (
        (chosen.schemas is None or schema in chosen.schemas)
        and schema not in chosen.excluded_schemas
        and f"{schema}.{name}" not in chosen.excluded_relations
    )
