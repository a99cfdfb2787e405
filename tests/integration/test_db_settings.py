"""Settings from every source, connected with: a server on TCP that asks for passwords, libpq itself as the judge."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Generator, Mapping
from pathlib import Path

import psycopg2
import pytest
from psycopg2 import sql

from dbt_cicd_toolkit.errors import Refused
from dbt_cicd_toolkit.postgres import embedded
from dbt_cicd_toolkit.postgres.embedded import EmbeddedServer
from dbt_cicd_toolkit.postgres.settings import Settings, connection_error, resolve
from dbt_cicd_toolkit.postgres.settings import embedded as settings_of

CONFIG = "database/config/db_config.yaml"
# (database, user, password), as hostile as PostgreSQL takes them
HOSTILE = [
    ("two\nlines", "it's", 'pass"word\\ with:colon'),
    ("Grüße 🚀", ' spaces "and" quotes ', "'; drop table x; --"),
    ("back\\slash:colon", "$HOME `id`", "a${HOME}#b =c"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[EmbeddedServer]:
    with embedded.start(tmp_path_factory.mktemp("settings") / "pg", tcp=True) as running:
        execute(running, sql.SQL("create database one_vault"))
        for database, user, password in HOSTILE:
            role = sql.SQL("create role {} login password {}").format(sql.Identifier(user), sql.Literal(password))
            execute(running, role)
            execute(running, sql.SQL("create database {}").format(sql.Identifier(database)))
        yield running


def execute(server: EmbeddedServer, statement: sql.Composable) -> None:
    connection = psycopg2.connect(
        host=server.host, port=server.port, user=server.user, dbname=server.database, password=server.password
    )
    connection.autocommit = True
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute(statement)


class Place:
    """A project folder and a home folder, which libpq takes for the user's too."""

    def __init__(self, folder: Path, server: EmbeddedServer, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.server = server
        self.patch = patch
        patch.setenv("HOME", str(folder))
        for name in ("HOST", "PORT", "NAME", "USER", "PASSWORD"):
            patch.delenv(f"DB_{name}", raising=False)

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)

    def ask(self, config: Mapping[str, object] | None = None, **options: str) -> Settings:
        options = {"port": str(self.server.port), **options}
        return resolve(options, directory=self.folder, config=config or {}, config_name=CONFIG)


@pytest.fixture
def place(tmp_path: Path, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, server, monkeypatch)


def connected(settings: Settings) -> tuple[str, str]:
    """The database and the user that a session with these settings has."""
    with contextlib.closing(psycopg2.connect(**settings.arguments())) as connection, connection.cursor() as cursor:
        cursor.execute("select current_database(), current_user")
        row: tuple[str, str] = cursor.fetchone()  # type: ignore[assignment]
    return row


def failure(settings: Settings) -> str:
    """What is told when connecting fails."""
    with pytest.raises(psycopg2.Error) as caught:
        psycopg2.connect(**settings.arguments())
    error = connection_error(settings, caught.value)
    assert isinstance(error, Refused)
    return str(error)


def test_each_source_of_a_password(place: Place) -> None:
    password = place.server.password
    assert "no password supplied" in failure(place.ask())
    with place.patch.context() as patch:
        patch.setenv("DB_PASSWORD", password)
        assert connected(place.ask()) == ("one_vault", "postgres")
    with place.patch.context() as patch:
        patch.setenv("PGPASSWORD", password)
        assert connected(place.ask()) == ("one_vault", "postgres")
    place.write(".env", f"DB_PASSWORD={password}\n")
    assert connected(place.ask()) == ("one_vault", "postgres")
    place.write(".env", "DB_PASSWORD=wrong\n")
    text = failure(place.ask())
    assert 'password authentication failed for user "postgres"' in text and "which came from .env" in text
    place.write(".pgpass", f"localhost:*:*:postgres:{password}\n")
    assert connected(place.ask()) == ("one_vault", "postgres")
    place.write(".pgpass", "")
    place.write(".pg_service.conf", f"[prod]\nhost=localhost\nport={place.server.port}\npassword={password}\n")
    assert connected(place.ask(service="prod")) == ("one_vault", "postgres")


