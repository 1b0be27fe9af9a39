from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from spion_bench.tasks import image_sources
from spion_bench.tasks.image_sources import (
    CIFAR10_ARCHIVE,
    CIFAR10_MEMBERS,
    CIFAR10_PICKLES,
    FASHION_MNIST_FILES,
    find_cifar10,
    find_fashion_mnist,
    read_cifar10,
    read_digits,
    read_fashion_mnist,
    rgb_to_grey,
)
from spion_bench.tasks.sources import file_digest
from tests.tasks.test_sources import write_tar

RECORDS_PER_BATCH = 4


def cifar10_members(change: dict[str, bytes] | None = None) -> dict[str, bytes]:
    """Return the archive's layout with four pictures per batch; picture n is all (n, 2n, 3n)."""
    members = {"cifar-10-batches-bin/readme.html": b"<html>"}
    for number, name in enumerate(CIFAR10_MEMBERS):
        records = b""
        for n in range(RECORDS_PER_BATCH * number, RECORDS_PER_BATCH * (number + 1)):
            records += bytes([n % 10]) + b"".join(bytes([k * n]) * 1024 for k in (1, 2, 3))
        members[name] = records
    return members | (change or {})


def write_cifar10(data_dir: Path, change: dict[str, bytes] | None = None) -> Path:
    return write_tar(data_dir / CIFAR10_ARCHIVE, cifar10_members(change))


def write_fashion_mnist(folder: Path, n_train: int = 20, n_test: int = 5) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for prefix, count in (("train", n_train), ("t10k", n_test)):
        pictures = np.arange(count * 28 * 28) % 251
        write_idx(folder / f"{prefix}-images-idx3-ubyte.gz", pictures.reshape(count, 28, 28))
        write_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", np.arange(count) % 10)
    return folder


def write_idx(path: Path, array: NDArray[Any]) -> None:
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes()))


def test_golden_grey_values(golden: dict[str, Any]) -> None:
    case = golden["grayscale"]
    grey = rgb_to_grey(np.array(case["inputs"]["rgb"], np.uint8))
    assert grey.tolist() == case["expected"]["gray"]
    assert grey.tolist() != case["expected"]["pil_L"]


def test_cifar10_records_become_grey_rows_in_archive_order(tmp_path: Path) -> None:
    archive = write_cifar10(tmp_path)
    splits = read_cifar10(tmp_path, verify=False)
    assert [len(split) for split in (splits.train, splits.dev, splits.test)] == [18, 2, 4]
    assert splits.train.inputs.shape == (18, 1024)
    assert splits.train.inputs.dtype == np.int16
    n = np.arange(24)
    expected = np.floor(255.5 * (0.2989 * n + 0.5870 * 2 * n + 0.1140 * 3 * n) / 255)
    rows = np.concatenate([s.inputs for s in (splits.train, splits.dev, splits.test)])
    labels = np.concatenate([s.labels for s in (splits.train, splits.dev, splits.test)])
    assert np.array_equal(rows, np.repeat(expected[:, None], 1024, axis=1))
    assert labels.tolist() == (n % 10).tolist()
    assert splits.source.name == "cifar10"
    assert splits.source.fingerprint == file_digest(archive, "sha256")
    assert not splits.source.stand_in


def test_cifar10_pixels_are_read_row_by_row(tmp_path: Path) -> None:
    white = np.zeros((3, 32, 32), np.uint8)
    white[:, 5, 7] = 255
    record = b"\x03" + white.tobytes()
    write_cifar10(tmp_path, {CIFAR10_MEMBERS[0]: record * RECORDS_PER_BATCH})
    picture = read_cifar10(tmp_path, verify=False).train.inputs[0]
    assert np.flatnonzero(picture).tolist() == [5 * 32 + 7]
    assert picture[5 * 32 + 7] == 255


def test_cifar10_with_another_md5_is_refused_with_both_md5s(tmp_path: Path) -> None:
    archive = write_cifar10(tmp_path)
    message = (
        f"expected md5 {image_sources.CIFAR10_MD5}, got {file_digest(archive, 'md5')} "
        rf".*{archive.stat().st_size} bytes, sha256 {file_digest(archive, 'sha256')}.*download"
    )
    with pytest.raises(ValueError, match=message):
        read_cifar10(tmp_path, verify=True)


