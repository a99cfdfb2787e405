"""Objects that data are bound to and that are therefore altered, never dropped: enum types, domains, sequences."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import psycopg2.extensions as pg

from dbt_cicd_toolkit.errors import Refused
from dbt_cicd_toolkit.postgres import catalog
from dbt_cicd_toolkit.schema.step import Step

_LABELS = """select enumlabel from pg_catalog.pg_enum
where enumtypid = pg_catalog.to_regtype(%s) order by enumsortorder"""
_DOMAIN = """select t.typnotnull, t.typdefault, array(
    select pg_catalog.format('%%I', conname) || ' ' || pg_catalog.pg_get_constraintdef(oid)
    from pg_catalog.pg_constraint where contypid = t.oid and contype = 'c' order by conname)
from pg_catalog.pg_type t where t.oid = pg_catalog.to_regtype(%s) and t.typtype = 'd'"""
_SEQUENCE = """select pg_catalog.format(
    'as %%s increment by %%s minvalue %%s maxvalue %%s start with %%s cache %%s %%s',
    pg_catalog.format_type(seqtypid, null), seqincrement, seqmin, seqmax, seqstart, seqcache,
    case when seqcycle then 'cycle' else 'no cycle' end)
from pg_catalog.pg_sequence where seqrelid = pg_catalog.to_regclass(%s)"""


def alterations(old: pg.connection, new: pg.connection, kind: str, name: str) -> list[Step]:
    """The steps that turn an object of ``old`` into that of ``new``; [] where nothing is known of how.

    Raises Refused, with what to declare, where values would have to go.
    """
    known = _KINDS.get(kind)
    return known(old, new, f"{kind} {name}", name) if known else []


def _rows(connection: pg.connection, sql: str, name: str) -> list[tuple[object, ...]]:
    with catalog.pinned(connection) as prefix, connection.cursor() as cursor:
        cursor.execute(prefix + sql, [name])
        return list(cursor.fetchall())


def _enum(old: pg.connection, new: pg.connection, key: str, name: str) -> list[Step]:
    """New values, each at its place (PostgreSQL 12 and later add them inside a transaction)."""
    before, after = ([str(row[0]) for row in _rows(each, _LABELS, name)] for each in (old, new))
    gone = [label for label in before if label not in after]
    if gone or [label for label in after if label in before] != before:
        said = f"loses {', '.join(gone)}" if gone else "has its values in another order"
        raise Refused(
            f"{key} {said}, which no statement does. Rename a value with a delta: "
            f"`{name} update alter type {name} rename value '…' to '…'`; or make a new type and retype the columns."
        )
    steps, there = [], list(before)
    for place, label in enumerate(after):
        if label not in there:
            where = (
                f" after {_literal(after[place - 1])}" if place else f" before {_literal(there[0])}" if there else ""
            )
            there.insert(place, label)
            steps.append(Step(f"alter type {name} add value {_literal(label)}{where}", "alter", key))
    return steps


def _domain(old: pg.connection, new: pg.connection, key: str, name: str) -> list[Step]:
    (was,), (wanted,) = (_rows(each, _DOMAIN, name) for each in (old, new))
    steps = []
    if was[1] != wanted[1]:
        default = f"set default {wanted[1]}" if wanted[1] is not None else "drop default"
        steps.append(f"alter domain {name} {default}")
    before, after = (_words(each[2]) for each in (was, wanted))
    steps += [f"alter domain {name} drop constraint {_name(each)}" for each in before if each not in after]
    steps += [f"alter domain {name} add constraint {each}" for each in after if each not in before]
    if was[0] != wanted[0]:
        steps.append(f"alter domain {name} {'set' if wanted[0] else 'drop'} not null")
    return [Step(sql, "alter", key) for sql in steps]


def _words(value: object) -> Sequence[str]:
    return [str(each) for each in value] if isinstance(value, list) else []


def _name(constraint: str) -> str:
    """The name at the beginning of 'name CHECK (…)', quoted or not."""
    if constraint.startswith('"'):
        end = 1
        while constraint[end] != '"' or constraint[end : end + 2] == '""':
            end += 2 if constraint[end : end + 2] == '""' else 1
        return constraint[: end + 1]
    return constraint.partition(" ")[0]


def _sequence(old: pg.connection, new: pg.connection, key: str, name: str) -> list[Step]:
    """Its options; it goes on from where it was."""
    was, wanted = (_rows(each, _SEQUENCE, name) for each in (old, new))
    return [] if was == wanted else [Step(f"alter sequence {name} {wanted[0][0]}", "alter", key)]


def _literal(text: str) -> str:
    """A string constant, standard_conforming_strings on."""
    return "'" + text.replace("'", "''") + "'"


_KINDS: dict[str, Callable[[pg.connection, pg.connection, str, str], list[Step]]] = {
    "type": _enum,
    "domain": _domain,
    "sequence": _sequence,
}
