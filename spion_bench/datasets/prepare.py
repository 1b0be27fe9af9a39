"""Preparing a task: its examples once as arrays on disk, so that no later run reads raw files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from spion_bench.tasks import TaskData, load_config, load_task
from spion_bench.tasks.prepared import prepared_folder, write_prepared
from spion_bench.tasks.task import TaskSplits


def prepare(task: str, data_dir: Path, options: Mapping[str, object]) -> tuple[TaskData, Path]:
    """Write the examples of a task to the data folder.

    Args:
        task: Name of the task.
        data_dir: Folder with the raw files; the arrays go to its subfolder ``prepared``.
        options: The task's own options. A run uses the arrays if it asks for the same ones.

    Returns:
        The task, and the folder that was written.

    Raises:
        ValueError: If the task or an option is unknown, or a raw file is damaged.
        FileNotFoundError: If a raw file that is asked for is not there.
    """
    version = load_config(task).version
    folder = prepared_folder(task, version, options, data_dir)
    data = load_task(task, data_dir=data_dir, options=options, use_prepared=False)
    splits = TaskSplits(data.train, data.dev, data.test, data.source)
    write_prepared(folder, task, version, options, splits)
    return data, folder
