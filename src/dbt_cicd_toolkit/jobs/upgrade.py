"""Move what uses one version of a job to another: imports, names in texts, pins. Nothing else of a file changes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import libcst as cst

from dbt_cicd_toolkit.errors import InvalidInput, Refused
from dbt_cicd_toolkit.jobs import imports, pins
from dbt_cicd_toolkit.jobs.imports import named
from dbt_cicd_toolkit.jobs.journal import exclusive
from dbt_cicd_toolkit.jobs.number import Number
from dbt_cicd_toolkit.jobs.project import Project
from dbt_cicd_toolkit.jobs.reach import modules
from dbt_cicd_toolkit.jobs.references import Uses
from dbt_cicd_toolkit.jobs.retire import item_of
from dbt_cicd_toolkit.jobs.source import parse


@dataclass(frozen=True)
class Move:
    """From one version of a job to another. ``package``: 'dwh.jobs'."""

    package: str
    job: str
    old: Number
    new: Number

    @property
    def module(self) -> str:
        """'dwh.jobs.v0_1_0.my_job'."""
        return f"{self.package}.{self.old.folder}.{self.job}"

    @property
    def folder(self) -> str:
        """'dwh.jobs.v0_1_0'."""
        return f"{self.package}.{self.old.folder}"

    def text(self, text: str) -> str:
        """A text with the names in it moved."""
        pattern = imports.pattern_of(self.package, self.old.folder, self.job)
        return pattern.sub(lambda match: match[0][: -len(match[1])] + self.new.folder, text)

    def pin(self, pin: str) -> str:
        """The pin that leads to the new version: as it is, when it admits that already or never led to the old one."""
        try:
            if pins.fits(pin, str(self.new)) or not pins.fits(pin, str(self.old)):
                return pin
        except InvalidInput:
            return pin
        match = re.fullmatch(r"\s*(==|~=)\s*[0-9.]+\s*", pin)
        return f"{match[1] if match else '~='}{self.new}"


@dataclass(frozen=True)
class Upgrade:
    """What `job upgrade` changes: {path: new content}, and whether that changed a pin."""

    move: Move
    files: Mapping[str, bytes] = field(default_factory=dict)
    pins: bool = False

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "job": self.move.job,
            "from": str(self.move.old),
            "to": str(self.move.new),
            "files": list(self.files),
            "lock": self.pins,
        }


def upgrade(project: Project, job: str, old: Number, new: Number, *, dry_run: bool = False) -> Upgrade:
    """Rewrite the DAGs of the working tree, and the modules of the repository that they reach, to use another version.

    Args:
        dry_run: say which files would change.
    Returns:
        what changed; nothing, the second time.
    Raises:
        InvalidInput: an unknown version, twice the same, or a file that is no Python.
        Refused: the new version lacks a name that is imported, or something must be changed by hand. All of it, with
            file and line; then nothing has changed.
    """
    if old == new:
        raise InvalidInput(f"OLD and NEW are both {old}: name the version to move to.")
    move = Move(project.package, job, old, new)
    item_of(project, job, old)
    if item_of(project, job, new).state == "removed":
        raise Refused(f"{job} {new} was removed: nothing can move to it.")
    files = _files(project)
    _refuse_missing_names(project, move, files)
    changed: dict[str, bytes] = {}
    pinned = False
    for path in files:
        before = (project.root / path).read_bytes()
        after = rewritten(move, path, before)
        if after != before:
            changed[path] = after
            pinned = pinned or _pins(before, path, move) != _pins(after, path, move)
    _refuse_left(project, move, files, changed)
    if not dry_run:
        with exclusive(project) as writer:
            writer.write(f"upgrade of {job} {old} to {new}", changed)
    return Upgrade(move, changed, pinned)


def _files(project: Project) -> list[str]:
    """The files of every environment in the working tree, and what they reach outside of the version folders."""
    uses = Uses(project)
    found = modules(project, uses.working)
    folders = {folder for place in uses.places for folder in place.environment.dags}
    files = uses.dag_files(uses.working, sorted(folders))
    python = [path for path in files if path.endswith(".py")]
    reached = found.reached(python, lambda path: found.folder(path) is None)
    if found.broken:
        raise InvalidInput("\n".join(found.broken.values()))
    return sorted({*files, *reached})


def _read(content: bytes, path: str, move: Move) -> imports.Source:
    if not path.endswith(".py"):
        return imports.read_text(content.decode("utf-8", "replace"), move.package)
    module = path.removesuffix(".py").replace("/", ".")
    return imports.read(content, path, module.removesuffix(".__init__"), path.endswith("__init__.py"), move.package)


def _pins(content: bytes, path: str, move: Move) -> list[str | None]:
    return [pin.pin for pin in _read(content, path, move).pins if pin.job == move.job]


def _refuse_missing_names(project: Project, move: Move, files: Sequence[str]) -> None:
    """An import of a class that has another name in the new version would fail only when the DAG is read."""
    path = project.folder(move.new) / f"{move.job}.py"
    there = _top_names(parse(path, project.path(path)))
    missing = []
    for file in files if "*" not in there else ():
        source = _read((project.root / file).read_bytes(), file, move)
        for use in (*source.uses, *source.attributes):
            name = use.name.removeprefix(f"{move.module}.").partition(".")[0]
            known = name in there or name.startswith("__")  # my_job.__name__
            if use.how == "import" and use.name.startswith(f"{move.module}.") and not known:
                missing.append(f"  {file}:{use.line}: {name}")
    if missing:
        classes = ", ".join(sorted(name for name in there if name[:1].isupper())) or "no class"
        raise Refused(
            f"{project.path(path)} has {classes}, and not what is imported of {move.old}. Change it by hand:\n"
            + "\n".join(dict.fromkeys(missing))
        )


def _top_names(tree: ast.Module) -> set[str]:
    """The names that a module binds; '*' when another module says which."""
    found: set[str] = set()
    waiting: list[ast.AST] = [*tree.body]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        waiting += ast.iter_child_nodes(node)
    return found


def _refuse_left(project: Project, move: Move, files: Sequence[str], changed: Mapping[str, bytes]) -> None:
    left = []
    for path in files:
        content = changed.get(path) or (project.root / path).read_bytes()
        for use in _read(content, path, move).uses:
            found = named(use.name, move.package)
            if found and found.version == move.old and found.job in (None, move.job):
                left.append(f"  {path}:{use.line}: {use.name}")
    if left:
        raise Refused(
            f"these use all of {move.folder}, or name it in a way that only its author can change. Change them by "
            "hand, and run this again:\n" + "\n".join(left)
        )


def rewritten(move: Move, path: str, content: bytes) -> bytes:
    """A file that uses the new version where it used the old one. Raises InvalidInput for no Python."""
    if not path.endswith(".py"):
        return _rewritten_text(move, content)
    if move.old.folder.encode() not in content and b"resolve" not in content:
        return content
    try:
        module = cst.parse_module(content)
    except cst.ParserSyntaxError as error:
        raise InvalidInput(f"{path}:{error.raw_line}: no Python: {error.message}.") from None
    name = path.removesuffix(".py").replace("/", ".")
    seen = _Seen(name.removesuffix(".__init__"), path.endswith("__init__.py"))
    try:
        module.visit(seen)
        done = module.visit(_Rewrite(move, seen))
        return done.bytes if not done.deep_equals(module) else content
    except RecursionError:
        raise InvalidInput(f"{path}: an expression has too many parts to be rewritten. Split it.") from None


def _rewritten_text(move: Move, content: bytes) -> bytes:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return content
    lines = text.splitlines(keepends=True)
    return "".join(line if line.lstrip().startswith("#") else move.text(line) for line in lines).encode("utf-8")


def _dotted(node: cst.BaseExpression | None) -> list[str] | None:
    """['a', 'b'] of a.b."""
    names: list[str] = []
    while isinstance(node, cst.Attribute):
        names.append(node.attr.value)
        node = node.value
    return [node.value, *reversed(names)] if isinstance(node, cst.Name) else None


class _Seen(cst.CSTVisitor):
    """What the file binds by importing, and what it does with that."""

    def __init__(self, module: str, is_package: bool) -> None:
        super().__init__()
        self.module = module
        self.is_package = is_package
        self.bound: dict[str, str] = {}  # local name: dotted name
        self.chains: set[tuple[str, ...]] = set()
        self.bare: set[str] = set()

    def absolute(self, node: cst.ImportFrom) -> str | None:
        """The module of `from … import`."""
        name = ".".join(_dotted(node.module) or ())
        if not node.relative:
            return name
        parts = self.module.split(".")
        kept = parts[: len(parts) - len(node.relative) + (1 if self.is_package else 0)]
        return ".".join([*kept, *([name] if name else [])]) if kept else None

    def visit_Import(self, node: cst.Import) -> bool:
        for alias in node.names:
            name = ".".join(_dotted(alias.name) or ())
            local = _local(alias)
            self.bound[local or name.partition(".")[0]] = name if local else name.partition(".")[0]
        return False

    def visit_ImportFrom(self, node: cst.ImportFrom) -> bool:
        base = self.absolute(node)
        if base is not None and not isinstance(node.names, cst.ImportStar):
            for alias in node.names:
                name = ".".join(_dotted(alias.name) or ())
                self.bound[_local(alias) or name] = f"{base}.{name}"
        return False

    def visit_Attribute(self, node: cst.Attribute) -> bool:
        chain = _dotted(node)
        if chain:
            self.chains.add(tuple(chain))
        return chain is None

    def visit_Name(self, node: cst.Name) -> None:
        self.bare.add(node.value)

    def full(self, chain: Sequence[str]) -> str:
        """A chain with what its first name stands for."""
        return ".".join([self.bound.get(chain[0], chain[0]), *chain[1:]])

    def only(self, local: Sequence[str], job: str) -> bool:
        """Is of the folder that a (dotted) local name stands for nothing used but this job?"""
        size = len(local)
        uses = [chain for chain in self.chains if list(chain[:size]) == list(local)]
        others = any(len(chain) == size or chain[size] != job for chain in uses)
        return bool(uses) and not others and not (size == 1 and local[0] in self.bare)


def _local(alias: cst.ImportAlias) -> str | None:
    name = alias.asname.name if alias.asname else None
    return name.value if isinstance(name, cst.Name) else None


class _Rewrite(cst.CSTTransformer):
    """Moves what is meant; everything else stays, to the last space."""

    def __init__(self, move: Move, seen: _Seen) -> None:
        super().__init__()
        self.move = move
        self.seen = seen
        # Local names of the old folder, and what the new one is called for those.
        self.locals: dict[str, str] = {}
        # What was said of a name that gets a line of its own, by that line's statement.
        self.comments: dict[int, cst.Comment] = {}
        for local, name in seen.bound.items():
            if name == move.folder:
                self.locals[local] = self._new_local(local)

    def _new_local(self, local: str) -> str:
        """What the new folder is called in a file that knows the old one as ``local``."""
        new = f"{self.move.package}.{self.move.new.folder}"
        known = next((name for name, target in self.seen.bound.items() if target == new), None)
        if known:
            return known
        if local == self.move.old.folder:
            return self.move.new.folder
        return local if self.seen.only([local], self.move.job) else f"{local}_{self.move.new.folder}"

    # Imports

    def visit_Import(self, node: cst.Import) -> bool:
        return False

    def visit_ImportFrom(self, node: cst.ImportFrom) -> bool:
        return False

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.SimpleStatementLine | cst.FlattenSentinel[cst.SimpleStatementLine]:
        body: list[cst.BaseSmallStatement] = []
        for statement in updated_node.body:
            body += self._small(statement)
        if body == list(updated_node.body):
            return updated_node
        if len(updated_node.body) == 1 and len(body) > 1:
            first = updated_node.with_changes(body=[body[0]])
            return cst.FlattenSentinel([first, *(self._line(each) for each in body[1:])])
        return updated_node.with_changes(body=body)

    def _line(self, node: cst.BaseSmallStatement) -> cst.SimpleStatementLine:
        comment = self.comments.get(id(node))
        end = cst.TrailingWhitespace(cst.SimpleWhitespace("  ") if comment else cst.SimpleWhitespace(""), comment)
        return cst.SimpleStatementLine([node], trailing_whitespace=end)

    def _small(self, node: cst.BaseSmallStatement) -> list[cst.BaseSmallStatement]:
        if isinstance(node, cst.Import):
            return list(self._imports(node))
        if isinstance(node, cst.ImportFrom) and not isinstance(node.names, cst.ImportStar):
            return list(self._from(node, node.names))
        return [node]

    def _imports(self, node: cst.Import) -> Iterator[cst.BaseSmallStatement]:
        """import dwh.jobs.v0_1_0.my_job [as x], import dwh.jobs.v0_1_0 [as x]."""
        names: list[cst.ImportAlias] = []
        for alias in node.names:
            name = ".".join(_dotted(alias.name) or ())
            moved = alias.with_changes(name=self._with_new_folder(alias.name))
            if name == self.move.module or name.startswith(f"{self.move.module}."):
                names.append(moved)
            elif name != self.move.folder:
                names.append(alias)
            else:
                names += self._folder(alias, moved, _local(alias) or name, len(node.names) > 1)
        yield node if names == list(node.names) else node.with_changes(names=_commas(names))

    def _folder(
        self, alias: cst.ImportAlias, moved: cst.ImportAlias, local: str, may_go: bool
    ) -> list[cst.ImportAlias]:
        """An import of the whole folder: moved, when only this job of it is used; else beside the new one. It goes
        when the new one is imported already, but not with its line, which may have a comment."""
        chain = local.split(".")
        used = any(list(each[: len(chain) + 1]) == [*chain, self.move.job] for each in self.seen.chains)
        if not used:
            return [alias]
        new = self.locals.get(local, "")
        known = new in self.seen.bound and self.seen.bound[new] != self.move.folder
        if len(chain) == 1 and alias.asname and new != local:
            moved = moved.with_changes(asname=cst.AsName(cst.Name(new)))
        kept = [] if self.seen.only(chain, self.move.job) else [alias]
        return kept + ([] if known and (kept or may_go) else [moved])

    def _from(self, node: cst.ImportFrom, names: Sequence[cst.ImportAlias]) -> Iterator[cst.BaseSmallStatement]:
        base = self.seen.absolute(node)
        if base is None:
            yield node
        elif base == self.move.module or base.startswith(f"{self.move.module}."):
            yield node.with_changes(module=self._with_new_folder(node.module))
        elif base == self.move.folder:
            yield from self._split(node, names)
        elif base == self.move.package:
            kept = _Kept(node.lpar)
            for alias in names:
                if alias.name.value != self.move.old.folder:
                    kept.names.append(alias)
                    continue
                moved = alias.with_changes(name=cst.Name(self.move.new.folder))
                new = self._folder(alias, moved, _local(alias) or self.move.old.folder, len(names) > 1)
                kept.names += new
                if not new:
                    kept.leave(alias, _comment(alias))
            yield node if kept.names == list(names) else kept.of(node)
        else:
            yield node

    def _split(self, node: cst.ImportFrom, names: Sequence[cst.ImportAlias]) -> Iterator[cst.BaseSmallStatement]:
        """from dwh.jobs.v0_1_0 import my_job, other_job."""
        ours = [alias for alias in names if alias.name.value == self.move.job]
        if not ours:
            yield node
            return
        module = self._with_new_folder(node.module)
        if len(ours) == len(names):
            yield node.with_changes(module=module)
            return
        # The brackets, and what is said in them, stay with the names that stay.
        others = _Kept(node.lpar)
        for alias in names:
            if alias.name.value == self.move.job:
                others.leave(alias)
            else:
                others.names.append(alias)
        yield others.of(node)
        new = cst.ImportFrom(module=module, names=_commas(ours), relative=node.relative)
        if comments := [said.value for alias in ours if (said := _comment(alias))]:
            self.comments[id(new)] = cst.Comment("  ".join(comments))
        yield new

    def _with_new_folder(self, node: Any) -> Any:
        """a.b.v0_1_0.c with the new folder."""
        if isinstance(node, cst.Name):
            return cst.Name(self.move.new.folder) if node.value == self.move.old.folder else node
        if isinstance(node, cst.Attribute):
            return node.with_changes(value=self._with_new_folder(node.value), attr=self._with_new_folder(node.attr))
        return node

    # What is imported, where it is used

    def leave_Attribute(self, original_node: cst.Attribute, updated_node: cst.Attribute) -> cst.BaseExpression:
        chain = _dotted(original_node)
        if chain is None or self.seen.full(chain) != self.move.module or chain[-1] != self.move.job:
            return updated_node
        if len(chain) == 2:  # v0_1_0.my_job
            return updated_node.with_changes(value=cst.Name(self.locals[chain[0]]))
        folder = cst.ensure_type(updated_node.value, cst.Attribute)
        return updated_node.with_changes(value=folder.with_changes(attr=cst.Name(self.move.new.folder)))

    # Texts

    def visit_SimpleStatementLine(self, node: cst.SimpleStatementLine) -> bool:
        # A docstring tells of versions without using them.
        first = node.body[0] if len(node.body) == 1 else None
        return not (isinstance(first, cst.Expr) and isinstance(first.value, cst.SimpleString | cst.ConcatenatedString))

    def leave_SimpleString(self, original_node: cst.SimpleString, updated_node: cst.SimpleString) -> cst.BaseExpression:
        return updated_node.with_changes(value=self.move.text(updated_node.value))

    def leave_FormattedStringText(
        self, original_node: cst.FormattedStringText, updated_node: cst.FormattedStringText
    ) -> cst.BaseFormattedStringContent:
        return updated_node.with_changes(value=self.move.text(updated_node.value))

    # Pins

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        chain = _dotted(original_node.func)
        if chain is None or self.seen.full(chain) != f"{self.move.package}.resolve":
            return updated_node
        if _value(_given(updated_node, 0, "job")) != self.move.job:
            return updated_node
        arguments = [self._pinned(updated_node, each) for each in updated_node.args]
        return updated_node.with_changes(args=arguments)

    def _pinned(self, call: cst.Call, argument: cst.Arg) -> cst.Arg:
        if argument is not _given(call, 1, "pin") or not isinstance(argument.value, cst.SimpleString):
            return argument
        old = _value(argument)
        if old is None or (new := self.move.pin(old)) == old:
            return argument
        text = argument.value
        return argument.with_changes(value=text.with_changes(value=text.value.replace(old, new)))


def _given(call: cst.Call, place: int, name: str) -> cst.Arg | None:
    if place < len(call.args) and call.args[place].keyword is None:
        return call.args[place]
    return next((each for each in call.args if each.keyword and each.keyword.value == name), None)


def _value(argument: cst.Arg | None) -> str | None:
    if argument is None or not isinstance(argument.value, cst.SimpleString):
        return None
    value = argument.value.evaluated_value
    return value if isinstance(value, str) else None


def _commas(names: Sequence[cst.ImportAlias], brackets: bool = False) -> list[cst.ImportAlias]:
    """Names with a comma between each two; one at the end only in brackets, where it has brought it along."""
    plain = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
    kept = [
        alias if isinstance(alias.comma, cst.Comma) and brackets else alias.with_changes(comma=plain)
        for alias in names[:-1]
    ]
    return [*kept, names[-1] if brackets else names[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)]


class _Kept:
    """The names of an import that stay in its brackets, with the comments that stand between them."""

    def __init__(self, lpar: cst.LeftParen | None) -> None:
        self.lpar = lpar
        self.names: list[cst.ImportAlias] = []

    def leave(self, alias: cst.ImportAlias, said: cst.Comment | None = None) -> None:
        """Leave a name out, but not the lines of comments behind it, which are of the next name; nor what is said of
        it, when it gets no line of its own."""
        space = alias.comma.whitespace_after if isinstance(alias.comma, cst.Comma) else None
        if not isinstance(space, cst.ParenthesizedWhitespace):
            return
        lines = [*([cst.EmptyLine(space.indent, space.last_line, said)] if said else []), *space.empty_lines]
        if not any(line.comment for line in lines):
            return
        first = space.first_line.with_changes(comment=None, whitespace=cst.SimpleWhitespace(""))
        plain = space.with_changes(first_line=first, empty_lines=lines)
        last = self.names[-1].comma if self.names else self.lpar
        if not isinstance(last, cst.Comma | cst.LeftParen):
            return
        if isinstance(before := last.whitespace_after, cst.ParenthesizedWhitespace):
            plain = before.with_changes(empty_lines=[*before.empty_lines, *lines])
        last = last.with_changes(whitespace_after=plain)
        if isinstance(last, cst.Comma):
            self.names[-1] = self.names[-1].with_changes(comma=last)
        else:
            self.lpar = last

    def of(self, node: cst.ImportFrom) -> cst.ImportFrom:
        """That import with these names."""
        return node.with_changes(lpar=self.lpar, names=_commas(self.names, self.lpar is not None))


def _comment(alias: cst.ImportAlias) -> cst.Comment | None:
    """What is said of a name behind it, in brackets."""
    space = alias.comma.whitespace_after if isinstance(alias.comma, cst.Comma) else None
    return space.first_line.comment if isinstance(space, cst.ParenthesizedWhitespace) else None
