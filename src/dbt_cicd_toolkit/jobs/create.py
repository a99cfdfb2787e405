"""Lay out a project, and make jobs and new versions of them in the open folder."""

from __future__ import annotations

import ast
import json
import keyword
import os
import posixpath
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from dbt_cicd_toolkit.errors import InvalidInput, Refused
from dbt_cicd_toolkit.files import write_atomically
from dbt_cicd_toolkit.git import Git
from dbt_cicd_toolkit.jobs import notes, settings, state
from dbt_cicd_toolkit.jobs.number import Number
from dbt_cicd_toolkit.jobs.project import SETTINGS, Project
from dbt_cicd_toolkit.jobs.rewrite import renamed
from dbt_cicd_toolkit.jobs.source import parse
from dbt_cicd_toolkit.jobs.state import FIRST, Line, released_tags
from dbt_cicd_toolkit.jobs.writer import exclusive

_PACKAGE = '''\
"""Jobs, by version: `from dwh.jobs.v0_1_0.my_job import MyJob`, or resolve('my_job', '~=0.1.0') by jobs.lock."""

from dbt_cicd_toolkit.jobs.resolver import bind

resolve = bind(__name__, __file__)
'''
_RELEASES = """\
# Releases

`<version>.json` is what a release is made of, `<version>.md` its notes. `dbt-cicd job release` writes them; nobody
edits them.
"""
_JOB = '''\
"""{name}: say here what it does."""


class {class_name}:
    # What it reads and writes, as dbt models or schema.table, and what it needs installed. Literal lists: they are read
    # without running the job. Without them nothing is checked.
    # reads = ["customers"]
    # writes = ["analytics.{name}"]
    # requires = ["requests>=2.31"]

    def run(self) -> None:
        raise NotImplementedError("{name} has no code yet")
'''


@dataclass(frozen=True)
class Made:
    """What was made.

    Attributes:
        version: of the open folder.
        files: that were written, by their paths.
        moved: the number that the open folder had before, if it was renamed.
        hints: what to look at.
    """

    version: Number
    files: list[str]
    moved: Number | None = None
    hints: list[str] = field(default_factory=list)


def init(directory: Path, package: str, *, dry_run: bool = False) -> Made:
    """Lay out a project at the top of the repository that ``directory`` is in, with jobs in ``package``.jobs.

    VERSION stays as it is if there is one; else it is the last release that is tagged on this branch, or 0.0.0.
    """
    if not all(part.isidentifier() and not keyword.iskeyword(part) for part in package.split(".")):
        raise InvalidInput(f"'{package}' is no name of a Python package. Write it like dwh, for jobs in dwh/jobs.")
    top = Git(directory).top()
    if top is None:
        raise InvalidInput(f"{directory.resolve()} is in no git repository. `git init` first.")
    project = Project(top.resolve())
    if (project.root / SETTINGS).exists():
        raise Refused(f"{SETTINGS} is there already. `dbt-cicd job new NAME` makes a job.")
    changes = _layout(project, package)
    if not dry_run:
        with exclusive(project) as writer:
            writer.write("new project", changes)
    return Made(project.version() if not dry_run else _first(project), sorted(changes))


def _layout(project: Project, package: str) -> dict[str, bytes | None]:
    folder = "/".join([*package.split("."), "jobs"])
    texts = {
        SETTINGS: settings.new_text(package),
        "VERSION": f"{_first(project)}\n",
        "changes/README.md": notes.README,
        "releases/README.md": _RELEASES,
        f"{folder}/__init__.py": _PACKAGE.replace("dwh", package),
        f"{folder}/jobs.lock": json.dumps({"format": 1, "environments": {}}, indent=2, sort_keys=True) + "\n",
    }
    parts = package.split(".")
    for each in ("/".join(parts[: end + 1]) for end in range(len(parts))):
        if not (project.root / each).exists():  # one that is there may be without on purpose
            texts[f"{each}/__init__.py"] = ""
    if (project.root / "VERSION").exists():
        del texts["VERSION"]
    there = [path for path in texts if (project.root / path).exists() and not path.endswith("README.md")]
    if there:
        raise Refused(f"{', '.join(there)} is there already. Move it away, or name another package.")
    return {path: text.encode("utf-8") for path, text in texts.items() if not (project.root / path).exists()}


def _first(project: Project) -> Number:
    if (project.root / "VERSION").exists():
        return project.version()
    commit = project.git.commit("HEAD")
    return max(released_tags(project.git, commit), default=FIRST) if commit else FIRST


