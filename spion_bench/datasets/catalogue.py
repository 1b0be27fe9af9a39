"""Every data set the tasks read: files, addresses, published sizes and checksums, licence notes.

Paths are relative to the data folder, with ``/``. A mirror is a copy of a data folder that is
served over HTTP: with a base URL, a file's address is the base URL and the file's path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from spion_bench.tasks.config import suggest
from spion_bench.tasks.image_sources import (
    CIFAR10_ARCHIVE,
    CIFAR10_MD5,
    CIFAR10_PAGE,
    FASHION_MNIST_PAGE,
)
from spion_bench.tasks.listops import RELEASE_FILES, RELEASE_FOLDERS
from spion_bench.tasks.text_sources import IMDB_ARCHIVE, IMDB_MD5

LRA_PAGE = "https://github.com/google-research/long-range-arena"
LRA_BUCKET = "https://storage.googleapis.com/long-range-arena"
_FASHION_MNIST_HOST = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
_NO_LICENCE = "no licence stated with the files; read the page before you pass them on"


@dataclass(frozen=True)
class DataFile:
    """One file to download.

    Attributes:
        path: Where it lies in the data folder.
        url: Its public address.
        size: Bytes, where published or widely reported; None where not.
        checksum: ``"md5:..."`` or ``"sha256:..."`` where published; None: what is downloaded first
            is recorded and compared from then on (trust on first use).
    """

    path: str
    url: str
    size: int | None = None
    checksum: str | None = None

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Unpacking:
    """How an archive is unpacked.

    Attributes:
        parts: Name of a part to the folder that it is, in the archive and in the data folder.
        max_bytes: The archive's whole content may not be larger.
        max_files: Nor may it hold more files.
    """

    parts: Mapping[str, str]
    max_bytes: int
    max_files: int


@dataclass(frozen=True)
class DataSet:
    """A data set: its files, and what a user should know before downloading them.

    Attributes:
        name: What the command line calls it.
        tasks: The tasks that read it.
        files: What is downloaded.
        page: Where its authors describe it.
        licence: What is known about its licence.
        note: What else to know; may be empty.
        size_note: About how much is downloaded, where ``files`` do not say.
        unpacking: How its only file is unpacked; None if the tasks read the files as they are.
    """

    name: str
    tasks: tuple[str, ...]
    files: tuple[DataFile, ...]
    page: str
    licence: str
    note: str = ""
    size_note: str = ""
    unpacking: Unpacking | None = field(default=None)


_LRA_PARTS = {
    "listops": "lra_release/lra_release/listops-1000",
    "retrieval": "lra_release/lra_release/tsv_data",
    **{
        f"pathfinder{side}": f"lra_release/lra_release/pathfinder{side}"
        for side in (32, 64, 128, 256)
    },
    "pathfinder128-outer": "lra_release/pathfinder128",
}

DATA_SETS = {
    data_set.name: data_set
    for data_set in (
        DataSet(
            name="cifar10",
            tasks=("image",),
            files=(
                DataFile(
                    CIFAR10_ARCHIVE,
                    f"https://www.cs.toronto.edu/~kriz/{CIFAR10_ARCHIVE}",
                    size=170_052_171,
                    checksum=f"md5:{CIFAR10_MD5}",
                ),
            ),
            page=CIFAR10_PAGE,
            licence=_NO_LICENCE,
            note="cite Krizhevsky (2009); read from the archive, the pickled version is never read",
        ),
        DataSet(
            name="fashion-mnist",
            tasks=("image",),
            files=tuple(
                DataFile(
                    f"fashion-mnist/{name}", f"{_FASHION_MNIST_HOST}/{name}", size, f"md5:{md5}"
                )
                for name, size, md5 in (
                    ("train-images-idx3-ubyte.gz", 26_421_880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
                    ("train-labels-idx1-ubyte.gz", 29_515, "25c81989df183df01b3e8a0aad5dffbe"),
                    ("t10k-images-idx3-ubyte.gz", 4_422_102, "bef4ecab320f06d8554ea6380940ec79"),
                    ("t10k-labels-idx1-ubyte.gz", 5_148, "bb300cfdad3c16e7a12a480ee83cd310"),
                )
            ),
            page=FASHION_MNIST_PAGE,
            licence="MIT",
            note="a stand-in for CIFAR-10",
        ),
        DataSet(
            name="listops",
            tasks=("listops",),
            files=tuple(
                DataFile(
                    f"{RELEASE_FOLDERS[0]}/{name}", f"{LRA_BUCKET}/lra_release/listops-1000/{name}"
                )
                for name in RELEASE_FILES
            ),
            page=LRA_PAGE,
            licence="Apache-2.0 (the repository's)",
            note="optional: without it expressions are generated from the same distribution",
            size_note="about 0.6 GB in all three",
        ),
        DataSet(
            name="imdb",
            tasks=("text",),
            files=(
                DataFile(
                    IMDB_ARCHIVE,
                    "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
                    size=84_125_825,
                    checksum=f"md5:{IMDB_MD5}",
                ),
            ),
            page="https://ai.stanford.edu/~amaas/data/sentiment/",
            licence=_NO_LICENCE,
            note="cite Maas et al. (2011); read from the archive",
        ),
        DataSet(
            name="lra-release",
            tasks=("listops", "retrieval", "pathfinder"),
            files=(DataFile("lra_release.gz", f"{LRA_BUCKET}/lra_release.gz"),),
            page=LRA_PAGE,
            licence="Apache-2.0 (the repository's); the papers in retrieval keep their own",
            note="8.2 GB, 18.6 GB unpacked; there are two pathfinder128 folders, check before use "
            "that a small convolutional network learns yours",
            size_note="8.2 GB",
            unpacking=Unpacking(
                MappingProxyType(_LRA_PARTS), max_bytes=40_000_000_000, max_files=5_000_000
            ),
        ),
    )
}


def find_data_set(name: str) -> DataSet:
    """Return the data set called ``name``.

    Raises:
        ValueError: If there is none.
    """
    if name not in DATA_SETS:
        raise ValueError(
            f"there is no data set {name!r}{suggest(name, DATA_SETS)}; data sets are "
            f"{', '.join(DATA_SETS)}"
        )
    return DATA_SETS[name]


def choose_parts(data_set: DataSet, names: tuple[str, ...]) -> dict[str, str]:
    """Return the chosen parts of an archive, name to folder; no names: all of them.

    Raises:
        ValueError: If the data set has no such part, or no parts at all.
    """
    known = data_set.unpacking.parts if data_set.unpacking else {}
    for name in names:
        if name not in known:
            told = f"parts are {', '.join(known)}" if known else "it is not unpacked"
            raise ValueError(
                f"data set {data_set.name} has no part {name!r}{suggest(name, known)}; {told}"
            )
    return {name: known[name] for name in names or known}
