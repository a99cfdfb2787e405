"""A move from one version of a job to another: what names and pins become by it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dbt_cicd_toolkit.errors import InvalidInput
from dbt_cicd_toolkit.jobs import pins
from dbt_cicd_toolkit.jobs.named import pattern_of
from dbt_cicd_toolkit.jobs.number import Number


@dataclass(frozen=True)
class Move:
    """From one version of a job to another. ``package``: 'dwh.jobs'."""

    package: str
    job: str
    old: Number
    new: Number

    @property
    def module(self) -> str:
        """'dwh.jobs.v0_1_0.my_job'."""
        return f"{self.package}.{self.old.folder}.{self.job}"

    @property
    def folder(self) -> str:
        """'dwh.jobs.v0_1_0'."""
        return f"{self.package}.{self.old.folder}"

    def text(self, text: str) -> str:
        """A text with the names in it moved."""
        pattern = pattern_of(self.package, self.old.folder, self.job)
        return pattern.sub(lambda match: match[0][: -len(match[1])] + self.new.folder, text)

    def pin(self, pin: str) -> str:
        """The pin that leads to the new version: as it is, when it admits that already or never led to the old one."""
        try:
            if pins.fits(pin, str(self.new)) or not pins.fits(pin, str(self.old)):
                return pin
        except InvalidInput:
            return pin
        match = re.fullmatch(r"\s*(==|~=)\s*[0-9.]+\s*", pin)
        return f"{match[1] if match else '~='}{self.new}"
