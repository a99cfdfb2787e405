"""Pins, and the stamps of versions: without a repository, without Airflow."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from dbt_cicd_toolkit.errors import InvalidInput
from dbt_cicd_toolkit.jobs import pins
from dbt_cicd_toolkit.jobs.airflow import job_tags, versioned_operator


@pytest.mark.parametrize("pin", ["latest", "~=0.1.0", "==0.1.0", "==0.1.*", ">=0.1,<0.3", ">=0.1, !=0.2.0", "~=1.2"])
def test_pins(pin: str) -> None:
    pins.check(pin)


@pytest.mark.parametrize(
    ("pin", "right"),
    [
        ("^0.1.0", "~=0.1.0"),
        ("^0.1", "~=0.1.0"),
        ("^0", "==0.*"),
        ("^0.0.3", "==0.0.3"),
        ("^1", "~=1.0"),
        ("^1.2", "~=1.2"),
        ("^1.2.3", ">=1.2.3,<2"),
        ("~0.1.0", "~=0.1.0"),
        ("~1.2", "~=1.2.0"),
        ("0.1.0", "==0.1.0"),
        ("v0.1.0", "==0.1.0"),
        ("=0.1.0", "==0.1.0"),
        ("0.1.x", "==0.1.*"),
    ],
)
def test_the_right_spelling(pin: str, right: str) -> None:
    with pytest.raises(InvalidInput) as error:
        pins.check(pin, "dags/nightly.py:3")
    assert str(error.value) == f"dags/nightly.py:3: '{pin}' is no pin: write '{right}'."
    pins.check(right)


@pytest.mark.parametrize("pin", ["^0.1.0", "^0.1", "^1", "^1.2", "^1.2.3", "^0.0.3", "~0.1.0", "~1.2"])
def test_the_right_spelling_admits_what_npm_does(pin: str) -> None:
    """The step that https://docs.npmjs.com/cli/v6/using-npm/semver leaves out, and what is before it."""
    with pytest.raises(InvalidInput) as error:
        pins.check(pin)
    right = str(error.value).split("write '")[1].split("'")[0]
    first, last, beyond = {
        "^0.1.0": ("0.1.0", "0.1.9", "0.2.0"),
        "^0.1": ("0.1.0", "0.1.9", "0.2.0"),
        "^1": ("1.0.0", "1.9.9", "2.0.0"),
        "^1.2": ("1.2.0", "1.9.9", "2.0.0"),
        "^1.2.3": ("1.2.3", "1.9.9", "2.0.0"),
        "^0.0.3": ("0.0.3", "0.0.3", "0.0.4"),
        "~0.1.0": ("0.1.0", "0.1.9", "0.2.0"),
        "~1.2": ("1.2.0", "1.2.9", "1.3.0"),
    }[pin]
    assert [pins.fits(right, version) for version in (first, last, beyond)] == [True, True, False]


@pytest.mark.parametrize("pin", ["", " ", "newest", "latest ", ">= ", "my_job"])
def test_no_pins(pin: str) -> None:
    with pytest.raises(InvalidInput, match="is no pin: a pin is a PEP 440 specifier such as"):
        pins.check(pin)


def test_a_pin_that_admits_more_than_it_seems() -> None:
    said = pins.warning("~=0.1")
    assert said and "admits 0.2 " in said and "write '~=0.1.0'" in said
    assert pins.warning("~= 0.1 ")
    for pin in ("~=0.1.0", "~=0.1,<0.2", "~=1.2", ">=0.1", "==0.1", "latest"):
        assert pins.warning(pin) is None, pin


JOB = "class MyJob:\n    {requires}\n    def run(self):\n        return 1\n"


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A package with two versions of a job."""
    for folder, requires in (("v0_1_0", "requires = ['widget==1']"), ("v0_2_0", "pass")):
        directory = tmp_path / "stamped_dwh/jobs" / folder
        directory.mkdir(parents=True)
        (directory / "my_job.py").write_text(JOB.format(requires=requires))
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in [name for name in sys.modules if name.startswith("stamped_dwh")]:
        del sys.modules[name]


class Virtualenv:
    """Has the parameters by which an operator with an environment of its own is known."""

    def __init__(
        self,
        *,
        python_callable: Any,
        requirements: Any = None,
        serializer: Any = None,
        op_args: Any = None,
        doc_md: str | None = None,
    ) -> None:
        self.requirements = requirements


def test_tags(jobs: Any) -> None:
    from stamped_dwh.jobs.v0_1_0.my_job import MyJob

    new = "stamped_dwh.jobs.v0_2_0.my_job"
    assert job_tags(new, MyJob, MyJob(), MyJob().run) == ["my_job@0.1.0", "my_job@0.2.0"]
    for wrong, said in ((Virtualenv, "is of no version folder"), ("my_job", "'my_job'"), (1, "'builtins'")):
        with pytest.raises(InvalidInput, match=said):
            job_tags(wrong)


def test_an_environment_needs_requirements(jobs: Any) -> None:
    old = versioned_operator(Virtualenv, "stamped_dwh.jobs.v0_1_0.my_job", requirements="pandas")
    assert old.requirements == ["widget==1", "pandas"]
    with pytest.raises(InvalidInput, match=r"v0_2_0/my_job\.py:1: MyJob does not say what it requires"):
        versioned_operator(Virtualenv, "stamped_dwh.jobs.v0_2_0.my_job")
    with pytest.raises(InvalidInput, match=r"there is no module stamped_dwh\.jobs\.v0_9_0\.my_job"):
        versioned_operator(Virtualenv, "stamped_dwh.jobs.v0_9_0.my_job")
