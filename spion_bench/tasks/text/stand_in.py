"""The stand-in for IMDb: is a piece of source code as it was written?

In the other pieces the letters of each word stand in another order. How often each byte occurs says
nothing then: what tells the pieces apart is which letter follows which.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from spion_bench.tasks.shared.corpus import (
    PACKAGES,
    corpus_version,
    read_corpus,
    sequence_of,
    shuffled,
)
from spion_bench.tasks.text.documents import Document, Documents

_PIECES_PER_FILE = 40
_WORD = re.compile(rb"[A-Za-z]{3,}")


def make_stand_in(*, seed: int) -> Documents:
    """Return pieces of 1000 bytes of source files: 1 as written, 0 with mixed letters, half each.

    A file's pieces, at most 40, are all in one split, and a piece is in one class only.
    """
    splits: dict[str, list[bytes]] = {"train": [], "dev": [], "test": []}
    for file in read_corpus(PACKAGES):
        pieces = shuffled(file.pieces(), sequence_of("text", seed, file.path))
        splits[file.split] += pieces[:_PIECES_PER_FILE]
    train, dev, test = (
        _labelled(pieces, sequence_of("text", seed, split)) for split, pieces in splits.items()
    )
    return Documents(
        train,
        dev,
        test,
        corpus_version(PACKAGES),
        "Stand-in, not IMDb: pieces of 1000 bytes of the Python files of NumPy and SciPy, as "
        f"written (1) or with the letters of each word mixed (0), split by file, seed {seed}",
    )


def mix_letters(text: bytes, draw: Callable[[], float]) -> bytes:
    """Return the text with the letters of each word of at least three in another order."""
    return _WORD.sub(lambda word: bytes(shuffled(word[0], draw)), text)


def _labelled(pieces: list[bytes], draw: Callable[[], float]) -> list[Document]:
    """Mix the letters of every second piece; an odd last one is left out."""
    kept = shuffled(pieces, draw)[: len(pieces) // 2 * 2]
    labelled = [
        (piece, 1) if number % 2 else (mix_letters(piece, draw), 0)
        for number, piece in enumerate(kept)
    ]
    return shuffled(labelled, draw)
