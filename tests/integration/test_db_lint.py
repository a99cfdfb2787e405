"""lint on real files with the real squawk."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from dbt_cicd_toolkit.config import Lint
from dbt_cicd_toolkit.db import lint_squawk
from dbt_cicd_toolkit.db.layout import Layout, init
from dbt_cicd_toolkit.db.lint import Finding, lint
from dbt_cicd_toolkit.errors import InvalidInput, Refused

ONE_VAULT = sorted((Path(__file__).parents[1] / "support" / "one_vault").glob("*.sql"))
Check = Callable[..., list[str]]


def told(findings: Sequence[Finding]) -> list[str]:
    return [f"{each.line}:{each.column} {each.rule}" for each in findings]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Lint a text: 'line:column rule', as told."""

    def run(text: str | bytes, name: str = "V1.2.0__Do_it.sql", **config: object) -> list[str]:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return told(lint([path], Lint(**config)))  # type: ignore[arg-type]

    return run


@pytest.mark.parametrize("data_vault", [False, True])
def test_the_guides_files_are_clean(data_vault: bool) -> None:
    assert len(ONE_VAULT) == 2
    assert lint(ONE_VAULT, Lint(data_vault=data_vault)) == []


RULES = {
    "vacuum full": ("vacuum full t; vacuum t", ["1:1 vacuum-full"]),
    "vacuum full, as an option": ("vacuum (analyze, full) t", ["1:1 vacuum-full"]),
    "cluster": ("select 1;\n cluster t using i", ["2:2 cluster"]),
    "refresh": (
        "refresh materialized view m; refresh materialized view concurrently m;"
        "refresh materialized view m with no data",
        ["1:1 refresh-without-concurrently"],
    ),
    "lock table": ("lock table t; lock t in share mode nowait", ["1:1 lock-table", "1:15 lock-table"]),
    "lock table that blocks no writer": ("lock table t in row exclusive mode; lock t in access share mode nowait", []),
    "update": ("update t set a = 1; update t set a = 1 where b", ["1:1 update-without-where"]),
    "update, the where is inside": (
        "update t set a = (select 1 from u where u.b = t.b) from (select 1 where true) v",
        ["1:1 update-without-where"],
    ),
    "delete": (
        "delete from t; delete from t where true; delete from t using u",
        ["1:1 delete-without-where", "1:42 delete-without-where"],
    ),
    "delete inside with": (
        "with a as (select 1 where true), b as materialized (\ndelete from t returning *) "
        "insert into u select * from b where c",
        ["2:1 delete-without-where"],
    ),
    "with and a where": ("with a as (delete from t where b returning *) update u set c = 1 from a where d", []),
    "delete behind with": ("with a as (select 1 where true)\ndelete from t", ["2:1 delete-without-where"]),
    "an upsert": ("insert into t (a) values (1) on conflict (a) do update set a = 2", []),
    "words that are none": ("select 'delete from t', \"update\" from t; do $$begin delete from t; end$$", []),
    "transaction": ("begin; select 1; commit", ["1:1 transaction-control", "1:18 transaction-control"]),
    "squawk: syntax error": (
        "select from where;\nupdate t set a = 1",
        ["1:12 syntax-error", "1:18 syntax-error", "2:1 update-without-where"],
    ),
    "squawk: an index on a table that is there": ("create index i on t (a)", ["1:1 require-concurrent-index-creation"]),
    "squawk: dropping": ("drop table t; alter table u drop column a", ["1:1 ban-drop-table", "1:29 ban-drop-column"]),
    "squawk: constraints": (
        "alter table t add constraint c check (a > 1)",
        ["1:15 constraint-missing-not-valid"],
    ),
    "squawk counts bytes, people count characters": ("/* é🐘\né🐘 */ drop table t", ["2:7 ban-drop-table"]),
    "byte order mark": ("\ufeffdrop table t;\ndrop table u", ["1:1 ban-drop-table", "2:1 ban-drop-table"]),
    "CR LF": ("select 1;\r\n  drop table t;\r\n", ["2:3 ban-drop-table"]),
    "rows of COPY are no SQL": (
        "copy t from stdin;\n1\t';(--squawk-ignore x\n\\.\n\ndrop table t",
        ["5:1 ban-drop-table"],
    ),
    "rows of COPY, and a byte order mark": (
        "\ufeffdrop table t; copy t from stdin;\n1\t'\n\\.\n",
        ["1:1 ban-drop-table"],
    ),
    "pg_dump's lines": ("\\restrict x\nselect 1;\n\\unrestrict x\n", []),
    "what the runner does itself": (
        "create table if not exists t (a varchar(3), b int, c smallint);\ncreate extension x; drop table y",
        ["2:21 ban-drop-table"],
    ),
    "statement by statement": ("create index concurrently i on t (a); drop index concurrently j", []),
    "empty": ("", []),
}


