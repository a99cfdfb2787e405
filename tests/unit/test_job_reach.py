"""Who reaches whom, held against grimp's own reading; cycles."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import grimp
import pytest

from dbt_cicd_toolkit.jobs.reach import Modules, chain
from dbt_cicd_toolkit.jobs.trees import WorkingTree

PACKAGE = {
    "shop/__init__.py": "",
    "shop/common/__init__.py": "from .dates import day",
    "shop/common/dates.py": "import datetime\nfrom shop.common import texts",
    "shop/common/texts.py": "def f():\n    from ..lazy import x\n",
    "shop/lazy.py": "import shop.deep.er as e",
    "shop/deep/__init__.py": "",
    "shop/deep/er.py": "",
    "shop/jobs/__init__.py": "",
    "shop/jobs/v0_1_0/__init__.py": "",
    "shop/jobs/v0_1_0/a.py": "from ._helper import (\n    x,\n    y,\n)\nfrom shop import common, lazy",
    "shop/jobs/v0_1_0/_helper.py": "from . import b\nimport json",
    "shop/jobs/v0_1_0/b.py": (
        "import shop.common.dates, shop.lazy\ntry:\n    from shop.deep import er\nexcept ImportError:\n    er = None"
    ),
}


def modules(folder: Path, files: Mapping[str, str]) -> Modules:
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return Modules(WorkingTree(folder, None), "shop.jobs", ["dags"])


def test_the_imports_are_those_that_grimp_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = modules(tmp_path, PACKAGE)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    theirs = grimp.build_graph("shop", cache_dir=None)
    assert {found.module(path) for path in PACKAGE} == theirs.modules
    for path in PACKAGE:
        # What ours has besides: a package's __init__.py, which runs before its modules.
        ours = {found.module(step.path): step for step in found.steps(path) if step.use}
        expected = theirs.find_modules_directly_imported_by(found.module(path))
        assert expected <= set(ours), path
        parents = {".".join(name.split(".")[:end]) for name in expected for end in range(1, name.count(".") + 1)}
        assert set(ours) - expected <= parents | {found.module(path)}, path
        for name in expected:
            lines = theirs.get_import_details(importer=found.module(path), imported=name)
            assert ours[name].use.line in {each["line_number"] for each in lines}  # type: ignore[union-attr]


def test_a_chain_has_every_step_with_its_line(tmp_path: Path) -> None:
    found = modules(tmp_path, PACKAGE)
    reached = found.reached(["shop/jobs/v0_1_0/_helper.py"])
    steps = chain(found, found.graph(reached), "shop/jobs/v0_1_0/_helper.py", "shop/deep/er.py")
    assert steps == [("shop/jobs/v0_1_0/_helper.py", 1), ("shop/jobs/v0_1_0/b.py", 3), ("shop/deep/er.py", 1)]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"a.py": "import b", "b.py": "import a"}, [["a.py", "b.py"]]),
        ({"a.py": "import b", "b.py": "def f():\n    import a"}, []),
        ({"a.py": "import b", "b.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a"}, []),
        ({"a.py": "import b", "b.py": "import c", "c.py": "import a"}, [["a.py", "b.py", "c.py"]]),
        (
            {"a.py": "import b", "b.py": "import a", "c.py": "import d", "d.py": "import c"},
            [["a.py", "b.py"], ["c.py", "d.py"]],
        ),
        ({"p/__init__.py": "from .a import x", "p/a.py": "from . import b", "p/b.py": "x = 1"}, []),
        ({"p/__init__.py": "from .a import x", "p/a.py": "from . import y"}, [["p/__init__.py", "p/a.py"]]),
        ({"a.py": "import a"}, []),
    ],
)
def test_cycles_are_all_found(tmp_path: Path, files: Mapping[str, str], expected: list[list[str]]) -> None:
    assert modules(tmp_path, files).cycles(files) == expected


def test_modules_beside_the_dags_and_in_src_are_found(tmp_path: Path) -> None:
    files = {
        "dags/helper.py": "",
        "src/lib/__init__.py": "",
        "plugins/plug.py": "",
        "a.py": "import helper, lib, plug, os",
    }
    found = modules(tmp_path, files)
    assert set(found.reached(["a.py"])) == set(files)
