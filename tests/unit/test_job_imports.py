"""What is read of a Python file: imports, names in texts, pins, and what cannot be read."""

from __future__ import annotations

import pytest

from dbt_cicd_toolkit.errors import InvalidInput
from dbt_cicd_toolkit.jobs import imports
from dbt_cicd_toolkit.jobs.named import Named, named
from dbt_cicd_toolkit.jobs.number import Number
from dbt_cicd_toolkit.jobs.usage import Source

OLD = "dwh.jobs.v0_1_0"


def read(text: str, module: str = "dags.nightly", is_package: bool = False) -> Source:
    return imports.read(text.encode(), "dags/nightly.py", module, is_package, "dwh.jobs")


def versions(text: str, module: str = "dags.nightly") -> list[str]:
    """'0.1.0 my_job import 1' of each use of a version."""
    found = []
    for use in read(text, module).uses:
        if what := named(use.name, "dwh.jobs"):
            found.append(f"{what.version} {what.job or '*'} {use.how} {use.line}")
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from dwh.jobs.v0_1_0.my_job import MyJob", ["0.1.0 my_job import 1"]),
        ("from dwh.jobs.v0_1_0.my_job import MyJob as V1, helper", ["0.1.0 my_job import 1"] * 2),
        ("import dwh.jobs.v0_1_0.my_job", ["0.1.0 my_job import 1"]),
        ("import dwh.jobs.v0_1_0.my_job as z", ["0.1.0 my_job import 1"]),
        ("from dwh.jobs.v0_1_0 import my_job, other", ["0.1.0 my_job import 1", "0.1.0 other import 1"]),
        ("from dwh.jobs.v0_1_0 import (\n    my_job,\n)", ["0.1.0 my_job import 1"]),
        ("from dwh.jobs.v0_1_0 import *", ["0.1.0 * import 1"]),
        ("from dwh.jobs import v0_1_0\nv0_1_0.my_job.MyJob()", ["0.1.0 my_job import 2"]),
        ("from dwh.jobs import v0_1_0 as old\nold.my_job.MyJob()", ["0.1.0 my_job import 2"]),
        (
            "from dwh.jobs import v0_1_0\nv0_1_0.my_job.MyJob()\nuse(v0_1_0)",
            ["0.1.0 * import 1", "0.1.0 my_job import 2"],
        ),
        ("from dwh.jobs import v0_1_0", ["0.1.0 * import 1"]),
        ("from dwh import jobs\njobs.v0_1_0.my_job.MyJob()", ["0.1.0 my_job import 2"]),
        ("import dwh.jobs\ndwh.jobs.v0_1_0.my_job.MyJob()", ["0.1.0 my_job import 2"]),
        ("import dwh.jobs.v0_1_0\ndwh.jobs.v0_1_0.my_job.MyJob()", ["0.1.0 my_job import 2"]),
        ("def f():\n    from dwh.jobs.v0_1_0.my_job import MyJob", ["0.1.0 my_job import 2"]),
        ("try:\n    pass\nexcept E:\n    import dwh.jobs.v0_1_0.my_job", ["0.1.0 my_job import 4"]),
        ("match x:\n    case 1:\n        import dwh.jobs.v0_1_0.my_job", ["0.1.0 my_job import 3"]),
        ("with x:\n    import dwh.jobs.v0_1_0.my_job", ["0.1.0 my_job import 2"]),
        (
            "import importlib\nimportlib.import_module('dwh.jobs.v0_1_0.my_job')",
            ["0.1.0 my_job import 2", "0.1.0 my_job string 2"],
        ),
        (
            "from importlib import import_module as im\nim('dwh.jobs.' + 'v0_1_0' + '.my_job')",
            ["0.1.0 my_job import 2", "0.1.0 my_job string 2"],
        ),
        ("V = 'v0_1_0'\n__import__(f'dwh.jobs.{V}.my_job')", ["0.1.0 my_job import 2", "0.1.0 my_job string 2"]),
        ("X = {'--module_name': 'dwh.jobs.v0_1_0.my_job'}", ["0.1.0 my_job string 1"]),
        ("BashOperator(bash_command='python -m dwh.jobs.v0_1_0.my_job --now')", ["0.1.0 my_job string 1"]),
        ("X = 's3://code/dwh/jobs/v0_1_0/my_job.py'", ["0.1.0 my_job string 1"]),
        ("X = f'dwh.jobs.v0_1_0.{job}'", ["0.1.0 * string 1"]),
        ("X = f'{package}.v0_1_0.my_job'", ["0.1.0 my_job string 1"]),
        ("from dwh import jobs\ngetattr(jobs, 'v0_1_0').my_job", ["0.1.0 * import 2"]),
        ("from other.jobs.v0_1_0.my_job import MyJob", []),
        ("X = 'mydwh.jobs.v0_1_0.my_job'", []),
        ("'''It replaces dwh.jobs.v0_1_0.my_job.'''\n# dwh.jobs.v0_1_0.my_job", []),
        ("def f():\n    'see dwh.jobs.v0_1_0.my_job'", []),
    ],
)
def test_uses_of_a_version_are_read(text: str, expected: list[str]) -> None:
    assert versions(text) == expected


