"""The folder ``database`` of a project: where its files lie."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple


class Layout(NamedTuple):
    """The folder ``database``, wherever it lies."""

    directory: Path

    @staticmethod
    def find(start: Path, given: Path | None = None) -> Layout:
        """The folder ``given`` (--dir), else ``database``; seen from ``start``."""
        return Layout(start / (given or "database"))

    @property
    def name(self) -> str:
        """The folder's own name, seen from the project's folder."""
        return Path(os.path.abspath(self.directory)).name  # noqa: PTH100 - resolve() would follow links

    @property
    def root(self) -> Path:
        """The project's folder, in which ``.env`` and ``.local`` lie."""
        if self.directory.name in ("", ".."):
            return Path(os.path.abspath(self.directory)).parent  # noqa: PTH100
        return self.directory.parent

    @property
    def migrations(self) -> Path:
        """Forward migrations."""
        return self.directory / "migrations"

    @property
    def rollback(self) -> Path:
        """Their rollbacks."""
        return self.directory / "rollback"

    @property
    def snapshots(self) -> Path:
        """The schema at each version."""
        return self.directory / "schema_snapshots"

    @property
    def version_control(self) -> Path:
        """The guide, the history's DDL, the proofs of rollbacks."""
        return self.directory / "version_control"

    @property
    def config_file(self) -> Path:
        """db_config.yaml."""
        return self.directory / "config" / "db_config.yaml"

    @property
    def tools(self) -> Path:
        """The programs that run `dbt-cicd db` for this folder."""
        return self.directory / "tools"
