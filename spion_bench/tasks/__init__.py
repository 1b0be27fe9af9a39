"""The Long Range Arena tasks: data, published settings, and where both come from."""

from spion_bench.records.settings import ModelConfig, SpionConfig, TrainConfig
from spion_bench.tasks.config import TaskConfig
from spion_bench.tasks.task import (
    DataSource,
    Split,
    TaskData,
    load_config,
    load_task,
    task_names,
)

__all__ = [
    "DataSource",
    "ModelConfig",
    "SpionConfig",
    "Split",
    "TaskConfig",
    "TaskData",
    "TrainConfig",
    "load_config",
    "load_task",
    "task_names",
]
