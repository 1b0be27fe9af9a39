"""The gate of methods with a mask of their own: dense masked attention, some rows at a time.

Every exact method says which keys each query attends to (``Attention.token_mask``). The oracle
computes only the columns that some of the rows keep, and computes its scores again in the backward
pass, so it never holds an ``[L, L]`` matrix of numbers.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from spion_bench.model.attention import Attention
from spion_bench.ops.reference.attention import softmax_rows
from spion_bench.passes.gate.oracle import GateResult, GateSetup, check_against
from spion_bench.passes.gate.precision import in_precision

ROWS = 128


def check_own_mask(attention: Attention, setup: GateSetup) -> GateResult:
    """Compare an exact method with dense attention over the mask that it states.

    It is checked in the setup's precision, or in the dtype that it computes in.
    """
    mask = attention.token_mask(setup.length, setup.drawn_heads)
    attend, setup = in_precision(attention, setup)
    setup = replace(setup, dtype=attention.capabilities.computes_in or setup.dtype)

    def by_rows(q: Tensor, k: Tensor, v: Tensor, key_padding_mask: Tensor | None) -> Tensor:
        return masked_attention_by_rows(q, k, v, mask, key_padding_mask)

    padded_rows = attention.capabilities.padded_rows
    return check_against(attend, by_rows, by_rows, setup, padded_rows=padded_rows)


def masked_attention_by_rows(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, key_padding_mask: Tensor | None
) -> Tensor:
    """Return softmax attention over the kept keys, ``[B, H, L, D]``, in the inputs' dtype.

    Args:
        q: ``[B, H, L, D]``.
        k: Like ``q``.
        v: Like ``q``.
        mask: bool ``[L, L]`` or ``[H, L, L]``, True = kept; None: all are.
        key_padding_mask: bool ``[B, L]``, True = real token, or None. A row without any key is 0.
    """
    outs = []
    for start in range(0, q.shape[2], ROWS):
        rows = slice(start, start + ROWS)
        kept = None if mask is None else mask[..., rows, :]
        out = checkpoint(_rows, q[:, :, rows], k, v, kept, key_padding_mask, use_reentrant=False)
        assert isinstance(out, Tensor)
        outs.append(out)
    return torch.cat(outs, dim=2)


def _rows(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, key_padding_mask: Tensor | None
) -> Tensor:
    if mask is not None:
        columns = mask.reshape(-1, mask.shape[-1]).any(dim=0).nonzero()[:, 0]
        k, v, mask = k[:, :, columns], v[:, :, columns], mask[..., columns]
        if key_padding_mask is not None:
            key_padding_mask = key_padding_mask[:, columns]
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    if key_padding_mask is not None:
        scores = scores.masked_fill(~key_padding_mask[:, None, None, :], -math.inf)
    return softmax_rows(scores, 0)[0] @ v
