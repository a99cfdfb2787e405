"""The file of deltas, schema.delta: one operation a line, comments (-- … and # …) and blank lines between them.

A line `-- release <number> <label>` ends what belongs to that release; what stands behind the last one is open.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from dbt_cicd_toolkit.errors import Differs, InvalidInput, Refused
from dbt_cicd_toolkit.postgres.reader import Name
from dbt_cicd_toolkit.postgres.script import decode
from dbt_cicd_toolkit.schema.delta import COMMANDS, FORMS, Delta, parse, same_table, written

RELEASE = re.compile(r"-- release ([0-9]{1,9}) (\S+)\s*")
_COMMENT = ("--", "#")


@dataclass(frozen=True, slots=True)
class Line:
    """An operation of the open release: its line, from 1, what stands there, and what it says."""

    number: int
    text: str
    delta: Delta


@dataclass(frozen=True, slots=True)
class DeltaFile:
    """What is in the file. Change it with added(), popped() or released_as(), which return the new text.

    Attributes:
        name: what the file is called in messages.
        text: all of it.
        open: the operations of the open release, in order.
        released: the lines of each release as they stand there, which nobody has read: that they are what was released
            is for the release's hash to say.
        labels: of each release.
    """

    name: str
    text: str
    open: tuple[Line, ...]
    released: dict[int, list[str]]
    labels: dict[int, str]

    @classmethod
    def read(cls, path: Path) -> DeltaFile:
        """The file at ``path``; a missing one is empty.

        Raises:
            InvalidInput: the file is not UTF-8, or a line of the open release is no operation.
            Differs: the releases are not numbered 1, 2, 3 …, or what is released is not UTF-8 any more.
        """
        data = path.read_bytes() if path.exists() else b""
        try:
            text = decode(data, str(path))
        except InvalidInput as error:
            released = data[: data.rfind(b"\n-- release ") + 1]
            if b"\0" in released or "\ufffd" in released.decode(errors="replace"):
                raise Differs(str(error)) from None
            raise
        return cls.parse(text, str(path))

    @classmethod
    def parse(cls, text: str, name: str) -> DeltaFile:
        """The same of a text. Raises as read() does."""
        released: dict[int, list[str]] = {}
        labels: dict[int, str] = {}
        lines: list[tuple[int, str]] = []
        for number, raw in enumerate(text.split("\n"), 1):
            line = raw.removesuffix("\r")
            if release := RELEASE.fullmatch(line):
                if int(release[1]) != len(released) + 1:
                    due = f"release {len(released) + 1} is due here, and there is '{line.strip()}'"
                    raise Differs(f"{name}:{number}: {due}. Take the released lines back from version control.")
                released[int(release[1])] = [each for _, each in lines]
                labels[int(release[1])] = release[2]
                lines = []
            elif line.strip() and not line.lstrip().startswith(_COMMENT):
                lines.append((number, line))
        opened = tuple(Line(number, line, _operation(line, f"{name}:{number}")) for number, line in lines)
        return cls(name, text, opened, released, labels)

    def lines(self, table: Name | None = None) -> tuple[Line, ...]:
        """The open operations, or those of one table; a schema that one of both does not name can be any."""
        return tuple(line for line in self.open if table is None or same_table(line.delta.table, table))

    def last(self, table: Name | None = None) -> Line:
        """The last of lines(). Raises Refused when there is none."""
        lines = self.lines(table)
        if not lines:
            what = f"for {written(table)} in {self.name}" if table else f"in {self.name}"
            raise Refused(f"there is no open operation {what}; released ones stay.")
        return lines[-1]

    def added(self, delta: Delta) -> str:
        """The text with one more open operation."""
        return f"{self._ended}{delta}\n"

    def popped(self, line: Line) -> str:
        """The text without this line, one of `open`."""
        lines = self.text.split("\n")
        del lines[line.number - 1]
        return "\n".join(lines)

    def released_as(self, number: int, label: str) -> str:
        """The text with a line that ends the open release.

        Raises:
            InvalidInput: the label is not one word.
            Differs: another number is due.
        """
        if not RELEASE.fullmatch(f"-- release {number} {label}"):
            raise InvalidInput(f"'{label}' is no label of a release: it is one word, such as 1.2.0.")
        if number != len(self.released) + 1:
            raise Differs(
                f"{self.name} goes on with release {len(self.released) + 1}, and it is {number} that is made."
            )
        return f"{self._ended}-- release {number} {label}\n"

    @property
    def _ended(self) -> str:
        return self.text + "\n" * bool(self.text and not self.text.endswith("\n"))


def _operation(line: str, where: str) -> Delta:
    delta = parse(line, where)
    if delta.op in COMMANDS:
        raise InvalidInput(f'{where}: {delta.op} is for the command line (-g "{FORMS[delta.op]}"). Remove the line.')
    return delta
