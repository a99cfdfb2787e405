"""What a run of migrations says on the terminal, in what its encoding can show."""

from __future__ import annotations

import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TextIO

import click

from dbt_cicd_toolkit.cli.options import show


class Console:
    """Tells on the terminal how a run goes: the guide's lines on stdout, everything else on stderr."""

    def __init__(self, output_format: str, done: str = "Completed successfully", *, report: bool = False) -> None:
        """``report``: stdout is for the report at the end, so that these lines go to stderr as well."""
        self.text = output_format == "text" or report
        self.done = done
        self.stream = sys.stderr if report else sys.stdout
        self._bar: Any = None

    def begin(self, script: str, number: int, total: int) -> None:
        """A file begins. Many of them on a terminal are one bar."""
        if self.text and total >= 20 and sys.stderr.isatty():
            self._advance(script, number, total)
        elif self.text:
            say(f"🚀 Executing: {script}", self.stream)

    def end(self) -> None:
        """It was committed."""
        if self.text and self._bar is None:
            say(f"   ✅ {self.done}", self.stream)

    def tell(self, text: str) -> None:
        """On stderr."""
        say(f"   {text}", sys.stderr)

    def _advance(self, script: str, number: int, total: int) -> None:
        if self._bar is None:
            from rich.console import Console as Terminal
            from rich.progress import Progress

            self._bar = Progress(console=Terminal(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task(script, total=total)
        self._bar.update(self._task, description=script, completed=number)

    @contextmanager
    def running(self) -> Generator[Console]:
        """Take the bar away at the end, whatever the end is; where it was, say what was done."""
        try:
            yield self
        finally:
            if self._bar is not None:
                self._bar.stop()
        if self._bar is not None:
            say(f"✅ {self._bar.tasks[0].completed:.0f} files: {self.done}", self.stream)


def say(text: str, stream: TextIO) -> None:
    """Write what the stream's encoding can show, at once: the next line may take an hour."""
    from dbt_cicd_toolkit.db.report import encodable

    # Who reads along may stop reading; what is running must not stop for it.
    with suppress(OSError):
        stream.write(encodable(text, stream.encoding or "ascii") + "\n")
        stream.flush()


def answer(value: Mapping[str, Any], text: str, output_format: str) -> None:
    """Print the one document of a command."""
    from dbt_cicd_toolkit.db.report import encodable

    if output_format == "json":
        show(value, "", output_format)
    elif text:
        click.echo(encodable(text, sys.stdout.encoding or "ascii"))
