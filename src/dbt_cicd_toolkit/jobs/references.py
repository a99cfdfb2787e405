"""Who uses which version of a job: in the files of an environment, in every other file, on every branch."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from dbt_cicd_toolkit.errors import Refused, ToolkitError
from dbt_cicd_toolkit.jobs import resolver
from dbt_cicd_toolkit.jobs.inventory import Item, of_tree
from dbt_cicd_toolkit.jobs.named import named
from dbt_cicd_toolkit.jobs.number import Number
from dbt_cicd_toolkit.jobs.project import Project
from dbt_cicd_toolkit.jobs.reach import Modules, modules
from dbt_cicd_toolkit.jobs.trees import Branch, Place, Tree, WorkingTree, places, working_tree
from dbt_cicd_toolkit.jobs.usage import Source

How = Literal["import", "string", "resolve", "lock", "ledger", "unknown"]
# Pages and records tell of versions without using them.
_TELLS = (".md", ".rst")
_NOT_SEARCHED = ("*.md", "*.rst", "releases/*", "jobs.toml")


@dataclass(frozen=True)
class Reference:
    """A use of a version of a job.

    Attributes:
        how: 'import'; 'string': a text names it; 'resolve': resolve() leads to it; 'lock', 'ledger'; 'unknown': which
            version, or whether any, only running would tell.
        job, version: None where unknown; ``job`` also for a whole folder.
        path, line: where; '' for a row of the ledger.
        environment: who runs that file; None for a file that no environment runs.
        branch: whose file it is; None on a detached HEAD, and for the ledger.
        dags: the DAGs that reach it, by id, or by path where the id is not literal.
        text: the pin, or the source of what is unknown.
        apart: it does not run in the interpreter of the DAG.
    """

    how: How
    job: str | None
    version: Number | None
    path: str
    line: int
    environment: str | None = None
    branch: str | None = None
    dags: tuple[str, ...] = ()
    text: str | None = None
    apart: bool = False

    @property
    def where(self) -> str:
        """'dags/legacy.py:3'."""
        return f"{self.path}:{self.line}" if self.path else "the ledger"

    def is_of(self, job: str, version: Number) -> bool:
        """Is it a use of this version of this job, perhaps among others of its folder?"""
        return self.version == version and self.job in (None, job)

    @property
    def unread_environment(self) -> str | None:
        """The source of the environment that a call of resolve() names, where that is no literal."""
        environment = self.environment or ""
        return environment[1:-1] if self.how == "resolve" and environment.startswith("<") else None

    def said(self) -> str:
        """'dags/legacy.py:3 (import, environment production, branch main)'."""
        facts = [self.how + (f" {self.text}" if self.text and self.how in ("resolve", "lock") else "")]
        facts += [f"environment {self.environment}"] if self.environment else []
        facts += [f"branch {self.branch}"] if self.branch else []
        return f"{self.where} ({', '.join(facts)})"

    def document(self) -> dict[str, Any]:
        """For JSON."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return values | {"version": self.version and str(self.version), "dags": list(self.dags)}


