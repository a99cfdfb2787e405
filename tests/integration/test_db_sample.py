"""The sample foundation, and the migration that the guide prints, on real servers: forward, back, forward."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Generator
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from dbt_cicd_toolkit.db import texts
from dbt_cicd_toolkit.db.layout import Layout, init, migration_text, rollback_text
from dbt_cicd_toolkit.postgres import embedded
from support.databases import Databases

ONE_VAULT = Path(__file__).parents[1] / "support/one_vault"
NOW = datetime(2024, 1, 15, 15, 45)
SCHEMAS = ("auth", "business", "util", "audit")


class Vault:
    """An empty database; run() runs a whole file in one transaction."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def run(self, text: str) -> None:
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute(text)

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute(sql)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
            return rows

    def objects(self) -> list[tuple[Any, ...]]:
        """Every relation, column, constraint and function of the schemas that are not the server's."""
        ours = "n.nspname !~ '^pg_' and n.nspname <> 'information_schema'"
        return self.ask(f"""
            select 'schema', nspname, '' from pg_namespace n where {ours}
            union all select 'relation', oid::regclass::text, relkind::text from pg_class
                where relnamespace in (select n.oid from pg_namespace n where {ours})
            union all select 'column', attrelid::regclass::text, attname || ' ' || format_type(atttypid, atttypmod)
                from pg_attribute join pg_class c on c.oid = attrelid join pg_namespace n on n.oid = relnamespace
                where {ours} and attnum > 0
            union all select 'constraint', conrelid::regclass::text, pg_get_constraintdef(c.oid)
                from pg_constraint c join pg_namespace n on n.oid = connamespace where {ours}
            union all select 'function', p.oid::regprocedure::text, md5(pg_get_functiondef(p.oid))
                from pg_proc p join pg_namespace n on n.oid = pronamespace where {ours}
            order by 1, 2, 3""")


@pytest.fixture
def vault(databases: Databases) -> Generator[Vault]:
    with contextlib.closing(psycopg2.connect(**databases.settings(databases.make()))) as connection:
        yield Vault(connection)


@pytest.fixture
def sample() -> tuple[str, str]:
    return texts.sample_texts(NOW)


def document(suffix: str) -> str:
    return (ONE_VAULT / f"V1.1.0__Add_customer_analytics{suffix}.sql").read_text(encoding="utf-8")


def test_the_guides_migration_runs_on_the_sample_forward_back_and_forward(
    vault: Vault, sample: tuple[str, str]
) -> None:
    empty = vault.objects()
    vault.run(sample[0])
    foundation = vault.objects()
    assert {row[1] for row in foundation if row[0] == "schema"} == {*SCHEMAS, "public"}
    vault.run(document(""))
    with_analytics = vault.objects()
    assert len(with_analytics) > len(foundation)
    vault.run(document("_rollback"))
    assert vault.objects() == foundation
    vault.run(document(""))
    assert vault.objects() == with_analytics
    log = vault.ask("select deployment_name, status, deployed_by = session_user from util.deployment_log order by 1")
    name = "Add customer analytics (v1.1.0)"
    assert log == [
        (name, "STARTED", True),
        (name, "STARTED", True),
        ("Initial Data Vault 2.0 Foundation (v1.0.0)", "STARTED", True),
        (f"ROLLBACK: {name}", "STARTED", True),
    ]
    vault.run(document("_rollback"))
    vault.run(sample[1])
    assert vault.objects() == empty
    vault.run(sample[0])
    assert vault.objects() == foundation


def test_the_rollback_of_the_sample_takes_nothing_else_along(vault: Vault, sample: tuple[str, str]) -> None:
    vault.run(sample[0])
    vault.run("create table business.somebody_elses (id int)")
    before = vault.objects()
    with pytest.raises(psycopg2.errors.DependentObjectsStillExist):
        vault.run(sample[1])
    assert vault.objects() == before


