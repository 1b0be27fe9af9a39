"""The Long Range Arena's release: one archive that holds the data of several tasks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType

from spion_bench.datasets.data_set import DataFile, DataSet, Unpacking

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


def find_folder(data_dir: Path | None, name: str, files: Sequence[str]) -> Path | None:
    """Return the first folder called ``name`` that holds at least one of ``files``."""
    if data_dir is None:
        return None
    folders = [data_dir / layout for layout in layouts(name)]
    return next((f for f in folders if any((f / file).exists() for file in files)), None)


def require_files(
    data_dir: Path | None, name: str, files: Sequence[str], *, source: str, otherwise: str
) -> Path:
    """Return the folder called ``name`` that holds all of ``files``.

    Args:
        data_dir: The data folder.
        name: The folder's name in the release.
        files: Names of its files.
        source: Name of the source that needs them, for the message.
        otherwise: Name of the source to use instead, for the message.

    Raises:
        FileNotFoundError: If one is missing; it says where to put which files.
    """
    folder = find_folder(data_dir, name, files)
    missing = [file for file in files if folder is None or not (folder / file).exists()]
    if folder is None or missing:
        where = folder or (data_dir or Path("<data folder>")) / name
        raise FileNotFoundError(
            f"source {source!r} needs {', '.join(missing)} in {where}; unpack {name} from the "
            f"archive {ARCHIVE} that {PAGE} links, or use source {otherwise!r}"
        )
    return folder
