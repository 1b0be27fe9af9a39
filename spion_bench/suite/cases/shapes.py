"""The shapes of attention at the tasks' published settings; no torch."""

from __future__ import annotations

from spion_bench.records import KernelShape
from spion_bench.suite.budget import most_kept_blocks
from spion_bench.tasks import TaskConfig, load_config, task_names


def task_shape(config: TaskConfig) -> KernelShape:
    """Return the attention of one layer in one training step, with as many blocks as can be kept.

    Pairs of documents run one after the other: the shape is that of one document.
    """
    model, block_size = config.model, config.spion.block_size
    return KernelShape(
        batch=config.train.batch_size,
        heads=model.heads,
        length=model.max_length,
        head_dim=model.head_dim,
        block_size=block_size,
        n_blocks=most_kept_blocks(model.max_length // block_size, config.spion.quantile),
    )


def task_shapes() -> dict[str, KernelShape]:
    """Return the shape of every task."""
    return {name: task_shape(load_config(name)) for name in task_names()}


def same_shapes() -> dict[str, tuple[str, ...]]:
    """Return the first task of each shape, with all tasks that have it."""
    tasks: dict[KernelShape, list[str]] = {}
    for name, shape in task_shapes().items():
        tasks.setdefault(shape, []).append(name)
    return {names[0]: tuple(names) for names in tasks.values()}
