"""What to say of a name that is not known. Standard library only: DAGs import it."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """At most three names like it, the most alike first."""
    import difflib

    return difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)


def meant(name: str, known: Iterable[str], nothing: str) -> str:
    """The sentence: the names like it, else all of them, else ``nothing``."""
    known = list(known)
    if found := nearest(name, known):
        return f"Did you mean {', '.join(found)}?"
    return f"There are: {', '.join(known)}." if known else nothing
