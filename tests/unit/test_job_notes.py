"""Fragments of release notes, and the page that they become."""

from __future__ import annotations

from pathlib import Path

import pytest

from dbt_cicd_toolkit.errors import InvalidInput, Refused
from dbt_cicd_toolkit.jobs import notes
from dbt_cicd_toolkit.jobs.number import Number
from dbt_cicd_toolkit.jobs.project import Project
from dbt_cicd_toolkit.jobs.state import Line

BREAKING = """\
The column is gone.

It was empty.

## Migration

Read the other one:

```python
## Migration
read("other")
```

### Later

Nothing.

## See also

The manual.
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "jobs.toml").write_text('package = "dwh"\n')
    (tmp_path / "changes").mkdir()
    (tmp_path / "changes/README.md").write_text("How to.\n")
    (tmp_path / "changes/.gitkeep").touch()
    return Project(tmp_path)


def write(project: Project, **texts: str) -> None:
    """Write fragments; __ stands for the dot."""
    for name, text in texts.items():
        (project.changes / f"{name.lstrip('_').replace('__', '.')}.md").write_text(text)


def test_breaking_ones_come_first_then_by_number(project: Project) -> None:
    write(project, _10__fix="a", _9__fix="b", _abc__fix="c", _2__feature="d", _11__breaking=BREAKING)
    assert [f"{each.id}.{each.kind}" for each in notes.fragments(project)] == [
        "11.breaking",
        "2.feature",
        "abc.fix",
        "9.fix",
        "10.fix",
    ]


def test_a_page(project: Project) -> None:
    write(project, _11__breaking=BREAKING, _2__fix="# It works.\n\nSince long.\n")
    page = notes.page(Number(0, 2, 0), "2026-11-21", ["a", "b"], notes.fragments(project))
    assert page == (
        "# 0.2.0 (2026-11-21)\n\n"
        "Jobs: `a`, `b`\n\n"
        "## Breaking changes\n\n"
        "- The column is gone. (11)\n\n  It was empty.\n\n  ## See also\n\n  The manual.\n\n"
        "## Fixes\n\n"
        "- It works. (2)\n\n  Since long.\n\n"
        "## Migration\n\n"
        "### 11\n\n"
        'Read the other one:\n\n```python\n## Migration\nread("other")\n```\n\n### Later\n\nNothing.\n'
    )
    assert notes.page(Number(0, 2, 0), "open", [], []) == "# 0.2.0 (open)\n\nNo notes.\n"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.bug.md", "x", "changes/a.bug.md: a note is called <id>.<breaking|feature|fix>.md"),
        ("fix.md", "x", "changes/fix.md: a note is called"),
        ("1.fix.txt", "x", "changes/1.fix.txt: a note is called"),
        ("1.fix.md", " \n", "changes/1.fix.md is empty"),
        ("1.fix.md", "\udcff", "changes/1.fix.md is not UTF-8 at byte 0"),
        ("1.breaking.md", "Gone.", "changes/1.breaking.md has no section '## Migration'"),
        ("1.breaking.md", "Gone.\n\n## Migration\n\n## Other\n\nx", "has no section '## Migration' with text"),
        ("1.breaking.md", "```\n## Migration\nx\n```\n", "has no section '## Migration'"),
    ],
)
def test_fragments_that_are_none(project: Project, name: str, text: str, said: str) -> None:
    (project.changes / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    (project.changes / "7.nothing.md").write_text("x")
    with pytest.raises(InvalidInput) as raised:
        notes.fragments(project)
    assert said in str(raised.value)
    assert len(str(raised.value).splitlines()) == 2  # all at once


@pytest.mark.parametrize(
    ("version", "kind", "to", "needed"),
    [
        ("1.2.3", "breaking", "1.3.0", "2.0.0"),
        ("1.2.3", "feature", "1.2.4", "1.3.0"),
        ("1.2.3", "fix", "1.2.4", None),
        ("1.2.3", "breaking", "2.0.0", None),
        ("0.2.3", "breaking", "0.2.4", "0.3.0"),
        ("0.2.3", "breaking", "0.3.0", None),
    ],
)
def test_the_number_must_be_as_large_as_the_change(
    project: Project, version: str, kind: str, to: str, needed: str | None
) -> None:
    write(project, **{f"_1__{kind}": BREAKING})
    line = Line("main", Number.parse(version), None, True, "main", {})
    found = notes.fragments(project)
    if needed is None:
        notes.refuse_too_small(line, Number.parse(to), found)
        return
    with pytest.raises(Refused, match=f"changes/1.{kind}.md tells of a {kind} change, which needs {needed}, not {to}"):
        notes.refuse_too_small(line, Number.parse(to), found)
