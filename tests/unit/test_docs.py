"""What the documents say is what the code has: macros, commands, variables, tables, version numbers, links."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

import dbt_cicd_toolkit
from dbt_cicd_toolkit.cli.main import cli

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = {file: file.read_text(encoding="utf-8") for file in sorted((ROOT / "docs").rglob("*.md"))}
PAGES = [*sorted(ROOT.glob("*.md")), *DOCS, ROOT / "integration_tests/README.md"]
MACROS = {file.stem: file for file in sorted((ROOT / "macros").rglob("[!_]*.sql"))}
YAML = {entry["name"]: entry for entry in yaml.safe_load((ROOT / "macros/_macros.yml").read_text())["macros"]}
# Options that every command on a project, a database or with an output has; the README says so once, above its table.
SHARED = {"--project-dir", "--profiles-dir", "--target", "--vars", "--output-format", "--json", "--help"}
SHARED |= {"--dir", "--host", "--port", "--dbname", "--user", "--sslmode", "--service", "--url", "--role", "--embedded"}


def arguments(macro: str) -> dict[str, str | None]:
    """The arguments of a public macro with their defaults, as its header has them; None for a required one."""
    header = re.search(rf"{{% macro {macro}\((.*?)\) %}}", MACROS[macro].read_text(encoding="utf-8"))
    assert header, f"{MACROS[macro]} does not define the macro {macro}"
    pairs = [part.partition("=") for part in header[1].split(", ")]
    return {name: default if equals else None for name, equals, default in pairs}


def section(text: str, heading: str) -> str:
    """The text below a heading, up to the next one of its level or above; '' when there is none."""
    level = heading.split(" ")[0]
    found = re.search(rf"^{re.escape(heading)}(?: .*)?\n(.*?)(?=^#{{1,{len(level)}}} |\Z)", text, re.S | re.M)
    return found[1] if found else ""


def commands(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command of a click tree, groups too."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child, name
            yield from commands(child, (*path, name))


COMMANDS = dict(commands(cli, ("dbt-cicd",)))
LEAVES = {path: command for path, command in COMMANDS.items() if not isinstance(command, click.Group)}


def options(path: tuple[str, ...]) -> set[str]:
    """The long options of a command, by all their names."""
    names = {name for parameter in LEAVES[path].params for name in (*parameter.opts, *parameter.secondary_opts)}
    return {name for name in names if name.startswith("--")}


def own_options(path: tuple[str, ...]) -> set[str]:
    """Those that are not SHARED, and not those of every command of its group."""
    group = [options(other) for other in LEAVES if other[:-1] == path[:-1]] if len(path) > 2 else []
    return options(path) - SHARED - (set.intersection(*group) if group else set())


def test_macros_yml_has_every_public_macro_and_no_other() -> None:
    assert sorted(YAML) == sorted(MACROS)


@pytest.mark.parametrize("macro", MACROS)
def test_macros_yml_describes_the_macro(macro: str) -> None:
    entry = YAML[macro]
    assert [argument["name"] for argument in entry["arguments"]] == list(arguments(macro))
    assert f"dbt run-operation {macro}" in entry["description"], "it has no example"
    # What dbt's validate_macro_args takes; `boolean` is not among it.
    scalar = "(string|bool|integer|float)"
    known = rf"{scalar}|list\[{scalar}\]|dict\[{scalar}, {scalar}\]"
    for argument in entry["arguments"]:
        assert argument["description"], argument["name"]
        assert re.fullmatch(rf"{known}|optional\[({known})\]", argument["type"])


@pytest.mark.parametrize("macro", MACROS)
def test_the_readme_has_the_macro_with_its_arguments(macro: str) -> None:
    source = MACROS[macro].relative_to(ROOT).as_posix()
    text = section(README, f"### {macro} ([source]({source}))")
    documented = re.findall(r"^- `(\w+)` \((?:(required)|optional, default=`(.*?)`)\): ", text, re.M)
    assert {name: None if required else default for name, required, default in documented} == arguments(macro)
    assert [name for name, _, _ in documented] == list(arguments(macro))
    assert f"dbt run-operation {macro}" in text


@pytest.mark.parametrize("macro", MACROS)
def test_the_docs_have_the_macro(macro: str) -> None:
    assert any(macro in text for text in DOCS.values())
    for text in filter(None, (section(text, f"### `{macro}`") for text in DOCS.values())):
        for name in arguments(macro):
            assert f"`{name}`" in text, f"{macro}: {name}"


@pytest.mark.parametrize("macro", MACROS)
def test_the_macro_refuses_unknown_arguments_and_can_be_called_by_the_program(macro: str) -> None:
    # dbt v2 ignores an unknown argument unless the macro mentions kwargs.
    assert "kwargs" in MACROS[macro].read_text(encoding="utf-8")
    operation = (ROOT / "macros/internal/_operation.sql").read_text(encoding="utf-8")
    assert f"'{macro}': dbt_cicd_toolkit.{macro}," in operation


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_the_command_has_help(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_the_readme_has_the_command_with_its_own_options(path: tuple[str, ...]) -> None:
    parameters = LEAVES[path].params
    words = [
        parameter.make_metavar(click.Context(LEAVES[path]))
        for parameter in parameters
        if isinstance(parameter, click.Argument)
    ]
    usage = " ".join([*path, *words]).replace("|", r"\|")
    row = re.search(rf"^\| `{re.escape(usage)}` \|.*$", README, re.M)
    assert row, f"no row for `{usage}`"
    # Of the names of one option the first long one is the one to use.
    first = {next(name for name in p.opts if name.startswith("--")) for p in parameters if isinstance(p, click.Option)}
    assert set(re.findall(r"`(--[a-z-]+)`", row[0])) == own_options(path) & first


def test_the_readme_has_no_command_that_does_not_exist() -> None:
    for words in re.findall(r"^\| `dbt-cicd ([a-z -]+)", README, re.M):
        path = ("dbt-cicd", *words.split())
        assert path in LEAVES, path


@pytest.mark.parametrize("path", [path for path in LEAVES if path[1] in ("db", "schema", "job")], ids=" ".join)
def test_the_reference_has_the_command_with_its_own_options(path: tuple[str, ...]) -> None:
    reference = DOCS[ROOT / "docs" / ("jobs" if path[1] == "job" else path[1]) / "commands.md"]
    text = section(reference, f"## {' '.join(path[2:]).removesuffix(' make')}")
    assert own_options(path) <= set(re.findall(r"--[a-z-]+", text))
    assert set(re.findall(r"^- `(--[a-z-]+)`", text, re.M)) <= options(path)
    assert options(path) <= set(re.findall(r"--[a-z-]+", reference))


def test_one_version_number() -> None:
    version = (ROOT / "VERSION").read_text().strip()
    project = yaml.safe_load((ROOT / "dbt_project.yml").read_text())
    macro = (ROOT / "macros/internal/_package_version.sql").read_text()
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert project["version"] == version
    assert f"return('{version}')" in macro
    assert re.findall(r"^## \[?(\d+\.\d+\.\d+[^\] ]*)", changes, re.M)[0] == version
    assert dbt_cicd_toolkit.__version__ == version
    for page in [ROOT / "README.md", *(ROOT / "docs/workflows").iterdir()]:
        assert set(re.findall(r"(?:revision|ref): v(\S+)", page.read_text(encoding="utf-8"))) == {version}, page


def test_the_readme_has_every_variable_with_its_default() -> None:
    config = (ROOT / "macros/internal/_config.sql").read_text(encoding="utf-8")
    defaults = re.search(r"set defaults = \{(.*?)\n    \}", config, re.S)
    assert defaults
    wanted = {}
    for name, value in re.findall(r"^ +'(\w+)': (.*),$", defaults[1], re.M):
        wanted[f"dbt_cicd_toolkit_{name}"] = "none" if value == "none" else f"`{value.strip(chr(39))}`"
    rows = re.findall(r"^\| `(dbt_cicd_toolkit_\w+)` \| (.*?) \|", section(README, "## Variables"), re.M)
    assert dict(rows) == wanted


def test_the_ledger_reference_has_every_table_with_its_columns_and_indexes() -> None:
    reference = DOCS[ROOT / "docs/reference/ledger.md"]
    code = (ROOT / "macros/ledger/_tables.sql").read_text(encoding="utf-8")
    shared = section(reference, "## In every table but `dbt_cicd_ledger`")
    tables = 0
    for table, text in re.findall(r"'(dbt_cicd_\w+)': (?:[\w.]+\(\[)?(\{[^{}]+\})", code):
        entries = ast.literal_eval(text)
        if next(iter(entries)).startswith("dbt_cicd_"):
            row = re.search(rf"^\| `{table}` \|.*$", section(reference, "## Indexes"), re.M)
            assert row, table
            assert re.findall(r"`(.+?)`", row[0])[1:] == list(entries.values())
        else:
            tables += 1
            documented = re.findall(r"`(\w+)`", section(reference, f"## {table}") + shared)
            assert set(entries) <= set(documented), table
    assert tables == 6


def slugs(page: Path) -> set[str]:
    """The anchors GitHub makes of a page's headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    found = set()
    for heading in re.findall(r"^#+ (.*)$", text, re.M):
        words = re.sub(r"\]\(.*?\)", "", heading).lower()
        found.add(re.sub(r"[^\w\- ]", "", words).replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_internal_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    for link in re.findall(r"\]\((?!https?:)(.*?)\)", text):
        path, _, anchor = link.partition("#")
        goal = (page.parent / path).resolve() if path else page
        assert goal.exists(), link
        assert goal.is_relative_to(ROOT), link
        if anchor:
            assert anchor in slugs(goal), link
