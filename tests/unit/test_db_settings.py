"""Where settings come from and what wins; libpq's files; the config file; no password is ever shown."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

import psycopg2
import pytest

from dbt_cicd_toolkit import config
from dbt_cicd_toolkit.config import Config, Lint
from dbt_cicd_toolkit.errors import InvalidInput, Refused
from dbt_cicd_toolkit.postgres import libpq
from dbt_cicd_toolkit.postgres.settings import Setting, Settings, connection_error, parse_url, resolve

NAME = "database/config/db_config.yaml"
SECRET = "s3cr3t-Pass'wörd"


class Place:
    """A project folder and a home folder; ask() resolves with an environment of its own."""

    def __init__(self, folder: Path) -> None:
        self.project = folder / "project"
        self.home = folder / "home"
        for path in (self.project, self.home):
            path.mkdir()

    def write(self, name: str, text: str, mode: int = 0o600) -> Path:
        path = (self.home if name.startswith(".pg") else self.project) / name
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        return path

    def ask(
        self,
        options: Mapping[str, str | None] | None = None,
        environ: Mapping[str, str] | None = None,
        config: Mapping[str, object] | None = None,
    ) -> Settings:
        return resolve(
            options or {},
            directory=self.project,
            config=config or {},
            config_name=NAME,
            environ={"HOME": str(self.home), **(environ or {})},
        )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def told(settings: Settings, keyword: str) -> tuple[str, str]:
    setting = settings.values[keyword]
    return setting.value, setting.source


def test_the_defaults(place: Place) -> None:
    settings = place.ask()
    assert settings.describe() == [
        "host localhost (default)",
        "port 5432 (default)",
        "dbname one_vault (default)",
        "user postgres (default)",
        "password none",
    ]
    assert settings.arguments() == {
        "host": "localhost",
        "hostaddr": "",
        "port": "5432",
        "dbname": "one_vault",
        "user": "postgres",
    }


def test_each_source_gives_way_to_the_one_before_it(place: Place) -> None:
    service = place.write(".pg_service.conf", "[prod]\nhost=of-service\n")
    place.write(".env", "DB_HOST=of-env-file\nPGHOST=of-env-file-pg\n")
    options: dict[str, str | None] = {"host": "of-option", "url": "postgresql://of-url/x", "service": "prod"}
    environ = {"DB_HOST": "of-db", "PGSERVICE": "prod", "PGHOST": "of-pg"}
    written: dict[str, object] = {"host": "of-config", "port": 6543}
    in_file = f"service prod in ~/{service.name}"
    order = [
        (("of-option", "option --host"), lambda: options.pop("host")),
        (("of-url", "option --url"), lambda: options.pop("url")),
        (("of-service", in_file), lambda: options.pop("service")),
        (("of-db", "DB_HOST"), lambda: environ.pop("DB_HOST")),
        (("of-service", in_file), lambda: environ.pop("PGSERVICE")),
        (("of-pg", "PGHOST"), lambda: environ.pop("PGHOST")),
        (("of-env-file", ".env"), lambda: place.write(".env", "PGHOST=of-env-file-pg\n")),
        (("of-env-file-pg", ".env"), lambda: place.write(".env", "")),
        (("of-config", NAME), lambda: written.pop("host")),
        (("localhost", "default"), lambda: None),
    ]
    for expected, remove in order:
        settings = place.ask(options, environ, written)
        assert told(settings, "host") == expected
        assert told(settings, "port") == ("6543", NAME)
        remove()


def test_the_password_file_stands_between_the_environment_and_env(place: Place) -> None:
    place.write(".env", "DB_PASSWORD=of-env-file\n")
    place.write(".pgpass", "localhost:5432:one_vault:postgres:of-pgpass\n")
    environ = {"DB_PASSWORD": "of-db", "PGPASSWORD": "of-pg"}
    for expected in [("of-db", "DB_PASSWORD"), ("of-pg", "PGPASSWORD"), ("of-pgpass", "~/.pgpass")]:
        assert told(place.ask(environ=environ), "password") == expected
        environ.pop(expected[1], None)
    assert told(place.ask({"dbname": "other"}), "password") == ("of-env-file", ".env")
    place.write(".pgpass-2", "*:*:*:*:of-passfile\n")
    passfile = str(place.home / ".pgpass-2")
    assert told(place.ask(environ={"PGPASSFILE": passfile}), "password") == ("of-passfile", "~/.pgpass-2")
    assert told(place.ask(config={"passfile": passfile}), "password") == ("of-passfile", "~/.pgpass-2")
    place.write(".pg_service.conf", "[prod]\npassword=of-service\n")
    assert told(place.ask(environ={"PGSERVICE": "prod"}), "password")[0] == "of-service"


def test_a_password_file_that_others_may_read_is_ignored_and_told(place: Place) -> None:
    place.write(".pgpass", "*:*:*:*:of-pgpass\n", mode=0o640)
    place.write(".env", "DB_PASSWORD=of-env-file\n")
    settings = place.ask()
    assert told(settings, "password") == ("of-env-file", ".env")
    assert settings.describe()[-1] == "password file ~/.pgpass is ignored: others may read it; use chmod 600"
    (place.home / ".pgpass").unlink()
    (place.home / ".pgpass").mkdir()
    assert place.ask().notes == ("password file ~/.pgpass is ignored: it is no plain file",)


@pytest.mark.parametrize(
    ("line", "password"),
    [
        ("h:1:d:u:p", "p"),
        ("*:*:*:*:p", "p"),
        ("*:1:*:u:p\r", "p"),
        ("x:1:d:u:p\n\n#h:1:d:u:comment\nh:1:d:u:second\nh:1:d:u:third", "second"),
        (r"h:1:d:u:with\:colon and \\backslash", r"with:colon and \backslash"),
        (r"h:1:d:u:a\bc", "abc"),
        ("h:1:d:u:end\\", "end\\"),
        ("h:1:d:u:p:rest", "p"),
        (r"\h:1:d:u:p", "p"),
        ("hh:1:d:u:p", None),
        ("h:1:d:u", None),
        ("h*:1:d:u:p", None),
        (" h:1:d:u:p", None),
        ("h:1:d:u:", ""),
        ("", None),
    ],
)
def test_the_lines_of_a_password_file(place: Place, line: str, password: str | None) -> None:
    path = place.write(".pgpass", line)
    assert libpq.password_from_file(path, "h", "1", "d", "u") == password


@pytest.mark.parametrize("host", ["", "/tmp", "/var/run/postgresql", "localhost"])
def test_the_usual_socket_is_localhost_in_a_password_file(place: Place, host: str) -> None:
    path = place.write(".pgpass", "localhost:5432:*:a\\:b\\\\c:p")
    assert libpq.password_from_file(path, host, "", "d", r"a:b\c") == "p"
    assert libpq.password_from_file(path, "/other", "", "d", r"a:b\c") is None


def test_a_service_file(place: Place) -> None:
    text = "# services\n[prod2]\nhost=no\n\n  [prod]  \n host=db.example \n# port=1\nport=6000\nport=7000\n"
    place.write(".pg_service.conf", text + "sslmode=verify-full\nsomething_new=x\nuser=\n[prod]\nhost=later\n")
    settings = place.ask(environ={"PGSERVICE": "prod", "PGPORT": "1"}, config={"sslmode": "disable"})
    source = "service prod in ~/.pg_service.conf"
    assert told(settings, "host") == ("db.example", source)
    assert told(settings, "port") == ("6000", source)
    assert told(settings, "sslmode") == ("verify-full", source)
    assert told(settings, "user") == ("", source), "libpq takes an empty one for the operating system's user"
    assert settings.arguments()["service"] == "prod"
    assert "PGSERVICE" not in settings.environment()
    assert told(place.ask(config={"service": "prod", "port": 8}), "port") == ("8", NAME)
    assert told(place.ask(config={"service": "prod"}), "port") == ("6000", source)


def test_where_services_are_looked_for(place: Place) -> None:
    system = place.project / "etc"
    system.mkdir()
    (system / "pg_service.conf").write_text("[shared]\nhost=of-system\n")
    named = place.write("named.conf", "[named]\nhost=of-named\n")
    where = {"PGSYSCONFDIR": str(system), "PGSERVICEFILE": str(named)}
    assert told(place.ask({"service": "named"}, where), "host")[0] == "of-named"
    assert told(place.ask({"service": "shared"}, where), "host")[0] == "of-system"
    with pytest.raises(
        InvalidInput, match=r"service 'x' is defined neither in .*named\.conf nor in .*pg_service\.conf"
    ):
        place.ask({"service": "x"}, where)
    with pytest.raises(InvalidInput, match=r"PGSERVICEFILE names '.*gone', which does not exist"):
        place.ask({"service": "x"}, {"PGSERVICEFILE": str(place.project / "gone")})


@pytest.mark.parametrize("line", ["nonsense", "service=other", "ldap://host/dc=x?a?sub?(cn=y)"])
def test_a_malformed_service_names_its_line(place: Place, line: str) -> None:
    place.write(".pg_service.conf", f"[prod]\nhost=h\n{line}\n")
    with pytest.raises(InvalidInput, match=r"pg_service\.conf:3: "):
        place.ask({"service": "prod"})


def test_tls_and_other_settings_come_from_everywhere(place: Place) -> None:
    environ = {"PGSSLMODE": "require", "PGTARGETSESSIONATTRS": "read-write", "PGCONNECT_TIMEOUT": "3"}
    settings = place.ask({"sslrootcert": "root.pem", "sslmode": "verify-full"}, environ, {"channel_binding": "require"})
    assert told(settings, "sslmode") == ("verify-full", "option --sslmode")
    assert told(settings, "target_session_attrs") == ("read-write", "PGTARGETSESSIONATTRS")
    assert told(settings, "channel_binding") == ("require", NAME)
    assert {line.split()[0] for line in settings.describe()} > {"sslmode", "sslrootcert", "connect_timeout"}
    assert told(place.ask(environ=environ), "sslmode") == ("require", "PGSSLMODE")
    environment = settings.environment()
    assert environment["PGSSLMODE"] == "verify-full" and environment["PGSSLROOTCERT"] == "root.pem"


def test_an_address_does_not_go_past_a_stronger_host(place: Place) -> None:
    environ = {"PGHOSTADDR": "192.0.2.1"}
    assert place.ask({"host": "h"}, environ).arguments()["hostaddr"] == ""
    both = place.ask(environ={**environ, "PGHOST": "h"}).arguments()
    assert (both["host"], both["hostaddr"]) == ("h", "192.0.2.1")
    alone = place.ask(environ=environ).arguments()
    assert alone["hostaddr"] == "192.0.2.1" and "host" not in alone


def test_the_environment_of_programs(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PGSERVICE": "x", "PGHOSTADDR": "192.0.2.1", "PGSSLMODE": "require", "KEPT": "1"}.items():
        monkeypatch.setenv(name, value)
    environment = place.ask(environ={"DB_PASSWORD": SECRET}).on("other").environment()
    assert environment["PGPASSWORD"] == SECRET and environment["PGDATABASE"] == "other" and environment["KEPT"] == "1"
    assert not environment.keys() & {"PGSERVICE", "PGHOSTADDR", "PGSSLMODE", "DB_PASSWORD"}


def test_env_is_taken_as_it_is_written(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DB_PASSWORD", raising=False)
    place.write(".env", "\ufeff# local\nexport DB_USER=me\nDB_PASSWORD='a${HOME}$b#c \\'d'\nDB_PORT=\nDB_HOST\n")
    settings = place.ask()
    assert settings.arguments()["password"] == "a${HOME}$b#c 'd"
    assert told(settings, "user") == ("me", ".env")
    assert told(settings, "port") == ("5432", "default")
    assert "DB_PASSWORD" not in os.environ
    (place.project / ".env").write_bytes(b"DB_PASSWORD=\xff\n")
    with pytest.raises(InvalidInput, match=r"\.env is not UTF-8 at byte 12"):
        place.ask()


@pytest.mark.parametrize(
    "value", ["two\nlines", "it's", '"quoted" \\ back', " spaces ", "Grüße 🚀", "$(x) ;`y`", "a=b"]
)
def test_hostile_values_arrive_unharmed(place: Place, value: str) -> None:
    for settings in (place.ask({"dbname": value}), place.ask(environ={"DB_NAME": value}), place.ask().on(value)):
        dsn = psycopg2.extensions.make_dsn(**settings.arguments())
        assert psycopg2.extensions.parse_dsn(dsn)["dbname"] == value
        assert settings.environment()["PGDATABASE"] == value
        assert all("\n" not in line for line in settings.describe())
    message = str(connection_error(place.ask({"dbname": value}), psycopg2.OperationalError("Connection refused")))
    command = message.splitlines()[-1].partition(": ")[2]
    assert command.startswith("psql -h localhost -p 5432 -U postgres -d ")
    if "\n" not in value:
        assert shlex.split(command)[-1] == value


@pytest.mark.parametrize(
    ("options", "environ", "part"),
    [
        ({"port": "five"}, {}, "port five (option --port) is no port: write a number from 1 to 65535"),
        ({}, {"DB_PORT": "65536"}, "port 65536 (DB_PORT) is no port"),
        ({}, {"PGPORT": "5432x"}, "port 5432x (PGPORT) is no port"),
        ({"sslmode": "on"}, {}, "sslmode on (option --sslmode) is not known. Allowed: disable, allow, prefer"),
        ({"host": "a\0b"}, {}, "host 'a\\x00b' (option --host) holds bytes that are not UTF-8, or a NUL"),
        ({}, {"DB_USER": "a\udcff"}, "user 'a\\udcff' (DB_USER) holds bytes that are not UTF-8"),
        ({"password": SECRET}, {}, "option --password is refused"),
        ({}, {"DB_PASSWORD": f"{SECRET}\udcff"}, "password (DB_PASSWORD) holds bytes that are not UTF-8"),
        ({}, {"DB_HOST": f"postgresql://u:{SECRET}@h/d"}, "host (DB_HOST) holds a connection string"),
        ({"dbname": f"host=h password={SECRET}"}, {}, "dbname (option --dbname) holds a connection string"),
    ],
)
def test_what_is_refused(place: Place, options: dict[str, str | None], environ: dict[str, str], part: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        place.ask(options, environ)
    assert part in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_password_in_the_config_is_refused(place: Place) -> None:
    with pytest.raises(InvalidInput, match=r"db_config\.yaml holds a password, which is refused there: put it into"):
        place.ask(config={"password": SECRET})


def test_a_url(place: Place) -> None:
    settings = place.ask({"url": "postgresql://me@db.example:6000/shop?sslmode=require", "port": "7000"})
    assert [line.split(" (")[0] for line in settings.describe()] == [
        "host db.example",
        "port 7000",
        "dbname shop",
        "user me",
        "password none",
        "sslmode require",
    ]
    assert parse_url("host=/tmp dbname='a b'", "option --url") == {"host": "/tmp", "dbname": "a b"}
    assert parse_url("postgresql://%2Ftmp/d%40b", "option --url") == {"host": "/tmp", "dbname": "d@b"}


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:{SECRET}@h/d",
        f"postgresql://u:{SECRET}/x@h/d",
        f"postgresql://u:x?{SECRET}@h/d",
        f"postgresql://h/d?password={SECRET}",
        f"postgresql://h/d?p%61ssword={SECRET}",
        f"postgresql://h/d?sslpassword={SECRET}",
        f"host=h password = {SECRET}",
        f"postgresql://h/d?{SECRET}=1",
        f"{SECRET}",
    ],
)
def test_a_url_with_a_password_or_a_fault_is_refused_and_not_repeated(place: Place, url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        place.ask({"url": url})
    assert SECRET not in str(caught.value) and str(caught.value).startswith("option --url ")
    assert caught.value.__cause__ is None


def test_the_password_is_never_shown(place: Place) -> None:
    place.write(".env", f'DB_PASSWORD="{SECRET}"\n')
    settings = place.ask()
    assert settings.arguments()["password"] == SECRET
    error = connection_error(settings, psycopg2.OperationalError(f'server says "{SECRET}"'))
    for text in (repr(settings), repr(settings.values), str(settings), *settings.describe(), str(error)):
        assert SECRET not in text
    assert "password from .env" in settings.describe()
    assert 'Connection failed: server says "****"' in str(error)


@pytest.mark.parametrize(
    ("message", "advice"),
    [
        ("port 5432 failed: Connection refused", "use --embedded"),
        ('could not translate host name "h" to address', "mend host"),
        ('FATAL:  database "one_vault" does not exist', "createdb -h localhost -p 5432 -U postgres one_vault"),
        ("fe_sendauth: no password supplied", "export DB_PASSWORD="),
        ("something else", "echo ${DB_PASSWORD:+set}"),
    ],
)
def test_a_failed_connection_tells_what_to_try(place: Place, message: str, advice: str) -> None:
    error = connection_error(place.ask(), psycopg2.OperationalError(f"{message}\n"))
    assert isinstance(error, Refused) and error.exit_code == 1
    text = str(error)
    assert text.startswith(f"Connection failed: {message}\nSettings:\n  host localhost (default)\n")
    assert advice in text
    assert text.endswith("test the connection: psql -h localhost -p 5432 -U postgres -d one_vault")


def test_a_wrong_password_names_its_source_and_tls_is_in_the_command(place: Place) -> None:
    environ = {"DB_PASSWORD": "postgres", "PGSSLMODE": "verify-full"}
    error = psycopg2.OperationalError('FATAL:  password authentication failed for user "postgres"')
    text = str(connection_error(place.ask(environ=environ), error))
    assert 'failed for user "postgres"' in text, "a password that equals the user is not marked"
    assert "check the user and the password, which came from DB_PASSWORD" in text
    assert text.endswith(": PGSSLMODE=verify-full psql -h localhost -p 5432 -U postgres -d one_vault")


def test_a_setting_shows_its_value_only_when_it_is_no_secret() -> None:
    assert repr(Setting("h", "default")) == "Setting('h', 'default')"
    assert repr(Setting("h", "default", secret=True)) == "Setting(…, 'default')"


# The config file


def load(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "db_config.yaml"
    path.write_text(text, encoding="utf-8")
    return config.load(path, NAME)


def test_a_config_file(tmp_path: Path) -> None:
    assert config.load(tmp_path / "none", NAME) == Config()
    assert load(tmp_path, "\ufeff# only\n\n  # comments\n") == Config()
    assert load(tmp_path, "role:\nlint:\nconnection: ~\n") == Config()
    assert load(tmp_path, "---\n") == Config()
    assert Config().lock_timeout == 2 and Config().wait == 300 and Config().schemas is None
    found = load(
        tmp_path,
        "connection: {host: db.example, port: 6000, user: no, dbname: 1.10}\nrole: migrator\nembedded: yes\n"
        "schemas: [auth, business, auth]\nhistory_schema: ledger\nhistory_table: done\n"
        "lock_timeout: 500ms\nwait: 5min\n"
        "scratch_url: postgresql://h/x\n"
        "lint:\n  exclude: [prefer-text-field]\n  data_vault: true\n  exempt: [util.*, ref.x]\n",
    )
    assert found == Config(
        connection={"host": "db.example", "port": "6000", "user": "no", "dbname": "1.10"},
        role="migrator",
        embedded=True,
        schemas=("auth", "business"),
        history_schema="ledger",
        history_table="done",
        lock_timeout=0.5,
        wait=300,
        scratch_url="postgresql://h/x",
        lint=Lint(exclude=("prefer-text-field",), data_vault=True, exempt=("util.*", "ref.x")),
    )


@pytest.mark.parametrize(
    ("text", "value"), [("2", 2), ("2.5", 2.5), ("2s", 2), ("500ms", 0.5), ("5 min", 300), ("1h", 3600), ("0", 0)]
)
def test_durations(tmp_path: Path, text: str, value: float) -> None:
    assert load(tmp_path, f"wait: {text}").wait == value
    assert load(tmp_path, f"wait: '{text}'").wait == value


def test_the_longest_that_are_allowed(tmp_path: Path) -> None:
    assert load(tmp_path, "lock_timeout: 2147483647ms").lock_timeout == 2147483.647
    assert load(tmp_path, "lock_timeout: 1ms").lock_timeout == 0.001
    assert load(tmp_path, f"history_table: {'x' * 57}").history_table == "x" * 57


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("role: x\nhots: y\n", ":2: unknown key 'hots'. Allowed: connection, role, embedded, schemas, "),
        ("connection:\n  hots: y\n", ":2: unknown key 'connection.hots'. Allowed: host, hostaddr, port, "),
        ("lint:\n  rules: [x]\n", ":2: unknown key 'lint.rules'. Allowed: exclude, data_vault, exempt."),
        ("role: x\nrole: y\n", ":2: the key 'role' stands here for the second time."),
        ("embedded: 'true'\n", ":1: embedded is 'true'. Allowed: true, false."),
        ("schemas: auth\n", ":1: schemas is 'auth'. Allowed: a list, such as [auth, business]."),
        ("schemas: []\n", ":1: schemas is a list or a mapping. Allowed: a list of one schema or more"),
        ("schemas:\n- auth\n- [x]\n", ":3: schemas is a list or a mapping. Allowed: a text."),
        ("wait: soon\n", ":1: wait is 'soon'. Allowed: a number of seconds, or one with its unit: 500ms, 2s, 5min"),
        ("wait: -1\n", ":1: wait is '-1'. Allowed: "),
        ("wait: .inf\n", ":1: wait is '.inf'. Allowed: "),
        ("wait: 5:00\n", ":1: wait is '5:00'. Allowed: "),
        ("wait: true\n", ":1: wait is 'true'. Allowed: "),
        ("\nlock_timeout: 0\n", ":2: lock_timeout is '0'. Allowed: 1ms to 2147483647ms (24 days)."),
        ("lock_timeout: 1000h\n", ":1: lock_timeout is '1000h'. Allowed: 1ms to 2147483647ms (24 days)."),
        ("lock_timeout: 2147483648ms\n", "Allowed: 1ms to 2147483647ms"),
        ("lock_timeout: 0.9ms\n", "Allowed: 1ms to 2147483647ms"),
        (f"wait: {'9' * 400}\n", "Allowed: a number of seconds"),
        ("wait: nan\n", ":1: wait is 'nan'. Allowed: "),
        ("history_schema: pg_x\n", ":1: history_schema is 'pg_x'. Allowed: a schema that is not the server's own."),
        (f"history_table: {'x' * 64}\n", "Allowed: a name of at most 63 bytes."),
        (f"history_table: {'ä' * 29}\n", "Allowed: a name of at most 57 bytes; its index has 6 more."),
        ("history_table: dbt_cicd_migration_log\n", "Allowed: another name: the log beside the history is "),
        ("connection: localhost\n", ":1: connection is 'localhost'. Allowed: keys with values"),
        ("- a\n", ":1: the file is a list or a mapping. Allowed: keys with values"),
        ("a: [\n", ":2: no YAML: "),
        ("a: b\n---\nc: d\n", ":2: no YAML: "),
        ("role: !!python/object:os.system x\n\tx", ": no YAML: "),
        ("role: \x07\n", ": no YAML: "),
        ("? [a]\n: b\n", ":1: unknown key '?'."),
    ],
)
def test_what_a_config_file_may_not_say(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        load(tmp_path, text)
    assert str(caught.value).startswith(NAME) and message in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        f"connection:\n  password: {SECRET}\n",
        f"\nPASSWORD: {SECRET}\n",
        f"unknown:\n- db_passwd: {SECRET}\n",
        f"\nscratch_url: postgresql://u:{SECRET}@h/d\n",
        f"\nscratch_url: host=h password={SECRET}\n",
        f"\nconnection: postgresql://u:{SECRET}@h/d\n",
        f"\nconnection: {{host: 'postgresql://u:{SECRET.replace(chr(39), '')}@h/d'}}\n",
        f"\nwait: postgresql://u:{SECRET}@h/d\n",
    ],
)
def test_a_password_is_refused_wherever_it_stands(tmp_path: Path, text: str) -> None:
    with pytest.raises(
        InvalidInput, match=r"db_config\.yaml:2: .* is refused in a file that is committed: put"
    ) as caught:
        load(tmp_path, text)
    assert "s3cr3t" not in str(caught.value) and ".pgpass or the variable DB_PASSWORD" in str(caught.value)


def test_a_config_file_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "db_config.yaml"
    path.write_bytes(b"role: \xe4\n")
    with pytest.raises(InvalidInput, match="is not UTF-8 at byte 6: save it as UTF-8"):
        config.load(path, NAME)
    with pytest.raises(InvalidInput, match="cannot be read: Is a directory"):
        config.load(tmp_path, NAME)
    (tmp_path / "loop.yaml").write_text("lint: &a\n  lint: *a\n")
    with pytest.raises(InvalidInput, match=r"unknown key 'lint\.lint'"):
        config.load(tmp_path / "loop.yaml", NAME)
