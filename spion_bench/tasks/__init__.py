"""The Long Range Arena tasks: data, published settings, and where both come from."""

from spion_bench.tasks.config import ModelConfig, SpionConfig, TaskConfig, TrainConfig
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
