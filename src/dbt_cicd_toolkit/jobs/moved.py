"""A file as it is after a move: imports, names in texts and pins. Nothing else of it changes, to the last space."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import libcst as cst

from dbt_cicd_toolkit.errors import InvalidInput
from dbt_cicd_toolkit.jobs.bindings import Bindings, dotted, local_name
from dbt_cicd_toolkit.jobs.brackets import Bracketed, commas, comment_of
from dbt_cicd_toolkit.jobs.move import Move


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
    seen = Bindings(name.removesuffix(".__init__"), path.endswith("__init__.py"))
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


class _Rewrite(cst.CSTTransformer):
    """Moves what is meant; everything else stays, to the last space."""

    def __init__(self, move: Move, seen: Bindings) -> None:
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
            name = ".".join(dotted(alias.name) or ())
            moved = alias.with_changes(name=self._with_new_folder(alias.name))
            if name == self.move.module or name.startswith(f"{self.move.module}."):
                names.append(moved)
            elif name != self.move.folder:
                names.append(alias)
            else:
                names += self._folder(alias, moved, local_name(alias) or name, len(node.names) > 1)
        yield node if names == list(node.names) else node.with_changes(names=commas(names))

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
            kept = Bracketed(node.lpar)
            for alias in names:
                if alias.name.value != self.move.old.folder:
                    kept.names.append(alias)
                    continue
                moved = alias.with_changes(name=cst.Name(self.move.new.folder))
                new = self._folder(alias, moved, local_name(alias) or self.move.old.folder, len(names) > 1)
                kept.names += new
                if not new:
                    kept.leave(alias, comment_of(alias))
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
        others = Bracketed(node.lpar)
        for alias in names:
            if alias.name.value == self.move.job:
                others.leave(alias)
            else:
                others.names.append(alias)
        yield others.of(node)
        new = cst.ImportFrom(module=module, names=commas(ours), relative=node.relative)
        if comments := [said.value for alias in ours if (said := comment_of(alias))]:
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
        chain = dotted(original_node)
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
        chain = dotted(original_node.func)
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
