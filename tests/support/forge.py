"""Real dbt Core processes, many at once or one that is to be killed, without paying for the start of each.

A forge is a process that has imported dbt and parsed a project; every job is a process forked from it, which stands
ready before the command begins, so that all of them can be let go at the same moment.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from support.shop import Shop


@dataclass
class Job:
    """A dbt command line. ``parsed``: use the project the forge parsed, else the process parses its own."""

    argv: Sequence[str]
    out: Path
    parsed: bool = True
    env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Done:
    """How a process ended: its exit code (minus the signal that killed it) and all it wrote."""

    returncode: int
    output: str


class Forge:
    """A context manager. In: the project to parse, with its default target."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.jobs: list[Job] = []

    def __enter__(self) -> Forge:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__, *self.shop.command("parse")[1:]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        assert self._answer() == "parsed"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                stream.close()

    def operation(self, macro: str, *more: str, vars: dict[str, Any] | None = None, **arguments: Any) -> Job:
        """`dbt run-operation` on the forge's project."""
        argv = self.shop.command("run-operation", macro, "--args", json.dumps(arguments), vars=vars)[1:]
        return self.job([*argv, *more])

    def job(self, argv: Sequence[str], parsed: bool = True) -> Job:
        """Any dbt command line."""
        return Job(argv, self.shop.path.parent / f"job-{len(self.jobs)}.txt", parsed)

    def ready(self, *jobs: Job) -> list[int]:
        """Fork a process per job, each waiting for go(). Their ids."""
        self.jobs = [*self.jobs, *jobs]
        self._running = jobs
        documents = [{"argv": list(j.argv), "out": str(j.out), "parsed": j.parsed, "env": j.env} for j in jobs]
        self._say(json.dumps(documents))
        return list(self._answer())

    def go(self) -> list[Done]:
        """Let them go, and wait until all have ended."""
        self._say("go")
        codes = self._answer()
        return [
            Done(code, job.out.read_text(encoding="utf-8", errors="replace"))
            for job, code in zip(self._running, codes, strict=True)
        ]

    def run(self, *jobs: Job) -> list[Done]:
        """All at once, to the end."""
        self.ready(*jobs)
        return self.go()

    def _say(self, line: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _answer(self) -> Any:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())


def _serve(parse: list[str]) -> None:
    from dbt.adapters.postgres import connections  # noqa: F401
    from dbt.cli.main import dbtRunner

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

    def answer(value: Any) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    parsed = dbtRunner().invoke(parse)
    answer("parsed" if parsed.success else str(parsed.exception))
    while line := sys.stdin.readline():
        ready_read, ready_write = os.pipe()
        go_read, go_write = os.pipe()
        pids = []
        for job in json.loads(line):
            pid = os.fork()
            if not pid:
                os.close(go_write)
                os.environ.update(job["env"])
                log = os.open(job["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(log, 1)
                os.dup2(log, 2)
                os.write(ready_write, b".")
                os.read(go_read, 1)
                done = dbtRunner(parsed.result if job["parsed"] else None).invoke(job["argv"])
                if done.exception:
                    print(done.exception)
                sys.stdout.flush()
                os._exit(0 if done.success else 2 if done.exception else 1)
            pids.append(pid)
        for _ in pids:
            os.read(ready_read, 1)
        answer(pids)
        sys.stdin.readline()
        os.close(go_write)
        answer([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids])
        for descriptor in (ready_read, ready_write, go_read):
            os.close(descriptor)


class Wire:
    """Stands between dbt and PostgreSQL, reads the statements, and kills a process at one of them.

    Attributes:
        statements: the SQL that came through since expect().
    """

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)  # or the path of a socket, and any port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.expect()

    def __enter__(self) -> Wire:
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def expect(
        self, pid: int | None = None, number: int = -1, moment: str = "", then: Callable[[], object] | None = None
    ) -> None:
        """Count from the next connection on. In: the process to kill at its statement ``number`` (from 0), when that is
        'unsent' (the server never sees it), 'sent' (nobody reads the answer) or 'answered' (the answer is there and
        not yet read); 'exit' instead is when the process says goodbye. Without a process ``then`` is called, and the
        connection is cut."""
        self._pid, self._number, self._moment, self._then = pid, number, moment, then
        self.statements: list[str] = []

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _kill(self) -> None:
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
        if self._then:
            self._then()

    def _connect(self) -> socket.socket:
        host, port = self._server
        if not host.startswith("/"):
            return socket.create_connection((host, port))
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(host)
        except OSError:
            server.close()
            raise
        return server

    def _carry(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), self._connect() as server:
            waiting, answer, started, killing = b"", b"", False, False
            while True:
                readable, _, _ = select.select([client, server], [], [])
                if server in readable:
                    data = server.recv(1 << 16)
                    if killing:
                        answer += data
                        if not data or answer[-6:-1] == b"Z\0\0\0\5":  # ready for the next query
                            return self._kill()
                        continue
                    if not data:
                        return None
                    client.sendall(data)
                if client in readable:
                    data = client.recv(1 << 16)
                    if not data:
                        return None
                    waiting += data
                    for message in (messages := _messages(waiting, started)):
                        waiting = waiting[len(message) :]
                        started = started or struct.unpack("!I", message[4:8])[0] == 196608
                        if message[:1] == b"X" and self._moment == "exit":
                            return self._kill()
                        hit = message[:1] == b"Q" and len(self.statements) == self._number
                        if message[:1] == b"Q":
                            self.statements.append(message[5:-1].decode())
                        if hit and self._moment == "unsent":
                            return self._kill()
                        server.sendall(message)
                        if hit and self._moment == "sent":
                            return self._kill()
                        killing = killing or (hit and self._moment == "answered")
                    del messages


def _messages(data: bytes, started: bool) -> Generator[bytes]:
    """The whole messages at the beginning of what a client sent; those before the session started have no type."""
    while True:
        head = 1 if started else 0
        if len(data) < head + 4:
            return
        length = head + struct.unpack("!I", data[head : head + 4])[0]
        if len(data) < length:
            return
        yield data[:length]
        started = started or struct.unpack("!I", data[4:8])[0] == 196608
        data = data[length:]


if __name__ == "__main__":
    _serve(sys.argv[1:])
