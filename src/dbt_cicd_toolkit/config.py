"""The config file of a project, ``database/config/db_config.yaml``: every key optional, every other key refused."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn
from urllib.parse import unquote

from dbt_cicd_toolkit.errors import InvalidInput

if TYPE_CHECKING:
    from yaml.nodes import MappingNode, Node

NAME_BYTES = 63  # PostgreSQL's NAMEDATALEN - 1; a longer name would be cut by the server
_MILLISECONDS = 2**31 - 1  # the longest lock_timeout that PostgreSQL takes
# What history.py makes beside the table of the history: names that it derives from it, and its log with its parts.
_LONGEST_SUFFIX = "_s_idx"
_LOG = "dbt_cicd_migration_log"
_TAKEN = (_LOG, f"{_LOG}_pkey", f"{_LOG}_script_idx", f"{_LOG}_id_seq")
_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}
# libpq's keywords that may stand below `connection`; a password may not.
CONNECTION = (
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "service",
    "passfile",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslcertmode",
    "sslcrl",
    "sslcrldir",
    "sslsni",
    "sslnegotiation",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "channel_binding",
    "require_auth",
    "requirepeer",
    "gssencmode",
    "krbsrvname",
    "gsslib",
    "target_session_attrs",
    "load_balance_hosts",
    "connect_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "options",
)


class Lint(NamedTuple):
    """The section ``lint``: rules that are switched off; the Data Vault rules, which are switched on, and patterns of
    the tables (``schema.table``) they leave alone."""

    exclude: tuple[str, ...] = ()
    data_vault: bool = False
    exempt: tuple[str, ...] = ("util.*",)


class Config(NamedTuple):
    """What a config file says; load() reads one. Durations are seconds."""

    connection: Mapping[str, str] = MappingProxyType({})
    role: str | None = None
    embedded: bool = False
    schemas: tuple[str, ...] | None = None
    history_schema: str = "dbt_cicd"
    history_table: str = "dbt_cicd_migrations"
    lock_timeout: float = 2.0
    wait: float = 300.0
    scratch_url: str | None = None
    lint: Lint = Lint()


def load(path: Path, name: str | None = None) -> Config:
    """Read a config file; without one, the defaults.

    Args:
        path: the file.
        name: what messages call it; its path unless told.
    Raises:
        InvalidInput: no YAML, not UTF-8, an unknown or repeated key, a value of the wrong type, a password. The message
            names file and line, key and value (never of a password), and what is allowed.
    """
    reader = _Reader(name or str(path))
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        return Config()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{reader.name} is not UTF-8 at byte {error.start}: save it as UTF-8.") from None
    except OSError as error:
        raise InvalidInput(f"{reader.name} cannot be read: {error.strerror}.") from error
    if all(not line.strip() or line.lstrip().startswith("#") for line in text.splitlines()):
        return Config()  # nothing but comments, as `init` writes it; importing yaml takes longer than all of `status`
    return reader.config(text)


def holds_password(url: str) -> bool:
    """Does a URL or DSN hold a password, or look like it? Also in forms that libpq would read as something else."""
    text = unquote(url)
    _, separator, rest = url.partition("://")
    return bool(
        re.search(r"(?i)password\s*=", text) or (separator and re.match(r"[^@]*:[^@]*@", rest, re.DOTALL)),
    )


def seconds(text: str) -> float | None:
    """The seconds of a duration: 2, 2.5, "2s", "500ms", "5min", "1h"; None when it is none, or infinite."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?(ms|s|min|h)?", text)
    value = float(found[1]) * _SECONDS[found[2] or ""] if found else math.inf
    return value if math.isfinite(value) else None


