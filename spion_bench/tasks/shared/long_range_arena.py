"""The Long Range Arena's release: one archive that holds the data of several tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from spion_bench.datasets.data_set import DataFile, DataSet, Unpacking
from spion_bench.tasks.task import Split

PAGE = "https://github.com/google-research/long-range-arena"
BUCKET = "https://storage.googleapis.com/long-range-arena"
ARCHIVE = "lra_release.gz"
LICENCE = "Apache-2.0 (the repository's)"
SIDES = (32, 64, 128, 256)  # rows and columns of the Pathfinder pictures

_INNER = "lra_release/lra_release"
_PARTS = {
    "listops": f"{_INNER}/listops-1000",
    "retrieval": f"{_INNER}/tsv_data",
    **{f"pathfinder{side}": f"{_INNER}/pathfinder{side}" for side in SIDES},
    "pathfinder128-outer": "lra_release/pathfinder128",
}

RELEASE = DataSet(
    name="lra-release",
    files=(DataFile(ARCHIVE, f"{BUCKET}/{ARCHIVE}"),),
    page=PAGE,
    licence=f"{LICENCE}; the papers in retrieval keep their own",
    note="8.2 GB, 18.6 GB unpacked; there are two pathfinder128 folders: before use, check that a "
    "small convolutional network learns yours",
    size_note="8.2 GB",
    unpacking=Unpacking(MappingProxyType(_PARTS), max_bytes=40_000_000_000, max_files=5_000_000),
)


def layouts(folder: str) -> tuple[str, ...]:
    """Return where a folder of the release may lie in the data folder, the first choice first."""
    return folder, f"lra_release/{folder}", f"{_INNER}/{folder}"


@dataclass(frozen=True)
class ReleasedFiles:
    """The three files of a folder of the release, one for each split of a task.

    Attributes:
        folder: The folder's name in the release.
        files: Names of the files of train, dev and test.
        source: What the task calls this source, for messages.
        otherwise: Name of the source to use instead.
        unit: What a file holds, in the plural.
    """

    folder: str
    files: tuple[str, str, str]
    source: str
    otherwise: str
    unit: str = "examples"

    @property
    def raw_files(self) -> tuple[str, ...]:
        """The files in all layouts that are looked for, relative to the data folder."""
        return tuple(f"{folder}/{name}" for folder in layouts(self.folder) for name in self.files)

    def find(self, data_dir: Path | None) -> Path | None:
        """Return the first folder that holds at least one of the files."""
        if data_dir is None:
            return None
        folders = [data_dir / layout for layout in layouts(self.folder)]
        return next((f for f in folders if any((f / file).exists() for file in self.files)), None)

    def read(
        self, data_dir: Path | None, counts: Sequence[int], read: Callable[[Path, int], Split]
    ) -> list[Split]:
        """Read so many examples of each split, each by ``read`` from its file.

        Raises:
            FileNotFoundError: If a file is missing; it says where to put which files.
            ValueError: If a file holds fewer, or ``read`` raises it.
        """
        folder = self.find(data_dir)
        missing = [file for file in self.files if folder is None or not (folder / file).exists()]
        if folder is None or missing:
            where = folder or (data_dir or Path("<data folder>")) / self.folder
            raise FileNotFoundError(
                f"source {self.source!r} needs {', '.join(missing)} in {where}; unpack "
                f"{self.folder} from the archive {ARCHIVE} that {PAGE} links, or use source "
                f"{self.otherwise!r}"
            )
        splits = []
        for name, count in zip(self.files, counts, strict=True):
            split = read(folder / name, count)
            if len(split) < count:
                raise ValueError(
                    f"{folder / name}: holds {len(split)} {self.unit}, {count} are asked for; "
                    "unpack the file again, or lower the options n_train, n_dev and n_test"
                )
            splits.append(split)
        return splits
