"""What dbt says when it fails, on both engines, made readable and free of passwords. Pure but for the environment."""

from __future__ import annotations

import os
import re
from pathlib import Path

from dbt_cicd_toolkit.errors import Differs, InvalidInput, Refused, ToolkitError

_KINDS: dict[str, type[ToolkitError]] = {"refused": Refused, "invalid": InvalidInput, "differs": Differs}
# dbt Core: "Compilation Error in macro x (path)\n  message\n  …", every line indented by two.
# dbt v2: "… invalid operation: Compilation Error: message\n(in path:1:2)\n  --> path:1:2\n   0: <unknown>\n …".
_OURS = re.compile(
    r"Compilation Error(?: in [^\n]*)?(?::[ \t]|(?P<core>\n\s*))"
    r"(?P<message>.*)\[(?P<kind>refused|invalid|differs)\][ \t]*$",
    re.DOTALL | re.MULTILINE,
)
_NO_PACKAGE = re.compile(r"macro with the name ['\"]_operation['\"]|Template not found for macro '_operation'")
_NATIVE_STACK = re.compile(r"(?m)(?:^ *--> [^\n]*\n)?(?:^ *\d+: (?:<unknown>|\w+)(?:\n +at [^\n]*)?(?:\n|\Z))+")
_PROFILE_SECRET = re.compile(r"\b(?:password|pass|token|private_key_passphrase)\s*:\s*[\"']?(?!\{\{)([^\s\"',}]+)")
_NO_SECRETS = {"postgres", "true", "false"}


def plain(text: str) -> str:
    """Return ``text`` without colours and without the native stack that dbt v2 prints below an error."""
    return _NATIVE_STACK.sub("", re.sub(r"\x1b\[[0-9;]*m", "", text))


def failure(text: str, returncode: int, project_dir: Path, profiles: Path) -> ToolkitError:
    """Turn the output of a failed operation into an error.

    A message of our macros ends in ``[refused]``, ``[invalid]`` or ``[differs]`` and comes back as that error without
    dbt's decoration; a project without the package as InvalidInput; anything else as Refused with what dbt said.
    """
    text = without_secrets(text, profiles)
    ours = _OURS.search(text)
    if ours:
        message = ours["message"].strip()
        return _KINDS[ours["kind"]](re.sub(r"\n {2}", "\n", message) if ours["core"] else message)
    if _NO_PACKAGE.search(text):
        advice = "add it to packages.yml and run `dbt deps`"
        return InvalidInput(f"{project_dir} does not have the package dbt_cicd_toolkit: {advice}.")
    return Refused(f"dbt failed with exit code {returncode}:\n{text.strip()}")


def without_secrets(text: str, profiles: Path) -> str:
    """Blank every password that the environment or the file ``profiles`` holds, and those in URLs and settings."""
    secrets = {value for key, value in os.environ.items() if re.search(r"(PASS|PASSWORD|SECRET|TOKEN|_PWD)$", key)}
    secrets |= {value for key, value in os.environ.items() if key.startswith("DBT_ENV_SECRET")}
    if profiles.is_file():
        secrets |= set(_PROFILE_SECRET.findall(profiles.read_text(encoding="utf-8")))
    for secret in sorted(secrets - _NO_SECRETS, key=len, reverse=True):
        if len(secret) >= 3:
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "***", text)
    text = re.sub(r"(\w://[^\s:/@]*):[^\s@/]+@", r"\1:***@", text)
    return re.sub(r"(?i)(\bpassword\s*=\s*)[^\s,;)]+", r"\1***", text)
