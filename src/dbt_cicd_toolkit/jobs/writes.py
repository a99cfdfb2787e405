"""Versions that are live side by side: do two write one table, and can one interpreter have what both require?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from dbt_cicd_toolkit.jobs.findings import Finding
from dbt_cicd_toolkit.jobs.inventory import Item
from dbt_cicd_toolkit.jobs.number import Number
from dbt_cicd_toolkit.jobs.references import Reference
from dbt_cicd_toolkit.jobs.settings import Settings

if TYPE_CHECKING:
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

Key = tuple[str, Number]
_HIGHEST = "999999"


def live(uses: Iterable[Reference], items: Mapping[Key, Item]) -> dict[str | None, dict[Key, list[Reference]]]:
    """{environment: {(job, version): the uses}}. A use of a whole folder is one of each of its jobs."""
    found: dict[str | None, dict[Key, list[Reference]]] = {}
    for use in uses:
        if use.version is None:
            continue
        jobs = [use.job] if use.job else [job for job, version in items if version == use.version]
        for job in jobs:
            if (job, use.version) in items:
                found.setdefault(use.environment, {}).setdefault((job, use.version), []).append(use)
    return found


def findings(
    settings: Settings, items: Mapping[Key, Item], uses: Mapping[str | None, Mapping[Key, Sequence[Reference]]]
) -> list[Finding]:
    """What live versions do to each other; and those that do not say what they write or require."""
    found: list[Finding] = []
    for environment, there in uses.items():
        found += _writes(settings, items, environment, there)
        found += _requires(items, environment, there)
    silent = sorted({key for there in uses.values() for key in there})
    return found + [each for key in silent for each in _silent(items[key])]


def _silent(item: Item) -> Iterator[Finding]:
    missing = [name for name in ("reads", "writes", "requires") if getattr(item, name) is None]
    if missing:
        yield Finding(
            "unknown",
            "declared",
            f"{item.where}: {item.class_name} does not say its {', '.join(missing)}, so what {item.name} shares with "
            'others is unknown. Its next version should: writes = ["schema.table"], requires = ["pandas>=2"].',
        )


def _in(environment: str | None) -> str:
    return f"in {environment} " if environment else ""


def _places(uses: Sequence[Reference]) -> str:
    return ", ".join(dict.fromkeys(use.where for use in uses))


def _writes(
    settings: Settings, items: Mapping[Key, Item], environment: str | None, there: Mapping[Key, Sequence[Reference]]
) -> Iterator[Finding]:
    writers: dict[str, list[Key]] = {}
    for key in sorted(there):
        for table in dict.fromkeys(each.casefold() for each in items[key].writes or ()):
            writers.setdefault(table, []).append(key)
    for table, keys in sorted(writers.items()):
        if len(keys) < 2 or _declared(settings, table, keys, environment):
            continue
        names = " and ".join(f"{items[key].name} ({_places(there[key])})" for key in keys)
        jobs = ", ".join(f'"{job}"' for job in dict.fromkeys(job for job, _ in keys))
        yield Finding(
            "refused",
            "writes",
            f"{_in(environment)}{names} write one table, {table}. Move to one of them, or say in jobs.toml that it is "
            f'meant: [[shared_writes]] table = "{table}", jobs = [{jobs}].',
        )


def _declared(settings: Settings, table: str, keys: Sequence[Key], environment: str | None) -> bool:
    jobs = {job for job, _ in keys}
    return any(
        each.table.casefold() == table and jobs <= set(each.jobs) and each.environment in (None, environment)
        for each in settings.shared_writes
    )


def _requires(
    items: Mapping[Key, Item], environment: str | None, there: Mapping[Key, Sequence[Reference]]
) -> Iterator[Finding]:
    inside = {key: [use for use in uses if not _apart(use)] for key, uses in sorted(there.items())}
    needs: dict[str, dict[str, tuple[Requirement, list[Key]]]] = {}
    for key, uses in inside.items():
        for name, need in _requirements(items[key].requires or ()).items() if uses else ():
            needs.setdefault(name, {}).setdefault(str(need), (need, []))[1].append(key)
    for _, different in sorted(needs.items()):
        for (left, first), (right, second) in combinations(different.values(), 2):
            if _disjoint(left, right):
                item = items[second[0]]
                yield Finding(
                    "refused",
                    "requires",
                    f"{_in(environment)}{_who(items, inside, first)} requires {left}, {_who(items, inside, second)} "
                    f"requires {right}: no interpreter has both. Run one in an environment of its own: "
                    f"versioned_operator(PythonVirtualenvOperator, '{item.module}', …) of "
                    "dbt_cicd_toolkit.jobs.airflow builds and runs the job there.",
                )


def _who(items: Mapping[Key, Item], uses: Mapping[Key, Sequence[Reference]], keys: Sequence[Key]) -> str:
    more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
    return f"{items[keys[0]].name} ({_places(uses[keys[0]])}){more}"


def _apart(use: Reference) -> bool:
    """Does it run elsewhere than where the DAG is read? What a text names does (a Glue job)."""
    return use.apart or use.how == "string"


def _requirements(texts: Iterable[str]) -> dict[str, Requirement]:
    """{package: what is required of it}, of what applies to this Python; several lines for one are one."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    found: dict[str, Requirement] = {}
    for text in texts:
        each = Requirement(text)
        if each.marker is not None and not each.marker.evaluate():
            continue
        name = canonicalize_name(each.name)
        if name in found:
            found[name].specifier &= each.specifier
        else:
            found[name] = each
    return found


def _disjoint(left: Requirement, right: Requirement) -> bool:
    if left.url or right.url:
        return bool(left.url and right.url and left.url != right.url)
    return disjoint(left.specifier, right.specifier)


def disjoint(left: SpecifierSet, right: SpecifierSet) -> bool:
    """Is there no version that both admit? Where either begins or ends, and right beside that, is where to look."""
    both = left & right
    return not any(both.contains(version, prereleases=True) for version in _candidates(both))


def _candidates(specifiers: SpecifierSet) -> Iterator[str]:
    yield from ("0", _HIGHEST)
    for each in specifiers:
        text = each.version.removesuffix(".*")
        match = re.match(r"v?(?:\d+!)?\d+(?:\.\d+)*", text)
        if match is None:
            yield text
            continue
        release = match[0]
        head, dot, last = release.rpartition(".")
        yield from (text, release, f"{release}.0.1", f"{release}.1", f"{release}.{_HIGHEST}", f"{text}.post1")
        yield from (f"{release}.dev0", f"{release}a0", f"{head}{dot}{int(last.rpartition('!')[2].lstrip('v')) + 1}")
        if int(last.rpartition("!")[2].lstrip("v")):
            below = int(last.rpartition("!")[2].lstrip("v")) - 1
            yield from (f"{head}{dot}{below}", f"{head}{dot}{below}.{_HIGHEST}")
