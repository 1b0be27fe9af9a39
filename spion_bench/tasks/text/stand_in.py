"""The stand-in for IMDb: is a piece of source code NumPy's or SciPy's?"""

from __future__ import annotations

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


def make_stand_in(*, seed: int) -> Documents:
    """Return pieces of 1000 bytes of source files: 0 is NumPy's, 1 is SciPy's, half of each.

    A file's pieces, at most 40, are all in one split.
    """
    splits: dict[str, dict[str, list[bytes]]] = {
        split: {package: [] for package in PACKAGES} for split in ("train", "dev", "test")
    }
    for file in read_corpus(PACKAGES):
        pieces = shuffled(file.pieces(), sequence_of("text", seed, file.path))
        splits[file.split][file.package] += pieces[:_PIECES_PER_FILE]
    train, dev, test = (
        _balanced(splits[split], sequence_of("text", seed, split)) for split in splits
    )
    return Documents(
        train,
        dev,
        test,
        corpus_version(PACKAGES),
        f"Stand-in, not IMDb: pieces of 1000 bytes of the Python files of NumPy (0) and SciPy (1), "
        f"split by file, seed {seed}",
    )


def _balanced(pieces: dict[str, list[bytes]], draw: Callable[[], float]) -> list[Document]:
    """Return equally many pieces of each package, mixed; the package's place is the label."""
    count = min(len(of_package) for of_package in pieces.values())
    documents = [
        (piece, label)
        for label, of_package in enumerate(pieces.values())
        for piece in shuffled(of_package, draw)[:count]
    ]
    return shuffled(documents, draw)
