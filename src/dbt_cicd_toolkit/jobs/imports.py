"""What a Python file imports, names and resolves: read, never run.

Imports anywhere in a file count, the lazy ones too, and so do texts that name a version of a job, such as the
``--module_name`` of a Glue job. What only running would tell is an Unknown, never nothing.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal

from dbt_cicd_toolkit.errors import InvalidInput
from dbt_cicd_toolkit.jobs.number import Number
from dbt_cicd_toolkit.jobs.source import parse_content

How = Literal["import", "string"]
# Stands in a text for the part that only running would tell.
_HOLE = "\0"
_ANY = r"[\w\0{}%$<>*?-]"
_FOLDER = r"v(?:0|[1-9][0-9]*)_(?:0|[1-9][0-9]*)_(?:0|[1-9][0-9]*)"
_TOKEN = re.compile(rf"(?<![A-Za-z0-9_]){_FOLDER}(?![A-Za-z0-9_])")
# Functions that import what an argument says: the place and the name of that argument.
_BY_NAME = {
    "import_module": (0, "name"),
    "__import__": (0, "name"),
    "run_module": (0, "mod_name"),
    "import_string": (0, "dotted_path"),
    "resolve_name": (0, "name"),
    "find_spec": (0, "name"),
}
_BY_PATH = {
    "run_path": (0, "path_name"),
    "spec_from_file_location": (1, "location"),
    "SourceFileLoader": (1, "path"),
    "load_source": (1, "pathname"),
}
_CODE = ("exec", "eval")
_LOADERS = {**_BY_NAME, **_BY_PATH}
_LIBRARIES = ("importlib", "importlib.util", "importlib.machinery", "runpy", "pkgutil", "imp", "builtins")
# A function with such a decorator, or given to such an operator, runs in an interpreter of its own.
_APART = re.compile(r"virtualenv|external_?python|docker|kubernetes", re.IGNORECASE)


@dataclass(frozen=True)
class Use:
    """A name that a file imports, or has in a text.

    Attributes:
        name: absolute, with dots; a file's path has become dots, too.
        line: where.
        how: 'import' for what is imported, 'string' for a text that names it.
        lazy: inside a function. typing: for type checkers only. apart: by a task with an interpreter of its own.
    """

    name: str
    line: int
    how: How = "import"
    lazy: bool = False
    typing: bool = False
    apart: bool = False


@dataclass(frozen=True)
class Unknown:
    """An import or a name that cannot be read; ``text`` is the source.

    ``folders``: version folders that it names without saying of which package, which matters only where these are; none
    for what may be any.
    """

    line: int
    text: str
    folders: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pin:
    """A call of resolve(). ``job`` and ``pin`` are None where they are no literals; no pin at all is 'latest'.
    ``environment``: the one that the call itself names; in < > the source of one that is no literal."""

    line: int
    text: str
    job: str | None
    pin: str | None
    apart: bool = False
    environment: str | None = None


@dataclass(frozen=True)
class Source:
    """What was read of a file. ``dags``: the ids of the DAGs it makes, as far as they are literal. ``attributes``: what
    is used of an imported job with a dot, my_job.MyJob."""

    uses: tuple[Use, ...] = ()
    unknown: tuple[Unknown, ...] = ()
    pins: tuple[Pin, ...] = ()
    dags: tuple[str, ...] = ()
    attributes: tuple[Use, ...] = ()


@dataclass(frozen=True)
class Named:
    """A version of a job that a name leads to; ``job`` is None for the whole folder."""

    version: Number
    job: str | None


def pattern_of(jobs: str, folder: str, job: str) -> re.Pattern[str]:
    """A version of a job as texts name it, with dots or slashes; the group is its folder."""
    package = r"[./]".join(map(re.escape, jobs.split(".")))
    return re.compile(rf"(?<![A-Za-z0-9_.]){package}[./]({folder})(?=[./]{job}(?![A-Za-z0-9_]))")


def named(name: str, jobs: str) -> Named | None:
    """The version that a dotted name is in, where ``jobs`` is the package of the version folders."""
    match = _named_pattern(jobs).match(name)
    return Named(_number(match[1]), match[2]) if match else None


def read_text(text: str, jobs: str) -> Source:
    """Read a file that is no Python (YAML, JSON, shell …): the versions that it names, as modules or as paths. Lines
    that begin with # are comments."""
    uses, unknown = [], []
    for line, each in enumerate(text.splitlines(), start=1):
        if not each.lstrip().startswith("#"):
            names, unclear, left = _names(each, jobs)
            uses += [Use(name, line, "string", apart=True) for name in names]
            if unclear:
                unknown.append(Unknown(line, each.strip()))
            elif left:
                unknown.append(Unknown(line, _short(each.strip(), left), left))
    return Source(tuple(uses), tuple(unknown))


