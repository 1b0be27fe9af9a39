"""Text as the Long Range Arena reads it: byte by byte, id = byte + 1, zeros on the right."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveInt

from spion_bench.tasks.task import CountedOptions

VOCABULARY: Final = 257
"""Ids of bytes and padding are below it."""

_PUBLISHED_CUTS = {4096: 4000, 1024: 1000}


def encode_bytes(text: bytes, row: NDArray[np.signedinteger[Any]], max_length: int) -> None:
    """Write the ids of a text's first ``max_length`` bytes to ``row``, then zeros."""
    values = np.frombuffer(text[: min(max_length, len(row))], np.uint8)
    row[: len(values)] = values
    row[: len(values)] += 1
    row[len(values) :] = 0


class DocumentOptions(CountedOptions):
    """Options of the tasks that read documents, besides those of ``CountedOptions``.

    Attributes:
        length: Ids per document, zeros on the right included.
        max_length: Bytes read of a document; None: the published 4000 at length 4096 and 1000 at
            1024, else ``length``.
        seed: Seed of the documents' order, where the source has none, and of a stand-in's choice.
    """

    length: int = Field(default=4096, ge=8)
    max_length: PositiveInt | None = None
    seed: NonNegativeInt = 0

    @property
    def n_bytes(self) -> int:
        """Bytes read of a document; the arena and its ports fill up to the next power of two."""
        return self.max_length or _PUBLISHED_CUTS.get(self.length, self.length)
