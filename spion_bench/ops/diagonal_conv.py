"""The diagonal filter that makes the diagonals of an attention map stand out."""

from __future__ import annotations

import torch
from torch import Tensor

from spion_bench.ops.checks_pattern import check_square
from spion_bench.ops.registration import register_operator, run


def diagonal_conv(attention_map: Tensor, filter_size: int = 31) -> Tensor:
    """Add up ``filter_size`` neighbours along each diagonal of an attention map.

    ``out[i, j]`` is the sum of ``attention_map[i + t, j + t]`` over ``t = -h..h`` with
    ``h = filter_size // 2``; cells outside the map count as 0 and the sum is not divided by
    ``filter_size``. This is the convolution with an identity matrix of SPION code (main_conv.py),
    where ``filter_size`` is 31 for every task.

    Args:
        attention_map: ``[L, L]``, float32 or float64, on the CPU. A NaN reaches the outputs whose
            window holds it, and no others.
        filter_size: Length of the filter; positive and odd.

    Returns:
        ``[L, L]`` in the map's dtype, summed in float64, without gradient. The result does not
        depend on the number of threads. Oracle: ``reference.diagonal_conv``.

    Raises:
        ValueError: If the map is not square, not float32 or float64, or not on the CPU, or
            ``filter_size`` is not positive and odd.
    """
    check_square("attention_map", attention_map, "[L, L]")
    if filter_size < 1 or filter_size % 2 == 0:
        raise ValueError(
            f"filter_size: expected a positive odd number, got {filter_size}; "
            "the published value is 31"
        )
    return run("diagonal_conv", attention_map.detach(), filter_size)


def _fake(attention_map: Tensor, filter_size: int) -> Tensor:
    return torch.empty_like(attention_map, memory_format=torch.contiguous_format)


register_operator("diagonal_conv", _fake)
