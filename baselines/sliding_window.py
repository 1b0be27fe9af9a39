"""Sliding-window attention: every token attends to its neighbours.

The local pattern of Beltagy et al., "Longformer: The Long-Document Transformer", 2020 (arXiv
2004.05150, section 3.1), without global tokens. ``block_gather`` computes it: O(L * window) time,
O(L) memory. Deviations: none; scores are computed again in the backward pass, not stored.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from baselines.block_gather import Gather, gathered_attention, head_mask, pad_length, split
from baselines.density import MatchedWindow, check_window
from spion_bench.model.attention import Attention, Capabilities

LARGEST_CHUNK = 64
SMALLEST_CHUNK = 16


class SlidingWindow(Attention):
    """Exact attention to the ``window / 2`` tokens on either side, and to the token itself.

    Args:
        window: Tokens of the window, half of them on either side; even. 512 is Longformer's
            default.
    """

    capabilities: ClassVar[Capabilities] = Capabilities()
    caveats: ClassVar[tuple[str, ...]] = (
        "plain PyTorch: chunks of queries times gathered keys, 1 + 1/8 times the needed products "
        "at a window of 512; scores are computed twice to save memory",
    )

    def __init__(self, window: int = 512) -> None:
        super().__init__()
        check_window(window)
        self.window = window
        self._gathers: dict[tuple[int, torch.device], Gather] = {}

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, key_padding_mask: Tensor | None = None
    ) -> Tensor:
        """Return the attention, ``[B, H, L, D]``; a row whose window is all padding gives 0."""
        key = (q.shape[2], q.device)
        if key not in self._gathers:
            self._gathers[key] = window_gather(q.shape[2], self.per_side(q.shape[2])).to(q.device)
        return window_attention(q, k, v, key_padding_mask, self._gathers[key])

    def per_side(self, length: int) -> int:
        """Return the neighbours per side in a sequence of ``length`` tokens."""
        return self.window // 2

    def token_mask(self, length: int, heads: int) -> Tensor:
        """Return the band of the window, bool ``[L, L]``."""
        return window_mask(length, self.per_side(length))


class MatchedSlidingWindow(MatchedWindow, SlidingWindow):
    """A sliding window with as many keys per query as SPION-CF keeps at most."""


def window_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    key_padding_mask: Tensor | None,
    gather: Gather,
    dilation: int = 1,
) -> Tensor:
    """Attend within the windows (and to the common tokens) that ``window_gather`` laid out."""
    _, heads, length, head_dim = q.shape
    size, n_common = gather.block_size, gather.n_common

    def lay_out(x: Tensor, is_key: bool) -> Tensor:
        slots = sort_by_residue(x, dilation, size)
        if n_common == 0 or not is_key:
            return slots
        return torch.cat([pad_length(x[:, :n_common], size), slots], dim=1)

    mask = head_mask(key_padding_mask, heads)
    out, _ = gathered_attention(
        lay_out(q.flatten(0, 1), is_key=False),
        lay_out(k.flatten(0, 1), is_key=True),
        lay_out(v.flatten(0, 1), is_key=True),
        gather,
        None if mask is None else lay_out(mask, is_key=True),
        head_dim**-0.5,
    )
    return split(unsort_by_residue(out, dilation)[:, :length], 0, heads)


def window_gather(length: int, half: int, dilation: int = 1, n_common: int = 0) -> Gather:
    """Return the key blocks of every chunk of queries.

    With a dilation, positions of the same remainder stand together, so that every window is a run
    of neighbours again.

    Args:
        length: Sequence length L in tokens.
        half: Keys on either side, ``dilation`` tokens apart.
        dilation: Step between neighbouring keys.
        n_common: The first so many tokens are seen by all, and once only.
    """
    size = chunk_size(half)
    slots = -(-length // (size * dilation)) * size * dilation
    position = sort_by_residue(torch.arange(slots)[None, :], dilation, size)[0]
    n_blocks = slots // size
    per_residue = n_blocks // dilation
    reach = min(-(-half // size), per_residue - 1)
    rows = torch.arange(n_blocks)[:, None]
    columns = rows + torch.arange(-reach, reach + 1)
    inside = columns.div(per_residue, rounding_mode="floor") == rows // per_residue
    columns = columns.clamp(0, n_blocks - 1)
    token = split(position, 0, size)[columns]
    valid = inside[:, :, None] & (token < length) & (token >= n_common)
    distance = torch.arange((2 * reach + 1) * size) - reach * size - torch.arange(size)[:, None]
    return Gather(
        size,
        columns + -(-n_common // size),
        None if valid.all() else valid.flatten(1),
        torch.zeros(distance.shape).masked_fill(distance.abs() > half, -torch.inf),
        n_common,
    )


def chunk_size(half: int) -> int:
    """Return the queries per chunk: small windows want small chunks, lest most scores are waste."""
    size = LARGEST_CHUNK
    while size > SMALLEST_CHUNK and size > half // 2:
        size //= 2
    return size


def sort_by_residue(x: Tensor, dilation: int, chunk: int) -> Tensor:
    """Order dimension 1 by position modulo ``dilation``, each remainder padded to whole chunks."""
    x = pad_length(x, dilation * chunk)
    return x if dilation == 1 else split(x, 1, dilation).transpose(1, 2).flatten(1, 2)


def unsort_by_residue(x: Tensor, dilation: int) -> Tensor:
    """Undo ``sort_by_residue``; the padding stays at the end."""
    return x if dilation == 1 else split(x, 1, x.shape[1] // dilation).transpose(1, 2).flatten(1, 2)


def window_mask(length: int, half: int, dilation: int = 1) -> Tensor:
    """Return which keys are in each query's window, bool ``[L, L]``."""
    place = torch.arange(length)
    distance = place - place[:, None]
    return (distance.abs() <= half * dilation) & (distance % dilation == 0)
