"""Speed of the operations on models. Prints JSON lines; see README.md beside this file."""
# ruff: noqa: E501 (SQL and macros as they run)

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2

from dbt_cicd_toolkit.dbt_runner import Dbt, Engine
from dbt_cicd_toolkit.postgres import embedded

ROOT = Path(__file__).resolve().parents[1]
MACROS = """
{% macro noop() %}{% do run_query('select 1') %}{% endmacro %}

{# Evidence for every test of the project, written the way the hook writes it. #}
{% macro fill_evidence() %}
    {% set now = dbt_cicd_toolkit._open_for_write('fill_evidence') %}
    {% set rows = [] %}
    {% for unique_id, tests in dbt_cicd_toolkit._tests_by_model(dbt_cicd_toolkit._named_models('fill_evidence', none)).items() %}
        {% set node = graph.nodes[unique_id] %}
        {% for test in tests %}
            {% do rows.append({'unique_id': unique_id, 'name': node.name, 'test_unique_id': test.test, 'test_type': 'data', 'test_checksum': test.checksum,
                'checksum': dbt_cicd_toolkit._checksum(node), 'status': 'pass', 'target': target.name, 'relation_name': node.relation_name, 'flags': ''}) %}
        {% endfor %}
    {% endfor %}
    {% do dbt_cicd_toolkit._commit([dbt_cicd_toolkit._append_sql('dbt_cicd_test_results', rows, now)]) %}
    {% do dbt_cicd_toolkit._unlock() %}
{% endmacro %}
"""


def project(folder: Path, models: int) -> Path:
    """Write a project of so many models, each with two tests."""
    files = {
        "dbt_project.yml": "name: many\nversion: '1.0'\nprofile: many\nflags: {send_anonymous_usage_stats: false}\n",
        "profiles.yml": "many:\n  target: dev\n  outputs:\n    dev: {type: postgres, schema: dev, threads: 2, "
        "host: \"{{ env_var('DBT_CICD_PG_HOST') }}\", port: \"{{ env_var('DBT_CICD_PG_PORT') | int }}\", "
        "user: \"{{ env_var('DBT_CICD_PG_USER') }}\", password: \"{{ env_var('DBT_CICD_PG_PASSWORD') }}\", "
        "dbname: \"{{ env_var('DBT_CICD_PG_DATABASE') }}\"}\n",
        "macros/benchmark.sql": MACROS,
        "models/schema.yml": "models:\n"
        + "".join(
            f"  - name: m{i}\n    columns: [{{name: id, data_tests: [unique, not_null]}}]\n" for i in range(models)
        ),
    }
    for name, text in files.items() | {f"models/m{i}.sql": f"select {i} as id" for i in range(models)}.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    (folder / "dbt_packages").mkdir()
    (folder / "dbt_packages" / "dbt_cicd_toolkit").symlink_to(ROOT)
    (folder / "packages.yml").write_text(f"packages:\n  - local: {ROOT}\n", encoding="utf-8")
    return folder


def operation(dbt: Dbt, macro: str, **arguments: Any) -> None:
    """A plain `dbt run-operation`, which must succeed."""
    result = dbt.run(["run-operation", macro, "--args", json.dumps(arguments)])
    if not result.ok:
        sys.exit(f"{macro} failed:\n{result.output}")


