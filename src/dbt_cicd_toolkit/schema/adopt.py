"""Begin with what another tool has: the objects of a schema file of Wyseman become sources."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from dbt_cicd_toolkit.errors import InvalidInput
from dbt_cicd_toolkit.files import write_atomically
from dbt_cicd_toolkit.postgres.script import decode
from dbt_cicd_toolkit.schema.project import Project, init
from dbt_cicd_toolkit.schema.wyseman import WysemanObject, read_delta, read_hist

_WITHOUT_SQL = {"table": "", "view": "", "function": "function ", "sequence": "sequence ", "schema": "schema "}


def from_wyseman(project: Project, file: Path, schemas: Sequence[str], module: str | None) -> list[Path]:
    """Lay out the folder with the current objects of a schema file (``wyseman --schema``); return what was made.

    The operations of a ``Wyseman.delta`` beside it become comments of schema.delta: the first release needs none.

    Raises:
        InvalidInput: the file is none, or, as a Wyseman.hist, has only past objects.
        Differs: it is not what its hash says.
    """
    history = read_hist(decode(file.read_bytes(), str(file)), str(file))
    current = [each for each in history.current if each.module != "wyseman"]
    if not current:
        raise InvalidInput(
            f"{file} has no current objects: a Wyseman.hist keeps past ones only. Take the newest schema file "
            "(wyseman --schema)."
        )
    named = [each.name.partition(".")[0] for each in current if "." in each.name.partition("(")[0]]
    sources: dict[str, str] = {}  # by file: functions of one name are one
    for each in current:
        sources[_file_name(each)] = sources.get(_file_name(each), "") + _source(each)
    made = init(project, schemas or list(dict.fromkeys(named)), module or history.module)
    for name, text in sources.items():
        made.append(project.objects / f"{name}.sql")
        write_atomically(made[-1], text)
    delta = file.with_name("Wyseman.delta")
    if delta.exists():
        lines = read_delta(decode(delta.read_bytes(), str(delta)), str(delta))
        write_atomically(project.delta_file, "".join(f"-- of {delta.name}: {line}\n" for line in lines))
    return made


def _file_name(each: WysemanObject) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", f"{each.name.partition('(')[0]}.{each.type}")


def _source(each: WysemanObject) -> str:
    """CREATE and the grants: 'type:name,privilege,level,right' is a right of the role privilege_level."""
    lines = [each.create.strip().rstrip(";") + ";"]
    for grant in each.grants:
        parts = [part.strip() for part in grant.split(",", 3)]
        if len(parts) < 4:
            raise InvalidInput(f"{each.name}: the grant '{grant}' is none: it must be type:name,privilege,level,right.")
        of, privilege, level, right = parts
        kind, _, name = of.partition(":")
        role = "public" if privilege == "public" else f"{privilege}_{level}"
        lines.append(f"grant {right} on {_WITHOUT_SQL.get(kind, '')}{name or kind} to {role};")
    return "\n".join(lines) + "\n"
