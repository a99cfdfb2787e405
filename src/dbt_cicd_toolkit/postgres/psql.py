"""What only psql understands, and what to write instead.

Sources: PostgreSQL src/bin/psql/command.c for the commands, src/fe_utils/psqlscan.l for the variables.
"""

from __future__ import annotations

import re

from dbt_cicd_toolkit.postgres import lexer

# pg_dump puts its output between these lines since CVE-2025-8714; they lock psql's other commands, and do nothing else.
RESTRICT = re.compile(r"\\(?:un)?restrict[ \t]+[^\s\\]+[ \t\r]*(?:\n|\Z)")
_NAME = f"{lexer.LETTER}+"
VARIABLE = re.compile(rf""":(?:'{_NAME}'|"{_NAME}"|\{{\?{_NAME}\}})""")
_COMMAND = re.compile(r"\\(?:[;:.?!]|[A-Za-z_]+\+?|)")
_ADVICE = {
    ".": "ends the data of COPY … FROM STDIN, and none was open here. Remove the line.",
    ";": "sends two statements at once. Write ; alone.",
    "c connect": "connects elsewhere. A file runs in one database: remove it, and dump without --create.",
    "i include ir include_relative": "reads another file. Put its statements into this one.",
    "copy": "copies on the client. Write COPY … FROM STDIN; with the rows below it and a line \\. behind them.",
    "g gx gset gdesc crosstabview bind bind_named parse": "runs the statement in psql's way. Write ; instead.",
    "gexec": "runs what a query returned. Write DO $$ BEGIN … EXECUTE … END $$; instead.",
    "if elif else endif": "is a condition of psql. Write DO $$ BEGIN IF … END IF; END $$; instead.",
    "set unset gset prompt getenv setenv": "is for psql's variables. Write the value itself where it is used.",
    "encoding": "sets the encoding, and files are UTF-8. Remove it.",
    "restrict unrestrict": "stands alone on a line between statements, with its key.",
    "q quit": "ends psql. Remove it and what follows.",
}
_BY_NAME = {name: advice for names, advice in _ADVICE.items() for name in names.split()}
_UTF8 = ("utf8", "unicode", "sqlascii", "default")  # SQL_ASCII: the bytes pass as they are
_ON = ("on", "true", "yes", "1", "default")


def command_refused(text: str, at: int) -> str:
    """Why the backslash at ``at`` is refused, and what to do."""
    match = _COMMAND.match(text, at)
    name = match.group()[1:] if match else ""
    if not name:
        return "a backslash outside a string is no SQL. Remove it."
    advice = _BY_NAME.get(name.rstrip("+"), "does nothing that a migration needs. Remove it.")
    return f"\\{name} is a command of psql, not SQL; it {advice}"


def variable_refused(variable: str) -> str:
    """Why a variable of psql is refused, and what to do."""
    return f"{variable} is a variable of psql, not SQL. Write the value itself."


def setting_refused(statement: str) -> str | None:
    """Why a SET may not be in a file, or None.

    Refused are those under which the text would mean something else than it was split and sent as:
    standard_conforming_strings = off, and a client_encoding other than the file's.
    """
    if not any(name in statement.lower() for name in ("standard_conforming_strings", "client_encoding", "names")):
        return None
    words = [token for token in lexer.tokens(statement) if token.kind in ("word", "identifier", "string", "number")]
    words = words[1 + (len(words) > 1 and words[1].is_word("SESSION", "LOCAL")) :]
    values = [word.value.lower() for word in words if not word.is_word("TO")]
    if len(values) < 2:
        return None
    name, value = values[0], values[1]
    if name == "standard_conforming_strings" and not any(on.startswith(value) and value not in ("", "o") for on in _ON):
        return "standard_conforming_strings must stay on. Remove this, and write E'…' where a string has backslashes."
    if name in ("client_encoding", "names") and value.replace("-", "").replace("_", "") not in _UTF8:
        return f"the file is read as UTF-8, not {values[1]}. Remove this, or write SET client_encoding = 'UTF8'."
    return None
