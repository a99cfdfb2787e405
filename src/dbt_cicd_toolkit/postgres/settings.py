"""The settings of a connection: where each came from, how psycopg2 and PostgreSQL's programs get them, what to say when
they do not work.

A password is never shown: not by ``repr``, not in a message, not on another program's command line.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dbt_cicd_toolkit.config import holds_password
from dbt_cicd_toolkit.errors import InvalidInput, Refused
from dbt_cicd_toolkit.postgres import libpq
from dbt_cicd_toolkit.postgres.sources import Setting, Sources, of_source, read_env, shown

if TYPE_CHECKING:
    from dbt_cicd_toolkit.postgres.embedded import EmbeddedServer

__all__ = ["DEFAULTS", "Setting", "Settings", "connection_error", "embedded", "parse_url", "resolve"]

DEFAULTS: Mapping[str, str] = {"host": "localhost", "port": "5432", "dbname": "one_vault", "user": "postgres"}
_PASSWORD_ADVICE = "put it into DB_PASSWORD, .env or ~/.pgpass"
_FIRST = ("host", "hostaddr", "port", "dbname", "user", "password")
# What keeps the environment's settings of other servers away from an embedded one.
_EMBEDDED = {
    "sslmode": "disable",
    "sslnegotiation": "postgres",
    "gssencmode": "disable",
    "channel_binding": "prefer",
    "target_session_attrs": "any",
    "require_auth": "",
    "requirepeer": "",
    "options": "",
}


class Settings(NamedTuple):
    """The settings of a connection by libpq's keywords. Made by resolve() or embedded()."""

    values: Mapping[str, Setting]
    notes: tuple[str, ...] = ()

    def arguments(self) -> dict[str, str]:
        """The arguments for psycopg2.connect(**…)."""
        # An empty hostaddr keeps libpq from taking PGHOSTADDR, which would go past the host that was chosen here.
        return {"hostaddr": ""} | {keyword: setting.value for keyword, setting in self.values.items()}

    def environment(self) -> dict[str, str]:
        """The environment for pg_dump or psql: this process's, with libpq's variables replaced by these settings.

        It is a whole one because libpq ranks a PGSERVICE that is left in it above PGHOST and the others. The password
        is in PGPASSWORD, never on a command line, where every user of the machine can read it.
        """
        theirs = {*libpq.KEYWORDS.values(), "PGSERVICEFILE", "DB_PASSWORD"}
        kept = {name: value for name, value in os.environ.items() if name not in theirs}
        chosen = {libpq.KEYWORDS[keyword]: setting.value for keyword, setting in self.values.items()}
        return kept | {name: value for name, value in chosen.items() if name not in ("", "PGSERVICE")}

    def describe(self) -> list[str]:
        """Lines that say what is used and where it came from; of a password only where it came from."""
        lines = {}
        for keyword, setting in self.values.items():
            if setting.secret:
                lines[keyword] = f"{keyword} from {setting.source}"
            elif setting.source:
                lines[keyword] = f"{keyword} {shown(setting.value)} ({setting.source})"
        lines.setdefault("password", "password none")
        first = [lines.pop(keyword) for keyword in _FIRST if keyword in lines]
        return [*first, *lines.values(), *self.notes]

    def on(self, dbname: str) -> Settings:
        """The same server and user, another database. The password stays: it belongs to the user."""
        return self._replace(values={**self.values, "dbname": Setting(dbname, "another database of this server")})


def embedded(server: EmbeddedServer, dbname: str, source: str = "option --embedded") -> Settings:
    """The settings of an embedded server, whatever the environment says of other servers."""
    values = {"host": server.host, "port": str(server.port), "dbname": dbname, "user": server.user}
    told = of_source({**values, "password": server.password}, source)
    return Settings(told | {key: Setting(value, "") for key, value in _EMBEDDED.items() if libpq.knows(key)})


def resolve(
    options: Mapping[str, str | None],
    *,
    directory: Path,
    config: Mapping[str, object],
    config_name: str,
    defaults: Mapping[str, str] = DEFAULTS,
    environ: Mapping[str, str] | None = None,
    url_source: str = "option --url",
) -> Settings:
    """Return the settings of a connection; the first source that has a value wins, an empty value is none.

    Options, DB_* of the environment, PGSERVICE, PG*, the password file, ``.env``, the config file, defaults. A service
    named by an option or in the config file counts as if its settings stood there, after those that do.

    Args:
        options: of the command line, by libpq's keyword; and ``url``, a URL or DSN, which every other option overrides.
        directory: where ``.env`` is looked for. It is read, never put into the environment.
        config: the section ``connection`` of a config file, and config_name that file's name for messages.
        defaults: the last resort.
        environ: the environment; os.environ unless told.
        url_source: what messages call the URL.
    Raises:
        InvalidInput: a password in a URL, an option or the config file; an impossible port or mode; a value that no
            setting can hold; an unknown service; a ``.env`` that is not UTF-8.
    """
    chosen = Sources(os.environ if environ is None else environ)
    given = {keyword: value for keyword, value in options.items() if value and keyword != "url"}
    for keyword in given.keys() & libpq.SECRETS:
        raise InvalidInput(f"option --{keyword} is refused, others can read it: {_PASSWORD_ADVICE}.")
    for keyword, value in given.items():
        chosen.put(of_source({keyword: value}, f"option --{keyword.replace('_', '-')}"))
    url = options.get("url")
    chosen.put(of_source(parse_url(url, url_source) if url else {}, url_source))
    chosen.put_service()
    chosen.put_variables(chosen.environ)
    has_password = "password" in chosen.values
    chosen.put_variables(read_env(directory / ".env"), ".env")
    for keyword in config.keys() & libpq.SECRETS:
        raise InvalidInput(f"{config_name} holds a {keyword}, which is refused there: {_PASSWORD_ADVICE}.")
    chosen.put(of_source({key: str(value) for key, value in config.items() if value is not None}, config_name))
    chosen.put_service()
    chosen.put(of_source(defaults, "default"))
    chosen.settle_host()
    chosen.check()
    notes = () if has_password else chosen.put_password_of_file()
    return Settings(chosen.values, notes)


