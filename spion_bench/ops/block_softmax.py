"""Softmax over the kept blocks of each score row, with either meaning of a pruned score."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from spion_bench.block_pattern import BlockPattern
from spion_bench.literals import Pruned
from spion_bench.native import library
from spion_bench.ops import checks
from spion_bench.ops.registration import operator, register_operator


def block_softmax(
    scores: Tensor, pattern: BlockPattern, *, pruned: Pruned, key_padding_mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Turn scaled scores into probabilities, row by row over the kept blocks.

    Differentiable in ``scores``, through both outputs. Oracle: ``reference.block_softmax``. The
    zero-logit denominator is the one of the SPION code (``scale_softmax_kernel``).

    Args:
        scores: Tiles ``[B, H, nnzb, S, S]``, contiguous, of ``library.dtypes``.
        pattern: Which blocks the tiles are.
        pruned: What a pruned score counts as. ``"minus_inf"``: it does not exist.
            ``"zero_logit"``: a score of 0 in the row's denominator, so rows sum to less
            than 1; padded columns outside the pattern count too.
        key_padding_mask: bool ``[B, L]``, True = real token; padded keys inside the pattern get
            probability 0.

    Returns:
        ``probs`` like ``scores``, and ``lse`` ``[B, H, L]``, the natural logarithm of each row's
        denominator, float32 for 16-bit scores, else of their type. A row whose denominator is 0
        (nothing stored, or all stored keys padded and nothing pruned that counts) has
        probabilities 0, lse +inf and gradients 0.

    Raises:
        ValueError: If an argument does not fit, naming it.
    """
    checks.check_tiles("scores", scores, pattern, library.dtypes(scores.device, "pipeline"))
    checks.check_choice("pruned", pruned, checks.PRUNED)
    checks.check_key_padding_mask(key_padding_mask, scores.shape[0], pattern.length, scores)
    probs, lse = operator("block_softmax")(
        scores,
        pattern.crow_indices,
        pattern.col_indices,
        pattern.block_size,
        pruned == "zero_logit",
        key_padding_mask,
    )
    return probs, lse


def _fake(
    scores: Tensor, crow: Tensor, col: Tensor, block_size: int, *others: Any
) -> tuple[Tensor, Tensor]:
    length = (crow.shape[0] - 1) * block_size
    lse_dtype = torch.float64 if scores.dtype == torch.float64 else torch.float32
    lse = scores.new_empty(*scores.shape[:2], length, dtype=lse_dtype)
    return scores.new_empty(scores.shape), lse


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    _, crow, _, ctx.block_size, _, _ = inputs
    ctx.save_for_backward(output[0], crow)
    ctx.set_materialize_grads(False)


def _backward(
    ops: Any, ctx: Any, dprobs: Tensor | None, dlse: Tensor | None
) -> tuple[Tensor | None, ...]:
    probs, crow = ctx.saved_tensors
    dprobs = torch.zeros_like(probs) if dprobs is None else dprobs.contiguous()
    dlse = None if dlse is None else dlse.contiguous()
    dscores = ops.block_softmax_backward(dprobs, dlse, probs, crow, ctx.block_size)
    return dscores, None, None, None, None, None


def _fake_backward(
    dprobs: Tensor, dlse: Tensor | None, probs: Tensor, crow: Tensor, block_size: int
) -> Tensor:
    return probs.new_empty(probs.shape)


register_operator("block_softmax", _fake, _backward, _setup_context, takes_half=("cuda",))
register_operator("block_softmax_backward", _fake_backward)
