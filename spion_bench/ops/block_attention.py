"""Block-sparse attention: the fused operator, and the paper's pipeline composed of three."""

from __future__ import annotations

import math
from typing import Any, Literal, Required, TypedDict, Unpack, overload

import torch
from torch import Tensor

from spion_bench.block_pattern import BlockPattern
from spion_bench.literals import Implementation, Pruned
from spion_bench.native import library
from spion_bench.ops import checks
from spion_bench.ops.block_dropout import block_dropout
from spion_bench.ops.block_sddmm import block_sddmm
from spion_bench.ops.block_softmax import block_softmax
from spion_bench.ops.block_spmm import block_spmm
from spion_bench.ops.registration import operator, register_operator, with_contiguous_rows


class _Options(TypedDict, total=False):
    """The keyword arguments of ``block_attention`` that do not change what it returns."""

    pruned: Required[Pruned]
    causal: bool
    key_padding_mask: Tensor | None
    scale: float | None
    dropout_p: float
    dropout_seed: int | None
    implementation: Implementation


@overload
def block_attention(
    q: Tensor, k: Tensor, v: Tensor, pattern: BlockPattern, **options: Unpack[_Options]
) -> Tensor: ...
@overload
def block_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    pattern: BlockPattern,
    *,
    return_lse: Literal[True],
    **options: Unpack[_Options],
) -> tuple[Tensor, Tensor]: ...


