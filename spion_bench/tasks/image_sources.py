"""Where the pictures of the image task come from: CIFAR-10, Fashion-MNIST, scikit-learn's digits.

Each source is found by one function and read by another, which returns all of its pictures as
rows of grey values, split into train, dev and test.
"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spion_bench.tasks.sources import (
    damaged,
    file_digest,
    read_idx,
    read_tar_members,
    splits_sha256,
)
from spion_bench.tasks.task import DataSource, Split, TaskSplits

CIFAR10_ARCHIVE = "cifar-10-binary.tar.gz"
CIFAR10_PICKLES = "cifar-10-python.tar.gz"
CIFAR10_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
CIFAR10_PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"
CIFAR10_MEMBERS = (
    *(f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6)),
    "cifar-10-batches-bin/test_batch.bin",
)
_RECORD_BYTES = 1 + 3 * 32 * 32  # the label, then the red, green and blue planes
_BATCH_BYTES = 10_000 * _RECORD_BYTES

FASHION_MNIST_PAGE = "https://github.com/zalandoresearch/fashion-mnist"
FASHION_MNIST_SYSTEM_FOLDER = Path("/usr/share/datasets/fashion-mnist")  # of Debian's package
# md5 of the uncompressed content: it tells Fashion-MNIST from MNIST, whose files are named alike.
FASHION_MNIST_FILES = {
    "train-images-idx3-ubyte.gz": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "train-labels-idx1-ubyte.gz": "9018921c3c673c538a1fc5bad174d6f9",
    "t10k-images-idx3-ubyte.gz": "8181f5470baa50b63fa0f6fddb340f0a",
    "t10k-labels-idx1-ubyte.gz": "15d484375f8d13e6eb1aabb0c3f46965",
}

_DIGITS_DEV_PER_CLASS = 20


def find_cifar10(data_dir: Path | None) -> Path | None:
    """Return the archive's path if it is there.

    Raises:
        ValueError: If only the pickled archive is there.
    """
    if data_dir is None:
        return None
    archive = data_dir / CIFAR10_ARCHIVE
    if archive.exists():
        return archive
    if (data_dir / CIFAR10_PICKLES).exists():
        raise ValueError(
            f"{data_dir / CIFAR10_PICKLES}: holds pickles, which can run code and are never read; "
            f"download {CIFAR10_ARCHIVE} from {CIFAR10_PAGE} to the same folder, or name another "
            "source"
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
        FileNotFoundError: If the archive is not there.
        ValueError: If it is damaged or not the binary version.
    """
    archive = find_cifar10(data_dir)
    if archive is None:
        raise FileNotFoundError(
            f"source 'cifar10' needs {CIFAR10_ARCHIVE} in {data_dir or 'a data folder'}; "
            f"`spion-bench data fetch cifar10` downloads it from {CIFAR10_PAGE}"
        )
    remedy = f"download {CIFAR10_ARCHIVE} again from {CIFAR10_PAGE}"
    if verify and (md5 := file_digest(archive, "md5")) != CIFAR10_MD5:
        raise damaged(archive, f"expected md5 {CIFAR10_MD5}, got {md5}", remedy)
    contents = read_tar_members(archive, CIFAR10_MEMBERS, max_bytes=_BATCH_BYTES, remedy=remedy)
    for name, content in zip(CIFAR10_MEMBERS, contents, strict=True):
        n_records, rest = divmod(len(content), _RECORD_BYTES)
        if n_records == 0 or rest or (verify and len(content) != _BATCH_BYTES):
            problem = f"{name} has {len(content)} bytes, expected {_BATCH_BYTES}"
            raise damaged(archive, problem, remedy)
    batches = [_parse_cifar10_batch(content) for content in contents]
    known = Split(
        np.concatenate([batch.inputs for batch in batches[:-1]]),
        np.concatenate([batch.labels for batch in batches[:-1]]),
    )
    train, dev = _nine_to_one(known)
    source = DataSource(
        name="cifar10",
        version="binary",
        fingerprint=file_digest(archive, "sha256"),
        stand_in=False,
        description=f"CIFAR-10 in grey, from {CIFAR10_ARCHIVE}, in archive order",
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


def find_fashion_mnist(data_dir: Path | None) -> Path | None:
    """Return the folder that holds Fashion-MNIST: one in ``data_dir``, or the system's."""
    folders = [] if data_dir is None else [data_dir / "fashion-mnist"]
    folders.append(FASHION_MNIST_SYSTEM_FOLDER)
    return next(
        (folder for folder in folders if any((folder / n).exists() for n in FASHION_MNIST_FILES)),
        None,
    )


def read_fashion_mnist(data_dir: Path | None, *, verify: bool) -> TaskSplits:
    """Read Fashion-MNIST, ``[N, 1024]``: 54000 train, 6000 dev, 10000 test, in file order.

    Each 28x28 picture gets two black pixels on every side.

    Args:
        data_dir: Folder whose subfolder ``fashion-mnist`` is looked into before the system's.
        verify: Whether the files must have the published content.

    Raises:
        FileNotFoundError: If a file is not there.
        ValueError: If a file is damaged or holds something else.
    """
    folder = find_fashion_mnist(data_dir)
    missing = [n for n in FASHION_MNIST_FILES if folder is None or not (folder / n).exists()]
    if folder is None or missing:
        raise FileNotFoundError(
            f"source 'fashion-mnist' needs {', '.join(missing)} in "
            f"{folder or (data_dir or Path('<data folder>')) / 'fashion-mnist'}; run "
            f"`spion-bench data fetch fashion-mnist` ({FASHION_MNIST_PAGE}) or install "
            "Debian's package dataset-fashion-mnist"
        )
    train, dev = _nine_to_one(_read_idx_pair(folder, "train", verify))
    test = _read_idx_pair(folder, "t10k", verify)
    source = DataSource(
        name="fashion-mnist",
        version="idx",
        fingerprint=splits_sha256(train, dev, test),
        stand_in=True,
        description="Fashion-MNIST, 28x28 padded with black to 32x32, in file order",
    )
    return TaskSplits(train, dev, test, source)


def read_digits(side: int, *, seed: int, test_per_class: int = 30) -> TaskSplits:
    """Return scikit-learn's 1797 digits, ``[N, side * side]``; 1297 train, 200 dev, 300 test.

    The 8x8 pictures with values 0..16 become 0..255 and are enlarged by repeating pixels. They are
    shuffled; dev gets 20 examples of each class, test as many as asked for, train the rest.

    Args:
        side: Pixels of a row and of a column, a multiple of 8.
        seed: Of the shuffle.
        test_per_class: Test examples of each class.
    """
    import sklearn
    from sklearn.datasets import load_digits

    digits = load_digits()
    grey = np.rint(digits.images * 255 / 16).astype(np.int16)  # a tie, 127.5, goes to the even 128
    scale = side // 8
    pictures = grey.repeat(scale, axis=1).repeat(scale, axis=2).reshape(len(grey), -1)
    labels = digits.target.astype(np.int64)
    train, dev, test = (
        Split(pictures[rows], labels[rows]) for rows in _deal(labels, seed, test_per_class)
    )
    source = DataSource(
        name="digits",
        version=f"scikit-learn {sklearn.__version__}",
        fingerprint=splits_sha256(train, dev, test),
        stand_in=True,
        description=(
            f"scikit-learn's 8x8 digits enlarged to {side}x{side}, shuffled with seed {seed}"
        ),
    )
    return TaskSplits(train, dev, test, source)


def _parse_cifar10_batch(content: bytes) -> Split:
    records = np.frombuffer(content, np.uint8).reshape(-1, _RECORD_BYTES)
    colours = np.moveaxis(records[:, 1:].reshape(-1, 3, 32 * 32), 1, -1)
    return Split(rgb_to_grey(colours).astype(np.int16), records[:, 0].astype(np.int64))


def _read_idx_pair(folder: Path, prefix: str, verify: bool) -> Split:
    images_path = folder / f"{prefix}-images-idx3-ubyte.gz"
    labels_path = folder / f"{prefix}-labels-idx1-ubyte.gz"
    remedy = f"download {{}} again from {FASHION_MNIST_PAGE}"
    images, labels = (
        read_idx(
            path,
            n_dims=n_dims,
            content_md5=FASHION_MNIST_FILES[path.name] if verify else None,
            remedy=remedy.format(path.name),
        )
        for path, n_dims in ((images_path, 3), (labels_path, 1))
    )
    if images.shape != (len(labels), 28, 28):
        problem = f"expected {len(labels)} pictures of 28x28, got shape {list(images.shape)}"
        raise damaged(images_path, problem, remedy.format(images_path.name))
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2))).reshape(len(images), -1)
    return Split(padded.astype(np.int16), labels.astype(np.int64))


def _nine_to_one(examples: Split) -> tuple[Split, Split]:
    """Split into the first nine tenths and the rest."""
    n_train = len(examples) * 9 // 10
    rest = Split(examples.inputs[n_train:], examples.labels[n_train:])
    return examples.first(n_train), rest


def _deal(labels: NDArray[np.int64], seed: int, test_per_class: int) -> list[NDArray[np.int64]]:
    """Return the rows of train, dev and test: every class dealt evenly, each part shuffled."""
    rng = random.Random(seed)
    order = _shuffled(np.arange(len(labels)), rng)
    part = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        places = np.flatnonzero(labels[order] == label)
        part[places[:test_per_class]] = 2
        part[places[test_per_class:][:_DIGITS_DEV_PER_CLASS]] = 1
    # Dealing took early rows of every class, so what is left needs a second shuffle.
    return [_shuffled(order[part == number], rng) for number in range(3)]


def _shuffled(rows: NDArray[np.int64], rng: random.Random) -> NDArray[np.int64]:
    # Python promises the sequence of random() for ever, but not what shuffle() makes of it.
    return rows[np.argsort([rng.random() for _ in rows], kind="stable")]