def new(project: Project, name: str, bump: str | None = None, *, dry_run: bool = False) -> Made:
    """Write a job into the open folder, which is made if there is none."""
    _refuse_no_name(name)
    with exclusive(project, dry_run=dry_run) as writer:
        where = Folder(project, bump)
        if name in project.names():
            raise Refused(f"there is a job {name} already. `dbt-cicd job new-version {name}` makes a version of it.")
        class_name = "".join(part.capitalize() for part in name.split("_"))
        text = _JOB.format(name=name, class_name=class_name).encode("utf-8")
        where.add(f"{name}.py", text)
        if not dry_run:
            writer.write(f"new job {name}", where.changes, where.modes)
    return where.made()


def _refuse_no_name(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        better = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()).strip("_")
        hint = f", for example {better}" if re.fullmatch(r"[a-z][a-z0-9_]*", better) and better != name else ""
        raise InvalidInput(f"'{name}' is no name of a job: small letters, digits and underscores{hint}.")


def new_version(project: Project, name: str, bump: str | None = None, *, dry_run: bool = False) -> Made:
    """Copy the newest version of a job, with the helpers in its folder that it imports, into the open folder."""
    with exclusive(project, dry_run=dry_run) as writer:
        where = Folder(project, bump)
        newest = project.versions_of(name)[-1]
        if newest == where.was:
            if not where.moved:
                file = project.path(project.folder(newest) / f"{name}.py")
                raise Refused(
                    f"{name} is in the open folder already: edit {file}. "
                    "A higher number is --bump major, or the number itself."
                )
        else:
            where.copy(newest, name)
        if not dry_run:
            writer.write(f"new version of {name}", where.changes, where.modes)
    return where.made()


def _line(project: Project) -> Line:
    state.refuse_unfinished(project.git)
    return state.line(project)


class Folder:
    """The open folder as it will be, under the number that it will have."""

    def __init__(self, project: Project, bump: str | None, line: Line | None = None) -> None:
        self.project = project
        self.line = line or _line(project)
        self.was = project.open()
        self.changes: dict[str, bytes | None] = {}
        self.modes: dict[str, int] = {}
        self.hints: list[str] = []
        self.version = self._number(bump)
        self.moved = self.was if self.was and self.was != self.version else None
        if self.moved:
            self._rename(self.moved)
        elif not self.was:
            self.add("__init__.py", b"")

    def _number(self, bump: str | None) -> Number:
        if self.was and bump is None:
            return self.was
        wanted = self.line.next(bump)
        if self.was and wanted <= self.was:
            return self.was
        if wanted.tag in self.project.git.tags():
            raise Refused(
                f"{wanted} is released already, as {wanted.tag}. Name a higher number: --bump {wanted.bump('patch')}."
            )
        if wanted in self.project.manifests():
            raise Refused(f"{wanted} is released already (releases/{wanted}.json). Name a higher number with --bump.")
        return wanted

    def add(self, name: str, content: bytes, like: Path | None = None) -> None:
        """Write a file of the folder; ``like`` is the one that it is a copy of."""
        path = self.path(name)
        if (self.project.root / path).exists():
            raise Refused(f"{path} is there already. Move it away, then run this again.")
        self.changes[path] = content
        if like:
            self.modes[path] = like.stat().st_mode & 0o777

    def write(self) -> None:
        """Write the files: for a working tree that is thrown away when this is cut short."""
        for path, content in self.changes.items():
            file = self.project.root / path
            if content is not None:
                file.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(file, content, self.modes.get(path))

    def path(self, name: str) -> str:
        """Of a file of the folder."""
        return f"{self.project.path(self.project.folder(self.version))}/{name}"

    def made(self) -> Made:
        """What to tell."""
        written = sorted(path for path, content in self.changes.items() if content is not None)
        return Made(self.version, written, self.moved, self.hints)

    # A larger number.

    def _rename(self, old: Number) -> None:
        folder = self.project.folder(old)
        for file in self.project.files(old):
            if file.is_symlink():
                raise Refused(f"{self.project.path(file)} is a symbolic link, which a release cannot hold. Copy it.")
            name = file.relative_to(folder).as_posix()
            content = self._renamed(file, old)
            self.add(name, content, file)
            self._hint(self.path(name), content, old)
        for file in self.project.files(old):
            self.changes[self.project.path(file)] = None
        self._rename_elsewhere(old)

    def _renamed(self, file: Path, old: Number) -> bytes:
        content = file.read_bytes()
        if file.suffix != ".py":
            return content
        return renamed(content, self.project.path(file), self.project.package, old.folder, self.version.folder)

    def _rename_elsewhere(self, old: Number) -> None:
        """In the rest of the working tree; frozen folders stay as they are."""
        frozen = tuple(f"{self.project.path(self.project.jobs)}/{each.folder}/" for each in self.project.folders())
        for path in self._naming(old):
            file = self.project.root / path
            if path.startswith(frozen) or file.is_symlink() or not file.is_file():
                continue
            content = file.read_bytes()
            if path.endswith(".py"):
                new = renamed(content, path, self.project.package, old.folder, self.version.folder)
                if new != content:
                    self.changes[path] = new
                content = new
            self._hint(path, content, old)

    def _hint(self, path: str, content: bytes, old: Number) -> None:
        if old.folder.encode() in content:
            self.hints.append(f"{path} still names {old.folder}: look whether it means this folder")

    def _naming(self, old: Number) -> list[str]:
        """Files that name a folder, whether committed yet or not; among the DAGs also those that git ignores."""
        environments = self.project.settings.environments.values() or (settings.Environment(""),)
        dags = sorted({folder for each in environments for folder in each.folders})
        found = self._grep(old.folder)
        found += self._grep(old.folder, ["--no-exclude-standard"], [*dags, ":(exclude)*.pyc"])
        return list(dict.fromkeys(found))

    def _grep(self, text: str, options: Collection[str] = (), paths: Collection[str] = ()) -> list[str]:
        search = ("grep", "-z", "--files-with-matches", "--untracked", *options, "--text", "--fixed-strings")
        done = self.project.git.run(*search, "-e", text, "--", *paths)
        if done.returncode > 1:
            raise Refused(f"`git grep` failed: {done.stderr.decode('utf-8', 'replace').strip()}")
        return [os.fsdecode(each) for each in done.stdout.split(b"\0") if each]

    # A copy.

    def copy(self, version: Number, job: str) -> None:
        """Copy a job of another folder, and what it needs of that folder."""
        folder = self.project.folder(version)
        needed = _needed(self.project, version, job)
        package = folder / "__init__.py"
        if package.is_file() and "__init__.py" not in needed and package.read_bytes().strip():
            self.hints.append(f"{self.project.path(package)} has code that was not copied: {job} takes nothing from it")
        for name in needed:
            source = folder / name
            content = source.read_bytes()
            if name.endswith(".py"):
                path = self.project.path(source)
                content = renamed(content, path, self.project.package, version.folder, self.version.folder)
            self._copy(name, content, source, job)

    def _copy(self, name: str, content: bytes, source: Path, job: str) -> None:
        target = self.path(name)
        there = self.changes.get(target)
        if there is None and (self.project.root / target).is_file():
            there = (self.project.root / target).read_bytes()
        if there is None or (name == "__init__.py" and not there.strip()):
            self.changes[target] = content
            self.modes[target] = source.stat().st_mode & 0o777
            other = name.removesuffix(".py")
            if "/" not in name and name.endswith(".py") and not name.startswith("_") and other != job:
                self.hints.append(f"{other} has a new version too, for {job} imports it")
        elif there != content:
            self.hints.append(f"{target} was there and stays; the job's old version used {self.project.path(source)}")