def block_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    pattern: BlockPattern,
    *,
    pruned: Pruned,
    causal: bool = False,
    key_padding_mask: Tensor | None = None,
    scale: float | None = None,
    dropout_p: float = 0.0,
    dropout_seed: int | None = None,
    implementation: Implementation = "fused",
    return_lse: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Attend over the blocks that ``pattern`` keeps: ``softmax(scale * q k^T) v``.

    Exact, forward and backward, for both meanings of a pruned score; see ``block_softmax`` for
    rows without any key, ``block_dropout`` for dropout. Differentiable in ``q k v``, through both
    outputs. Under ``torch.autocast`` it takes and returns autocast's dtype, the pipeline on the CPU
    float32. Oracles:
    ``reference.block_attention`` and, for long sequences, ``reference.block_attention_by_rows``.
    Cost: ``4 * B * H * nnzb * S * S * D`` FLOPs forward, 2.5 times that backward.

    Query i and key j have a score where j is in the sequence and, if ``causal``, ``j <= i``; the
    score is *pruned* where the pattern does not keep its block. ``pruned`` says what that means:
    ``"minus_inf"``: the score does not exist either. ``"zero_logit"`` (the SPION code): it is a
    score of 0 in the row's denominator, so rows sum to less than 1. So with ``causal``, row i gets
    ``i + 1 - n_i`` zeros for n_i stored keys at or before it; later keys count for nothing.

    The fused operator takes sequences of any length up to the pattern's, of which it uses the first
    rows and columns. The pipeline takes ``Hk == H``, ``Lq == Lk == pattern.length``, one square
    pattern and no ``causal``, and refuses the rest.

    Args:
        q: ``[B, H, Lq, D]``, float32 or float64, any strides with a contiguous last dimension
            (``x.view(B, L, H, D).transpose(1, 2)`` needs no copy); D from 1 to 256. The fused
            operator also takes bfloat16 and float16 and computes in float32; so does the pipeline
            in CUDA, but its scores and probabilities are stored in 16 bits.
        k: ``[B, Hk, Lk, D]``, otherwise like ``q``. Hk divides H: each head of k and v serves a run
            of ``H / Hk`` query heads (grouped-query attention).
        v: Like ``k``.
        pattern: Kept blocks, with ``pattern.length >= Lq`` and ``pattern.key_length >= Lk``; its
            groups divide H, and each is the pattern of a run of ``H / groups`` query heads.
        pruned: ``"minus_inf"`` or ``"zero_logit"``, see above. Keys that are padding and lie
            outside the kept blocks count as zeros too.
        causal: Whether queries see no key after them; needs ``Lq == Lk``. Blocks above the diagonal
            hold no score then, see ``BlockPattern.lower_triangle``.
        key_padding_mask: bool ``[B, Lk]``, True = real token.
        scale: Factor of the scores; ``1 / sqrt(D)`` by default.
        dropout_p: Drop probability of the attention probabilities.
        dropout_seed: Seed of the dropout mask; required where ``dropout_p`` is positive. The caller
            draws a new seed per step, outside of a compiled function.
        implementation: ``"fused"`` stores neither scores nor probabilities. ``"pipeline"`` runs
            SDDMM, softmax and SpMM one after the other and stores the kept blocks, as the paper
            does. Both give the same result and the same dropout mask.
        return_lse: Also return the logarithm of each row's denominator, ``[B, H, Lq]``, of the
            distribution before dropout; float32 for 16-bit inputs, else their dtype.

    Returns:
        ``[B, H, Lq, D]``, or that and the log-sum-exp.

    Raises:
        ValueError: If an argument does not fit, naming it.
    """
    checks.check_choice("implementation", implementation, checks.IMPLEMENTATIONS)
    dtypes = library.dtypes(q.device, implementation)
    for name, x in (("q", q), ("k", k), ("v", v)):
        checks.check_heads(name, x, dtypes)
        checks.check_same_kind(name, x, "q", q)
    checks.check_attention(q, k, v, pattern, causal)
    if implementation == "pipeline":
        checks.check_plain(q, k, pattern, causal)
    checks.check_choice("pruned", pruned, checks.PRUNED)
    checks.check_key_padding_mask(key_padding_mask, k.shape[0], k.shape[2], q)
    scale = 1.0 / math.sqrt(q.shape[3]) if scale is None else scale
    checks.check_scale(scale)
    checks.check_dropout(dropout_p, dropout_seed)
    seed = 0 if dropout_seed is None else dropout_seed

    if implementation == "pipeline":
        scores = block_sddmm(q, k, pattern, scale=scale)
        probs, lse = block_softmax(
            scores, pattern, pruned=pruned, key_padding_mask=key_padding_mask
        )
        if dropout_p > 0.0:
            probs = block_dropout(probs, pattern, p=dropout_p, seed=seed)
        out = block_spmm(probs, v, pattern)
    else:
        out, lse = operator("block_attention_forward")(
            q,
            k,
            v,
            *pattern.index_tensors,
            pattern.block_size,
            pattern.groups,
            causal,
            pruned == "zero_logit",
            key_padding_mask,
            scale,
            dropout_p,
            seed,
        )
    return (out, lse) if return_lse else out


def _fake_forward(q: Tensor, k: Tensor, v: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    lse_dtype = torch.float64 if q.dtype == torch.float64 else torch.float32
    return q.new_empty(q.shape), q.new_empty(q.shape[:3], dtype=lse_dtype)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    q, k, v, *rest = inputs
    indices, (*ctx.shape, mask, scale, p, seed) = rest[:5], rest[5:]
    ctx.scale_and_dropout = scale, p, seed
    ctx.save_for_backward(q, k, v, *output, mask, *indices)
    ctx.set_materialize_grads(False)


def _backward(
    ops: Any, ctx: Any, dout: Tensor | None, dlse: Tensor | None
) -> tuple[Tensor | None, ...]:
    q, k, v, out, lse, mask, *indices = ctx.saved_tensors
    dout = torch.zeros_like(out) if dout is None else with_contiguous_rows(dout)
    dq, dk, dv = ops.block_attention_backward(
        dout,
        None if dlse is None else dlse.contiguous(),
        q,
        k,
        v,
        out,
        lse,
        *indices,
        *ctx.shape,
        mask,
        *ctx.scale_and_dropout,
    )
    return dq, dk, dv, *[None] * 13


def _fake_backward(
    dout: Tensor, dlse: Tensor | None, q: Tensor, k: Tensor, v: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    return q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape)


register_operator(
    "block_attention_forward", _fake_forward, _backward, _setup_context, takes_half=("cpu", "cuda")
)
register_operator("block_attention_backward", _fake_backward)
