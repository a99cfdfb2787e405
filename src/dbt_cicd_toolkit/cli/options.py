"""Options that several commands share, each one decorator."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from dbt_cicd_toolkit.errors import InvalidInput

if TYPE_CHECKING:
    from dbt_cicd_toolkit.dbt_runner import Dbt, Envelope

Command = TypeVar("Command", bound=Callable[..., Any])
_CONNECTION = {
    "host": "Host of the server, or the directory of its socket.",
    "port": "Port of the server.",
    "dbname": "Database.",
    "user": "Database user.",
    "sslmode": "libpq's sslmode: require, verify-full …",
    "service": "A service of pg_service.conf.",
    "url": "postgresql://user@host:5432/database, without a password.",
}
_DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)


def option(*names: str, **attributes: Any) -> Callable[[Command], Command]:
    """click.option() for an option that many commands have: they share one, for making it takes time."""
    made = click.Option(names, **attributes)

    def same(*_: object, **__: object) -> click.Option:
        return made

    return click.option(cls=same)  # type: ignore[arg-type]


_JSON = option("--json", "output_format", flag_value="json", help="Short for --output-format json.")
_OUTPUT_FORMAT = option(
    "--output-format",
    type=click.Choice(["text", "json", "markdown"]),
    default="text",
    show_default=True,
    help="Form of the one document on stdout.",
)


class Seconds(click.FloatRange):
    """A number of seconds, 0 or more; of a number that is none, or has no end, nobody could tell when it is over."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Exit with 2 for anything else."""
        try:
            number = float(value)
        except ValueError:
            number = -1
        if not 0 <= number < float("inf"):  # NaN is in no range
            self.fail(f"'{value}' is no number of seconds. Write 0 or more, for example 300.", param, ctx)
        return number


def output_options(command: Command) -> Command:
    """Add ``--output-format text|json|markdown`` and its short form ``--json``; passes ``output_format``."""
    return _OUTPUT_FORMAT(_JSON(command))


class Project(NamedTuple):
    """The dbt project that a command's options name."""

    directory: Path
    profiles_dir: Path | None
    target: str | None
    vars: str | None = None

    def dbt(self, target: str | None = None) -> Dbt:
        """The project with its target, or with another one."""
        from dbt_cicd_toolkit.dbt_runner import Dbt

        return Dbt(self.directory, self.profiles_dir, target or self.target, vars=self._vars())

    def _vars(self) -> dict[str, Any]:
        if not self.vars:
            return {}
        import yaml

        try:
            value = yaml.safe_load(self.vars)
        except yaml.YAMLError as error:
            raise InvalidInput(
                f"--vars is no YAML: {error}. Write a mapping, for example '{{name: value}}'."
            ) from error
        if not isinstance(value, dict):
            raise InvalidInput(f"--vars is '{self.vars}'. Write a mapping, for example '{{name: value}}'.")
        return value

    def call(self, macro: str, arguments: Mapping[str, Any], *, writes: bool = True) -> Envelope:
        """Call a public macro and bring the mirror up to date; see models.ledger.call. Warnings go to stderr."""
        from dbt_cicd_toolkit.models import ledger

        envelope = ledger.call(self.dbt(), macro, arguments, writes=writes)
        for warning in envelope.warnings:
            click.echo(f"warning: {warning}", err=True)
        return envelope


def dbt_options(command: Command) -> Command:
    """Add the options that say which dbt project is meant; passes ``project``."""

    @functools.wraps(command)
    def with_project(
        project_dir: Path, profiles_dir: Path | None, target: str | None, vars: str | None, **others: Any
    ) -> Any:
        return command(project=Project(project_dir, profiles_dir, target, vars), **others)

    wrapped: Any = click.option("--vars", help="dbt variables, a YAML mapping.")(with_project)
    wrapped = click.option("--target", help="Target of the dbt profile (an output of profiles.yml).")(wrapped)
    wrapped = click.option("--profiles-dir", type=_DIRECTORY, help="Directory of profiles.yml.")(wrapped)
    wrapped = click.option(
        "--project-dir",
        "--dbt-project-dir",
        "project_dir",
        type=_DIRECTORY,
        default=".",
        show_default=True,
        help="Directory of dbt_project.yml.",
    )(wrapped)
    result: Command = wrapped
    return result


