"""Read a job without running it: its class, and what it says it reads, writes and requires."""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass
from pathlib import Path

from dbt_cicd_toolkit.errors import InvalidInput

DECLARED = ("reads", "writes", "requires")


@dataclass(frozen=True)
class Job:
    """A file of a version folder.

    Attributes:
        name, path, module: 'my_job', 'dwh/jobs/v0_1_0/my_job.py', 'dwh.jobs.v0_1_0.my_job'.
        class_name, line: the class that has run(), and where it begins.
        reads, writes: dbt models, or schema.table. requires: PEP 508. None: the class does not say.
    """

    name: str
    path: str
    module: str
    class_name: str
    line: int
    reads: tuple[str, ...] | None
    writes: tuple[str, ...] | None
    requires: tuple[str, ...] | None


def parse(path: Path, name: str) -> ast.Module:
    """The syntax tree of a file; ``name`` is what messages call it. Raises InvalidInput with the line of an error."""
    return parse_content(path.read_bytes(), name)


def parse_content(content: bytes, name: str) -> ast.Module:
    """The same of the content of a file, as git has it for example."""
    try:
        with warnings.catch_warnings():  # what Python thinks of other people's escapes is not for our reader
            warnings.simplefilter("ignore")
            return ast.parse(content, filename=name)
    except SyntaxError as error:
        raise InvalidInput(f"{name}:{error.lineno or 1}: no Python: {error.msg}.") from None
    except (ValueError, RecursionError, MemoryError) as error:  # a null byte; an expression of thousands of parts
        raise InvalidInput(f"{name}: no Python: {error}.") from None


def read_job(path: Path, name: str, module: str) -> Job:
    """The job of a file. Raises InvalidInput: no Python, not exactly one class with run(), or not a literal list."""
    classes = [node for node in parse(path, name).body if isinstance(node, ast.ClassDef) and _runs(node)]
    if not classes:
        raise InvalidInput(f"{name} has no class with a method run(): a file of a version folder holds one job.")
    if len(classes) > 1:
        names = " and ".join(node.name for node in classes)
        raise InvalidInput(f"{name}:{classes[1].lineno}: {names} both have run(): a file holds one job. Split it.")
    (job,) = classes
    said = {key: _literal(job, key, name) for key in DECLARED}
    for line, text in _requirements(job, said["requires"]):
        _refuse_no_requirement(text, f"{name}:{line}")
    return Job(path.stem, name, module, job.name, job.lineno, said["reads"], said["writes"], said["requires"])


def _runs(node: ast.ClassDef) -> bool:
    return any(isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and each.name == "run" for each in node.body)


def _assigned(job: ast.ClassDef, key: str) -> ast.expr | None:
    for node in job.body:
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign):
            targets = [node.target]
        else:
            continue
        if any(isinstance(target, ast.Name) and target.id == key for target in targets):
            return node.value
    return None


def _literal(job: ast.ClassDef, key: str, name: str) -> tuple[str, ...] | None:
    value = _assigned(job, key)
    if value is None:
        return None
    try:
        found = ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        found = None
    if not isinstance(found, list | tuple) or not all(isinstance(each, str) for each in found):
        raise InvalidInput(
            f"{name}:{value.lineno}: {key} is '{_shown(value)}'; it is read without running the job, so it must "
            f'be a literal list of texts, such as {key} = ["customers"].'
        )
    return tuple(found)


def _shown(value: ast.expr) -> str:
    try:
        return ast.unparse(value)
    except RecursionError:
        return "…"


def _requirements(job: ast.ClassDef, texts: tuple[str, ...] | None) -> list[tuple[int, str]]:
    value = _assigned(job, "requires")
    return [(value.lineno, text) for text in texts or ()] if value else []


def _refuse_no_requirement(text: str, where: str) -> None:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        Requirement(text)
    except InvalidRequirement as error:
        said = str(error).splitlines()[0]
        raise InvalidInput(f"{where}: requires has '{text}', which is no requirement (PEP 508): {said}.") from None
