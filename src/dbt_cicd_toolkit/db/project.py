"""One project: its folder, its config file, the server it works on. Every command begins here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from dbt_cicd_toolkit import config
from dbt_cicd_toolkit.config import Config
from dbt_cicd_toolkit.db import files
from dbt_cicd_toolkit.db.places import Layout
from dbt_cicd_toolkit.errors import Refused
from dbt_cicd_toolkit.postgres import settings
from dbt_cicd_toolkit.postgres.settings import Settings

if TYPE_CHECKING:
    from dbt_cicd_toolkit.db.run import Run, Watcher
    from dbt_cicd_toolkit.postgres.session import Session, Tell


class Project:
    """A folder ``database`` and the options of one command.

    Attributes:
        layout: the folder.
        options: connection settings by libpq's keyword, and ``url``; None where not given.
        role: run everything as this role; else the config file's.
        embedded: use the project's own PostgreSQL, whatever else is set.
    """

    def __init__(
        self, layout: Layout, options: Mapping[str, str | None], role: str | None = None, embedded: bool = False
    ) -> None:
        self.layout = layout
        self.options = options
        self.role = role
        self.embedded = embedded

    @property
    def root(self) -> Path:
        """The repository's folder: where ``.env`` and ``.local`` lie."""
        return self.layout.root

    @cached_property
    def config(self) -> Config:
        """The config file. Raises InvalidInput."""
        return config.load(self.layout.config_file)

    @cached_property
    def settings(self) -> Settings:
        """Where to connect to; starts the embedded server when that is it.

        The config file's ``embedded`` holds unless a host is set anywhere else: CI sets DB_HOST.
        """
        found = settings.resolve(
            self.options,
            directory=self.root,
            config=self.config.connection,
            config_name=str(self.layout.config_file),
        )
        elsewhere = found.values["host"].source != "default"
        if self.config.embedded and not (self.embedded or elsewhere) and os.environ.get("DB_PASSWORD"):
            raise Refused(
                f"DB_PASSWORD is set and no host is, while {self.layout.config_file} says `embedded: true`: set "
                "DB_HOST to reach a server, or say --embedded to use the project's own."
            )
        if self.embedded or (self.config.embedded and not elsewhere):
            from dbt_cicd_toolkit.postgres import own_server

            return own_server.database(self.root, found.values["dbname"].value)
        return found

    @cached_property
    def folder(self) -> files.Folder:
        """The migrations and rollbacks. Raises InvalidInput."""
        return files.read(self.layout.migrations, self.layout.rollback)

    def connect(self, purpose: str, wait: float | None = None) -> Session:
        """A session on the database, see postgres.session.connect()."""
        from dbt_cicd_toolkit.postgres.session import connect

        _ = self.folder  # one that is missing or wrong is told before a stranger's database is asked
        return connect(
            self.settings,
            f"db {purpose}",
            role=self.role or self.config.role,
            lock_timeout=self.config.lock_timeout,
            wait=self.config.wait if wait is None else wait,
        )

    def run(self, session: Session, watcher: Watcher) -> Run:
        """What a command needs to read or change the history."""
        from dbt_cicd_toolkit.db.history import History
        from dbt_cicd_toolkit.db.run import Run

        def commit() -> str | None:
            here = self.root.resolve()
            if "GIT_DIR" not in os.environ and not any(_has_git(above) for above in (here, *here.parents)):
                return None  # looking takes less than asking git
            from dbt_cicd_toolkit import git

            return git.head(self.root)

        history = History(session, self.config.history_schema, self.config.history_table, commit)
        return Run(session, history, self.folder, self.config.schemas, watcher)


def _has_git(folder: Path) -> bool:
    """As far as we may look: what we may not see is no reason to stop."""
    return os.path.exists(folder / ".git")  # noqa: PTH110


class Silent:
    """A Watcher that passes on what is told, and nothing else."""

    def __init__(self, tell: Tell) -> None:
        self.tell = tell

    def begin(self, script: str, number: int, total: int) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""
