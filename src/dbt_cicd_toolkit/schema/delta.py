"""Deltas: the changes of tables that sources cannot tell, one operation a line.

The lines are those of Wyseman ("Migration Delta Files" in its docs), with what it leaves open: a new type, data to move
or to check, a table renamed or dropped. Names fold as in PostgreSQL. Words that ALTER TABLE has and that add nothing
(COLUMN, TO, TYPE, USING) may be written; str() leaves them out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Literal

from dbt_cicd_toolkit.errors import InvalidInput
from dbt_cicd_toolkit.postgres import lexer
from dbt_cicd_toolkit.postgres.lexer import Token
from dbt_cicd_toolkit.postgres.reader import Name, Reader
from dbt_cicd_toolkit.postgres.session import identifier
from dbt_cicd_toolkit.postgres.statements import action, cluster_wide, forbidden

Op = Literal["add", "drop", "rename", "alter", "update", "rename table", "drop table", "list", "pop"]
FORMS: dict[Op, str] = {
    "add": "mytable add new_column 'text not null' [default_value [default]]",
    "drop": "mytable drop old_column",
    "rename": "mytable rename original_name new_name",
    "alter": "mytable alter column 'new type' [expression]",
    "update": "mytable update set column = expression [where condition], or a whole statement behind update",
    "rename table": "mytable rename table new_name",
    "drop table": "mytable drop table [if empty]",
    "list": "mytable list",
    "pop": "mytable pop",
}
COMMANDS: tuple[Op, ...] = ("list", "pop")  # they ask for what is in the file, and do not stand in it
_PLAIN = re.compile("[a-z_][a-z0-9_]*")
_UNFIT = re.compile("[\n\r\0\ud800-\udfff]")
_OPENING = {")": "(", "]": "["}
# PostgreSQL reserves these, so none is a name, a type or the begin of an expression (but NOT, of an expression).
_RESERVED = {
    "CHECK", "COLLATE", "COLUMN", "CONSTRAINT", "DEFAULT", "FOREIGN", "NOT", "PRIMARY", "REFERENCES", "TABLE", "TO",
    "UNIQUE", "USING", "WITH",
}  # fmt: skip
_NO_TYPE = _RESERVED | {"SET", "DROP"}  # ALTER COLUMN … SET DEFAULT and the like
_STILL_TYPE = _RESERVED - {"NOT"} | {"GENERATED", "PRECISION", "VARYING", "WITHOUT"}
_STATEMENTS = {
    "SELECT", "WITH", "INSERT", "UPDATE", "DELETE", "MERGE", "TRUNCATE", "LOCK", "DO", "CALL", "CREATE", "ALTER",
    "DROP", "ANALYZE", "REFRESH",
}  # fmt: skip


def written(name: Name) -> str:
    """A name as deltas have it: quoted only where it must be."""
    return ".".join(_written(part) for part in (name.schema, name.name) if part is not None)


def _written(name: str) -> str:
    return name if _PLAIN.fullmatch(name) and name.upper() not in _RESERVED else identifier(name)


@dataclass(frozen=True, slots=True)
class Delta:
    """One operation. str() is its line, which parse() reads as the same delta again. Texts it has no use for are ''.

    Attributes:
        op: the operation.
        table: folded; without a schema until resolve() gives it one.
        column: the column that is added, dropped, renamed or retyped.
        new: the new name of the column or table.
        type: of add what stands behind the column's name in ALTER TABLE … ADD ('text not null'), of alter the new type.
        sql: of add the expression that fills old rows, of alter the one behind USING; of update the SQL behind that
            word, which `statement` makes whole.
        stays: whether the expression of add stays as the column's default.
        if_empty: of drop table, that rows refuse the upgrade.
    """

    op: Op
    table: Name
    column: str = ""
    new: str = ""
    type: str = ""
    sql: str = ""
    stays: bool = False
    if_empty: bool = False

    @property
    def statement(self) -> str:
        """What update runs: `set …` is short for an UPDATE of the table, anything else is a statement as it is."""
        if Reader(self.sql).word() != "SET":
            return self.sql
        table = ".".join(identifier(part) for part in (self.table.schema, self.table.name) if part is not None)
        return f"update {table} {self.sql}"

    def __str__(self) -> str:
        words = [written(self.table), self.op, *(_written(name) for name in (self.column, self.new) if name)]
        if self.type:
            words.append("'" + self.type.replace("'", "''") + "'")
        if self.sql:
            words.append(self.sql)
        if self.stays:
            words.append("default")
        if self.if_empty:
            words.append("if empty")
        return " ".join(words)


def parse(text: str, where: str) -> Delta:
    """The operation that a line declares; a semicolon and a comment at its end do not belong to it.

    Args:
        text: one line.
        where: what messages begin with, before the column: 'schema.delta:12' or '--migrate'.
    Raises:
        InvalidInput: it declares none; the message has the wrong word and the form that is right.
    """
    return _Line(text, where).delta()


def resolve(delta: Delta, tables: Collection[str], where: str) -> Delta:
    """The delta with its table as it is known, which gives an unqualified one its schema.

    Args:
        tables: the tables there are, qualified and quoted as in SQL: 'business.t'.
        where: what messages begin with.
    Raises:
        InvalidInput: there is no such table, or there are several; the message names the candidates.
    """
    known = {name: table for table in tables if (name := Reader(table).name())}
    found = [name for name in known if same_table(name, delta.table)]
    if len(found) == 1:
        return replace(delta, table=found[0])
    asked = written(delta.table)
    if found:
        candidates = ", ".join(sorted(known[name] for name in found))
        raise InvalidInput(f"{where}: {asked} can be any of {candidates}. Write it with its schema.")
    import difflib

    near = [known[name] for name in known if name.name == delta.table.name]
    near = near or difflib.get_close_matches(asked, known.values())
    there_is = f"Did you mean {' or '.join(sorted(near))}?" if near else f"Known are: {', '.join(sorted(tables))}."
    raise InvalidInput(f"{where}: there is no table {asked}. {there_is}")


def same_table(one: Name, other: Name) -> bool:
    """Whether both names can mean one table: a missing schema can be any."""
    return one.name == other.name and (one.schema == other.schema or None in (one.schema, other.schema))


def _form(op: Op) -> str:
    return f"Write: {FORMS[op]}"


def _operations() -> str:
    return "\n  ".join(["The operations are:", *FORMS.values()])


def _whole(text: str, fail: Callable[[int, str], InvalidInput], separators: str = ";") -> str:
    """The text up to its last token: without a semicolon and a comment at its end.

    Raises what ``fail`` makes of an offset and a message when a quote, comment or parenthesis is not closed, or when
    there are several lines, or several parts with a separator between them.
    """
    if unfit := _UNFIT.search(text):
        raise fail(unfit.start(), "a line break, or what is no character, cannot be in it. One operation, one line.")
    *tokens, last = lexer.tokens(f"{text}\n;", comments=True)
    if last.offset != len(text) + 1:
        raise fail(last.offset, f"{_shortened(text[last.offset :])} is not closed.")
    tokens = [token for token in tokens if token.kind != "comment"]
    while tokens and _is(tokens[-1], ";"):
        tokens.pop()
    opened: list[Token] = []
    for token in tokens:
        if _is(token, "(", "["):
            opened.append(token)
        elif _is(token, *_OPENING) and (not opened or opened.pop().value != _OPENING[token.value]):
            raise fail(token.offset, f"this {token.value} closes nothing.")
        elif _is(token, *separators) and not opened:
            raise fail(token.offset, f"there is something behind this {token.value} One operation, one line.")
    if opened:
        raise fail(opened[-1].offset, f"this {opened[-1].value} is not closed.")
    return text[: tokens[-1].end] if tokens else ""


def _is(token: Token, *values: str) -> bool:
    return token.kind == "punctuation" and token.value in values


def _shortened(text: str) -> str:
    return text if len(text) <= 20 else f"{text[:20]} …"


class _Line:
    """A line that is being read."""

    def __init__(self, text: str, where: str) -> None:
        self.where = where
        self.text = _whole(text, self._fail)
        self.reader = Reader(self.text)

    def delta(self) -> Delta:
        table = self._name("a table", _operations())
        operation = _READ.get(self.reader.word())
        if operation is None:
            wrong = f"{self._quoted()} is no operation" if self.reader.peek() else "an operation is missing"
            raise self._fail(self._here, f"{wrong}. {_operations()}")
        self.reader.next()
        return operation(self, table)

    def add(self, table: Name) -> Delta:
        column = self._column("add")
        type_ = self._type("add")
        sql, stays = self._expression("add")
        return Delta("add", table, column, type=type_, sql=sql, stays=stays)

    def drop(self, table: Name) -> Delta:
        if self.reader.accept("TABLE"):
            if_empty = self.reader.accept("IF EMPTY")
            return self.ends(Delta("drop table", table, if_empty=if_empty))
        return self.ends(Delta("drop", table, self._column("drop")))

    def rename(self, table: Name) -> Delta:
        if self.reader.accept("TABLE"):
            return self.ends(Delta("rename table", table, new=self._new("rename table")))
        return self.ends(Delta("rename", table, self._column("rename"), self._new("rename")))

    def alter(self, table: Name) -> Delta:
        column = self._column("alter")
        if self.reader.peek(1):  # a type may be called type
            self.reader.accept("TYPE")
        type_ = self._type("alter")
        self.reader.accept("USING")
        sql, stays = self._expression("alter")
        if stays:
            raise self._fail(len(self.text), f"default is too much: the sources say it. {_form('alter')}")
        return Delta("alter", table, column, type=type_, sql=sql)

    def update(self, table: Name) -> Delta:
        at = self._here
        delta = Delta("update", table, sql=self.text[at:])
        if not delta.sql:
            raise self._fail(at, f"the SQL is missing. {_form('update')}")
        what = action(delta.statement)
        first = what.verb.partition(" ")[0]
        if forbidden(what) or first in ("ROLLBACK", "SAVEPOINT", "RELEASE"):
            raise self._fail(at, f"{what.verb} is not for an upgrade, which is one transaction. Remove it.")
        if what.alone:
            raise self._fail(at, f"{what.verb} cannot run inside a transaction, and an upgrade is one. Remove it.")
        if cluster_wide(what):
            raise self._fail(at, f"{what.verb} reaches beyond the database, which an upgrade does not. Remove it.")
        if first not in _STATEMENTS:
            statements = "INSERT, UPDATE, DELETE, MERGE, SELECT, WITH, DO, ALTER TYPE … ADD VALUE …"
            wrong = f"{self._quoted()} begins no statement for an update"
            raise self._fail(at, f"{wrong}. {_form('update')}: {statements}")
        return delta

    def ends(self, delta: Delta) -> Delta:
        if self.reader.peek():
            raise self._fail(self._here, f"{self._quoted()} is too much. {_form(delta.op)}")
        return delta

    def _column(self, op: Op) -> str:
        self.reader.accept("COLUMN")
        return self._one_name("a column", op)

    def _new(self, op: Op) -> str:
        self.reader.accept("TO")
        return self._one_name("a new name", op)

    def _one_name(self, what: str, op: Op) -> str:
        at, word = self._here, self.reader.word()
        if word in _RESERVED:
            raise self._fail(
                at,
                f'{word} is a keyword, as a name it is written "{word.lower()}". {_form(op)} (Constraints and defaults '
                "have no deltas: the sources say what they are.)",
            )
        name = self._name(what, _form(op))
        if name.schema is not None:
            raise self._fail(at, f"{written(name)} is a name with a dot, and {what} has none. {_form(op)}")
        return name.name

    def _name(self, what: str, advice: str) -> Name:
        at = self._here
        name = self.reader.name()
        if name is None:
            wrong = f"{self._quoted()} is no name of {what}" if self.reader.peek() else f"{what} is missing"
            raise self._fail(at, f"{wrong}. {advice}")
        parts = [token for token in lexer.tokens(self.text[at : self._here]) if not _is(token, ".")]
        if len(parts) > 2 or any(not part or _UNFIT.search(part) for part in (name.schema or "x", name.name)):
            raise self._fail(at, f"{self.text[at : self._here].strip()} is no name of {what}. {advice}")
        return name

    def _type(self, op: Op) -> str:
        token = self.reader.next()
        if token is None:
            raise self._fail(len(self.text), f"a type is missing. {_form(op)}")
        source, type_ = self.text[token.offset : token.end], ""
        if source.startswith("'"):
            within = f"in the type {source} "
            type_ = _whole(token.value, lambda _, why: self._fail(token.offset, within + why), ";,").strip()
        elif token.kind in ("word", "identifier") and not token.is_word(*_NO_TYPE):
            following = self.reader.peek()
            type_ = "" if following and _is(following, "(", "[", ".") else source
        if not type_:
            raise self._fail(token.offset, f"{source} is no type: one word, or in single quotes. {_form(op)}")
        return type_

    def _expression(self, op: Op) -> tuple[str, bool]:
        """The rest of the line, and whether the word DEFAULT stands behind it."""
        at = self._here
        tokens = list(lexer.tokens(self.text, at))
        if not tokens:
            return "", False
        if tokens[0].is_word(*_STILL_TYPE) or [token.value.upper() for token in tokens[:2]] == ["NOT", "NULL"]:
            where_to = "single quotes hold a type of several words, and default stands last"
            raise self._fail(at, f"{self._quoted()} begins no expression: {where_to}. {_form(op)}")
        stays = tokens[-1].is_word("DEFAULT")
        sql = self.text[at : tokens[-1 - stays].end]
        return _whole(sql, lambda offset, why: self._fail(at + offset, why), ";,"), stays

    @property
    def _here(self) -> int:
        token = self.reader.peek()
        return token.offset if token else len(self.text)

    def _quoted(self) -> str:
        token = self.reader.peek()
        return f"'{self.text[token.offset : token.end]}'" if token else "''"

    def _fail(self, offset: int, message: str) -> InvalidInput:
        return InvalidInput(f"{self.where}:{offset + 1}: {message}")


_READ: dict[str, Callable[[_Line, Name], Delta]] = {
    "ADD": _Line.add,
    "DROP": _Line.drop,
    "RENAME": _Line.rename,
    "ALTER": _Line.alter,
    "UPDATE": _Line.update,
    "LIST": lambda line, table: line.ends(Delta("list", table)),
    "POP": lambda line, table: line.ends(Delta("pop", table)),
}
