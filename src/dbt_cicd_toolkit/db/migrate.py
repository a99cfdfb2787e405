"""Decide what to apply, and apply it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING

from dbt_cicd_toolkit.db.files import Migration, Version
from dbt_cicd_toolkit.db.plan import Plan, plan
from dbt_cicd_toolkit.db.run import Run
from dbt_cicd_toolkit.errors import Refused

if TYPE_CHECKING:
    from dbt_cicd_toolkit.postgres.script import Script

# Of these action() does not tell every object.
_SAYING_MORE = ("GRANT", "REVOKE", "COMMENT", "SECURITY LABEL", "ALTER")


def migrate(run: Run, *, to: Version | None = None, out_of_order: bool = False) -> list[Migration]:
    """Apply what is pending; return it.

    Raises:
        Differs: the folder and the history disagree, or the database has drifted. Nothing was applied.
        Refused: a statement failed, or an earlier run must be finished first. What was applied before stays applied.
        InvalidInput: a file that cannot be run. Nothing was applied.
    """
    with run.session.lock(run.watcher.tell):
        run.open()
        todo = plan(run.folder, run.applied, to=to, out_of_order=out_of_order)
        todo.refuse_problems()
        if not todo.pending:
            return []
        # What takes long to import waits until there is something to do.
        from dbt_cicd_toolkit.db.apply import apply, load

        scripts = {migration.script: load(migration) for migration in todo.pending}
        _refuse_managed(run, scripts.values())
        pending = _unfinished_first(run, todo)
        run.drift.refuse()
        for migration in pending:
            if run.folder.warnings and migration.path in run.folder.warnings:
                run.watcher.tell(f"{migration.path}: {run.folder.warnings[migration.path]}")
        return apply(run, pending, scripts)


def _unfinished_first(run: Run, todo: Plan) -> list[Migration]:
    """What is pending, with the file that was begun statement by statement before everything else.

    Raises Refused when that is none of them.
    """
    begun = [migration for migration in todo.pending if migration.script in run.unfinished]
    if strangers := set(run.unfinished) - {migration.script for migration in begun}:
        script = min(strangers)
        raise Refused(
            f"{script} was begun by an earlier run and not finished. Finish it first: put the file back and run the "
            f"command that ran it again. Or leave it as it is: `dbt-cicd db repair --abandon {script}`."
        )
    return [*begun, *(migration for migration in todo.pending if migration not in begun)]


def _refuse_managed(run: Run, scripts: Iterable[Script]) -> None:
    """Raise Refused for a statement on a schema that `dbt-cicd schema` manages, as far as its text tells."""
    from dbt_cicd_toolkit.db.selected import managed_schemas
    from dbt_cicd_toolkit.postgres.statements import action

    managed = managed_schemas(run.session)
    for script in scripts if managed else ():
        for statement in script.statements:
            what = action(statement.text)
            made = {name.name for name in what.names} if what.verb.endswith(" SCHEMA") else set()
            named = made | {name.schema for name in (*what.names, what.table) if name}
            if what.verb.startswith(_SAYING_MORE):
                named |= _schemas(statement.text, dots=not what.verb.startswith("ALTER"))
            if taken := sorted(managed & named):
                raise Refused(
                    f"{script.name}:{statement.line}:{statement.column}: the schema {taken[0]} is managed by `dbt-cicd "
                    "schema`, and a schema is managed by one of both: change its sources, and upgrade."
                )


def _schemas(text: str, *, dots: bool) -> set[str]:
    """What may be the name of a schema in a statement: what stands behind the word SCHEMA, or before a dot."""
    from dbt_cicd_toolkit.postgres import lexer

    found, behind = set(), False
    for token, after in pairwise([*lexer.tokens(text), lexer.Token("punctuation", ";", 0, 0)]):
        behind = behind or token.is_word("SCHEMA")
        if token.kind in ("word", "identifier") and (behind or (dots and after.value == ".")):
            found.add(lexer.fold(token.value) if token.kind == "word" else token.value)
    return found
