"""Peers of the kernels, in as few lines as they take: FlexAttention and sliding-window attention.

FlexAttention is PyTorch's compiled attention over a block mask: Dong et al., "Flex Attention: A
Programming Model for Generating Optimized Attention Kernels", 2024. The window is that of
Longformer: Beltagy et al., "Longformer: The Long-Document Transformer", 2020.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from spion_bench.block_pattern import BlockPattern
from spion_bench.harness.subject import UnsupportedError


def flex_block_mask(pattern: BlockPattern) -> BlockMask:
    """Return ``pattern`` as FlexAttention's mask: every kept block is a full one.

    No block is a partial one, so that no score is tested one by one.
    """
    nb = pattern.nb
    rows = pattern.row_indices().long()
    places = torch.arange(pattern.nnzb) - pattern.crow_indices[rows]
    indices = torch.zeros(nb, nb, dtype=torch.int32)
    indices[rows, places] = pattern.col_indices
    counts = pattern.crow_indices.diff()
    return BlockMask.from_kv_blocks(
        torch.zeros_like(counts)[None, None],
        torch.zeros_like(indices)[None, None],
        counts[None, None],
        indices[None, None],
        BLOCK_SIZE=pattern.block_size,
    )


def flex_forward(pattern: BlockPattern) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Return compiled FlexAttention over ``pattern``; on the CPU it has no backward pass.

    The first call on a shape compiles. It raises UnsupportedError if that fails, for example for
    want of a compiler.
    """
    mask = flex_block_mask(pattern)
    compiled = torch.compile(flex_attention, dynamic=False)

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        try:
            out: Tensor = compiled(q.detach(), k.detach(), v.detach(), block_mask=mask)
        except RuntimeError as error:
            first_line = str(error).strip().partition("\n")[0]
            raise UnsupportedError(f"compiled flex_attention: {first_line}") from error
        return out

    return attend


def sliding_window(
    length: int, *, width: int, chunk: int
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Return exact attention of each token to the ``width`` tokens on either side and itself.

    Queries go in chunks; a chunk's keys are one unfolded window, so that everything is a batch of
    small dense products with forward and backward by autograd.

    Args:
        length: Sequence length L in tokens.
        width: Neighbours on either side.
        chunk: Queries per chunk; divides ``length``.
    """
    span = chunk + 2 * width
    offset = torch.arange(span)[None, :] - torch.arange(chunk)[:, None]
    keys = torch.arange(0, length, chunk)[:, None] - width + torch.arange(span)[None, :]
    is_real = (keys >= 0) & (keys < length)
    is_outside = ~((offset >= 0) & (offset <= 2 * width) & is_real[:, None, :])

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
