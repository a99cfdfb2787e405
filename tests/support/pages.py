"""Pages that are run: their blocks, and a fresh git repository in which bash runs them.

A page's ```bash blocks are run in their order. A ```text block behind one is what it prints, ```json a document of that
shape; "exit code N" between the two says that it fails. ```sql that begins with "-- Migration:" or "-- Rollback:" is
written into the file of its version, ```sql that begins with the path of a file, "-- schema/objects/a.sql", into that.
```python and ```toml that begin with one, "# dags/a.py", are written too, without that line.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dbt_cicd_toolkit.postgres import embedded

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_HEAD = re.compile(r"-- (Migration|Rollback): (.+)\n-- Version: (\S+)\n")
_PATH = re.compile(r"-- (\S+\.sql)\n")
_CAPTION = re.compile(r"# (\S+\.(?:py|toml))\n")
_HEADS = {"sql": (_HEAD, _PATH), "python": (_CAPTION,), "toml": (_CAPTION,)}


@dataclass(frozen=True)
class Block:
    """A fenced block; ``before`` is the text between it and the one before."""

    language: str
    text: str
    line: int
    before: str


@dataclass(frozen=True)
class Step:
    """A bash block with what the page says of it."""

    script: str
    line: int
    code: int = 0
    output: str | None = None
    document: str | None = None


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, without the indentation of lists that they stand in."""
    found, end = [], 0
    for match in _FENCE.finditer(page):
        text = re.sub(rf"^{match[1]}", "", match[3], flags=re.MULTILINE)
        found.append(Block(match[2], text, page.count("\n", 0, match.start()) + 1, page[end : match.start()]))
        end = match.end()
    return found


def steps(page: str) -> Iterator[Step | Block]:
    """What is to be done on a page, in order: commands, and files to write."""
    waiting: Step | None = None
    for block in blocks(page):
        if waiting and block.language in ("text", "json"):
            told = re.search(r"exit code (\d)", block.before)
            output = block.text if block.language == "text" else None
            document = block.text if block.language == "json" else None
            yield Step(waiting.script, waiting.line, int(told[1]) if told else 0, output, document)
            waiting = None
            continue
        if waiting:
            yield waiting
            waiting = None
        if block.language == "bash":
            waiting = Step(block.text, block.line)
        elif any(head.match(block.text) for head in _HEADS.get(block.language, ())):
            yield block
    if waiting:
        yield waiting


def printed(text: str) -> str:
    """Output without what differs from run to run."""
    text = re.sub(r"\d{4}-\d\d-\d\d([ T])\d\d:\d\d:\d\dZ?", r"<time>", text)
    text = re.sub(r"\b\d+ ms\b", "N ms", text)
    text = re.sub(r"checksum -?\d+, now -?\d+", "checksum N, now N", text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def matches(output: str, expected: str) -> bool:
    """Is this what the page shows? A line … stands for any lines, … in a line for anything."""
    pattern = re.escape(printed(expected)).replace("…\\\n", "(?:.*\\n)*?").replace("\\\n…", "(?:\\n.*)*")
    return re.fullmatch(pattern.replace("…", ".*"), printed(output)) is not None


def shape(value: Any) -> Any:
    """A JSON document without its values: keys, and of lists the first element."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    return [shape(value[0])] if isinstance(value, list) and value else type(value).__name__


class Repository:
    """A git repository on the branch main, with a home directory of its own and `origin` beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path / "repository"
        home = path / "home"
        programs = [str(Path(sys.executable).parent), os.environ["PATH"], str(embedded.binaries(18))]
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("DB_", "PG", "GIT_"))
        } | {"HOME": str(home), "PATH": os.pathsep.join(programs), "LC_ALL": "C.UTF-8", "GIT_CONFIG_NOSYSTEM": "1"}
        if not self.path.exists():
            self.path.mkdir(parents=True)
            home.mkdir()
            (home / ".gitconfig").write_text("[user]\nname = A\nemail = a@example.com\n[commit]\ngpgsign = false\n")
            self.bash("git init -q -b main .")
            self.bash("git init -q --bare -b main ../origin.git && git remote add origin ../origin.git")

    @property
    def postgres(self) -> Path:
        """The data directory of its embedded server."""
        return self.path / ".local/postgres"

    def bash(
        self, script: str, code: int = 0, environment: Mapping[str, str] | None = None, *, terminal: bool = True
    ) -> str:
        """Run a script, stopping at the first failure; what a ``terminal`` would show, else stdout. What fetches from
        the network is left out."""
        script = "\n".join(line for line in script.splitlines() if not line.startswith("pip install"))
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", script],
            cwd=self.path,
            env=self.environment | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if terminal else subprocess.DEVNULL,
            encoding="utf-8",
        )
        assert done.returncode == code, f"{script}\nexit code {done.returncode}\n{done.stdout}"
        return done.stdout

    def lay_out(self) -> None:
        """Apply the sample and commit all, push main and develop; prepare the server for scratch databases."""
        self.bash("dbt-cicd db init --sample --embedded && python database/tools/db_version_manager.py migrate")
        self.bash("git add . && git commit -qm Foundation && git branch develop && git push -q origin main develop")
        with embedded.start(self.path / ".local/scratch-18"):
            pass

    def share_scratch(self, local: Path) -> None:
        """Make scratch databases on the servers below ``local``, which others use too."""
        (self.path / ".local").mkdir()
        for each in local.glob("scratch-*"):
            (self.path / ".local" / each.name).symlink_to(each)

    def copy(self, to: Path) -> Repository:
        """The same once more, with its server's data. The server must have stopped."""
        subprocess.run(["cp", "-a", f"{self.path.parent}/.", str(to)], check=True)
        return Repository(to)

    def write(self, text: str) -> Path:
        """Write a migration or its rollback, or another file, where its head says."""
        caption = _CAPTION.match(text)
        if named := caption or _PATH.match(text):
            path = self.path / named[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text[caption.end() :] if caption else text, encoding="utf-8")
            return path
        head = _HEAD.match(text)
        assert head, text
        name = f"V{head[3]}__{head[2].replace(' ', '_')}"
        forward = self.path / f"database/migrations/{name}.sql"
        path = forward if head[1] == "Migration" else self.path / f"database/rollback/{name}_rollback.sql"
        path.write_text(text, encoding="utf-8")
        return path

    def follow(self, page: str, environment: Mapping[str, str] | None = None) -> None:
        """Do what a page says, and hold what comes out against what it shows."""
        for step in steps(page):
            if isinstance(step, Block):
                self.write(step.text)
                continue
            output = self.bash(step.script, step.code, environment, terminal=step.document is None)
            if step.output is not None:
                assert matches(output, step.output), f"line {step.line}: {step.script}\nprinted\n{output}"
            if step.document is not None:
                assert output, f"line {step.line}: {step.script}\nprinted nothing"
                assert shape(json.loads(output)) == shape(json.loads(step.document)), f"line {step.line}\n{output}"

    def stop(self) -> None:
        """End its server."""
        embedded.stop(self.postgres)
