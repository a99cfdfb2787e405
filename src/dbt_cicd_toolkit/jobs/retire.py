"""The end of a version of a job: deprecated until a day, then removed, when nobody uses it any more."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbt_cicd_toolkit.errors import Differs, InvalidInput, Refused
from dbt_cicd_toolkit.jobs import frozen, pins, settings, shared, state
from dbt_cicd_toolkit.jobs.inventory import Item, inventory, today
from dbt_cicd_toolkit.jobs.manifest import content_hash
from dbt_cicd_toolkit.jobs.number import Number
from dbt_cicd_toolkit.jobs.project import SETTINGS, Project, nearest
from dbt_cicd_toolkit.jobs.reach import modules
from dbt_cicd_toolkit.jobs.references import Reference, Uses
from dbt_cicd_toolkit.jobs.trees import working_tree
from dbt_cicd_toolkit.jobs.writer import exclusive

if TYPE_CHECKING:
    from dbt_cicd_toolkit.dbt_runner import Dbt


@dataclass(frozen=True)
class Removed:
    """What `job remove` deletes: paths, and what it could not ask."""

    job: str
    version: Number
    files: Sequence[str]
    warnings: Sequence[str] = field(default=())

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "job": self.job,
            "version": str(self.version),
            "files": list(self.files),
            "warnings": list(self.warnings),
        }


def item_of(project: Project, job: str, version: Number) -> Item:
    """A version of a job. Raises InvalidInput, with the nearest names, for an unknown one."""
    items = inventory(project)
    if (job, version) in items:
        return items[job, version]
    versions = [str(each) for name, each in items if name == job]
    if not versions:
        raise InvalidInput(f"there is no job {job}. {nearest(job, sorted({name for name, _ in items}))}")
    raise InvalidInput(f"there is no {job} {version}. {nearest(str(version), versions)}")


def _released(project: Project, job: str, version: Number) -> Item:
    item = item_of(project, job, version)
    if item.state == "open":
        raise Refused(f"{item.name} is in no release yet, so nobody may use it: change it, or delete {item.where}.")
    return item


def deprecate(project: Project, job: str, version: Number, until: datetime.date, *, dry_run: bool = False) -> bool:
    """Record in jobs.toml until when a version may be used; a later call moves the day.

    Returns:
        whether that changes anything.
    Raises:
        InvalidInput: an unknown version. Refused: one that is not released, or was removed.
    """
    with exclusive(project, dry_run=dry_run) as writer:
        item = _released(project, job, version)
        if item.state == "removed":
            raise Refused(f"{item.name} was removed on {item.date}.")
        if item.state == "deprecated" and item.date == until.isoformat():
            return False
        if not dry_run:
            values = {"job": job, "version": version, "until": until}
            text = settings.with_entry(project.root / SETTINGS, "deprecations", values, ("job", "version"))
            writer.write(f"deprecation of {item.name}", {SETTINGS: text})
        return True


def accept(project: Project, module: str, reason: str, *, dry_run: bool = False) -> str:
    """Record in jobs.toml that a shared module may be as it is now under the frozen versions that reach it.

    Returns:
        the hash that is accepted from now on.
    Raises:
        InvalidInput: no reason, or a module that no release reaches.
    """
    if not reason.strip():
        raise InvalidInput("--reason is empty: say why the change does no harm to the frozen versions.")
    with exclusive(project, dry_run=dry_run) as writer:
        hash = _accepted(project, module)
        if not dry_run:
            values = {"module": module, "hash": hash, "reason": reason.strip()}
            text = settings.with_entry(project.root / SETTINGS, "accepted", values, ("module",))
            writer.write(f"acceptance of {module}", {SETTINGS: text})
    return hash


def _accepted(project: Project, module: str) -> str:
    found = modules(project, working_tree(project))
    recorded, _ = frozen.releases(project)
    known = {name for release in recorded.values() for name in release.manifest.shared}
    for version in recorded:
        files = [project.path(path) for path in project.files(version)]
        known |= {found.module(path) for path in shared.paths(found, files)}
    if found.broken:
        raise InvalidInput("\n".join(found.broken.values()))
    if module not in known:
        said = nearest(module, sorted(known)) if known else "None reaches any."
        raise InvalidInput(f"no frozen version reaches a module {module}. {said}")
    path = found.path(module)
    return content_hash(found.tree.read(path) or b"") if path else shared.GONE


def remove(
    project: Project,
    job: str,
    version: Number,
    dbt: Dbt | None = None,
    *,
    despite_unknown: bool = False,
    dry_run: bool = False,
) -> Removed:
    """Delete the files of a version that nobody uses any more, and record it in jobs.toml. The user commits.

    Args:
        dbt: the project whose ledger is asked for who has it; None: none is asked.
        despite_unknown: remove it though some imports cannot be read.
        dry_run: say what would be deleted.
    Raises:
        InvalidInput: an unknown version, or files that are no Python.
        Refused: it is in use, by what and where; or not deprecated, or not long enough.
        Differs: its files are not those of the release.
    """
    with exclusive(project, dry_run=dry_run) as writer:
        state.refuse_hidden(project)
        item = _released(project, job, version)
        files = _files(project, job, version)
        if item.state == "removed" and not files:
            raise Refused(f"{item.name} was removed on {item.date}.")
        changes: dict[str, bytes | None] = dict.fromkeys(files)
        if item.state != "removed":
            _refuse_changed(project, job, version, files)
            _refuse_used(project, item, files, dbt, despite_unknown)
            values = {"job": job, "version": version, "date": today()}
            changes[SETTINGS] = settings.with_entry(project.root / SETTINGS, "removals", values, ("job", "version"))
        if not dry_run:
            writer.write(f"removal of {item.name}", changes)
            _delete_empty(project.folder(version))
    warning = "no dbt project was found, so no ledger was asked." if dbt is None else None
    return Removed(job, version, files, [warning] if warning else [])


def _files(project: Project, job: str, version: Number) -> list[str]:
    """The job's own files, or all of the folder when no other job of it is left."""
    folder = project.folder(version)
    others = [path for path in project.jobs_of(version) if path.stem != job]
    own = [path for path in project.files(version) if path.parent == folder and path.name.partition(".")[0] == job]
    return [project.path(path) for path in (own if others else project.files(version))]


