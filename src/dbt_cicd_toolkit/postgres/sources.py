"""The sources of a connection's settings, put on top of each other: options, environment, service, ``.env``, files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dbt_cicd_toolkit.config import holds_password
from dbt_cicd_toolkit.errors import InvalidInput
from dbt_cicd_toolkit.postgres import libpq

_OURS = {"host": "DB_HOST", "port": "DB_PORT", "dbname": "DB_NAME", "user": "DB_USER", "password": "DB_PASSWORD"}
_CHOICES = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "channel_binding": ("disable", "prefer", "require"),
    "target_session_attrs": ("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
}
_PLAIN = ("host", "hostaddr", "port", "dbname", "user")


@dataclass(frozen=True)
class Setting:
    """A value and where it came from, as told to people: "option --host", "DB_HOST", ".env", "default" …"""

    value: str
    source: str
    secret: bool = field(default=False, compare=False)

    def __repr__(self) -> str:
        return f"Setting({'…' if self.secret else repr(self.value)}, {self.source!r})"


def of_source(values: Mapping[str, str | None], source: str) -> dict[str, Setting]:
    """The settings that a source gives; an empty value gives none."""
    return {keyword: setting(keyword, value, source) for keyword, value in values.items() if value}


def setting(keyword: str, value: str, source: str) -> Setting:
    """A setting, marked as secret when its keyword is."""
    return Setting(value, source, secret=keyword in libpq.SECRETS)


class Sources:
    """The values chosen so far; a source that is put later only fills gaps."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.values: dict[str, Setting] = {}
        self._rank: dict[str, int] = {}
        self._sources = 0
        self._service_read = False

    def put(self, source: Mapping[str, Setting]) -> None:
        """Put one source below those before it."""
        self._sources += 1
        for keyword, found in source.items():
            if keyword not in self.values:
                self.values[keyword] = found
                self._rank[keyword] = self._sources

    def put_service(self) -> None:
        """Put what the chosen service says, once. Raises InvalidInput."""
        service = self.values.get("service")
        if service is None or self._service_read:
            return
        self._service_read = True
        found, file = libpq.read_service(service.value, self.environ)
        source = f"service {shown(service.value)} in {shown(file)}"
        # An unknown keyword is left to libpq, which reads the service too and knows whether it is one.
        # Empty values count here, as they do for libpq: `host=` is the socket.
        self.put({key: setting(key, value, source) for key, value in found.items() if key in libpq.KEYWORDS})

    def put_variables(self, variables: Mapping[str, str], source: str | None = None) -> None:
        """Put DB_*, then the service, then PG* of the environment or of ``.env``, which ``source`` names."""
        given = {keyword: name for keyword, name in libpq.KEYWORDS.items() if variables.get(name)}
        service = given.pop("service", "")
        for group in (_OURS, {"service": service}, given):
            found = {
                key: setting(key, variables[name], source or name)
                for key, name in group.items()
                if variables.get(name) and libpq.knows(key)
            }
            self.put(found)
            if "service" in group:
                self.put_service()

    def put_password_of_file(self) -> tuple[str, ...]:
        """Let the password file's password win over what weaker sources said; return notes for people."""
        passfile = self.values.get("passfile")
        path = libpq.password_file(self.environ, passfile.value if passfile else None)
        told = shown(libpq.shown(path, self.environ))
        problem = libpq.unusable(path)
        if problem:
            return (f"password file {told} is ignored: {problem}",)
        value = {key: self.values[key].value if key in self.values else "" for key in libpq.KEYWORDS}
        hosts = (value["host"] or value["hostaddr"]).split(",")
        ports = value["port"].split(",")
        for at, host in enumerate(hosts):  # of several hosts, which are copies of one server, the first that has one
            port = ports[at] if at < len(ports) else ports[0]
            password = libpq.password_from_file(path, host, port, value["dbname"], value["user"])
            if password:
                self.values["password"] = Setting(password, told, secret=True)
                break
        return ()

    def settle_host(self) -> None:
        """libpq connects to an address rather than to a host: drop one that a weaker source gave than the host's."""
        if "hostaddr" not in self.values or "host" not in self.values:
            return
        if self._rank["host"] < self._rank["hostaddr"]:
            del self.values["hostaddr"]
        elif self.values["host"].source == "default":
            del self.values["host"]

    def check(self) -> None:
        """Raise InvalidInput for a value that no server can be reached with; a secret is not repeated."""
        for keyword, found in self.values.items():
            told = f"{keyword} ({found.source})" if found.secret else f"{keyword} {shown(found.value)} ({found.source})"
            if not _is_text(found.value):
                raise InvalidInput(f"{told} holds bytes that are not UTF-8, or a NUL.")
            if not found.secret and (holds_password(found.value) or (keyword in _PLAIN and "://" in found.value)):
                raise InvalidInput(
                    f"{keyword} ({found.source}) holds a connection string: pass it as --url, without the password."
                )
            if keyword in _CHOICES and found.value not in _CHOICES[keyword]:
                raise InvalidInput(f"{told} is not known. Allowed: {', '.join(_CHOICES[keyword])}.")
            if keyword == "port" and not all(map(_is_port, found.value.split(","))):
                raise InvalidInput(f"{told} is no port: write a number from 1 to 65535.")


def _is_text(value: str) -> bool:
    try:
        return b"\0" not in value.encode()
    except UnicodeEncodeError:  # bytes of the environment that are not UTF-8
        return False


def _is_port(text: str) -> bool:
    return not text or (re.fullmatch(r"[0-9]{1,5}", text.strip()) is not None and 1 <= int(text) <= 65535)


def read_env(path: Path) -> dict[str, str]:
    """Return the variables of a ``.env`` file, {} without one; os.environ stays as it is. Raises InvalidInput."""
    if not path.is_file():
        return {}
    from dotenv import dotenv_values

    try:
        # Without interpolation: a password may hold ${…}.
        found = dotenv_values(path, interpolate=False, encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(f".env is not UTF-8 at byte {error.start}: save it as UTF-8.") from None
    except OSError as error:
        raise InvalidInput(f".env cannot be read: {error.strerror}.") from error
    return {name: value for name, value in found.items() if value}


def shown(value: str) -> str:
    """A value for people, on one line whatever it holds."""
    return value if value.isprintable() and value.strip() == value != "" else repr(value)
