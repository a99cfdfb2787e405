"""What the `db` commands print, as text or markdown. Pure; the text is that of the guide."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dbt_cicd_toolkit.report import escape, table

if TYPE_CHECKING:
    from dbt_cicd_toolkit.db.lint_source import Finding
    from dbt_cicd_toolkit.db.rehearse import DryRun
    from dbt_cicd_toolkit.db.snapshots import Comparison
    from dbt_cicd_toolkit.db.status import Status
    from dbt_cicd_toolkit.db.verify import Verification


def status(value: Status, output_format: str) -> str:
    """Report a Status."""
    if output_format == "markdown":
        return _markdown_status(value)
    title = value.database.replace("_", " ").replace("-", " ").title()
    lines = [f"🏠 {title} Database Status", "=" * 40]
    lines.append(f"📍 Current Version: {value.version or 'none'}")
    if value.version:
        lines += [f"📝 Name: {value.name}", f"📅 Deployed: {value.deployed}"]
    lines += ["", "🏗️ Database Structure:"]
    lines += [f"   📊 {schema}: {_tables(number)}" for schema, number in value.schemas.items()]
    schemas = f"{len(value.schemas)} schema{'' if len(value.schemas) == 1 else 's'}"
    lines += ["", f"📈 Total: {schemas}, {_tables(sum(value.schemas.values()))}"]
    for title, items in _attention(value):
        lines += ["", f"{title}: {len(items)}", *[f"   {item}" for item in items]]
    return "\n".join(lines)


def _tables(number: int) -> str:
    return f"{number} table{'' if number == 1 else 's'}"


def _attention(value: Status) -> list[tuple[str, Sequence[str]]]:
    found: list[tuple[str, Sequence[str]]] = [
        ("⏳ Pending", value.pending),
        ("❌ Failed", value.failed),
        ("⚠️ Late", value.late),
        ("⚠️ Begun and not finished", value.unfinished),
        ("⚠️ Problems", value.problems),
        ("⚠️ Invalid indexes", value.invalid_indexes),
        ("⚠️ Warnings", value.warnings),
    ]
    if value.drift is not None:
        found.append(("⚠️ Drift", value.drift) if value.drift else ("✅ Drift", []))
    return [(title, items) for title, items in found if items or title == "✅ Drift"]


def _markdown_status(value: Status) -> str:
    lines = [f"## {escape(value.database)}", "", f"- Current version: {value.version or 'none'}"]
    if value.version:
        lines += [f"- Name: {escape(value.name or '')}", f"- Deployed: {value.deployed} UTC"]
    lines += ["", table(("SCHEMA", "TABLES"), [(s, str(n)) for s, n in value.schemas.items()], "markdown")]
    for title, items in _attention(value):
        lines += ["", f"### {title}: {len(items)}", "", *[f"- {escape(item)}" for item in items]]
    return "\n".join(lines)


def dry_run(value: DryRun, output_format: str) -> str:
    """Report a DryRun."""
    bullet, head = ("- ", "## 🧪 Dry run") if output_format == "markdown" else ("   ", "🧪 DRY RUN MODE")
    lines = [head, *[f"{bullet}⚠️ {note}" for note in value.notes]]
    lines += [f"{bullet}📋 Would execute: {script}" for script in value.scripts]
    if not value.scripts:
        lines.append(f"{bullet}✅ Nothing to do: no migration is pending")
    for found in value.rehearsals:
        lines += ["", f"{bullet}🚀 {found.script}: {found.milliseconds} ms in {value.where}"]
        lines += [f"{bullet}   locks {name}: {', '.join(modes)}" for name, modes in found.locks.items()]
        lines += [f"{bullet}   writes {name} anew, all of it" for name in found.rewrites]
        lines += [f"{bullet}   ⚠️ {warning}" for warning in found.warnings]
    return "\n".join(lines)


def comparison(value: Comparison, output_format: str) -> str:
    """Report a Comparison."""
    if not value.changes:
        return f"✅ {value.a} and {value.b} do not differ"
    if output_format == "markdown":
        head = f"## {len(value.changes)} objects differ between {escape(value.a)} and {escape(value.b)}"
        return "\n".join([head, "", "````diff", value.text.rstrip("\n"), "````"])
    return value.text.rstrip("\n")


_STATUS = {"proven": "✅ proven", "kept": "✅ proven before", "missing": "❌ has no rollback file"}


def verification(value: Verification, output_format: str) -> str:
    """Report a Verification."""
    bullet = "- " if output_format == "markdown" else ""
    lines = ["## Rollbacks", ""] if output_format == "markdown" else []
    for one in value.results:
        lines.append(f"{bullet}{one.script}: {_STATUS.get(one.status, f'❌ {one.status}')}")
        lines += [f"   {line}" for line in one.message.splitlines()]
        if one.rows_lost:
            lines.append(f"   loses rows of {', '.join(sorted(one.rows_lost))}")
        lines += [f"   tried without a row in {name}: {why}" for name, why in sorted(one.unfilled.items())]
        lines += [f"   {note}" for note in one.notes]
        if one.diff:
            fence = ["```diff"] if output_format == "markdown" else []
            lines += [*fence, one.diff.rstrip("\n"), *(["```"] if fence else [])]
    proven = sum(one.status in ("proven", "kept") for one in value.results)
    return "\n".join([*lines, f"{proven} of {len(value.results)} rollbacks proven"])


def findings_document(found: Sequence[Finding]) -> list[dict[str, Any]]:
    """Findings of `lint` for JSON."""
    return [{**asdict(one), "file": str(one.file)} for one in found]


def findings(found: Sequence[Finding], files: int, output_format: str) -> str:
    """Report the findings of `lint`."""
    if not found:
        return f"✅ {files} files, nothing found"
    if output_format == "markdown":
        rows = [(f"{one.file}:{one.line}", one.rule, one.message) for one in found]
        return table(("WHERE", "RULE", "WHAT"), rows, output_format)
    lines = []
    for one in found:
        lines.append(f"{one.file}:{one.line}:{one.column}: {one.level}: {one.message} [{one.rule}]")
        if one.help:
            lines.append(f"   {one.help}")
    return "\n".join([*lines, f"{len(found)} findings in {files} files"])


def history(events: Sequence[Mapping[str, Any]], output_format: str) -> str:
    """Report the events of a history, oldest first."""
    head = ("WHEN (UTC)", "WHAT", "VERSION", "SCRIPT", "BY", "NOTE")
    rows = [
        (
            event["at"],
            event["action"],
            event["version"] or "—",
            event["script"] or "—",
            event["by"],
            event["note"] or "",
        )
        for event in events
    ]
    return table(head, rows, output_format) if rows else "Nothing was applied yet."


_ASCII = str.maketrans({"—": "-", "…": "...", "→": "->"})
_WORDS = {"✅": "OK:", "❌": "FAILED:", "⚠️": "WARNING:"}


def encodable(text: str, encoding: str) -> str:
    """``text`` as a stream of this encoding can show it: some emoji become words, the others go, anything else that it
    lacks becomes a question mark."""
    try:
        if encoding.lower() not in ("utf-8", "utf8"):
            text.encode(encoding)
        return text
    except UnicodeEncodeError:
        pass
    for emoji, word in _WORDS.items():
        text = text.replace(emoji, word)
    emoji_at_the_beginning = re.compile(r"^( *)[\u2190-\u2bff\ufe0f\U0001f000-\U0001faff]+ +", re.MULTILINE)
    return emoji_at_the_beginning.sub(r"\1", text.translate(_ASCII)).encode(encoding, "replace").decode(encoding)
