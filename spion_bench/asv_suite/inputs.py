"""The tensors and patterns of the cases, through the public API."""

from __future__ import annotations

import torch
from torch import Tensor

from spion_bench import BlockPattern

from .cases import AttentionShape, blocks_off_diagonal, kept_blocks

SEED = 0


def make_pattern(length: int, block_size: int, n_blocks: int) -> BlockPattern:
    """Return the diagonal and other blocks, band and stripes in turn, ``n_blocks`` in all."""
    nb = length // block_size
    mask = torch.eye(nb, dtype=torch.bool)
    for row, column in blocks_off_diagonal(nb, n_blocks - nb):
        mask[row, column] = True
    return BlockPattern.from_mask(mask, block_size)


def attention_pattern(shape: AttentionShape) -> BlockPattern:
    """Return the pattern of an attention case."""
    n_blocks = kept_blocks(shape.length // shape.block_size, shape.density)
    return make_pattern(shape.length, shape.block_size, n_blocks)


def attention_inputs(shape: AttentionShape) -> list[Tensor]:
    """Return q, k, v and the output's gradient of an attention case, ``[B, H, L, D]`` each."""
    generator = torch.Generator().manual_seed(SEED)
    size = (shape.batch, shape.heads, shape.length, shape.head_dim)
    return [torch.randn(size, generator=generator) for _ in range(4)]


def bright_map(length: int, seed: int = SEED) -> Tensor:
    """Return an ``[L, L]`` map of rows that sum to 1: noise, a bright diagonal and stripes."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(length, length, generator=generator)
    distance = torch.arange(length, dtype=torch.float32)
    scores -= (distance[:, None] - distance[None, :]).abs() / (length / 16)
    scores[:, :: length // 8] += 2
    return scores.softmax(dim=-1)
