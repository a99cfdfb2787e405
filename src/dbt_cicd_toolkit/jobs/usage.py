"""What was read of a file: the names that it imports or has in texts, pins, and what only running would tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

How = Literal["import", "string"]


@dataclass(frozen=True)
class Use:
    """A name that a file imports, or has in a text.

    Attributes:
        name: absolute, with dots; a file's path has become dots, too.
        line: where.
        how: 'import' for what is imported, 'string' for a text that names it.
        lazy: inside a function. typing: for type checkers only. apart: by a task with an interpreter of its own.
    """

    name: str
    line: int
    how: How = "import"
    lazy: bool = False
    typing: bool = False
    apart: bool = False


@dataclass(frozen=True)
class Unknown:
    """An import or a name that cannot be read; ``text`` is the source.

    ``folders``: version folders that it names without saying of which package, which matters only where these are; none
    for what may be any.
    """

    line: int
    text: str
    folders: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pin:
    """A call of resolve(). ``job`` and ``pin`` are None where they are no literals; no pin at all is 'latest'.
    ``environment``: the one that the call itself names; in < > the source of one that is no literal."""

    line: int
    text: str
    job: str | None
    pin: str | None
    apart: bool = False
    environment: str | None = None


@dataclass(frozen=True)
class Source:
    """What was read of a file. ``dags``: the ids of the DAGs it makes, as far as they are literal. ``attributes``: what
    is used of an imported job with a dot, my_job.MyJob."""

    uses: tuple[Use, ...] = ()
    unknown: tuple[Unknown, ...] = ()
    pins: tuple[Pin, ...] = ()
    dags: tuple[str, ...] = ()
    attributes: tuple[Use, ...] = ()