@pytest.mark.parametrize(("text", "expected"), RULES.values(), ids=RULES)
def test_rules(check: Check, text: str, expected: list[str]) -> None:
    assert check(text) == expected


MADE_HERE = """create table a.t (a int); create materialized view m as select 1; create index on a.t (a);
update t set a = 1; delete from a.t; lock a.t; refresh materialized view m; vacuum full a.t; cluster a.t;
alter table a.t add constraint c check (a > 1), add unique (a); create index k on t (a); drop index k;
alter table t drop column a; drop table a.t;
"""


def test_silent_on_what_the_file_made(check: Check) -> None:
    """Also where it runs statement by statement, of which squawk thinks that everybody sees the table already."""
    assert check(MADE_HERE) == []
    assert check(MADE_HERE + "create index concurrently i on u (a);") == []
    assert check("update a.t set a = 1;\n" + MADE_HERE) == ["1:1 update-without-where"]
    assert check("create table b.t (a int); update a.t set a = 1") == ["1:27 update-without-where"]


ROLLBACK = """drop index i; alter table t drop column a, drop constraint c; drop view v; alter table t rename a to b;
drop table t; drop schema s;
alter table u alter a drop not null; update u set a = 1;
"""


def test_a_rollback_may_take_away(check: Check) -> None:
    assert check(ROLLBACK, "V1.2.0__Do_it_rollback.sql") == ["3:23 ban-drop-not-null", "3:38 update-without-where"]
    assert "1:1 require-concurrent-index-deletion" in check(ROLLBACK)


def test_a_migration_called_rollback(tmp_path: Path) -> None:
    path = tmp_path / "migrations" / "V1.2.0__Add_rollback.sql"
    path.parent.mkdir()
    path.write_text("drop table t", encoding="utf-8")
    assert told(lint([path])) == ["1:1 ban-drop-table"]


IGNORES = {
    "squawk's rule": ("-- squawk-ignore ban-drop-table -- it is empty\ndrop table t", []),
    "our rule": ("-- squawk-ignore vacuum-full -- at night\nvacuum full t", []),
    "both, and others": (
        "/* squawk-ignore cluster, vacuum-full,ban-drop-table -- at night */\nvacuum full t; drop table t",
        [],
    ),
    "on the line": ("drop table t; -- squawk-ignore ban-drop-table -- it is empty", []),
    "the reason above": ("-- it is empty\n-- squawk-ignore ban-drop-table\ndrop table t", []),
    "whole file": (
        "update t set a = 1;\n\n-- squawk-ignore-file update-without-where -- small\n\nupdate u set a = 1",
        [],
    ),
    "whole file, all rules": ("-- squawk-ignore-file -- from a dump\ndrop table t;\n\nvacuum full t", []),
    "no reason": ("-- squawk-ignore ban-drop-table\ndrop table t", ["1:4 ignore-without-reason"]),
    "no reason, ours": ("vacuum full t /*squawk-ignore vacuum-full -- */", ["1:17 ignore-without-reason"]),
    "a rule above is no reason": ("-- =====\n-- squawk-ignore-file cluster\ncluster t", ["2:4 ignore-without-reason"]),
    "another rule": ("-- squawk-ignore cluster -- at night\nvacuum full t", ["2:1 vacuum-full"]),
    "too far away": ("-- squawk-ignore vacuum-full -- at night\n\nvacuum full t", ["3:1 vacuum-full"]),
    "no such rule": ("-- squawk-ignore ban-drop-tabel -- x\nselect 1", ["1:18 unused-ignore"]),
    "a syntax error stays": (
        "-- squawk-ignore-file syntax-error -- x\nselect from where",
        ["2:12 syntax-error", "2:18 syntax-error"],
    ),
    "in a string": ("select '-- squawk-ignore vacuum-full'; vacuum full t", ["1:40 vacuum-full"]),
}