def parse_url(url: str, source: str) -> dict[str, str]:
    """Return the settings in a ``postgresql://`` URL or a ``keyword=value …`` DSN.

    Raises InvalidInput, which never repeats the URL, when it is malformed or holds a password.
    """
    import psycopg2
    from psycopg2.extensions import parse_dsn

    if holds_password(url):
        raise InvalidInput(
            f"{source} holds a password (or an '@' that must be written %40): take it out and {_PASSWORD_ADVICE}."
        )
    try:
        found = {str(keyword): str(value) for keyword, value in parse_dsn(url).items()}
    except (psycopg2.Error, ValueError):
        # Without libpq's own message, which repeats parts of the URL.
        raise InvalidInput(
            f"{source} is no URL of PostgreSQL: write postgresql://user@host:5432/database, after a ? libpq's keywords."
        ) from None
    if found.keys() & libpq.SECRETS:
        raise InvalidInput(f"{source} holds a password: take it out and {_PASSWORD_ADVICE}.")
    return found


def connection_error(settings: Settings, error: BaseException) -> Refused:
    """What to tell when connecting failed: the server's own words, which setting came from where, what to try."""
    message = _scrubbed(str(error).strip(), settings)
    lines = [f"Connection failed: {message}", "Settings:", *(f"  {line}" for line in settings.describe()), "Try:"]
    return Refused("\n".join([*lines, *(f"  {advice}" for advice in _advice(settings, message))]))


def _advice(settings: Settings, message: str) -> list[str]:
    advice = []
    if "Connection refused" in message or "No such file or directory" in message:
        advice.append(
            "nothing listens there: start the server, mend host or port, or use --embedded, a server of its own"
        )
    elif "could not translate host name" in message:
        advice.append("no such host: mend host")
    elif re.search('database ".*" does not exist', message, re.DOTALL):
        advice.append(
            f"create the database: {_command('createdb', settings)} {_quoted(settings.values['dbname'].value)}"
        )
    elif "password" in message or "no pg_hba.conf entry" in message:
        if "password" not in settings.values:
            advice.append("give the password: export DB_PASSWORD=…, or DB_PASSWORD=… in .env, or a line in ~/.pgpass")
        else:
            source = settings.values["password"].source
            advice.append(f"check the user and the password, which came from {source}")
    if not advice or "password" not in settings.values:
        advice.append("check that DB_PASSWORD is set: echo ${DB_PASSWORD:+set}")
    dbname = _quoted(settings.values["dbname"].value)
    return [*advice, f"test the connection: {_command('psql', settings)} -d {dbname}"]


def _command(program: str, settings: Settings) -> str:
    """A command line with what that program's options and libpq's variables can say, but no password."""
    flags = {"host": "-h", "port": "-p", "user": "-U"}
    left_out = {*flags, "dbname", "service", *libpq.SECRETS}
    variables = [
        f"{libpq.KEYWORDS[keyword]}={_quoted(setting.value)}"
        for keyword, setting in settings.values.items()
        if keyword not in left_out and libpq.KEYWORDS[keyword] and setting.source
    ]
    options = [f"{flag} {_quoted(settings.values[key].value)}" for key, flag in flags.items() if key in settings.values]
    return " ".join([*variables, program, *options])


def _quoted(value: str) -> str:
    """A shell's word, on one line whatever it holds."""
    if value.isprintable():
        import shlex

        return shlex.quote(value)
    return "$'" + value.encode("unicode_escape").decode("ascii").replace("'", "\\'") + "'"


def _scrubbed(message: str, settings: Settings) -> str:
    """The message without the password. One that equals another setting stays: marking it would tell that it does."""
    open_values = {setting.value for setting in settings.values.values() if not setting.secret}
    for setting in settings.values.values():
        if setting.secret and setting.value and setting.value not in open_values:
            message = re.sub(rf"(?<!\w){re.escape(setting.value)}(?!\w)", "****", message)
    return message
