"""Lock is intent, references are use, the ledger is record: where they disagree."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from dbt_cicd_toolkit.errors import InvalidInput
from dbt_cicd_toolkit.jobs import pins
from dbt_cicd_toolkit.jobs.findings import Finding
from dbt_cicd_toolkit.jobs.inventory import Item
from dbt_cicd_toolkit.jobs.nearest import meant
from dbt_cicd_toolkit.jobs.number import Number
from dbt_cicd_toolkit.jobs.references import Reference

if TYPE_CHECKING:
    from dbt_cicd_toolkit.jobs.deploy import Deployment

Key = tuple[str, Number]
_LOCK = "Run `dbt-cicd job lock`, and commit it."


def findings(
    uses: Sequence[Reference], locked: Sequence[Reference], items: Mapping[Key, Item], today: datetime.date
) -> list[Finding]:
    """What the DAGs of the environments use against what there is and what the locks say.

    Args:
        uses: references of the environments' files.
        locked: what the locks of those environments lead to.
        items: the versions that there are.
        today: which deprecations are over.
    """
    found = [each for use in uses for each in _use(use, items, today)]
    found += [each for use in locked for each in _locked(use, items)]
    return found + list(_unused(uses, locked))


def _use(use: Reference, items: Mapping[Key, Item], today: datetime.date) -> Iterator[Finding]:
    if use.how == "unknown":
        yield Finding(
            "unknown",
            "adoption",
            f"{_where(use)}: {use.text} cannot be read without running it: it may use any version. Import by a literal "
            "name, or resolve().",
        )
    elif use.how == "resolve":
        yield from _resolve(use)
    if use.job is None or use.version is None:
        return
    item = items.get((use.job, use.version))
    if item is None:
        known = sorted(str(version) for job, version in items if job == use.job)
        said = meant(use.job, sorted({job for job, _ in items}), "There are none.")
        there = f"There are {', '.join(known)}." if known else said
        yield Finding("refused", "adoption", f"{_where(use)}: {use.job} {use.version} is not there. {there}")
    elif item.state == "removed":
        yield Finding("refused", "adoption", f"{_where(use)}: {item.name} was removed on {item.date}. {_upgrade(item)}")
    elif item.state == "deprecated":
        over = today > datetime.date.fromisoformat(str(item.date))
        yield Finding(
            "refused" if over else "warning",
            "deprecated",
            f"{_where(use)}: {item.name} {'was' if over else 'is'} deprecated and may be used until {item.date}. "
            f"{_upgrade(item)}",
        )
    elif item.state == "open" and use.environment:
        yield Finding("warning", "adoption", f"{_where(use)}: {item.name} is in no release yet: dbt-cicd job release.")


def _upgrade(item: Item) -> str:
    return f"Move: dbt-cicd job upgrade {item.job} {item.version} VERSION."


def _where(use: Reference) -> str:
    facts = [f"environment {use.environment}"] if use.environment else []
    facts += [f"branch {use.branch}"] if use.branch and use.environment else []
    return f"{use.where} ({', '.join(facts)})" if facts else use.where


def _resolve(use: Reference) -> Iterator[Finding]:
    if use.text is None:
        yield Finding(
            "invalid",
            "lock",
            f"{_where(use)}: a job and its pin must be literal texts in resolve(), such as resolve('my_job', "
            "'~=0.1.0'): the lock is made without running the DAG.",
        )
        return
    try:
        pins.check(use.text, _where(use))
    except InvalidInput as error:
        yield Finding("invalid", "lock", str(error))
        return
    if source := use.unread_environment:
        yield Finding(
            "invalid",
            "lock",
            f"{_where(replace(use, environment=None))}: the environment {source} of resolve() must be a literal text, "
            "such as 'production', or left out: the lock is made without running the DAG.",
        )
        return
    if warning := pins.warning(use.text):
        yield Finding("warning", "lock", f"{_where(use)}: {warning}")
    if use.environment is None:
        said = "resolve() needs an environment, and jobs.toml has none. Write [environments.production]."
        yield Finding("refused", "lock", f"{_where(use)}: {said}")
    elif use.version is None:
        said = f"jobs.lock has no {use.job} '{use.text}' for {use.environment}"
        yield Finding("refused", "lock", f"{_where(use)}: {said}. {_LOCK}")


def _locked(use: Reference, items: Mapping[Key, Item]) -> Iterator[Finding]:
    """A line of jobs.lock that leads nowhere, or elsewhere than its pin allows."""
    if use.version is None or use.job is None or use.text is None:
        return
    item = items.get((use.job, use.version))
    said = f"{_where(use)}: the lock leads '{use.text}' to {use.job} {use.version}, "
    if item is None or item.state == "removed":
        yield Finding("refused", "lock", f"{said}which is not there. {_LOCK}")
    elif item.state == "open":
        yield Finding("refused", "lock", f"{said}which is in no release yet. {_LOCK}")
    else:
        try:
            fits = pins.fits(use.text, str(use.version))
        except InvalidInput as error:
            yield Finding("invalid", "lock", f"{_where(use)}: {error}")
            return
        if not fits:
            yield Finding("refused", "lock", f"{said}which it does not admit. {_LOCK}")


def _unused(uses: Iterable[Reference], locked: Iterable[Reference]) -> Iterator[Finding]:
    used = {(use.environment, use.job, use.text) for use in uses if use.how == "resolve"}
    for each in locked:
        if (each.environment, each.job, each.text) not in used:
            said = f"{_where(each)}: no DAG of {each.environment} resolves {each.job} '{each.text}'. {_LOCK}"
            yield Finding("warning", "lock", said)


def with_ledger(uses: Sequence[Reference], deployed: Sequence[Deployment]) -> list[Finding]:
    """What the DAGs use against what the ledger says the environments got. A version that is used before it is
    deployed, and one that is deployed before it is used, is the way of the world: warnings."""
    used = {(use.environment, use.job, use.version): use for use in uses if use.job and use.version}
    recorded = {(each.environment, each.job, each.version) for each in deployed}
    found = [
        f"{_where(use)}: the ledger never saw {job} {version} in {environment}: dbt-cicd job deploy {job} {version} "
        f"{environment}."
        for (environment, job, version), use in used.items()
        if environment and (environment, job, version) not in recorded
    ]
    found += [
        f"the ledger has {each.job} {each.version} as live in {each.environment} since {each.since}, and no DAG there "
        "uses it."
        for each in deployed
        if each.live and (each.environment, each.job, each.version) not in used
    ]
    return [Finding("warning", "ledger", said) for said in found]