def _needed(project: Project, version: Number, job: str) -> list[str]:
    """The files of a folder that a job needs, by their paths in it: modules that it imports, at once or through others,
    and data files that one of these names in a text."""
    folder = project.folder(version)
    names = {file.relative_to(folder).as_posix(): file for file in project.files(version)}
    found: dict[str, None] = {}
    waiting = [f"{job}.py"]
    texts: set[str] = set()
    while waiting:
        name = waiting.pop(0)
        if name in found or name not in names:
            continue
        found[name] = None
        tree = parse(names[name], project.path(names[name]))
        waiting += [f"{each}/__init__.py" for each in _parents(name)]
        waiting += _imported(tree, name, f"{project.package}.{version.folder}", names)
        texts |= {
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
    wanted = {part for text in texts for part in (text, posixpath.basename(text))}
    data = [name for name in names if not name.endswith(".py") and {name, posixpath.basename(name)} & wanted]
    return [*found, *data]


def _parents(name: str) -> list[str]:
    parts = name.split("/")[:-1]
    return ["/".join(parts[: end + 1]) for end in range(len(parts))]


def _imported(tree: ast.Module, name: str, package: str, names: Collection[str]) -> Iterable[str]:
    """What may be files of the folder, of the modules that a file of it imports."""
    inside = package.split(".") + name.removesuffix(".py").removesuffix("/__init__").split("/")
    if name.endswith("__init__.py"):
        inside.append("__init__")
    if name == "__init__.py":
        inside = [*package.split("."), "__init__"]
    for node in ast.walk(tree):
        modules: list[str] = []
        if isinstance(node, ast.Import):
            modules = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = inside[: len(inside) - node.level] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            modules = [base, *[f"{base}.{each.name}" for each in node.names]]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            modules = [node.value]
        for module in modules:
            if module == package and isinstance(node, ast.ImportFrom):
                # The package's own code is needed for a name that is none of its modules.
                if not all(f"{each.name}.py" in names or f"{each.name}/__init__.py" in names for each in node.names):
                    yield "__init__.py"
            elif module.startswith(f"{package}."):
                path = module.removeprefix(f"{package}.").replace(".", "/")
                yield f"{path}.py"
                yield f"{path}/__init__.py"
