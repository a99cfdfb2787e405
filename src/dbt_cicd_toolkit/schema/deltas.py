"""`dbt-cicd schema delta`: enter, list and take back what is declared for the open release."""

from __future__ import annotations

from dbt_cicd_toolkit.errors import InvalidInput
from dbt_cicd_toolkit.files import write_atomically
from dbt_cicd_toolkit.schema.delta import Delta, parse, resolve
from dbt_cicd_toolkit.schema.project import Project


def command(project: Project, operation: str, table: str | None) -> tuple[list[str], str]:
    """Do what the argument says: 'list', 'pop', both with an optional table; or a line, which is entered.

    Returns the open lines afterwards and a text for people. Raises InvalidInput, Refused or Differs; then nothing was
    written.
    """
    project.history  # noqa: B018  the released lines are verified first
    file = project.deltas
    if operation in ("list", "pop"):
        asked = parse(f"{table} {operation}", "TABLE") if table else None
    elif table is not None:
        raise InvalidInput(f"'{table}' is one argument too many: write the whole line in quotes.")
    else:
        asked = parse(operation, "the delta")
    if asked is None or asked.op == "list":
        if operation == "pop":
            return _pop(project, None)
        lines = file.lines(asked.table if asked else None)
        return [line.text for line in lines], "\n".join(f"{line.number}: {line.text}" for line in lines)
    if asked.op == "pop":
        return _pop(project, asked)
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
        resolve(delta, tables, "the delta")
    return delta
