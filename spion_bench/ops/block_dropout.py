"""Dropout of probabilities inside the kept blocks, by a counter-based generator."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from spion_bench.block_pattern import BlockPattern
from spion_bench.native import library
from spion_bench.ops import checks
from spion_bench.ops.registration import register_operator, run


def block_dropout(probs: Tensor, pattern: BlockPattern, *, p: float, seed: int) -> Tensor:
    """Set each probability to 0 with probability ``p`` and scale the kept ones to compensate.

    Whether an entry is kept depends only on the seed and its position in the dense
    ``[B, H, L, L]`` matrix: Philox4x32-10 with key ``(seed mod 2**32, seed // 2**32)`` and counter
    ``(key_column // 8, query_row, b * H + h, 0)``. The four output words give eight 16-bit
    values; column c takes word ``(c % 8) // 2``, the low half if c is even. An entry is dropped if
    its value is below ``threshold = round(p * 65536)``; kept entries are multiplied by
    ``65536 / (65536 - threshold)``, one over the true keep probability.

    Differentiable in ``probs``. Oracle: ``reference.block_dropout``.

    Args:
        probs: Tiles ``[B, H, nnzb, S, S]``, contiguous, of ``library.dtypes``.
        pattern: Which blocks the tiles are.
        p: Drop probability, 0 to 65535/65536, resolved to multiples of 1/65536.
        seed: 0 to 2**63 - 1.

    Raises:
        ValueError: If an argument does not fit, naming it.
    """
    checks.check_tiles("probs", probs, pattern, library.dtypes(probs.device, "pipeline"))
    checks.check_dropout(p, seed)
    where = pattern.crow_indices, pattern.col_indices, pattern.block_size
    return run("block_dropout", probs, *where, p, seed)


def _fake(probs: Tensor, crow: Tensor, col: Tensor, block_size: int, p: float, seed: int) -> Tensor:
    return probs.new_empty(probs.shape)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, crow, col, ctx.block_size, ctx.p, ctx.seed = inputs
    ctx.save_for_backward(crow, col)


def _backward(ops: Any, ctx: Any, dout: Tensor) -> tuple[Tensor | None, ...]:
    crow, col = ctx.saved_tensors
    dprobs = ops.block_dropout(dout.contiguous(), crow, col, ctx.block_size, ctx.p, ctx.seed)
    return dprobs, None, None, None, None, None


register_operator("block_dropout", _fake, _backward, _setup_context, takes_half=("cuda",))
