"""What holds for every test: a skipped test is a failure where DBT_CICD_NO_SKIP=1 (make test sets it), and tests of
dbt v2 are selected only where DBT_CICD_V2 names its executable (make test-v2 sets it), long ones only where
DBT_CICD_LONG is set (make test-long)."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

NO_SKIP = os.environ.get("DBT_CICD_NO_SKIP") == "1"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for marker, variable in (("v2", "DBT_CICD_V2"), ("long", "DBT_CICD_LONG")):
        if not os.environ.get(variable):
            left_out = [item for item in items if item.get_closest_marker(marker)]
            config.hook.pytest_deselected(items=left_out)
            items[:] = [item for item in items if item not in left_out]


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if NO_SKIP and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which DBT_CICD_NO_SKIP=1 does not allow: {report.longrepr}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Stop the servers that the tests have shared; here, where the controller of pytest-xdist finds it."""
    if hasattr(session.config, "workerinput"):
        return
    from dbt_cicd_toolkit.postgres import embedded

    base: Path = session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    for version in base.glob("postgres*/PG_VERSION"):
        embedded.stop(version.parent)
