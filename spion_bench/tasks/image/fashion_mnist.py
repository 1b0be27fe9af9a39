"""Fashion-MNIST, a stand-in for CIFAR-10."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spion_bench.datasets.data_set import DataFile, DataSet
from spion_bench.tasks.formats import damaged, read_idx
from spion_bench.tasks.image.splitting import nine_to_one
from spion_bench.tasks.task import SourceSpec, Split, TaskSplits

FOLDER = "fashion-mnist"
_SIDE = 32  # of a padded picture
LAYOUTS = (FOLDER, "FashionMNIST/raw")  # in the data folder; the second one is torchvision's
SYSTEM_FOLDER = Path("/usr/share/datasets/fashion-mnist")  # of Debian's package
# md5 of the uncompressed content, which differs from MNIST's; the file names do not.
FILES = {
    "train-images-idx3-ubyte.gz": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "train-labels-idx1-ubyte.gz": "9018921c3c673c538a1fc5bad174d6f9",
    "t10k-images-idx3-ubyte.gz": "8181f5470baa50b63fa0f6fddb340f0a",
    "t10k-labels-idx1-ubyte.gz": "15d484375f8d13e6eb1aabb0c3f46965",
}
_PAGE = "https://github.com/zalandoresearch/fashion-mnist"
_HOST = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"


def find_fashion_mnist(data_dir: Path | None) -> Path | None:
    """Return the folder that holds Fashion-MNIST: one in ``data_dir``, or the system's."""
    folders = [] if data_dir is None else [data_dir / layout for layout in LAYOUTS]
    folders.append(SYSTEM_FOLDER)
    return next(
        (folder for folder in folders if any((folder / n).exists() for n in FILES)),
        None,
    )


def read_fashion_mnist(data_dir: Path | None, *, side: int = _SIDE, verify: bool) -> TaskSplits:
    """Read Fashion-MNIST, ``[N, side * side]``: 54000 train, 6000 dev, 10000 test, in file order.

    Each 28x28 picture gets two black pixels on every side. A smaller ``side`` averages squares of
    pixels.

    Args:
        data_dir: Folder whose subfolders ``LAYOUTS`` are looked into before the system's.
        side: Pixels of a row and of a column, a divisor of 32.
        verify: Whether the files must have the published content.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is damaged or holds something else.
    """
    folder = find_fashion_mnist(data_dir)
    missing = [n for n in FILES if folder is None or not (folder / n).exists()]
    if folder is None or missing:
        raise FileNotFoundError(
            f"source 'fashion-mnist' needs {', '.join(missing)} in "
            f"{folder or (data_dir or Path('<data folder>')) / FOLDER}; run "
            f"`spion-bench data fetch fashion-mnist` ({_PAGE}) or install "
            "Debian's package dataset-fashion-mnist"
        )
    known, test = (_read_idx_pair(folder, prefix, side, verify) for prefix in ("train", "t10k"))
    shrunk = "" if side == _SIDE else f", averaged down to {side}x{side}"
    return TaskSplits.of(
        (*nine_to_one(known), test),
        name="fashion-mnist",
        version="idx",
        stand_in=True,
        description=f"Fashion-MNIST, 28x28 padded with black to 32x32{shrunk}, in file order",
    )


def _read_idx_pair(folder: Path, prefix: str, side: int, verify: bool) -> Split:
    images_path = folder / f"{prefix}-images-idx3-ubyte.gz"
    labels_path = folder / f"{prefix}-labels-idx1-ubyte.gz"
    remedy = f"download {{}} again from {_PAGE}"
    images, labels = (
        read_idx(
            path,
            n_dims=n_dims,
            content_md5=FILES[path.name] if verify else None,
            remedy=remedy.format(path.name),
        )
        for path, n_dims in ((images_path, 3), (labels_path, 1))
    )
    if images.shape != (len(labels), 28, 28):
        problem = f"expected {len(labels)} pictures of 28x28, got shape {list(images.shape)}"
        raise damaged(images_path, problem, remedy.format(images_path.name))
    cell = _SIDE // side
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2)))
    cells = padded.reshape(len(images), side, cell, side, cell)
    grey = np.rint(cells.mean(axis=(2, 4), dtype=np.float32)) if cell > 1 else padded
    return Split(grey.reshape(len(images), -1).astype(np.int16), labels.astype(np.int64))


DATA_SET = DataSet(
    name="fashion-mnist",
    files=tuple(
        DataFile(f"{FOLDER}/{name}", f"{_HOST}/{name}", size, f"md5:{md5}")
        for name, size, md5 in (
            ("train-images-idx3-ubyte.gz", 26_421_880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
            ("train-labels-idx1-ubyte.gz", 29_515, "25c81989df183df01b3e8a0aad5dffbe"),
            ("t10k-images-idx3-ubyte.gz", 4_422_102, "bef4ecab320f06d8554ea6380940ec79"),
            ("t10k-labels-idx1-ubyte.gz", 5_148, "bb300cfdad3c16e7a12a480ee83cd310"),
        )
    ),
    page=_PAGE,
    licence="MIT",
    note="a stand-in for CIFAR-10",
)

SOURCE = SourceSpec(
    name="fashion-mnist",
    stand_in=True,
    find=find_fashion_mnist,
    how_to_get=(
        f"run `spion-bench data fetch fashion-mnist`, put its four files into {FOLDER} in "
        "{folder}, or install Debian's package dataset-fashion-mnist"
    ),
    raw_files=(
        *(f"{layout}/{name}" for layout in LAYOUTS for name in FILES),
        *(str(SYSTEM_FOLDER / name) for name in FILES),
    ),
    data_sets=(DATA_SET,),
)