def read(content: bytes, where: str, module: str, is_package: bool, jobs: str) -> Source:
    """Read a Python file.

    Args:
        content: of the file.
        where: what messages call it.
        module: its dotted name, which relative imports start from.
        is_package: is it an __init__.py?
        jobs: the package of the version folders, 'dwh.jobs'.
    Raises:
        InvalidInput: no Python.
    """
    tree = parse_content(content, where)
    reader = _Reader(module, is_package, jobs, deep=bool(_suspicious(jobs).search(content)))
    try:
        reader.module(tree)
        return reader.source()
    except RecursionError:
        raise InvalidInput(f"{where}: an expression has too many parts to be read. Split it.") from None


@lru_cache
def _suspicious(jobs: str) -> re.Pattern[bytes]:
    """What a file must have for its expressions to matter; without it, its import statements are all there is."""
    words = [*_LOADERS, *_CODE, "resolve", "DAG", "dag", jobs.rpartition(".")[2], "v[0-9]+_[0-9_]*"]
    return re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(words)})(?![A-Za-z0-9])".encode())


@lru_cache
def _named_pattern(jobs: str) -> re.Pattern[str]:
    return re.compile(rf"{re.escape(jobs)}\.({_FOLDER})(?:\.(\w+))?(?:\.|$)")


@lru_cache
def _text_pattern(jobs: str) -> re.Pattern[str]:
    """Package, version and job in a text, with dots or slashes. The package may be a hole, the version then not."""
    package = r"[./]".join(map(re.escape, jobs.split(".")))
    return re.compile(
        rf"(?<![A-Za-z0-9_.])({package})[./]((?:{_ANY})*)(?:[./]({_ANY}+))?|\0[./]?({_FOLDER})(?:[./]({_ANY}+))?"
    )


def _number(folder: str) -> Number:
    return Number(*map(int, folder[1:].split("_")))


def _names(text: str, jobs: str) -> tuple[list[str], bool, tuple[str, ...]]:
    """The dotted names of versions in a text, whether it names one that cannot be read, and the version folders in it
    of which it does not say whose they are."""
    found, unclear, told = [], False, set()
    for match in _text_pattern(jobs).finditer(text):
        group = 2 if match[1] else 4
        folder, job = match[group], match[group + 1]
        if re.fullmatch(_FOLDER, folder):
            named_job = job if job and re.fullmatch(r"\w+", job) else None
            found.append(".".join(filter(None, (jobs, folder, named_job))))
            told.add(match.start(group))
        elif re.search(r"[\0{%$<*?]", folder) or (folder in ("", "v") and match.end() == len(text)):
            unclear = True
    left = dict.fromkeys(match[0] for match in _TOKEN.finditer(text) if match.start() not in told)
    return found, unclear, tuple(left)


def _short(text: str, folders: Sequence[str]) -> str:
    """A text as messages show it: of a long one, a page of SQL perhaps, what is in question."""
    return text if len(text) <= 120 else f"'…{'…'.join(folders)}…'"


@dataclass(frozen=True)
class _At:
    """Where in a file we are."""

    lazy: bool = False
    typing: bool = False
    apart: bool = False


