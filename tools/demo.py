"""`make demo`: the main job on a real PostgreSQL. Every step says what it does and shows its command and output."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg2

from dbt_cicd_toolkit.postgres import embedded

ROOT = Path(__file__).resolve().parents[1]
SHOP = ROOT / "integration_tests"
MODELS = (
    "stg_customers,stg_orders,stg_order_items,stg_payments,stg_products,stg_stores,int_order_payments,customers,orders"
)


def say(text: str) -> None:
    """Announce a step in one line."""
    print(f"\n\033[1m== {text}\033[0m" if sys.stdout.isatty() else f"\n== {text}", flush=True)


def run(*command: str, expect: int = 0, show: bool = True, folder: Path = SHOP) -> str:
    """Run a command in the shop project, print it and its output, and return that; its exit code must be ``expect``."""
    print(f"$ {shlex.join(command)}", flush=True)
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != expect:
        sys.exit(f"{done.stdout}\nexit code {done.returncode}, expected {expect}: {shlex.join(command)}")
    if show and done.stdout.strip():
        print(done.stdout.rstrip(), flush=True)
    return done.stdout


def operation(macro: str, show: bool = True, **arguments: object) -> str:
    """Run `dbt run-operation`."""
    return run("dbt", "run-operation", macro, "--args", json.dumps(arguments), show=show)


def promote(environment: str, models: str, *more: str, expect: int = 0) -> None:
    """Run scripts/promote_models.py."""
    script = ["python", "../scripts/promote_models.py", "--target-environment", environment, "--models", models]
    run(*script, "--output-format", "markdown", *more, expect=expect)


def main() -> None:
    """Run the demo from an empty database to a refused promotion."""
    say("1. Start an embedded PostgreSQL in .local/ (no Docker, no root, nothing installed on the machine)")
    with embedded.start(ROOT / ".local" / "demo") as server:
        print(f"PostgreSQL {server.major} at {server.host}, database {server.database}")
        os.environ.update(server.environment())
        os.environ.update(DBT_QUIET="true", DBT_SEND_ANONYMOUS_USAGE_STATS="false")
        os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        start_afresh(server)
        walk(server)
    print("\nThe server has stopped. Run `make demo` again as often as you like; `make test` runs the suite.")


def start_afresh(server: embedded.EmbeddedServer) -> None:
    """Empty the database and the target folder, so that every demo shows the same."""
    shutil.rmtree(SHOP / "target", ignore_errors=True)
    schemas = "dev", "staging", "prod", "dbt_cicd"
    execute(server, "; ".join(f"drop schema if exists {schema} cascade" for schema in schemas), show=False)


def execute(server: embedded.EmbeddedServer, sql: str, show: bool = True, dbname: str | None = None) -> None:
    """Run SQL on the demo's database, or on another one of its server."""
    if show:
        print(f"$ psql -c {shlex.quote(sql)}", flush=True)
    connection = psycopg2.connect(
        host=server.host, port=server.port, user=server.user, password=server.password, dbname=dbname or server.database
    )
    connection.autocommit = True
    connection.cursor().execute(sql)
    connection.close()


def walk(server: embedded.EmbeddedServer) -> None:
    """The steps from `dbt deps` on."""
    say("2. Install the package into the shop project, load its seeds, build and test its models")
    run("dbt", "deps")
    run("dbt", "build")
    say("3. Register a version of every model: 1.0.0, by the code it has now")
    registered = json.loads(operation("register_changed_models", show=False, description="First release"))["registered"]
    print(", ".join(f"{entry['model']} {entry['version']}" for entry in registered))
    say("4. Deploy one model to development, then promote a set to staging")
    operation("deploy_version", model_name="customers", version="1.0.0", environment="development", show=False)
    promote("staging", MODELS)
    say("5. Which models are ready for production? Promote them, with the report that CI shows")
    ready = operation("get_staging_validated_models", min_days_in_staging=0).strip()
    promote("production", ready)
    say("6. The state, as JSON below target/")
    for file in ("versions/customers.json", "promotion_states/production.json"):
        print(f"\n$ cat target/{file}")
        print((SHOP / "target" / file).read_text(encoding="utf-8").rstrip()[:1500])
    say("7. A customer comes twice from the source: the build finds it, and production stays as it is")
    execute(server, "insert into dev.raw_customers select * from dev.raw_customers where id = 1")
    promote("production", "customers,orders", "--build", expect=1)
    say("8. What production has, still")
    run("dbt-cicd", "status", "--environment", "production")
    migrations(server)
    objects(server)
    jobs()


