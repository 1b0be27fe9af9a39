"""The batch- and head-averaged dense attention map, from which patterns are made."""

from __future__ import annotations

import math

from torch import Tensor

from spion_bench.native import library
from spion_bench.ops import checks
from spion_bench.ops.registration import register_operator, run


def attention_map(
    q: Tensor, k: Tensor, *, key_padding_mask: Tensor | None = None, scale: float | None = None
) -> Tensor:
    """Average the dense attention probabilities over batch and heads.

    A plain mean, as in the SPION code: padded query rows count like all others. The ``[L, L]``
    result is the only matrix of its size that is ever stored. Not differentiable: gradients are
    not recorded. Oracle: ``reference.attention_map``.

    Args:
        q: ``[B, H, L, D]``, float32 or float64, any strides with a contiguous last dimension; in
            CUDA float32 with D up to 128.
        k: Like ``q``.
        key_padding_mask: bool ``[B, L]``, True = real token; padded keys get probability 0. An
            example without real tokens contributes 0.
        scale: Factor of the scores; ``1 / sqrt(D)`` by default.

    Returns:
        ``[L, L]`` in q's dtype.

    Raises:
        ValueError: If an argument does not fit, naming it.
    """
    dtypes = library.dtypes(q.device, "map")
    checks.check_heads("q", q, dtypes)
    checks.check_heads("k", k, dtypes)
    checks.check_like("k", k, "q", q)
    if q.numel() == 0:
        raise ValueError(f"q: expected at least one example to average, got {list(q.shape)}")
    checks.check_key_padding_mask(key_padding_mask, q.shape[0], q.shape[2], q)
    scale = 1.0 / math.sqrt(q.shape[3]) if scale is None else scale
    checks.check_scale(scale)
    return run("attention_map", q.detach(), k.detach(), key_padding_mask, scale)


def _fake(q: Tensor, k: Tensor, key_padding_mask: Tensor | None, scale: float) -> Tensor:
    return q.new_empty(q.shape[2], q.shape[2])


register_operator("attention_map", _fake)
