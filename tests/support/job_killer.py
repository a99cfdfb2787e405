"""`dbt-cicd job` in processes that are killed (SIGKILL) at any moment: before the n-th time that they change a file or
start a program, counted from when they first write anything down. Forked from one that has imported it: fast enough to
kill a hundred of them."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from support.job_project import JobProject

# Python's own names of what happens; https://docs.python.org/3/library/audit_events.html
EVENTS = {"os.rename", "os.remove", "os.link", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod", "subprocess.Popen"}


class Killer:
    """A context manager."""

    def __enter__(self) -> Killer:
        # A process without threads: forking one that has some may copy a lock that nobody will ever release.
        path = os.pathsep.join([str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "src")])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.job_killer"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env={**os.environ, "PYTHONPATH": path},
        )
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            assert stream
            stream.close()
        self._process.wait()

    def run(self, project: JobProject, at: int, arguments: Sequence[str]) -> int:
        """`dbt-cicd job …`, killed before the ``at``-th change, counted from 1 (0: never); its exit code, -9 when it
        was killed. Returns when what it started has ended too."""
        argv = ["job", *arguments, "--project-dir", str(project.path)]
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"argv": argv, "at": at, "environment": project.environment()}) + "\n")
        self._process.stdin.flush()
        code = int(json.loads(self._process.stdout.readline()))
        wait(project)
        return code


def wait(project: JobProject) -> None:
    """Wait until the last process that holds the lock of the jobs has ended."""
    lock = project.path / ".git/dbt-cicd-job.lock"
    if lock.exists():
        with lock.open() as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)


def _serve() -> None:
    from dbt_cicd_toolkit.cli import job_release  # noqa: F401 - imported once for all
    from dbt_cicd_toolkit.cli.main import cli, run
    from dbt_cicd_toolkit.jobs import backport, create, maintenance, reach, release, shared, sync  # noqa: F401

    while line := sys.stdin.readline():
        wanted = json.loads(line)
        pid = os.fork()
        if not pid:
            null = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(null, descriptor)
            os.environ.clear()
            os.environ.update(wanted["environment"])
            code = 99
            try:
                _kill_at(wanted["at"])
                code = run(cli, "dbt-cicd", wanted["argv"])
            finally:
                os._exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _kill_at(at: int) -> None:
    count = 0

    def seen(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        begun = count or any("dbt-cicd-job/" in str(each) or str(each).endswith("dbt-cicd-job") for each in arguments)
        if begun and (event in EVENTS or writes):
            count += 1
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(seen)


if __name__ == "__main__":
    _serve()
