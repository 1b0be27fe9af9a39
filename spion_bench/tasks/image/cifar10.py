"""CIFAR-10 in grey, the published data of the image task."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spion_bench.datasets.data_set import NO_LICENCE, DataFile, DataSet
from spion_bench.records.files import file_digest
from spion_bench.tasks.formats import damaged, read_tar_members
from spion_bench.tasks.image.splitting import nine_to_one
from spion_bench.tasks.task import DataSource, SourceSpec, Split, TaskSplits

ARCHIVE = "cifar-10-binary.tar.gz"
PICKLES = "cifar-10-python.tar.gz"
MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
MEMBERS = (
    *(f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6)),
    "cifar-10-batches-bin/test_batch.bin",
)
_PICKLED = "holds pickles, which can run code and are never read"
_UNPACKED = "is the unpacked archive, whose files have no published checksum"
_NOT_READ = {
    PICKLES: _PICKLED,
    "cifar-10-batches-py": _PICKLED,
    "cifar-10-batches-bin": _UNPACKED,
}
_PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"
_RECORD_BYTES = 1 + 3 * 32 * 32  # the label, then the red, green and blue planes
_BATCH_BYTES = 10_000 * _RECORD_BYTES


def find_cifar10(data_dir: Path | None) -> Path | None:
    """Return the archive's path if it exists.

    Raises:
        ValueError: If only something else of CIFAR-10 is there.
    """
    if data_dir is None:
        return None
    archive = data_dir / ARCHIVE
    if archive.exists():
        return archive
    for name, reason in _NOT_READ.items():
        if (data_dir / name).exists():
            raise ValueError(
                f"{data_dir / name}: {reason}; download {ARCHIVE} from {_PAGE} to the same folder, "
                "or name another source"
            )
    return None


def read_cifar10(data_dir: Path | None, *, verify: bool) -> TaskSplits:
    """Read CIFAR-10 in grey, ``[N, 1024]``: 45000 train, 5000 dev, 10000 test.

    The dev split is the last tenth of the training images, as in the Long Range Arena; the order
    is the archive's, which is not the one TensorFlow Datasets stores the same images in.

    Args:
        data_dir: Folder of the archive.
        verify: Whether the archive must have the published md5 and batch sizes.

    Raises:
        FileNotFoundError: If the archive is missing.
        ValueError: If it is damaged or not the binary version.
    """
    archive = find_cifar10(data_dir)
    if archive is None:
        raise FileNotFoundError(
            f"source 'cifar10' needs {ARCHIVE} in {data_dir or 'a data folder'}; "
            f"`spion-bench data fetch cifar10` downloads it from {_PAGE}"
        )
    remedy = f"download {ARCHIVE} again from {_PAGE}"
    if verify and (md5 := file_digest(archive, "md5")) != MD5:
        raise damaged(archive, f"expected md5 {MD5}, got {md5}", remedy)
    contents = read_tar_members(archive, MEMBERS, max_bytes=_BATCH_BYTES, remedy=remedy)
    for name, content in zip(MEMBERS, contents, strict=True):
        n_records, rest = divmod(len(content), _RECORD_BYTES)
        if n_records == 0 or rest or (verify and len(content) != _BATCH_BYTES):
            problem = f"{name} has {len(content)} bytes, expected {_BATCH_BYTES}"
            raise damaged(archive, problem, remedy)
    batches = [_parse_batch(content) for content in contents]
    known = Split(
        np.concatenate([batch.inputs for batch in batches[:-1]]),
        np.concatenate([batch.labels for batch in batches[:-1]]),
    )
    train, dev = nine_to_one(known)
    source = DataSource(
        name="cifar10",
        version="binary",
        fingerprint=file_digest(archive),
        stand_in=False,
        description=f"CIFAR-10 in grey, from {ARCHIVE}, in archive order",
    )
    return TaskSplits(train, dev, batches[-1], source)


def rgb_to_grey(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert colours to grey as TensorFlow's ``rgb_to_grayscale`` does for 8-bit images.

    Args:
        rgb: ``[..., 3]``: red, green, blue.

    Returns:
        ``[...]``: ``floor(255.5 * (0.2989 R + 0.5870 G + 0.1140 B) / 255)`` in float32, in this
        order of operations (another order changes one colour in 100000). PIL and torchvision round
        other weights instead and differ by one in many colours.
    """
    unit = rgb.astype(np.float32) * np.float32(1 / 255)
    red, green, blue = np.moveaxis(unit, -1, 0)
    grey = red * np.float32(0.2989) + green * np.float32(0.5870) + blue * np.float32(0.1140)
    floored: NDArray[np.uint8] = (grey * np.float32(255.5)).astype(np.uint8)
    return floored


def _parse_batch(content: bytes) -> Split:
    records = np.frombuffer(content, np.uint8).reshape(-1, _RECORD_BYTES)
    colours = np.moveaxis(records[:, 1:].reshape(-1, 3, 32 * 32), 1, -1)
    return Split(rgb_to_grey(colours).astype(np.int16), records[:, 0].astype(np.int64))


DATA_SET = DataSet(
    name="cifar10",
    files=(
        DataFile(
            ARCHIVE,
            f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}",
            size=170_052_171,
            checksum=f"md5:{MD5}",
        ),
    ),
    page=_PAGE,
    licence=NO_LICENCE,
    note="cite Krizhevsky (2009); read from the archive, the pickled version is never read",
)

SOURCE = SourceSpec.fetched(DATA_SET, find_cifar10, ARCHIVE, raw_files=(ARCHIVE,))
