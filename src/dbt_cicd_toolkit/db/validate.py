"""Check everything at once: files, history and database."""

from __future__ import annotations

from dbt_cicd_toolkit.db.apply import load
from dbt_cicd_toolkit.db.plan import plan
from dbt_cicd_toolkit.db.run import Run
from dbt_cicd_toolkit.errors import Differs, InvalidInput, ToolkitError


def validate(run: Run) -> int:
    """Return the number of files checked.

    Raises InvalidInput (files that cannot be run), else Differs, with everything that is wrong in one message.
    """
    wrong: list[str] = []
    for migration in [*run.folder.versioned, *run.folder.repeatable]:
        try:
            load(migration)
        except InvalidInput as error:
            wrong.append(str(error))
    kind: type[ToolkitError] = InvalidInput if wrong else Differs
    run.applied = run.history.read()
    wrong += [str(problem) for problem in plan(run.folder, run.applied).problems]
    wrong += [
        f"unfinished: {script} was begun statement by statement. Finish it (dbt-cicd db migrate or rollback), or leave "
        f"it as it is: dbt-cicd db repair --abandon {script}."
        for script in run.history.unfinished()
    ]
    if run.history.exists() and (changes := run.drift.changes()):
        wrong += [
            f"drift: {change.identity} {change.kind} (dbt-cicd db repair --drift accepts it)" for change in changes
        ]
    if wrong:
        raise kind("validate:" + "".join(f"\n  - {text}" for text in wrong))
    return len(run.folder.versioned) + len(run.folder.repeatable)
