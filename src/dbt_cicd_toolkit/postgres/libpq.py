"""What libpq reads by itself: its keywords, its variables, its service file and its password file.

Read here once more, because libpq ranks these files below everything that a program hands it, and does not tell where a
value came from. The rules are those of PostgreSQL's src/interfaces/libpq/fe-connect.c.
"""

from __future__ import annotations

import functools
import os
import pwd
import stat
from collections.abc import Mapping
from pathlib import Path

from dbt_cicd_toolkit.errors import InvalidInput

# Keyword: its variable, "" where it has none. https://www.postgresql.org/docs/current/libpq-connect.html
KEYWORDS: Mapping[str, str] = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "dbname": "PGDATABASE",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "passfile": "PGPASSFILE",
    "service": "PGSERVICE",
    "require_auth": "PGREQUIREAUTH",
    "channel_binding": "PGCHANNELBINDING",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "client_encoding": "PGCLIENTENCODING",
    "options": "PGOPTIONS",
    "application_name": "PGAPPNAME",
    "fallback_application_name": "",
    "keepalives": "",
    "keepalives_idle": "",
    "keepalives_interval": "",
    "keepalives_count": "",
    "tcp_user_timeout": "",
    "gssencmode": "PGGSSENCMODE",
    "krbsrvname": "PGKRBSRVNAME",
    "gsslib": "PGGSSLIB",
    "gssdelegation": "PGGSSDELEGATION",
    "sslmode": "PGSSLMODE",
    "sslnegotiation": "PGSSLNEGOTIATION",
    "sslcompression": "PGSSLCOMPRESSION",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslpassword": "",
    "sslcertmode": "PGSSLCERTMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcrl": "PGSSLCRL",
    "sslcrldir": "PGSSLCRLDIR",
    "sslsni": "PGSSLSNI",
    "requirepeer": "PGREQUIREPEER",
    "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION",
    "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
    "min_protocol_version": "PGMINPROTOCOLVERSION",
    "max_protocol_version": "PGMAXPROTOCOLVERSION",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "load_balance_hosts": "PGLOADBALANCEHOSTS",
    "scram_client_key": "",
    "scram_server_key": "",
}
SECRETS = frozenset({"password", "sslpassword", "scram_client_key", "scram_server_key"})
# Variables that say where libpq looks for its files.
LOCATIONS = ("PGSERVICEFILE", "PGSYSCONFDIR")
_SYSCONFDIR = "/etc/postgresql-common"  # what the libpq inside psycopg2-binary was compiled with
_SOCKET_DIRECTORIES = (b"/tmp", b"/var/run/postgresql")  # of PostgreSQL, and of Debian and psycopg2-binary
DEFAULT_PORT = "5432"


@functools.cache
def knows(keyword: str) -> bool:
    """Does the libpq of this process know the keyword? A newer one's variable is left to it, as psql does."""
    import psycopg2
    from psycopg2.extensions import parse_dsn

    try:
        parse_dsn(f"{keyword}=x")
    except psycopg2.ProgrammingError:
        return False
    return True


def home(environ: Mapping[str, str]) -> Path:
    """The home directory as libpq finds it: $HOME, else the one of the password database."""
    return Path(environ.get("HOME") or pwd.getpwuid(os.geteuid()).pw_dir)


def shown(path: Path, environ: Mapping[str, str]) -> str:
    """A path as people write it, with ``~`` for the home directory."""
    try:
        return f"~/{path.relative_to(home(environ))}"
    except ValueError:
        return str(path)


