"""Step through the tokens of one statement, as far as they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from dbt_cicd_toolkit.postgres import lexer
from dbt_cicd_toolkit.postgres.lexer import Token


class Name(NamedTuple):
    """A name as PostgreSQL keeps it: folded, and cut to 63 bytes."""

    schema: str | None
    name: str


class Reader:
    """The tokens of a statement, read as far as they are asked for."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._source = lexer.tokens(text)
        self._tokens: list[Token] = []
        self._at = 0

    def peek(self, ahead: int = 0) -> Token | None:
        at, tokens = self._at + ahead, self._tokens
        while len(tokens) <= at:
            token = next(self._source, None)
            if token is None:
                return None
            tokens.append(token)
        return tokens[at]

    def next(self) -> Token | None:
        token = self.peek()
        self._at += token is not None
        return token

    def word(self, ahead: int = 0) -> str:
        token = self.peek(ahead)
        return token.value.upper() if token and token.kind == "word" else ""

    def accept(self, phrase: str) -> bool:
        """Step over these keywords if they are next."""
        first, *others = phrase.split()
        if self.word() != first or any(self.word(ahead) != word for ahead, word in enumerate(others, 1)):
            return False
        self._at += 1 + len(others)
        return True

    def accept_any(self, *phrases: str) -> str:
        first = self.word()
        return next((each for each in phrases if each.startswith(first) and self.accept(each)), "") if first else ""

    def symbol(self, value: str) -> bool:
        token = self.peek()
        if token and token.kind == "punctuation" and token.value == value:
            self._at += 1
            return True
        return False

    def name(self) -> Name | None:
        """A name, qualified or not; of database.schema.table the last two parts."""
        parts = []
        while (token := self.peek()) and token.kind in ("word", "identifier"):
            parts.append(lexer.fold(token.value) if token.kind == "word" else token.value)
            self._at += 1
            if not self.symbol("."):
                break
        return Name(parts[-2] if len(parts) > 1 else None, parts[-1]) if parts else None

    def names(self, *, only: bool = False) -> tuple[Name, ...]:
        """Names with commas between them; argument types and columns are left out, and with ``only`` the word ONLY."""
        found = []
        while True:
            if only:
                self.accept("ONLY")
            name = self.name()
            if name:
                found.append(name)
            self.skip_parentheses()
            self.symbol("*")
            if not name or not self.symbol(","):
                return tuple(found)

    def skip_parentheses(self) -> None:
        if self.symbol("("):
            depth = 1
            while depth and (token := self.next()):
                depth += (token.value == "(") - (token.value == ")") if token.kind == "punctuation" else 0

    def top(self) -> Iterator[Token]:
        """The remaining tokens outside parentheses."""
        while self.peek():
            self.skip_parentheses()
            if token := self.next():
                yield token

    def until(self, *words: str) -> Iterator[Token]:
        """The tokens outside parentheses up to one of these keywords."""
        for token in self.top():
            if token.is_word(*words):
                return
            yield token

    def options(self) -> dict[str, str]:
        """( name [=] [value], … ): names in capitals, values in small letters, 'true' where there is none."""
        found: dict[str, str] = {}
        if self.symbol("("):
            while (token := self.next()) and token.value != ")":
                name, value = token.value.upper(), "true"
                self.symbol("=")
                while (token := self.peek()) and token.value not in (",", ")"):
                    value = token.value.lower()
                    self._at += 1
                found[name] = value
                self.symbol(",")
        return found
