"""Named synthetic patterns for speed and kernel cells.

A synthetic pattern never keeps more blocks than SPION's pattern generation could at the same
length, block size and parameters (``suite.budget``), so its times do not flatter the method.
"""

from __future__ import annotations

import torch

from spion_bench.asv_suite.cases import blocks_off_diagonal
from spion_bench.block_pattern import BlockPattern

BAND_AND_STRIPES = "band+stripes"


def band_and_stripes(length: int, block_size: int, n_blocks: int) -> BlockPattern:
    """Keep the diagonal plus ``n_blocks - nb`` blocks of ``asv_suite.cases.blocks_off_diagonal``.

    Args:
        length: Sequence length in tokens.
        block_size: Tokens in a block.
        n_blocks: Number of kept blocks, from ``nb`` to ``nb * nb``.

    Raises:
        ValueError: If ``n_blocks`` is out of range.
    """
    nb = _rows(length, block_size, n_blocks)
    return _with_diagonal(nb, block_size, blocks_off_diagonal(nb, n_blocks - nb))


def window_of_blocks(length: int, block_size: int, n_blocks: int) -> BlockPattern:
    """Keep the ``n_blocks`` blocks nearest to the diagonal; arguments as ``band_and_stripes``.

    The blocks of the outermost diagonal, of which not all may fit, are spread over the sequence.
    """
    nb = _rows(length, block_size, n_blocks)
    cells = [
        cell
        for distance in range(1, nb)
        for i in sorted(range(nb - distance), key=lambda i: (i % 4, i))
        for cell in ((i, i + distance), (i + distance, i))
    ]
    return _with_diagonal(nb, block_size, cells[: n_blocks - nb])


def random_blocks(length: int, block_size: int, n_blocks: int, *, seed: int) -> BlockPattern:
    """Keep the diagonal and ``n_blocks - nb`` blocks anywhere else, drawn with ``seed``."""
    nb = _rows(length, block_size, n_blocks)
    off_diagonal = (~torch.eye(nb, dtype=torch.bool)).nonzero()
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randperm(len(off_diagonal), generator=generator)[: n_blocks - nb]
    return _with_diagonal(nb, block_size, [(r, c) for r, c in off_diagonal[drawn].tolist()])


def _rows(length: int, block_size: int, n_blocks: int) -> int:
    nb = BlockPattern.band(length, block_size, 0).nb
    if not nb <= n_blocks <= nb * nb:
        raise ValueError(
            f"n_blocks: expected {nb} (the diagonal) to {nb * nb} (every block), got {n_blocks}"
        )
    return nb


def _with_diagonal(nb: int, block_size: int, cells: list[tuple[int, int]]) -> BlockPattern:
    mask = torch.eye(nb, dtype=torch.bool)
    for row, column in cells:
        mask[row, column] = True
    return BlockPattern.from_mask(mask, block_size)