@pytest.mark.parametrize(
    ("module", "text", "expected"),
    [
        ("dwh.jobs.v0_2_0.my_job", "from ..v0_1_0.my_job import MyJob", ["0.1.0 my_job import 1"]),
        ("dwh.jobs.v0_2_0.my_job", "from .. import v0_1_0\nv0_1_0.my_job", ["0.1.0 my_job import 2"]),
        ("dwh.jobs.v0_2_0.my_job", "from . import other", ["0.2.0 other import 1"]),
        ("dwh.jobs.v0_2_0.my_job", "from ...jobs.v0_1_0 import my_job", ["0.1.0 my_job import 1"]),
        (
            "dwh.jobs.v0_2_0.my_job",
            "import importlib\nimportlib.import_module('..v0_1_0.my_job', __package__)",
            ["0.1.0 my_job import 2"],
        ),
    ],
)
def test_relative_imports_are_read(module: str, text: str, expected: list[str]) -> None:
    assert versions(text, module) == expected


@pytest.mark.parametrize(
    "line",
    [
        "importlib.import_module(name)",
        "importlib.import_module(f'dwh.jobs.{version}.my_job')",
        "importlib.import_module(*names)",
        "import_module(name)",
        "im(name)",
        "__import__(name)",
        "runpy.run_module(name)",
        "runpy.run_path(path)",
        "importlib.util.spec_from_file_location('x', path)",
        "map(import_module, names)",
        "load = importlib.import_module",
        "getattr(importlib, 'import_module')(name)",
        "getattr(jobs, name)",
        "exec(code)",
        "eval('__import__(x)')",
        "x = 'dwh.jobs.' + version",
        "x = 'dwh.jobs.%s.my_job' % version",
        "x = 'dwh.jobs.{}.my_job'.format(version)",
        "x = '.'.join(['dwh.jobs', version, 'my_job'])",
        "x = f'dwh/jobs/v{version}/my_job.py'",
        "x = 'dwh.jobs.{{ params.version }}.my_job'",
        # put together of a package and a version
        "x = 'dwh.jobs.v%d_%d_%d.my_job' % numbers",
        "x = '{}.{}.my_job'.format('dwh.jobs', version)",
        "x = '%s.%s.my_job' % ('dwh.jobs', version)",
        "x = '%(p)s.%(v)s' % {'p': 'dwh.jobs', 'v': version}",
        "x = 'dwh.jobs.VERSION.my_job'.replace('VERSION', version)",
        "x = '.'.join(['dwh', 'jobs', version])",
        "x = find('dwh.jobs', version)",
        "x = 'dwh.jobs'.__add__('.' + version)",
        "x = b'dwh.jobs.' + version",
        "def f(package='dwh.jobs'): pass",
        "x = [f'dwh.jobs.{each}' for each in versions]",
        # of a version alone
        "x = base + '.v0_' + minor",
        "x = f'v{major}_{minor}_{patch}'",
        "x = 'v{}_{}_{}'.format(*numbers)",
        "x = 'v' + version.replace('.', '_')",
        "x = 'v%s' % version.replace('.', '_')",
        "x = '{0}.v{1}'.format(package, version)",
        # of paths
        "x = Path('dwh/jobs') / version",
        "x = Path('dwh') / 'jobs' / version / 'my_job.py'",
        "x = Path('dwh').joinpath('jobs', version)",
        "x = os.path.join('dwh', 'jobs', version)",
        "x = glob('/opt/airflow/dwh/jobs')",
        # of the package itself
        "getattr(jobs, 'v' + number)",
        "getattr(importlib.import_module('dwh.jobs'), name)",
        "getattr(sys.modules['dwh.jobs'], name)",
        "getattr(getattr(dwh, 'jobs'), name)",
        "__import__('dwh.jobs', fromlist=[name])",
        "vars(jobs)[name]",
        "jobs.__dict__[name]",
        "jobs.__getattribute__(name)",
        "attrgetter(name)(jobs)",
        "pkgutil.iter_modules(jobs.__path__)",
        "x = f'{jobs.__name__}.{name}'",
        "resources.files(jobs)",
        # of our own operator
        "versioned_operator(PythonOperator, names[0])",
        "versioned_operator(PythonOperator, f'{package}.{version}')",
        "for name in config['jobs']: versioned_operator(PythonOperator, name)",
        "versioned_operator(PythonOperator, **given)",
        # within a text
        "x = import_module(name).x.replace('.', '_')",
        "x = '{}'.format('v' + import_module(name).x)",
        "x = '%s' % ('v' + import_module(name).x)",
        "x = '.'.join(['v' + import_module(name).x])",
        "x = ('v' + import_module(name).x).format()",
        "logging.getLogger(import_module(name).x)",
    ],
)
def test_what_cannot_be_read_is_unknown(line: str) -> None:
    head = "import dwh, importlib, os, runpy\nfrom importlib import *\nfrom importlib import import_module as im\n"
    found = read(f"{head}from dwh import jobs\n{line}\n").unknown
    assert [each.line for each in found] == [5], found