def test_where_to_connect(place: Place) -> None:
    port = str(place.server.port)
    place.patch.setenv("DB_PASSWORD", place.server.password)
    place.patch.setenv("PGHOST", "192.0.2.1")
    place.write(".pg_service.conf", f"[prod]\nhost=127.0.0.1\nport={port}\ndbname=postgres\n")
    place.write(".env", "DB_PORT=1\nDB_NAME=nowhere\n")

    def ask(**options: str) -> Settings:
        return resolve(options, directory=place.folder, config={"port": 1, "dbname": "x"}, config_name=CONFIG)

    assert connected(ask(service="prod")) == ("postgres", "postgres")
    place.patch.setenv("PGSERVICE", "prod")
    assert connected(ask()) == ("postgres", "postgres")
    assert connected(ask(dbname="one_vault")) == ("one_vault", "postgres")
    assert connected(ask(url=f"postgresql://localhost:{port}/one_vault")) == ("one_vault", "postgres")
    place.patch.setenv("DB_NAME", "one_vault")
    place.patch.setenv("PGHOSTADDR", "192.0.2.1")
    assert connected(ask(host="localhost")) == ("one_vault", "postgres")
    place.patch.delenv("PGHOSTADDR")
    psql = [str(place.server.bin / "psql"), "-XAtc", "select current_database()"]
    program = subprocess.run(psql, env=ask().environment(), capture_output=True, text=True)
    assert (program.stdout, program.stderr) == ("one_vault\n", ""), "DB_NAME goes before the service for programs too"


def test_the_config_file_is_asked_last(place: Place) -> None:
    place.patch.setenv("DB_PASSWORD", place.server.password)
    config = {"host": "127.0.0.1", "port": str(place.server.port), "dbname": "postgres", "sslmode": "disable"}
    settings = resolve({}, directory=place.folder, config=config, config_name=CONFIG)
    assert connected(settings) == ("postgres", "postgres")
    place.write(".env", "DB_NAME=one_vault\n")
    settings = resolve({}, directory=place.folder, config=config, config_name=CONFIG)
    assert connected(settings) == ("one_vault", "postgres")


@pytest.mark.parametrize(("database", "user", "password"), HOSTILE, ids=["quotes", "unicode", "shell"])
def test_hostile_names_and_passwords(place: Place, database: str, user: str, password: str) -> None:
    def escaped(text: str) -> str:
        return text.replace("\\", "\\\\").replace(":", "\\:")

    where = {"host": "127.0.0.1", "dbname": database, "user": user}
    with place.patch.context() as patch:
        patch.setenv("DB_PASSWORD", password)
        settings = place.ask(**where)
        assert connected(settings) == (database, user)
        psql = [str(place.server.bin / "psql"), "-XAtc", "select current_database() || current_user"]
        program = subprocess.run(psql, env=settings.environment(), capture_output=True, text=True)
        assert (program.stdout, program.stderr) == (f"{database}{user}\n", "")
        assert connected(settings.on("postgres")) == ("postgres", user)
    place.write(".env", "DB_PASSWORD='" + password.replace("\\", "\\\\").replace("'", "\\'") + "'\n")
    assert connected(place.ask(**where)) == (database, user)
    place.write(".env", "DB_PASSWORD=wrong\n")
    database_field = "*" if "\n" in database else escaped(database)  # a line of .pgpass cannot hold a line's end
    place.write(".pgpass", f"127.0.0.1:*:{database_field}:{escaped(user)}:{escaped(password)}\n")
    assert connected(place.ask(**where)) == (database, user)


