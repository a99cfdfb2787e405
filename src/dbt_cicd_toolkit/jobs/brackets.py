"""Names of an import, with their commas, their brackets and the comments between them."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst


def commas(names: Sequence[cst.ImportAlias], brackets: bool = False) -> list[cst.ImportAlias]:
    """Names with a comma between each two; one at the end only in brackets, where it has brought it along."""
    plain = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
    kept = [
        alias if isinstance(alias.comma, cst.Comma) and brackets else alias.with_changes(comma=plain)
        for alias in names[:-1]
    ]
    return [*kept, names[-1] if brackets else names[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)]


def comment_of(alias: cst.ImportAlias) -> cst.Comment | None:
    """What is said of a name behind it, in brackets."""
    space = alias.comma.whitespace_after if isinstance(alias.comma, cst.Comma) else None
    return space.first_line.comment if isinstance(space, cst.ParenthesizedWhitespace) else None


class Bracketed:
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
        return node.with_changes(lpar=self.lpar, names=commas(self.names, self.lpar is not None))
