"""Exact attention within windows by unfolding: queries go in chunks, keys in overlapping windows.

The keys of a chunk are one strided view of the sequence, so everything is a batch of small dense
products, with forward and backward by autograd. O(L * window) time and memory: the probabilities
of all windows are stored for the backward pass, never ``[L, L]``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 64
"""Queries per chunk: of 32, 64, 128 and 256 the fastest on a CPU for windows of 72 to 512."""


@dataclass(frozen=True)
class Windows:
    """Which keys each query of a sequence sees; made once per length.

    Positions with the same remainder modulo the dilation stand together, so every window is a run
    of neighbours.

    Attributes:
        length: Sequence length L in tokens.
        half: Keys on either side, ``dilation`` tokens apart.
        dilation: Step between neighbouring keys.
        n_common: How many tokens are seen by all, and once only: the first ones.
        seen: bool ``[dilation, n, chunk, span]``: which keys of a chunk's window each of its
            queries sees, in a sequence without padding.
    """

    length: int
    half: int
    dilation: int
    n_common: int
    seen: Tensor

    @property
    def span(self) -> int:
        """Keys in the window of one chunk."""
        return CHUNK + 2 * self.half

    def queries(self, x: Tensor) -> Tensor:
        """Lay ``[B, H, L, D]`` out as chunks: ``[B, H, dilation, n, chunk, D]``."""
        x = self._by_remainder(x)
        return x.reshape(*x.shape[:3], -1, CHUNK, x.shape[4])

    def keys(self, x: Tensor) -> Tensor:
        """Lay ``[B, H, L, D]`` out as ``[B, H, dilation, n, D, n_common + span]``."""
        padded = F.pad(self._by_remainder(x), (0, 0, self.half, self.half))
        windows = padded.unfold(3, self.span, CHUNK)
        if self.n_common == 0:
            return windows
        common = x[:, :, None, None, : self.n_common].mT
        return torch.cat([common.expand(*windows.shape[:-1], -1), windows], dim=-1)

    def allowed(self, key_padding_mask: Tensor | None) -> Tensor:
        """Return which scores count, bool ``[B or 1, 1, dilation, n, chunk, n_common + span]``."""
        seen = F.pad(self.seen, (self.n_common, 0), value=True)[None, None]
        if key_padding_mask is None:
            return seen
        return seen & self.keys(key_padding_mask[:, None, :, None])

    def rows(self, x: Tensor) -> Tensor:
        """Undo ``queries``: ``[B, H, dilation, n, chunk, D]`` to ``[B, H, L, D]``."""
        x = x.flatten(3, 4).transpose(2, 3).flatten(2, 3)
        return x[:, :, : self.length]

    def _by_remainder(self, x: Tensor) -> Tensor:
        """``[B, H, L, D]`` to ``[B, H, dilation, slots, D]``, padded to whole chunks."""
        missing = -self.length % (self.dilation * CHUNK)
        if missing:
            x = F.pad(x, (0, 0, 0, missing))
        return x.reshape(*x.shape[:2], -1, self.dilation, x.shape[3]).transpose(2, 3)


def make_windows(
    length: int, half: int, *, dilation: int = 1, n_common: int = 0, device: torch.device | str
) -> Windows:
    """Return the windows of sequences of ``length`` tokens; see ``Windows``."""
    n_chunks = -(-length // (dilation * CHUNK))
    span = CHUNK + 2 * half
    place = torch.arange(0, n_chunks * CHUNK, CHUNK)[:, None] - half + torch.arange(span)
    token = place * dilation + torch.arange(dilation)[:, None, None]
    is_key = (place >= 0) & (token >= n_common) & (token < length)
    offset = torch.arange(span) - torch.arange(CHUNK)[:, None]
    in_band = (offset >= 0) & (offset <= 2 * half)
    seen = is_key[:, :, None] & in_band
    return Windows(length, half, dilation, n_common, seen.to(device))


def window_attention(
    q: Tensor, k: Tensor, v: Tensor, key_padding_mask: Tensor | None, windows: Windows
) -> Tensor:
    """Attend within the windows and to the common tokens.

    Args:
        q: ``[B, H, L, D]``.
        k: Like ``q``.
        v: Like ``q``.
        key_padding_mask: bool ``[B, L]``, True = real token, or None.
        windows: On the device of ``q``.

    Returns:
        The output, like ``q``. A row that sees only padding gives 0.
    """
    allowed = windows.allowed(key_padding_mask)
    scores = windows.queries(q * q.shape[-1] ** -0.5) @ windows.keys(k)
    # The lowest number instead of -inf: its weight is exactly 0 next to any key, and a row without
    # keys becomes uniform, not NaN.
    probs = scores.masked_fill_(~allowed, torch.finfo(scores.dtype).min).softmax(dim=-1)
    out = probs @ windows.keys(v).mT
    if key_padding_mask is not None:
        out = out.masked_fill(~allowed.any(dim=-1, keepdim=True), 0)
    return windows.rows(out)
