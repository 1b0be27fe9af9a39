"""Text as the Long Range Arena reads it: byte by byte, id = byte + 1, zeros on the right."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

VOCABULARY: Final = 257
_PUBLISHED_CUTS = {4096: 4000, 1024: 1000}


def encode_bytes(text: bytes, row: NDArray[np.signedinteger[Any]], max_length: int) -> None:
    """Write the ids of a text's first ``max_length`` bytes to ``row``, then zeros."""
    values = np.frombuffer(text[: min(max_length, len(row))], np.uint8)
    row[: len(values)] = values
    row[: len(values)] += 1
    row[len(values) :] = 0


def default_max_length(length: int) -> int:
    """Return how many bytes of a text the arena and its ports read into ``length`` ids.

    They read 4000 (or 1000) bytes and fill up to the next power of two.
    """
    return _PUBLISHED_CUTS.get(length, length)
