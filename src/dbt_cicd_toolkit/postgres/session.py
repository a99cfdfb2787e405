"""One session on a PostgreSQL server: the advisory lock that keeps runs apart, transactions that prove they hold it,
retries where a lock or the server was in the way.

The lock belongs to the session, so a killed process needs no unlock: the server ends the session, and with it the lock,
as soon as it sees that the client is gone (``client_connection_check_interval``, PostgreSQL 14). It is polled and never
waited for inside a statement: a waiting statement holds a snapshot, for which CREATE INDEX CONCURRENTLY would wait.
"""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import psycopg2
from psycopg2 import errorcodes
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, TRANSACTION_STATUS_INTRANS

from dbt_cicd_toolkit.errors import Refused

if TYPE_CHECKING:
    from dbt_cicd_toolkit.postgres.settings import Settings

OLDEST = 14
# 'dbt_cicd' in ASCII: one key for every part of the toolkit that changes a database, so that they exclude each other.
LOCK_KEY = int.from_bytes(b"dbt_cicd", "big")
_NAME_BYTES = 63  # NAMEDATALEN - 1; the server cuts application_name there
RETRIED = {errorcodes.LOCK_NOT_AVAILABLE, errorcodes.DEADLOCK_DETECTED, errorcodes.SERIALIZATION_FAILURE}
# DISCARD ALL without pg_advisory_unlock_all(): what one file leaves behind does not reach the next.
_RESET = (
    "reset session authorization; reset role; reset all; close all; deallocate all; unlisten *; discard plans; "
    "discard sequences; discard temp"
)
# What our own SQL is run with. With another search_path a function or an operator that somebody made could be run
# instead of the server's, with our rights (CVE-2018-1058); dates are read back.
_OURS = {"search_path": "pg_catalog, pg_temp", "datestyle": "'ISO'"}
_TO_DEFAULT = "; ".join(f"set local {name} to default" for name in _OURS)
_OURS_IN_TRANSACTION = "; ".join(f"set local {name} = {value}" for name, value in _OURS.items())
# The lock is held twice over, so that giving one hold back tells whether it is held without ever letting it go; looking
# it up in pg_locks costs twelve times as much. Run with the search_path of a file, and therefore qualified.
_TAKE = f"pg_catalog.pg_try_advisory_lock({LOCK_KEY}::pg_catalog.int8)"
_GIVE_BACK = f"pg_catalog.pg_advisory_unlock({LOCK_KEY}::pg_catalog.int8)"
_HOLDS_LOCK = f"select {_GIVE_BACK}, {_TAKE}"
# Whose settings the session has: ours; those of a file that is being run statement by statement, to be kept; or what
# a file left behind.
_Settings = Literal["ours", "kept", "left"]
_STATEMENT = re.compile(r'SQL statement ".*?"(?=\n|\Z)', re.DOTALL)
Result = TypeVar("Result")
Tell = Callable[[str], None]


class ConnectionLost(Refused):
    """The server is gone, or it ended the session; what it did with the last transaction is not known."""


class ServerError(Refused):
    """The server refused a statement of ours; ``error`` is what it said."""

    def __init__(self, error: psycopg2.Error) -> None:
        super().__init__(error_text(error))
        self.error = error


def error_text(error: psycopg2.Error) -> str:
    """What the server said, without its excerpts of statements: there may be a password in them."""
    said = error.diag
    lines = [said.message_primary or str(error).strip()]
    for title, text in (
        ("detail", said.message_detail),
        ("hint", said.message_hint),
        ("context", _STATEMENT.sub("a statement", said.context or "")),
        ("SQLSTATE", error.pgcode),
    ):
        if text:
            lines.append(f"  {title}: {text}")
    return "\n".join(lines)


