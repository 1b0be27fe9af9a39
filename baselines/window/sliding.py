"""Sliding-window attention: every token attends to its neighbours.

The local pattern of Beltagy et al., "Longformer: The Long-Document Transformer", 2020 (arXiv
2004.05150, section 3.1), without global tokens; Long Range Arena's Longformer has none either.
``unfolded`` computes it. Deviations: none.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from baselines.shared.band import check_window, window_mask
from baselines.window.unfolded import Windows, make_windows, window_attention
from spion_bench.model.attention import Attention, Capabilities


class SlidingWindow(Attention):
    """Exact attention to the ``window / 2`` tokens on either side, and to the token itself.

    Args:
        window: Tokens of the window, half of them on either side; even.
    """

    capabilities: ClassVar[Capabilities] = Capabilities()
    caveats: ClassVar[tuple[str, ...]] = (
        "plain PyTorch: chunks of queries times unfolded keys, 1 + 1/8 times the needed products "
        "at a window of 512; the windows' probabilities are stored, window / L of the dense ones",
    )

    def __init__(self, window: int = 512) -> None:
        super().__init__()
        check_window(window)
        self.window = window
        self._windows: dict[tuple[int, torch.device], Windows] = {}

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, key_padding_mask: Tensor | None = None
    ) -> Tensor:
        """Return the attention, ``[B, H, L, D]``; a row whose window is all padding gives 0."""
        key = (q.shape[2], q.device)
        if key not in self._windows:
            self._windows[key] = make_windows(q.shape[2], self.window // 2, device=q.device)
        return window_attention(q, k, v, key_padding_mask, self._windows[key])

    def token_mask(self, length: int, heads: int) -> Tensor:
        """Return the band of the window, bool ``[L, L]``."""
        return window_mask(length, self.window // 2)

    def n_scores(self, length: int, heads: int) -> int:
        """Return the scores of the band, all heads together, without building it."""
        half = min(self.window // 2, length - 1)
        return heads * (length * (2 * half + 1) - half * (half + 1))
