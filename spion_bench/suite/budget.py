"""How many blocks SPION keeps at most, and windows as dense as that; no torch."""

from __future__ import annotations

import math

from spion_bench.literals import Variant


def most_kept_blocks(nb: int, quantile: float) -> int:
    """Return the most blocks that variants CF and F keep in one layer.

    They keep the diagonal and the cells strictly above the linearly interpolated quantile of the
    ``nb * nb`` pooled cells (SPION code: ``conv_flood_fill``).

    Args:
        nb: Number of block rows.
        quantile: Threshold quantile, from 0 to 1.
    """
    last = nb * nb - 1
    return min(nb * nb, nb + last - math.floor(quantile * last))


def block_budget(variant: Variant, nb: int, *, quantile: float, density: float) -> int:
    """Return the most blocks that a variant keeps in one layer.

    Variant C keeps the diagonal and ``int(nb * nb * density - nb)`` cells.

    Args:
        variant: ``"CF"``, ``"C"`` or ``"F"``.
        nb: Number of block rows.
        quantile: Threshold quantile of CF and F, from 0 to 1.
        density: Density of C, from 0 to 1.
    """
    if variant != "C":
        return most_kept_blocks(nb, quantile)
    return min(nb * nb, nb + max(0, int(nb * nb * density - nb)))


def matched_window(length: int, block_size: int, quantile: float) -> int:
    """Return the even window that holds as many tokens as SPION-CF keeps keys per query at most.

    Args:
        length: Sequence length in tokens.
        block_size: SPION's block size.
        quantile: SPION's threshold quantile.
    """
    nb = max(1, length // block_size)
    keys = most_kept_blocks(nb, quantile) * block_size / nb
    return max(2, 2 * round((keys - 1) / 2))
