"""Everything that must hold, all findings at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from dbt_cicd_toolkit.errors import InvalidInput, ToolkitError
from dbt_cicd_toolkit.jobs import agreement, frozen, inventory, isolation, journal, shared, writes
from dbt_cicd_toolkit.jobs.findings import Finding
from dbt_cicd_toolkit.jobs.frozen import Release
from dbt_cicd_toolkit.jobs.inventory import Item
from dbt_cicd_toolkit.jobs.number import Number
from dbt_cicd_toolkit.jobs.project import Project
from dbt_cicd_toolkit.jobs.reach import Modules
from dbt_cicd_toolkit.jobs.references import Uses
from dbt_cicd_toolkit.jobs.source import read_job
from dbt_cicd_toolkit.jobs.trees import Place

if TYPE_CHECKING:
    from dbt_cicd_toolkit.dbt_runner import Dbt

Value = TypeVar("Value")


@dataclass
class _Check:
    project: Project
    found: list[Finding] = field(default_factory=list)

    def invalid(self, message: str, rule: str = "syntax") -> None:
        """Bad input; the same is told once, whoever came upon it."""
        finding = Finding("invalid", rule, message)
        if all(each.message != message for each in self.found):
            self.found.append(finding)

    def trying(self, read: Callable[[], Value], otherwise: Value) -> Value:
        """What ``read`` returns; where the input is bad, that is a finding."""
        try:
            return read()
        except InvalidInput as error:
            self.invalid(str(error), "input")
            return otherwise


def check(project: Project, dbt: Dbt | None = None) -> list[Finding]:
    """Check a project.

    Args:
        dbt: the dbt project whose ledger is held against the DAGs, too; None: none is asked.
    Returns:
        what is wrong or cannot be told; nothing of it raises.
    Raises:
        InvalidInput: jobs.toml cannot be read.
        Refused: the ledger cannot be asked.
    """
    state = _Check(project)
    _ = project.settings
    uses = Uses(project)
    modules = uses.modules(uses.working)
    state.trying(project.version, Number(0, 0, 0))
    if interrupted := journal.pending(project):
        said = f"the {interrupted} was interrupted: the next `dbt-cicd job` command that writes finishes or undoes it."
        state.found.append(Finding("refused", "interrupted", said))
    none: list[Number] = []
    versions = state.trying(project.folders, none)
    releases, differences = frozen.releases(project)
    state.found += differences + frozen.folders(project, uses.working, releases)
    folders = _folders(project, versions)
    manifests = {version: each.manifest for version, each in releases.items()}
    items = inventory.released(project, manifests, project.settings) | _open(state, releases, versions)
    _reading(state, modules, folders)
    state.found += shared.findings(project, modules, manifests, folders)
    state.found += isolation.findings(modules, folders)
    _using(state, uses, items)
    if dbt:
        from dbt_cicd_toolkit.jobs.deploy import deployed

        state.found += agreement.with_ledger(uses.by_environments(), deployed(dbt))
    return state.found


def _folders(project: Project, versions: list[Number]) -> dict[str, list[str]]:
    return {
        version.folder: [project.path(path) for path in project.files(version) if path.suffix == ".py"]
        for version in versions
    }


def _open(state: _Check, releases: Mapping[Number, Release], versions: list[Number]) -> dict[tuple[str, Number], Item]:
    """The jobs that are in no release yet."""
    project = state.project
    unreleased = [version for version in versions if version not in releases]
    if len(unreleased) > 1:
        names = ", ".join(project.path(project.folder(each)) for each in unreleased)
        state.invalid(f"{names} are in no release. Only one folder may be open: move the jobs into one.", "input")
    found: dict[tuple[str, Number], Item] = {}
    for version in unreleased:
        for path in project.jobs_of(version):
            name, module = project.path(path), project.module(version, path.stem)
            try:
                job = read_job(path, name, module)
            except InvalidInput as error:
                state.invalid(str(error))
                continue
            found[job.name, version] = inventory.open_item(job, version)
    return found


def _reading(state: _Check, modules: Modules, folders: Mapping[str, list[str]]) -> None:
    """Syntax errors and import cycles of the jobs and what they reach."""
    reached = modules.reached([path for files in folders.values() for path in files])
    for message in modules.broken.values():
        state.invalid(message)
    for cycle in modules.cycles(reached):
        steps = [f"{a}:{modules.line(a, b)}" for a, b in zip(cycle, [*cycle[1:], cycle[0]], strict=True)]
        said = f"these import each other: {' → '.join([*steps, cycle[0]])}. Move what both need into a third module."
        state.invalid(said, "cycle")


def _using(state: _Check, uses: Uses, items: Mapping[tuple[str, Number], Item]) -> None:
    """What the environments do with the versions, each with those of its own branch."""
    trees: dict[int, list[Place]] = {}
    for place in uses.places:
        if place.tree is not None:
            trees.setdefault(id(place.tree), []).append(place)
    environments = {place.name for place in uses.places}
    for places in trees.values():
        (place, *_) = places
        assert place.tree is not None
        there = items if place.tree.checked_out else _of_branch(state, uses, place)
        references = list(dict.fromkeys(each for place in places for each in uses.by_place(place)))
        # An environment is locked on its own branch; what other branches say of it is of no effect.
        served = {place.name for place in places}
        locked = [
            each
            for each in uses.of_lock(place.tree)
            if each.environment in served or each.environment not in environments
        ]
        state.found += agreement.findings(references, locked, there, inventory.today())
        state.found += writes.findings(state.project.settings, there, writes.live(references, there))
    for message in uses.broken:
        state.invalid(message)
    state.found += [Finding("unknown", "adoption", message) for message in uses.missing()]
    state.found += [Finding("warning", "adoption", message) for message in uses.without_dags()]


def _of_branch(state: _Check, uses: Uses, place: Place) -> Mapping[tuple[str, Number], Item]:
    try:
        return uses.items(place)
    except ToolkitError as error:
        state.invalid(str(error), "input")
        return {}


def code(project: Project, modules: Modules, folders: Mapping[str, list[str]]) -> list[Finding]:
    """What is wrong with the code of some folders ({'v0_1_0': its Python files}) and all that it reaches."""
    state = _Check(project)
    _reading(state, modules, folders)
    return state.found + isolation.findings(modules, folders)


def refuse(findings: list[Finding]) -> None:
    """Raise the findings of a check that refuse something, as the error of the worst. For what a release must not
    have."""
    from dbt_cicd_toolkit.errors import Differs, Refused
    from dbt_cicd_toolkit.jobs.findings import LEVELS, exit_code

    kinds: dict[int, type[ToolkitError]] = {1: Refused, 2: InvalidInput, 3: Differs}
    if code := exit_code(findings):
        raise kinds[code]("\n".join(each.message for each in findings if LEVELS[each.level]))