@dataclass
class _Reader:
    module_name: str
    is_package: bool
    jobs: str
    deep: bool
    uses: list[Use] = field(default_factory=list)
    unknown: list[Unknown] = field(default_factory=list)
    pins: list[Pin] = field(default_factory=list)
    dags: list[str] = field(default_factory=list)
    # Local name: the dotted name that it stands for. A name that is bound twice has both.
    bound: dict[str, list[str]] = field(default_factory=dict)
    constants: dict[str, str] = field(default_factory=dict)
    constant_nodes: dict[int, str] = field(default_factory=dict)
    # Names used as such; and longer ones, with what their beginning stands for.
    bare: set[str] = field(default_factory=set)
    chains: set[str] = field(default_factory=set)
    # Whole version folders, by the local name that they were imported as.
    folders: list[tuple[str, Use]] = field(default_factory=list)
    # Expressions are looked at when every import of the file is known.
    later: list[tuple[ast.expr, _At]] = field(default_factory=list)
    apart: frozenset[str] = frozenset()
    attributes: list[Use] = field(default_factory=list)
    # Names that statements other than imports bind, and names that are read.
    stored: frozenset[str] = frozenset()
    loaded: set[str] = field(default_factory=set)
    # Expressions that a use was read of, by id().
    told: set[int] = field(default_factory=set)
    # Version folders in constants: what matters is how these are used.
    waiting: list[tuple[str, Unknown]] = field(default_factory=list)

    def module(self, tree: ast.Module) -> None:
        """Read everything."""
        if self.deep:
            self.constants = _constants(tree)
            self.constant_nodes = _constant_nodes(tree, self.constants)
            self.stored = frozenset(_stored(tree))
            self.apart = frozenset(_given_to_operators(tree))
        self._block(tree.body, _At())
        for expression, at in self.later:
            self._expression(expression, at)

    def source(self) -> Source:
        """What was read."""
        for local, use in self.folders:
            # `from dwh.jobs import v0_1_0` and v0_1_0.my_job later: the job is meant, not all that the folder has.
            behind = any(each.startswith(f"{use.name}.") for each in self.chains)
            if not behind or use.name in self.chains or local in self.bare:
                self.uses.append(use)
        self.unknown += [each for name, each in self.waiting if name not in self.loaded]
        order = sorted(set(self.uses), key=lambda use: (use.line, use.name, use.how))
        unknown = [
            each
            for each in dict.fromkeys(self.unknown)
            # import_module(f"dwh.jobs.{v}") is one thing, not two
            if not any(_holds(other, each) for other in self.unknown)
        ]
        dags = tuple(dict.fromkeys(self.dags))
        return Source(tuple(order), tuple(unknown), tuple(self.pins), dags, tuple(self.attributes))

    # Statements

    def _block(self, body: Sequence[ast.stmt], at: _At) -> None:
        for node in body:
            self._statement(node, at)

    def _statement(self, node: ast.stmt, at: _At) -> None:
        if isinstance(node, ast.Import):
            self._import(node, at)
        elif isinstance(node, ast.ImportFrom):
            self._import_from(node, at)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            self._function(node, at)
        elif isinstance(node, ast.If) and _is_type_checking(node.test):
            self._block(node.body, replace(at, typing=True))
            self._block(node.orelse, at)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            pass  # a docstring names what it likes
        else:
            self._children(node, at)

    def _children(self, node: ast.AST, at: _At) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt):
                self._statement(child, at)
            elif isinstance(child, ast.expr):
                if self.deep:
                    self.later.append((child, at))
            else:  # a handler, a case, a `with` item, an argument
                self._children(child, at)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, at: _At) -> None:
        decorators = " ".join(ast.unparse(each) for each in node.decorator_list)
        for each in node.decorator_list if self.deep else ():
            self.later.append((each, at))
            self._dag_function(each, node.name)
        apart = at.apart or node.name in self.apart or bool(_APART.search(decorators))
        inside = replace(at, lazy=True, apart=apart)
        if self.deep:
            self._children(node.args, at)
        self._block(node.body, inside)

    def _import(self, node: ast.Import, at: _At) -> None:
        for alias in node.names:
            self._use(alias.name, node.lineno, at, bound_to=alias.asname or alias.name, whole=alias.asname is None)

    def _import_from(self, node: ast.ImportFrom, at: _At) -> None:
        base = self._absolute(node.module or "", node.level)
        if base is None:
            self.unknown.append(Unknown(node.lineno, ast.unparse(node)))
            return
        for alias in node.names:
            name = base if alias.name == "*" else f"{base}.{alias.name}"
            self._use(name, node.lineno, at, bound_to=alias.asname or alias.name)
            if alias.name == "*" and base == self.jobs:
                self.bound.setdefault("resolve", []).append(f"{base}.resolve")

    def _absolute(self, module: str, level: int) -> str | None:
        if not level:
            return module
        parts = self.module_name.split(".")
        kept = len(parts) - level + (1 if self.is_package else 0)
        if kept < 1:
            return None
        return ".".join([*parts[:kept], *([module] if module else [])])

    def _use(self, name: str, line: int, at: _At, bound_to: str, whole: bool = False) -> None:
        """An import. ``whole``: `import a.b`, which binds a, and is used as a.b."""
        use = Use(name, line, "import", at.lazy, at.typing, at.apart)
        local = bound_to.partition(".")[0] if whole else bound_to
        target = local if whole else name
        self.bound.setdefault(local, [])
        if target not in self.bound[local]:
            self.bound[local].append(target)
        found = named(name, self.jobs)
        self._left(name.split("."), [name], line, name)
        if found and found.job is None and bound_to != "*" and self.deep:
            self.folders.append(("" if whole else local, use))
        else:
            self.uses.append(use)

    def _left(self, parts: Sequence[str], full: Sequence[str], line: int, node: ast.expr | str) -> None:
        """Tell of version folders in a name with dots that leads to none, as far as we see: import v0_1_0.my_job."""
        told = {found.version.folder for each in full if (found := named(each, self.jobs))}
        left = tuple(part for part in parts if re.fullmatch(_FOLDER, part) and part not in told)
        if left:
            self.unknown.append(Unknown(line, node if isinstance(node, str) else ast.unparse(node), left))

    # Expressions

    def _expression(self, node: ast.AST, at: _At) -> None:
        if isinstance(node, ast.Call):
            self._call(node, at)
        elif isinstance(node, ast.Attribute):
            self._attribute(node, at)
        elif isinstance(node, ast.Name):
            self._name(node)
        elif isinstance(node, ast.Constant):
            if isinstance(node.value, str):
                self._text(node.value, node, at)
            elif isinstance(node.value, bytes):
                self._text(node.value.decode("latin-1"), node, at)
        elif isinstance(node, ast.JoinedStr | ast.BinOp) and (text := self._fold(node)) is not None:
            self._text(text, node, at)
            self._inside(node, at)
        elif isinstance(node, ast.Lambda):
            self._expression(node.body, replace(at, lazy=True))
        else:
            self._each(ast.iter_child_nodes(node), at)

    def _each(self, nodes: Iterator[ast.AST] | Sequence[ast.AST], at: _At) -> None:
        for each in nodes:
            self._expression(each, at)

    def _inside(self, node: ast.AST, at: _At) -> None:
        """What a text is made of, but for its own pieces of text."""
        for child in ast.iter_child_nodes(node):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod) and child is node.right:
                self._expression(child, at)  # '%s' % 'v0_1_0': only the left is in the text
            elif isinstance(child, ast.JoinedStr | ast.FormattedValue) or _adds(child):
                self._inside(child, at)
            elif isinstance(child, ast.Name) and child.id in self.constants:
                self.loaded.add(child.id)
            elif not isinstance(child, ast.Constant):
                self._expression(child, at)

    def _text(self, text: str, node: ast.expr, at: _At) -> None:
        names, unclear, left = _names(text, self.jobs)
        self.uses += [Use(name, node.lineno, "string", at.lazy, at.typing, at.apart) for name in names]
        if unclear:
            self.unknown.append(Unknown(node.lineno, ast.unparse(node)))
        elif left and id(node) not in self.told:
            unknown = Unknown(node.lineno, _short(ast.unparse(node), left), left)
            if id(node) in self.constant_nodes:
                self.waiting.append((self.constant_nodes[id(node)], unknown))
            else:
                self.unknown.append(unknown)

    def _name(self, node: ast.Name) -> None:
        self.bare.add(node.id)
        if not isinstance(node.ctx, ast.Load):
            return
        self.loaded.add(node.id)
        if any(self._loader(target) for target in self.bound.get(node.id, ())):
            self.unknown.append(Unknown(node.lineno, node.id))  # import_module, passed on as a value
        constant = self.constants.get(node.id) if id(node) not in self.told else None
        if constant and (left := _names(constant, self.jobs)[2]):
            self.unknown.append(Unknown(node.lineno, node.id, left))
        self._unbound(node.id, node.lineno)

    def _unbound(self, name: str, line: int) -> None:
        """v0_1_0 that nothing in the file binds: `from dwh.jobs import *` may have."""
        if re.fullmatch(_FOLDER, name) and name not in self.bound and name not in self.stored:
            self.unknown.append(Unknown(line, name, (name,)))

    def _attribute(self, node: ast.Attribute, at: _At) -> None:
        chain = _chain(node)
        if chain is None:
            self._left([node.attr], (), node.lineno, node)
            self._each(ast.iter_child_nodes(node), at)
            return
        targets = self.bound.get(chain[0], ())
        self.loaded.add(chain[0])
        self._unbound(chain[0], node.lineno)
        self._left(chain[1:], [".".join([target, *chain[1:]]) for target in targets], node.lineno, node)
        for target in targets:
            full = ".".join([target, *chain[1:]])
            self.chains.add(full)
            if self._loader(full):
                self.unknown.append(Unknown(node.lineno, ast.unparse(node)))
            self._longer(full, target, node.lineno, at)

    def _longer(self, full: str, target: str, line: int, at: _At) -> None:
        """A name that was reached with dots from an imported one."""
        found, before = named(full, self.jobs), named(target, self.jobs)
        if not found:
            return
        use = Use(full, line, "import", at.lazy, at.typing, at.apart)
        if before and before.job:
            if target == f"{self.jobs}.{before.version.folder}.{before.job}":
                self.attributes.append(use)
        elif found.job or not before:  # jobs.v0_1_0 alone is the whole folder
            parts = full.split(".")[: self.jobs.count(".") + 4]  # v0_1_0.my_job.MyJob; what that has is its own
            self.uses.append(replace(use, name=".".join(parts)))

    def _loader(self, full: str) -> bool:
        library, _, name = full.rpartition(".")
        return name in _LOADERS and (library in _LIBRARIES or name == "import_string")

    def _targets(self, node: ast.expr) -> list[str]:
        """The dotted names that an expression may stand for."""
        chain = _chain(node)
        if chain is None:
            return []
        return [".".join([target, *chain[1:]]) for target in self.bound.get(chain[0], [chain[0]])]

    def _call(self, node: ast.Call, at: _At) -> None:
        targets = self._targets(node.func)
        names = {target.rpartition(".")[2] for target in targets}
        arguments: list[ast.AST] = [*node.args, *node.keywords]
        if f"{self.jobs}.resolve" in targets:
            self._pin(node, at)
        elif any(self._loader(target) for target in targets) or targets == ["__import__"]:
            self._dynamic(node, next(iter(names)), at)
        elif targets and targets[0] in _CODE:
            self._code(node)
        elif targets == ["getattr"] and len(node.args) > 1:
            self._getattr(node, at)
        else:
            if "DAG" in names:
                self._dag(node)
            if "versioned_operator" in names:
                self._operator(node, at)
            if isinstance(node.func, ast.Name):
                self._each([node.func], at) if node.func.id in self.bound else None
            elif (text := self._fold(node)) is not None:  # "…{}…".format(…), ".".join([…])
                self._text(text, node, at)
                arguments = self._not_in_text(node, node.func)
            else:
                self._expression(node.func, at)
        self._each(arguments, at)

    def _not_in_text(self, node: ast.Call, function: ast.expr) -> list[ast.AST]:
        """The arguments of format() and join() that _fold() did not make a text of."""
        items = node.args[0] if len(node.args) == 1 else None
        if isinstance(function, ast.Attribute) and function.attr == "join" and isinstance(items, ast.List | ast.Tuple):
            return [each for each in items.elts if self._fold(each) is None]
        return [*node.args, *node.keywords]

    def _argument(self, node: ast.Call, place: int, name: str) -> ast.expr | None:
        if any(isinstance(each, ast.Starred) for each in node.args) or any(not each.arg for each in node.keywords):
            return None
        if len(node.args) > place:
            return node.args[place]
        return next((each.value for each in node.keywords if each.arg == name), None)

    def _dynamic(self, node: ast.Call, function: str, at: _At) -> None:
        argument = self._argument(node, *_LOADERS[function])
        text = self._fold(argument) if argument is not None else None
        if text is None or _HOLE in text:
            self.unknown.append(Unknown(node.lineno, ast.unparse(node)))
            return
        if function in _BY_PATH:
            text = re.sub(r"\.py$", "", text).replace("/", ".").strip(".")
        name: str | None = text.replace(":", ".")
        if text.startswith("."):
            name = self._relative(node, text)
        if name is None:
            self.unknown.append(Unknown(node.lineno, ast.unparse(node)))
            return
        self.uses.append(Use(name, node.lineno, "import", at.lazy, at.typing, at.apart))
        if named(name, self.jobs):
            self.told.add(id(argument))

    def _relative(self, node: ast.Call, text: str) -> str | None:
        """import_module('.x', package)."""
        package = self._argument(node, 1, "package")
        rest = text.lstrip(".")
        level = len(text) - len(rest)
        if isinstance(package, ast.Name) and package.id in ("__package__", "__name__"):
            return self._absolute(rest, level)
        base = self._fold(package) if package is not None else None
        if not base or _HOLE in base:
            return None
        parts = base.split(".")
        return ".".join([*parts[: len(parts) - level + 1], rest]) if level <= len(parts) else None

    def _code(self, node: ast.Call) -> None:
        argument = self._argument(node, 0, "source")
        text = self._fold(argument) if argument is not None else None
        if text is None or _HOLE in text or "import" in text:
            self.unknown.append(Unknown(node.lineno, ast.unparse(node)))

    def _getattr(self, node: ast.Call, at: _At) -> None:
        """getattr(jobs, 'v0_1_0') is a name with a dot; with no literal it may be any."""
        text = self._fold(node.args[1])
        for target in self._targets(node.args[0]):
            ours = target == self.jobs or named(target, self.jobs) is not None or target in _LIBRARIES
            unread = text is None or _HOLE in text
            if (ours and unread) or (text is not None and self._loader(f"{target}.{text}")):
                self.unknown.append(Unknown(node.lineno, ast.unparse(node)))
            elif text is not None and named(f"{target}.{text}", self.jobs):
                self.uses.append(Use(f"{target}.{text}", node.lineno, "import", at.lazy, at.typing, at.apart))
                self.told.add(id(node.args[1]))

    def _pin(self, node: ast.Call, at: _At) -> None:
        job, pin = self._argument(node, 0, "job"), self._argument(node, 1, "pin")
        given = len(node.args) > 1 or any(each.arg in ("pin", None) for each in node.keywords)
        self.pins.append(
            Pin(
                node.lineno,
                ast.unparse(node),
                self._literal(job),
                self._literal(pin) if given and not _is_none(pin) else "latest",
                at.apart,
                self._environment(self._argument(node, 2, "environment")),
            )
        )

    def _environment(self, node: ast.expr | None) -> str | None:
        if node is None or _is_none(node):
            return None
        literal = self._literal(node)
        return f"<{ast.unparse(node)}>" if literal is None else literal or None

    def _literal(self, node: ast.expr | None) -> str | None:
        return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None

    def _operator(self, node: ast.Call, at: _At) -> None:
        """versioned_operator(PythonOperator, 'dwh.jobs.v0_1_0.my_job') imports that module where the DAG runs."""
        operator, job = self._argument(node, 0, "operator"), self._argument(node, 1, "job")
        text = self._fold(job) if job is not None else None
        if text is not None and _HOLE not in text and operator is not None:
            apart = at.apart or bool(_APART.search(ast.unparse(operator)))
            self.uses.append(Use(text, node.lineno, "import", at.lazy, at.typing, apart))

    def _dag(self, node: ast.Call) -> None:
        argument = self._argument(node, 0, "dag_id")
        text = self._fold(argument) if argument is not None else None
        if text is not None and _HOLE not in text:
            self.dags.append(text)

    def _dag_function(self, decorator: ast.expr, name: str) -> None:
        call = decorator if isinstance(decorator, ast.Call) else None
        if not any(target.rpartition(".")[2] == "dag" for target in self._targets(call.func if call else decorator)):
            return
        argument = self._argument(call, 0, "dag_id") if call else None
        text = self._fold(argument) if argument is not None else name
        if text is not None and _HOLE not in text:
            self.dags.append(text)

    def _fold(self, node: ast.expr) -> str | None:
        """The text that an expression gives, with a hole where only running would tell; None: perhaps no text."""
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, str) else None
        if isinstance(node, ast.Name):
            return self.constants.get(node.id)
        if isinstance(node, ast.JoinedStr):
            return "".join(self._piece(each) for each in node.values)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            left, right = self._fold(node.left), self._fold(node.right)
            if left is None and right is None:
                return None
            return (_HOLE if left is None else left) + (_HOLE if right is None else right)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
            text = self._fold(node.left)
            return None if text is None else re.sub(r"%(?:\(\w+\))?[-#0 +]*[\d.]*[a-z]", _HOLE, text)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            return self._method(node, node.func)
        return None

    def _piece(self, node: ast.expr) -> str:
        value = node.value if isinstance(node, ast.FormattedValue) else node
        text = self._fold(value) if isinstance(value, ast.expr) else None
        return _HOLE if text is None else text

    def _method(self, node: ast.Call, function: ast.Attribute) -> str | None:
        text = self._fold(function.value) if function.attr in ("format", "join") else None
        if text is None:
            return None
        if function.attr == "format":
            return re.sub(r"\{[^{}]*\}", _HOLE, text)
        (items,) = node.args if len(node.args) == 1 else (None,)
        if not isinstance(items, ast.List | ast.Tuple):
            return _HOLE
        pieces = [self._fold(each) for each in items.elts]
        return text.join(_HOLE if piece is None else piece for piece in pieces)


