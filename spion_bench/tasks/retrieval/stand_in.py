"""The stand-in for AAN: are two pieces of source code of the same file?

Both pieces are drawn alike from the files of both packages. The pairs that are not related hold the
very pieces of the related ones, each with the second piece of another file, so neither
document says anything alone.
"""

from __future__ import annotations

from spion_bench.tasks.shared.corpus import (
    PACKAGES,
    read_corpus,
    sequence_of,
    shuffled,
)

_PAIRS_PER_FILE = 8  # of each label
_MIN_PIECES = 2

Pair = tuple[bytes, bytes, int]
"""Two texts, and 1 if they are related, else 0."""


def make_stand_in(*, seed: int) -> tuple[list[Pair], list[Pair], list[Pair]]:
    """Return the pairs of train, dev and test, half of each label; a file is in one split only."""
    train, dev, test = (_make_split(split, seed) for split in ("train", "dev", "test"))
    return train, dev, test


def _make_split(split: str, seed: int) -> list[Pair]:
    files = [file for file in read_corpus(PACKAGES) if file.split == split]
    draw = sequence_of("retrieval", seed, split)
    related: list[tuple[int, bytes, bytes]] = []
    for number, file in enumerate(files):
        pieces = file.pieces()
        if len(pieces) < _MIN_PIECES:
            continue
        for first in shuffled(range(len(pieces)), draw)[:_PAIRS_PER_FILE]:
            second = (first + 1 + int(draw() * (len(pieces) - 1))) % len(pieces)
            related.append((number, pieces[first], pieces[second]))
    # In the order of files, a shift by a whole file's pairs and more reaches another file.
    n, shift = len(related), _PAIRS_PER_FILE + int(draw() * (len(related) - 2 * _PAIRS_PER_FILE))
    pairs = [(first, second, 1) for _, first, second in related]
    pairs += [(related[i][1], related[(i + shift) % n][2], 0) for i in range(n)]
    return shuffled(pairs, draw)