def test_arguments_that_stand_before_unpacked_ones_are_read() -> None:
    text = f"from dwh.jobs import resolve\nOLD, NEW = '{OLD}.my_job', 'dwh.jobs.v0_2_0.my_job'\n"
    operator = "versioned_operator(PythonVirtualenvOperator, OLD, task_id='old', **HOW)\n"
    found = read(f"{text}{operator}resolve('my_job', '~=0.1.0', **given)\nresolve('my_job', '~=0.1.0', *given)\n")
    assert found.unknown == ()
    assert [use.name for use in found.uses if use.how == "string"] == [f"{OLD}.my_job", "dwh.jobs.v0_2_0.my_job"]
    assert [(pin.job, pin.pin, pin.environment) for pin in found.pins] == [("my_job", "~=0.1.0", "<given>")] * 2


@pytest.mark.parametrize(
    "line",
    [
        "re.compile(name)",
        "model.eval()",
        "import json",
        "getattr(thing, name)",
        "eval('1 + 1')",
        "resolve(name)",
        "x = f'v{number}'",
        "x = f'https://example.com/v{number}/items'",
        "x = f'{package}_{number}'",
        "x = 'table_' + name.replace('.', '_')",
        "x = total / count",
        "x = Path('data') / name",
        "logging.getLogger('dwh.jobs')",
        "versioned_operator(PythonOperator, MyJob, task_id='x')",
        "job = resolve('my_job')\nversioned_operator(PythonOperator, job)",
        "for job in (MyJob, resolve('my_job')): versioned_operator(PythonOperator, job)",
        "def task(job): return versioned_operator(PythonOperator, job)",
    ],
)
def test_what_imports_nothing_is_not_unknown(line: str) -> None:
    head = "from dwh.jobs import resolve\nfrom dwh.jobs.v0_1_0.my_job import MyJob\n"
    assert read(head + line).unknown == ()


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ("x = f'{PACKAGE}.v0_1_0.my_job'", []),
        ("x = '{}.v0_1_0.my_job'.format(PACKAGE)", []),
        ("x = '%s.%s.my_job' % (PACKAGE, 'v0_1_0')", []),
        ("x = PACKAGE + '.v0_1_0.my_job'", []),
        ("x = '.'.join([PACKAGE, 'v0_1_0', 'my_job'])", []),
        ("x = f'{PACKAGE}.{version}.my_job'", [2]),
        ("find(PACKAGE, version)", [2]),
        ("x = 1", [1]),  # another file may import it
    ],
)
def test_a_package_in_a_constant_is_told_where_it_is_used(line: str, lines: list[int]) -> None:
    text = f"PACKAGE = 'dwh.jobs'\n{line}"
    assert [each.line for each in read(text).unknown] == lines
    assert versions(text) == ([] if lines else ["0.1.0 my_job string 2"])


