"""The one number line of a project: MAJOR.MINOR.PATCH, nothing else."""

from __future__ import annotations

from typing import Literal, NamedTuple

from dbt_cicd_toolkit import versions
from dbt_cicd_toolkit.errors import InvalidInput

Part = Literal["major", "minor", "patch"]


class Number(NamedTuple):
    """A release. Compares as numbers do."""

    major: int
    minor: int
    patch: int

    @staticmethod
    def parse(text: str, where: str = "") -> Number:
        """Read '0.1.0'. ``where`` stands at the beginning of the message. Raises InvalidInput."""
        place = f"{where}: " if where else ""
        try:
            found = versions.parse(text)
        except InvalidInput as error:
            raise InvalidInput(f"{place}{error}") from None
        if found.prerelease or found.build:
            raise InvalidInput(
                f"{place}'{text}' has more than three numbers; a release is MAJOR.MINOR.PATCH, for example "
                f"{found.major}.{found.minor}.{found.patch}."
            )
        return Number(found.major, found.minor, found.patch)

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    @property
    def folder(self) -> str:
        """'v0_1_0'."""
        return f"v{self.major}_{self.minor}_{self.patch}"

    @property
    def tag(self) -> str:
        """'v0.1.0'."""
        return f"v{self}"

    @property
    def maintenance(self) -> str:
        """The branch that maintains the line of this release: '0.1.0-maintenance'."""
        return f"{self}-maintenance"

    def bump(self, part: Part) -> Number:
        """The next release. Below 1.0.0, where nothing is promised, a breaking change is minor (SemVer §4)."""
        if part == "major" and self.major == 0:
            part = "minor"
        return Number.parse(versions.bump(str(self), part))
