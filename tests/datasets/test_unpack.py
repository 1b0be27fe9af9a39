from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from spion_bench.datasets.unpack import Unpacked, UnsafeArchiveError, unpack

GOOD = {"top/a/one.txt": b"1", "top/a/deep/two.txt": b"22", "top/b/three.txt": b"333"}


def member(name: str, content: bytes = b"x", kind: bytes = tarfile.REGTYPE, link: str = ""):  # type: ignore[no-untyped-def]
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(content)
    return info, content


def write(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in GOOD.items():
            archive.addfile(*_ready(*member(name, content)))
        for info, content in members:
            archive.addfile(*_ready(info, content))
    return path


def _ready(info: tarfile.TarInfo, content: bytes) -> tuple[tarfile.TarInfo, io.BytesIO]:
    return info, io.BytesIO(content)


def open_up(archive: Path, folder: Path, *wanted: str, **limits: int) -> dict[str, Unpacked]:
    limits = {"max_bytes": 10**7, "max_files": 100, **limits}
    return unpack(archive, folder, wanted or ("top/a", "top/b"), **limits)


def files_below(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir())


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def test_the_folders_asked_for_appear_and_no_other(tmp_path: Path, data_dir: Path) -> None:
    archive = write(tmp_path / "a.tar.gz")
    assert open_up(archive, data_dir, "top/a") == {"top/a": Unpacked(2, 3)}
    assert files_below(data_dir) == ["top/a/deep/two.txt", "top/a/one.txt"]
    assert (data_dir / "top/a/deep/two.txt").read_bytes() == b"22"
    open_up(archive, data_dir, "top/b")
    assert (data_dir / "top/b/three.txt").read_bytes() == b"333"


HOSTILE = {
    "parent": member("../escaped.txt"),
    "parent further in": member("top/a/../../../escaped.txt"),
    "absolute": member("/tmp/spion_bench_escaped.txt"),
    "backslashes": member("top\\..\\..\\escaped.txt"),
    "symlink out": member("top/a/link", b"", tarfile.SYMTYPE, "/etc"),
    "symlink up": member("top/a/link", b"", tarfile.SYMTYPE, "../../.."),
    "hardlink out": member("top/a/link", b"", tarfile.LNKTYPE, "/etc/hostname"),
    "device": member("top/a/null", b"", tarfile.CHRTYPE),
    "block device": member("top/a/disk", b"", tarfile.BLKTYPE),
    "pipe": member("top/a/pipe", b"", tarfile.FIFOTYPE),
    "second copy": member("top/a/one.txt", b"other"),
    "outside the folders asked for": member("elsewhere/../../escaped.txt"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_member_refuses_the_whole_archive(
    tmp_path: Path, data_dir: Path, kind: str
) -> None:
    archive = write(tmp_path / "a.tar.gz", HOSTILE[kind])
    with pytest.raises(UnsafeArchiveError):
        open_up(archive, data_dir)
    assert files_below(tmp_path) == ["a.tar.gz"]
    assert list(data_dir.iterdir()) == []
    assert not Path("/tmp/spion_bench_escaped.txt").exists()


def test_a_file_behind_a_link_is_never_written(tmp_path: Path, data_dir: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    archive = write(
        tmp_path / "a.tar.gz",
        member("top/a/link", b"", tarfile.SYMTYPE, str(outside)),
        member("top/a/link/escaped.txt"),
    )
    with pytest.raises(UnsafeArchiveError, match="is a link"):
        open_up(archive, data_dir)
    assert list(outside.iterdir()) == []


def test_a_bomb_is_refused_by_its_ratio(tmp_path: Path, data_dir: Path) -> None:
    zeros = bytes(20_000_000)
    archive = write(tmp_path / "a.tar.gz", member("top/a/zeros", zeros))
    assert archive.stat().st_size * 50 < len(zeros)
    with pytest.raises(UnsafeArchiveError, match="'top/a/zeros' has 20000000 bytes, the archive"):
        open_up(archive, data_dir, max_bytes=10**9)
    assert list(data_dir.iterdir()) == []


def test_a_bomb_in_a_header_is_refused_before_it_fills_the_memory(
    tmp_path: Path, data_dir: Path
) -> None:
    info, content = member("top/a/one")
    info.pax_headers = {"comment": "x" * 30_000_000}
    archive = write(tmp_path / "a.tar.gz", (info, content))
    with pytest.raises(UnsafeArchiveError, match="where a header should have ended"):
        open_up(archive, data_dir, max_bytes=10**9)


def test_a_bomb_after_the_last_member_is_refused(tmp_path: Path, data_dir: Path) -> None:
    archive = write(tmp_path / "a.tar.gz")
    with open(archive, "ab") as file:
        file.write(gzip.compress(bytes(20_000_000)))
    with pytest.raises(UnsafeArchiveError, match="unpacks to more than"):
        open_up(archive, data_dir, max_bytes=10**9)


@pytest.mark.parametrize(
    ("limits", "message"),
    [({"max_files": 2}, "more than 2 members"), ({"max_bytes": 2000}, "in all|more than 2000")],
)
def test_more_than_expected_is_refused(
    tmp_path: Path, data_dir: Path, limits: dict[str, int], message: str
) -> None:
    with pytest.raises(UnsafeArchiveError, match=message):
        open_up(write(tmp_path / "a.tar.gz"), data_dir, **limits)
    assert list(data_dir.iterdir()) == []


def test_a_sparse_file_is_refused_as_it_is_larger_than_its_bytes(
    tmp_path: Path, data_dir: Path
) -> None:
    info, content = member("top/a/sparse")
    info.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.size": "1000",
        "GNU.sparse.numblocks": "1",
        "GNU.sparse.map": "0,1",
    }
    with pytest.raises(UnsafeArchiveError, match="'top/a/sparse' is no plain file"):
        open_up(write(tmp_path / "a.tar.gz", (info, content)), data_dir)


@pytest.mark.parametrize("keep", [20, 100, -9])
def test_a_cut_archive_leaves_nothing(tmp_path: Path, data_dir: Path, keep: int) -> None:
    archive = write(tmp_path / "a.tar.gz")
    archive.write_bytes(archive.read_bytes()[:keep])
    with pytest.raises(UnsafeArchiveError, match="cannot be read as a gzipped tar archive"):
        open_up(archive, data_dir)
    assert list(data_dir.iterdir()) == []


def test_a_flipped_bit_is_found_by_gzip_s_checksum(tmp_path: Path, data_dir: Path) -> None:
    archive = write(tmp_path / "a.tar.gz")
    content = bytearray(archive.read_bytes())
    content[-6] ^= 1  # in the checksum
    archive.write_bytes(content)
    with pytest.raises(UnsafeArchiveError, match="CRC"):
        open_up(archive, data_dir)
    assert list(data_dir.iterdir()) == []


def test_no_archive_at_all_is_refused(tmp_path: Path, data_dir: Path) -> None:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(b"<html>")
    with pytest.raises(UnsafeArchiveError, match="cannot be read"):
        open_up(path, data_dir)


def test_a_missing_folder_is_named(tmp_path: Path, data_dir: Path) -> None:
    with pytest.raises(UnsafeArchiveError, match="holds no files in top/c"):
        open_up(write(tmp_path / "a.tar.gz"), data_dir, "top/a", "top/c")
    assert list(data_dir.iterdir()) == []


def test_what_is_there_already_is_not_replaced(tmp_path: Path, data_dir: Path) -> None:
    archive = write(tmp_path / "a.tar.gz")
    open_up(archive, data_dir, "top/a")
    (data_dir / "top/a/one.txt").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match="top/a already exists"):
        open_up(archive, data_dir)
    assert (data_dir / "top/a/one.txt").read_bytes() == b"mine"


def test_leftovers_of_an_interrupted_unpacking_are_removed(tmp_path: Path, data_dir: Path) -> None:
    archive = write(tmp_path / "a.tar.gz")
    leftover = data_dir / ".a.tar.gz.unpacking/top/a/one.txt"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half")
    open_up(archive, data_dir, "top/a")
    assert (data_dir / "top/a/one.txt").read_bytes() == b"1"
    assert [path.name for path in data_dir.iterdir()] == ["top"]


def test_what_other_systems_add_is_not_written(tmp_path: Path, data_dir: Path) -> None:
    foreign = ("top/a/._one.txt", "top/a/.DS_Store", "__MACOSX/top/a/x.txt")
    archive = write(tmp_path / "a.tar.gz", *(member(name) for name in foreign))
    assert open_up(archive, data_dir, "top/a") == {"top/a": Unpacked(2, 3)}
    assert files_below(data_dir) == ["top/a/deep/two.txt", "top/a/one.txt"]


@pytest.mark.parametrize(
    "pax",
    [
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "x"},
        {"GNU.sparse.map": "0,a"},
        {"GNU.sparse.size": "\u00b2"},
    ],
)
def test_a_damaged_sparse_header_is_named(
    tmp_path: Path, data_dir: Path, pax: dict[str, str]
) -> None:
    info, content = member("top/a/sparse")
    info.pax_headers = pax
    archive = write(tmp_path / "a.tar.gz", (info, content))
    with pytest.raises(UnsafeArchiveError, match=r"a\.tar\.gz: "):
        open_up(archive, data_dir)


def test_names_of_names_without_end_are_refused(tmp_path: Path, data_dir: Path) -> None:
    names = [member("././@LongLink", b"name\0", tarfile.GNUTYPE_LONGNAME)] * 700
    archive = write(tmp_path / "a.tar.gz", *names, member("top/a/four.txt"))
    with pytest.raises(UnsafeArchiveError, match=r"a\.tar\.gz: a member's header is damaged"):
        open_up(archive, data_dir)