def test_the_functions_of_util(vault: Vault, sample: tuple[str, str]) -> None:
    vault.run(sample[0])
    # Whatever the search_path is, and whatever lies in it.
    vault.run("create function public.sha256(bytea) returns bytea language sql as 'select null::bytea'")
    vault.run("set search_path = public, pg_catalog")
    wanted = hashlib.sha256("Grüße".encode()).hexdigest()
    assert vault.ask("select encode(util.hash_binary('Grüße'), 'hex')") == [(wanted,)]
    same = (
        "select util.current_load_date() = util.current_load_date(), util.current_load_date() = transaction_timestamp()"
    )
    assert vault.ask(same) == [(True, True)]
    number = vault.ask("select util.log_deployment_start('name', 'what', 'DROP TABLE x')")[0][0]
    vault.run(f"select util.log_deployment_completion({number})")
    other = vault.ask("select util.log_deployment_start('name', 'what')")[0][0]
    vault.run(f"select util.log_deployment_completion({other}, false, 'it failed')")
    rows = vault.ask(
        "select status, rollback_script, error_message, completed_at >= started_at from util.deployment_log "
        f"where deployment_id in ({number}, {other}) order by deployment_id"
    )
    assert rows == [("COMPLETED", "DROP TABLE x", None, True), ("FAILED", None, "it failed", True)]
    with pytest.raises(psycopg2.errors.NoDataFound, match=r"there is no deployment 0"):
        vault.run("select util.log_deployment_completion(0)")


def test_the_tables_hold_a_tenant_and_its_customers(vault: Vault, sample: tuple[str, str]) -> None:
    vault.run(sample[0])
    customer = (
        "insert into business.customer_h values (util.hash_binary('c'), 'c', util.hash_binary('acme'), default, 'x')"
    )
    with pytest.raises(psycopg2.errors.ForeignKeyViolation):
        vault.run(customer)
    vault.run("insert into auth.tenant_h values (util.hash_binary('acme'), 'acme', default, 'x')")
    vault.run(customer)
    state = "insert into business.customer_s values (util.hash_binary('c'), now() + '{}', null, '', 'Name', null, 'x')"
    vault.run(state.format("0"))
    with pytest.raises(psycopg2.errors.UniqueViolation, match="uq_customer_s_current"):
        vault.run(state.format("1 day"))


@pytest.mark.parametrize("description", ["Add things", "it's */ a $$ \"trap\" \\' here"])
def test_an_untouched_template_changes_nothing_but_the_log(
    vault: Vault, sample: tuple[str, str], description: str
) -> None:
    vault.run(sample[0])
    before = vault.objects()
    vault.run(migration_text("1.1.0", description, NOW, True))
    vault.run("set standard_conforming_strings = off; " + rollback_text("1.1.0", description, NOW, True))
    assert vault.objects() == before
    log = vault.ask("select deployment_name, description from util.deployment_log order by deployment_id offset 1")
    assert log == [
        (f"{description} (v1.1.0)", description),
        (f"ROLLBACK: {description} (v1.1.0)", f"Rolling back: {description}"),
    ]


def test_the_tables_of_the_history_can_be_made_beforehand(vault: Vault, tmp_path: Path) -> None:
    init(Layout(tmp_path / "database"))
    ddl = (tmp_path / "database/version_control/enhanced_database_version_control.sql").read_text(encoding="utf-8")
    for _ in range(2):
        vault.run(ddl)
    assert vault.ask("select to_regclass('dbt_cicd.dbt_cicd_migrations') is not null") == [(True,)]


@pytest.mark.parametrize("major", [16, 18])
def test_a_server_takes_the_production_settings(tmp_path: Path, major: int) -> None:
    data = tmp_path / "pg"
    init(Layout(tmp_path / "database"))
    settings = (tmp_path / "database/config/postgresql_production.conf").read_text(encoding="utf-8")
    with embedded.start(data, major=major):
        pass
    with (data / "postgresql.conf").open("a", encoding="utf-8") as file:
        file.write(settings)
    names = [line.split(" = ")[0] for line in settings.splitlines() if line and not line.startswith("#")]
    with embedded.start(data, major=major) as server:
        where = {"host": server.host, "port": server.port, "user": server.user, "dbname": server.database}
        with contextlib.closing(psycopg2.connect(**where, password=server.password)) as connection:
            found = Vault(connection).ask(
                f"select name, applied, error from pg_file_settings where name = any (array{names}) and applied"
            )
    assert sorted(found) == [(name, True, None) for name in sorted(names)]
