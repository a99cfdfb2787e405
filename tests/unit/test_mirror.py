"""The mirror's files: whole, never older, never outside the target path."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dbt_cicd_toolkit.errors import InvalidInput
from dbt_cicd_toolkit.models import mirror

NAME = "versions/customers.json"


def document(as_of: str, **more: object) -> str:
    return json.dumps({"as_of": as_of, **more})


def test_writes_and_replaces_only_what_is_not_newer(tmp_path: Path) -> None:
    target = tmp_path / "target"
    assert mirror.write({}, target) == [] and not target.exists()
    file = target / NAME
    assert mirror.write({NAME: document("2026-01-02 00:00:00", model="é")}, target) == [file]
    assert json.loads(file.read_text()) == {"as_of": "2026-01-02 00:00:00", "model": "é"}
    assert file.read_text().endswith("}\n")
    assert mirror.write({NAME: document("2026-01-01 00:00:00")}, target) == []
    assert json.loads(file.read_text())["model"] == "é"
    assert mirror.write({NAME: document("2026-01-02 00:00:00", model="same time")}, target) == [file]
    file.write_text('{"as_of": "2027')
    assert mirror.write({NAME: document("2026-01-01 00:00:00")}, target) == [file], "a torn file is replaced"
    assert [path.name for path in file.parent.iterdir()] == ["customers.json"]


@pytest.mark.parametrize(
    "path", ["../x.json", "/x.json", "a/../../x.json", "link/x.json", "", ".", "a\\b.json", "a\0b"]
)
def test_stays_inside(path: str, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "link").symlink_to(tmp_path)
    with pytest.raises(InvalidInput, match="not a path below"):
        mirror.write({"fine.json": document("1"), path: document("1")}, target)
    with pytest.raises(InvalidInput, match="not a path below"):
        mirror.stale({path: "1"}, target)
    assert [child.name for child in target.iterdir()] == ["link"]


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_refuses_what_is_no_document(text: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="not a JSON object"):
        mirror.write({"fine.json": document("1"), NAME: text}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_stale(tmp_path: Path) -> None:
    for name, text in {"torn": '{"as_of"', "old": document("1"), "same": document("2"), "newer": document("3")}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "without").write_text("{}")
    names = ["torn", "old", "same", "newer", "binary", "without", "missing"]
    assert mirror.stale(dict.fromkeys(names, "2"), tmp_path) == ["torn", "old", "binary", "without", "missing"]


def test_the_newest_of_many_writers_stays(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: mirror.write({NAME: document(f"{n:03}")}, tmp_path), [*range(0, 100, 2), *range(99)]))
    assert json.loads((tmp_path / NAME).read_text()) == {"as_of": "098"}


def test_kill_leaves_whole_files(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from dbt_cicd_toolkit.models import mirror\n"
        "n = 0\n"
        "while True:\n"
        "    n += 1\n"
        '    mirror.write({sys.argv[2]: \'{"as_of": "%09d", "x": "%s"}\' % (n, \'x\' * 200_000)}, Path(sys.argv[1]))\n'
    )
    environment = os.environ | {"PYTHONPATH": str(Path(mirror.__file__).parents[2])}
    for _ in range(5):
        writer = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), NAME], env=environment)
        while not (tmp_path / NAME).exists():
            time.sleep(0.01)
        time.sleep(0.15)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        assert len(json.loads((tmp_path / NAME).read_text())["x"]) == 200_000
        (tmp_path / NAME).unlink()
