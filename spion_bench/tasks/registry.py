"""All tasks by name: every folder next to this file that holds a ``config.toml`` is one."""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from typing import Any

from spion_bench.datasets.data_set import DataSet
from spion_bench.records.names import check_name
from spion_bench.tasks.config import TaskConfig, read_config
from spion_bench.tasks.task import TaskSpec

_CONFIG_FILE = "config.toml"


def task_names() -> list[str]:
    """Return the names of all tasks, sorted; no task is imported."""
    return list(_folders())


def load_spec(name: str) -> TaskSpec[Any]:
    """Return the declaration of task ``name``; only this task is imported.

    Raises:
        UsageError: If there is no such task.
    """
    check_name("task", name, _folders())
    spec: TaskSpec[Any] = importlib.import_module(f"spion_bench.tasks.{name}").SPEC
    return spec


@cache
def load_config(name: str) -> TaskConfig:
    """Return the published settings of task ``name``, each with its origin; read once.

    Raises:
        UsageError: If there is no such task.
        ValueError: If its file is not valid.
    """
    check_name("task", name, _folders())
    return read_config(_folders()[name] / _CONFIG_FILE)


def data_sets() -> dict[str, DataSet]:
    """Return every data set that ``spion-bench data fetch`` can get, by name."""
    specs = map(load_spec, task_names())
    return {data_set.name: data_set for spec in specs for data_set in spec.data_sets}


def readers_of(data_set: DataSet) -> list[str]:
    """Return the names of the tasks that read a data set."""
    return [name for name in task_names() if data_set in load_spec(name).data_sets]


@cache
def _folders() -> dict[str, Path]:
    configs = sorted(Path(__file__).parent.glob(f"*/{_CONFIG_FILE}"))
    return {path.parent.name: path.parent for path in configs}
