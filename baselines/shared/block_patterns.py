"""The block patterns of other methods: each builder takes a length and a block size.

The same pattern runs on the method's own implementation (``bigbird``, ``sparse_transformer``) and
on the suite's kernel (``spion+<pattern>``), which separates the quality of a pattern from
the speed of a kernel.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from baselines.shared.band import check_window
from spion_bench.block_pattern import BlockPattern


def window_block(length: int, block_size: int, *, window: int = 512) -> BlockPattern:
    """Keep every block that a sliding window of ``window`` tokens touches, half on either side."""
    return BlockPattern.band(length, block_size, _reach(window, block_size))


def longformer_block(
    length: int, block_size: int, *, window: int = 512, n_global: int = 1
) -> BlockPattern:
    """Keep every block that Longformer's window and global tokens touch.

    Beltagy et al., "Longformer: The Long-Document Transformer", 2020, section 3.1; the first
    ``n_global`` tokens are global.
    """
    mask = BlockPattern.band(length, block_size, _reach(window, block_size)).to_mask()
    n_blocks = math.ceil(n_global / block_size)
    mask[:n_blocks] = True
    mask[:, :n_blocks] = True
    return BlockPattern.from_mask(mask, block_size)


def bigbird_block(
    length: int,
    block_size: int,
    *,
    n_window: int = 3,
    n_random: int = 3,
    random_tokens: int | None = None,
    seed: int = 0,
    layer: int = 0,
) -> BlockPattern:
    """Keep a band of blocks, the first and last row and column, and random blocks of each row.

    Zaheer et al., "Big Bird: Transformers for Longer Sequences", 2020, section 2 and appendix D.
    Random blocks are drawn among those that the row does not see anyway; seed and layer fix them.
    The Long Range Arena (google-research/long-range-arena, ``get_block_rand_mask`` with
    ``last_idx`` of 1024) draws them in the first 1024 tokens, however long the sequence.

    Args:
        length: Sequence length in tokens.
        block_size: Tokens in a block.
        n_window: Blocks of the band in each row; odd.
        n_random: Random blocks in each row; fewer where no more are left to draw from.
        random_tokens: Random blocks lie in the first so many tokens; None: anywhere.
        seed: Seed of the random blocks.
        layer: Number of the layer, which draws blocks of its own.
    """
    if n_window < 1 or n_window % 2 == 0:
        raise ValueError(f"n_window: expected an odd number of blocks, got {n_window}")
    if n_random < 0:
        raise ValueError(f"n_random: expected at least 0 blocks, got {n_random}")
    mask = BlockPattern.band(length, block_size, n_window // 2).to_mask()
    for end in (0, -1):
        mask[end] = True
        mask[:, end] = True
    generator = torch.Generator().manual_seed(1009 * seed + layer)
    # The n_random smallest of one number per block; blocks that are kept anyway come last.
    order = torch.rand(mask.shape, generator=generator).masked_fill(mask, 2.0)
    if random_tokens is not None:
        order[:, random_tokens // block_size :] = 2.0
    numbers, chosen = (x[:, :n_random] for x in order.sort(dim=1))
    drawn = torch.zeros_like(mask).scatter_(1, chosen, numbers < 1)
    return BlockPattern.from_mask(mask | drawn, block_size)


def strided(length: int, block_size: int, *, stride: int | None = None) -> BlockPattern:
    """Keep the neighbouring blocks and every ``stride``-th block from the diagonal.

    Child et al., "Generating Long Sequences with Sparse Transformers", 2019 (arXiv 1904.10509),
    section 4.2, both of its parts in one pattern. The paper's model is causal: position i sees the
    ``l`` positions before it, and those at distances that are multiples of ``l``. Here nothing is
    causal: the ``l`` neighbours lie half on either side, and distances go both ways. Positions are
    blocks, since a block of tokens would touch every stride of tokens.

    Args:
        length: Sequence length in tokens.
        block_size: Tokens in a block.
        stride: ``l`` in blocks; None: the root of the number of blocks, as the paper advises.
    """
    nb = BlockPattern.band(length, block_size, 0).nb
    stride = _stride(stride, nb)
    distance = torch.arange(nb) - torch.arange(nb)[:, None]
    mask = (distance.abs() <= stride // 2) | (distance % stride == 0)
    return BlockPattern.from_mask(mask, block_size)


def fixed(
    length: int, block_size: int, *, stride: int | None = None, n_summary: int = 1
) -> BlockPattern:
    """Keep each group of ``stride`` blocks, and the last blocks of all groups for every row.

    The fixed pattern of the same paper and section, in blocks and not causal: a position sees its
    own group as a whole, and the summary blocks of later groups too.

    Args:
        length: Sequence length in tokens.
        block_size: Tokens in a block.
        stride: Blocks in a group; None: the root of the number of blocks.
        n_summary: Blocks at the end of each group that every row sees (the paper's ``c``).
    """
    nb = BlockPattern.band(length, block_size, 0).nb
    stride = _stride(stride, nb)
    if not 1 <= n_summary <= stride:
        raise ValueError(f"n_summary: expected 1 to {stride} (the stride), got {n_summary}")
    place = torch.arange(nb)
    group = place // stride
    mask = (group == group[:, None]) | (place % stride >= stride - n_summary)
    return BlockPattern.from_mask(mask, block_size)


BUILDERS: dict[str, Callable[..., BlockPattern]] = {
    builder.__name__: builder
    for builder in (window_block, longformer_block, bigbird_block, strided, fixed)
}


def _reach(window: int, block_size: int) -> int:
    """Return how many blocks next to the diagonal a window of ``window`` tokens touches."""
    check_window(window)
    # The nearest tokens of blocks n apart are (n - 1) * block_size + 1 apart.
    return (window // 2 - 1) // block_size + 1


def _stride(stride: int | None, nb: int) -> int:
    if stride is None:
        return max(1, round(math.sqrt(nb)))
    if stride < 1:
        raise ValueError(f"stride: expected at least 1 block, got {stride}")
    return stride
