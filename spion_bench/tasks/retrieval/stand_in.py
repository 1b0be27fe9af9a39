"""The stand-in for AAN: are two pieces of source code of the same file?

The first piece is from a SciPy file; the second is another one from that file, or one from a NumPy
file. So style alone says something, as it does about papers, and comparing the pieces says more. If
both files were SciPy's, a small Transformer would need thousands of steps to get above chance.
"""

from __future__ import annotations

from spion_bench.tasks.shared.corpus import (
    PACKAGES,
    read_corpus,
    sequence_of,
    shuffled,
)

_PAIRS_PER_FILE = 8  # of each label
_MIN_PIECES = 3  # of a SciPy file

Pair = tuple[bytes, bytes, int]
"""Two texts, and 1 if they are related, else 0."""


def make_stand_in(*, seed: int) -> tuple[list[Pair], list[Pair], list[Pair]]:
    """Return the pairs of train, dev and test, half of each label; a file is in one split only."""
    train, dev, test = (_make_split(split, seed) for split in ("train", "dev", "test"))
    return train, dev, test


def _make_split(split: str, seed: int) -> list[Pair]:
    files = [file for file in read_corpus(PACKAGES) if file.split == split]
    numpy_files, scipy_files = (
        [pieces for file in files if file.package == package and (pieces := file.pieces())]
        for package in PACKAGES
    )
    draw = sequence_of("retrieval", seed, split)
    pairs: list[Pair] = []
    for pieces in scipy_files:
        if len(pieces) < _MIN_PIECES:
            continue
        places = range(len(pieces))
        for first in shuffled(places, draw)[:_PAIRS_PER_FILE]:
            second = (first + 1 + int(draw() * (len(pieces) - 1))) % len(pieces)
            others = numpy_files[int(draw() * len(numpy_files))]
            pairs.append((pieces[first], pieces[second], 1))
            pairs.append((pieces[first], others[int(draw() * len(others))], 0))
    return shuffled(pairs, draw)
