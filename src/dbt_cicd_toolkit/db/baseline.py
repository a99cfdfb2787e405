"""Begin with a database that is already there: say what it has, or take Flyway's word for it."""

from __future__ import annotations

from dbt_cicd_toolkit.db.files import Version
from dbt_cicd_toolkit.db.run import Run
from dbt_cicd_toolkit.errors import InvalidInput, Refused
from dbt_cicd_toolkit.postgres.session import identifier

_TYPES = ("SQL", "BASELINE", "SCHEMA", "DELETE")


def baseline(run: Run, version: Version) -> bool:
    """Record that the database has everything up to ``version``. Return False when that is recorded already.

    Raises:
        Refused: it has a history that says otherwise, ours or Flyway's.
        InvalidInput: no migration is as high as that.
    """
    with run.session.lock(run.watcher.tell):
        rows = run.history.read()
        if rows and rows[0].type == "BASELINE" and rows[0].version == version:
            return False
        # A wrong one is put right as long as nothing stands on it.
        wrong = [row.rank for row in rows] if [row.type for row in rows] == ["BASELINE"] else []
        if rows and not wrong:
            raise Refused(
                f"the database has a history already; it begins with {rows[0].label}. A baseline comes first or never."
            )
        highest = max((one.version for one in run.folder.versioned if one.version), default=None)
        if highest and highest < version:
            raise InvalidInput(
                f"baseline {version}: the folder has no migration above {highest}. Say which of them the database has "
                "already: the version of the last one, or 0 for none."
            )
        if not rows:
            run.drift.refuse_flyway()
        marker = run.history.insert_marker(1, version, "<< Baseline >>", "BASELINE", "<< Baseline >>")
        log = run.history.log("baseline", version=str(version))
        missing = run.history.missing()
        run.session.begin()
        run.session.be_ourselves()
        run.session.execute(f"{missing}; {run.history.remove(wrong)}; {marker}; {log}")
        run.session.commit(run.drift.record())
        return True


def import_flyway(run: Run, table: str) -> int:
    """Copy a history of Flyway's into ours, and return the number of migrations it has.

    Undone migrations are left out, as Flyway leaves them out of what is applied.

    Raises:
        InvalidInput: ``table`` is no history of Flyway.
        Refused: our history is not empty, or Flyway's holds a failed migration or one that is no SQL.
    """
    name = _qualified(table)
    with run.session.lock(run.watcher.tell):
        columns = run.session.execute(
            "select attname from pg_catalog.pg_attribute where attrelid = pg_catalog.to_regclass(%s) and attnum > 0",
            [name],
        )
        wanted = (
            "installed_rank version description type script checksum installed_by installed_on execution_time success"
        )
        if not {row[0] for row in columns} >= set(wanted.split()):
            raise InvalidInput(f"--from-flyway {table}: there is no history of Flyway with that name.")
        if run.history.read():
            raise Refused("the database has a history of ours already. Nothing was done.")
        return _copy(run, name, table)


def _copy(run: Run, name: str, told: str) -> int:
    rows = run.session.execute(f"select installed_rank, version, type, script, success from {name} order by 1")
    undone: dict[str, int] = {}
    for rank, version, type, script, success in rows:
        if not success:
            raise Refused(f"{told} holds {script}, which failed: let Flyway repair it first.")
        if type.startswith("UNDO"):
            undone[version] = rank
        elif type not in _TYPES:
            raise Refused(f"{told} holds {script} of type {type}: only SQL migrations can be taken over.")
    keep = [rank for rank, version, type, _, _ in rows if not type.startswith("UNDO") and rank > undone.get(version, 0)]
    log = run.history.log("import", detail={"from": told, "rows": len(keep)})
    missing = run.history.missing()
    run.session.begin()
    run.session.be_ourselves()
    run.session.execute(missing)
    columns = "version, description, type, script, checksum, installed_by, installed_on, execution_time, success"
    run.session.execute(
        f"insert into {run.history.name} (installed_rank, {columns}) "
        f"select row_number() over (order by installed_rank), {columns} from {name} where installed_rank = any(%s)",
        [keep],
    )
    run.session.execute(log)
    run.session.commit(run.drift.record())
    return len(keep)


def _qualified(table: str) -> str:
    schema, dot, name = table.rpartition(".")
    return ".".join(identifier(part) for part in ((schema, name) if dot else ("public", name)))
