"""Loading a task's examples, and preparing them as arrays, so later runs need no raw files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spion_bench.tasks.prepared import (
    PREPARED_FOLDER,
    is_current,
    prepared_folder,
    read_prepared,
    write_prepared,
)
from spion_bench.tasks.registry import load_config, load_spec
from spion_bench.tasks.task import TaskData, TaskSplits


def load_task(
    name: str,
    *,
    data_dir: Path | None = None,
    options: Mapping[str, object] | None = None,
    use_prepared: bool = True,
) -> TaskData:
    """Load, or generate, the examples of task ``name``.

    What ``prepare_task`` wrote for the same options, and from the same files, is mapped into memory
    instead; the source's description says so.

    Args:
        name: One of ``task_names()``.
        data_dir: Folder that holds downloaded data sets. Without it, only what is generated,
            bundled or installed system-wide can be used.
        options: The task's own options, see ``ListOpsOptions``, ``ImageOptions`` and so on.
        use_prepared: Whether prepared data may be used.

    Raises:
        UsageError: If there is no such task, or an option is unknown or not allowed.
        ValueError: If a data file is damaged.
        FileNotFoundError: If the source asked for is missing; it says which file to put where.
    """
    config = load_config(name)
    splits = _load_splits(name, config.version, data_dir, options or {}, use_prepared)
    for split in (splits.train, splits.dev, splits.test):
        _check_range(f"task {name}: token id", split.inputs, config.model.vocab_size)
        _check_range(f"task {name}: label", split.labels, config.model.n_classes)
    return TaskData(
        name=name,
        version=config.version,
        train=splits.train,
        dev=splits.dev,
        test=splits.test,
        source=splits.source,
        vocab_size=config.model.vocab_size,
        n_classes=config.model.n_classes,
        length=splits.train.inputs.shape[-1],
        majority_share=float(np.bincount(splits.test.labels).max() / len(splits.test)),
    )


def prepare_task(name: str, data_dir: Path, options: Mapping[str, object]) -> tuple[TaskData, Path]:
    """Write the examples of task ``name`` to the data folder as arrays.

    Args:
        name: One of ``task_names()``.
        data_dir: Folder with the raw files; the arrays go to its subfolder ``prepared``.
        options: The task's own options. A run uses the arrays if it asks for the same ones.

    Returns:
        The task, and the folder that was written.

    Raises:
        UsageError: If there is no such task, or an option is unknown or not allowed.
        ValueError: If a raw file is damaged.
        FileNotFoundError: If a requested raw file is missing.
    """
    folder = prepared_folder(name, load_config(name).version, options, data_dir)
    data = load_task(name, data_dir=data_dir, options=options, use_prepared=False)
    splits = TaskSplits(data.train, data.dev, data.test, data.source)
    write_prepared(folder, name, data.version, options, splits)
    return data, folder


def _load_splits(
    name: str,
    version: str,
    data_dir: Path | None,
    options: Mapping[str, object],
    use_prepared: bool,
) -> TaskSplits:
    spec = load_spec(name)
    if data_dir is None or not use_prepared:
        return spec.load(data_dir, options)
    folder = prepared_folder(name, version, options, data_dir)
    if not folder.exists():
        return spec.load(data_dir, options)
    place = f"{PREPARED_FOLDER}/{folder.name}"
    if is_current(folder, data_dir):
        return _with_note(read_prepared(folder), f"mapped from {place}")
    note = f"not from {place}, which was made of other files"
    return _with_note(spec.load(data_dir, options), note)


def _with_note(splits: TaskSplits, note: str) -> TaskSplits:
    source = splits.source
    return replace(splits, source=replace(source, description=f"{source.description}; {note}"))


def _check_range(what: str, values: NDArray[np.signedinteger[Any]], end: int) -> None:
    if values.size == 0 or values.min() < 0 or values.max() >= end:
        found = f"{values.min()}..{values.max()}" if values.size else "no examples"
        raise ValueError(f"{what}: expected values from 0 to {end - 1}, got {found}")
