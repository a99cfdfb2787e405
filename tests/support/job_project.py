"""A git repository with jobs, and `dbt-cicd job` run in it."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

from dbt_cicd_toolkit.cli.main import cli, run
from support.database import Result

# Neither this machine's git configuration nor a repository around the tests has a say.
ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_EDITOR": "false",
    "EMAIL": "",
}
JOB = '''\
"""What this job does."""


class {name}:
    reads = ["customers"]
    writes = ["analytics.{table}"]

    def run(self) -> str:
        return "{says}"
'''


def job_text(name: str = "MyJob", says: str = "hello", table: str = "my_table") -> str:
    """A job whose run() returns ``says``."""
    return JOB.format(name=name, says=says, table=table)


class JobProject:
    """An empty git repository in ``path`` (made if need be), on branch main, with an identity to commit with.

    Args:
        path: the top of its working tree.
        clone: the repository to clone into it (a path, or another JobProject's), else it is made new.
        depth: clone only so many commits.
    """

    def __init__(self, path: Path, clone: Path | None = None, depth: int | None = None) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        if clone is None:
            self.git("init", "--quiet", "--initial-branch=main")
        else:
            how = ["--depth", str(depth)] if depth else []
            self.git("clone", "--quiet", *how, clone.resolve().as_uri(), ".")
        self.git("config", "user.name", "Ann")
        self.git("config", "user.email", "ann@example.com")
        self.git("config", "commit.gpgSign", "false")

    @classmethod
    def like(cls, other: JobProject, path: Path) -> JobProject:
        """A copy of a whole repository: much faster than making it again."""
        shutil.copytree(other.path, path, symlinks=True)
        made = cls.__new__(cls)
        made.path = path
        return made

    def write(self, files: Mapping[str, str | bytes]) -> None:
        """Write files, by their paths from the top; folders are made."""
        for name, text in files.items():
            file = self.path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))

    def read(self, name: str) -> str:
        """The text of a file."""
        return (self.path / name).read_text(encoding="utf-8")

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """The variables that commands run with."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "DBT_CICD_"))}
        # A test's folder may be in a repository itself, this one for example, which must stay out of it.
        ceiling = {"GIT_CEILING_DIRECTORIES": str(self.path.resolve().parent)}
        return {**inherited, **ENVIRONMENT, **ceiling, **(extra or {})}

    def git(self, *arguments: str) -> str:
        """Run git, which must succeed; what it printed, without the last line end."""
        done = subprocess.run(
            ["git", *arguments], cwd=self.path, env=self.environment(), capture_output=True, encoding="utf-8"
        )
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done.stdout.rstrip("\n")

    def commit(self, message: str = "Change", files: Mapping[str, str | bytes] | None = None) -> str:
        """Write files and commit everything; the commit."""
        self.write(files or {})
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        return self.git("rev-parse", "HEAD")

    def job(self, *arguments: str, environment: Mapping[str, str] | None = None, directory: str = ".") -> Result:
        """`dbt-cicd job …` in this process; ``directory``, from the top, is what it gets as --project-dir."""
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
        where = [] if "--help" in arguments else ["--project-dir", str(self.path / directory)]
        argv = ["job", *arguments, *where]
        with (
            mock.patch.dict(os.environ, self.environment(environment), clear=True),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = run(cli, "dbt-cicd", argv)
        return Result(code, out.buffer.getvalue().decode(), err.buffer.getvalue().decode())  # type: ignore[attr-defined]

    def done(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Result:
        """job(), which must end with 0."""
        result = self.job(*arguments, environment=environment)
        assert result.code == 0, (arguments, result.out, result.err)
        return result

    def refused(self, code: int, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
        """job(), which must end with ``code`` and leave everything as it was; its message."""
        before = self.state()
        result = self.job(*arguments, environment=environment)
        assert result.code == code, (arguments, result.out, result.err)
        assert self.state() == before, arguments
        return result.err.strip()

    def start(self, *arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """`dbt-cicd job …` as a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "dbt_cicd_toolkit.cli.main", "job", *arguments, "--project-dir", str(self.path)],
            cwd=self.path,
            env=self.environment({"PYTHONPATH": str(Path(__file__).parents[2] / "src"), **(environment or {})}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    def tree(self, commit: str = "HEAD") -> list[str]:
        """The paths of a commit."""
        return self.git("ls-tree", "-r", "--name-only", commit).splitlines()

    def state(self) -> dict[str, object]:
        """Everything that a command must leave as it was when it fails: HEAD, branches, tags, index, files."""
        files = {
            str(file.relative_to(self.path)): file.read_bytes()
            for file in sorted(self.path.rglob("*"))
            if file.is_file() and ".git" not in file.relative_to(self.path).parts[:1]
            if "__pycache__" not in file.parts
        }
        return {
            "head": (self.path / ".git/HEAD").read_text(),
            "refs": self.git("for-each-ref"),
            "index": self.git("ls-files", "--stage"),
            "status": self.git("status", "--porcelain", "--untracked-files=all"),
            "files": files,
            "worktrees": self.git("worktree", "list", "--porcelain"),
        }

    def released(self, *jobs: str, package: str = "dwh") -> JobProject:
        """Give it a first release, 0.1.0, with these jobs (my_job)."""
        self.done("init", package)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "Set up jobs")
        for job in jobs or ("my_job",):
            self.done("new", job)
        self.commit("Jobs")
        self.done("release")
        return self