def seconds(action: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def report(name: str, engine: str, base: list[float], measured: list[float]) -> None:
    """One JSON line: the medians and the median of the differences of interleaved runs, with their spread."""
    over = [one - other for one, other in zip(measured, base, strict=True)]
    line = {
        "benchmark": name,
        "engine": engine,
        "runs": len(over),
        "noop_median": round(statistics.median(base), 3),
        "median": round(statistics.median(measured), 3),
        "seconds_over_noop": round(statistics.median(over), 3),
        "over_min": round(min(over), 3),
        "over_max": round(max(over), 3),
        "ratio": round(statistics.median(measured) / statistics.median(base), 2),
    }
    print(json.dumps(line), flush=True)


def compare(name: str, dbt: Dbt, engine: str, actions: Callable[[int], Callable[[], object]], runs: int) -> None:
    """Interleave the no-op and the operation, ``runs`` times each after one warm-up."""
    base, measured = [], []
    for index in range(runs + 1):
        pair = seconds(lambda: operation(dbt, "noop")), seconds(actions(index))
        if index:
            base.append(pair[0])
            measured.append(pair[1])
    report(name, engine, base, measured)


def fill(sql: Callable[[str], None], models: int, versions: int, deployments: int, results: int) -> None:
    """Fill the ledger by SQL: so many rows in all, spread over the models, older than anything the benchmark writes."""
    pick = f"'model.many.m' || (i % {models})"
    number = f"(i / {models})"
    stamp = "timestamp '2020-01-01' + i * interval '1 second' / 100"
    sql(f"""insert into dbt_cicd.dbt_cicd_versions (id, kind, unique_id, name, version, precedence_key, is_prerelease, is_breaking,
            findings, checksum, columns, definition, recorded_by, recorded_at)
        select md5('v' || i), 'model', {pick}, 'm' || (i % {models}), '0.0.' || {number},
            '0010.0010.' || lpad(length({number}::text)::text, 3, '0') || {number} || '~', false, false, '[]', md5('c' || i),
            '{{"source": "contract", "items": [{{"name": "id", "type": "integer"}}]}}',
            '{{"materialized": "view", "contract": false, "access": "protected", "relation": "..m' || (i % {models}) || '", "columns": [], "constraints": []}}',
            'benchmark', {stamp} from generate_series(0, {versions} - 1) i on conflict do nothing""")
    sql(f"""insert into dbt_cicd.dbt_cicd_deployments (id, kind, unique_id, name, promotion_id, version, checksum, environment, status, recorded_by, recorded_at)
        select md5('d' || i), 'model', {pick}, 'm' || (i % {models}), 'none', '0.0.' || {number}, md5('c' || i),
            (array['development', 'staging', 'production'])[1 + {number} % 3], 'success', 'benchmark', {stamp}
        from generate_series(0, {deployments} - 1) i on conflict do nothing""")
    sql(f"""insert into dbt_cicd.dbt_cicd_test_results (id, kind, unique_id, name, test_unique_id, test_type, test_checksum, checksum, status, target,
            relation_name, flags, recorded_by, recorded_at)
        select md5('t' || i), 'model', {pick}, 'm' || (i % {models}), 'test.many.t' || ({number} % 10), 'data', 'none', md5('c' || i), 'pass', 'dev',
            '"postgres"."dev"."m' || (i % {models}) || '"', '', 'benchmark', {stamp}
        from generate_series(0, {results} - 1) i on conflict do nothing""")
    sql("analyze dbt_cicd.dbt_cicd_versions, dbt_cicd.dbt_cicd_deployments, dbt_cicd.dbt_cicd_test_results")


def single(dbt: Dbt, engine: str, runs: int) -> None:
    """One model, one operation."""

    def register(index: int) -> Callable[[], object]:
        return lambda: operation(dbt, "register_version", model_name="m0", version=f"1.{os.getpid()}.{time.time_ns()}")

    def deploy(index: int) -> Callable[[], object]:
        return lambda: operation(
            dbt, "deploy_version", model_name="m0", version="1.0.0", environment=f"e{time.time_ns()}"
        )

    def latest(index: int) -> Callable[[], object]:
        return lambda: operation(dbt, "get_latest_version", model_name="m0")

    operation(dbt, "fill_evidence")
    operation(dbt, "register_version", model_name="m0", version="1.0.0")
    compare("register_version", dbt, engine, register, runs)
    compare("deploy_version", dbt, engine, deploy, runs)
    compare("get_latest_version", dbt, engine, latest, runs)


def thousand(dbt: Dbt, engine: str, sql: Callable[[str], None], models: int, runs: int) -> None:
    """A thousand models of up to 20 versions each in one operation."""
    sql(
        "truncate dbt_cicd.dbt_cicd_versions, dbt_cicd.dbt_cicd_deployments, dbt_cicd.dbt_cicd_test_results, dbt_cicd.dbt_cicd_promotions"
    )
    fill(sql, models, versions=19 * models, deployments=57 * models, results=0)
    names = ",".join(f"m{index}" for index in range(models))

    def register(index: int) -> Callable[[], object]:
        # The registration of the round before is taken back, so that every round does the same work.
        sql("delete from dbt_cicd.dbt_cicd_versions where recorded_by <> 'benchmark'")
        return lambda: operation(dbt, "register_changed_models", bump="patch")

    compare(f"register_changed_models of {models}", dbt, engine, register, runs)
    operation(dbt, "fill_evidence")

    def promote(index: int) -> Callable[[], object]:
        sql("delete from dbt_cicd.dbt_cicd_deployments where recorded_by <> 'benchmark'")
        return lambda: operation(dbt, "promote_to_environment", target_environment="production", models=names)

    compare(f"promote_to_environment of {models}", dbt, engine, promote, runs)


def big(dbt: Dbt, engine: str, sql: Callable[[str], None], models: int, runs: int) -> None:
    """The big ledger."""

    def latest(index: int) -> Callable[[], object]:
        return lambda: operation(dbt, "get_latest_version", model_name="m0")

    def status(index: int) -> Callable[[], object]:
        return lambda: operation(dbt, "get_promotion_status")

    print(json.dumps({"filling": "1,000,000 versions, 3,000,000 deployments, 10,000,000 test_results"}), flush=True)
    fill(sql, models, versions=1_000_000, deployments=3_000_000, results=10_000_000)
    compare("big ledger: get_latest_version", dbt, engine, latest, runs)
    compare(f"big ledger: get_promotion_status of {models}", dbt, engine, status, runs)


def command_line(folder: Path, runs: int) -> None:
    """promote_models.py against the two dbt commands it stands for, each as a process."""
    bin_folder = Path(sys.executable).parent
    dbt = [str(bin_folder / "dbt")]
    arguments = json.dumps({"target_environment": "production", "models": "m0,m1,m2"})
    ours = [
        sys.executable,
        str(ROOT / "scripts" / "promote_models.py"),
        "--target-environment",
        "production",
        "--models",
        "m0,m1,m2",
    ]

    def process(command: list[str]) -> None:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{command} failed:\n{done.stdout}{done.stderr}")

    process([*dbt, "build", "--select", "m0", "m1", "m2"])
    base, measured = [], []
    for _ in range(runs):
        base.append(
            seconds(lambda: process([*dbt, "test", "--select", "m0", "m1", "m2"]))
            + seconds(lambda: process([*dbt, "run-operation", "promote_to_environment", "--args", arguments]))
        )
        measured.append(seconds(lambda: process(ours)))
    report("promote_models.py against dbt test + dbt run-operation", "core, processes", base, measured)


def main() -> None:
    """Parse the options, make the project and the server, run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--big", action="store_true", help="also the big ledger")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dbt_cicd_benchmark") as temporary:
        data = ROOT / ".local" / "benchmark"
        shutil.rmtree(data, ignore_errors=True)
        with embedded.start(data, tcp=True) as server:
            os.environ.update(server.environment())
            connection = psycopg2.connect(
                host=server.host, port=server.port, user=server.user, password=server.password, dbname=server.database
            )
            connection.autocommit = True

            def sql(text: str) -> None:
                with connection.cursor() as cursor:
                    cursor.execute(text)

            sql("alter system set fsync = off")
            sql("select pg_reload_conf()")
            engines = [("core, in-process", Engine(1, None, True))]
            if os.environ.get("DBT_CICD_V2"):
                engines.append(("v2", Engine(2, Path(os.environ["DBT_CICD_V2"]), False)))
            for engine, how in engines:
                sql("drop schema if exists dbt_cicd cascade")
                folder = project(Path(temporary) / engine.split(",")[0], options.models)
                dbt = Dbt(folder, engine=how)
                operation(dbt, "setup_ledger")
                single(dbt, engine, options.runs)
                thousand(dbt, engine, sql, options.models, max(3, options.runs // 2))
                if how.in_process:
                    command_line(folder, 3)
                if options.big and how.in_process:
                    big(dbt, engine, sql, options.models, options.runs)
            connection.close()


if __name__ == "__main__":
    main()
