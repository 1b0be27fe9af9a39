"""IMDb's film reviews, the published data of the text task; from its archive or folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from spion_bench.datasets.data_set import NO_LICENCE, DataFile, DataSet
from spion_bench.datasets.foreign import is_foreign
from spion_bench.records.files import file_digest
from spion_bench.records.quote import quote
from spion_bench.tasks.formats import damaged, read_matching_members
from spion_bench.tasks.shared.corpus import sequence_of, shuffled
from spion_bench.tasks.task import SourceSpec
from spion_bench.tasks.text.documents import Document, Documents

ARCHIVE = "aclImdb_v1.tar.gz"
FOLDER = "aclImdb"
# Where the unpacked reviews lie: archive tools may add a folder, and a second one of the same name.
LAYOUTS = (FOLDER, f"{FOLDER}/{FOLDER}", f"{FOLDER}_v1/{FOLDER}", f"{FOLDER}_v1")
MD5 = "7c2ac02c03563afcf9b574c7e56c153a"
_PAGE = "https://ai.stanford.edu/~amaas/data/sentiment/"
_KIND = re.compile(r"(?:\./)?(?:aclImdb/)+(train|test)/(neg|pos)/([^/]+)")
_REVIEW = re.compile(r"([0-9]{1,9})_[0-9]{1,9}\.txt", re.IGNORECASE)
_REVIEWS_PER_KIND = 12_500  # negative or positive ones of one split
_MAX_REVIEW_BYTES = 1_000_000
_LABELS = {"neg": 0, "pos": 1}
_SPLITS = ("train", "test")


def find_imdb(data_dir: Path | None) -> Path | None:
    """Return the unpacked folder's path, or the archive's, if one exists.

    Raises:
        ValueError: If there is no archive, and a folder of the name without reviews.
    """
    if data_dir is None:
        return None
    folders = [data_dir / layout for layout in LAYOUTS]
    reviews = [folder for folder in folders if any((folder / split).is_dir() for split in _SPLITS)]
    if reviews:
        return reviews[0]
    if (data_dir / ARCHIVE).exists():
        return data_dir / ARCHIVE
    if folders[0].exists():
        raise ValueError(
            f"{folders[0]}: expected the folders train and test in it or in {FOLDER}/{FOLDER}, got "
            f"{_listed(folders[0])}; unpack {ARCHIVE} again, or put it into {data_dir}"
        )
    return None


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
        (split, kind): {} for split in _SPLITS for kind in _LABELS
    }
    for name, content in members:
        if (match := _KIND.fullmatch(name)) is None or is_foreign(name):
            continue
        split, kind, file = match.groups()
        if (review := _REVIEW.fullmatch(file)) is None:
            raise ValueError(
                f"{place}: expected reviews <number>_<stars>.txt in {split}/{kind}, got "
                f"{quote(file)}; {remedy}"
            )
        if int(review[1]) in found[split, kind]:
            raise ValueError(f"{place}: review {review[1]} is twice in {split}/{kind}; {remedy}")
        found[split, kind][int(review[1])] = content
    for (split, kind), reviews in found.items():
        if not reviews or (verify and len(reviews) != _REVIEWS_PER_KIND):
            raise ValueError(
                f"{place}: expected {_REVIEWS_PER_KIND} reviews in {FOLDER}/{split}/{kind}, "
                f"got {len(reviews)} (in all "
                f"{', '.join(f'{len(r)} {s}/{k}' for (s, k), r in found.items())}); {remedy}"
            )
    train, test = (_mixed(found, split, sequence_of("imdb", split, seed)) for split in _SPLITS)
    return Documents(
        train, None, test, "aclImdb_v1", f"IMDb reviews of {place.name}, shuffled with seed {seed}"
    )


def _archive_members(path: Path, remedy: str) -> Iterator[tuple[str, bytes]]:
    return read_matching_members(path, _KIND, max_bytes=_MAX_REVIEW_BYTES, remedy=remedy)


def _folder_members(folder: Path) -> Iterator[tuple[str, bytes]]:
    for split in _SPLITS:
        for kind in _LABELS:
            for path in sorted((folder / split / kind).glob("*")):
                if not is_foreign(path.name):
                    yield f"{FOLDER}/{split}/{kind}/{path.name}", path.read_bytes()


def _listed(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return quote(names, 3) if names else "nothing"


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

SOURCE = SourceSpec.fetched(DATA_SET, find_imdb, ARCHIVE, raw_files=(ARCHIVE, *LAYOUTS))
