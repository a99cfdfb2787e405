"""Source files: plain SQL, one or more statements each, every one of which makes an object or says something of one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import psycopg2

from dbt_cicd_toolkit.errors import InvalidInput
from dbt_cicd_toolkit.postgres import lexer
from dbt_cicd_toolkit.postgres.script import Script, Statement, decode, position, split
from dbt_cicd_toolkit.postgres.statements import Action, action, cluster_wide, forbidden

_REQUIRES = re.compile(r"^[ \t]*--[ \t]*@requires\b[ \t]*(.*?)[ \t]*\r?$", re.MULTILINE)
# Statements that make nothing of their own and belong to what they name.
ATTACHED = ("COMMENT ON", "GRANT", "REVOKE", "ALTER", "SECURITY LABEL ON")
_NOT_KEPT = re.compile(r"OWNER TO|RESTART")
_WHY = {
    "OWNER": "owners are not managed: who runs an upgrade owns what it makes (--role). Leave it out.",
    "RESTART": "where a sequence stands is data. Leave it out, or say START WITH.",
}
_EVERYTHING = re.compile(r"alter\s+default\s|(?:grant|revoke)\s.*?\son\s+all\s", re.IGNORECASE | re.DOTALL)
_CONCURRENTLY = re.compile(r"(?<=index)\s+concurrently\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Source:
    """One statement of a source file.

    Attributes:
        text: begins at its first word, without the semicolon at its end; lines end with LF.
        place: file:line:column, for messages.
        requires: what the lines ``-- @requires NAME`` in front of it name.
        action: what it does.
    """

    text: str
    place: str
    requires: tuple[str, ...]
    action: Action

    @property
    def attached(self) -> str | None:
        """'comment', 'grant', 'revoke', 'alter' or 'security label' for a statement about another object."""
        verb = self.action.verb
        found = next((each for each in ATTACHED if verb == each or verb.startswith(f"{each} ")), None)
        return found.removesuffix(" ON").lower() if found else None

    def place_of(self, name: str) -> str:
        """file:line:column of the first time that it names something so, best where a column is defined."""
        found: list[int] = []
        before = ""
        for token in lexer.tokens(self.text):
            if token.kind in ("word", "identifier") and name in (lexer.fold(token.value), token.value):
                found = [token.offset, *found] if before in ("(", ",") else [*found, token.offset]
            before = token.value
        return self.at(found[0]) if found else self.place

    def place_of_error(self, error: psycopg2.Error) -> str:
        """file:line:column of what the server did not understand, where it says so."""
        said = error.diag.statement_position
        return self.at(int(said) - 1) if said and not self.concurrently else self.place

    def at(self, offset: int) -> str:
        """file:line:column of a character of the text."""
        file, line, column = self.place.rsplit(":", 2)
        down, right = position(self.text, offset)
        return f"{file}:{int(line) + down - 1}:{right if down > 1 else int(column) + right - 1}"

    @property
    def concurrently(self) -> bool:
        """An index that an upgrade builds after its COMMIT."""
        return self.action.concurrently

    @property
    def plain(self) -> str:
        """What a database without rows is given: without CONCURRENTLY."""
        return plain(self.text) if self.concurrently else self.text

    @property
    def title(self) -> str:
        """What it makes, as far as its text tells: 'table shop.t', 'comment on table shop.t'."""
        if self.attached:
            return f"{self.attached} {self.label}"
        kind = self.action.verb.removeprefix("CREATE ").lower()
        names = (".".join(part for part in (each.schema, each.name) if part) for each in self.action.names[:1])
        return " ".join([kind, *names])

    @property
    def label(self) -> str:
        """What a statement about another object is called: its words up to what it says, in one line."""
        label, behind = "", 0
        for token in lexer.tokens(self.text):
            if self.attached == "comment" and token.is_word("IS"):
                break
            text = self.text[token.offset : token.end]
            label += " " * (token.offset > behind) + (text.lower() if token.kind == "word" else text)
            behind = token.end
        return label.partition(" ")[2]


def plain(text: str) -> str:
    """CREATE INDEX without CONCURRENTLY."""
    return _CONCURRENTLY.sub("", text, count=1)


def read(folder: Path) -> list[Source]:
    """The statements of every ``*.sql`` (or ``*.SQL``) below a folder, in the order of their paths.

    Raises InvalidInput for a folder that is missing, a file that cannot be split, and a statement that is no source.
    """
    if not folder.is_dir():
        raise InvalidInput(f"{folder} is no folder. Make it with `dbt-cicd schema init`.")
    found: list[Source] = []
    paths = (path for path in folder.rglob("*") if path.suffix.lower() == ".sql")
    for path in sorted(paths, key=lambda path: path.relative_to(folder).parts):
        found += of_text(decode(path.read_bytes(), str(path)), str(path))
    return found


def of_text(text: str, name: str) -> list[Source]:
    """The statements of one text; ``name`` is for messages."""
    text = text.replace("\r\n", "\n")
    script = split(text, name)
    found, behind = [], 0
    for statement in script.statements:
        found.append(_source(script, statement, text[behind : statement.offset]))
        behind = statement.offset + len(statement.text)
    if left := _REQUIRES.search(text, behind):
        line, column = script.position(left.start())
        raise InvalidInput(f"{name}:{line}:{column}: there is no statement behind this @requires. Put it before one.")
    return found


def _source(script: Script, statement: Statement, gap: str) -> Source:
    place = f"{script.name}:{statement.line}:{statement.column}"
    what = action(statement.text)
    source = Source(statement.text.rstrip(), place, tuple(_REQUIRES.findall(gap)), what)
    reason = ""
    if forbidden(what) or cluster_wide(what) or not (what.verb.startswith("CREATE ") or source.attached):
        reason = (
            f"{what.verb} is no source of an object. Sources create objects of one database, and comment on, grant or "
            'alter them; rows are moved by a delta (`dbt-cicd schema delta "TABLE update SQL"`).'
        )
    if not reason and (statement.data is not None or (what.alone and what.verb != "CREATE INDEX CONCURRENTLY")):
        reason = f"{what.verb} cannot run in the transaction of an upgrade."
    if not reason and _EVERYTHING.match(statement.text):
        reason = "what it means depends on what is there already. Name the objects one by one."
    if not reason and source.attached == "alter" and (word := _NOT_KEPT.search(_words(statement.text))):
        reason = _WHY[word[0].split()[0]]
    if not reason and what.concurrently and not what.names:
        reason = "give the index a name: it is what tells, after a run that died, whether it was built."
    if reason:
        raise InvalidInput(f"{place}: {reason}")
    return source


def _words(text: str) -> str:
    """The words of a statement without its strings, comments and quoted names, as capitals."""
    return " ".join(token.value.upper() for token in lexer.tokens(text) if token.kind == "word")
