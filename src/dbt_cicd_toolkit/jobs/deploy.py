"""Jobs in the ledger: put a version into an environment, and ask what is where. No file changes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbt_cicd_toolkit.errors import Differs, InvalidInput
from dbt_cicd_toolkit.jobs.manifest import Manifest, content_hash
from dbt_cicd_toolkit.jobs.number import Number
from dbt_cicd_toolkit.jobs.project import Project, nearest

if TYPE_CHECKING:
    from dbt_cicd_toolkit.dbt_runner import Dbt, Envelope


@dataclass(frozen=True)
class Deployment:
    """A version of a job that an environment got.

    Attributes:
        since, by: when last (UTC, ``YYYY-MM-DD HH:MM:SS``), and who did it.
        live: it is the version of the job that the environment got last.
    """

    job: str
    version: Number
    environment: str
    since: str
    by: str
    live: bool


def dbt_project(root: Path) -> Path | None:
    """The dbt project of a repository: its top, else the one folder in it that is one; None when that does not tell."""
    if (root / "dbt_project.yml").is_file():
        return root
    found = [path.parent for path in root.glob("*/dbt_project.yml")]
    return found[0] if len(found) == 1 else None


def deployed(dbt: Dbt, environment: str | None = None) -> list[Deployment]:
    """Every version of a job that an environment ever got, by environment, job and time; none without a ledger.

    Args:
        dbt: the dbt project whose ledger is asked.
        environment: only this one.
    Raises:
        Refused: the ledger, or the database, cannot be asked.
    """
    rows = dbt.run_operation("job_deployments", {"environment": environment} if environment else {}).value
    return [Deployment(**{**row, "version": Number.parse(row["version"])}) for row in rows]


def deploy(
    project: Project,
    dbt: Dbt,
    job: str,
    version: Number,
    environment: str,
    *,
    description: str | None = None,
    approved_by: str | None = None,
    dry_run: bool = False,
) -> Envelope:
    """Register a released version of a job in the ledger, from its manifest, and put it into an environment.

    Args:
        dbt: the dbt project whose ledger has it.
        description, approved_by: recorded.
        dry_run: say what would be done.
    Returns:
        the envelope; ``success`` is False for a refused attempt, which is recorded.
    Raises:
        InvalidInput: there is no such release of the job, or no such environment in jobs.toml.
        Differs: its files are not those of the release, or the ledger has the version with other code.
        Refused: the ledger cannot be written.
    """
    manifests = project.manifests()
    manifest = _release(job, version, manifests)
    _known_environment(project, environment)
    _refuse_edited(project, manifest)
    entry = manifest.jobs[job]
    if "DBT_CICD_GIT_COMMIT" not in os.environ:
        os.environ["DBT_CICD_GIT_COMMIT"] = project.git.commit("HEAD") or ""
    arguments: dict[str, Any] = {
        "job": job,
        "version": str(version),
        "environment": environment,
        "checksum": checksum(manifest),
        "reads": _list(entry.reads),
        "writes": _list(entry.writes),
        "is_breaking": _is_breaking(job, version, manifests),
        "description": description,
        "approved_by": approved_by,
        "dry_run": dry_run,
    }
    return dbt.run_operation("deploy_job", arguments)


def checksum(manifest: Manifest) -> str:
    """What the ledger knows the code of a release by: its files, and the shared modules that they reach."""
    lines = [f"{hash} {path}" for path, hash in sorted({**manifest.files, **manifest.shared}.items())]
    return hashlib.sha256("\n".join(lines).encode("utf-8")).hexdigest()


def _release(job: str, version: Number, manifests: dict[Number, Manifest]) -> Manifest:
    found = [each for each, manifest in manifests.items() if job in manifest.jobs]
    if not found:
        known = sorted({name for manifest in manifests.values() for name in manifest.jobs})
        raise InvalidInput(f"no release has a job {job}. {nearest(job, known)}")
    if version not in found:
        there = ", ".join(map(str, found))
        raise InvalidInput(
            f"{job} {version} is not released. There are: {there}. `dbt-cicd job release` publishes the open folder."
        )
    return manifests[version]


def _known_environment(project: Project, environment: str) -> None:
    known = project.settings.environments
    if known and environment not in known:
        raise InvalidInput(f"jobs.toml has no environment '{environment}'. {nearest(environment, list(known))}")


def _refuse_edited(project: Project, manifest: Manifest) -> None:
    """What is recorded is what would run."""
    for path, hash in manifest.files.items():
        try:
            found = content_hash((project.root / path).read_bytes())
        except FileNotFoundError:
            found = None
        if found != hash:
            said = "is missing" if found is None else "is not as it was released"
            raise Differs(
                f"{path} {said} in {manifest.version}: nothing was deployed. Restore it (git restore {path}); "
                "`dbt-cicd job check` says all that differs."
            )


def _is_breaking(job: str, version: Number, manifests: dict[Number, Manifest]) -> bool:
    """Is it the first of its major version, behind an older one? Below 1.0.0 a number does not tell."""
    older = [each for each, manifest in manifests.items() if each < version and job in manifest.jobs]
    return bool(older) and version.major > max(older).major


def _list(names: Iterable[str] | None) -> list[str] | None:
    return None if names is None else list(names)