def test_cifar10_with_small_batches_is_refused_even_if_the_md5_were_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_sources, "CIFAR10_MD5", file_digest(write_cifar10(tmp_path), "md5"))
    with pytest.raises(ValueError, match=r"data_batch_1\.bin has 12292 bytes, expected 30730000"):
        read_cifar10(tmp_path, verify=True)


@pytest.mark.parametrize("content", [b"", b"\0" * 3072, b"\0" * 3074])
def test_cifar10_batch_of_incomplete_records_is_refused(tmp_path: Path, content: bytes) -> None:
    write_cifar10(tmp_path, {CIFAR10_MEMBERS[2]: content})
    with pytest.raises(ValueError, match=rf"data_batch_3\.bin has {len(content)} bytes"):
        read_cifar10(tmp_path, verify=False)


def test_truncated_cifar10_is_refused(tmp_path: Path) -> None:
    archive = write_cifar10(tmp_path)
    archive.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"cannot be read .* sha256 .* download"):
        read_cifar10(tmp_path, verify=False)


def test_members_beside_the_expected_ones_do_no_harm(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    escape = {"../escaped.bin": b"x", "/absolute.bin": b"y"}
    write_cifar10(folder, escape)
    assert len(read_cifar10(folder, verify=False).test) == RECORDS_PER_BATCH
    assert sorted(path.name for path in tmp_path.rglob("*")) == [CIFAR10_ARCHIVE, "data"]


def test_pickled_cifar10_is_refused_naming_the_binary_one(tmp_path: Path) -> None:
    (tmp_path / CIFAR10_PICKLES).write_bytes(b"never read")
    with pytest.raises(ValueError, match=r"pickles.*download cifar-10-binary\.tar\.gz"):
        find_cifar10(tmp_path)


def test_pickled_cifar10_beside_the_binary_one_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / CIFAR10_PICKLES).write_bytes(b"never read")
    archive = write_cifar10(tmp_path)
    assert find_cifar10(tmp_path) == archive


@pytest.mark.parametrize("with_folder", [True, False])
def test_absent_cifar10_says_which_file_to_put_where(tmp_path: Path, with_folder: bool) -> None:
    where = str(tmp_path) if with_folder else "a data folder"
    with pytest.raises(FileNotFoundError, match=rf"cifar-10-binary\.tar\.gz in {where}; .*fetch"):
        read_cifar10(tmp_path if with_folder else None, verify=True)


def test_fashion_mnist_is_padded_to_32_by_32(tmp_path: Path, no_system_data: None) -> None:
    write_fashion_mnist(tmp_path / "fashion-mnist")
    splits = read_fashion_mnist(tmp_path, verify=False)
    assert [len(split) for split in (splits.train, splits.dev, splits.test)] == [18, 2, 5]
    pictures = splits.train.inputs.reshape(-1, 32, 32)
    inner = np.arange(18 * 784).reshape(18, 28, 28) % 251
    assert np.array_equal(pictures[:, 2:30, 2:30], inner)
    assert pictures.sum() == inner.sum()
    assert splits.dev.labels.tolist() == [8, 9]
    assert splits.source.stand_in


def test_fashion_mnist_in_the_data_folder_precedes_the_system_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = write_fashion_mnist(tmp_path / "system")
    monkeypatch.setattr(image_sources, "FASHION_MNIST_SYSTEM_FOLDER", system)
    assert find_fashion_mnist(None) == system
    assert find_fashion_mnist(tmp_path) == system
    own = write_fashion_mnist(tmp_path / "fashion-mnist")
    assert find_fashion_mnist(tmp_path) == own


def test_other_content_under_fashion_mnist_s_file_names_is_refused(
    tmp_path: Path, no_system_data: None
) -> None:
    write_fashion_mnist(tmp_path / "fashion-mnist")
    with pytest.raises(
        ValueError, match="expected content of md5 f4a8712d7a061bf5bd6d2ca38dc4d50a"
    ):
        read_fashion_mnist(tmp_path, verify=True)


