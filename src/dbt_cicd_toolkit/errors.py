"""The one exception family. Every message names the command, the wrong value, what is allowed and the next command."""

from __future__ import annotations


class ToolkitError(Exception):
    """Base of every error that a user is meant to read; ``exit_code`` is what a command ends with."""

    exit_code = 1


class Refused(ToolkitError):
    """The state of things does not allow it, or a tool that was run failed."""

    exit_code = 1


class InvalidInput(ToolkitError):
    """An argument, option, file or setting is malformed or unknown."""

    exit_code = 2


class Differs(ToolkitError):
    """What is recorded and what is present differ: edited, deleted, drifted or tampered with."""

    exit_code = 3
