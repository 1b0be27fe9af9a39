"""Tasks: labelled token sequences, where they came from, and how to get them by name.

A task is a module that provides ``load(data_dir, options) -> TaskSplits`` and a file
``configs/<name>.toml``. Tasks know no torch, so listing them or preparing data loads none.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from spion_bench.records.settings import Settings, describe_problems
from spion_bench.tasks.config import TaskConfig, read_config, suggest

# Tasks are imported when they are loaded, so that one task's needs are not every task's.
_LOADERS = {
    "image": "spion_bench.tasks.image:load",
    "listops": "spion_bench.tasks.listops:load",
    "pathfinder": "spion_bench.tasks.pathfinder:load",
    "retrieval": "spion_bench.tasks.retrieval:load",
    "text": "spion_bench.tasks.text:load",
}

PREPARED_FOLDER = "prepared"  # in the data folder; see ``spion_bench.tasks.prepared``

_Options = TypeVar("_Options", bound=Settings)


@dataclass(frozen=True)
class Split:
    """Examples of one split.

    Attributes:
        inputs: int16 or int32 token ids: ``[N, L]``, of a task with two towers ``[N, 2, L]``.
        labels: int64 ``[N]``; classes from 0.
    """

    inputs: NDArray[np.signedinteger[Any]]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        if len(self.inputs) != len(self.labels):
            raise ValueError(
                f"labels: expected one for each of the {len(self.inputs)} inputs, "
                f"got {len(self.labels)}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int | None) -> Split:
        """Return the first ``count`` examples; None, or more than there are, means all."""
        return Split(self.inputs[:count], self.labels[:count])


@dataclass(frozen=True)
class DataSource:
    """Where the examples came from.

    Attributes:
        name: Of the source, e.g. ``"cifar10"`` or ``"generated"``.
        version: Of the source, or of the code that generates it.
        fingerprint: sha256 (hex) of the examples or of the file that holds them.
        stand_in: Whether this is other data than the published task's.
        description: One or two sentences for a report: what was used, how much of it, and why.
    """

    name: str
    version: str
    fingerprint: str
    stand_in: bool
    description: str


@dataclass(frozen=True)
class TaskSplits:
    """What a task's loader returns: the three splits and their source."""

    train: Split
    dev: Split
    test: Split
    source: DataSource


@dataclass(frozen=True)
class TaskData:
    """A task ready to train on.

    Attributes:
        name: The task's name.
        version: The task's version, from its configuration.
        train: What the model learns from.
        dev: What checkpoints are chosen by.
        test: What the result is measured on.
        source: Where the examples came from.
        vocab_size: Token ids are below it; the size of the published embedding table.
        n_classes: Labels are below it.
        length: Tokens per sequence, padding included; the padding id is 0.
        majority_share: Accuracy on the test split of always giving its most frequent label.
    """

    name: str
    version: str
    train: Split
    dev: Split
    test: Split
    source: DataSource
    vocab_size: int
    n_classes: int
    length: int
    majority_share: float


def task_names() -> list[str]:
    """Return the names of all tasks, sorted."""
    return sorted(_LOADERS)


def load_config(name: str) -> TaskConfig:
    """Return the published settings of task ``name``, each with its origin.

    Raises:
        ValueError: If there is no such task.
    """
    _check_name(name)
    return read_config(Path(__file__).parent / "configs" / f"{name}.toml")


def load_task(
    name: str,
    *,
    data_dir: Path | None = None,
    options: Mapping[str, object] | None = None,
    use_prepared: bool = True,
) -> TaskData:
    """Load, or generate, the examples of task ``name``.

    What ``spion-bench data prepare`` wrote for the same options, and of the same files, is mapped
    into memory instead; the source's description says so.

    Args:
        name: One of ``task_names()``.
        data_dir: Folder that holds downloaded data sets. Without it, only what is generated,
            bundled or installed system-wide can be used.
        options: The task's own options, see ``ListOpsOptions``, ``ImageOptions`` and so on.
        use_prepared: Whether prepared data may be used.

    Raises:
        ValueError: If there is no such task, an option is unknown or not allowed, or a data file
            is damaged.
        FileNotFoundError: If the source asked for is not there; it says which file to put where.
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


def _load_splits(
    name: str,
    version: str,
    data_dir: Path | None,
    options: Mapping[str, object],
    use_prepared: bool,
) -> TaskSplits:
    module_name, _, function_name = _LOADERS[name].partition(":")
    load: Callable[[Path | None, Mapping[str, object]], TaskSplits] = getattr(
        importlib.import_module(module_name), function_name
    )
    if data_dir is None or not use_prepared or not (data_dir / PREPARED_FOLDER).exists():
        return load(data_dir, options)
    from spion_bench.tasks import prepared

    folder = prepared.prepared_folder(name, version, options, data_dir)
    if not folder.exists():
        return load(data_dir, options)
    place = f"{PREPARED_FOLDER}/{folder.name}"
    if prepared.is_current(folder, data_dir):
        return _with_note(prepared.read_prepared(folder), f"mapped from {place}")
    return _with_note(load(data_dir, options), f"not from {place}, which was made of other files")


def _with_note(splits: TaskSplits, note: str) -> TaskSplits:
    source = splits.source
    return replace(splits, source=replace(source, description=f"{source.description}; {note}"))


def parse_options(kind: type[_Options], task: str, options: Mapping[str, object]) -> _Options:
    """Check a task's options.

    Raises:
        ValueError: If an option is unknown or its value is not allowed; it names the option.
    """
    known = list(kind.model_fields)
    for key in options:
        if key not in known:
            raise ValueError(
                f"task {task}: there is no option {key!r}{suggest(key, known)}; "
                f"options are {', '.join(known)}"
            )
    try:
        return kind.model_validate(dict(options))
    except ValidationError as error:
        raise ValueError(f"task {task}: option {describe_problems(error)}") from error


def _check_name(name: str) -> None:
    if name not in _LOADERS:
        raise ValueError(
            f"there is no task {name!r}{suggest(name, _LOADERS)}; "
            f"tasks are {', '.join(task_names())}"
        )


def _check_range(what: str, values: NDArray[np.signedinteger[Any]], end: int) -> None:
    if values.size == 0 or values.min() < 0 or values.max() >= end:
        found = f"{values.min()}..{values.max()}" if values.size else "no examples"
        raise ValueError(f"{what}: expected values from 0 to {end - 1}, got {found}")
