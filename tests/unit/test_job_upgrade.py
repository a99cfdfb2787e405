"""How a file that uses one version of a job is rewritten to use another."""

from __future__ import annotations

import pytest

from dbt_cicd_toolkit.jobs.move import Move
from dbt_cicd_toolkit.jobs.moved import rewritten
from dbt_cicd_toolkit.jobs.number import Number

MOVE = Move("dwh.jobs", "my_job", Number(0, 1, 0), Number(0, 2, 0))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("from dwh.jobs.v0_1_0.my_job import MyJob", "from dwh.jobs.v0_2_0.my_job import MyJob"),
        (
            "# before\nfrom dwh.jobs.v0_1_0.my_job import (  # why\n    MyJob as V1,  # legacy\n    other,\n)  # end",
            "# before\nfrom dwh.jobs.v0_2_0.my_job import (  # why\n    MyJob as V1,  # legacy\n    other,\n)  # end",
        ),
        ("import dwh.jobs.v0_1_0.my_job as z  # z", "import dwh.jobs.v0_2_0.my_job as z  # z"),
        (
            "import dwh.jobs.v0_1_0.my_job, os\ndwh.jobs.v0_1_0.my_job.MyJob().run()",
            "import dwh.jobs.v0_2_0.my_job, os\ndwh.jobs.v0_2_0.my_job.MyJob().run()",
        ),
        ("from dwh.jobs.v0_1_0 import my_job", "from dwh.jobs.v0_2_0 import my_job"),
        (
            "# why\nfrom dwh.jobs.v0_1_0 import my_job as a, other  # both\nx = 1",
            "# why\nfrom dwh.jobs.v0_1_0 import other  # both\nfrom dwh.jobs.v0_2_0 import my_job as a\nx = 1",
        ),
        (
            "from dwh.jobs.v0_1_0 import (\n    my_job,  # mine\n    other,  # theirs\n)",
            "from dwh.jobs.v0_1_0 import (\n    other,  # theirs\n)\nfrom dwh.jobs.v0_2_0 import my_job  # mine",
        ),
        # Comments between the names stay, those of the name that goes go along.
        (
            "from dwh.jobs.v0_1_0 import (\n    # mine\n    my_job,  # old\n    # theirs\n    other,\n)",
            "from dwh.jobs.v0_1_0 import (\n    # mine\n    # theirs\n    other,\n)\n"
            "from dwh.jobs.v0_2_0 import my_job  # old",
        ),
        (
            "from dwh.jobs.v0_1_0 import (\n    a,  # a\n    my_job,\n    # theirs\n    other,\n)",
            "from dwh.jobs.v0_1_0 import (\n    a,  # a\n    # theirs\n    other,\n)\n"
            "from dwh.jobs.v0_2_0 import my_job",
        ),
        (
            "from dwh.jobs.v0_1_0 import (a, my_job,  # both\n    # theirs\n    other)",
            "from dwh.jobs.v0_1_0 import (a,\n    # theirs\n    other)\nfrom dwh.jobs.v0_2_0 import my_job  # both",
        ),
        (
            "from dwh.jobs.v0_1_0 import (\n    my_job as x,  # x\n    my_job as y,  # y\n    other,\n)",
            "from dwh.jobs.v0_1_0 import (\n    other,\n)\n"
            "from dwh.jobs.v0_2_0 import my_job as x, my_job as y  # x  # y",
        ),
        (
            "from dwh.jobs import (\n    v0_1_0,  # old\n    # new\n    v0_2_0,\n)\nv0_1_0.my_job.A(v0_2_0.other.B)",
            "from dwh.jobs import (\n    # old\n    # new\n    v0_2_0,\n)\nv0_2_0.my_job.A(v0_2_0.other.B)",
        ),
        (
            "from dwh.jobs import v0_1_0\nv0_1_0.my_job.MyJob()",
            "from dwh.jobs import v0_2_0\nv0_2_0.my_job.MyJob()",
        ),
        (
            "from dwh.jobs import v0_1_0 as old\nold.my_job.MyJob()",
            "from dwh.jobs import v0_2_0 as old\nold.my_job.MyJob()",
        ),
        (
            "from dwh.jobs import v0_1_0\nv0_1_0.my_job.MyJob()\nv0_1_0.other.Other()",
            "from dwh.jobs import v0_1_0, v0_2_0\nv0_2_0.my_job.MyJob()\nv0_1_0.other.Other()",
        ),
        (
            "from dwh.jobs import v0_1_0 as old\nold.my_job.MyJob()\nold.other.Other()",
            "from dwh.jobs import v0_1_0 as old, v0_2_0 as old_v0_2_0\nold_v0_2_0.my_job.MyJob()\nold.other.Other()",
        ),
        (
            "from dwh.jobs import v0_1_0, v0_2_0\nv0_1_0.my_job.A(v0_2_0.other.B)",
            "from dwh.jobs import v0_2_0\nv0_2_0.my_job.A(v0_2_0.other.B)",
        ),
        (
            "from dwh.jobs import v0_1_0  # legacy\nfrom dwh.jobs import v0_2_0\nv0_1_0.my_job.A()",
            "from dwh.jobs import v0_2_0  # legacy\nfrom dwh.jobs import v0_2_0\nv0_2_0.my_job.A()",
        ),
        (
            "import dwh.jobs.v0_1_0\ndwh.jobs.v0_1_0.my_job.A()",
            "import dwh.jobs.v0_2_0\ndwh.jobs.v0_2_0.my_job.A()",
        ),
        ("from dwh import jobs\njobs.v0_1_0.my_job.A()", "from dwh import jobs\njobs.v0_2_0.my_job.A()"),
        (
            "def f():\n    from dwh.jobs.v0_1_0.my_job import A  # late\n    return A",
            "def f():\n    from dwh.jobs.v0_2_0.my_job import A  # late\n    return A",
        ),
        (
            "import os; from dwh.jobs.v0_1_0 import my_job, b",
            "import os; from dwh.jobs.v0_1_0 import b; from dwh.jobs.v0_2_0 import my_job",
        ),
        (
            "X = {'--module_name': 'dwh.jobs.v0_1_0.my_job'}  # glue",
            "X = {'--module_name': 'dwh.jobs.v0_2_0.my_job'}  # glue",
        ),
        ('X = f"s3://{b}/dwh/jobs/v0_1_0/my_job.py"', 'X = f"s3://{b}/dwh/jobs/v0_2_0/my_job.py"'),
        (
            "from dwh.jobs import resolve\nA = resolve('my_job', '~=0.1.0')  # pin",
            "from dwh.jobs import resolve\nA = resolve('my_job', '~=0.2.0')  # pin",
        ),
        (
            "from dwh.jobs import resolve as r\nr(job='my_job', pin=\"==0.1.0\"); r('other', '==0.1.0')",
            "from dwh.jobs import resolve as r\nr(job='my_job', pin=\"==0.2.0\"); r('other', '==0.1.0')",
        ),
        (
            "from dwh import jobs\njobs.resolve('my_job', '>=0.1,<0.2')",
            "from dwh import jobs\njobs.resolve('my_job', '~=0.2.0')",
        ),
        # What means something else stays.
        ("from dwh.jobs.v0_1_0.my_job_2 import A", None),
        ("from dwh.jobs.v0_1_0.other import A", None),
        ("from other.jobs.v0_1_0.my_job import A", None),
        ("from dwh.jobs.v0_1_1.my_job import A", None),
        ("from dwh.jobs import resolve\nresolve('my_job', '>=0.1')", None),
        ("from dwh.jobs import resolve\nresolve('my_job')", None),
        ("from pathlib import Path as resolve\nresolve('my_job', '~=0.1.0')", None),
        ("'''It was dwh.jobs.v0_1_0.my_job.'''\n# dwh.jobs.v0_1_0.my_job", None),
    ],
)
def test_python_is_rewritten(before: str, after: str | None) -> None:
    for end in ("\n", "\r\n"):
        source = (before + "\n").replace("\n", end).encode()
        expected = ((after or before) + "\n").replace("\n", end).encode()
        done = rewritten(MOVE, "dags/nightly.py", source)
        assert done == expected
        assert rewritten(MOVE, "dags/nightly.py", done) == done


def test_texts_are_rewritten_but_for_comments() -> None:
    comment = "# dwh.jobs.v0_1_0.my_job\n"
    before = "a: dwh.jobs.v0_1_0.my_job # end\nb: dwh.jobs.v0_1_0.other\nc: dwh/jobs/v0_1_0/my_job.py\n"
    after = "a: dwh.jobs.v0_2_0.my_job # end\nb: dwh.jobs.v0_1_0.other\nc: dwh/jobs/v0_2_0/my_job.py\n"
    assert rewritten(MOVE, "dags/nightly.yml", (comment + before).encode()) == (comment + after).encode()
    assert rewritten(MOVE, "dags/logo.png", b"\x89PNG\xff v0_1_0") == b"\x89PNG\xff v0_1_0"


def test_another_encoding_stays() -> None:
    before = "# -*- coding: latin-1 -*-\nfrom dwh.jobs.v0_1_0.my_job import A  # f\xfcr\n".encode("latin-1")
    assert rewritten(MOVE, "dags/nightly.py", before) == before.replace(b"v0_1_0", b"v0_2_0")
