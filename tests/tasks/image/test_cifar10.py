from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spion_bench.records.files import file_digest
from spion_bench.tasks.image import cifar10
from spion_bench.tasks.image.cifar10 import (
    ARCHIVE,
    MEMBERS,
    PICKLES,
    find_cifar10,
    read_cifar10,
    rgb_to_grey,
)
from tests.tasks.test_formats import write_tar

RECORDS_PER_BATCH = 4


def cifar10_members(change: dict[str, bytes] | None = None) -> dict[str, bytes]:
    """Return the archive's layout with four pictures per batch; picture n is all (n, 2n, 3n)."""
    members = {"cifar-10-batches-bin/readme.html": b"<html>"}
    for number, name in enumerate(MEMBERS):
        records = b""
        for n in range(RECORDS_PER_BATCH * number, RECORDS_PER_BATCH * (number + 1)):
            records += bytes([n % 10]) + b"".join(bytes([k * n]) * 1024 for k in (1, 2, 3))
        members[name] = records
    return members | (change or {})


def write_cifar10(data_dir: Path, change: dict[str, bytes] | None = None) -> Path:
    return write_tar(data_dir / ARCHIVE, cifar10_members(change))


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
    assert splits.source.fingerprint == file_digest(archive)
    assert not splits.source.stand_in


def test_cifar10_pixels_are_read_row_by_row(tmp_path: Path) -> None:
    white = np.zeros((3, 32, 32), np.uint8)
    white[:, 5, 7] = 255
    record = b"\x03" + white.tobytes()
    write_cifar10(tmp_path, {MEMBERS[0]: record * RECORDS_PER_BATCH})
    picture = read_cifar10(tmp_path, verify=False).train.inputs[0]
    assert np.flatnonzero(picture).tolist() == [5 * 32 + 7]
    assert picture[5 * 32 + 7] == 255


def test_cifar10_with_another_md5_is_refused_with_both_md5s(tmp_path: Path) -> None:
    archive = write_cifar10(tmp_path)
    message = (
        f"expected md5 {cifar10.MD5}, got {file_digest(archive, 'md5')} "
        rf".*{archive.stat().st_size} bytes, sha256 {file_digest(archive)}.*download"
    )
    with pytest.raises(ValueError, match=message):
        read_cifar10(tmp_path, verify=True)


def test_cifar10_with_small_batches_is_refused_even_if_the_md5_were_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cifar10, "MD5", file_digest(write_cifar10(tmp_path), "md5"))
    with pytest.raises(ValueError, match=r"data_batch_1\.bin has 12292 bytes, expected 30730000"):
        read_cifar10(tmp_path, verify=True)


@pytest.mark.parametrize("content", [b"", b"\0" * 3072, b"\0" * 3074])
def test_cifar10_batch_of_incomplete_records_is_refused(tmp_path: Path, content: bytes) -> None:
    write_cifar10(tmp_path, {MEMBERS[2]: content})
    with pytest.raises(ValueError, match=rf"data_batch_3\.bin has {len(content)} bytes"):
        read_cifar10(tmp_path, verify=False)


def test_truncated_cifar10_is_refused(tmp_path: Path) -> None:
    archive = write_cifar10(tmp_path)
    archive.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"cannot be read .* sha256 .* download"):
        read_cifar10(tmp_path, verify=False)


def test_members_next_to_the_expected_ones_do_no_harm(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    escape = {"../escaped.bin": b"x", "/absolute.bin": b"y"}
    write_cifar10(folder, escape)
    assert len(read_cifar10(folder, verify=False).test) == RECORDS_PER_BATCH
    assert sorted(path.name for path in tmp_path.rglob("*")) == [ARCHIVE, "data"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (PICKLES, "pickles"),
        ("cifar-10-batches-py", "pickles"),
        ("cifar-10-batches-bin", "no published checksum"),
    ],
)
def test_another_form_of_cifar10_is_refused_naming_the_right_one(
    tmp_path: Path, name: str, reason: str
) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match=rf"{name}: .*{reason}.*download cifar-10-binary\.tar\.gz"):
        find_cifar10(tmp_path)


def test_pickled_cifar10_next_to_the_binary_one_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / PICKLES).write_bytes(b"never read")
    archive = write_cifar10(tmp_path)
    assert find_cifar10(tmp_path) == archive


@pytest.mark.parametrize("with_folder", [True, False])
def test_absent_cifar10_says_which_file_to_put_where(tmp_path: Path, with_folder: bool) -> None:
    where = str(tmp_path) if with_folder else "a data folder"
    with pytest.raises(FileNotFoundError, match=rf"cifar-10-binary\.tar\.gz in {where}; .*fetch"):
        read_cifar10(tmp_path if with_folder else None, verify=True)
