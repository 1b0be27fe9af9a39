"""Dense attention through PyTorch's fused ``scaled_dot_product_attention``: the yardstick.

Softmax attention is that of Vaswani et al., "Attention Is All You Need", 2017. PyTorch chooses the
kernel; on CPUs it is a tiled one that never stores the ``[L, L]`` scores.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from spion_bench.model.attention import Attention, Capabilities, dense_attention


class DenseSdpa(Attention):
    """Exact dense attention; in training it is SPION's dense phase, bit for bit."""

    capabilities: ClassVar[Capabilities] = Capabilities()
    caveats: ClassVar[tuple[str, ...]] = (
        "PyTorch's fused kernel, stronger than the dense attention that SPION's paper compares to",
    )

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, key_padding_mask: Tensor | None = None
    ) -> Tensor:
        """Return dense attention, ``[B, H, L, D]``; a sequence of padding only gives zeros."""
        return dense_attention(q, k, v, key_padding_mask)
