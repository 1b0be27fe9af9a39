"""As many blocks as a pattern has, kept elsewhere: what is a learned pattern worth?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spion_bench.block_pattern import BlockPattern
from spion_bench.literals import Blocks
from spion_bench.ops.average_pool import average_pool


def place_blocks(
    pattern: BlockPattern, blocks: Blocks, *, seed: int, attention_map: Tensor | None = None
) -> BlockPattern:
    """Return a pattern with as many blocks, the diagonal among them, where ``blocks`` says.

    Args:
        pattern: The pattern; returned as it is for ``"own"``.
        blocks: Where to keep blocks.
        seed: For ``"random"``; differs by layer.
        attention_map: ``[L, L]``, for ``"top_mass"``.

    Raises:
        ValueError: If ``"top_mass"`` is asked for without a map.
    """
    shape = (pattern.length, pattern.block_size, pattern.nnzb)
    if blocks == "own":
        return pattern
    if blocks == "window":
        return window_of_blocks(*shape)
    if blocks == "random":
        return random_blocks(*shape, seed=seed)
    if attention_map is None:
        raise ValueError("attention_map: expected a map for blocks 'top_mass', got None")
    mass = average_pool(attention_map, pattern.block_size)
    return blocks_of_most_mass(mass, pattern.block_size, pattern.nnzb)


def window_of_blocks(length: int, block_size: int, n_blocks: int) -> BlockPattern:
    """Keep the ``n_blocks`` blocks nearest to the diagonal; arguments as ``band_and_stripes``.

    The blocks of the outermost diagonal, of which not all may fit, are spread over the sequence.
    """
    nb = block_rows(length, block_size, n_blocks)
    cells = [
        cell
        for distance in range(1, nb)
        for i in sorted(range(nb - distance), key=lambda i: (i % 4, i))
        for cell in ((i, i + distance), (i + distance, i))
    ]
    return with_diagonal(nb, block_size, cells[: n_blocks - nb])


def random_blocks(length: int, block_size: int, n_blocks: int, *, seed: int) -> BlockPattern:
    """Keep the diagonal and ``n_blocks - nb`` blocks anywhere else, drawn with ``seed``."""
    nb = block_rows(length, block_size, n_blocks)
    off_diagonal = (~torch.eye(nb, dtype=torch.bool)).nonzero()
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randperm(len(off_diagonal), generator=generator)[: n_blocks - nb]
    return with_diagonal(nb, block_size, [(r, c) for r, c in off_diagonal[drawn].tolist()])


def blocks_of_most_mass(mass: Tensor, block_size: int, n_blocks: int) -> BlockPattern:
    """Keep the diagonal and the ``n_blocks - nb`` other blocks with the most attention.

    Of equals, the ones of lower rows, then columns.

    Args:
        mass: ``[nb, nb]``, the attention of each block, unfiltered.
        block_size: Tokens in a block.
        n_blocks: Number of kept blocks, from ``nb`` to ``nb * nb``.
    """
    nb = block_rows(len(mass) * block_size, block_size, n_blocks)
    mass = mass.masked_fill(torch.eye(nb, dtype=torch.bool, device=mass.device), -torch.inf)
    chosen = mass.flatten().sort(descending=True, stable=True).indices[: n_blocks - nb]
    return with_diagonal(nb, block_size, [divmod(int(place), nb) for place in chosen.tolist()])


@dataclass(frozen=True)
class Overlap:
    """What a pattern shares with others of as many blocks, and how much attention each keeps.

    Attributes:
        window: Share of its blocks that are a window's too.
        top_mass: Share of its blocks that are among those of the most attention.
        mass_kept: Share of the map's attention within its blocks.
        window_mass: The same of the window.
        most_mass: The same of the blocks of the most attention.
    """

    window: float
    top_mass: float
    mass_kept: float
    window_mass: float
    most_mass: float


def overlap(pattern: BlockPattern, attention_map: Tensor) -> Overlap | None:
    """Compare a pattern with those that it could be replaced by.

    Args:
        pattern: The pattern.
        attention_map: The map that it was made from, or one averaged down from it, ``[k, k]``.

    Returns:
        None if blocks are no whole number of the map's cells.
    """
    cells, rest = divmod(len(attention_map), pattern.nb)
    if rest or not cells:
        return None
    nb = pattern.nb
    mass = attention_map.cpu().double().view(nb, cells, nb, cells).sum(dim=(1, 3))
    mass /= mass.sum()
    own = pattern.to_mask().cpu()
    window = window_of_blocks(pattern.length, pattern.block_size, pattern.nnzb).to_mask()
    largest = blocks_of_most_mass(mass, pattern.block_size, pattern.nnzb).to_mask()
    return Overlap(
        window=float((own & window).sum() / own.sum()),
        top_mass=float((own & largest).sum() / own.sum()),
        mass_kept=float(mass[own].sum()),
        window_mass=float(mass[window].sum()),
        most_mass=float(mass[largest].sum()),
    )


def block_rows(length: int, block_size: int, n_blocks: int) -> int:
    """Return the number of block rows; ValueError if so many blocks do not fit."""
    nb = BlockPattern.band(length, block_size, 0).nb
    if not nb <= n_blocks <= nb * nb:
        raise ValueError(
            f"n_blocks: expected {nb} (the diagonal) to {nb * nb} (every block), got {n_blocks}"
        )
    return nb


def with_diagonal(nb: int, block_size: int, cells: list[tuple[int, int]]) -> BlockPattern:
    """Return the pattern that keeps the diagonal and some more blocks, given as (row, column)."""
    mask = torch.eye(nb, dtype=torch.bool)
    for row, column in cells:
        mask[row, column] = True
    return BlockPattern.from_mask(mask, block_size)
