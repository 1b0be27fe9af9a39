"""The Long Range Arena tasks: data, published settings, and where both come from; no torch."""

from spion_bench.records.settings import ModelConfig, SpionConfig, TrainConfig
from spion_bench.tasks.config import TaskConfig
from spion_bench.tasks.loading import load_task, prepare_task
from spion_bench.tasks.registry import data_sets, load_config, load_spec, task_names
from spion_bench.tasks.task import DataSource, SourceSpec, Split, TaskData, TaskSpec

__all__ = [
    "DataSource",
    "ModelConfig",
    "SourceSpec",
    "SpionConfig",
    "Split",
    "TaskConfig",
    "TaskData",
    "TaskSpec",
    "TrainConfig",
    "data_sets",
    "load_config",
    "load_spec",
    "load_task",
    "prepare_task",
    "task_names",
]