def repository_option(command: Command) -> Command:
    """Add the ``--project-dir`` of commands on jobs; passes it as ``directory``."""
    return click.option(
        "--project-dir",
        "directory",
        type=_DIRECTORY,
        default=".",
        show_default=True,
        help="Directory in the repository, whose jobs.toml is looked for from here upwards.",
    )(command)


class Ledger(NamedTuple):
    """The dbt project whose ledger a command on jobs means."""

    directory: Path | None
    profiles_dir: Path | None
    target: str | None
    vars: str | None

    def find(self, root: Path) -> Dbt | None:
        """That of the options, else the one of the repository; None when there is not exactly one."""
        from dbt_cicd_toolkit.jobs.deploy import dbt_project

        directory = self.directory or dbt_project(root)
        return Project(directory, self.profiles_dir, self.target, self.vars).dbt() if directory else None

    def dbt(self, root: Path) -> Dbt:
        """The same. Raises InvalidInput when there is none."""
        if found := self.find(root):
            return found
        raise InvalidInput(
            "which dbt project's ledger is meant cannot be told: neither the top of the repository nor exactly one of "
            "its folders has a dbt_project.yml. Name its directory with --dbt-project-dir."
        )


def ledger_options(command: Command) -> Command:
    """Add the options that say in which dbt project's ledger jobs are recorded; passes ``ledger``."""

    @functools.wraps(command)
    def with_ledger(
        dbt_project_dir: Path | None, profiles_dir: Path | None, target: str | None, vars: str | None, **others: Any
    ) -> Any:
        return command(ledger=Ledger(dbt_project_dir, profiles_dir, target, vars), **others)

    wrapped: Any = click.option("--vars", help="dbt variables, a YAML mapping.")(with_ledger)
    wrapped = click.option("--target", help="Target of the dbt profile (an output of profiles.yml).")(wrapped)
    wrapped = click.option("--profiles-dir", type=_DIRECTORY, help="Directory of profiles.yml.")(wrapped)
    result: Command = click.option(
        "--dbt-project-dir",
        type=_DIRECTORY,
        help="Directory of dbt_project.yml; by default the repository's, or its one folder that has one.",
    )(wrapped)
    return result


def show(value: Mapping[str, Any], text: str, output_format: str) -> None:
    """Print a command's one document: ``value`` as JSON, with ``success``, else ``text``."""
    from dbt_cicd_toolkit import report

    click.echo(report.document({"success": True, **value}) if output_format == "json" else text)


class Connection(NamedTuple):
    """The database that a command's options name: by libpq's keyword, and ``url``; None where not given."""

    options: Mapping[str, str | None]
    role: str | None
    embedded: bool


_CONNECTION_OPTIONS = [
    option("--role", help="Run everything as this role (SET ROLE)."),
    option("--embedded", is_flag=True, help="Use a PostgreSQL of the project's own, below .local/."),
    *(option(f"--{name}", help=text) for name, text in _CONNECTION.items()),
]


def connection_options(command: Command) -> Command:
    """Add the options that say which database is meant, and as whom; passes ``connection``. What the server says to a
    question of ours is an error for people."""

    @functools.wraps(command)
    def with_connection(role: str | None, embedded: bool, **others: Any) -> Any:
        options = {name: others.pop(name) for name in _CONNECTION}
        with server_errors():
            return command(connection=Connection(options, role, embedded), **others)

    wrapped: Any = with_connection
    for add in reversed(_CONNECTION_OPTIONS):
        wrapped = add(wrapped)
    result: Command = wrapped
    return result


@contextmanager
def server_errors() -> Generator[None]:
    """Raise what the server says to a question of ours as an error for people too."""
    import psycopg2

    from dbt_cicd_toolkit.postgres.session import ServerError

    try:
        yield
    except psycopg2.Error as error:
        raise ServerError(error) from error
