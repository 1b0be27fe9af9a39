"""Named synthetic patterns for speed and kernel cells, and what a record says of a pattern.

A synthetic pattern never keeps more blocks than SPION's pattern generation could at the same
length, block size and parameters (``suite.budget``), so its times do not flatter the method.
"""

from __future__ import annotations

from spion_bench.asv_suite.cases import blocks_off_diagonal
from spion_bench.block_pattern import BlockPattern
from spion_bench.pattern.placement import block_rows, with_diagonal
from spion_bench.records import PatternInfo

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
    nb = block_rows(length, block_size, n_blocks)
    return with_diagonal(nb, block_size, blocks_off_diagonal(nb, n_blocks - nb))


def describe_patterns(patterns: list[BlockPattern], source: str) -> PatternInfo:
    """Describe one pattern per layer for the record."""
    return PatternInfo(
        source=source,
        block_size=patterns[0].block_size,
        length=patterns[0].length,
        nnzb=[pattern.nnzb for pattern in patterns],
        density=[pattern.density for pattern in patterns],
    )
