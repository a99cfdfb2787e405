"""How versions of jobs are named: with dots in code, with dots or slashes in texts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from dbt_cicd_toolkit.jobs.number import Number

# Stands in a text for the part that only running would tell.
HOLE = "\0"
_ANY = r"[\w\0{}%$<>*?-]"
FOLDER = r"v(?:0|[1-9][0-9]*)_(?:0|[1-9][0-9]*)_(?:0|[1-9][0-9]*)"
_TOKEN = re.compile(rf"(?<![A-Za-z0-9_]){FOLDER}(?![A-Za-z0-9_])")
# v0_{minor}_0: a folder's name with a hole in it.
_PARTIAL = re.compile(
    r"(?<![A-Za-z0-9_])v(?=[0-9_]*\0)(?:[0-9]+|\0)_(?:[0-9]+|\0)?(?:_(?:[0-9]+|\0))?(?![A-Za-z0-9_])|\0\.v\0"
)


@dataclass(frozen=True)
class Named:
    """A version of a job that a name leads to; ``job`` is None for the whole folder."""

    version: Number
    job: str | None


def pattern_of(jobs: str, folder: str, job: str) -> re.Pattern[str]:
    """A version of a job as texts name it, with dots or slashes; the group is its folder."""
    package = r"[./]".join(map(re.escape, jobs.split(".")))
    return re.compile(rf"(?<![A-Za-z0-9_.]){package}[./]({folder})(?=[./]{job}(?![A-Za-z0-9_]))")


def named(name: str, jobs: str) -> Named | None:
    """The version that a dotted name is in, where ``jobs`` is the package of the version folders."""
    match = _named_pattern(jobs).match(name)
    return Named(_number(match[1]), match[2]) if match else None


@lru_cache
def _named_pattern(jobs: str) -> re.Pattern[str]:
    return re.compile(rf"{re.escape(jobs)}\.({FOLDER})(?:\.(\w+))?(?:\.|$)")


@lru_cache
def _text_pattern(jobs: str) -> re.Pattern[str]:
    """Package, version and job in a text, with dots or slashes. The package may be a hole, the version then not."""
    package = r"[./]".join(map(re.escape, jobs.split(".")))
    return re.compile(
        rf"(?<![A-Za-z0-9_.])({package})[./]((?:{_ANY})*)(?:[./]({_ANY}+))?|\0[./]?({FOLDER})(?:[./]({_ANY}+))?"
    )


@lru_cache
def _package_pattern(jobs: str) -> re.Pattern[str]:
    package = r"[./]".join(map(re.escape, jobs.split(".")))
    return re.compile(rf"(?:[^\s\0]*/)?{package}[./]?")


def is_package_name(text: str, jobs: str) -> bool:
    """Does a text name the package of the versions and nothing in it? What becomes of it only running would tell."""
    return bool(_package_pattern(jobs).fullmatch(text))


def _number(folder: str) -> Number:
    return Number(*map(int, folder[1:].split("_")))


def names_in(text: str, jobs: str) -> tuple[list[str], bool, tuple[str, ...]]:
    """The dotted names of versions in a text, whether it names one that cannot be read, and the version folders in it
    of which it does not say whose they are."""
    found, unclear, told = [], False, set()
    for match in _text_pattern(jobs).finditer(text):
        group = 2 if match[1] else 4
        folder, job = match[group], match[group + 1]
        if re.fullmatch(FOLDER, folder):
            named_job = job if job and re.fullmatch(r"\w+", job) else None
            found.append(".".join(filter(None, (jobs, folder, named_job))))
            told.add(match.start(group))
        elif re.search(r"[\0{%$<*?]", folder) or (folder in ("", "v") and match.end() == len(text)):
            unclear = True
    unclear = unclear or bool(_PARTIAL.search(text))
    left = dict.fromkeys(match[0] for match in _TOKEN.finditer(text) if match.start() not in told)
    return found, unclear, tuple(left)


def short(text: str, folders: Sequence[str]) -> str:
    """A text as messages show it: of a long one, a page of SQL perhaps, what is in question."""
    return text if len(text) <= 120 else f"'…{'…'.join(folders)}…'"