class _Reader:
    """Turns YAML nodes, which know their lines, into a Config."""

    def __init__(self, name: str) -> None:
        self.name = name

    def config(self, text: str) -> Config:
        import yaml

        try:
            root = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except yaml.MarkedYAMLError as error:
            # Only what is wrong and where: the piece of the file that the error carries could hold a password.
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise InvalidInput(f"{self.name}:{line}: no YAML: {error.problem or error.context}.") from None
        except yaml.YAMLError as error:
            raise InvalidInput(f"{self.name}: no YAML: {type(error).__name__}.") from None
        self._refuse_passwords(root, set())
        return Config() if root is None or _is_null(root) else Config(**self._section(root, "", _KEYS))

    def _refuse_passwords(self, node: Any, seen: set[int]) -> None:
        if id(node) in seen or node is None or isinstance(node.value, str):
            return
        seen.add(id(node))  # an anchor may hold itself
        for item in node.value:
            key, value = item if isinstance(item, tuple) else (None, item)
            if key is not None and isinstance(key.value, str) and re.search("(?i)passw(or)?d", key.value):
                self._refuse_password(key, f"'{key.value}'")
            self._refuse_passwords(value, seen)

    def _refuse_password(self, node: Node, what: str) -> NoReturn:
        raise InvalidInput(
            f"{self.name}:{node.start_mark.line + 1}: {what} is refused in a file that is committed: put the password "
            "into .env, ~/.pgpass or the variable DB_PASSWORD."
        )

    def _section(self, node: Node, path: str, keys: Mapping[str, Callable[..., Any]]) -> dict[str, Any]:
        import yaml

        if not isinstance(node, yaml.MappingNode):
            self._wrong(node, path.rstrip(".") or "the file", "keys with values, as `init` writes them")
        values: dict[str, Any] = {}
        for key, value in self._pairs(node, path, tuple(keys)):
            if not _is_null(value):
                values[key] = keys[key](self, value, f"{path}{key}")
        return values

    def _pairs(self, node: MappingNode, path: str, allowed: tuple[str, ...]) -> list[tuple[str, Node]]:
        seen: dict[str, Node] = {}
        for key, value in node.value:
            name = key.value if isinstance(key.value, str) else "?"
            where = f"{self.name}:{key.start_mark.line + 1}:"
            if name not in allowed:
                raise InvalidInput(f"{where} unknown key '{path}{name}'. Allowed: {', '.join(allowed)}.")
            if name in seen:
                raise InvalidInput(f"{where} the key '{path}{name}' stands here for the second time.")
            seen[name] = value
        return list(seen.items())

    def _wrong(self, node: Node, key: str, allowed: str) -> NoReturn:
        if isinstance(node.value, str) and holds_password(node.value):
            self._refuse_password(node, f"{key} holds a password, which")
        value = f"'{node.value}'" if isinstance(node.value, str) else "a list or a mapping"
        raise InvalidInput(f"{self.name}:{node.start_mark.line + 1}: {key} is {value}. Allowed: {allowed}.")

    def text(self, node: Node, key: str) -> str:
        # The text as it is written: YAML would make a number of 1.10, and `false` of no.
        if not isinstance(node.value, str) or not node.value or "\0" in node.value:
            self._wrong(node, key, "a text")
        if holds_password(node.value):
            self._refuse_password(node, f"{key} holds a password, which")
        return str(node.value)

    def name_of(self, node: Node, key: str) -> str:
        value = self.text(node, key)
        if len(value.encode()) > NAME_BYTES:
            self._wrong(node, key, f"a name of at most {NAME_BYTES} bytes")
        return value

    def schema(self, node: Node, key: str) -> str:
        value = self.name_of(node, key)
        if value.startswith("pg_") or value == "information_schema":
            self._wrong(node, key, "a schema that is not the server's own")
        return value

    def history_table(self, node: Node, key: str) -> str:
        value = self.name_of(node, key)
        longest = NAME_BYTES - len(_LONGEST_SUFFIX)
        if len(value.encode()) > longest:
            self._wrong(node, key, f"a name of at most {longest} bytes; its index has {len(_LONGEST_SUFFIX)} more")
        if value in _TAKEN:
            self._wrong(node, key, f"another name: the log beside the history is {_LOG}")
        return value

    def flag(self, node: Node, key: str) -> bool:
        if node.tag != "tag:yaml.org,2002:bool":
            self._wrong(node, key, "true, false")
        return str(node.value).lower() in ("true", "yes", "on")

    def texts(self, node: Node, key: str, of: Callable[..., str] | None = None) -> tuple[str, ...]:
        import yaml

        if not isinstance(node, yaml.SequenceNode):
            self._wrong(node, key, "a list, such as [auth, business]")
        one = of or _Reader.text
        return tuple(dict.fromkeys(one(self, item, key) for item in node.value))

    def schemas(self, node: Node, key: str) -> tuple[str, ...]:
        names = self.texts(node, key, _Reader.name_of)
        if not names:
            self._wrong(node, key, "a list of one schema or more; without the key all are meant")
        return names

    def duration(self, node: Node, key: str) -> float:
        value = seconds(node.value) if isinstance(node.value, str) else None
        if value is None:
            self._wrong(node, key, "a number of seconds, or one with its unit: 500ms, 2s, 5min, 1h")
        return value

    def lock_timeout(self, node: Node, key: str) -> float:
        value = self.duration(node, key)
        # PostgreSQL would take 0 for no limit, and everyone would queue behind the migration.
        if not 1 <= value * 1000 <= _MILLISECONDS:
            self._wrong(node, key, f"1ms to {_MILLISECONDS}ms (24 days)")
        return value

    def connection(self, node: Node, key: str) -> dict[str, str]:
        return self._section(node, f"{key}.", dict.fromkeys(CONNECTION, _Reader.text))

    def lint(self, node: Node, key: str) -> Lint:
        keys: dict[str, Callable[..., Any]] = {
            "exclude": _Reader.texts,
            "data_vault": _Reader.flag,
            "exempt": _Reader.texts,
        }
        return Lint(**self._section(node, f"{key}.", keys))


def _is_null(node: Any) -> bool:
    return node is None or node.tag == "tag:yaml.org,2002:null"


_KEYS: Mapping[str, Callable[..., Any]] = {
    "connection": _Reader.connection,
    "role": _Reader.name_of,
    "embedded": _Reader.flag,
    "schemas": _Reader.schemas,
    "history_schema": _Reader.schema,
    "history_table": _Reader.history_table,
    "lock_timeout": _Reader.lock_timeout,
    "wait": _Reader.duration,
    "scratch_url": _Reader.text,
    "lint": _Reader.lint,
}
