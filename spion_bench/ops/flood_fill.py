"""Which blocks of a pooled attention map stay: the published walk, or region growing."""

from __future__ import annotations

import math
from typing import get_args

import torch
from torch import Tensor

from spion_bench.literals import Selection
from spion_bench.ops.checks import check_choice
from spion_bench.ops.checks_pattern import check_square
from spion_bench.ops.registration import register_operator, run


def flood_fill(pooled: Tensor, threshold: float, *, selection: Selection = "walk") -> Tensor:
    """Return the blocks that are above ``threshold`` and that the selection reaches.

    ``"walk"`` is what SPION code calls flood fill. From every cell of the first row and of the
    first column a walk steps to the largest of the neighbours below, to the right and diagonally
    below (right wins a tie with below, the diagonal wins any tie), until it leaves the map. Each
    cell that it steps on is kept if its value is above the threshold; the walk goes on either way.
    Blocks above the threshold that no walk meets are lost, and cell (0, 0) is never kept.

    ``"connected"`` is a true flood fill: the blocks above the threshold that are 4-connected to the
    block diagonal through such blocks. Diagonal blocks are seeds whatever their value.

    Neither adds the diagonal; ``generate_pattern`` does.

    Args:
        pooled: ``[nb, nb]``, float32 or float64, without NaN, on the CPU. Outside lie zeros, which
            a walk through negative values prefers; they are never kept.
        threshold: Values must exceed it strictly. May be negative. (The published code keeps only
            positive values, which is the same for probabilities.)
        selection: ``"walk"`` or ``"connected"``.

    Returns:
        bool ``[nb, nb]``. Oracle: ``reference.flood_fill``.

    Raises:
        ValueError: If ``pooled`` is not square, not float32 or float64, not on the CPU or holds
            NaN, the threshold is NaN, or the selection is unknown.
    """
    check_square("pooled", pooled, "[nb, nb]")
    if math.isnan(threshold):
        raise ValueError("threshold: expected a number, got NaN")
    check_choice("selection", selection, get_args(Selection))
    return run("flood_fill", pooled.detach(), threshold, selection)


def _fake(pooled: Tensor, threshold: float, selection: str) -> Tensor:
    return pooled.new_empty(pooled.shape, dtype=torch.bool)


register_operator("flood_fill", _fake)
