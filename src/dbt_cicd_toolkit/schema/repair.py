"""Make the files of the releases again, each out of the others, byte by byte as they were."""

from __future__ import annotations

from dbt_cicd_toolkit.errors import Refused, ToolkitError
from dbt_cicd_toolkit.files import write_atomically
from dbt_cicd_toolkit.schema.delta_file import RELEASE
from dbt_cicd_toolkit.schema.project import Project, read, text
from dbt_cicd_toolkit.schema.records import History


def repair(project: Project) -> list[str]:
    """Write what is missing or damaged of schema.hist, releases/ and the released lines of schema.delta; return their
    names. The open lines of schema.delta stay.

    Raises Refused when none of the files is whole that know every release.
    """
    history = _whole(project)
    _refuse_lost(project, history)
    wanted = {project.history_file: text(history)}
    for release in history.releases:
        wanted[project.release_file(release)] = text(history.until(release.number))
    wanted[project.delta_file] = _deltas(project, history)
    damaged = [path for path, content in wanted.items() if not path.exists() or path.read_bytes() != content.encode()]
    for path in damaged:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, wanted[path])
    return [str(path) for path in damaged]


def _whole(project: Project) -> History:
    """The history that knows most releases, of all files that are as they were written."""
    found = []
    for path in (project.history_file, *project.releases.glob("*_*.json")):
        try:
            found.append(read(path))
        except (ToolkitError, OSError):
            continue
    if not found:
        raise Refused(
            f"neither {project.history_file} nor a file in {project.releases} is as it was written: nothing tells what "
            "was released. Restore one of them (git restore)."
        )
    newest = max(found, key=lambda history: len(history.releases))
    for history in found:
        if history.releases != newest.until(len(history.releases)).releases:
            raise Refused("the files are those of two histories. Restore those of one of them (git restore).")
    return newest


def _present(project: Project) -> str:
    return project.delta_file.read_text(encoding="utf-8", errors="replace") if project.delta_file.exists() else ""


def _refuse_lost(project: Project, history: History) -> None:
    known = max((int(end[1]) for line in _present(project).splitlines() if (end := RELEASE.fullmatch(line))), default=0)
    if known > len(history.releases):
        raise Refused(
            f"{project.delta_file} tells of release {known}, and no file that is as it was written has it. Restore "
            f"{project.history_file} (git restore)."
        )


def _deltas(project: Project, history: History) -> str:
    """schema.delta as it is, with the released lines as they were."""
    present = _present(project)
    sections: list[list[str]] = [[]]
    for line in present.splitlines():
        sections[-1].append(line)
        if RELEASE.fullmatch(line):
            sections.append([])
    released, opened = sections[: len(history.releases)], sections[len(history.releases) :]
    made = []
    for release, lines in zip(history.releases, [*released, *[[]] * len(history.releases)], strict=False):
        operations = [line for line in lines[:-1] if line.strip() and not line.lstrip().startswith(("--", "#"))]
        end = f"-- release {release.number} {release.label}"
        if operations == list(release.deltas) and lines[-1:] == [end]:
            made += lines  # with the comments that somebody wrote
        else:
            made += [*release.deltas, end]
    return "".join(f"{line}\n" for line in [*made, *(line for section in opened for line in section)])
