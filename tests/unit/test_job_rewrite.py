"""Another version folder in code: what names it changes, and nothing else."""

from __future__ import annotations

import ast

import pytest

from dbt_cicd_toolkit.errors import InvalidInput
from dbt_cicd_toolkit.jobs.rewrite import renamed

CASES = {
    "absolute": ("from dwh.jobs.v0_1_0.a import A  # v0_1_0", "from dwh.jobs.v0_2_0.a import A  # v0_1_0"),
    "module": (
        "import dwh.jobs.v0_1_0.a as a, os\na.A()\nv0_1_0 = 1",
        "import dwh.jobs.v0_2_0.a as a, os\na.A()\nv0_1_0 = 1",
    ),
    "attribute": (
        "import dwh.jobs.v0_1_0.a\nx = dwh.jobs.v0_1_0.a.A()",
        "import dwh.jobs.v0_2_0.a\nx = dwh.jobs.v0_2_0.a.A()",
    ),
    "from the package": (
        "from dwh.jobs import v0_1_0, v0_3_0\nx = v0_1_0.a.A(), y.v0_1_0",
        "from dwh.jobs import v0_2_0, v0_3_0\nx = v0_2_0.a.A(), y.v0_1_0",
    ),
    "under a name": (
        "from dwh.jobs import (\n    v0_1_0 as old,\n)\nold.a\nv0_1_0 = 2",
        "from dwh.jobs import (\n    v0_2_0 as old,\n)\nold.a\nv0_1_0 = 2",
    ),
    "relative": (
        "from ..v0_1_0 import a\nfrom ..v0_1_0.b import c",
        "from ..v0_2_0 import a\nfrom ..v0_2_0.b import c",
    ),
    "relative package": ("from .. import v0_1_0\nv0_1_0.a", "from .. import v0_2_0\nv0_2_0.a"),
    "continued": ("from dwh.jobs. \\\n    v0_1_0 import a", "from dwh.jobs. \\\n    v0_2_0 import a"),
    "texts": (
        "x = ['dwh.jobs.v0_1_0.a', \"dwh.jobs.v0_1_0\", r'dwh.jobs.v0_1_0.a:A', 'see dwh.jobs.v0_1_0.a', 'v0_1_0']",
        "x = ['dwh.jobs.v0_2_0.a', \"dwh.jobs.v0_2_0\", r'dwh.jobs.v0_2_0.a:A', 'see dwh.jobs.v0_1_0.a', 'v0_1_0']",
    ),
    "another package": (
        "from other.jobs.v0_1_0 import a\nimport v0_1_0",
        "from other.jobs.v0_1_0 import a\nimport v0_1_0",
    ),
    "a longer number": ("from dwh.jobs.v0_1_01 import a", "from dwh.jobs.v0_1_01 import a"),
    "after a semicolon": ("x = 1; from dwh.jobs import v0_1_0", "x = 1; from dwh.jobs import v0_2_0"),
    "lazy": ("def f():\n    from dwh.jobs.v0_1_0 import a\n", "def f():\n    from dwh.jobs.v0_2_0 import a\n"),
    "after a form feed": ("x = 1\n\f\nfrom dwh.jobs.v0_1_0 import a\n", "x = 1\n\f\nfrom dwh.jobs.v0_2_0 import a\n"),
    "not ASCII": ("é = 'ü'; import dwh.jobs.v0_1_0.a\n", "é = 'ü'; import dwh.jobs.v0_2_0.a\n"),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("ends", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_what_is_renamed(name: str, ends: str) -> None:
    old, new = (text.replace("\n", ends) for text in CASES[name])
    ast.parse(old)
    assert renamed(old.encode(), "a.py", "dwh.jobs", "v0_1_0", "v0_2_0") == new.encode()


def test_the_encoding_of_the_file_stays() -> None:
    text = "# -*- coding: latin-1 -*-\nx = 'ü'\nimport dwh.jobs.v0_1_0\n"
    assert renamed(text.encode("latin-1"), "a.py", "dwh.jobs", "v0_1_0", "v0_2_0") == text.replace(
        "v0_1_0", "v0_2_0"
    ).encode("latin-1")


@pytest.mark.parametrize("content", [b"x = '''\nv0_1_0", b"# v0_1_0 \xff\n", b"(v0_1_0"])
def test_what_is_no_python(content: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"a\.py: no Python"):
        renamed(content, "a.py", "dwh.jobs", "v0_1_0", "v0_2_0")
