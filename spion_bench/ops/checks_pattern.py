"""The argument check shared by the pattern operators and pattern generation."""

from __future__ import annotations

import torch
from torch import Tensor

from spion_bench.ops.checks import check_device


def check_square(name: str, x: Tensor, dims: str) -> None:
    """Raise ValueError unless ``x`` is a square float32 or float64 matrix on the CPU or CUDA.

    ``dims`` names the shape in the message, e.g. ``"[L, L]"``. Autocast makes no exception: the
    pattern operators take part in no training step.
    """
    if x.ndim != 2 or x.shape[0] != x.shape[1] or x.shape[0] == 0:
        raise ValueError(f"{name}: expected a square {dims} matrix, got {list(x.shape)}")
    if x.dtype not in (torch.float32, torch.float64):
        dtype = str(x.dtype).removeprefix("torch.")
        raise ValueError(
            f"{name}: expected float32 or float64, got {dtype}; cast it, e.g. {name}.float()"
        )
    check_device(name, x)
