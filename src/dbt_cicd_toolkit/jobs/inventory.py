"""Which jobs and versions there are, and what state each is in."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from dbt_cicd_toolkit.jobs import manifest
from dbt_cicd_toolkit.jobs.manifest import Manifest
from dbt_cicd_toolkit.jobs.named import named
from dbt_cicd_toolkit.jobs.number import Number
from dbt_cicd_toolkit.jobs.project import SETTINGS, Project
from dbt_cicd_toolkit.jobs.settings import Settings
from dbt_cicd_toolkit.jobs.source import Job
from dbt_cicd_toolkit.jobs.trees import Tree

State = Literal["open", "frozen", "deprecated", "removed"]


@dataclass(frozen=True)
class Item:
    """A version of a job.

    Attributes:
        state: open: in no release yet; frozen; deprecated: frozen, and nobody should use it after ``date``; removed.
        date: of the release, the last day of a deprecated one, the day it was removed; None for an open one.
        reads, writes, requires: None when the job does not say.
        where: its class, 'dwh/jobs/v0_1_0/my_job.py:4'; the file alone for one that is frozen.
    """

    job: str
    version: Number
    state: State
    date: str | None
    class_name: str
    reads: tuple[str, ...] | None
    writes: tuple[str, ...] | None
    requires: tuple[str, ...] | None
    where: str

    @property
    def name(self) -> str:
        """'my_job 0.1.0'."""
        return f"{self.job} {self.version}"

    @property
    def module(self) -> str:
        """'dwh.jobs.v0_1_0.my_job'."""
        return self.where.partition(":")[0].removesuffix(".py").replace("/", ".")

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"version": str(self.version)}


def inventory(project: Project) -> dict[tuple[str, Number], Item]:
    """Every version of every job, by name and version. Raises InvalidInput for an open job that cannot be read."""
    return dict(sorted((released(project, project.manifests(), project.settings) | open_items(project)).items()))


def released(
    project: Project, manifests: Mapping[Number, Manifest], settings: Settings
) -> dict[tuple[str, Number], Item]:
    """The versions that these releases made, and what these settings say of them, by name and version."""
    until = {(each.job, each.version): each.until.isoformat() for each in settings.deprecations}
    removed = {(each.job, each.version): each.date.isoformat() for each in settings.removals}
    found = {}
    for version, release in manifests.items():
        for job, entry in release.jobs.items():
            key = (job, version)
            state: State = "removed" if key in removed else "deprecated" if key in until else "frozen"
            date = removed.get(key) or until.get(key) or release.date
            where = project.path(project.folder(version) / f"{job}.py")
            said = (entry.class_name, entry.reads, entry.writes, entry.requires)
            found[key] = Item(job, version, state, date, *said, where)
    return dict(sorted(found.items()))


def open_items(project: Project) -> dict[tuple[str, Number], Item]:
    """The jobs of the open folder. Raises InvalidInput."""
    version = project.open()
    if version is None:
        return {}
    return {(job.name, version): open_item(job, version) for job in project.read(version)}


def open_item(job: Job, version: Number) -> Item:
    """A job of the open folder."""
    where = f"{job.path}:{job.line}"
    return Item(job.name, version, "open", None, job.class_name, job.reads, job.writes, job.requires, where)


def of_tree(project: Project, tree: Tree) -> dict[tuple[str, Number], Item]:
    """Every version that a branch, or the working tree, has. What is in no release there is open, and not read."""
    names = [path for path in tree.below([project.path(project.releases)]) if path.endswith(".json")]
    tree.load([SETTINGS, *names])
    manifests = (manifest.parse(tree.read(path) or b"", tree.where(path)) for path in names)
    settings = Settings.parse(tree.read(SETTINGS) or b"", tree.where(SETTINGS))
    found = released(project, {each.version: each for each in manifests}, settings)
    for path in tree.below([project.path(project.jobs)]):
        module = path.removesuffix(".py").replace("/", ".")
        there = named(module, project.package)
        if there and there.job and path.endswith(".py") and module == project.module(there.version, there.job):
            key = (there.job, there.version)
            found.setdefault(key, Item(*key, "open", None, "", None, None, None, path))
    return found


def today() -> datetime.date:
    """The day, UTC, so that two machines agree."""
    return datetime.datetime.now(datetime.timezone.utc).date()
