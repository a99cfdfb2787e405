"""Release notes: fragments in changes/ until a release, one page in releases/ from then on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dbt_cicd_toolkit.errors import InvalidInput, Refused
from dbt_cicd_toolkit.jobs.number import Number
from dbt_cicd_toolkit.jobs.project import Project
from dbt_cicd_toolkit.jobs.state import Line, released_tags

KINDS = {"breaking": "Breaking changes", "feature": "Features", "fix": "Fixes"}
README = """\
# Notes of the next release

One file per change, `<id>.<breaking|feature|fix>.md`, for example `42.fix.md`: what users of the jobs want to know. A
breaking change has a section `## Migration` that says what they must do. `dbt-cicd job notes` shows what the next
release will say; `dbt-cicd job release` moves it to `releases/`.
"""
_NAME = re.compile(r"(?P<id>[A-Za-z0-9][A-Za-z0-9_-]*)\.(?P<kind>[a-z]+)\.md")
_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")


@dataclass(frozen=True)
class Fragment:
    """A change of the next release. ``migration`` is the section of that name, empty without one."""

    path: str
    id: str
    kind: str
    text: str
    migration: str


@dataclass(frozen=True)
class Open:
    """What the next release will say. ``version``: None when no folder is open."""

    version: Number | None
    text: str


@dataclass(frozen=True)
class Page:
    """The notes of a release. ``here``: this branch has them; else they are read from the release's tag."""

    version: Number
    text: str
    here: bool


def fragments(project: Project) -> list[Fragment]:
    """The changes of the next release: breaking ones first, then by id. Raises InvalidInput for all malformed ones."""
    found, errors = [], []
    for path in sorted(project.changes.glob("*")) if project.changes.is_dir() else ():
        if path.name == "README.md" or path.name.startswith("."):
            continue
        try:
            found.append(_fragment(path, project.path(path)))
        except InvalidInput as error:
            errors.append(str(error))
    if errors:
        raise InvalidInput("\n".join(errors))
    return sorted(found, key=lambda each: (list(KINDS).index(each.kind), _natural(each.id)))


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", name) if part]


def _fragment(path: Path, name: str) -> Fragment:
    match = _NAME.fullmatch(path.name)
    if not match or match["kind"] not in KINDS:
        raise InvalidInput(
            f"{name}: a note is called <id>.<{'|'.join(KINDS)}>.md, for example 42.fix.md. Rename it (git mv)."
        )
    try:
        text = path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{name} is not UTF-8 at byte {error.start}: save it as UTF-8.") from None
    if not text:
        raise InvalidInput(f"{name} is empty. Write what changes, or delete it.")
    text, migration = _split(text)
    if match["kind"] == "breaking" and not migration:
        raise InvalidInput(
            f"{name} has no section '## Migration' with text in it. A breaking change says what its users must do: "
            "add the section."
        )
    return Fragment(name, match["id"], match["kind"], text, migration)


def _split(text: str) -> tuple[str, str]:
    """The text without its section Migration, and that."""
    parts: dict[bool, list[str]] = {False: [], True: []}
    inside, fence = False, ""
    for line in text.splitlines():
        mark = _FENCE.match(line)
        if mark and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
        heading = None if fence or mark else _HEADING.fullmatch(line)
        if heading and len(heading[1]) <= 2:
            inside = (heading[2] or "").strip().lower() == "migration"
            if inside:
                continue
        parts[inside].append(line)
    return "\n".join(parts[False]).strip(), "\n".join(parts[True]).strip()


def refuse_too_small(line: Line, version: Number, changes: Sequence[Fragment]) -> None:
    """Raises Refused when a number promises less change than the notes tell of."""
    for each in changes:
        needed = line.version.bump("major" if each.kind == "breaking" else "minor")
        if each.kind == "fix" or version >= needed:
            continue
        if line.base:
            then = f"Move it to {line.main or 'main'}: {line.name} takes fixes only"
        else:
            then = f"`dbt-cicd job new-version NAME --bump {needed}` renames the open folder"
        raise Refused(f"{each.path} tells of a {each.kind} change, which needs {needed}, not {version}. {then}.")


def page(version: Number | str, date: str, jobs: Sequence[str], changes: Sequence[Fragment]) -> str:
    """The notes of a release, in markdown."""
    lines = [f"# {version} ({date})", ""]
    if jobs:
        lines += ["Jobs: " + ", ".join(f"`{job}`" for job in jobs), ""]
    for kind, title in KINDS.items():
        of_kind = [each for each in changes if each.kind == kind]
        if of_kind:
            lines += [f"## {title}", "", *[_item(each) for each in of_kind], ""]
    migrations = [each for each in changes if each.migration]
    if migrations:
        lines += ["## Migration", ""]
        for each in migrations:
            lines += [f"### {each.id}", "", each.migration, ""]
    if not changes:
        lines += ["No notes.", ""]
    return "\n".join(lines).rstrip() + "\n"


def _item(fragment: Fragment) -> str:
    first, *rest = (fragment.text or fragment.id).splitlines()
    return "\n".join([f"- {first.lstrip('# ')} ({fragment.id})", *[f"  {line}".rstrip() for line in rest]])


def opened(project: Project) -> Open | None:
    """The notes of the next release so far; None when there is nothing to release."""
    version = project.open()
    changes = fragments(project)
    if version is None and not changes:
        return None
    jobs = [job.name for job in project.read(version)] if version else []
    text = page(version or "Next release", "open", jobs, changes)
    return Open(version, text)


def pages(project: Project) -> list[Page]:
    """The notes of every release of every line that this clone knows of, the highest first."""
    here = {
        number: path.read_text(encoding="utf-8")
        for number in project.manifests()
        if (path := project.releases / f"{number}.md").is_file()
    }
    found = [Page(number, text, True) for number, text in here.items()]
    git = project.git
    if git.top() is not None:
        for number, tag in released_tags(git).items():
            if number not in here:
                content = git.content(f"refs/tags/{tag}", f"releases/{number}.md")
                if content is not None:
                    found.append(Page(number, content.decode("utf-8", "replace"), False))
    return sorted(found, key=lambda each: each.version, reverse=True)