@pytest.mark.parametrize(
    ("lines", "mode"),
    [
        ("localhost:*:one_vault:postgres:{0}", 0o600),
        ("LOCALHOST:*:*:*:{0}", 0o600),
        ("*:*:*:*:wrong\n*:*:*:*:{0}", 0o600),
        ("#*:*:*:*:wrong\n*:*:*:*:{0}:rest\r\n", 0o600),
        ("*:*:*:other:wrong\n\\localhost:*:*:*:{0}", 0o600),
        (" localhost:*:*:*:{0}", 0o600),
        ("*:*:*:*:{0}", 0o640),
        ("*:*:*:{0}", 0o600),
    ],
)
def test_a_password_file_is_read_as_libpq_reads_it(place: Place, lines: str, mode: int) -> None:
    """libpq alone, with the same file, connects exactly when the password that we read lets us."""
    place.write(".pgpass", lines.format(place.server.password))
    (place.folder / ".pgpass").chmod(mode)
    settings = place.ask()
    ours = settings.arguments()
    theirs = {keyword: value for keyword, value in ours.items() if keyword != "password"}
    found = ours.get("password")
    assert (found is not None) == ("no password supplied" not in outcome(theirs))
    assert outcome({**theirs, "passfile": "/dev/null", **({"password": found} if found else {})}) == outcome(theirs)
    assert bool(settings.notes) == (mode != 0o600)


def outcome(arguments: Mapping[str, str]) -> str:
    try:
        psycopg2.connect(**arguments).close()
    except psycopg2.OperationalError as error:
        return str(error).partition("failed: ")[2].splitlines()[0]
    return ""


def test_nothing_listens(place: Place) -> None:
    with socket.socket() as probe:  # bound, never listening: nobody else gets this port meanwhile
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
        text = failure(place.ask(port=port, host="127.0.0.1"))
    assert text.startswith('Connection failed: connection to server at "127.0.0.1", port ')
    assert f"\n  port {port} (option --port)\n" in text and "use --embedded" in text
    assert text.endswith(f"test the connection: psql -h 127.0.0.1 -p {port} -U postgres -d one_vault")
    socket_text = failure(place.ask(host=str(place.folder)))
    assert "use --embedded" in socket_text


def test_a_wrong_password_and_a_missing_database(place: Place) -> None:
    place.patch.setenv("DB_PASSWORD", "not the password")
    text = failure(place.ask())
    assert "password authentication failed" in text and "which came from DB_PASSWORD" in text
    assert "not the password" not in text
    place.patch.setenv("DB_PASSWORD", place.server.password)
    text = failure(place.ask(dbname="not there's one"))
    assert 'FATAL:  database "not there\'s one" does not exist' in text
    line = next(line for line in text.splitlines() if "createdb" in line).partition(": ")[2]
    program = str(place.server.bin / "createdb")
    environment = place.ask().environment()
    subprocess.run(["bash", "-c", line.replace("createdb", program, 1)], env=environment, check=True)
    assert connected(place.ask(dbname="not there's one"))[0] == "not there's one"


def test_an_embedded_server_is_reached_whatever_the_environment_says(
    place: Place, tmp_path_factory: pytest.TempPathFactory
) -> None:
    hostile = {
        "PGHOST": "192.0.2.1",
        "PGHOSTADDR": "192.0.2.1",
        "PGSSLMODE": "verify-full",
        "PGCHANNELBINDING": "require",
        "PGREQUIREAUTH": "scram-sha-256",
        "PGREQUIREPEER": "someone",
        "PGSSLNEGOTIATION": "direct",
        "PGTARGETSESSIONATTRS": "standby",
        "PGOPTIONS": "-c nonsense=1",
        "PGPASSWORD": "wrong",
    }
    for name, value in hostile.items():
        place.patch.setenv(name, value)
    with embedded.start(tmp_path_factory.mktemp("embedded") / "pg") as local:
        settings = settings_of(local, "postgres")
        assert connected(settings) == ("postgres", "postgres")
        psql = [str(local.bin / "psql"), "-XAtc", "select 1"]
        program = subprocess.run(psql, env=settings.environment(), capture_output=True, text=True)
        assert (program.stdout, program.stderr) == ("1\n", "")
    assert [line for line in settings.describe() if "option --embedded" not in line] == []
