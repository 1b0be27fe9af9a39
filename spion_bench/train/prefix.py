"""The dense prefix that runs of one seed share: trained once, forked bit for bit.

Up to the transition a SPION run is a dense run. Its variants, and dense SDPA attention, therefore
start from one stored checkpoint of the moment of transition. Dense attention that rounds
differently has no share in it, and with ``transition_mode="per_layer"`` there is no single moment
of transition: such runs train from their first step.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from spion_bench.literals import Variant
from spion_bench.tasks.task import TaskData
from spion_bench.train.checkpoint import CheckpointStore, Tree
from spion_bench.train.data import data_digest
from spion_bench.train.phases import Run, dense_phase
from spion_bench.train.progress import Reporter
from spion_bench.train.settings import TrainSettings


def can_share_prefix(run: Run) -> bool:
    """Return whether the run's dense phase is the shared one, bit for bit."""
    layers = run.model.attention_layers()
    is_joint = run.settings.spion.transition_mode == "joint"
    return is_joint and all(layer.shares_dense_prefix for layer in layers)


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


def take_prefix(
    prefix_dir: Path,
    identity: Tree,
    make_run: Callable[[CheckpointStore], Run],
    reporter: Reporter,
    checkpoint_every_s: float,
) -> Tree:
    """Return the checkpoint of the prefix, training it first (or further) if need be.

    Of several processes that ask for the same prefix one trains it while the others wait.

    Args:
        prefix_dir: Where all prefixes are stored.
        identity: What the prefix is, from ``prefix_identity``.
        make_run: Makes the run that trains the prefix, given where it keeps its checkpoint.
        reporter: Is told when another process is waited for.
        checkpoint_every_s: Seconds between periodic checkpoints of the prefix.

    Raises:
        CheckpointError: If the stored prefix is damaged.
    """
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    directory = prefix_dir / f"{identity['task']}-seed{identity['seed']}-{digest[:16]}"
    store = CheckpointStore(directory, identity, checkpoint_every_s)
    prefix_dir.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{directory}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        message = f"waiting for another process that trains the dense prefix {directory.name}"
        reporter.tell("dense", 0, message=message)
        lock.acquire()
    try:
        tree = store.load()
        if tree is None or not _is_complete(tree, identity):
            run = make_run(store)
            if tree is not None:
                run.restore(tree)
            dense_phase(run)
            tree = store.load()
    finally:
        lock.release()
    if tree is None:
        raise AssertionError(f"{directory}: the prefix that was just stored is gone")
    return tree


def _is_complete(tree: Tree, identity: Tree) -> bool:
    """Whether a stored prefix has reached its transition or its last step."""
    state = tree["state"]
    return bool(state["pending"]) or state["step"] >= identity["train"]["steps"]
