"""kill -9 of operations, at every statement they send: the ledger stays whole, and what lies in target/ is mended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.forge import Forge, Wire
from support.shop import ROOT, Shop

MOMENTS = 50
NUMBERED = "customers,orders,payments"


def arguments(macro: str, number: int) -> dict[str, Any]:
    """An operation that has something to write, whatever the ones before it wrote."""
    if macro == "register_version":
        return {"model_name": "orders", "version": f"2.{number}.0"}
    if macro == "deploy_version":
        return {"model_name": "customers", "version": "1.0.0", "environment": f"deployed{number}"}
    return {"target_environment": f"promoted{number}", "models": NUMBERED}


OPERATIONS = ("register_version", "deploy_version", "promote_to_environment")


def check_ledger(shop: Shop) -> None:
    """A successful promotion has all of its deployments, and no deployment stands alone."""
    deployments: dict[str, list[str]] = {}
    for row in shop.rows("deployments"):
        deployments.setdefault(row["promotion_id"], []).append(row["unique_id"])
    for row in shop.rows("promotions"):
        planned = [item["unique_id"] for item in json.loads(row["plan"]) if item["action"] == "promote"]
        assert row["status"] == "success"
        assert sorted(deployments.pop(row["id"], [])) == sorted(planned)
    assert deployments == {}


def check_mirror(shop: Shop) -> None:
    """Every file is whole and says what the ledger says."""
    promotions: dict[str, list[str]] = {}
    for row in shop.rows("promotions"):
        promotions.setdefault(row["environment"], []).insert(0, row["id"])
    for environment, ids in promotions.items():
        document = shop.document(f"promotion_states/{environment}.json")
        assert [entry["promotion_id"] for entry in document["promotions"]] == ids[:10]
    versions: dict[str, set[str]] = {}
    for row in shop.rows("versions"):
        versions.setdefault(row["name"], set()).add(row["version"])
    for name, registered in versions.items():
        document = shop.document(f"versions/{name}.json")
        assert {entry["version"] for entry in document["versions"]} == registered


@pytest.fixture
def wired(shop: Shop) -> Any:
    """(forge, wire, options that lead dbt through the wire)."""
    for name in NUMBERED.split(","):
        shop.op("register_version", model_name=name, version="1.0.0")
    assert shop.server
    with Forge(shop) as forge, Wire(shop.server.host, shop.server.port) as wire:
        folder = shop.path.parent / "wired"
        folder.mkdir()
        profiles = json.loads((shop.path / "profiles.yml").read_text(encoding="utf-8"))
        for output in profiles["shop"]["outputs"].values():
            output.update(host="127.0.0.1", port=wire.port)
        (folder / "profiles.yml").write_text(json.dumps(profiles), encoding="utf-8")
        yield forge, wire, ("--profiles-dir", str(folder))


def test_killed_at_any_moment(shop: Shop, wired: Any) -> None:
    forge, wire, options = wired
    moments: list[tuple[str, int, str]] = []
    for number, macro in enumerate(OPERATIONS):
        wire.expect()
        (done,) = forge.run(forge.operation(macro, *options, **arguments(macro, 1000 + number)))
        assert done.returncode == 0, done.output
        first = next(n for n, sql in enumerate(wire.statements) if "dbt_cicd" in sql)
        assert any("insert into" in sql for sql in wire.statements)
        statements = range(first, len(wire.statements))
        moments += [(macro, n, moment) for n in statements for moment in ("unsent", "sent", "answered")]
        moments += [(macro, -1, "exit")]
    assert len(moments) >= MOMENTS
    wrote = set()
    for number in range(MOMENTS):
        macro, statement, moment = moments[number * len(moments) // MOMENTS]
        before = shop.counts()
        (pid,) = forge.ready(forge.operation(macro, *options, **arguments(macro, number)))
        wire.expect(pid, statement, moment)
        (done,) = forge.go()
        assert done.returncode == -signal.SIGKILL, (macro, statement, moment, done.output)
        # Takes the lock, so it also proves that the dead one gave it back.
        shop.op("export_state")
        check_ledger(shop)
        check_mirror(shop)
        wrote.add((macro, shop.counts() != before))
    assert wrote == {(macro, kept) for macro in OPERATIONS for kept in (True, False)}


def test_killed_while_the_ledger_is_made(shop: Shop, wired: Any) -> None:
    forge, wire, options = wired
    shop.sql("drop schema dbt_cicd cascade")
    wire.expect()
    assert forge.run(forge.operation("setup_ledger", *options))[0].returncode == 0
    made = shop.counts()
    for number in range(len(wire.statements)):
        shop.sql("drop schema dbt_cicd cascade")
        (pid,) = forge.ready(forge.operation("setup_ledger", *options))
        wire.expect(pid, number, "sent")
        forge.go()
        shop.op("setup_ledger")
        assert shop.counts() == made
    shop.op("register_version", model_name="customers", version="1.0.0")


def test_killed_while_a_file_is_written(shop: Shop, wired: Any) -> None:
    """The file is torn, the ledger is not; the next command of either kind mends the file."""
    forge, _, _ = wired
    file = shop.path / "target/promotion_states/production.json"
    for number, mend in enumerate((_export, _dbt_cicd)):
        file.parent.mkdir(exist_ok=True)
        file.unlink(missing_ok=True)
        os.mkfifo(file)
        arguments = {"target_environment": "production", "models": NUMBERED}
        (pid,) = forge.ready(forge.operation("promote_to_environment", **arguments))
        forge._say("go")
        with file.open("rb") as pipe:  # opens when dbt does
            text = pipe.read(100)
            os.kill(pid, signal.SIGKILL)
        assert forge._answer() == [-signal.SIGKILL]
        file.unlink()
        file.write_bytes(text[:50])
        assert len(shop.rows("promotions")) == number + 1
        mend(shop)
        check_ledger(shop)
        check_mirror(shop)


def _export(shop: Shop) -> None:
    shop.op("export_state")


def _dbt_cicd(shop: Shop) -> None:
    command = [sys.executable, "-m", "dbt_cicd_toolkit.cli.main", "status", "--project-dir", str(shop.path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
