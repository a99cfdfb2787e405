"""The Python half of dbt_cicd_toolkit.

dbt Core imports every installed module whose name starts with ``dbt_`` each time it starts, so nothing is imported here
and the version is looked up only when somebody asks for it.
"""

from __future__ import annotations

__version__: str


def __getattr__(name: str) -> str:
    """Give ``__version__``: the file VERSION of a clone, else the version of the installed distribution."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version
    from pathlib import Path

    clone = Path(__file__).resolve().parents[2]
    if (clone / "pyproject.toml").is_file() and (clone / "VERSION").is_file():
        return (clone / "VERSION").read_text(encoding="utf-8").strip()
    return version("dbt_cicd_toolkit")
