"""Make the files of the releases again, each out of the others, byte by byte as they were."""

from __future__ import annotations

from dbt_cicd_toolkit.errors import Refused, ToolkitError
from dbt_cicd_toolkit.files import write_atomically
from dbt_cicd_toolkit.postgres.script import decode
from dbt_cicd_toolkit.schema.delta_file import RELEASE
from dbt_cicd_toolkit.schema.project import Project, read, text
from dbt_cicd_toolkit.schema.records import History


def repair(project: Project) -> list[str]:
    """Write what is missing or damaged of schema.hist, releases/ and the released lines of schema.delta; return their
    names. The open lines of schema.delta stay.

    Raises:
        Refused: none of the files is whole that know every release.
        InvalidInput: the open lines of schema.delta are not UTF-8.
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
    found, wrong = [], []
    for path in (project.history_file, *sorted(project.releases.glob("*_*.json"))):
        try:
            found.append(read(path))
        except FileNotFoundError:
            wrong.append(f"\n  - {path} is missing")
        except (ToolkitError, OSError) as error:
            wrong.append(f"\n  - {error}")
    if not found:
        raise Refused(
            f"neither {project.history_file} nor a file in {project.releases} is as it was written: nothing tells what "
            f"was released. Restore one of them (git restore).{''.join(wrong)}"
        )
    newest = max(found, key=lambda history: len(history.releases))
    for history in found:
        if history.releases != newest.until(len(history.releases)).releases:
            raise Refused("the files are those of two histories. Restore those of one of them (git restore).")
    return newest


def _present(project: Project) -> bytes:
    return project.delta_file.read_bytes() if project.delta_file.exists() else b""


def _sections(data: bytes) -> tuple[dict[int, list[str]], list[str]]:
    """The lines up to each line that ends a release, by its number, with that line; and those behind the last one."""
    ended: dict[int, list[str]] = {}
    lines: list[str] = []
    for line in data.decode("utf-8", "replace").removeprefix("\ufeff").split("\n"):
        lines.append(line.removesuffix("\r"))
        if end := RELEASE.fullmatch(lines[-1]):
            ended[int(end[1])] = lines
            lines = []
    return ended, lines[:-1] if lines[-1:] == [""] else lines


def _refuse_lost(project: Project, history: History) -> None:
    known = max(_sections(_present(project))[0], default=0)
    if known > len(history.releases):
        raise Refused(
            f"{project.delta_file} tells of release {known}, and no file that is as it was written has it. Restore "
            f"{project.history_file} (git restore)."
        )


def _deltas(project: Project, history: History) -> str:
    """schema.delta as it is, with the released lines as they were.

    Raises InvalidInput when what is open is no text: nothing else has it.
    """
    data = _present(project)
    ended, opened = _sections(data)
    if any("\ufffd" in line or "\0" in line for line in opened):
        decode(data, str(project.delta_file))
    made: list[str] = []
    for release in history.releases:
        lines = ended.get(release.number, [])
        operations = [line for line in lines[:-1] if line.strip() and not line.lstrip().startswith(("--", "#"))]
        end = f"-- release {release.number} {release.label}"
        if operations == list(release.deltas) and lines[-1:] == [end]:
            made += lines  # with the comments that somebody wrote
        else:
            made += [*release.deltas, end]
        if release.number > max(ended, default=0):  # its end is lost: what it released is not open
            for each in release.deltas:
                if each in opened:
                    opened.remove(each)
    return "".join(f"{line}\n" for line in [*made, *opened])