@pytest.mark.parametrize(
    "line",
    [
        "def f(job: 'dwh.jobs.v0_1_0.my_job.MyJob') -> 'dwh.jobs.v0_1_0.my_job.MyJob': pass",
        "job: 'dwh.jobs.v0_1_0.my_job.MyJob'",
        "class C:\n    job: list['dwh.jobs.v0_1_0.my_job.MyJob'] = []",
        "job: 'v0_1_0'",
        "job: Literal['dwh.jobs', b'v0_1_0']",
    ],
)
def test_a_text_in_an_annotation_does_not_run(line: str) -> None:
    found = read(line)
    assert (found.uses, found.unknown) == ((), ())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("job: str = 'dwh.jobs.v0_1_0.my_job'", ["0.1.0 my_job string 2"]),
        ("def f(job='dwh.jobs.v0_1_0.my_job') -> 'x': pass", ["0.1.0 my_job string 2"]),
        ("def f() -> jobs.v0_1_0.my_job.MyJob: pass", ["0.1.0 my_job import 2"]),
        ("job: named('dwh.jobs.v0_1_0.my_job')", ["0.1.0 my_job string 2"]),
    ],
)
def test_what_runs_of_an_annotation_is_a_use(line: str, expected: list[str]) -> None:
    assert versions(f"from dwh import jobs\n{line}") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from dwh.jobs import resolve\nresolve('my_job', '~=0.1.0')", [("my_job", "~=0.1.0")]),
        ("from dwh.jobs import resolve as r\nr('my_job')", [("my_job", "latest")]),
        ("from dwh import jobs\njobs.resolve(job='my_job', pin='==0.1.0')", [("my_job", "==0.1.0")]),
        ("import dwh.jobs\ndwh.jobs.resolve('my_job', PIN)", [("my_job", None)]),
        ("from dwh.jobs import *\nresolve(name, '==0.1.0')", [(None, "==0.1.0")]),
        ("from pathlib import Path\nresolve = Path().resolve\nresolve('x')", []),
    ],
)
def test_pins_are_read(text: str, expected: list[tuple[str | None, str | None]]) -> None:
    assert [(pin.job, pin.pin) for pin in read(text).pins] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("with DAG('nightly') as dag: pass", ("nightly",)),
        ("import airflow\nairflow.DAG(dag_id='nightly')", ("nightly",)),
        ("NAME = 'nightly'\nDAG(NAME)", ("nightly",)),
        ("from airflow.sdk import dag\n@dag(schedule=None)\ndef nightly(): pass", ("nightly",)),
        ("from airflow.sdk import dag\n@dag\ndef nightly(): pass", ("nightly",)),
        ("from airflow.sdk import dag\n@dag(dag_id='other')\ndef nightly(): pass", ("other",)),
        ("for x in y:\n    DAG(f'nightly_{x}')", ()),
    ],
)
def test_dag_ids_are_read(text: str, expected: tuple[str, ...]) -> None:
    assert read(text).dags == expected


@pytest.mark.parametrize(
    ("text", "apart"),
    [
        ("from dwh.jobs.v0_1_0.my_job import MyJob", False),
        ("@task.virtualenv(requirements=['x'])\ndef f():\n    from dwh.jobs.v0_1_0.my_job import MyJob", True),
        ("def f():\n    import dwh.jobs.v0_1_0.my_job\nPythonVirtualenvOperator(python_callable=f)", True),
        ("def f():\n    import dwh.jobs.v0_1_0.my_job\nPythonOperator(python_callable=f)", False),
        (
            "from x import versioned_operator\nversioned_operator(PythonVirtualenvOperator, 'dwh.jobs.v0_1_0.my_job')",
            True,
        ),
        ("from x import versioned_operator\nversioned_operator(PythonOperator, 'dwh.jobs.v0_1_0.my_job')", False),
    ],
)
def test_a_task_with_an_interpreter_of_its_own_is_known(text: str, apart: bool) -> None:
    assert {use.apart for use in read(text).uses if use.how == "import" and named(use.name, "dwh.jobs")} == {apart}


def test_a_text_that_is_no_python_is_read_line_by_line() -> None:
    lines = [
        "# dwh.jobs.v0_1_0.old",
        "module: dwh.jobs.v0_1_0.my_job",
        "other: dwh.jobs.{{ v }}.my_job",
        "file: dwh/jobs/v0_2_0/x.py",
    ]
    source = imports.read_text("\n".join(lines), "dwh.jobs")
    assert [(use.line, use.name) for use in source.uses] == [(2, f"{OLD}.my_job"), (4, "dwh.jobs.v0_2_0.x")]
    assert [each.line for each in source.unknown] == [3]


def test_imports_for_type_checkers_are_told_apart() -> None:
    text = (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a\nelse:\n    import b\ndef f():\n    import c"
    )
    assert [(use.name, use.typing, use.lazy) for use in read(text).uses[1:]] == [
        ("a", True, False),
        ("b", False, False),
        ("c", False, True),
    ]


def test_a_file_that_is_no_python_is_told_with_its_line() -> None:
    with pytest.raises(InvalidInput, match=r"^dags/nightly.py:2: no Python: "):
        read("x = 1\ndef f(:\n")


