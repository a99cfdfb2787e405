"""What commands print: one document as text, JSON or markdown. Pure; user text is escaped for markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

FORMATS = ("text", "json", "markdown")


def document(value: Mapping[str, Any]) -> str:
    """The JSON document of a command."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def promotion(plan: Mapping[str, Any], message: str | None, tests: Mapping[str, int] | None, output_format: str) -> str:
    """Report a promotion.

    Args:
        plan: the value of promote_to_environment.
        message: None, or why nothing was promoted.
        tests: number of test results by status, or None when none were run.
        output_format: one of FORMATS.
    """
    if output_format == "json":
        return document({**plan, "success": message is None, "tests": tests, "error": message})
    rows = [
        (
            item["model"],
            item["from_version"] or ("—" if item["action"] != "unchanged" else "unversioned"),
            item["version"] or "unversioned",
            item["action"] if plan["success"] or item["action"] != "promote" else "not promoted",
            item["evidence"],
            item["reasons"] or item["warnings"],
        )
        for item in plan["plan"]
    ]
    return _markdown_promotion(plan, tests, rows) if output_format == "markdown" else _text_promotion(plan, tests, rows)


def _headline(plan: Mapping[str, Any]) -> str:
    environment = plan["target_environment"]
    counts = [sum(item["action"] == action for item in plan["plan"]) for action in ("promote", "unchanged")]
    if not plan["success"]:
        refused = sum(bool(item["reasons"]) for item in plan["plan"])
        return f"Nothing was promoted to {environment}: {refused} of {len(plan['plan'])} models refused"
    verb = "would be promoted" if plan["dry_run"] else "promoted"
    return f"{counts[0]} of {len(plan['plan'])} models {verb} to {environment}, {counts[1]} unchanged"


def _tests_line(tests: Mapping[str, int] | None) -> str:
    if tests is None:
        return "not run"
    return ", ".join(f"{number} {status}" for status, number in sorted(tests.items())) or "none for these models"


def _text_promotion(plan: Mapping[str, Any], tests: Mapping[str, int] | None, rows: Sequence[tuple[Any, ...]]) -> str:
    lines = [_headline(plan), f"Tests: {_tests_line(tests)}", ""]
    lines += columns([("MODEL", "FROM", "TO", "ACTION", "EVIDENCE"), *[row[:5] for row in rows]])
    for title, key in (("Reasons", "reasons"), ("Warnings", "warnings")):
        if plan[key]:
            lines += ["", f"{title}:", *[f"  - {text}" for text in plan[key]]]
    if plan["promotion_id"]:
        lines += ["", f"Promotion {plan['promotion_id']} at {plan['timestamp']} UTC"]
    return "\n".join(lines)


def _markdown_promotion(
    plan: Mapping[str, Any], tests: Mapping[str, int] | None, rows: Sequence[tuple[Any, ...]]
) -> str:
    mark = "✅" if plan["success"] else "❌"
    lines = [f"## {mark} {escape(_headline(plan))}", ""]
    facts = [("Tests", _tests_line(tests)), ("Promotion", plan["promotion_id"]), ("At", f"{plan['timestamp']} UTC")]
    facts += [("Approved by", plan["approved_by"]), ("Description", plan["description"])]
    lines += [f"- {name}: {escape(str(value))}" for name, value in facts if value]
    lines += ["", "| Model | From | To | Action | Evidence | Notes |", "| --- | --- | --- | --- | --- | --- |"]
    for *cells, notes in rows:
        note = "<br>".join(escape(text) for text in notes)
        lines.append("| " + " | ".join([*[escape(str(cell)) for cell in cells], note]) + " |")
    if plan["reasons"]:
        lines += ["", "### Why nothing was promoted", "", *[f"- {escape(text)}" for text in plan["reasons"]]]
    return "\n".join(lines)


def status(value: Mapping[str, Mapping[str, Mapping[str, Any]]], output_format: str) -> str:
    """Report {environment: {name: {version, status, since, promoted_by, …}}}: get_promotion_status, and overview."""
    if output_format == "json":
        return document(value)
    head = ("ENVIRONMENT", "NAME", "VERSION", "SINCE (UTC)", "BY", "DIFFERS")
    rows = [
        (
            environment,
            name + ("" if entry.get("in_project", True) else " (gone)"),
            entry["version"] or ("unversioned" if entry["status"] == "deployed" else "—"),
            entry["since"] or "—",
            entry["promoted_by"] or "—",
            "; ".join([word for word in ("code", "build") if entry.get(f"{word}_changed")] + entry.get("notes", []))
            or "—",
        )
        for environment, found in sorted(value.items())
        for name, entry in sorted(found.items())
    ]
    return table(head, rows, output_format) if rows else "Nothing was promoted yet."


def history(value: Mapping[str, Any], output_format: str) -> str:
    """Report get_version_history: {model, versions: [{version, timestamp, …}]}."""
    if output_format == "json":
        return document(value)
    head = ("VERSION", "REGISTERED (UTC)", "BREAKING", "ENVIRONMENTS", "DESCRIPTION")
    rows = [
        (
            entry["version"],
            entry["timestamp"],
            "yes" if entry["is_breaking"] else "no",
            ", ".join(entry["environments"]) or "—",
            entry["description"] or "",
        )
        for entry in value["versions"]
    ]
    return table(head, rows, output_format) if rows else f"{value['model']} has no registered version."


def table(head: Sequence[str], rows: Sequence[Sequence[str]], output_format: str) -> str:
    """A table as aligned text or as markdown."""
    if output_format == "markdown":
        lines = [
            "| " + " | ".join(title.capitalize().replace("utc", "UTC") for title in head) + " |",
            "|" + " --- |" * len(head),
        ]
        return "\n".join([*lines, *["| " + " | ".join(escape(str(cell)) for cell in row) + " |" for row in rows]])
    return "\n".join(columns([head, *rows]))


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines with aligned cells; a line end inside a cell becomes a space."""
    flat = [[" ".join(str(cell).split()) for cell in row] for row in rows]
    widths = [max(len(row[index]) for row in flat) for index in range(len(flat[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in flat]


def escape(text: str) -> str:
    """User text inside a markdown table or list: neither markup nor HTML, on one line (GitHub Flavored Markdown)."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # An underscore inside a word is no emphasis, and names are full of them.
    text = re.sub(r"[\\`*\[\]|#~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\\g<0>", text)
    return re.sub(r"\\`([\w .:=-]+)\\`", r"`\1`", text)  # a plain command may stand as code