def test_fashion_mnist_with_wrong_magic_is_refused(tmp_path: Path, no_system_data: None) -> None:
    folder = write_fashion_mnist(tmp_path / "fashion-mnist")
    labels = folder / "t10k-labels-idx1-ubyte.gz"
    labels.write_bytes((folder / "t10k-images-idx3-ubyte.gz").read_bytes())
    with pytest.raises(ValueError, match=r"t10k-labels.*begin with 00000801, got 00000803.*t10k"):
        read_fashion_mnist(tmp_path, verify=False)


@pytest.mark.parametrize("shape", [(4, 28, 28), (5, 32, 32)])
def test_fashion_mnist_of_other_shape_is_refused(
    tmp_path: Path, no_system_data: None, shape: tuple[int, ...]
) -> None:
    folder = write_fashion_mnist(tmp_path / "fashion-mnist")
    write_idx(folder / "t10k-images-idx3-ubyte.gz", np.zeros(shape))
    with pytest.raises(ValueError, match=r"t10k-images.*expected 5 pictures of 28x28, got shape"):
        read_fashion_mnist(tmp_path, verify=False)


@pytest.mark.parametrize("missing", FASHION_MNIST_FILES)
def test_incomplete_fashion_mnist_names_the_file(
    tmp_path: Path, no_system_data: None, missing: str
) -> None:
    folder = write_fashion_mnist(tmp_path / "fashion-mnist")
    (folder / missing).unlink()
    told = f"needs {missing} in {folder}; run .spion-bench data fetch"
    with pytest.raises(FileNotFoundError, match=told):
        read_fashion_mnist(tmp_path, verify=False)


def test_absent_fashion_mnist_says_where_to_put_it(tmp_path: Path, no_system_data: None) -> None:
    with pytest.raises(FileNotFoundError, match=rf"train-images.* in {tmp_path}/fashion-mnist; "):
        read_fashion_mnist(tmp_path, verify=True)


@pytest.mark.parametrize("side", [16, 32])
def test_digits_are_every_original_enlarged_once(side: int) -> None:
    splits = read_digits(side, seed=0)
    assert [len(split) for split in (splits.train, splits.dev, splits.test)] == [1297, 200, 300]
    rows = np.concatenate([s.inputs for s in (splits.train, splits.dev, splits.test)])
    labels = np.concatenate([s.labels for s in (splits.train, splits.dev, splits.test)])
    pictures = rows.reshape(-1, side, side)
    scale = side // 8
    small = pictures[:, ::scale, ::scale]
    assert np.array_equal(np.kron(small, np.ones((scale, scale), int)), pictures)
    digits = load_digits()
    expected = sorted(
        (int(label), [round(value * 255 / 16) for value in image.ravel()])
        for label, image in zip(digits.target, digits.images, strict=True)
    )
    found = zip(labels.tolist(), small.reshape(len(small), -1).tolist(), strict=True)
    assert sorted(found) == [(label, row) for label, row in expected]


def test_digits_splits_are_stratified() -> None:
    splits = read_digits(16, seed=0)
    totals = np.bincount(load_digits().target)
    assert np.bincount(splits.dev.labels).tolist() == [20] * 10
    assert np.bincount(splits.test.labels).tolist() == [30] * 10
    assert np.bincount(splits.train.labels).tolist() == (totals - 50).tolist()


def test_more_digits_can_be_kept_for_the_test() -> None:
    splits = read_digits(16, seed=0, test_per_class=100)
    assert np.bincount(splits.test.labels).tolist() == [100] * 10
    assert np.bincount(splits.dev.labels).tolist() == [20] * 10
    assert len(splits.train) == 1797 - 1200


def test_digits_order_depends_on_the_seed_alone() -> None:
    first, again, other = (read_digits(16, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first.test.inputs, again.test.inputs)
    assert first.source.fingerprint == again.source.fingerprint
    assert first.source.fingerprint != other.source.fingerprint


def test_digits_order_is_pinned() -> None:
    assert read_digits(16, seed=0).test.labels[:8].tolist() == [1, 9, 9, 4, 2, 7, 1, 4]


@pytest.mark.parametrize("part", ["train", "dev", "test"])
def test_the_first_digits_of_a_split_are_a_fair_sample(part: str) -> None:
    # A cap keeps the first examples, so these must not be sorted by class in any way.
    labels = getattr(read_digits(16, seed=0), part).labels
    counts = np.bincount(labels[:100], minlength=10)
    assert counts.min() >= 3
    assert counts.max() <= 20
