"""IMDb's film reviews, the published data of the text task; from its archive or folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from spion_bench.datasets.data_set import NO_LICENCE, DataFile, DataSet
from spion_bench.records.files import file_digest
from spion_bench.tasks.formats import damaged, read_matching_members
from spion_bench.tasks.shared.corpus import sequence_of, shuffled
from spion_bench.tasks.task import SourceSpec
from spion_bench.tasks.text.documents import Document, Documents

ARCHIVE = "aclImdb_v1.tar.gz"
FOLDER = "aclImdb"
MD5 = "7c2ac02c03563afcf9b574c7e56c153a"
_PAGE = "https://ai.stanford.edu/~amaas/data/sentiment/"
_REVIEW = re.compile(r"aclImdb/(train|test)/(neg|pos)/(\d+)_\d+\.txt")
_REVIEWS_PER_KIND = 12_500  # negative or positive ones of one split
_MAX_REVIEW_BYTES = 1_000_000
_LABELS = {"neg": 0, "pos": 1}
_SPLITS = ("train", "test")


def find_imdb(data_dir: Path | None) -> Path | None:
    """Return the unpacked folder's path, or the archive's, if one exists."""
    if data_dir is None:
        return None
    places = (data_dir / FOLDER, data_dir / ARCHIVE)
    return next((place for place in places if place.exists()), None)


def read_imdb(data_dir: Path | None, *, seed: int, verify: bool) -> Documents:
    """Read IMDb's 25000 training and 25000 test reviews, each shuffled with ``seed``.

    Label 0 is negative, 1 positive. Reviews without a label are not read.

    Args:
        data_dir: Folder of ``aclImdb`` or of the archive.
        seed: Seed of the shuffle.
        verify: Whether an archive must have the published md5, and each kind 12500 reviews.

    Raises:
        FileNotFoundError: If neither folder nor archive exists.
        ValueError: If it is damaged or incomplete.
    """
    place = find_imdb(data_dir)
    if place is None:
        raise FileNotFoundError(
            f"source 'imdb' needs {ARCHIVE} or its folder {FOLDER} in "
            f"{data_dir or 'a data folder'}; `spion-bench data fetch imdb` downloads it from "
            f"{_PAGE}"
        )
    remedy = f"download {ARCHIVE} again from {_PAGE}"
    if verify and place.is_file() and (md5 := file_digest(place, "md5")) != MD5:
        raise damaged(place, f"expected md5 {MD5}, got {md5}", remedy)
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
                f"{place}: expected {_REVIEWS_PER_KIND} reviews in {FOLDER}/{split}/{kind}, "
                f"got {len(reviews)}; {remedy}"
            )
    train, test = (_mixed(found, split, sequence_of("imdb", split, seed)) for split in _SPLITS)
    return Documents(
        train, None, test, "aclImdb_v1", f"IMDb reviews of {place.name}, shuffled with seed {seed}"
    )


def _archive_members(path: Path, remedy: str) -> Iterator[tuple[str, bytes]]:
    return read_matching_members(path, _REVIEW, max_bytes=_MAX_REVIEW_BYTES, remedy=remedy)


def _folder_members(folder: Path) -> Iterator[tuple[str, bytes]]:
    for split in _SPLITS:
        for kind in _LABELS:
            for path in (folder / split / kind).glob("*.txt"):
                yield f"{FOLDER}/{split}/{kind}/{path.name}", path.read_bytes()


def _mixed(
    found: dict[tuple[str, str], dict[int, bytes]], split: str, draw: Callable[[], float]
) -> list[Document]:
    documents = [
        (content, label)
        for kind, label in _LABELS.items()
        for _, content in sorted(found[split, kind].items())
    ]
    return shuffled(documents, draw)


DATA_SET = DataSet(
    name="imdb",
    files=(DataFile(ARCHIVE, f"{_PAGE}{ARCHIVE}", size=84_125_825, checksum=f"md5:{MD5}"),),
    page=_PAGE,
    licence=NO_LICENCE,
    note="cite Maas et al. (2011); read from the archive",
)

SOURCE = SourceSpec(
    name="imdb",
    stand_in=False,
    find=find_imdb,
    how_to_get=f"run `spion-bench data fetch imdb`, or put {ARCHIVE} into {{folder}}",
    raw_files=(ARCHIVE, FOLDER),
    data_sets=(DATA_SET,),
)