def read_service(name: str, environ: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """Return what the service file says of the service ``name``, and that file's name for messages.

    The user's file comes first, $PGSERVICEFILE or ~/.pg_service.conf, then pg_service.conf in $PGSYSCONFDIR.
    Raises InvalidInput when neither has the service, or its lines are malformed.
    """
    named = environ.get("PGSERVICEFILE")
    own = Path(named) if named else home(environ) / ".pg_service.conf"
    shared = Path(environ.get("PGSYSCONFDIR") or _SYSCONFDIR) / "pg_service.conf"
    for path in (own, shared):
        found = _read_service(path, name, shown(path, environ), missing_ok=path is shared or not named)
        if found is not None:
            return found, shown(path, environ)
    raise InvalidInput(
        f"the service '{name}' is defined neither in {shown(own, environ)} nor in {shown(shared, environ)}: write a "
        f"section [{name}] with lines such as host=localhost, or unset PGSERVICE."
    )


def _read_service(path: Path, name: str, told: str, missing_ok: bool) -> dict[str, str] | None:
    try:
        lines = path.read_bytes().split(b"\n")
    except (FileNotFoundError, NotADirectoryError) as error:
        if missing_ok:
            return None
        raise InvalidInput(f"PGSERVICEFILE names '{told}', which does not exist.") from error
    except OSError as error:
        raise InvalidInput(f"the service file {told} cannot be read: {error.strerror}.") from error
    header = f"[{name}]".encode(errors="surrogateescape")
    found: dict[str, str] | None = None
    for number, line in enumerate(map(bytes.strip, lines), start=1):
        if not line or line.startswith(b"#"):
            continue
        if line.startswith(b"["):
            if found is not None:
                break
            found = {} if line.startswith(header) else None
        elif found is not None:
            key, equals, value = line.decode(errors="surrogateescape").partition("=")
            if line.startswith(b"ldap"):
                raise InvalidInput(f"{told}:{number}: a service that asks LDAP is not supported: write its settings.")
            if not equals or key == "service":
                raise InvalidInput(f"{told}:{number}: '{key}' is no setting: write keyword=value, such as port=5432.")
            found.setdefault(key, value)
    return found


def password_file(environ: Mapping[str, str], passfile: str | None) -> Path:
    """The password file: ``passfile`` (the keyword, or PGPASSFILE), else ~/.pgpass."""
    return Path(passfile) if passfile else home(environ) / ".pgpass"


def unusable(path: Path) -> str | None:
    """Why libpq would ignore this password file although it is there; None when it would not."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return None
    if not stat.S_ISREG(mode):
        return "it is no plain file"
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        return "others may read it; use chmod 600"
    return None if os.access(path, os.R_OK) else "it cannot be read"


def password_from_file(path: Path, host: str, port: str, dbname: str, user: str) -> str | None:
    """The password of the first line of a password file that matches, as libpq finds it; None without one.

    A line is host:port:database:user:password, ``*`` matches anything, a backslash takes the next character literally.
    The host is ``localhost`` for the default socket directory too.
    """
    if unusable(path):
        return None
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError:  # not there
        return None
    wanted = [text.encode(errors="surrogateescape") for text in (host, port or DEFAULT_PORT, dbname, user)]
    if not wanted[0] or wanted[0] in _SOCKET_DIRECTORIES:
        wanted[0] = b"localhost"
    for line in lines:
        if line.startswith(b"#"):
            continue
        rest: bytes | None = line.rstrip(b"\r\n")
        for token in wanted:
            rest = _after_match(rest, token) if rest else None
        if rest is not None:
            return _password(rest).decode(errors="surrogateescape")
    return None


def _after_match(text: bytes, token: bytes) -> bytes | None:
    """What follows the first field of ``text`` when that field is ``token``; fe-connect.c's pwdfMatchesString()."""
    if text.startswith(b"*:"):
        return text[2:]
    at = matched = 0
    while at < len(text):
        if text[at] == ord(":") and matched == len(token):
            return text[at + 1 :]
        if text[at] == ord("\\"):
            at += 1
        if matched == len(token) or text[at : at + 1] != token[matched : matched + 1]:
            return None
        at += 1
        matched += 1
    return None


def _password(text: bytes) -> bytes:
    password = bytearray()
    at = 0
    while at < len(text) and text[at] != ord(":"):
        if text[at] == ord("\\") and at + 1 < len(text):
            at += 1
        password.append(text[at])
        at += 1
    return bytes(password)
