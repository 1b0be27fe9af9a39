"""A peer of the kernels that is no method of the suite: sliding-window attention by unfolding.

The window is that of Longformer: Beltagy et al., "Longformer: The Long-Document Transformer", 2020.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def sliding_window(
    length: int, *, width: int, chunk: int, device: str = "cpu"
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Return exact attention of each token to the ``width`` tokens on either side and itself.

    Queries go in chunks; a chunk's keys are one unfolded window, so that everything is a batch of
    small dense products with forward and backward by autograd.

    Args:
        length: Sequence length L in tokens.
        width: Neighbours on either side.
        chunk: Queries per chunk; divides ``length``.
        device: Where the inputs will be.
    """
    span = chunk + 2 * width
    offset = torch.arange(span)[None, :] - torch.arange(chunk)[:, None]
    keys = torch.arange(0, length, chunk)[:, None] - width + torch.arange(span)[None, :]
    is_real = (keys >= 0) & (keys < length)
    is_outside = ~((offset >= 0) & (offset <= 2 * width) & is_real[:, None, :]).to(device)

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        k_windows, v_windows = (
            F.pad(x, (0, 0, width, width)).unfold(2, span, chunk) for x in (k, v)
        )
        scaled = q / math.sqrt(q.shape[-1])
        chunks = scaled.reshape(*q.shape[:2], length // chunk, chunk, q.shape[3])
        scores = (chunks @ k_windows).masked_fill(is_outside, -math.inf)
        return (scores.softmax(dim=-1) @ v_windows.mT).reshape(q.shape)

    return attend


def window_reference(q: Tensor, k: Tensor, v: Tensor, *, width: int) -> Tensor:
    """Return what ``sliding_window`` must, by masking the dense scores; in the inputs' dtype."""
    place = torch.arange(q.shape[2])
    is_outside = (place[:, None] - place[None, :]).abs() > width
    scores = (q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(is_outside, -math.inf)
    return scores.softmax(dim=-1) @ v
