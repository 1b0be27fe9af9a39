"""What a training run is asked to do, and whether its data can do it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from spion_bench.literals import Blocks, Variant
from spion_bench.records.cell import TaskSettings
from spion_bench.tasks.task import TaskData, splits_sha256
from spion_bench.train.precision import Arithmetic
from spion_bench.train.ranks import ALONE, Ranks
from spion_bench.train.schedule import RECIPES, Recipe


@dataclass(frozen=True)
class TrainJob:
    """What is trained.

    Attributes:
        task: The data.
        settings: Model, training, patterns, recipe and precision; a dense run reads of the patterns
            only whether it may share a dense prefix.
        variant: SPION's variant; None keeps the method as it is to the end (a dense run). Of a
            dense prefix: ``"F"`` for its own schedule in the published recipe, None for all others.
        seed: Seed of the weights, dropout and the order of the data.
        device: Where this process trains.
        blocks: Where the sparse phase keeps as many blocks as the pattern has.
        ranks: The processes that train it together, each on its share of every batch.
    """

    task: TaskData
    settings: TaskSettings
    variant: Variant | None
    seed: int
    device: torch.device
    blocks: Blocks = "own"
    ranks: Ranks = ALONE

    @property
    def arithmetic(self) -> Arithmetic:
        """How it computes, and where."""
        return Arithmetic(self.settings.precision, self.device)

    @property
    def recipe(self) -> Recipe:
        """What it keeps of the published training code."""
        return RECIPES[self.settings.recipe]

    def identity(self, method: str) -> dict[str, Any]:
        """Return what tells the checkpoint of this job from those of others."""
        settings = self.settings
        return {
            **self._shared_identity(),
            "spion": settings.spion.model_dump(),
            "recipe": settings.recipe,
            "method": method,
            "variant": self.variant,
            "blocks": self.blocks,
        }

    def prefix_identity(self) -> dict[str, Any]:
        """Return everything that can change a bit of the dense phase."""
        recipe = self.recipe
        threshold = self.settings.spion.transition_threshold_percent
        return {
            **self._shared_identity(),
            "transition_threshold_percent": threshold,
            "lr_lag": recipe.lr_lag and self.variant != "F",
            "cycle_beta1": recipe.cycle_beta1,
            "threads": torch.get_num_threads(),
            "torch": str(torch.__version__),
        }

    def _shared_identity(self) -> dict[str, Any]:
        return {
            "task": self.task.name,
            "data": splits_sha256(self.task.train, self.task.dev, self.task.test),
            "model": self.settings.model.model_dump(),
            "train": self.settings.train.model_dump(),
            "precision": self.settings.precision,
            "seed": self.seed,
            "device": self.device.type,
            "processes": self.ranks.count,
        }


def check_fit(job: TrainJob, variant: Variant | None) -> None:
    """Raise ValueError, naming setting and remedy, if a job's settings do not fit its data."""
    task, settings, model = job.task, job.settings, job.settings.model
    if task.length > model.max_length:
        raise ValueError(
            f"max_length: expected at least the {task.length} positions of task {task.name}, got "
            f"{model.max_length}; raise max_length or ask for a shorter task"
        )
    if task.vocab_size > model.vocab_size:
        raise ValueError(
            f"vocab_size: expected at least the {task.vocab_size} tokens of task {task.name}, got "
            f"{model.vocab_size}; raise vocab_size"
        )
    if task.n_classes != model.n_classes:
        raise ValueError(
            f"n_classes: expected {task.n_classes} as in task {task.name}, got {model.n_classes}"
        )
    if (task.train.inputs.ndim == 3) != model.two_towers:
        raise ValueError(
            f"two_towers: got {model.two_towers}, but the inputs of task {task.name} have shape "
            f"{list(task.train.inputs.shape)}; pairs are [N, 2, L]"
        )
    if settings.train.batch_size % job.ranks.count:
        raise ValueError(
            f"batch_size: expected a multiple of the {job.ranks.count} processes that train "
            f"together, got {settings.train.batch_size}; each takes an equal share"
        )
    if variant is not None and task.length % settings.spion.block_size:
        raise ValueError(
            f"block_size: expected a divisor of the task's length {task.length}, got "
            f"{settings.spion.block_size}; choose another block size or length"
        )
