"""Release what is open: one commit that freezes it, one tag."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dbt_cicd_toolkit.errors import Differs, Refused
from dbt_cicd_toolkit.git import Git
from dbt_cicd_toolkit.jobs import manifest, notes, state
from dbt_cicd_toolkit.jobs.manifest import Entry, Manifest, content_hash
from dbt_cicd_toolkit.jobs.notes import Fragment
from dbt_cicd_toolkit.jobs.number import Number
from dbt_cicd_toolkit.jobs.project import Project
from dbt_cicd_toolkit.jobs.reach import Modules, modules
from dbt_cicd_toolkit.jobs.state import FIRST, Line
from dbt_cicd_toolkit.jobs.trees import working_tree
from dbt_cicd_toolkit.jobs.writer import Commit, exclusive


@dataclass(frozen=True)
class Released:
    """A release. ``commit`` is None in a dry run, ``tag`` without one. ``hints``: what cannot be told of its code."""

    version: Number
    branch: str
    jobs: list[str]
    notes: str
    files: list[str]
    tag: str | None
    commit: str | None
    hints: list[str] = field(default_factory=list)


def release(
    project: Project,
    version: Number | None = None,
    *,
    tag: bool = True,
    message: str | None = None,
    dry_run: bool = False,
    beside: Mapping[str, Any] | None = None,
) -> Released:
    """Release the open folder, by one commit and one tag on the branch that is checked out. All of it, or nothing.

    Args:
        version: what the number must be; needed when nothing is open.
        tag: False for a branch that is merged later; then tag() makes the tag.
        message: of the commit, for hooks that want a form.
        beside: ``migration``, ``schema`` and ``models`` of the manifest: what else the repository has.
    Raises:
        Refused: the state of the repository does not allow it, or git or a hook refused.
        InvalidInput, Differs: something in the repository is not as it must be.
    """
    with exclusive(project, dry_run=dry_run) as writer:
        opened = project.open()
        line = _ready(project, opened, tag)
        number = _number(project, line, opened, version)
        changes = notes.fragments(project)
        notes.refuse_too_small(line, number, changes)
        _refuse_other_files(project, number)
        found = modules(project, working_tree(project))
        hints = _check(project, found, number)
        made = _manifest(project, line, number, found, beside or {})
        _refuse_not_committed(project, found, made)
        page = notes.page(number, made.date, list(made.jobs), changes)
        files = _files(project, made, page, changes)
        name = number.tag if tag else None
        commit = None
        if not dry_run:
            body = page.partition("\n")[2].strip()
            how = Commit(
                message or f"Release {number}",
                name,
                f"Release {number}\n\n{body}",
                exact=("VERSION", f"releases/{number}.json"),
                manifest=f"releases/{number}.json",
                known=_known(project, found, made),
            )
            commit = writer.commit(f"release of {number}", files, how)
    return Released(number, line.branch, list(made.jobs), page, sorted(files), name, commit, hints)


def _ready(project: Project, opened: Number | None, tag: bool) -> Line:
    """Raises Refused or InvalidInput when the repository is in no state for a release."""
    git = project.git
    state.refuse_shallow(git)
    state.checked_out(git)
    state.refuse_unfinished(git)
    if git.commit("HEAD") is None:
        raise Refused("nothing is committed yet. `git add` and `git commit`, then run this again.")
    line = state.line(project)
    if tag:
        refuse_other_branch(line)
    state.refuse_hidden(project)
    state.refuse_dirty(project)
    if opened:
        _refuse_tag(project, opened)
    state.refuse_other_version(project, line.version)
    return line


def refuse_other_branch(line: Line) -> None:
    """Raises Refused on a branch that takes no tags."""
    if line.home:
        return
    if line.main is None:
        raise Refused(
            f'which is the main branch? Write main = "{line.branch}" in jobs.toml if it is {line.branch}, and commit.'
        )
    raise Refused(
        f"branch {line.branch} is neither {line.main} nor a maintenance branch, which alone get tags. "
        f"`git switch {line.name}`; or `dbt-cicd job release --no-tag` here, and `dbt-cicd job release tag` on "
        f"{line.name} after the merge."
    )


def _number(project: Project, line: Line, opened: Number | None, asserted: Number | None) -> Number:
    number = opened
    if number is None:
        if asserted is None:
            raise Refused(
                "nothing is open: no folder of jobs waits for a release. `dbt-cicd job new NAME` or "
                "`dbt-cicd job new-version NAME`; or name the number, to release other code only: "
                f"`dbt-cicd job release {line.next(None)}`."
            )
        number = asserted
    elif asserted is not None and asserted != number:
        line.allow(asserted)
        raise Refused(
            f"{asserted} is not what is open, which is {number} ({project.path(project.folder(number))}). "
            f"`dbt-cicd job release`; or `dbt-cicd job new-version NAME --bump {asserted}` renames it."
        )
    line.allow(number)
    _refuse_tag(project, number)
    if (project.releases / f"{number}.json").exists():
        raise Refused(f"releases/{number}.json exists already. Take another number.")
    return number


def _refuse_tag(project: Project, number: Number) -> None:
    if number.tag in project.git.tags():
        raise Refused(
            f"the tag {number.tag} exists already. `git show {number.tag}` says whose it is; "
            f"`dbt-cicd job new-version NAME --bump {number.bump('patch')}` takes another number."
        )


def _refuse_other_files(project: Project, number: Number) -> None:
    """Raises Refused when the folder holds what the commit would not."""
    files = {project.path(each): each for each in project.files(number)}
    links = [path for path, file in files.items() if file.is_symlink()]
    if links:
        raise Refused(f"{state.some(links)}: a symbolic link cannot be frozen. Put a copy there (cp -L).")
    committed = project.git.files("HEAD", project.path(project.folder(number)))
    missing = [path for path in files if path not in committed]
    if missing:
        raise Refused(
            f"{state.some(missing)}: ignored by git, so the release would lack it. Move it out of the folder, or "
            "`git add --force` and commit it."
        )


def _check(project: Project, found: Modules, number: Number) -> list[str]:
    """Refuse what `job check` refuses of frozen folders and of the code that is to be frozen; what it cannot tell.

    How environments use the versions is no matter of a release."""
    from dbt_cicd_toolkit.jobs import check, frozen

    recorded, findings = frozen.releases(project)
    findings += frozen.folders(project, found.tree, recorded)
    files = [project.path(each) for each in project.files(number) if each.suffix == ".py"]
    findings += check.code(project, found, {number.folder: files}) if files else []
    check.refuse(findings)
    return [each.message for each in findings]


def _refuse_not_committed(project: Project, found: Modules, made: Manifest) -> None:
    """Raises Refused when the new jobs reach modules that the commit would not have."""
    paths = [path for path in map(found.path, made.shared) if path]
    committed = project.git.files("HEAD", *paths) if paths else {}
    missing = [path for path in paths if path not in committed]
    if missing:
        raise Refused(
            f"{state.some(missing)}: what is released imports this, and it is not committed, so a clone would lack it. "
            "`git add` (with --force, if git ignores it) and commit it."
        )


def _known(project: Project, found: Modules, made: Manifest) -> dict[str, bytes]:
    """What the release was made of, as it was read: the folders of jobs, and the modules that the new one reaches."""
    paths = [*project.git.files("HEAD", project.path(project.jobs)), *map(found.path, made.shared)]
    contents = {path: found.tree.read(path) for path in paths if path}
    return {path: content for path, content in contents.items() if content is not None}


def _manifest(project: Project, line: Line, number: Number, found: Modules, beside: Mapping[str, Any]) -> Manifest:
    from dbt_cicd_toolkit.jobs import shared

    jobs = {
        job.name: Entry(job.module, job.class_name, job.reads, job.writes, job.requires) for job in project.read(number)
    }
    files = {project.path(each): content_hash(each.read_bytes()) for each in project.files(number)}
    _refuse_filtered(project, number, files)
    if files and not jobs:
        raise Refused(
            f"{project.path(project.folder(number))} has no job in it. `dbt-cicd job new NAME`, or delete the folder."
        )
    return Manifest(
        number,
        datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        None if line.version == FIRST else line.version,
        jobs,
        files,
        shared.hashes(found, shared.paths(found, files)),
        **beside,
    )


def _refuse_filtered(project: Project, number: Number, files: Mapping[str, str]) -> None:
    """Raises Refused where a commit has other bytes than the working tree: a clone would not have what is frozen."""
    blobs = project.git.files("HEAD", project.path(project.folder(number)) + "/")
    contents = project.git.contents(blobs.values())
    there = {path: content_hash(contents.get(blobs.get(path, ""), b"")) for path in files}
    other = [path for path, expected in files.items() if there[path] != expected]
    if other:
        raise Refused(
            f"{state.some(other)}: git keeps other bytes than are here (a filter of .gitattributes?), and what is "
            "released must be the same everywhere. Take the filter off this folder."
        )


def _files(project: Project, made: Manifest, page: str, changes: list[Fragment]) -> dict[str, bytes | None]:
    written: dict[str, bytes | None] = {
        "VERSION": f"{made.version}\n".encode("ascii"),
        f"releases/{made.version}.json": made.text().encode("utf-8"),
        f"releases/{made.version}.md": page.encode("utf-8"),
    }
    return written | {each.path: None for each in changes}


def tag(project: Project, *, dry_run: bool = False) -> Released:
    """Tag the commit that brought the last release to this branch, after a merge or a squash of `release --no-tag`.

    Raises:
        Refused: there is a tag, or no such commit.
        Differs: that commit is not what was released.
    """
    with exclusive(project, dry_run=dry_run) as writer:
        git = writer.git
        state.refuse_shallow(git)
        line = state.line(project)
        refuse_other_branch(line)
        number = line.version
        commit, made = _untagged(git, number)
        _refuse_other_content(git, commit, made)
        page = (git.content(commit, f"releases/{number}.md") or b"").decode("utf-8", "replace")
        if not dry_run:
            text = f"Release {number}\n\n{page.partition(chr(10))[2].strip()}".encode()
            git.output("tag", "--annotate", "--cleanup=whitespace", "--file=-", "--", number.tag, commit, stdin=text)
    return Released(number, line.branch, list(made.jobs), page, [], number.tag, commit)


def _untagged(git: Git, number: Number) -> tuple[str, Manifest]:
    """The commit of a release that has no tag yet, and its manifest."""
    if number == FIRST:
        raise Refused("VERSION says 0.0.0: nothing was released yet. `dbt-cicd job release` does.")
    at = git.tags().get(number.tag)
    if at:
        raise Refused(f"the tag {number.tag} exists already, at {at[:12]}. `dbt-cicd job release push` publishes it.")
    path = f"releases/{number}.json"
    found = git.text(
        "log", "--first-parent", "--diff-merges=first-parent", "--diff-filter=A", "--format=%H", "--", path
    )
    if not found:
        raise Refused(
            f"no commit of this branch has {path}, though VERSION says {number}. Commit both, or set VERSION back."
        )
    commit = found.splitlines()[0]
    content = git.content(commit, path) or b""
    return commit, manifest.parse(content, path)


def _refuse_other_content(git: Git, commit: str, made: Manifest) -> None:
    there = git.files(commit, *made.files) if made.files else {}
    contents = git.contents(there.values())
    for path, wanted in made.files.items():
        found = content_hash(contents[there[path]]) if path in there else "missing"
        if found != wanted:
            raise Differs(
                f"{path} in commit {commit[:12]} is not what releases/{made.version}.json froze: {found} instead of "
                f"{wanted}. Merge the release as it was made (git checkout of that file from its branch)."
            )
    said = (git.content(commit, "VERSION") or b"").decode("utf-8", "replace").strip()
    if said != str(made.version):
        raise Differs(f"VERSION in commit {commit[:12]} is '{said}', not {made.version}. Merge both in one commit.")


def summary(made: Released, *, dry_run: bool) -> Mapping[str, object]:
    """What a command prints of a release."""
    return {
        "version": str(made.version),
        "branch": made.branch,
        "tag": made.tag,
        "commit": made.commit,
        "jobs": made.jobs,
        "files": made.files,
        "notes": made.notes,
        "hints": made.hints,
        "dry_run": dry_run,
    }
