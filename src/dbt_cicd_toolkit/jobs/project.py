"""Where the jobs of a repository are, and what its files say: VERSION, jobs.toml, version folders, manifests."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dbt_cicd_toolkit.errors import InvalidInput
from dbt_cicd_toolkit.git import Git
from dbt_cicd_toolkit.jobs import manifest
from dbt_cicd_toolkit.jobs.manifest import Manifest
from dbt_cicd_toolkit.jobs.nearest import meant
from dbt_cicd_toolkit.jobs.number import Number
from dbt_cicd_toolkit.jobs.settings import Settings
from dbt_cicd_toolkit.jobs.source import Job, read_job

SETTINGS = "jobs.toml"
_FOLDER = re.compile(r"v(0|[1-9][0-9]*)_(0|[1-9][0-9]*)_(0|[1-9][0-9]*)")
_NO_VERSION = "a folder of jobs is called v1_2_3, after the release 1.2.3"


@dataclass(frozen=True)
class Project:
    """A repository with jobs. ``root`` is the top of its working tree, where jobs.toml is."""

    root: Path

    @staticmethod
    def find(directory: Path) -> Project:
        """The project that ``directory`` is in. Raises InvalidInput where there is none."""
        directory = directory.resolve()
        for each in (directory, *directory.parents):
            if (each / SETTINGS).is_file():
                return Project(each)
        raise InvalidInput(
            f"there is no {SETTINGS} in {directory} or above. Make one with `dbt-cicd job init PACKAGE`."
        )

    @cached_property
    def settings(self) -> Settings:
        """What jobs.toml says. Raises InvalidInput."""
        return Settings.read(self.root / SETTINGS)

    @property
    def git(self) -> Git:
        """The working tree."""
        return Git(self.root)

    @property
    def package(self) -> str:
        """The Python package of the version folders: 'dwh.jobs'."""
        return f"{self.settings.package}.jobs"

    @property
    def jobs(self) -> Path:
        """Its directory."""
        return self.root.joinpath(*self.package.split("."))

    @property
    def lock_file(self) -> Path:
        """Which version a pin leads to, by environment."""
        return self.jobs / "jobs.lock"

    @property
    def version_file(self) -> Path:
        """The last release of this branch, 0.0.0 before the first."""
        return self.root / "VERSION"

    @property
    def changes(self) -> Path:
        """Fragments of the next release's notes."""
        return self.root / "changes"

    @property
    def releases(self) -> Path:
        """<version>.json and <version>.md of every release."""
        return self.root / "releases"

    def path(self, file: Path) -> str:
        """A file as git and messages name it: from the root, with slashes."""
        return file.relative_to(self.root).as_posix()

    def version(self) -> Number:
        """The last release of this branch. Raises InvalidInput."""
        try:
            text = self.version_file.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            raise InvalidInput("VERSION is missing. Restore it (git restore VERSION).") from None
        except UnicodeDecodeError:
            raise InvalidInput("VERSION is no text. Restore it (git restore VERSION).") from None
        return Number.parse(text, "VERSION")

    def folder(self, version: Number) -> Path:
        """The directory of a version, there or not."""
        return self.jobs / version.folder

    def module(self, version: Number, job: str) -> str:
        """'dwh.jobs.v0_1_0.my_job'."""
        return f"{self.package}.{version.folder}.{job}"

    def folders(self) -> list[Number]:
        """The versions that have a folder, ascending. Raises InvalidInput for one with a wrong name."""
        found = []
        for each in sorted(self.jobs.iterdir()) if self.jobs.is_dir() else ():
            if not each.is_dir() or each.name == "__pycache__" or not any(_files(each)):
                continue
            match = _FOLDER.fullmatch(each.name)
            if match:
                found.append(Number(*map(int, match.groups())))
            elif re.match(r"v[0-9]", each.name, re.IGNORECASE):
                raise InvalidInput(f"{self.path(each)}: '{each.name}' is no version; {_NO_VERSION}. Rename it.")
        return sorted(found)

    def manifests(self) -> dict[Number, Manifest]:
        """The releases that this branch has files of, ascending. Raises Differs for a damaged one."""
        found = (manifest.read(path, self.path(path)) for path in sorted(self.releases.glob("*.json")))
        return dict(sorted((each.version, each) for each in found))

    def open(self) -> Number | None:
        """The version of the open folder: the one that no release lists. Raises InvalidInput when there are several."""
        released = self.manifests()
        found = [version for version in self.folders() if version not in released]
        if len(found) > 1:
            names = ", ".join(self.path(self.folder(each)) for each in found)
            raise InvalidInput(f"{names} are in no release. Only one folder may be open: move the jobs into one.")
        return found[0] if found else None

    def files(self, version: Number) -> list[Path]:
        """The files of a version's folder, by name; what Python leaves there does not count."""
        return sorted(_files(self.folder(version)))

    def read(self, version: Number) -> list[Job]:
        """The jobs of a folder, by name. Raises InvalidInput for a file with a syntax error, or with no job in it."""
        return [read_job(path, self.path(path), self.module(version, path.stem)) for path in self.jobs_of(version)]

    def jobs_of(self, version: Number) -> list[Path]:
        """The files of a folder that hold a job each."""
        folder = self.folder(version)
        return [
            path
            for path in self.files(version)
            if path.parent == folder and path.suffix == ".py" and not path.stem.startswith("_")
        ]

    def versions_of(self, job: str) -> list[Number]:
        """The versions of a job that are there, the open one too, ascending. Raises InvalidInput for no known job."""
        found = [each for each in self.folders() if (self.folder(each) / f"{job}.py").is_file()]
        if not found or not job.isidentifier() or job.startswith("_"):
            raise InvalidInput(f"there is no job {job}. {nearest(job, self.names())}")
        return found

    def names(self) -> list[str]:
        """The jobs that are there, by name."""
        return sorted(
            {
                path.stem
                for version in self.folders()
                for path in self.folder(version).glob("*.py")
                if not path.stem.startswith("_")
            }
        )


def _files(folder: Path) -> list[Path]:
    return [
        path
        for path in folder.rglob("*")
        if (path.is_file() or path.is_symlink())
        and "__pycache__" not in path.parts
        and path.suffix not in (".pyc", ".pyo")
    ]


def nearest(name: str, known: Sequence[str]) -> str:
    """What to say of an unknown name: the ones like it, else all."""
    return meant(name, known, "There are none yet: `dbt-cicd job new NAME`.")
