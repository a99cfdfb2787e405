"""jobs.lock: which version each pin of a DAG leads to, by environment. It changes only here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dbt_cicd_toolkit.errors import InvalidInput
from dbt_cicd_toolkit.jobs import manifest, pins, resolver
from dbt_cicd_toolkit.jobs.nearest import meant
from dbt_cicd_toolkit.jobs.number import Number
from dbt_cicd_toolkit.jobs.project import Project
from dbt_cicd_toolkit.jobs.references import Reference, Uses
from dbt_cicd_toolkit.jobs.trees import Place, Tree
from dbt_cicd_toolkit.jobs.writer import exclusive


@dataclass(frozen=True)
class Change:
    """A pin that leads elsewhere; ``old`` is None for a new one, ``new`` for one that nobody uses any more."""

    environment: str
    job: str
    pin: str
    old: str | None
    new: str | None


@dataclass(frozen=True)
class Plan:
    """What `job lock` does: the lock as it will be, what that changes, and what is to be said about it."""

    environments: resolver.Environments
    changes: list[Change] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {"changes": [vars(change) for change in self.changes], "warnings": self.warnings}


def read(project: Project) -> resolver.Environments:
    """The lock of the working tree; empty where there is none. Raises Differs for a damaged one."""
    path = project.lock_file
    return resolver.parse(path.read_bytes(), project.path(path)) if path.exists() else {}


def lock(project: Project, upgrade: str | None = None, *, upgrade_all: bool = False, dry_run: bool = False) -> Plan:
    """Bring jobs.lock in line with the DAGs: lock new pins to the highest release that fits, drop those of nobody.

    Args:
        upgrade: move the pins of this job to the highest release, too; upgrade_all: those of every job.
        dry_run: say what would change.
    Raises:
        InvalidInput: with file and line of every pin that is none, is not literal, or that no release fits.
        Differs: the lock, or a manifest, is damaged.
    """
    found = plan(project, upgrade, upgrade_all=upgrade_all)
    text = resolver.text(found.environments)
    path = project.lock_file
    if not dry_run and (not path.exists() or path.read_text(encoding="utf-8") != text):
        with exclusive(project) as writer:
            writer.write("lock of the pins", {project.path(path): text.encode("utf-8")})
    return found


def plan(project: Project, upgrade: str | None = None, *, upgrade_all: bool = False) -> Plan:
    """The same, without writing."""
    if not project.settings.environments:
        raise InvalidInput(
            "jobs.toml has no environment, and a lock holds what each of them runs. Add one: [environments.production]"
        )
    uses = Uses(project)
    references = _pins(uses)
    if upgrade is not None and upgrade not in (known := sorted({each.job for _, each in references if each.job})):
        raise InvalidInput(f"no DAG resolves a job '{upgrade}'. {meant(upgrade, known, 'None resolves any.')}")
    kept = _Kept(read(project), upgrade, upgrade_all)
    releases = _Releases(project)
    environments: resolver.Environments = {}
    problems, warnings = [*uses.missing(), *uses.broken], []
    for tree, each in references:
        where = tree.where(each.where)
        try:
            job, pin, environment = _literal(each, where, project)
            version = kept.version(each, where, releases.of(tree, job, where))
        except InvalidInput as error:
            problems.append(str(error))
            continue
        environments.setdefault(environment, {}).setdefault(job, {})[pin] = version
        if said := pins.warning(pin):
            warnings.append(f"{where}: {said}")
    if problems:
        raise InvalidInput("\n".join(dict.fromkeys(problems)))
    warnings = [*dict.fromkeys(warnings), *_deprecated(project, environments)]
    return Plan(environments, _changes(kept.old, environments), warnings)


def _pins(uses: Uses) -> list[tuple[Tree, Reference]]:
    """Every call of resolve() in the DAGs of every environment, and in those that are checked out: their branch brings
    its lock along when it is merged into the environment's. They come last: where both have a pin, its releases decide.
    """
    places = [(place.tree, place) for place in uses.places if place.tree]
    elsewhere = [place for tree, place in places if not tree.checked_out]
    here = [place for tree, place in places if tree.checked_out]
    here += [Place(place.environment, uses.working) for place in elsewhere]
    found = [(place.tree, each) for place in (*elsewhere, *here) for each in uses.by_place(place)]
    return [(tree, each) for tree, each in found if tree and each.how == "resolve"]


def _literal(each: Reference, where: str, project: Project) -> tuple[str, str, str]:
    """The job, the pin and the environment of a call. Raises InvalidInput when it does not tell."""
    if each.job is None or each.text is None:
        what = "job" if each.job is None else "pin"
        raise InvalidInput(
            f"{where}: the {what} of resolve() is not literal, so what it leads to cannot be locked. Write it there: "
            "resolve('my_job', '~=0.1.0')."
        )
    pins.check(each.text, where)
    if source := each.unread_environment:
        raise InvalidInput(
            f"{where}: the environment {source} of resolve() is not literal, so its pin cannot be locked. Write it "
            "there, or leave it out: the DAG's own environment counts."
        )
    known = project.settings.environments
    if each.environment not in known:
        said = meant(str(each.environment), known, "")
        raise InvalidInput(f"{where}: jobs.toml has no environment '{each.environment}'. {said}")
    return each.job, each.text, str(each.environment)


@dataclass
class _Kept:
    """The lock as it is, and which of it may move."""

    old: resolver.Environments
    upgrade: str | None
    upgrade_all: bool

    def version(self, each: Reference, where: str, there: list[Number]) -> str:
        """What a pin leads to: what it led to before, where that still holds, else the highest release that fits."""
        job, pin = str(each.job), str(each.text)
        fitting = [version for version in there if pins.fits(pin, str(version))]
        if not fitting:
            names = ", ".join(map(str, there))
            raise InvalidInput(f"{where}: no release of {job} fits '{pin}'. There are: {names}.")
        before = self.old.get(str(each.environment), {}).get(job, {}).get(pin)
        moves = self.upgrade_all or self.upgrade == job
        if before and not moves and before in map(str, fitting):
            return before
        return str(max(fitting))


class _Releases:
    """Which released versions of a job a tree has; the open folder is none."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self._known: dict[str | None, dict[str, list[Number]]] = {}

    def of(self, tree: Tree, job: str, where: str) -> list[Number]:
        """Those of a job, ascending. Raises InvalidInput for an unknown job; ``where`` is who asks."""
        if tree.branch not in self._known:
            self._known[tree.branch] = self._read(tree)
        known = self._known[tree.branch]
        if job not in known:
            said = meant(job, sorted(known), "There are none yet: `dbt-cicd job release`.")
            raise InvalidInput(f"{where}: no release has a job '{job}'. {said}")
        return known[job]

    def _read(self, tree: Tree) -> dict[str, list[Number]]:
        project = self.project
        names = [path for path in tree.below([project.path(project.releases)]) if path.endswith(".json")]
        tree.load(names)
        files = set(tree.below([project.path(project.jobs)]))
        found: dict[str, list[Number]] = {}
        for name in names:
            released = manifest.parse(tree.read(name) or b"", name)
            for job in released.jobs:
                if project.path(project.folder(released.version) / f"{job}.py") in files:
                    found.setdefault(job, []).append(released.version)
        return {job: sorted(versions) for job, versions in found.items()}


def _changes(old: resolver.Environments, new: resolver.Environments) -> list[Change]:
    before, after = _flat(old), _flat(new)
    keys = sorted({*before, *after})
    return [Change(*key, before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)]


def _flat(environments: resolver.Environments) -> dict[tuple[str, str, str], str]:
    return {
        (environment, job, pin): version
        for environment, jobs in environments.items()
        for job, found in jobs.items()
        for pin, version in found.items()
    }


def _deprecated(project: Project, environments: resolver.Environments) -> list[str]:
    until = {(each.job, str(each.version)): each.until for each in project.settings.deprecations}
    return [
        f"{environment}: '{pin}' leads to {job} {version}, which may be used until {until[(job, version)]}."
        for (environment, job, pin), version in _flat(environments).items()
        if (job, version) in until
    ]


def locked(project: Project) -> resolver.Lock:
    """The lock of the working tree, as resolve() asks it."""
    path: Path = project.lock_file
    return resolver.Lock(path, project.path(path))
