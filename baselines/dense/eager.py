"""Dense attention that materialises its scores: the class of baseline that SPION's paper times.

Softmax attention is that of Vaswani et al., "Attention Is All You Need", 2017. Like the dense
phase of the SPION code it multiplies, stores all ``[B, H, L, L]`` probabilities for the backward
pass, and multiplies again.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from spion_bench.model.attention import Attention, Capabilities


class DenseEager(Attention):
    """Exact dense attention in three plain operations, with the full score matrix in memory."""

    capabilities: ClassVar[Capabilities] = Capabilities()
    caveats: ClassVar[tuple[str, ...]] = (
        "stores all [B, H, L, L] probabilities, so its peak memory grows with the square of L",
        "computes in the input's precision; the SPION code multiplies in half precision",
    )

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, key_padding_mask: Tensor | None = None
    ) -> Tensor:
        """Return dense attention, ``[B, H, L, D]``; a sequence of padding only gives zeros."""
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
        if key_padding_mask is None:
            return scores.softmax(dim=-1) @ v
        # The lowest finite score instead of -inf: its weight is exactly 0 next to any real key, and
        # a sequence without real keys gives a uniform row, not NaN, which the second mask clears.
        mask = key_padding_mask[:, None, None, :]
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        return scores.softmax(dim=-1).masked_fill(~mask, 0) @ v
