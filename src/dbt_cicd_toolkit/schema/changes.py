"""What turns the tables of one database into those of another, only where it is provably safe.

A step never loses data and never guesses; everything else is a refusal that says which delta declares it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dbt_cicd_toolkit.schema.column_changes import column_changes
from dbt_cicd_toolkit.schema.column_refusals import column_refusals
from dbt_cicd_toolkit.schema.constraint_changes import constraint_changes, matches
from dbt_cicd_toolkit.schema.pair import Pair, Phase, Refusal, Work, options_changed
from dbt_cicd_toolkit.schema.step import Check, Step
from dbt_cicd_toolkit.schema.tables import Table


@dataclass(frozen=True, slots=True)
class Changes:
    """The steps for all tables, in an order that works; with refusals there are none."""

    steps: list[Step]
    refusals: list[Refusal]


def changes(before: Mapping[str, Table], after: Mapping[str, Table]) -> Changes:
    """What turns ``before`` into ``after``, both of tables.read(). Tables that only one of them has are left alone."""
    pairs = _pairs(before, after)
    refusals = [each for pair in pairs for each in list(_refusals(pair)) or column_refusals(pair)]
    if refusals:
        return Changes([], refusals)
    work = list(constraint_changes(pairs))
    for pair in pairs:
        work += [*column_changes(pair), *_partition(pair), *_metadata(pair)]
    return Changes([each.step for each in sorted(work, key=lambda each: each.phase)], [])


def _pairs(before: Mapping[str, Table], after: Mapping[str, Table]) -> list[Pair]:
    """The tables that both have, behind those that they are made from."""
    pairs: dict[str, Pair] = {}

    def pair(name: str) -> Pair:
        if name not in pairs:
            parents = tuple(pair(parent) for parent in after[name].parents if parent in before and parent in after)
            pairs[name] = Pair(before[name], after[name], parents)
        return pairs[name]

    for name in after:
        if name in before:
            pair(name)
    return list(pairs.values())


def _refusals(pair: Pair) -> Iterator[Refusal]:
    """What a table cannot become, or not without being told."""
    old, new, name = pair.before, pair.after, pair.name
    if (old.kind, old.partition_by) != (new.kind, new.partition_by):
        yield pair.refuse(f"{_kind(old)} cannot become {_kind(new)}. {pair.another_table()}")
        return
    for what, was, now, action in (
        ("is", old.persistence, new.persistence, f"set {new.persistence}"),
        ("has the access method", old.method, new.method, f"set access method {new.method}"),
        ("is of type", old.of_type or "none", new.of_type or "none", f"of {new.of_type}" if new.of_type else "not of"),
    ):
        if was != now:
            statement = f"alter table {name} {action}"
            yield pair.refuse(f"it {what} {was}, in the source {now}.", pair.delta("update", sql=statement))
    if pair.follows or pair.attached or pair.detached:
        return
    if old.bound or new.bound:
        statements = [f"alter table {old.parents[0]} detach partition {name}"] if old.bound else []
        statements += [f"alter table {new.parents[0]} attach partition {name} {new.bound}"] if new.bound else []
        message = "it is a partition of another table, or for other values, and rows may be outside of them."
    else:
        statements = [f"alter table {name} no inherit {each}" for each in old.parents if each not in new.parents]
        statements += [f"alter table {name} inherit {each}" for each in new.parents if each not in old.parents]
        message = f"it inherits from {_listed(old.parents)}, in the source from {_listed(new.parents)}."
    yield pair.refuse(message, "\n".join(pair.delta("update", sql=each) for each in statements) or None)


def _kind(table: Table) -> str:
    if table.kind == "p":
        return f"a table partitioned by {table.partition_by}"
    return "a foreign table" if table.kind == "f" else "an ordinary table"


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "none"


def _partition(pair: Pair) -> Iterator[Work]:
    """A table of its own becomes a partition, or the other way round."""
    table = pair.after
    if pair.detached:
        step = Step(f"alter table {pair.before.parents[0]} detach partition {pair.name}", "alter", table.identity)
        yield Work(Phase.DETACH, step)
    if pair.attached:
        rows = f"select * from {pair.name} where ({table.in_bound}) is not true"
        # By hash, the expression holds the oid of the partitioned table, which is another in each database.
        known = table.kind != "f" and table.in_bound and "satisfies_hash_partition(" not in table.in_bound
        check = Check(f"{pair.name} {table.bound}", rows) if known else None
        sql = f"alter table {table.parents[0]} attach partition {pair.name} {table.bound}"
        yield Work(Phase.ATTACH, Step(sql, "alter", table.identity, check))


def _metadata(pair: Pair) -> Iterator[Work]:
    old, new = pair.before, pair.after
    actions = list(options_changed(old.options, new.options))
    if old.row_security != new.row_security:
        actions.append(f"{'enable' if new.row_security else 'disable'} row level security")
    if old.forced_row_security != new.forced_row_security:
        actions.append(f"{'force' if new.forced_row_security else 'no force'} row level security")
    actions += _index_marks(pair)
    for action in actions:
        yield pair.alter(Phase.METADATA, action, kind="metadata")


def _index_marks(pair: Pair) -> Iterator[str]:
    """What is said of an index: it goes with a constraint that is dropped, and follows one that is renamed.

    An index that no constraint has made may come only after the tables: then it is for the next time.
    """
    old, new, kept = pair.before, pair.after, matches(pair)
    following = {
        each.quoted: new.constraints[kept[name]].quoted if name in kept else None
        for name, each in old.constraints.items()
    }
    there = {*old.indexes, *(each.quoted for each in new.constraints.values())}

    def moved(index: str | None) -> str | None:
        return following.get(index, index) if index else None

    if moved(old.cluster_on) != new.cluster_on:
        if new.cluster_on is None:
            yield "set without cluster"
        elif new.cluster_on in there:
            yield f"cluster on {new.cluster_on}"
    if (old.replica_identity, moved(old.replica_index)) != (new.replica_identity, new.replica_index):
        if new.replica_index is None:
            yield f"replica identity {new.replica_identity}"
        elif new.replica_index in there:
            yield f"replica identity using index {new.replica_index}"
