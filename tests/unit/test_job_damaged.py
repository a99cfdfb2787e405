"""Manifests, locks, jobs and settings that are not what they should be: one message, never a traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dbt_cicd_toolkit.errors import Differs, InvalidInput
from dbt_cicd_toolkit.jobs import manifest, resolver
from dbt_cicd_toolkit.jobs.manifest import Entry, Manifest
from dbt_cicd_toolkit.jobs.number import Number
from dbt_cicd_toolkit.jobs.settings import Settings
from dbt_cicd_toolkit.jobs.source import read_job

ENTRY = Entry("dwh.jobs.v0_1_0.my_job", "MyJob", ("customers",), None, None)
RELEASE = Manifest(Number(0, 1, 0), "2026-11-21", None, {"my_job": ENTRY}, {"dwh/jobs/v0_1_0/my_job.py": "0"})


def damaged(**values: Any) -> bytes:
    return json.dumps(json.loads(RELEASE.text()) | values).encode()


def entry(**values: Any) -> dict[str, Any]:
    return {"my_job": json.loads(RELEASE.text())["jobs"]["my_job"] | values}


def test_a_manifest_is_read_as_it_was_written() -> None:
    assert manifest.parse(RELEASE.text().encode(), "releases/0.1.0.json") == RELEASE


@pytest.mark.parametrize(
    "content",
    [
        damaged(files=None),
        damaged(files={"a": 1}),
        damaged(shared=None),
        damaged(schema=[]),
        damaged(models={"a": None}),
        damaged(migration=3),
        damaged(date=None),
        damaged(version="banana"),
        damaged(version=3),
        damaged(previous=0),
        damaged(previous="banana"),
        damaged(format="1"),
        damaged(more=1),
        damaged(jobs=[]),
        damaged(jobs={"my_job": None}),
        damaged(jobs=entry(reads=3)),
        damaged(jobs=entry(reads="customers")),
        damaged(jobs=entry(writes=[3])),
        damaged(jobs=entry(class_name=None)),
        damaged(jobs=entry(more="x")),
        b"[]",
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_a_damaged_manifest_differs(content: bytes) -> None:
    with pytest.raises(Differs, match=r"^releases/0.1.0.json is not as it was written: .*Restore it"):
        manifest.parse(content, "releases/0.1.0.json")


@pytest.mark.parametrize("version", ["banana", "0.1", "01.0.0", "0.1.0-rc1", "0.1.0\n", "v0.1.0", 1, None])
def test_a_lock_with_what_is_no_version_differs(version: Any) -> None:
    body = {"format": 1, "environments": {"production": {"my_job": {"latest": version}}}}
    with pytest.raises(Differs, match=r"^dwh/jobs/jobs.lock is not as it was written: .* is no version\. Restore it"):
        resolver.parse(json.dumps(body).encode(), "dwh/jobs/jobs.lock")


def test_a_lock_that_is_nested_too_deep_differs() -> None:
    with pytest.raises(Differs, match=r"^dwh/jobs/jobs.lock is not as it was written"):
        resolver.parse(b'{"format": 1, "environments": ' + b"[" * 100_000, "dwh/jobs/jobs.lock")


@pytest.mark.parametrize("value", ["{[]: 1}", "{{}}", "-'a'", "[1]", "None", "['a'] + " + " + ".join(["['b']"] * 2000)])
def test_what_a_job_says_must_be_a_literal_list(value: str, tmp_path: Path) -> None:
    path = tmp_path / "my_job.py"
    path.write_text(f"class MyJob:\n    reads = {value}\n    def run(self): pass\n")
    with pytest.raises(InvalidInput, match=r"^my_job.py"):
        read_job(path, "my_job.py", "my_job")


@pytest.mark.parametrize("path", ["/etc", "../x", "dags/../../x", ""])
def test_dags_outside_of_the_repository_are_refused(path: str) -> None:
    text = f'package = "dwh"\n[environments.production]\ndags = ["dags", "{path}"]\n'
    with pytest.raises(
        InvalidInput, match=rf"^jobs.toml: environments.production.dags has '{path}', which is not inside"
    ):
        Settings.parse(text.encode(), "jobs.toml")


def test_dags_inside_of_it_are_read() -> None:
    text = 'package = "dwh"\n[environments.production]\ndags = [".", "a/b/", "..c"]\n'
    assert Settings.parse(text.encode(), "jobs.toml").environments["production"].dags == (".", "a/b/", "..c")
