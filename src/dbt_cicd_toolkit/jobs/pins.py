"""Pins: which versions of a job a DAG takes. PEP 440 specifiers, or 'latest'. Standard library and packaging only."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dbt_cicd_toolkit.errors import InvalidInput

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

LATEST = "latest"
_NUMBERS = re.compile(r"v?(\d+)(?:\.(\d+))?(?:\.(\d+))?")


def check(pin: str, where: str = "") -> None:
    """Raise InvalidInput, with the right spelling where it can be told, unless it is a pin. ``where`` stands first."""
    if pin != LATEST:
        specifiers(pin, where)


def fits(pin: str, version: str) -> bool:
    """Does a pin that check() lets pass admit a version?"""
    return pin == LATEST or specifiers(pin).contains(version)


def warning(pin: str) -> str | None:
    """What to say of a pin that admits more than it seems to: `~=0.1` admits 0.2, which may break its readers."""
    if not (match := re.search(r"~=\s*0\.(\d+)(?![.\d])", pin)):
        return None
    next_minor = f"0.{int(match[1]) + 1}"
    if not fits(pin, f"{next_minor}.0"):  # something else in it excludes that
        return None
    return (
        f"the pin '{pin}' admits {next_minor} and every later 0.x, any of which may be breaking. "
        f"For 0.{match[1]}.x write '~=0.{match[1]}.0'."
    )


def specifiers(pin: str, where: str = "") -> SpecifierSet:
    """Read a pin other than 'latest'. Raises InvalidInput."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        found = SpecifierSet(pin)
    except InvalidSpecifier:
        found = SpecifierSet()
    if not len(found):
        place = f"{where}: " if where else ""
        right = _spelling(pin.strip())
        kinds = "a pin is a PEP 440 specifier such as '~=0.1.0' or '==0.1.0', or 'latest'"
        said = f"write '{right}'" if right else kinds
        raise InvalidInput(f"{place}'{pin}' is no pin: {said}.")
    return found


def _spelling(text: str) -> str | None:
    """The PEP 440 specifier that somebody means who knows npm, Cargo or Poetry."""
    sign = re.match(r"[\^~=]?=?\s*", text)
    rest = text[sign.end() :] if sign else text
    if match := re.fullmatch(r"v?(\d+(?:\.\d+)?)\.[x*]", rest):
        return f"=={match[1]}.*"
    match = _NUMBERS.fullmatch(rest)
    if not match:
        return None
    numbers = [int(number) for number in match.groups() if number is not None]
    version = ".".join(map(str, numbers))
    if text.startswith("^"):
        return _caret(numbers, version)
    if text.startswith("~"):
        return f"~={version}" if len(numbers) == 3 else f"~={version}.0"
    return f"=={version}"


def _caret(numbers: list[int], version: str) -> str:
    """All that leaves the first number alone that is not 0."""
    if numbers == [0]:
        return "==0.*"
    if numbers[0] == 0:
        minor, *patch = numbers[1:]
        if minor == 0 and patch and patch[0]:
            return f"=={version}"
        return f"~={version}" if patch else f"~={version}.0"
    if len(numbers) == 1:
        return f"~={version}.0"
    return f"~={version}" if len(numbers) == 2 else f">={version},<{numbers[0] + 1}"