@dataclass
class Uses:
    """Reads a project's references; what two questions need is read once.

    Attributes:
        broken: why something could not be read, a message each.
    """

    project: Project
    broken: list[str] = field(default_factory=list)

    @cached_property
    def working(self) -> WorkingTree:
        """The files on disk."""
        return working_tree(self.project)

    @cached_property
    def places(self) -> list[Place]:
        """Every environment with its files."""
        return places(self.project, self.working)

    @cached_property
    def _known(self) -> dict[object, Source]:
        return {}

    @cached_property
    def _modules(self) -> dict[int, Modules]:
        return {}

    def modules(self, tree: Tree) -> Modules:
        """The modules of a tree."""
        return self._modules.setdefault(id(tree), modules(self.project, tree, self._known))

    def by_environments(self) -> list[Reference]:
        """What the DAGs of every environment use, by environment, file and line."""
        return list(dict.fromkeys(each for place in self.places for each in self.by_place(place)))

    def by_place(self, place: Place) -> list[Reference]:
        """What the DAGs of one environment use; nothing where this clone has not got its branch."""
        if place.tree is None:
            return []
        key = (id(place.tree), place.environment.folders)
        if key not in self._by_tree:
            self._by_tree[key] = self._of_dags(place.tree, place.environment.folders)
        lock = self.lock(place.tree)
        return [_in_environment(each, place.name, lock) for each in self._by_tree[key]]

    @cached_property
    def _by_tree(self) -> dict[tuple[int, tuple[str, ...]], list[Reference]]:
        return {}

    def items(self, place: Place) -> Mapping[tuple[str, Number], Item]:
        """The versions that an environment's branch has. Raises InvalidInput or Differs when it cannot be read."""
        if place.tree is None:
            return {}
        if id(place.tree) not in self._items:
            self._items[id(place.tree)] = of_tree(self.project, place.tree)
        return self._items[id(place.tree)]

    @cached_property
    def _items(self) -> dict[int, Mapping[tuple[str, Number], Item]]:
        return {}

    def missing(self) -> list[str]:
        """What to say of environments whose branch this clone has not got."""
        return [place.missing() for place in self.places if place.tree is None]

    def without_dags(self) -> list[str]:
        """What to say of DAG folders in jobs.toml that their branch has not got. Of the one that is looked at when
        jobs.toml names none, nothing: a new project has no DAGs yet."""
        return [
            f"jobs.toml: environments.{place.name} has its DAGs in '{folder}', and "
            f"{f'branch {place.tree.branch}' if place.tree.branch else 'the working tree'} has no such folder. "
            "Correct dags in jobs.toml."
            for place in self.places
            if place.tree is not None
            for folder in place.environment.dags
            if not place.tree.below([folder])
        ]

    def dag_files(self, tree: Tree, dags: Sequence[str]) -> list[str]:
        """The files of an environment: Python, and what may name a job in a text."""
        found = self.modules(tree)
        return [path for path in tree.below(dags) if not path.endswith(_TELLS) and found.folder(path) is None]

    def _of_dags(self, tree: Tree, dags: Sequence[str]) -> list[Reference]:
        files = self.dag_files(tree, dags)
        tree.load(files)
        found = self.modules(tree)
        made: dict[str, set[str]] = {}
        for path in files:
            reached = [path]
            if path.endswith(".py"):
                reached = list(found.reached([path], lambda each: found.folder(each) is None))
            ids = set(found.source(path).dags)
            for each in reached:
                made.setdefault(each, set()).update(ids)
        references = [
            replace(each, dags=tuple(sorted(made[path])) or ((path,) if path in files else ()))
            for path in sorted(made)
            for each in self.of_file(tree, path)
        ]
        self._tell_broken(found)
        return references

    def _tell_broken(self, found: Modules) -> None:
        self.broken += [message for message in found.broken.values() if message not in self.broken]

    def of_file(self, tree: Tree, path: str) -> list[Reference]:
        """The references in one file."""
        found = self.modules(tree)
        source = found.source(path)
        references = []
        for use in source.uses:
            if version := named(use.name, found.jobs):
                job = self._job(tree, version.version, version.job)
                references.append(
                    Reference(
                        use.how,
                        job,
                        version.version,
                        path,
                        use.line,
                        branch=tree.branch,
                        text=use.name,
                        apart=use.apart,
                    )
                )
        for pin in source.pins:
            references.append(
                Reference(
                    "resolve",
                    pin.job,
                    None,
                    path,
                    pin.line,
                    environment=pin.environment,
                    branch=tree.branch,
                    text=pin.pin if pin.job else None,
                    apart=pin.apart,
                )
            )
        references += [
            Reference("unknown", None, None, path, each.line, branch=tree.branch, text=each.text)
            for each in source.unknown
        ]
        return sorted(references, key=lambda each: (each.line, each.how, each.job or ""))

    def _job(self, tree: Tree, version: Number, job: str | None) -> str | None:
        """The job of a name; None where the name is of the folder itself: something that its __init__.py has."""
        if job is None:
            return None
        folder = f"{self.project.package.replace('.', '/')}/{version.folder}"
        if tree.has(f"{folder}/{job}.py") or tree.has(f"{folder}/{job}/__init__.py"):
            return job
        content = tree.read(f"{folder}/__init__.py") or b""
        return None if re.search(rf"\b{job}\b".encode(), content) else job

    # The lock

    def lock(self, tree: Tree) -> resolver.Environments:
        """jobs.lock as a tree has it; empty where it has none, or where it cannot be read."""
        if id(tree) not in self._locks:
            self._locks[id(tree)] = self._read_lock(tree)
        return self._locks[id(tree)]

    @cached_property
    def _locks(self) -> dict[int, resolver.Environments]:
        return {}

    def _read_lock(self, tree: Tree) -> resolver.Environments:
        path = self.project.path(self.project.lock_file)
        content = tree.read(path)
        if content is None:
            return {}
        try:
            return resolver.parse(content, tree.where(path))
        except ToolkitError as error:
            if str(error) not in self.broken:
                self.broken.append(str(error))
            return {}

    def of_lock(self, tree: Tree) -> list[Reference]:
        """What a tree's jobs.lock leads to."""
        path = self.project.path(self.project.lock_file)
        text = (tree.read(path) or b"").decode("utf-8", "replace")
        found = []
        for environment, jobs in self.lock(tree).items():
            for job, pins in jobs.items():
                for pin, version in pins.items():
                    line = _line(text, environment, job, pin)
                    found.append(
                        Reference("lock", job, Number.parse(version), path, line, environment, tree.branch, text=pin)
                    )
        return found

    # Everything else

    def everywhere(self, version: Number) -> list[Reference]:
        """Every reference to a version's folder, or that may be one: of environments, other files, other branches."""
        found = self.by_environments()
        folder = [self.project.path(path) for path in self.project.files(version)]
        (here,) = self._grep(version, [])
        found += self._searched(self.working, sorted({*here, *folder, *self._archives(self.working)}))
        found += self.of_lock(self.working)
        branches = self._other_branches()
        for tree, files in zip(branches, self._grep(version, branches) if branches else (), strict=True):
            inside = f"{self.project.path(self.project.folder(version))}/"  # that folder is the same everywhere
            files = [path for path in files if not path.startswith(inside)]
            found += self._searched(tree, sorted({*files, *self._archives(tree)}))
            found += self.of_lock(tree)
        return _without_twins(found)

    def _archives(self, tree: Tree) -> list[str]:
        """Zip files among the DAGs, which have no text to search for."""
        folders = {folder for place in self.places for folder in place.environment.folders}
        return [path for path in tree.below(sorted(folders)) if path.endswith(".zip")]

    def _other_branches(self) -> list[Branch]:
        """The branches besides the one that is checked out, those of remotes too."""
        git = self.project.git
        here, own = git.commit("HEAD") or "", self.working.branch
        known = {place.tree.commit: place.tree for place in self.places if isinstance(place.tree, Branch)}
        found: dict[str, Branch] = {}
        for branch, commit in git.branches().items():
            # On a detached HEAD the branch that stands there is the one that is checked out.
            if branch != own and (own is not None or commit != here):
                found.setdefault(commit, known.get(commit) or Branch(git, branch, commit))
        for branch, commit in git.remote_branches().items():
            # The remote's copy of this branch follows with the next push, unless it has something of its own.
            if branch.partition("/")[2] != own or not git.is_ancestor(commit, here):
                found.setdefault(commit, known.get(commit) or Branch(git, branch, commit))
        return list(found.values())

    def _grep(self, version: Number, branches: Sequence[Branch]) -> list[list[str]]:
        """The files of each branch (the working tree, if there is none) that may name a version, or that name the
        package of the jobs or import from that around it. One process for all."""
        package = r"[./]".join(map(re.escape, self.project.package.split(".")))
        around = re.escape(self.project.settings.package)
        pattern = rf'{version.folder}|{package}|from[[:space:]]+{around}[[:space:]]+import|"{re.escape(str(version))}"'
        search = ["grep", "-l", "-z", "--text", "-E", "-e", pattern]
        search += [tree.commit for tree in branches] or ["--untracked"]
        done = self.project.git.run(*search, "--", *(f":(exclude){each}" for each in _NOT_SEARCHED))
        if done.returncode > 1:
            raise Refused(f"`git grep` failed: {done.stderr.decode('utf-8', 'replace').strip()}")
        names = [os.fsdecode(name) for name in done.stdout.split(b"\0") if name]
        if not branches:
            return [names]
        found: dict[str, list[str]] = {tree.commit: [] for tree in branches}
        for name in names:
            commit, _, path = name.partition(":")
            found[commit].append(path)
        return list(found.values())

    def _searched(self, tree: Tree, files: Sequence[str]) -> list[Reference]:
        lock = self.project.path(self.project.lock_file)
        files = [path for path in files if path != lock and not path.endswith(_TELLS)]
        tree.load(files)
        found = self.modules(tree)
        references = [each for path in files for each in self.of_file(tree, path)]
        self._tell_broken(found)
        locked = {(job, pin) for jobs in self.lock(tree).values() for job, pins in jobs.items() for pin in pins}
        # What is locked stands in the lock.
        return [each for each in references if each.how != "resolve" or (each.job, each.text) not in locked]


