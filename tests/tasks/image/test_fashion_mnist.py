from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spion_bench.tasks.image import fashion_mnist
from spion_bench.tasks.image.fashion_mnist import FILES, find_fashion_mnist, read_fashion_mnist


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


def test_smaller_pictures_are_averages(tmp_path: Path, no_system_data: None) -> None:
    write_fashion_mnist(tmp_path / "fashion-mnist")
    full, small = (read_fashion_mnist(tmp_path, side=side, verify=False) for side in (32, 16))
    squares = full.test.inputs.reshape(-1, 16, 2, 16, 2)
    expected = np.rint(squares.mean(axis=(2, 4))).reshape(-1, 256)
    assert np.array_equal(small.test.inputs, expected)
    assert "16x16" in small.source.description
    assert "averaged" not in full.source.description


def test_fashion_mnist_in_the_data_folder_precedes_the_system_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = write_fashion_mnist(tmp_path / "system")
    monkeypatch.setattr(fashion_mnist, "SYSTEM_FOLDER", system)
    assert find_fashion_mnist(None) == system
    assert find_fashion_mnist(tmp_path) == system
    torchvision = write_fashion_mnist(tmp_path / "FashionMNIST/raw")
    assert find_fashion_mnist(tmp_path) == torchvision
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


@pytest.mark.parametrize("missing", FILES)
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
