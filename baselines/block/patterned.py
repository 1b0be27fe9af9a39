"""Attention over a block pattern that only the length decides."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from baselines.shared.block_patterns import BUILDERS
from spion_bench.block_pattern import BlockPattern
from spion_bench.model.attention import Attention


class PatternedAttention(Attention):
    """Base of methods whose pattern is a ``BlockPattern`` that depends on the length alone.

    Args:
        pattern: Name of a builder in ``BUILDERS``.
        block_size: Tokens in a block; a power of two from 8 to 128.
        layer: Number of the layer; only random patterns depend on it.
        options: What else the builder takes.

    A length that is no multiple of the block size is padded inside.
    """

    def __init__(self, pattern: str, block_size: int = 64, layer: int = 0, **options: Any) -> None:
        super().__init__()
        if pattern not in BUILDERS:
            raise ValueError(f"pattern: expected one of {', '.join(BUILDERS)}, got {pattern!r}")
        if pattern == "bigbird_block":
            options["layer"] = layer
        self._build = BUILDERS[pattern]
        self._options = options
        self.block_size = block_size
        self._patterns: dict[tuple[int, torch.device], BlockPattern] = {}

    def pattern(self, length: int, device: torch.device | str = "cpu") -> BlockPattern:
        """Return the pattern of sequences of ``length`` tokens, padded to whole blocks."""
        key = (length, torch.device(device))
        if key not in self._patterns:
            whole = -(-length // self.block_size) * self.block_size
            pattern = self._build(whole, self.block_size, **self._options)
            self._patterns[key] = pattern.to(device)
        return self._patterns[key]

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, key_padding_mask: Tensor | None = None
    ) -> Tensor:
        """Return exact attention over the kept blocks, ``[B, H, L, D]``."""
        length = q.shape[2]
        pattern = self.pattern(length, q.device)
        missing = pattern.length - length
        if missing:
            if key_padding_mask is None:
                key_padding_mask = q.new_ones(q.shape[0], length, dtype=torch.bool)
            key_padding_mask = F.pad(key_padding_mask, (0, missing))
            q, k, v = (F.pad(x, (0, 0, 0, missing)) for x in (q, k, v))
        return self.attend(q, k, v, key_padding_mask, pattern)[:, :, :length]

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, pattern: BlockPattern
    ) -> Tensor:
        """Return the attention of sequences as long as the pattern, under a key padding mask."""
        raise NotImplementedError(f"{type(self).__name__} must define attend")

    def token_mask(self, length: int, heads: int) -> Tensor:
        """Return the pattern as bool ``[L, L]``."""
        return self.pattern(length).to_token_mask()[:length, :length]

    def n_scores(self, length: int, heads: int) -> int:
        """Return the scores of the kept blocks, all heads together."""
        return heads * self.pattern(length).nnzb * self.block_size**2
