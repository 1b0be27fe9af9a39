"""Linformer's attention: keys and values are mixed into a few before queries see them.

Wang et al., "Linformer: Self-Attention with Linear Complexity", 2020 (arXiv 2006.04768, section 4).
One matrix mixes the positions of keys and of values, for all heads: the paper's key-value sharing.
O(L * rank) time and memory. Deviations:

- Padding is left out of the mixtures, as in Skyformer's code; the paper has none.
- The matrix is drawn with a deviation of 1 / sqrt(L), so mixtures are as large as values; the paper
  does not say.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.shared.numbers import check_at_least
from spion_bench.model.attention import Attention, Capabilities


class Linformer(Attention):
    """Softmax attention to ``rank`` learned mixtures of the tokens.

    Args:
        rank: Mixtures of keys and values.
        length: The longest sequence in tokens.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(exact=False, weights_sum_to_one=False)
    caveats: ClassVar[tuple[str, ...]] = (
        "approximates: queries see learned mixtures of all tokens",
        "has rank * L parameters in each layer that no other method has",
        "a mixture's weights may be negative, and do not sum to 1",
    )

    def __init__(self, rank: int = 128, length: int = 4096) -> None:
        super().__init__()
        check_at_least(1, rank=rank, length=length)
        self.rank = rank
        self.mixtures = nn.Parameter(torch.randn(rank, length) * length**-0.5)

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, key_padding_mask: Tensor | None = None
    ) -> Tensor:
        """Return the attention, ``[B, H, L, D]``.

        Raises:
            ValueError: If the sequence is longer than ``length``.
        """
        length = q.shape[2]
        if length > self.mixtures.shape[1]:
            raise ValueError(
                f"q: expected at most length={self.mixtures.shape[1]} tokens, got {length}"
            )
        mixtures = self.mixtures[:, :length].to(q.dtype)
        if key_padding_mask is not None:
            mixtures = mixtures * key_padding_mask[:, None, None, :]
        return F.scaled_dot_product_attention(q, mixtures @ k, mixtures @ v)

    def n_scores(self, length: int, heads: int) -> int:
        """Return the scores of all queries with all mixtures."""
        return heads * length * self.rank
