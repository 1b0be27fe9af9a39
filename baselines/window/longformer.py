"""Longformer's attention: a window, dilated in some heads, and a few global tokens.

Beltagy et al., "Longformer: The Long-Document Transformer", 2020 (arXiv 2004.05150, section 3).
``unfolded`` computes it: O(L * (window + n_global)) time and memory. Deviations:

- The paper projects global tokens with weights of their own (section 3.1, "Linear Projections for
  Global Attention"); here they share the suite's projections: every method has the same parameters.
- The paper makes the classification token global; the suite averages over all tokens and has none,
  so the first token takes its place.
- The paper widens the window from layer to layer and dilates some heads of the upper layers of its
  language models; for classification it uses one window of 512 tokens without dilation, as here.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from baselines.shared.band import check_window, window_mask
from baselines.shared.numbers import check_at_least
from baselines.window.unfolded import Windows, make_windows, window_attention
from spion_bench.model.attention import Attention, Capabilities, dense_attention


class Longformer(Attention):
    """Exact attention to a window around each token and to the global tokens, which see all.

    Args:
        window: Tokens of the window, half on either side, and the token itself besides; even.
        n_global: How many tokens are global: the first ones.
        dilation: Step between the keys of a dilated head.
        dilated_heads: How many heads are dilated: the last ones.
        dilated_from_layer: The first layer with dilated heads.
        layer: Number of the layer.
    """

    capabilities: ClassVar[Capabilities] = Capabilities()
    caveats: ClassVar[tuple[str, ...]] = (
        "global tokens share the suite's projections; the paper gives them a second set",
        "the first token is the global one, in place of the paper's classification token",
        "plain PyTorch: chunks of queries times unfolded keys, 1 + 1/8 times the needed products "
        "at a window of 512; the windows' probabilities are stored, window / L of the dense ones",
    )

    def __init__(
        self,
        window: int = 512,
        n_global: int = 1,
        dilation: int = 2,
        dilated_heads: int = 0,
        dilated_from_layer: int = 0,
        layer: int = 0,
    ) -> None:
        super().__init__()
        check_window(window)
        if dilation < 1:
            raise ValueError(f"dilation: expected a step of at least 1 token, got {dilation}")
        check_at_least(0, n_global=n_global, dilated_heads=dilated_heads)
        self.window = window
        self.n_global = n_global
        self.dilation = dilation
        self.dilated_heads = dilated_heads if layer >= dilated_from_layer else 0
        self._windows: dict[tuple[int, int, torch.device], Windows] = {}

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, key_padding_mask: Tensor | None = None
    ) -> Tensor:
        """Return the attention, ``[B, H, L, D]``; a row that sees only padding gives 0."""
        parts = []
        for heads, dilation in self._groups(q.shape[1]):
            windows = self._laid_out(q.shape[2], dilation, q.device)
            own = (q[:, heads], k[:, heads], v[:, heads])
            parts.append(window_attention(*own, key_padding_mask, windows))
        out = torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]
        if self.n_global == 0:
            return out
        # Global tokens are the first rows: dense attention of these rows alone.
        dense = dense_attention(q[:, :, : self.n_global], k, v, key_padding_mask)
        return torch.cat([dense, out[:, :, self.n_global :]], dim=2)

    def _groups(self, heads: int) -> list[tuple[slice, int]]:
        """Return the heads that share a dilation, and it."""
        plain = max(0, heads - self.dilated_heads)
        groups = [(slice(0, plain), 1), (slice(plain, heads), self.dilation)]
        return [(group, dilation) for group, dilation in groups if group.start < group.stop]

    def _laid_out(self, length: int, dilation: int, device: torch.device) -> Windows:
        key = (length, dilation, device)
        if key not in self._windows:
            self._windows[key] = make_windows(
                length,
                self.window // 2,
                dilation=dilation,
                n_common=min(self.n_global, length),
                device=device,
            )
        return self._windows[key]

    def token_mask(self, length: int, heads: int) -> Tensor:
        """Return bool ``[L, L]``, or ``[H, L, L]`` where some heads are dilated."""
        groups = self._groups(heads)
        masks = [window_mask(length, self.window // 2, dilation) for _, dilation in groups]
        for mask in masks:
            mask[: self.n_global] = True
            mask[:, : self.n_global] = True
        if len(groups) == 1:
            return masks[0]
        counts = torch.tensor([group.stop - group.start for group, _ in groups])
        return torch.stack(masks).repeat_interleave(counts, dim=0)
