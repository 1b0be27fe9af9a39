"""Averages of the blocks of an attention map: the step from tokens to blocks."""

from __future__ import annotations

from torch import Tensor

from spion_bench.ops.checks_pattern import check_square
from spion_bench.ops.registration import register_operator, run


def average_pool(attention_map: Tensor, block_size: int) -> Tensor:
    """Average the non-overlapping blocks of an attention map.

    Sums are in float64 (SPION code, main_conv.py, pools in float32). Rounding them to the map's
    dtype makes blocks tie whose averages are equal up to summation noise, so ties are decided
    by rule.

    Args:
        attention_map: ``[L, L]``, float32 or float64, on the CPU.
        block_size: Rows and columns of a block, in tokens; a divisor of ``L``.

    Returns:
        ``[L / block_size, L / block_size]`` in the map's dtype, without gradient. The result does
        not depend on the number of threads. Oracle: ``reference.average_pool``.

    Raises:
        ValueError: If the map is not square, not float32 or float64, or not on the CPU, or its
            length is not a multiple of ``block_size``.
    """
    check_square("attention_map", attention_map, "[L, L]")
    length = attention_map.shape[0]
    if block_size < 1 or length % block_size:
        raise ValueError(
            f"block_size: expected a divisor of the map's length {length}, got {block_size}; "
            "pad the sequence or choose another block size"
        )
    return run("average_pool", attention_map.detach(), block_size)


def _fake(attention_map: Tensor, block_size: int) -> Tensor:
    nb = attention_map.shape[0] // block_size
    return attention_map.new_empty(nb, nb)


register_operator("average_pool", _fake)
