"""Sparse-dense product: probabilities inside the kept blocks times values (SPION code, SpMM)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from spion_bench.block_pattern import BlockPattern
from spion_bench.native import library
from spion_bench.ops import checks
from spion_bench.ops.registration import register_operator, run, with_contiguous_rows


def block_spmm(probs: Tensor, v: Tensor, pattern: BlockPattern) -> Tensor:
    """Compute ``P @ v`` where ``P`` is 0 outside the blocks that ``pattern`` keeps.

    Differentiable in ``probs`` and ``v``. Oracle: ``reference.block_spmm``. Cost:
    ``2 * B * H * nnzb * S * S * D`` FLOPs.

    Args:
        probs: Tiles ``[B, H, nnzb, S, S]`` in the order of ``pattern.col_indices``, contiguous,
            of ``library.dtypes``.
        v: ``[B, H, L, D]``, any strides with a contiguous last dimension.
        pattern: Which blocks the tiles are; ``pattern.length == L``.

    Returns:
        ``[B, H, L, D]``; rows of an empty block row are 0.

    Raises:
        ValueError: If an argument does not fit, naming it.
    """
    dtypes = library.dtypes(probs.device, "pipeline")
    checks.check_tiles("probs", probs, pattern, dtypes)
    checks.check_heads("v", v, dtypes)
    checks.check_pattern("v", v, pattern)
    checks.check_same_kind("v", v, "probs", probs)
    if probs.shape[:2] != v.shape[:2]:
        raise ValueError(
            f"v: expected [B, H] = {list(probs.shape[:2])} as probs, got {list(v.shape[:2])}"
        )
    return run("block_spmm", probs, v, *pattern.index_tensors, pattern.block_size)


def _fake(probs: Tensor, v: Tensor, *others: Any) -> Tensor:
    return v.new_empty(v.shape)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    probs, v, *indices, ctx.block_size = inputs
    ctx.save_for_backward(probs, v, *indices)


def _backward(ops: Any, ctx: Any, dout: Tensor) -> tuple[Tensor | None, ...]:
    probs, v, *indices = ctx.saved_tensors
    _, _, *by_column = indices
    dout = with_contiguous_rows(dout)
    dprobs = dv = None
    if ctx.needs_input_grad[0]:
        dprobs = ops.block_sddmm(dout, v, *indices, ctx.block_size, 1.0)
    if ctx.needs_input_grad[1]:
        dv = ops.block_spmm_transposed(probs, dout, *by_column, ctx.block_size)
    return dprobs, dv, *[None] * 6


register_operator("block_spmm", _fake, _backward, _setup_context, takes_half=("cuda",))
register_operator("block_spmm_transposed", _fake, takes_half=("cuda",))
