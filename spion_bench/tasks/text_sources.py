"""Where the documents of the text task come from: IMDb's archive or folder, or the stand-in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from spion_bench.tasks.corpus import corpus_version, read_corpus, sequence_of, shuffled
from spion_bench.tasks.sources import damaged, file_digest, read_matching_members

IMDB_ARCHIVE = "aclImdb_v1.tar.gz"
IMDB_FOLDER = "aclImdb"
IMDB_MD5 = "7c2ac02c03563afcf9b574c7e56c153a"
IMDB_PAGE = "https://ai.stanford.edu/~amaas/data/sentiment/"
STAND_IN_PACKAGES = ("numpy", "scipy")
_REVIEW = re.compile(r"aclImdb/(train|test)/(neg|pos)/(\d+)_\d+\.txt")
_REVIEWS_PER_KIND = 12_500  # negative or positive ones of one split
_MAX_REVIEW_BYTES = 1_000_000
_PIECES_PER_FILE = 40
_LABELS = {"neg": 0, "pos": 1}

Document = tuple[bytes, int]
"""A text and its label."""


@dataclass(frozen=True)
class Documents:
    """Documents of three splits.

    Attributes:
        train: What the model learns from.
        dev: None: the source has no such split.
        test: What the result is measured on.
        version: Of the source.
        description: What was read, in some words.
    """

    train: list[Document]
    dev: list[Document] | None
    test: list[Document]
    version: str
    description: str


def find_imdb(data_dir: Path | None) -> Path | None:
    """Return the unpacked folder's path, or the archive's, if one is there."""
    if data_dir is None:
        return None
    places = (data_dir / IMDB_FOLDER, data_dir / IMDB_ARCHIVE)
    return next((place for place in places if place.exists()), None)


def read_imdb(data_dir: Path | None, *, seed: int, verify: bool) -> Documents:
    """Read IMDb's 25000 training and 25000 test reviews, each shuffled with ``seed``.

    Label 0 is negative, 1 positive. Reviews without a label are not read.

    Args:
        data_dir: Folder of ``aclImdb`` or of the archive.
        seed: Of the shuffle.
        verify: Whether an archive must have the published md5, and each kind 12500 reviews.

    Raises:
        FileNotFoundError: If neither folder nor archive is there.
        ValueError: If it is damaged or incomplete.
    """
    place = find_imdb(data_dir)
    if place is None:
        raise FileNotFoundError(
            f"source 'imdb' needs {IMDB_ARCHIVE} or its folder {IMDB_FOLDER} in "
            f"{data_dir or 'a data folder'}; download it from {IMDB_PAGE}"
        )
    remedy = f"download {IMDB_ARCHIVE} again from {IMDB_PAGE}"
    if verify and place.is_file() and (md5 := file_digest(place, "md5")) != IMDB_MD5:
        raise damaged(place, f"expected md5 {IMDB_MD5}, got {md5}", remedy)
    members = _folder_members(place) if place.is_dir() else _archive_members(place, remedy)
    found: dict[tuple[str, str], dict[int, bytes]] = {
        (split, kind): {} for split in ("train", "test") for kind in _LABELS
    }
    for name, content in members:
        if match := _REVIEW.fullmatch(name):
            split, kind, number = match.groups()
            found[split, kind][int(number)] = content
    for (split, kind), reviews in found.items():
        if not reviews or (verify and len(reviews) != _REVIEWS_PER_KIND):
            raise ValueError(
                f"{place}: expected {_REVIEWS_PER_KIND} reviews in {IMDB_FOLDER}/{split}/{kind}, "
                f"got {len(reviews)}; {remedy}"
            )
    train, test = (_mixed(found, split, sequence_of("imdb", split, seed)) for split in _SPLITS)
    return Documents(
        train, None, test, "aclImdb_v1", f"IMDb reviews of {place.name}, shuffled with seed {seed}"
    )


def make_stand_in(*, seed: int) -> Documents:
    """Return pieces of 1000 bytes of source files: 0 is NumPy's, 1 is SciPy's, half of each.

    A file's pieces, at most 40, are all in one split.
    """
    splits: dict[str, dict[str, list[bytes]]] = {
        split: {package: [] for package in STAND_IN_PACKAGES} for split in ("train", "dev", "test")
    }
    for file in read_corpus(STAND_IN_PACKAGES):
        pieces = shuffled(file.pieces(), sequence_of("text", seed, file.path))
        splits[file.split][file.package] += pieces[:_PIECES_PER_FILE]
    train, dev, test = (
        _balanced(splits[split], sequence_of("text", seed, split)) for split in splits
    )
    return Documents(
        train,
        dev,
        test,
        corpus_version(STAND_IN_PACKAGES),
        f"Stand-in, not IMDb: pieces of 1000 bytes of the Python files of NumPy (0) and SciPy (1), "
        f"split by file, seed {seed}",
    )


_SPLITS = ("train", "test")


def _archive_members(path: Path, remedy: str) -> Iterator[tuple[str, bytes]]:
    return read_matching_members(path, _REVIEW, max_bytes=_MAX_REVIEW_BYTES, remedy=remedy)


def _folder_members(folder: Path) -> Iterator[tuple[str, bytes]]:
    for split in _SPLITS:
        for kind in _LABELS:
            for path in (folder / split / kind).glob("*.txt"):
                yield f"{IMDB_FOLDER}/{split}/{kind}/{path.name}", path.read_bytes()


def _mixed(
    found: dict[tuple[str, str], dict[int, bytes]], split: str, draw: Callable[[], float]
) -> list[Document]:
    documents = [
        (content, label)
        for kind, label in _LABELS.items()
        for _, content in sorted(found[split, kind].items())
    ]
    return shuffled(documents, draw)


def _balanced(pieces: dict[str, list[bytes]], draw: Callable[[], float]) -> list[Document]:
    """Return equally many pieces of each package, mixed; the package's place is the label."""
    count = min(len(of_package) for of_package in pieces.values())
    documents = [
        (piece, label)
        for label, of_package in enumerate(pieces.values())
        for piece in shuffled(of_package, draw)[:count]
    ]
    return shuffled(documents, draw)
