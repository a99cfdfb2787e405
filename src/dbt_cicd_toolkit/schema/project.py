"""One folder of sources and releases, and the database it is for. Every command begins here."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from dbt_cicd_toolkit.errors import Differs, InvalidInput, Refused
from dbt_cicd_toolkit.files import write_atomically
from dbt_cicd_toolkit.postgres import settings
from dbt_cicd_toolkit.postgres.settings import Settings
from dbt_cicd_toolkit.schema import records
from dbt_cicd_toolkit.schema.delta_file import DeltaFile
from dbt_cicd_toolkit.schema.records import History, Release

if TYPE_CHECKING:
    from dbt_cicd_toolkit.postgres.scratch import Scratch
    from dbt_cicd_toolkit.postgres.session import Session


# Their hashes are of bytes: git must not turn their line ends into those of the system.
_BYTES = "schema.hist -text\nreleases/* -text\n"


@dataclass(frozen=True)
class Project:
    """A folder ``schema`` and the options of one command.

    Attributes:
        directory: the folder.
        options: connection settings by libpq's keyword, and ``url``; None where not given.
        role: run everything as this role.
        embedded: use the project's own PostgreSQL.
        scratch_url: where to make scratch databases; None: on an embedded server, else on the target's own.
        lock_timeout, wait: seconds, see postgres.session.connect().
    """

    directory: Path
    options: Mapping[str, str | None]
    role: str | None = None
    embedded: bool = False
    scratch_url: str | None = None
    lock_timeout: float = 2
    wait: float = 300

    @property
    def root(self) -> Path:
        """The repository's folder: where ``.env`` and ``.local`` lie."""
        return self.directory.resolve().parent

    @property
    def objects(self) -> Path:
        """The folder of the sources."""
        return self.directory / "objects"

    @property
    def releases(self) -> Path:
        """The folder of the release files."""
        return self.directory / "releases"

    @property
    def history_file(self) -> Path:
        """schema.hist."""
        return self.directory / "schema.hist"

    @property
    def delta_file(self) -> Path:
        """schema.delta."""
        return self.directory / "schema.delta"

    @cached_property
    def settings(self) -> Settings:
        """Where to connect to; starts the embedded server when that is it."""
        if self.embedded:
            from dbt_cicd_toolkit.postgres import own_server

            return own_server.database(self.root, self._told.values["dbname"].value)
        return self._told

    @cached_property
    def _told(self) -> Settings:
        """What options, environment and files say of the target."""
        return settings.resolve(self.options, directory=self.root, config={}, config_name="")

    def connect(self, purpose: str) -> Session:
        """A session on the database, see postgres.session.connect()."""
        from dbt_cicd_toolkit.postgres.session import connect

        return connect(
            self.settings, f"schema {purpose}", role=self.role, lock_timeout=self.lock_timeout, wait=self.wait
        )

    def place(self, session: Session) -> str:
        """Where a session is, for people."""
        known = session.connection.info
        if self.embedded:
            return f"database {known.dbname} of the project's own server"
        return f"database {known.dbname} on {known.host}:{known.port}"

    @contextmanager
    def scratch(self, major: int) -> Generator[Scratch]:
        """A scratch database on a server of this major, like the target, see postgres.scratch."""
        with self._scratch(self.settings, major) as made:
            yield made

    @contextmanager
    def bench(self, major: int) -> Generator[Scratch]:
        """A scratch database to make a release in, which is the same for every target: none is asked, unless its server
        is the only one there is."""
        from dbt_cicd_toolkit.postgres import embedded

        known = self.scratch_url is not None or major in embedded.majors()
        with self._scratch(self._told if known else self.settings, major, alike=False) as made:
            yield made

    @contextmanager
    def _scratch(self, target: Settings, major: int, *, alike: bool = True) -> Generator[Scratch]:
        from dbt_cicd_toolkit.postgres.scratch import scratch

        local = self.root / ".local"
        with scratch(target, url=self.scratch_url, local=local, cluster_wide=False, major=major, alike=alike) as made:
            yield made

    @contextmanager
    def exclusive(self) -> Generator[None]:
        """Keep other commands that write the folder out, for as long as this process lives. Enter it before anything is
        read."""
        descriptor = os.open(self.directory, os.O_RDONLY) if self.directory.is_dir() else None
        try:
            if descriptor is not None:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            if descriptor is not None:
                os.close(descriptor)

    @cached_property
    def history(self) -> History:
        """What schema.hist says, verified, and that the released lines of schema.delta agree with it.

        Raises:
            InvalidInput: there is none.
            Differs: one of the files was changed after a release.
        """
        if not self.history_file.exists():
            how = "repair" if any(self.releases.glob("*_*.json")) else "init"
            raise InvalidInput(f"{self.history_file.absolute()} is missing. Make it with `dbt-cicd schema {how}`.")
        history = read(self.history_file)
        self._finish(history)
        newest = history.newest and self.release_file(history.newest)
        if newest and newest.exists() and newest.read_bytes() != self.history_file.read_bytes():
            raise Differs(
                f"{newest} is not what {self.history_file} says. Make it again (`dbt-cicd schema repair`), or restore "
                "them (git restore)."
            )
        said = {release.number: (release.label, list(release.deltas)) for release in history.releases}
        file = self.deltas
        found = {number: (file.labels[number], lines) for number, lines in file.released.items()}
        for number in sorted(said.keys() | found.keys()):
            if said.get(number) != found.get(number):
                raise Differs(
                    f"{self.delta_file}: the lines of release {number} are not those that were released. Restore them "
                    "(git restore)."
                )
        return history

    def _finish(self, history: History) -> None:
        """What a release that was killed behind its history's writing had still to do: close its lines."""
        newest = history.newest
        try:
            file = DeltaFile.read(self.delta_file)
        except InvalidInput as error:
            end = newest and f"-- release {newest.number} {newest.label}".encode()
            if end and end not in self.delta_file.read_bytes().splitlines():
                raise Differs(str(error)) from error  # what looks like an open line was released
            raise
        if newest and len(file.released) == newest.number - 1 and [x.text for x in file.open] == list(newest.deltas):
            self.write(history)

    def verify_files(self, history: History) -> None:
        """Raise Differs unless releases/ holds the files of this history, every byte as it was written."""
        wanted = {self.release_file(release): release for release in history.releases}
        for path in sorted({*self.releases.glob("*_*.json"), *wanted}):
            release = wanted.get(path)
            if release is None:
                raise Differs(
                    f"{path} is the file of no release that {self.history_file} knows. Restore it (git restore)."
                )
            if not path.exists():
                raise Differs(f"{path} is gone. Make it again (`dbt-cicd schema repair`).")
            if path.read_bytes() != text(history.until(release.number)).encode():
                raise Differs(f"{path} is not as it was written. Make it again (`dbt-cicd schema repair`).")

    @cached_property
    def deltas(self) -> DeltaFile:
        """What schema.delta says. Raises InvalidInput or Differs."""
        return DeltaFile.read(self.delta_file)

    def release_file(self, release: Release) -> Path:
        """Where a release is kept."""
        return self.releases / f"{release.number}_{release.label}.json"

    def released(self, label: str | None = None) -> History:
        """What the file of a release says, of the newest unless told: that release and all before it, verified.

        Raises:
            InvalidInput: there is no such file.
            Differs: it was changed after it was made.
        """
        files = {}
        for path in self.releases.glob("*_*.json") if self.releases.is_dir() else ():
            number, _, name = path.stem.partition("_")
            if number.isdigit():
                files[int(number)] = (name, path)
        if not files:
            raise InvalidInput(f"{self.releases} holds no release. Make one with `dbt-cicd schema release LABEL`.")
        asked = [number for number, (name, _) in files.items() if label in (None, name, str(number))]
        chosen = max(asked, default=None)
        if chosen is None:
            known = ", ".join(name for _, (name, _) in sorted(files.items()))
            raise InvalidInput(f"there is no release {label} in {self.releases}. There are: {known}.")
        history = read(files[chosen][1])
        if history.newest is None or self.release_file(history.newest) != files[chosen][1]:
            raise Differs(f"{files[chosen][1]} holds another release than its name says. Restore it (git restore).")
        return history

    def write(self, history: History) -> None:
        """Write schema.hist, which is what counts, then what follows from it: the files of the releases that are
        missing, and the end of the newest one's lines in schema.delta. Each whole or not at all."""
        write_atomically(self.history_file, text(history))
        for release in history.releases:
            if not self.release_file(release).exists() or release is history.newest:
                write_atomically(self.release_file(release), text(history.until(release.number)))
        file, newest = DeltaFile.read(self.delta_file), history.newest
        if newest and len(file.released) < newest.number:
            write_atomically(self.delta_file, file.released_as(newest.number, newest.label))


