"""A file as the rules of lint see it: its statements, which of them touch only what it made itself, its ignores."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dbt_cicd_toolkit.errors import InvalidInput
from dbt_cicd_toolkit.postgres import lexer
from dbt_cicd_toolkit.postgres.script import Script, Statement, decode, split
from dbt_cicd_toolkit.postgres.statements import Action, Name, action

# Squawk's form (its crates/squawk_linter/src/ignore.rs): rules with commas between; what follows -- is for people.
_IGNORE = re.compile(r"squawk-ignore(-file)?(?![\w-])([^\n]*)")
_PLACE = re.compile(r"[^\n]*?:(\d+):(\d+): (.*)", re.DOTALL)
WITHOUT_REASON = "ignore-without-reason"
UNREADABLE, SYNTAX_ERROR = "unreadable", "syntax-error"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule says of a place in a file. ``level`` is 'error' or 'warning'; line and column count from 1."""

    file: Path
    line: int
    column: int
    rule: str
    level: str
    message: str
    help: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """A statement of a file. ``fresh``: what it touches, an earlier statement of the same file has made."""

    statement: Statement
    action: Action
    fresh: bool


@dataclass(frozen=True, slots=True)
class _Ignore:
    line: int
    column: int
    whole_file: bool
    rules: frozenset[str]
    reason: bool

    def covers(self, finding: Finding) -> bool:
        """Squawk's rule: the comment is on the line of the finding or on the one before."""
        if finding.rule in (UNREADABLE, SYNTAX_ERROR):
            return False
        near = self.whole_file or finding.line - 1 <= self.line <= finding.line
        return near and (not self.rules or finding.rule in self.rules)


class Source:
    """One file. ``script`` is None where it could not be split; then ``broken`` says why.

    ``sql`` is its text with blanks for the rows of COPY. ``rollback``: it is one. ``bom``: it begins with that mark.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # In a folder of migrations a description may end so, too.
        self.rollback = path.name.endswith("_rollback.sql") and path.parent.name != "migrations"
        self.bom = False
        self.script: Script | None = None
        self.broken: Finding | None = None
        try:
            data = path.read_bytes()
            self.bom = data.startswith(b"\xef\xbb\xbf")
            self.script = split(decode(data, path.name), path.name)
        except InvalidInput as error:
            place = _PLACE.fullmatch(str(error))
            line, column, message = (int(place[1]), int(place[2]), place[3]) if place else (1, 1, str(error))
            self.broken = Finding(path, line, column, UNREADABLE, "error", message)
        except OSError as error:
            raise InvalidInput(f"{path} cannot be read: {error.strerror}.") from error
        self.steps = tuple(_steps(self.script.statements)) if self.script else ()
        self.has_data = any(step.statement.data is not None for step in self.steps)
        self.sql = _without_data(self.script) if self.script else ""
        self._starts = [(step.statement.line, step.statement.column) for step in self.steps]

    def step_at(self, line: int, column: int) -> Step | None:
        """The statement that a place is in."""
        index = bisect_right(self._starts, (line, column))
        return self.steps[index - 1] if index else None

    def finding(self, offset: int, rule: str, message: str, help: str | None = None, level: str = "warning") -> Finding:
        """A finding at a character offset."""
        line, column = self.script.position(offset) if self.script else (1, 1)
        return Finding(self.path, line, column, rule, level, message, help)

    def without_ignored(self, findings: Iterable[Finding]) -> list[Finding]:
        """The findings that no comment ignores, and one for each such comment that gives no reason."""
        ignores = list(self._ignores())
        kept = [finding for finding in findings if not any(ignore.covers(finding) for ignore in ignores)]
        return kept + [
            Finding(
                self.path,
                ignore.line,
                ignore.column,
                WITHOUT_REASON,
                "error",
                "this ignores a rule and does not say why",
                "Add the reason: -- squawk-ignore rule -- reason; or put it into a comment on the line above.",
            )
            for ignore in ignores
            if not ignore.reason
        ]

    def _ignores(self) -> Iterable[_Ignore]:
        if not self.script or "squawk-ignore" not in self.script.text:
            return
        lines = self.script.text.split("\n")
        for comment in lexer.tokens(self.sql, comments=True):
            if comment.kind != "comment":
                continue
            found = _IGNORE.match(comment.value[2:].removesuffix("*/").lstrip())
            if not found:
                continue
            line, column = self.script.position(comment.offset + comment.value.index("squawk-ignore"))
            rules, _, reason = found[2].partition("--")
            names = frozenset(name.strip() for name in rules.split(",") if name.strip())
            above = lines[line - 2].strip() if line > 1 else ""
            told = bool(re.search(r"\w", reason)) or _is_reason(above)
            yield _Ignore(line, column, bool(found[1]), names, told)


def _is_reason(line: str) -> bool:
    return line.startswith("--") and "squawk-ignore" not in line and bool(re.search(r"\w", line))


def _without_data(script: Script) -> str:
    """The text with blanks for the rows of COPY … FROM STDIN; everything else stays in its place."""
    text = script.text
    parts = []
    at = 0
    for statement in script.statements:
        if statement.data is not None:
            semicolon = next(lexer.tokens(text, statement.offset + len(statement.text)))
            start = text.index("\n", semicolon.offset) + 1
            end = start + len(statement.data) + len("\\.")
            parts += [text[at:start], re.sub(r"[^\n]", " ", text[start:end])]
            at = end
    return "".join([*parts, text[at:]])


def _steps(statements: Iterable[Statement]) -> Iterable[Step]:
    made: set[Name] = set()
    for statement in statements:
        what = action(statement.text)
        targets = _targets(what)
        yield Step(statement, what, bool(targets) and all(_known(target, made) for target in targets))
        if what.verb.startswith("CREATE "):
            made.update(what.names)


def _targets(what: Action) -> tuple[Name, ...]:
    """What a statement works on: of CREATE INDEX, ALTER TABLE, DELETE … the table."""
    if what.table and what.verb not in ("TRUNCATE", "CLUSTER"):
        return (what.table,)
    return what.names


def _known(name: Name, made: set[Name]) -> bool:
    """Without its schema a name may be any of that name."""
    if name.schema is None:
        return any(other.name == name.name for other in made)
    return name in made or Name(None, name.name) in made
