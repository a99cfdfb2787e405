"""What is written down of a script whose statements run one by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol


class Step(NamedTuple):
    """The last entry of a statement in the journal.

    Attributes:
        state: 'intent', 'done' or 'failed' (the server refused it); 'finished' closes a script.
        md5: of the statement's text.
        before: what outcome.observe() saw before it was first run.
    """

    state: str
    md5: str
    before: str | None = None


class Journal(Protocol):
    """Where the statements of one script are written down when they run outside a transaction.

    ``name`` is the script's name there, the same from wherever it is run.
    """

    @property
    def name(self) -> str: ...

    def steps(self) -> Mapping[int, Step]:
        """The last entry of each statement, numbered from 1, when the script was begun and not finished."""

    def note(self, number: int, step: Step) -> str:
        """SQL that appends an entry."""
