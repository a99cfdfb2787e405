"""Real processes of `dbt-cicd`, forked from one that has imported it: fast enough to kill a hundred of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class Launcher:
    """A context manager. ready() forks a process that waits for go()."""

    def __enter__(self) -> Launcher:
        # A process without threads: forking one that has some may copy a lock that nobody will ever release.
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        )
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            assert stream
            stream.close()
        self._process.wait()

    def ready(self, argv: Sequence[str], environment: Mapping[str, str], output: Path) -> int:
        """Fork a process; its id."""
        self._say({"argv": list(argv), "environment": dict(environment), "output": str(output)})
        return int(self._answer())

    def go(self) -> int:
        """Let it go and wait; its exit code, or minus the signal that killed it."""
        self._say("go")
        return int(self._answer())

    def _say(self, value: Any) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(value) + "\n")
        self._process.stdin.flush()

    def _answer(self) -> Any:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())


def _serve() -> None:
    sys.path.insert(0, str(Path(__file__).parents[2] / "src"))
    from dbt_cicd_toolkit.cli.main import cli, run
    from dbt_cicd_toolkit.db import layout, losses, migrate, project, rollback  # noqa: F401 - imported once for all
    from dbt_cicd_toolkit.schema import look, release, upgrade  # noqa: F401

    while line := sys.stdin.readline():
        job = json.loads(line)
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(writer)
            log = os.open(job["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.read(reader, 1)
            for descriptor in (1, 2):
                os.dup2(log, descriptor)
            os.environ.update(job["environment"])
            code = 99
            try:
                code = run(cli, "dbt-cicd", job["argv"])
            finally:
                sys.stdout.flush()
                os._exit(code)
        os.close(reader)
        print(pid, flush=True)
        sys.stdin.readline()
        os.write(writer, b".")
        os.close(writer)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    _serve()
