"""Make the version of a job visible to Airflow. DAGs import it: standard library and packaging only, not even Airflow.

Airflow knows a task by the name of its function. ``v0_1_0.MyJob().run`` and ``v0_2_0.MyJob().run`` are both called
"MyJob.run", so a DAG that moves from one to the other keeps its hash, and Airflow makes no new version of it. Tags of
the DAG and the doc_md of a task are part of the hash, and stand on the pages.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import dbt_cicd_toolkit
from dbt_cicd_toolkit.errors import InvalidInput
from dbt_cicd_toolkit.jobs.source import Job, read_job

Operator = TypeVar("Operator")
_MODULE = re.compile(r"(?:.+\.)?v(0|[1-9]\d*)_(0|[1-9]\d*)_(0|[1-9]\d*)\.(\w+)")


def job_tags(*jobs: object) -> list[str]:
    """Tags for a DAG that runs these jobs: ['my_job@0.1.0', 'my_job@0.2.0'].

    Args:
        jobs: classes, as an import or resolve() gives them, or names of modules: 'dwh.jobs.v0_1_0.my_job'.

    Example: DAG("nightly", tags=[*job_tags(MyJobV1, MyJobV2), "finance"])
    """
    return sorted({_stamp(_module(job)) for job in jobs})


def versioned_operator(operator: Callable[..., Operator], job: Any, **arguments: Any) -> Operator:
    """Make a task that runs a job, with the job's version in its doc_md.

    In an operator with an environment of its own (PythonVirtualenvOperator) the job is built and run there, with what
    its ``requires`` say. Name the job by its module then, so that the DAG does not import what only that has.

    Args:
        operator: PythonOperator, PythonVirtualenvOperator, ExternalPythonOperator or a class of one; any other one only
            gets the doc_md.
        job: the class, or the name of its module: 'dwh.jobs.v0_1_0.my_job'.
        arguments: the operator's own: task_id … A doc_md is kept, below the version.

    Example: versioned_operator(PythonOperator, MyJob, task_id="my_job")
    """
    module = _module(job)
    said = arguments.pop("doc_md", None)
    arguments["doc_md"] = f"`{_stamp(module)}`" + (f"\n\n{said}" if said else "")
    if not _takes(operator, "python_callable") or "python_callable" in arguments:
        return operator(**arguments)
    if not _takes(operator, "serializer"):
        return operator(python_callable=_built(job, module).run, **arguments)
    made = operator(**_isolated(operator, module, arguments))
    # Not among op_args: an absolute path would make the hash of the DAG another one on every machine.
    vars(made).update(job_folder=str(_top(module)), job_toolkit=str(Path(dbt_cicd_toolkit.__file__ or "").parent))
    return made


def build_and_run(
    module: str, folder: str, toolkit: str, arguments: list[object], keywords: dict[str, object]
) -> object:
    """Build the job of a module and run it, in an interpreter that has neither the jobs nor this toolkit installed:
    Airflow copies the source of this function, and nothing else, into a script for it.

    Args:
        module: 'dwh.jobs.v0_1_0.my_job'.
        folder: where 'dwh' is.
        toolkit: the directory of dbt_cicd_toolkit, which dwh.jobs imports.
        arguments, keywords: of run().
    """
    import importlib
    import importlib.util
    import sys

    sys.path.append(folder)
    if importlib.util.find_spec("dbt_cicd_toolkit") is None:
        # This package alone: with the folder that it is in, all that is installed beside it would come along.
        spec = importlib.util.spec_from_file_location(
            "dbt_cicd_toolkit", f"{toolkit}/__init__.py", submodule_search_locations=[toolkit]
        )
        assert spec and spec.loader
        package = importlib.util.module_from_spec(spec)
        sys.modules["dbt_cicd_toolkit"] = package
        spec.loader.exec_module(package)
    resolver = importlib.import_module("dbt_cicd_toolkit.jobs.resolver")
    return resolver.class_of(importlib.import_module(module))().run(*arguments, **keywords)


def _module(job: object) -> str:
    """The module of a job, however it is named."""
    name = job if isinstance(job, str) else getattr(job, "__module__", None) or type(job).__module__
    if not _MODULE.fullmatch(name):
        raise InvalidInput(
            f"{job!r} is of no version folder, it is of '{name}'. Give the class of a job, or the name of its module, "
            "such as 'dwh.jobs.v0_1_0.my_job'."
        )
    return name


def _stamp(module: str) -> str:
    """'my_job@0.1.0'."""
    match = _MODULE.fullmatch(module)
    assert match, module
    return f"{match[4]}@{match[1]}.{match[2]}.{match[3]}"


def _takes(operator: Any, name: str) -> bool:
    """Has the operator, or a class that it is made of, a parameter of this name?"""
    made = [vars(each)["__init__"] for each in operator.__mro__ if "__init__" in vars(each) and each is not object]
    return any(name in inspect.signature(each).parameters for each in made)


def _built(job: Any, module: str) -> Any:
    if inspect.isclass(job):
        return job()
    if not isinstance(job, str):
        return job
    from dbt_cicd_toolkit.jobs.resolver import class_of

    return class_of(importlib.import_module(module))()


def _isolated(operator: Any, module: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments of an operator whose function runs in another interpreter."""
    own = {name: arguments.pop(name, None) for name in ("op_args", "op_kwargs", "requirements")}
    if _takes(operator, "requirements"):
        job = _read(module)
        if job.requires is None:
            raise InvalidInput(
                f"{job.path}:{job.line}: {job.class_name} does not say what it requires, and its environment "
                'is made of that. Write requires = ["pandas>=2"], or requires = [] for nothing.'
            )
        given = own["requirements"] or ()
        arguments["requirements"] = [*job.requires, *([given] if isinstance(given, str) else given)]
    places = ["{{ task.job_folder }}", "{{ task.job_toolkit }}"]
    return {
        **arguments,
        "python_callable": build_and_run,
        "op_args": [module, *places, list(own["op_args"] or ()), dict(own["op_kwargs"] or {})],
    }


def _file(module: str) -> Path:
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError as error:  # its folder, or what a package above it imports
        if not module.startswith(f"{error.name}."):
            raise
        spec = None
    if spec is None or not spec.origin:
        raise InvalidInput(f"there is no module {module}. `dbt-cicd job list` says which jobs there are.")
    return Path(spec.origin)


def _top(module: str) -> Path:
    """The folder that the first package of a module is in."""
    return _file(module).parents[module.count(".")]


def _read(module: str) -> Job:
    """What the source of a job says, without importing it."""
    return read_job(_file(module), module.replace(".", "/") + ".py", module)
