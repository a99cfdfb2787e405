"""`dbt-cicd schema delta`: enter, list and take back what is declared for the open release."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dbt_cicd_toolkit.errors import InvalidInput, Refused
from dbt_cicd_toolkit.files import write_atomically
from dbt_cicd_toolkit.postgres.reader import Name, Reader
from dbt_cicd_toolkit.schema.delta import Delta, parse, resolve, same_table, written
from dbt_cicd_toolkit.schema.project import Project
from dbt_cicd_toolkit.schema.records import Record


def command(project: Project, words: Sequence[str]) -> tuple[list[str], str]:
    """Do what the arguments say: 'list', 'pop', both with an optional table; or a line, which is entered.

    Returns the open lines afterwards and a text for people. Raises InvalidInput, Refused or Differs; then nothing was
    written.
    """
    project.history  # noqa: B018  the released lines are verified first
    file = project.deltas
    operation, *others = words
    if len(others) > (operation in ("list", "pop")):
        raise InvalidInput(f"'{others[-1]}' is one argument too many: write the whole line in quotes.")
    if operation in ("list", "pop"):
        asked = parse(f"{others[0]} {operation}", "TABLE") if others else None
    else:
        asked = parse(operation, "the delta")
    if asked is None or asked.op == "list":
        if operation == "pop":
            return _pop(project, None)
        lines = file.lines(asked.table if asked else None)
        text = "\n".join(f"{line.number}: {line.text}" for line in lines)
        return [line.text for line in lines], text or "No delta is open."
    if asked.op == "pop":
        return _pop(project, asked)
    if asked.op != "update" and any(line.delta == asked for line in file.open):
        raise Refused(f"{asked} is entered already. Nothing was done.")
    write_atomically(project.delta_file, file.added(_known(project, asked)))
    return [*(line.text for line in file.open), str(asked)], str(asked)


def _pop(project: Project, asked: Delta | None) -> tuple[list[str], str]:
    file = project.deltas
    line = file.last(asked.table if asked else None)
    write_atomically(project.delta_file, file.popped(line))
    return [each.text for each in file.open if each is not line], f"taken back: {line.text}"


def _known(project: Project, delta: Delta) -> Delta:
    """The delta, refused when its table is in no release: nothing could be done to it."""
    history = project.history
    newest = history.newest
    if newest is None:
        raise InvalidInput("there is no release yet: before the first one the sources say everything.")
    tables = {record.name for record in history.at(newest.number).values() if record.type == "table"}
    renamed = {line.delta.new for line in project.deltas.open if line.delta.op == "rename table"}
    if delta.op != "update" and delta.table.name not in renamed:
        _refuse_other(delta, history.at(newest.number).values())
        resolve(delta, tables, "the delta")
    return delta


def _refuse_other(delta: Delta, records: Iterable[Record]) -> None:
    """Raise InvalidInput when only a view, a sequence … is called so."""
    called = {record.type for record in records if same_table(_name(record), delta.table)}
    if called and "table" not in called:
        raise InvalidInput(
            f"the delta: {written(delta.table)} is a {min(called)}, and deltas are of tables. Change its source."
        )


def _name(record: Record) -> Name:
    return Reader(record.name).name() or Name(None, "")
