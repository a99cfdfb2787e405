"""Make a release: install the sources, work out the transition from the release before, and prove both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import pairwise
from typing import NamedTuple

import psycopg2.extensions as pg

from dbt_cicd_toolkit.errors import InvalidInput, Refused
from dbt_cicd_toolkit.postgres import embedded
from dbt_cicd_toolkit.postgres.session import OLDEST
from dbt_cicd_toolkit.schema import fingerprint, objects, records, roles, sources
from dbt_cicd_toolkit.schema.executor import Executor
from dbt_cicd_toolkit.schema.install import connect, install_records
from dbt_cicd_toolkit.schema.project import Project
from dbt_cicd_toolkit.schema.records import History, Record, Release
from dbt_cicd_toolkit.schema.sources import Source
from dbt_cicd_toolkit.schema.step import Step
from dbt_cicd_toolkit.schema.transition import Planner
from dbt_cicd_toolkit.versions import parse as parse_version

Tell = Callable[[str], None]
_REQUIRES = "say in a line `-- @requires NAME` before a source what it needs that the server cannot see"


@dataclass(frozen=True)
class Draft:
    """What the next release would be: its objects, and by server major the transition to it and what is seen there."""

    objects: Mapping[str, Record]
    steps: Mapping[str, tuple[Step, ...]]
    fingerprint: Mapping[str, Mapping[str, fingerprint.Mark]]
    apart: bool  # see Release
    roles: Sequence[str]  # that the release before does not name


class _Worked(NamedTuple):
    """The same, of one server."""

    objects: Mapping[str, Record]
    fingerprint: Mapping[str, fingerprint.Mark]
    roles: Sequence[str]
    steps: tuple[Step, ...] = ()
    apart: bool = False


def release(project: Project, label: str, tell: Tell, *, dry_run: bool = False) -> Release:
    """Make the next release of the sources and write its file.

    Raises:
        InvalidInput: the label, a source or a delta is malformed.
        Refused: the transition from the release before cannot be worked out; the message has the delta to enter.
        Differs: a file was changed after it was released.
    """
    history = project.history
    _check_label(history, label)
    draft = work_out(project, history, tell)
    before = history.newest
    if (
        before
        and not any(draft.steps.values())
        and all(record.first <= before.number for record in draft.objects.values())
    ):
        raise Refused(f"nothing has changed since release {before.label}. Nothing was done.")
    for role in draft.roles:
        tell(f"role {role} is new: it must be there where the release is installed")
    number = len(history.releases) + 1
    deltas = tuple(line.text for line in project.deltas.open)
    changed = {
        major: records.difference(history.fingerprint(number - 1, int(major)) or {}, marks)
        for major, marks in draft.fingerprint.items()
    }
    date = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    made = history.with_release(Release(number, label, date, deltas, draft.steps, changed, draft.apart), draft.objects)
    if not dry_run:
        project.write(made)
    return made.releases[-1]


def _check_label(history: History, label: str) -> None:
    version = parse_version(label)
    for release in history.releases:
        if release.label == label:
            raise Refused(f"release {label} was made on {release.date}. Released is released: take the next number.")
    if history.newest and parse_version(history.newest.label) >= version:
        raise InvalidInput(f"{label} is not above {history.newest.label}, the last release. Take a higher one.")


def work_out(project: Project, history: History, tell: Tell) -> Draft:
    """Install the sources in scratch databases, on every server there is, and plan the transition, see release()."""
    found = sources.read(project.objects)
    if not found:
        raise InvalidInput(f"{project.objects} holds no source: a release of nothing would drop everything.")
    tell(f"installing {len(found)} sources")
    drafts = {major: _work_out(project, history, found, major) for major in sorted(_majors(project))}
    first = next(iter(drafts.values()))
    steps: dict[str, tuple[Step, ...]] = {}
    for major, each in drafts.items():
        if not steps:
            steps[str(OLDEST)] = each.steps  # nothing is known of older ones, and they are not asked to differ
        elif each.steps != list(steps.values())[-1]:
            steps[str(major)] = each.steps
    return Draft(
        first.objects,
        steps if history.newest else {},
        {str(major): each.fingerprint for major, each in drafts.items()},
        any(each.apart for each in drafts.values()),
        first.roles,
    )


def _work_out(project: Project, history: History, found: Sequence[Source], major: int) -> _Worked:
    with ExitStack() as stack:
        scratches = [stack.enter_context(project.bench(major)) for _ in range(3 if history.newest else 2)]
        own = scratches[0].embedded
        new, again, *others = [stack.enter_context(closing(connect(each.settings))) for each in scratches]
        installed = objects.install(new, found, history.schemas, make_roles=own)
        places = {each.key: each.source for each in installed}
        made = records.records_of(installed, history)
        marks = fingerprint.read(new, history.schemas)
        try:
            install_records(again, made, history.schemas, make_roles=own, sources=places)
        except Refused as error:
            raise Refused(f"{error}\nThat is in the order of their dependencies; {_REQUIRES}.") from error
        if lines := fingerprint.differences(marks, fingerprint.read(again, history.schemas)):
            raise Refused(
                f"installed in the order of their dependencies the sources make something else; {_REQUIRES}:\n  - "
                + "\n  - ".join(lines)
            )
        if history.newest is None:
            return _Worked(made, marks, sorted(roles.named(new)))
        (old,) = others
        _bring(old, history, major, own)
        before = history.at(history.newest.number)
        new_roles = sorted(roles.named(new) - roles.named(old))

        def planner() -> Planner:
            return Planner(old, history.schemas, before, made, places, new, project.deltas.open)

        steps, apart = _plan(old, planner)
        return _Worked(made, marks, new_roles, tuple(steps), apart)


def _plan(old: pg.connection, planner: Callable[[], Planner]) -> tuple[list[Step], bool]:
    """The transition, and whether it works only when the transitions before are committed."""
    together = planner()
    with old.cursor() as cursor:
        cursor.execute("savepoint dbt_cicd_together")
        try:
            return together.plan(), False
        except Refused:
            if not together.bench.uncommitted:
                raise
        cursor.execute("rollback to savepoint dbt_cicd_together")
    old.commit()
    return planner().plan(), True


def _bring(old: pg.connection, history: History, major: int, make_roles: bool) -> None:
    """To the newest release, in the one transaction that goes on: the first release, and every transition since.

    What works there works from every release: no upgrade has more in a transaction.
    """
    install_records(old, history.at(1), history.schemas, make_roles=make_roles)
    old.autocommit = False
    for start, end in pairwise([1, *history.commits(1)]):
        old.commit()
        executor = Executor(old, history.schemas, make_roles=make_roles)
        for steps in history.transitions(start, end, major):
            for step in steps:
                executor.run(step)
            executor.forget()


def _majors(project: Project) -> list[int]:
    """Of the servers to work on: those of the embedded ones, or that of --scratch-url, or of the target."""
    if project.scratch_url:
        with project.bench(OLDEST) as made, closing(connect(made.settings)) as connection:
            return [connection.server_version // 10000]
    if majors := embedded.majors():
        return majors
    with project.connect("release") as session:
        return [session.major]