def _holds(other: Unknown, each: Unknown) -> bool:
    """Does one of two that are unknown say what the other one says?"""
    if other.line != each.line or other.text == each.text or each.text not in other.text:
        return False
    return not other.folders or (bool(each.folders) and set(each.folders) <= set(other.folders))


def _adds(node: ast.AST) -> bool:
    """Does _fold() know this operator?"""
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod)


def _stored(tree: ast.Module) -> Iterator[str]:
    """Names that are bound by something else than an import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg


def _constant_nodes(tree: ast.Module, constants: Mapping[str, str]) -> dict[int, str]:
    """{id() of the text: the name} of such constants."""
    found: dict[int, str] = {}
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target = statement.targets[0]
        elif isinstance(statement, ast.AnnAssign):
            target = statement.target
        else:
            continue
        if isinstance(target, ast.Name) and target.id in constants and statement.value is not None:
            found[id(statement.value)] = target.id
    return found


def _constants(tree: ast.Module) -> dict[str, str]:
    """Texts that the module binds to a name, once and literally."""
    found: dict[str, str] = {}
    stored: dict[str, int] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            stored[node.id] = stored.get(node.id, 0) + 1
        elif isinstance(node, ast.arg):
            stored[node.arg] = stored.get(node.arg, 0) + 1
    for statement in tree.body:
        targets: Sequence[ast.expr] = ()
        if isinstance(statement, ast.Assign):
            targets = statement.targets
        elif isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        for target in targets:
            value = statement.value  # type: ignore[attr-defined]
            if isinstance(target, ast.Name) and isinstance(value, ast.Constant) and isinstance(value.value, str):
                found[target.id] = value.value
    return {name: text for name, text in found.items() if stored.get(name) == 1}


def _given_to_operators(tree: ast.Module) -> Iterator[str]:
    """Functions that run in an interpreter of their own: PythonVirtualenvOperator(python_callable=f)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _APART.search(ast.unparse(node.func)):
            for keyword in node.keywords:
                if keyword.arg == "python_callable" and isinstance(keyword.value, ast.Name):
                    yield keyword.value.id


def _chain(node: ast.expr) -> list[str] | None:
    """['a', 'b', 'c'] of a.b.c."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return [node.id, *reversed(names)] if isinstance(node, ast.Name) else None


def _is_type_checking(test: ast.expr) -> bool:
    chain = _chain(test)
    return bool(chain) and chain[-1] == "TYPE_CHECKING"  # type: ignore[index]


def _is_none(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