def test_a_name_is_of_a_version() -> None:
    assert named("dwh.jobs.v0_10_0.my_job.MyJob", "dwh.jobs") == Named(Number(0, 10, 0), "my_job")
    assert named("dwh.jobs.v01_0_0.my_job", "dwh.jobs") is None
    assert named("dwh.jobs.resolve", "dwh.jobs") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import dwh.jobs.v0_2_0.my_job\nx = dwh.jobs.v0_1_0", ["0.2.0 my_job import 1", "0.1.0 * import 2"]),
        ("from dwh import jobs\nOLD = jobs.v0_1_0", ["0.1.0 * import 2"]),
    ],
)
def test_a_folder_that_a_name_ends_with_is_used(text: str, expected: list[str]) -> None:
    assert versions(text) == expected
    assert read(text).unknown == ()


@pytest.mark.parametrize(
    "line",
    [
        "vars(dwh.jobs)['v0_1_0']",
        "operator.attrgetter('v0_1_0.my_job')(dwh.jobs)",
        "import_module('v0_1_0.my_job')",
        "import v0_1_0.my_job",
        "from v0_1_0 import my_job",
        "from dwh.jobs.v0_2_0 import v0_1_0",
        "x = Path(__file__).parent.parent / 'v0_1_0' / 'my_job.py'",
        "x = '../v0_1_0/my_job.py'",
        "x = b'../v0_1_0/my_job.py'",
        "pkgutil.get_data('dwh.jobs', 'v0_1_0/q.sql')",
        "x = here.v0_1_0",
        "x = find().v0_1_0.my_job",
        "x = '%s.my_job' % 'v0_1_0'",
        "x = '{}.my_job'.format('v0_1_0')",
        "x = '.'.join([find('v0_1_0'), 'my_job'])",
        "x = 'dwh.jobs.v0_2_0.my_job, v0_1_0'",
        "x = f'{find(\"v0_1_0\")}'",
        "V = 'v0_1_0'",
        "x = 'v0_1_' + '0'",
        "x = jobs.__dict__['v0_1_0']",
        f"x = '{'select 1 ' * 20} from v0_1_0'",
        "v0_1_0.my_job",
        "use(v0_1_0)",
    ],
)
def test_a_folder_that_no_use_accounts_for_is_unknown(line: str) -> None:
    head = "import dwh.jobs, dwh.jobs.v0_1_0.other\nfrom importlib import import_module\nfrom dwh.jobs import *\n"
    found = read(f"{head}{line}\n").unknown
    assert [(each.line, each.folders) for each in found] == [(4, ("v0_1_0",))], found


def test_a_constant_is_told_where_it_is_used() -> None:
    assert read("V = 'v0_1_0'\nimport_(f'dwh.jobs.{V}.my_job')").unknown == ()
    found = read("V = 'v0_1_0'\nimport_(f'dwh.jobs.{V}.my_job')\nvars(jobs)[V]").unknown
    assert [(each.line, each.text) for each in found] == [(3, "V")]


@pytest.mark.parametrize(
    "text",
    [
        '"""As v0_1_0 was."""\nx = 1  # v0_1_0',
        "x = 'nightly_v0_1_0'",
        "x = 'v0_1_0_backup'",
        "v0_1_0 = load()\nv0_1_0.run()",
        "from dwh.jobs import v0_1_0\nv0_1_0.my_job.MyJob()",
        "from dwh import jobs\ngetattr(jobs, 'v0_1_0').my_job",
    ],
)
def test_a_folder_that_is_accounted_for_is_not_unknown(text: str) -> None:
    assert read(text).unknown == ()


def test_a_folder_in_a_text_that_is_no_python_is_unknown() -> None:
    lines = ['"from dwh.jobs import v0_1_0\\n",', "version: v0_1_0", "{{ package }}.v0_1_0.my_job", "# v0_1_0"]
    found = imports.read_text("\n".join(lines), "dwh.jobs").unknown
    assert [(each.line, each.folders) for each in found] == [(line, ("v0_1_0",)) for line in (1, 2, 3)]


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("'staging'", "staging"),
        ("None", None),
        ("''", None),
        ("environment='staging'", "staging"),
        ("os.environ['X']", "<os.environ['X']>"),
        ("environment=ENV", "<ENV>"),
    ],
)
def test_the_environment_of_a_pin_is_read(argument: str, expected: str | None) -> None:
    (pin,) = read(f"from dwh.jobs import resolve\nresolve('my_job', '~=0.1.0', {argument})").pins
    assert pin.environment == expected


def test_an_expression_of_too_many_parts_is_told() -> None:
    with pytest.raises(InvalidInput, match=r"^dags/nightly.py: "):
        read("from airflow import DAG\nx = " + " + ".join(["y"] * 2000))
