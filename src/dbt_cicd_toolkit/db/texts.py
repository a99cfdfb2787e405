"""The texts of the files that `init` and `create` write; templates/ has them, with ``@name@`` for what is put in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from dbt_cicd_toolkit.config import Config
from dbt_cicd_toolkit.errors import InvalidInput

_TEMPLATES = Path(__file__).with_name("templates")
_LOG_FUNCTION = re.compile(
    rb'create\s+(?:or\s+replace\s+)?(?:function|procedure)\s+"?util"?\s*\.\s*"?log_deployment_start"?\s*\(',
    re.IGNORECASE,
)


def template(name: str, values: Mapping[str, str] | None = None) -> str:
    """A template with its ``@name@`` replaced, all at once: a value may hold what looks like another one."""
    text = (_TEMPLATES / name).read_text(encoding="utf-8")
    return re.sub(r"@([a-z_]+)@", lambda match: (values or {})[match[1]], text) if values else text


def migration_text(version: str, description: str, created: datetime, with_util: bool) -> str:
    """The text of a new migration, which changes nothing, and with ``with_util`` enters itself into the log.

    Raises InvalidInput when the description would not stay in its comment.
    """
    text = template("migration.sql", _header(version, description, created))
    return text + _log_call("deployment", f"{description} (v{version})", description) if with_util else text


def rollback_text(version: str, description: str, created: datetime, with_util: bool) -> str:
    """The text of the rollback of a new migration, as migration_text()."""
    text = template("rollback.sql", _header(version, description, created))
    name, what = f"ROLLBACK: {description} (v{version})", f"Rolling back: {description}"
    return text + _log_call("rollback", name, what) if with_util else text


def sample_texts(created: datetime) -> tuple[str, str]:
    """The migration V1.0.0__Initial_Foundation and its rollback."""
    values = {"created": _seconds(created)}
    return template("sample.sql", values), template("sample_rollback.sql", values)


def has_util(migrations: Iterable[bytes]) -> bool:
    """Does one of these files define util.log_deployment_start?"""
    return any(_LOG_FUNCTION.search(data) for data in migrations)


def config_text(embedded: bool, connection: Mapping[str, str]) -> str:
    """A db_config.yaml in which all but these is commented out."""
    # JSON's strings are YAML's, whatever they hold.
    lines = [f"  {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in connection.items()]
    values = {
        "connection": "\n".join(["connection:", *lines, ""]) if lines else "",
        "embedded": "embedded: true" if embedded else "#embedded: false",
    }
    return template("db_config.yaml", values)


def flyway_text(connection: Mapping[str, str], config: Config, directory: str) -> str:
    """A flyway.conf for the same migrations and history.

    Args:
        connection: settings by libpq's keyword; a password in it is left out.
        config: names of schema and history.
        directory: the folder ``database`` as seen from where Flyway is run.
    Raises:
        InvalidInput: the history has a name that Flyway's file cannot hold.
    """
    for name in (config.history_schema, config.history_table, directory, *(config.schemas or ())):
        if not name.isprintable() or name != name.strip() or "${" in name:
            raise InvalidInput(f"flyway.conf cannot hold the name {name!r}: rename it, or delete the file's lines.")
    schemas = ",".join(config.schemas or ())
    values = {
        "file": f"{directory}/config/flyway.conf",
        "rollback": f"{directory}/rollback",
        "migrations": f"{directory}/migrations",
        "connection": "\n".join(_jdbc(connection)),
        "schema": config.history_schema,
        "table": config.history_table,
        "schemas": f"flyway.schemas={schemas}" if schemas else "# flyway.schemas=auth,business,util,audit",
    }
    return template("flyway.conf", values)


def _jdbc(connection: Mapping[str, str]) -> list[str]:
    """The lines with Flyway's URL and user; see https://jdbc.postgresql.org/documentation/use/."""
    host = connection.get("host", "localhost").split(",")[0]
    note = []
    if host.startswith(("/", "@")) or not host:
        note, host = ["# JDBC has no Unix socket: the server must listen on TCP as well."], "localhost"
    if ":" in host:
        host = f"[{host}]"
    elif not re.fullmatch(r"[\w.-]+", host):
        host = quote(host, safe="")
    port = connection.get("port", "5432").split(",")[0]
    query = {key: connection[key] for key in ("sslmode", "sslrootcert", "sslcert", "sslkey") if connection.get(key)}
    user = connection.get("user", "")
    plain = re.fullmatch(r"[\w.@-]+", user)
    if user and not plain:
        query["user"] = user  # ${…} and spaces at an end mean something in the file
    parameters = "&".join(f"{key}={quote(value, safe='')}" for key, value in query.items())
    dbname = quote(connection.get("dbname", ""), safe="")
    url = f"flyway.url=jdbc:postgresql://{host}:{port}/{dbname}{'?' if parameters else ''}{parameters}"
    return [*note, url, *([f"flyway.user={user}"] if plain else [])]


def _header(version: str, description: str, created: datetime) -> dict[str, str]:
    # A carriage return ends a comment for PostgreSQL too.
    if not description.isprintable():
        raise InvalidInput(f"the description {description!r} holds a line's end or another control character.")
    return {"description": description, "version": version, "created": _seconds(created)}


def _seconds(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(timespec="seconds")


def _log_call(what: str, name: str, text: str) -> str:
    return template("log_call.sql", {"what": what, "name": _literal(name), "text": _literal(text)})


def _literal(text: str) -> str:
    """A literal that reads the same whatever standard_conforming_strings is."""
    quoted = "'" + text.replace("'", "''") + "'"
    return "E" + quoted.replace("\\", "\\\\") if "\\" in text else quoted