@pytest.mark.parametrize(("text", "expected"), IGNORES.values(), ids=IGNORES)
def test_ignores(check: Check, text: str, expected: list[str]) -> None:
    assert check(text) == expected


def test_config_leaves_rules_out(check: Check) -> None:
    text = "drop table t; vacuum full t"
    assert check(text, exclude=("ban-drop-table",)) == ["1:15 vacuum-full"]
    assert check(text, exclude=("vacuum-full", "ban-drop-table")) == []


UNREADABLE = {
    "latin1": (b"select '\xe9'", "1:1"),
    "psql": (b"select 1;\n\\i x.sql", "2:1"),
    "open quote": (b"select\n 'x", "2:2"),
}


@pytest.mark.parametrize(("data", "place"), UNREADABLE.values(), ids=UNREADABLE)
def test_unreadable(check: Check, data: bytes, place: str) -> None:
    assert check(data) == [f"{place} unreadable"]


def test_findings_tell_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "V1.2.0__Do_it.sql"
    path.write_text("begin; vacuum full t; create index i on t (a)", encoding="utf-8")
    begin, vacuum, index = lint([path])
    assert (begin.level, vacuum.level, index.level) == ("error", "warning", "warning")
    assert "Remove it" in begin.message
    assert vacuum.help and "ignore this rule" in vacuum.help
    assert index.help and "concurrently" in index.help


def test_many_files_with_any_names(tmp_path: Path) -> None:
    """In order, and a name is neither a pattern nor an option."""
    hostile = ["--help.sql", "[ab]*?.sql", "a b;$(x).sql", "ü.sql", "line\nbreak.sql"]
    names = [*hostile, *(f"V1.{number}.0__Add_it.sql" for number in range(40))]
    for number, name in enumerate(names):
        (tmp_path / name).write_text("\n" * number + "drop table t", encoding="utf-8")
    findings = [each for each in lint([tmp_path / name for name in names]) if each.rule != "naming"]
    assert [(each.file.name, each.line, each.rule) for each in findings] == [
        (name, number + 1, "ban-drop-table") for number, name in enumerate(names)
    ]


# Squawk itself


def test_without_squawk(check: Check, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InvalidInput, match=r"pip install 'dbt_cicd_toolkit\[lint\]'"):
        check("select 1")


def test_squawk_on_the_path(check: Check, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(lint_squawk.program().parent))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert check("drop table t") == ["1:1 ban-drop-table"]


def test_a_squawk_that_fails(check: Check, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "squawk").write_text("#!/bin/sh\necho no space left >&2\nexit 101\n", encoding="utf-8")
    (tmp_path / "squawk").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(Refused, match="squawk failed with exit code 101: no space left"):
        check("select 1")


def test_only_lint_loads_squawk() -> None:
    code = "import sys; import dbt_cicd_toolkit.cli.db, dbt_cicd_toolkit.db.migrate, dbt_cicd_toolkit.db.status; "
    code += "print('dbt_cicd_toolkit.db.lint' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"


def test_the_sample_is_clean(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "database")
    init(layout, sample=True)
    files = [*layout.migrations.glob("*.sql"), *layout.rollback.glob("*.sql")]
    assert len(files) == 2
    assert lint(files, Lint(data_vault=True)) == []
