"""Sampled dense-dense product: attention scores inside the kept blocks (SPION code, step SDDMM)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from spion_bench.block_pattern import BlockPattern
from spion_bench.native import library
from spion_bench.ops import checks
from spion_bench.ops.registration import register_operator, run


def block_sddmm(q: Tensor, k: Tensor, pattern: BlockPattern, *, scale: float) -> Tensor:
    """Compute ``scale * q @ k.T`` only inside the blocks that ``pattern`` keeps.

    Differentiable in ``q`` and ``k``. Oracle: ``reference.block_sddmm``. Cost:
    ``2 * B * H * nnzb * S * S * D`` FLOPs.

    Args:
        q: ``[B, H, L, D]`` of ``library.dtypes``, any strides with a contiguous last
            dimension.
        k: Like ``q``.
        pattern: Kept blocks; ``pattern.length == L``.
        scale: Factor of every score; attention uses ``1 / sqrt(D)``.

    Returns:
        Tiles ``[B, H, nnzb, S, S]`` in the order of ``pattern.col_indices``.

    Raises:
        ValueError: If an argument does not fit, naming it.
    """
    for name, x in (("q", q), ("k", k)):
        checks.check_heads(name, x, library.dtypes(x.device, "pipeline"))
    checks.check_like("k", k, "q", q)
    checks.check_pattern("q", q, pattern)
    checks.check_scale(scale)
    return run("block_sddmm", q, k, *pattern.index_tensors, pattern.block_size, scale)


def _fake(q: Tensor, k: Tensor, crow: Tensor, col: Tensor, *others: Any) -> Tensor:
    *_, block_size, _ = others
    return q.new_empty(q.shape[0], q.shape[1], col.shape[0], block_size, block_size)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    q, k, *indices, ctx.block_size, ctx.scale = inputs
    ctx.save_for_backward(q, k, *indices)


def _backward(ops: Any, ctx: Any, dscores: Tensor) -> tuple[Tensor | None, ...]:
    q, k, *indices = ctx.saved_tensors
    _, _, *by_column = indices
    dscores = dscores.contiguous()
    dq = dk = None
    if ctx.needs_input_grad[0]:
        dq = ops.block_spmm(dscores, k, *indices, ctx.block_size) * ctx.scale
    if ctx.needs_input_grad[1]:
        dk = ops.block_spmm_transposed(dscores, q, *by_column, ctx.block_size) * ctx.scale
    return dq, dk, *[None] * 7


register_operator("block_sddmm", _fake, _backward, _setup_context, takes_half=("cuda",))
