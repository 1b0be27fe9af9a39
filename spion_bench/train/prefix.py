"""The dense prefix that runs of one seed continue: trained once, forked bit for bit.

Up to the transition a SPION run is a dense run. Its variants, and dense SDPA attention, therefore
start from one stored checkpoint of the moment of transition: weights, optimiser, random state and
step, which is the data position. Dense attention that rounds differently has no share in it, and
with ``transition_mode="per_layer"`` there is no single moment of transition.
"""

from __future__ import annotations

from pathlib import Path

import torch

from spion_bench.literals import Variant
from spion_bench.tasks.task import TaskData
from spion_bench.train.checkpoint import CheckpointError, CheckpointStore, Tree
from spion_bench.train.data import data_digest
from spion_bench.train.settings import TrainSettings


def prefix_identity(
    task: TaskData,
    settings: TrainSettings,
    variant: Variant | None,
    seed: int,
    device: torch.device,
) -> Tree:
    """Return everything that can change a bit of the dense phase."""
    switches = settings.switches
    return {
        "task": task.name,
        "data": data_digest(task),
        "model": settings.model.model_dump(),
        "train": settings.train.model_dump(),
        "transition_threshold_percent": settings.spion.transition_threshold_percent,
        "lr_lag": switches.lr_lag and variant != "F",
        "cycle_beta1": switches.cycle_beta1,
        "seed": seed,
        "device": device.type,
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
    }


def read_prefix(folder: Path, identity: Tree) -> Tree:
    """Return the checkpoint of a finished prefix.

    Raises:
        CheckpointError: If it is missing, damaged, unfinished, or not the prefix of this run.
    """
    tree = CheckpointStore(folder, identity, every_s=0.0).load()
    if tree is None or not is_complete(tree, identity):
        raise CheckpointError(f"{folder}: holds no finished dense prefix; run its cell again")
    return tree


def is_complete(tree: Tree, identity: Tree) -> bool:
    """Whether a stored prefix has reached its transition or its last step."""
    state = tree["state"]
    return bool(state["pending"]) or state["step"] >= identity["train"]["steps"]
