"""Jobs that say everything, their releases, and copies of a project with some."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from support.job_project import JobProject, job_text

ENVIRONMENT = '\n[environments.production]\nbranch = "main"\n'


def full(name: str = "MyJob", table: str = "one", requires: str = "[]") -> str:
    """A job that says everything."""
    said = job_text(name, table=table).replace("    writes", f"    requires = {requires}\n    writes")
    return said.partition("\n\n\n")[2]


def release(project: JobProject, version: str, jobs: Mapping[str, str]) -> None:
    """Release these jobs."""
    folder = f"dwh/jobs/v{version.replace('.', '_')}"
    files = {f"{folder}/{name}.py": text for name, text in jobs.items()}
    project.commit(f"Jobs of {version}", {f"{folder}/__init__.py": "", **files})
    project.done("release")


def project_with(path: Path, releases: Mapping[str, Mapping[str, str]], files: Mapping[str, str]) -> Path:
    """A repository with these releases and files, which production runs; its path."""
    made = JobProject(path)
    made.done("init", "dwh")
    made.write({"jobs.toml": made.read("jobs.toml") + ENVIRONMENT})
    made.commit("Set up jobs", files)
    for version, jobs in releases.items():
        release(made, version, jobs)
    return made.path


def copy(template: Path, path: Path) -> JobProject:
    """A copy of a repository."""
    shutil.copytree(template, path)
    return JobProject(path)