def _in_environment(
    reference: Reference, environment: str | None, lock: Mapping[str, Mapping[str, Mapping[str, str]]]
) -> Reference:
    """A reference of a file that an environment runs. There a resolve() leads to a version; the environment that the
    call itself names goes before that of the file."""
    if reference.how != "resolve":
        return replace(reference, environment=environment)
    environment = reference.environment or environment
    pins = lock.get(environment or "", {}).get(reference.job or "", {})
    version = pins.get(reference.text or "")
    return replace(reference, environment=environment, version=Number.parse(version) if version else None)


def _line(text: str, *keys: str) -> int:
    """The line of jobs.lock that the last of these keys is in, each behind the one before."""
    lines, at = text.splitlines(), 0
    for key in keys:
        start = re.compile(rf'\s*"{re.escape(key)}"\s*:')
        at = next((place for place in range(at, len(lines)) if start.match(lines[place])), at)
    return at + 1


def _without_twins(references: Iterable[Reference]) -> list[Reference]:
    """Each line once; one that has an environment says more than one that has none."""
    found: dict[tuple[object, ...], Reference] = {}
    plain: dict[tuple[object, ...], Reference] = {}
    for each in references:
        key = (each.branch, each.path, each.line, each.how, each.job, each.version, each.text)
        if each.environment is None:
            plain.setdefault(key, each)
        else:
            found[(*key, each.environment)] = each
    told = {key[:-1] for key in found}
    return sorted(
        [*found.values(), *(each for key, each in plain.items() if key not in told)],
        key=lambda each: (each.branch or "", each.path, each.line, each.environment or ""),
    )
