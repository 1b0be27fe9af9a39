"""Windows as dense as SPION's patterns, and the checks of window sizes."""

from __future__ import annotations

import math
from typing import Any


def check_window(window: int) -> None:
    """Raise ValueError unless ``window`` is an even number of at least 2 tokens."""
    if window < 2 or window % 2:
        raise ValueError(f"window: expected an even number of at least 2, got {window}")


def matched_window(length: int, block_size: int, quantile: float) -> int:
    """Return the even window that holds as many tokens as SPION-CF keeps keys per query at most.

    SPION-CF keeps the diagonal and the blocks strictly above the interpolated quantile of all
    ``nb * nb`` pooled cells (SPION code, ``conv_flood_fill``), on average so many per block row.

    Args:
        length: Sequence length in tokens.
        block_size: SPION's block size.
        quantile: SPION's threshold quantile.
    """
    nb = max(1, length // block_size)
    cells = nb * nb
    kept = min(cells, nb + cells - 1 - math.floor(quantile * (cells - 1)))
    keys = kept * block_size / nb
    return max(2, 2 * round((keys - 1) / 2))


class MatchedWindow:
    """Mixed into a method with a window: as many keys per query as SPION-CF keeps at most.

    Args:
        block_size: SPION's block size.
        quantile: SPION's threshold quantile.
        others: Arguments of the method itself.
    """

    def __init__(self, block_size: int, quantile: float, **others: Any) -> None:
        super().__init__(**others)
        self.block_size = block_size
        self.quantile = quantile

    def per_side(self, length: int) -> int:
        """Return the neighbours per side in a sequence of ``length`` tokens."""
        return matched_window(length, self.block_size, self.quantile) // 2
