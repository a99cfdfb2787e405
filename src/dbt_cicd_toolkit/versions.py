"""Semantic Versioning 2.0.0 (https://semver.org), pure. The macros in macros/internal do the same;
tests/vectors/semver.json holds both to it."""

from __future__ import annotations

import re

import semver

from dbt_cicd_toolkit.errors import InvalidInput

PARTS = ("patch", "minor", "major")
MAX_LENGTH = 255
_LOOSE = re.compile(r"[vV=]*\s*([0-9]+)(?:\.([0-9]+))?(?:\.([0-9]+))?([^.0-9].*)?")


def _is_valid(text: str) -> bool:
    return len(text) <= MAX_LENGTH and text.isascii() and semver.Version.is_valid(text) and not text.endswith("\n")


def meant(text: str) -> str | None:
    """Guess the version that a malformed ``text`` stands for (``v1.0``: ``1.0.0``), or None."""
    match = _LOOSE.fullmatch(text.strip())
    if not match:
        return None
    core = ".".join((number or "0").lstrip("0") or "0" for number in match.groups()[:3])
    rest, plus, build = (match[4] or "").partition("+")
    rest = f"-{rest}" if rest[:1].isalpha() else rest
    rest = ".".join(re.sub(r"^(-?)0+(?=[0-9]+$)", r"\1", part) for part in rest.split("."))
    guess = core + rest + plus + build
    return guess if _is_valid(guess) else None


def parse(text: object) -> semver.Version:
    """Read a version strictly.

    Args:
        text: the version, at most 255 characters.
    Returns:
        the version, comparable by precedence.
    Raises:
        InvalidInput: not a string, too long or not SemVer 2.0.0; the message says what was probably meant.
    """
    if not isinstance(text, str):
        raise InvalidInput(f"{text!r} is not a version: a version is text. Quote it, for example '1.10.0'.")
    if len(text) > MAX_LENGTH:
        raise InvalidInput(f"a version has at most {MAX_LENGTH} characters, '{text[:20]}…' has {len(text)}.")
    if not _is_valid(text):
        guess = meant(text)
        hint = f"write {guess}" if guess else "write MAJOR.MINOR.PATCH, for example 1.2.0 or 1.3.0-rc.1"
        raise InvalidInput(f"'{text}' is not a SemVer 2.0.0 version: {hint}.")
    return semver.Version.parse(text)


def compare(left: str, right: str) -> int:
    """Return -1, 0 or 1 by SemVer §11 precedence; build metadata does not count. Raises InvalidInput like parse."""
    return parse(left).compare(parse(right))


def bump(version: str, part: str, pre: str | None = None) -> str:
    """Work out the next version.

    A pre-release whose numbers already satisfy ``part`` keeps them: ``1.3.0-rc.1`` is finalised to ``1.3.0``, or with
    ``pre='rc'`` counted up to ``1.3.0-rc.2``. Everything else raises the part (``1.2.3`` minor: ``1.3.0``, with
    ``pre='rc'``: ``1.3.0-rc.1``). Build metadata is dropped.

    Raises:
        InvalidInput: a malformed version, part or pre-release name, or a result that would not be higher.
    """
    old = parse(version)
    if part not in PARTS:
        raise InvalidInput(f"'{part}' is not a part of a version: use one of {', '.join(PARTS)}.")
    numbers: tuple[int, ...] = (old.major, old.minor, old.patch)
    place = 2 - PARTS.index(part)
    kept = old.prerelease is not None and not any(numbers[place + 1 :])
    if not kept:
        numbers = (*numbers[:place], numbers[place] + 1, *(0,) * (2 - place))
    core = ".".join(map(str, numbers))
    if pre is None:
        return str(parse(core))
    if not _is_valid(f"1.0.0-{pre}") or "+" in pre:
        raise InvalidInput(f"'{pre}' is not a pre-release name: use letters, digits and hyphens, for example rc.")
    count = re.match(re.escape(pre) + r"\.([0-9]+)(?:\.|$)", old.prerelease or "") if kept else None
    new = f"{core}-{pre}.{int(count[1]) + 1 if count else 1}"
    if compare(new, version) <= 0:
        raise InvalidInput(f"{new} would not be higher than {version}: use a later pre-release name or another part.")
    return new


def precedence_key(version: str) -> str:
    """Give ASCII text whose bytewise order (collate "C") is SemVer precedence, for an indexed column.

    A number is the three-digit count of its digits and its digits; a release ends in ``~``, a pre-release in ``-`` and
    its identifiers: ``0`` number ``,`` or ``1`` text ``,``. Raises InvalidInput like parse.
    """
    parsed = parse(version)
    core = ".".join(_number(str(number)) for number in (parsed.major, parsed.minor, parsed.patch))
    if parsed.prerelease is None:
        return core + "~"
    identifiers = parsed.prerelease.split(".")
    return core + "-" + "".join(f"0{_number(i)}," if i.isdigit() else f"1{i}," for i in identifiers)


def _number(digits: str) -> str:
    return f"{len(digits):03}{digits}"