def text(history: History) -> str:
    """The bytes of a file, the same for the same history."""
    return json.dumps(records.to_json(history), ensure_ascii=False, indent=1) + "\n"


def read(path: Path) -> History:
    """The history in a file. Raises Differs unless every byte is as it was written."""
    data = path.read_bytes()
    try:
        found = data.decode("utf-8")
        history = records.of_json(json.loads(found), str(path))
    except UnicodeDecodeError as error:
        wrong = f"byte {error.start} is 0x{data[error.start]:02X}, which is not UTF-8"
        raise Differs(f"{path} is not as it was written: {wrong}. Restore it (git restore).") from error
    except (ValueError, RecursionError) as error:
        raise Differs(f"{path} is not as it was written: {error}. Restore it (git restore).") from error
    if text(history) != found:
        raise Differs(f"{path} is not as it was written. Restore it (git restore).")
    return history


def init(project: Project, schemas: Sequence[str], module: str) -> list[Path]:
    """Lay out the folder; return what was made. Raises Refused when there is a history, or a release, already."""
    for path in (project.history_file, *project.releases.glob("*_*.json")):
        if path.exists():
            raise Refused(f"{path} exists already. Nothing was done.")
    if not schemas:
        raise InvalidInput(
            "--schemas: name the PostgreSQL schemas that it manages, for example --schemas business,util."
        )
    for name in schemas:
        if name.startswith("pg_") or name in ("information_schema", "dbt_cicd"):
            raise InvalidInput(f"--schemas: {name} is the server's, or this program's. Name schemas of your own.")
    made = [project.directory, project.objects, project.releases]
    for folder in made:
        folder.mkdir(parents=True, exist_ok=True)
    write_atomically(project.delta_file, "")
    write_atomically(project.directory / ".gitattributes", _BYTES)
    project.write(History(module, tuple(dict.fromkeys(schemas))))
    made += [project.directory / ".gitattributes", project.delta_file, project.history_file]
    return made + _ignore(project.root)


def _ignore(root: Path) -> list[Path]:
    """Keep .local/, where embedded servers are, out of git; return the file if it was written."""
    path = root / ".gitignore"
    known = path.read_text(encoding="utf-8") if path.exists() else ""
    if ".local" in (line.strip().strip("/") for line in known.splitlines()):
        return []
    write_atomically(path, known + "\n" * (known != "" and not known.endswith("\n")) + ".local/\n")
    return [Path(os.path.relpath(path))]
