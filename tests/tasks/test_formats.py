from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from spion_bench.tasks.formats import read_idx, read_tar_members

IDX_IMAGES = b"\0\0\x08\x03" + b"\0\0\0\x02" + b"\0\0\0\x02" + b"\0\0\0\x03" + bytes(range(12))


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def write_gzip(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content))
    return path


def test_members_come_in_the_order_asked_for(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar.gz", {"d/one": b"1", "d/two": b"22", "d/three": b"333"})
    contents = read_tar_members(path, ["d/three", "d/one"], max_bytes=3, remedy="fix it")
    assert contents == [b"333", b"1"]


def test_members_with_hostile_paths_are_skipped_and_nothing_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    hostile = {"../escaped": b"x", f"{tmp_path}/absolute": b"y", "inner/../d/one": b"z"}
    path = write_tar(folder / "a.tar.gz", {**hostile, "d/one": b"1"})
    assert read_tar_members(path, ["d/one"], max_bytes=9, remedy="fix it") == [b"1"]
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["a.tar.gz", "inner"]


def test_link_instead_of_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo("d/one")
        info.type = tarfile.SYMTYPE
        info.linkname = "/etc/hostname"
        archive.addfile(info)
    with pytest.raises(ValueError, match="d/one is not a plain file"):
        read_tar_members(path, ["d/one"], max_bytes=9, remedy="fix it")


def test_too_large_member_is_refused(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar.gz", {"d/one": b"1234"})
    with pytest.raises(ValueError, match="d/one has 4 bytes, at most 3 expected"):
        read_tar_members(path, ["d/one"], max_bytes=3, remedy="fix it")


def test_missing_member_is_named(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar.gz", {"d/one": b"1"})
    with pytest.raises(ValueError, match="has no member d/two"):
        read_tar_members(path, ["d/one", "d/two"], max_bytes=3, remedy="fix it")


@pytest.mark.parametrize("kept_share", [0.0, 0.5, 0.99])
def test_truncated_archive_states_size_sha256_and_remedy(tmp_path: Path, kept_share: float) -> None:
    noise = np.random.default_rng(0).bytes(50_000)
    path = write_tar(tmp_path / "a.tar.gz", {"d/one": noise})
    kept = path.read_bytes()[: int(path.stat().st_size * kept_share)]
    path.write_bytes(kept)
    sha256 = hashlib.sha256(kept).hexdigest()
    with pytest.raises(ValueError, match=rf"a\.tar\.gz: .*{len(kept)} bytes, .*{sha256}.*fix it"):
        read_tar_members(path, ["d/one"], max_bytes=50_000, remedy="fix it")


def test_flipped_byte_in_the_archive_is_found(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes(50_000)
    path = write_tar(tmp_path / "a.tar.gz", {"d/one": noise})
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="sha256"):
        read_tar_members(path, ["d/one"], max_bytes=50_000, remedy="fix it")


def test_idx_is_read(tmp_path: Path) -> None:
    path = write_gzip(tmp_path / "a.gz", IDX_IMAGES)
    md5 = hashlib.md5(IDX_IMAGES).hexdigest()
    array = read_idx(path, n_dims=3, content_md5=md5, remedy="fix it")
    assert np.array_equal(array, np.arange(12, dtype=np.uint8).reshape(2, 2, 3))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\0\0\x09\x03" + IDX_IMAGES[4:], "expected to begin with 00000803, got 00000903"),
        (b"\0\0\x08\x01" + IDX_IMAGES[4:], "expected to begin with 00000803, got 00000801"),
        (b"", "expected to begin with 00000803"),
        (IDX_IMAGES[:10], "is no IDX file"),
        (IDX_IMAGES[:-1], r"expected 28 bytes for shape \[2, 2, 3\], got 27"),
        (IDX_IMAGES + b"\0", r"expected 28 bytes for shape \[2, 2, 3\], got 29"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "expected 79228162458924105385300197391 bytes"),
    ],
)
def test_idx_of_wrong_format_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = write_gzip(tmp_path / "a.gz", content)
    with pytest.raises(ValueError, match=message):
        read_idx(path, n_dims=3, content_md5=None, remedy="fix it")


def test_idx_of_other_content_is_refused(tmp_path: Path) -> None:
    path = write_gzip(tmp_path / "a.gz", IDX_IMAGES)
    with pytest.raises(ValueError, match=f"expected content of md5 {'0' * 32}, got "):
        read_idx(path, n_dims=3, content_md5="0" * 32, remedy="fix it")


@pytest.mark.parametrize("content", [b"no gzip", gzip.compress(IDX_IMAGES)[:-9]])
def test_damaged_gzip_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.gz").write_bytes(content)
    with pytest.raises(ValueError, match=r"cannot be read as a gzip file.*fix it"):
        read_idx(tmp_path / "a.gz", n_dims=3, content_md5=None, remedy="fix it")