def migrations(server: embedded.EmbeddedServer) -> None:
    """Git for databases, in a folder of its own and a database of its own."""
    folder = ROOT / ".local" / "demo-db"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for sql in ("drop database if exists one_vault with (force)", "create database one_vault"):
        execute(server, sql, show=False)
    os.environ.update(DB_HOST=server.host, DB_PORT=str(server.port), DB_USER=server.user, DB_NAME="one_vault")

    def db(*arguments: str, expect: int = 0) -> None:
        run("python", "database/tools/db_version_manager.py", *arguments, folder=folder, expect=expect)

    say("9. Tables that dbt does not build: a folder of migrations, the first one applied")
    run("dbt-cicd", "db", "init", "--sample", folder=folder, show=False)
    db("migrate")
    say("10. A second migration with its rollback: tried, applied, its rollback proven in a scratch database")
    db("create", "1.1.0", "Add customer analytics")
    name = "V1.1.0__Add_customer_analytics"
    up = folder / f"database/migrations/{name}.sql"
    with up.open("a", encoding="utf-8") as file:
        file.write("CREATE TABLE business.customer_analytics (id bigint PRIMARY KEY, engagement_score numeric);\n")
    with (folder / f"database/rollback/{name}_rollback.sql").open("a", encoding="utf-8") as file:
        file.write("DROP TABLE business.customer_analytics;\n")
    db("migrate", "--dry-run")
    db("migrate")
    db("verify")
    say("11. It is edited after it was applied, and rows are there when it is to be taken back: both are refused")
    up.write_text(up.read_text(encoding="utf-8") + "-- edited\n", encoding="utf-8")
    db("migrate", expect=3)
    execute(server, "insert into business.customer_analytics values (1, 0.5)", dbname="one_vault")
    db("rollback", expect=1)
    db("status")


def objects(server: embedded.EmbeddedServer) -> None:
    """Objects as sources, in the same folder and database."""
    folder = ROOT / ".local" / "demo-db"

    def schema(*arguments: str, expect: int = 0, show: bool = True) -> None:
        run("dbt-cicd", "schema", *arguments, folder=folder, expect=expect, show=show)

    say("12. Another schema by its end state: sources, a release of them, and a database that has it")
    schema("init", "--schemas", "shop", show=False)
    source = folder / "schema/objects/shop.sql"
    source.write_text(
        "create schema shop;\n"
        "create table shop.customer (id integer primary key, phone text);\n"
        "create view shop.phones as select id, phone from shop.customer;\n",
        encoding="utf-8",
    )
    schema("release", "1.0.0")
    schema("install")
    execute(server, "insert into shop.customer values (1, '555-1234')", dbname="one_vault")
    say("13. A column is renamed in the source: never guessed, but declared; the row goes along")
    source.write_text(
        source.read_text(encoding="utf-8")
        .replace("phone text", "mobile text")
        .replace("id, phone", "id, mobile as phone")
    )
    schema("release", "1.1.0", expect=1)
    schema("delta", "shop.customer rename phone mobile")
    schema("release", "1.1.0")
    schema("upgrade")
    schema("check")


def jobs() -> None:
    """Two versions of a job, in a git repository of their own."""
    folder = ROOT / ".local" / "demo-jobs"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)

    def git(*arguments: str) -> None:
        subprocess.run(("git", *arguments), cwd=folder, check=True, stdout=subprocess.DEVNULL)

    def commit(message: str) -> None:
        git("add", "--all")
        git("commit", "--quiet", "--message", message)

    def job(*arguments: str, expect: int = 0, show: bool = True) -> None:
        run("dbt-cicd", "job", *arguments, folder=folder, expect=expect, show=show)

    def write(folder_: str, text: str) -> None:
        path = folder / "dwh/jobs" / folder_ / "my_job.py"
        path.write_text(f"class MyJob:\n    def run(self) -> str:\n        return {text!r}\n", encoding="utf-8")

    say("14. A job in Python, released; then a new version beside it, which DAGs adopt when they are ready")
    git("init", "--quiet", "--initial-branch=main")
    for name, value in (("user.name", "demo"), ("user.email", "demo@example.com"), ("commit.gpgsign", "false")):
        git("config", name, value)
    job("init", "dwh", show=False)
    for version, text in (("v0_1_0", "as ever"), ("v0_2_0", "in a new way")):
        job("new" if version == "v0_1_0" else "new-version", "my_job")
        write(version, text)
        commit(text)
        job("release")
    job("list")
    say("15. What is released cannot change")
    write("v0_1_0", "changed by the way")
    job("check", expect=3)


if __name__ == "__main__":
    main()