def _delete_empty(folder: Path) -> None:
    """A folder that has only what Python left there is none any more."""
    import shutil

    left = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    if folder.is_dir() and not left:
        shutil.rmtree(folder)


def _refuse_changed(project: Project, job: str, version: Number, files: Sequence[str]) -> None:
    recorded, _ = frozen.releases(project)
    there = frozen.folders(project, working_tree(project), {version: recorded[version]})
    ours = [each.message for each in there if any(each.message.startswith(f"{path} ") for path in files)]
    if ours:
        raise Differs("\n".join(ours))


def _early(item: Item) -> str | None:
    """Why the day has not come."""
    if item.state != "deprecated":
        return (
            f"{item.name} is not deprecated: its users were not told. Say until when it may be used: "
            f"dbt-cicd job deprecate {item.job} {item.version} --until DATE."
        )
    if today() <= datetime.date.fromisoformat(str(item.date)):
        return f"{item.name} may be used until {item.date}: it can be removed after that day."
    return None


def _refuse_used(project: Project, item: Item, own: Sequence[str], dbt: Dbt | None, despite_unknown: bool) -> None:
    """All reasons at once."""
    uses = Uses(project)
    found = [each for each in uses.everywhere(item.version) if each.path not in own]
    found += _in_ledger(dbt, item) if dbt else []
    if uses.broken:
        raise InvalidInput("\n".join(uses.broken))
    reasons = [early] if (early := _early(item)) else []
    used = [each.said() for each in found if _is_use(project, each, item)] + uses.missing()
    if used:
        move = f"Move each: dbt-cicd job upgrade {item.job} {item.version} VERSION, on its branch."
        reasons.append("\n".join([f"{item.name} is in use:", *(f"  {each}" for each in used), move]))
    unknown = [f"{each.said()}: {each.text}" for each in found if each.how == "unknown"]
    if unknown and not despite_unknown:
        why = f"{item.name} may be in use: what these mean cannot be read without running it."
        move = "Import by a literal name, or say that none of them means it: --despite-unknown."
        reasons.append("\n".join([why, *(f"  {each}" for each in unknown), move]))
    if reasons:
        raise Refused("\n".join(reasons))


def _is_use(project: Project, reference: Reference, item: Item) -> bool:
    if reference.is_of(item.job, item.version):
        return True
    # A pin that no lock knows yet leads to the highest version that fits.
    if reference.how != "resolve" or reference.version or reference.job != item.job or reference.text is None:
        return False
    try:
        fitting = [each for each in project.versions_of(item.job) if pins.fits(reference.text, str(each))]
    except InvalidInput:
        return False
    return bool(fitting) and max(fitting) == item.version


def _in_ledger(dbt: Dbt, item: Item) -> list[Reference]:
    from dbt_cicd_toolkit.jobs.deploy import deployed

    return [
        Reference("ledger", each.job, each.version, "", 0, each.environment, text=each.since)
        for each in deployed(dbt)
        if each.live and each.job == item.job and each.version == item.version
    ]