class Session:
    """A connection in autocommit mode. Made by connect()."""

    def __init__(self, settings: Settings, purpose: str, lock_timeout: float, wait: float, role: str | None) -> None:
        self.settings = settings
        self.lock_timeout = lock_timeout
        self.wait = wait
        since = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        tail = f":{os.getpid()}:{since}".encode()
        name = f"dbt-cicd {purpose} {socket.gethostname()}".encode("ascii", "replace")
        self.name = (name[: _NAME_BYTES - len(tail)] + tail).decode()
        self._reset = ""
        self._open()
        self.major: int = self.connection.server_version // 10000
        self._locked = False
        our_role = identifier(role) if role else "none"
        self._ourselves = f"set local session authorization default; set local role {our_role}; {_OURS_IN_TRANSACTION}"
        ours = [f"set {name} = {value}" for name, value in _OURS.items()]
        self._reset = "; ".join([_RESET, *self._base(), f"set role {our_role}", *ours])

    def _open(self) -> None:
        self.connection = _connect(self.settings, self.name)
        self.connection.autocommit = True
        self.cursor = self.connection.cursor()  # one for everything: thousands of files would make tens of thousands
        self._settings: _Settings = "left"

    def _base(self) -> list[str]:
        """What a run sets whatever the role, the database or a file has set."""
        settings = {
            "client_encoding": "UTF8",
            "standard_conforming_strings": "on",
            "default_transaction_read_only": "off",
            "default_transaction_isolation": "read committed",
            "statement_timeout": "0",
            "idle_in_transaction_session_timeout": "0",
            "idle_session_timeout": "0",
            "lock_timeout": f"{self.lock_timeout * 1000:.0f}ms",
        }
        if self.major >= 17:
            settings["transaction_timeout"] = "0"
        if self._checks_connection():
            settings["client_connection_check_interval"] = "2s"
        return [f"set {name} = '{value}'" for name, value in settings.items()]

    def _checks_connection(self) -> bool:
        """Can the server look after its client while it works? Not on every operating system."""
        try:
            self.send("set client_connection_check_interval = '2s'")
        except ServerError:
            return False
        return True

    @property
    def in_transaction(self) -> bool:
        """Is a transaction open that may be committed?"""
        return bool(self.connection.info.transaction_status == TRANSACTION_STATUS_INTRANS)

    def close(self) -> None:
        """End the session; the server rolls back what is open and frees the lock."""
        self.connection.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def execute(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Run SQL of ours, one statement or several; return the rows of the last one, or [].

        Outside a transaction it is run as ourselves with our settings; inside one with those that hold there, see
        be_ourselves(). Without ``parameters`` the text goes to the server as it is: a ``%`` is a ``%``.
        Raises ConnectionLost or ServerError.
        """
        if self._settings == "ours" or self.connection.info.transaction_status != TRANSACTION_STATUS_IDLE:
            return self.send(sql, parameters)
        if parameters is not None:
            sql = self.literal(sql, parameters)
        if self._settings == "left":
            rows = self.send(f"{self._reset}; {sql}" if self._reset else sql)
            self._settings = "ours"
            return rows
        try:
            rows = self.send(f"begin; {self._ourselves}; {sql}")
            self.send("commit")
        except ServerError:
            self.rollback()
            raise
        return rows

    def send(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Like execute(), but with the settings that the session happens to have: those of a file while one is run."""
        try:
            self.cursor.execute(sql, parameters)
            return self.cursor.fetchall() if self.cursor.description else []
        except psycopg2.Error as error:
            self.raise_if_lost(error)
            raise ServerError(error) from error

    def literal(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any]) -> str:
        """``sql`` with its ``%s`` replaced by literals, to be sent together with other statements."""
        text: bytes = self.cursor.mogrify(sql, parameters)
        return text.decode("utf-8")

    def raise_if_lost(self, error: psycopg2.Error) -> None:
        """Raise ConnectionLost when ``error`` is not an answer of a living session."""
        if self.connection.closed:
            raise ConnectionLost(f"the connection to the server was lost: {str(error).strip()}") from error

    def reset(self) -> None:
        """Put every setting, the role and what a file may have left behind back; the lock stays."""
        self.send(self._reset)
        self._settings = "ours"

    def hand_over(self) -> None:
        """Give the session the settings that a file begins with, and keep what it sets until take_back()."""
        self.send(f"{self._reset}; {'; '.join(f'reset {name}' for name in _OURS)}")
        self._settings = "kept"

    def take_back(self) -> None:
        """The file is at its end: what it set is not kept any longer."""
        if self._settings == "kept":
            self._settings = "left"

    def resolve(self, name: str) -> int | None:
        """The oid of a relation that a file calls ``name``, by its own search_path; None when there is none."""
        rows = self.send("select pg_catalog.to_regclass(%s::pg_catalog.text)::pg_catalog.oid", [name])
        return rows[0][0] if rows else None

    def begin(self, *, reset: bool = True, first: Sequence[str] = (), asking: Sequence[str] = ()) -> tuple[Any, ...]:
        """Begin a transaction of a file, which has proved that it holds the lock, with the settings that files begin
        with; or, without ``reset``, with those the session has.

        Args:
            first: statements that are sent along. They must not write: the proof comes behind them.
            asking: expressions whose values are returned, as they are behind those statements.
        Raises Refused when the lock is gone, by pg_advisory_unlock_all() in a file for example.
        """
        begin = f"{self._reset}; begin; {_TO_DEFAULT}" if reset else "begin"
        if reset:
            self._settings = "left"
        told = self.send("; ".join([begin, *first, ", ".join([_HOLDS_LOCK, *asking])]))
        _refuse_without([row[:2] for row in told])
        return told[0][2:]

    def refuse_without_lock(self) -> None:
        """Raise Refused unless this session holds the lock."""
        _refuse_without(self.send(_HOLDS_LOCK))

    def be_ourselves(self) -> None:
        """For the rest of a transaction, run everything as ourselves with our settings, whatever a file has set."""
        self.send(self._ourselves)

    def commit(self, last: str = "") -> None:
        """Run ``last`` as ourselves and commit, in one message. Raises ServerError when it was rolled back instead."""
        try:
            self.cursor.execute(f"{self._ourselves}; {last}; commit" if last else "commit")
        except psycopg2.Error as error:
            self.raise_if_lost(error)
            raise ServerError(error) from error
        if self.cursor.statusmessage != "COMMIT":
            raise Refused(f"the server answered {self.cursor.statusmessage} to a COMMIT: nothing was committed.")

    def rollback(self) -> None:
        """Roll back what is open."""
        if not self.connection.closed and self.connection.info.transaction_status != TRANSACTION_STATUS_IDLE:
            self.send("rollback")

    @contextmanager
    def lock(self, tell: Tell = lambda _: None) -> Generator[None]:
        """Hold the lock. Waits up to ``wait`` seconds for another run; ``tell`` hears who that is.

        Raises Refused naming the holder when it does not end in time.
        """
        self._take_lock(tell)
        self._locked = True
        try:
            with self._interruptible():
                yield
        finally:
            self._locked = False
            if not self.connection.closed:
                self.rollback()
                self.execute(f"select {_GIVE_BACK}, {_GIVE_BACK}")

    def _take_lock(self, tell: Tell) -> None:
        deadline = time.monotonic() + self.wait
        told = ""
        for pause in _pauses():
            if self.execute(f"select case when {_TAKE} then {_TAKE} end")[0][0]:
                return
            holder = self._holder()
            if holder and holder != told:
                tell(f"waiting for another run: {holder}")
                told = holder
            left = deadline - time.monotonic()
            if left <= 0:
                raise Refused(
                    f"another run holds the lock: {holder or told}. Nothing was done. Let it end and try again, wait "
                    "longer with --wait SECONDS, or end its session: select pg_terminate_backend(pid)."
                )
            time.sleep(min(pause, left))

    def _holder(self) -> str:
        rows = self.execute(
            "select a.application_name, a.pid from pg_catalog.pg_locks l join pg_catalog.pg_stat_activity a using (pid)"
            " where l.locktype = 'advisory' and l.granted and l.objsubid = 1 and l.database ="
            " (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())"
            f" and l.classid = {LOCK_KEY >> 32} and l.objid = {LOCK_KEY & 0xFFFFFFFF}"
        )
        return f"{rows[0][0] or 'a session without a name'} (server process {rows[0][1]})" if rows else ""

    def reconnect(self, tell: Tell = lambda _: None) -> None:
        """Connect again after ConnectionLost and, where the lock was held, take it again.

        Having it means that the session before has ended, so its last transaction is decided.
        """
        deadline = time.monotonic() + self.wait
        tell("the connection was lost: connecting again")
        for pause in _pauses():
            try:
                self._open()
                break
            except Refused:
                if time.monotonic() + pause > deadline:
                    raise
                time.sleep(pause)
        if self._locked:
            self._take_lock(tell)

    def retrying(self, work: Callable[[], Result], tell: Tell) -> Result:
        """Call ``work``, and again for as long as ``wait`` allows when other sessions made it fail: a lock that it did
        not get within lock_timeout, a deadlock, a serialization failure. Everything is rolled back first, so that those
        who queue behind us get their turn."""
        deadline = time.monotonic() + self.wait
        for pause in _pauses():
            try:
                return work()
            except (psycopg2.Error, ServerError) as error:
                said = error.error if isinstance(error, ServerError) else error
                self.rollback()
                if said.pgcode not in RETRIED or time.monotonic() + pause > deadline:
                    raise
                primary = said.diag.message_primary
                tell(f"{primary}; trying again in {pause:.1f} s{self._oldest()}")
                time.sleep(pause)
        raise AssertionError("_pauses() has no end")

    def _oldest(self) -> str:
        """Of the other transactions in this database the oldest: who is probably in the way."""
        rows = self.execute(
            "select pid, application_name, state, pg_catalog.date_trunc('second', clock_timestamp() - xact_start)::text"
            " from pg_catalog.pg_stat_activity where datname = pg_catalog.current_database()"
            " and pid <> pg_catalog.pg_backend_pid() and xact_start is not null order by xact_start limit 1"
        )
        if not rows:
            return ""
        pid, name, state, age = rows[0]
        return f"; the oldest open transaction is that of server process {pid} ({name or '?'}, {state}, {age})"

    @contextmanager
    def _interruptible(self) -> Generator[None]:
        """Let SIGINT and SIGTERM cancel the running statement.

        Python calls its handlers only between two of its own instructions, and a statement is one call into libpq. The
        interpreter writes every signal to the wakeup pipe at once; a thread that reads it asks the server to cancel.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        import signal

        reader, writer = socket.socketpair()
        writer.setblocking(False)

        def watch() -> None:
            while reader.recv(1) not in (b"", b"\0"):
                if not self.connection.closed:
                    self.connection.cancel()

        def terminate(number: int, _: object) -> None:
            raise KeyboardInterrupt(signal.Signals(number).name)

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        before = signal.signal(signal.SIGTERM, terminate)
        descriptor = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(descriptor)
            signal.signal(signal.SIGTERM, before)
            writer.send(b"\0")
            thread.join()
            reader.close()
            writer.close()


def connect(
    settings: Settings, purpose: str, *, role: str | None = None, lock_timeout: float = 2, wait: float = 300
) -> Session:
    """Connect for a run that will change the database.

    Args:
        settings: where, and as whom.
        purpose: the command, shown to those who wait for it.
        role: the role that everything is run as (SET ROLE).
        lock_timeout: seconds a statement waits for a lock before the whole transaction is tried again later.
        wait: seconds to wait for another run, and in all for locks.
    Raises:
        Refused: no connection, a server older than 14, a standby, or a pooler in transaction mode.
    """
    session = Session(settings, purpose, lock_timeout, wait, role)
    try:
        if session.major < OLDEST:
            raise Refused(f"the server is PostgreSQL {session.major}; {OLDEST} or later is needed.")
        # Also the first message with our settings.
        standby, own = session.execute("select pg_catalog.pg_is_in_recovery(), pg_catalog.pg_backend_pid()")[0]
        if standby:
            raise Refused("the server is a standby, which takes no changes: connect to the primary.")
        _refuse_transaction_pooler(session, own)
    except BaseException:
        session.close()
        raise
    return session


def _connect(settings: Settings, name: str) -> Any:
    arguments: dict[str, Any] = {
        "keepalives_idle": "30",
        "keepalives_interval": "10",
        "keepalives_count": "3",
        "connect_timeout": "10",
    }
    arguments |= settings.arguments() | {"application_name": name, "client_encoding": "UTF8"}
    try:
        return psycopg2.connect(**arguments)
    except psycopg2.Error as error:
        from dbt_cicd_toolkit.postgres.settings import connection_error

        raise connection_error(settings, error) from error


def _refuse_transaction_pooler(session: Session, own: int) -> None:
    """Refuse PgBouncer's transaction mode, in which session locks and settings end up with other clients.

    A pooler invents the process id it tells at the start of a session. In transaction mode our server session is free
    again after each statement, so a second client gets it.

    Args:
        own: the process that the server itself tells.
    """
    if own == session.connection.info.backend_pid:
        return
    other = _connect(session.settings, session.name)
    try:
        other.autocommit = True
        cursor = other.cursor()
        cursor.execute("begin; select pg_catalog.pg_backend_pid()")
        shared = cursor.fetchone()[0] == own
        cursor.execute("rollback")
    except psycopg2.OperationalError:
        shared = True  # statement mode: it closes a session that begins a transaction
    finally:
        other.close()
    if shared or session.execute("select pg_catalog.pg_backend_pid()")[0][0] != own:
        raise Refused(
            "the connection goes through a pooler in transaction mode (PgBouncer's pool_mode = transaction), where a "
            "lock does not stay with its session: connect to the server, or to a pool with pool_mode = session."
        )


def _refuse_without(holds: Sequence[tuple[Any, ...]]) -> None:
    """Raise Refused unless _HOLDS_LOCK has answered that the lock was held."""
    if holds != [(True, True)]:
        raise Refused("this session no longer holds the lock that keeps runs apart: nothing more was done.")


def _pauses() -> Generator[float]:
    """Seconds between tries: growing to about a second, and different in every process."""
    longest = 0.1
    while True:
        yield longest * (0.5 + os.urandom(1)[0] / 510)  # the module random takes longer to import than most waits
        longest = min(longest * 1.5, 1.2)


def identifier(name: str) -> str:
    """A name as a quoted identifier."""
    return '"' + name.replace('"', '""') + '"'
