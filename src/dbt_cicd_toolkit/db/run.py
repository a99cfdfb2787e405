"""What every command on a database works with."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from dbt_cicd_toolkit.db.drift import Drift
    from dbt_cicd_toolkit.db.files import Folder
    from dbt_cicd_toolkit.db.history import Applied, History
    from dbt_cicd_toolkit.postgres.session import Session


class Watcher(Protocol):
    """Who is told how a run goes."""

    def begin(self, script: str, number: int, total: int) -> None:
        """File ``number`` of ``total`` (from 1) begins."""

    def end(self) -> None:
        """It was committed."""

    def tell(self, text: str) -> None:
        """Why something takes longer, or a notice of the server."""


class Run:
    """What a run needs: the database with its history, the files, and who watches."""

    def __init__(
        self, session: Session, history: History, folder: Folder, schemas: Sequence[str] | None, watcher: Watcher
    ) -> None:
        self.session = session
        self.history = history
        self.folder = folder
        self.schemas = schemas
        self.watcher = watcher
        self.applied: list[Applied] = []
        self.unfinished: list[str] = []

    @cached_property
    def drift(self) -> Drift:
        """The catalog against its record."""
        from dbt_cicd_toolkit.db.drift import Drift

        return Drift(self.session, self.history, self.schemas, self.watcher.tell)

    def open(self) -> None:
        """Under the lock: make the tables where they are missing and read the history.

        Raises Refused for a database that is in use and has no history, before anything is made.
        """
        if self.history.unused():
            self.drift.refuse_without_baseline()
        self.history.create()
        self.applied = self.history.read()
        self.unfinished = self.history.unfinished()
