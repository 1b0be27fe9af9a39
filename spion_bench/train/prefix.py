"""The dense prefix that runs of one seed continue: trained once, forked bit for bit.

Up to the transition a SPION run is a dense run. Its variants, and dense SDPA attention, therefore
start from one stored checkpoint of the moment of transition: weights, optimiser, random state and
step, which is the data position. Dense attention that rounds differently has no share in it, and
with ``transition_mode="per_layer"`` there is no single moment of transition.
"""

from __future__ import annotations

from pathlib import Path

from spion_bench.train.checkpoint import CheckpointError, CheckpointStore, Tree


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
