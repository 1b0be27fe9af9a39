from __future__ import annotations

import hashlib
import json
from pathlib import Path

import filelock
import pytest

from spion_bench.datasets.data_set import DataFile, DataSet, choose_parts
from spion_bench.datasets.download import DownloadError, Patience
from spion_bench.datasets.fetch import ChecksumError, Fetcher
from spion_bench.datasets.ledger import LEDGER_FILE, read_ledger
from spion_bench.datasets.unpack import UnsafeArchiveError
from spion_bench.datasets.verify import Finding, state, verify
from spion_bench.tasks.shared.long_range_arena import RELEASE
from tests.datasets.server import Fault, Server
from tests.tasks.test_formats import write_tar

CONTENT = b"0123456789" * 10_000
MD5 = f"md5:{hashlib.md5(CONTENT).hexdigest()}"
LAYOUT = {
    "lra_release/listops-1000/basic_test.tsv": b"outer",
    "lra_release/lra_release/listops-1000/basic_test.tsv": b"inner",
    "lra_release/lra_release/tsv_data/new_aan_pairs.test.tsv": b"1.0\t1\t2\ta\tb\n",
    "lra_release/pathfinder128/curv_baseline/imgs/0/sample_0.png": b"png",
}


class Heard:
    """Keeps what a fetch says."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def progress(self, what: str, done: int, total: int | None) -> None:
        assert total is None or done <= total


def one_file(checksum: str | None = None, size: int | None = None) -> DataSet:
    file = DataFile("folder/file.bin", "http://127.0.0.1:9/original", size, checksum)
    return DataSet("one", (file,), page="https://example.org", licence="none")


def fetcher(server: Server, data_dir: Path) -> Fetcher:
    server.files.setdefault("folder/file.bin", CONTENT)
    patience = Patience(attempts=3, first_wait_s=0.0, timeout_s=5.0)
    return Fetcher(data_dir, Heard(), f"{server.url}/", patience)


def heard(fetch: Fetcher) -> str:
    assert isinstance(fetch.observer, Heard)
    return "\n".join(fetch.observer.lines)


def release(server: Server, tmp_path: Path) -> DataSet:
    archive = write_tar(tmp_path / "release.tar.gz", LAYOUT)
    server.files["lra_release.gz"] = archive.read_bytes()
    return RELEASE


class TestFiles:
    def test_a_file_with_the_published_checksum_is_kept(
        self, server: Server, tmp_path: Path
    ) -> None:
        data_set = one_file(MD5, len(CONTENT))
        fetch = fetcher(server, tmp_path)
        fetch.fetch(data_set, {})
        folder = tmp_path / "folder"
        assert [path.name for path in folder.iterdir()] == ["file.bin"]
        assert (folder / "file.bin").read_bytes() == CONTENT
        assert "matches the published checksum" in heard(fetch)
        entry = read_ledger(tmp_path).files["folder/file.bin"]
        assert entry.basis == "published"
        assert entry.sha256 == hashlib.sha256(CONTENT).hexdigest()
        assert state(data_set, tmp_path, read_ledger(tmp_path)) == "verified"

    def test_without_a_published_checksum_the_first_is_recorded_and_said_so(
        self, server: Server, tmp_path: Path
    ) -> None:
        fetch = fetcher(server, tmp_path)
        fetch.fetch(one_file(), {})
        assert f"{hashlib.sha256(CONTENT).hexdigest()} recorded (trust on first use)" in heard(
            fetch
        )
        assert read_ledger(tmp_path).files["folder/file.bin"].basis == "first use"
        told = state(one_file(), tmp_path, read_ledger(tmp_path))
        assert told == "here, as first recorded"

    def test_the_second_download_must_be_the_first_one_s_equal(
        self, server: Server, tmp_path: Path
    ) -> None:
        fetcher(server, tmp_path).fetch(one_file(), {})
        (tmp_path / "folder/file.bin").unlink()
        server.files["folder/file.bin"] = CONTENT[::-1]
        with pytest.raises(ChecksumError, match=r"\(downloaded here before\), got sha256"):
            fetcher(server, tmp_path).fetch(one_file(), {})

    def test_a_wrong_checksum_is_refused_and_nothing_is_kept(
        self, server: Server, tmp_path: Path
    ) -> None:
        server.files["folder/file.bin"] = CONTENT[::-1]
        message = (
            rf"expected {MD5} \(published\), got md5:.*\n.*put file\.bin into {tmp_path}/folder"
        )
        with pytest.raises(ChecksumError, match=message):
            fetcher(server, tmp_path).fetch(one_file(MD5), {})
        assert list((tmp_path / "folder").iterdir()) == []
        assert len(server.ranges) == 1

    def test_pieces_that_do_not_fit_are_fetched_again_as_one(
        self, server: Server, tmp_path: Path
    ) -> None:
        partial = tmp_path / "folder/file.bin.part"
        partial.parent.mkdir()
        partial.write_bytes(b"x" * 5000)
        notes = {
            "url": f"{server.url}/folder/file.bin",
            "validator": server.etag,
            "total": len(CONTENT),
        }
        partial.with_name("file.bin.part.json").write_text(json.dumps(notes))
        fetch = fetcher(server, tmp_path)
        fetch.fetch(one_file(MD5), {})
        assert server.ranges == ["bytes=5000-", None]
        assert "downloading it again from the start" in heard(fetch)
        assert (tmp_path / "folder/file.bin").read_bytes() == CONTENT

    def test_what_is_there_is_not_fetched(self, server: Server, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder/file.bin").write_bytes(b"mine")
        fetch = fetcher(server, tmp_path)
        fetch.fetch(one_file(MD5), {})
        assert server.ranges == []
        assert "already present" in heard(fetch)

    def test_a_missing_file_says_where_to_put_it(self, server: Server, tmp_path: Path) -> None:
        fetch = fetcher(server, tmp_path)
        server.files.clear()
        message = (
            r"answered 404 Not Found\nWithout a network here: download http://127\.0\.0\.1:9/original"
            rf" elsewhere, put file\.bin into {tmp_path}/folder, and run `spion-bench data verify`"
        )
        with pytest.raises(DownloadError, match=message):
            fetch.fetch(one_file(), {})

    def test_two_fetches_do_not_mix(self, server: Server, tmp_path: Path) -> None:
        with (
            filelock.FileLock(tmp_path / ".fetch.lock"),
            pytest.raises(OSError, match="another fetch is writing here"),
        ):
            fetcher(server, tmp_path).fetch(one_file(), {})


class TestArchives:
    def test_a_part_of_the_release_after_two_dropped_connections(
        self, server: Server, tmp_path: Path
    ) -> None:
        data_set = release(server, tmp_path)
        half = len(server.files["lra_release.gz"]) // 2
        server.faults = [Fault(drop_after=half), Fault(drop_after=10)]
        data_dir = tmp_path / "data"
        fetch = fetcher(server, data_dir)
        fetch.fetch(data_set, choose_parts(data_set, ("listops", "retrieval")))
        inner = data_dir / "lra_release/lra_release"
        assert (inner / "listops-1000/basic_test.tsv").read_bytes() == b"inner"
        assert (inner / "tsv_data/new_aan_pairs.test.tsv").exists()
        assert not (data_dir / "lra_release/pathfinder128").exists()
        assert server.ranges == [None, f"bytes={half}-", f"bytes={half + 10}-"]
        assert "you may delete it" in heard(fetch)
        told = state(data_set, data_dir, read_ledger(data_dir))
        assert told == "here, as first recorded; unpacked: listops, retrieval"

    def test_another_part_later_needs_no_download(self, server: Server, tmp_path: Path) -> None:
        data_set, data_dir = release(server, tmp_path), tmp_path / "data"
        for part in ("listops", "pathfinder128-outer", "listops"):
            fetcher(server, data_dir).fetch(data_set, choose_parts(data_set, (part,)))
        assert server.ranges == [None]
        assert (data_dir / "lra_release/pathfinder128/curv_baseline/imgs/0/sample_0.png").exists()

    def test_unpacked_parts_need_no_archive(self, server: Server, tmp_path: Path) -> None:
        data_set, data_dir = release(server, tmp_path), tmp_path / "data"
        parts = choose_parts(data_set, ("listops",))
        fetcher(server, data_dir).fetch(data_set, parts)
        (data_dir / "lra_release.gz").unlink()
        fetcher(server, data_dir).fetch(data_set, parts)
        assert server.ranges == [None]
        assert [finding.verdict for finding in verify(data_set, data_dir)] == ["ok"]

    def test_a_hostile_archive_is_refused(self, server: Server, tmp_path: Path) -> None:
        archive = write_tar(tmp_path / "bad.tar.gz", {**LAYOUT, "../escaped": b"x"})
        server.files["lra_release.gz"] = archive.read_bytes()
        data_set, data_dir = RELEASE, tmp_path / "data"
        with pytest.raises(UnsafeArchiveError, match=r"'\.\./escaped' leads out"):
            fetcher(server, data_dir).fetch(data_set, choose_parts(data_set, ("listops",)))
        assert not (tmp_path / "escaped").exists()
        assert not (data_dir / "lra_release").exists()


class TestVerify:
    @pytest.fixture
    def here(self, server: Server, tmp_path: Path) -> Path:
        fetcher(server, tmp_path).fetch(one_file(MD5), {})
        return tmp_path

    def check(self, data_set: DataSet, data_dir: Path) -> Finding:
        (finding,) = verify(data_set, data_dir)
        return finding

    def test_a_file_that_was_fetched_is_ok(self, here: Path) -> None:
        assert self.check(one_file(MD5), here).verdict == "ok"

    def test_a_flipped_bit_is_found(self, here: Path) -> None:
        (here / "folder/file.bin").write_bytes(b"1" + CONTENT[1:])
        assert state(one_file(MD5), here, read_ledger(here)) == "here, not verified"
        finding = self.check(one_file(MD5), here)
        assert finding.verdict == "damaged"
        assert f"expected {MD5}" in finding.detail

    def test_a_wrong_size_is_found_without_reading(self, here: Path) -> None:
        finding = self.check(one_file(MD5, size=7), here)
        assert (finding.verdict, "expected 7 bytes" in finding.detail) == ("damaged", True)

    def test_a_missing_file_is_missing(self, tmp_path: Path) -> None:
        assert self.check(one_file(MD5), tmp_path).verdict == "missing"

    def test_a_file_put_by_hand_is_unproven_then_compared(self, tmp_path: Path) -> None:
        path = tmp_path / "folder/file.bin"
        path.parent.mkdir()
        path.write_bytes(CONTENT)
        assert self.check(one_file(), tmp_path).verdict == "unproven"
        assert self.check(one_file(), tmp_path).verdict == "ok"
        path.write_bytes(CONTENT[::-1])
        finding = self.check(one_file(), tmp_path)
        assert finding.verdict == "damaged"
        assert "changed since" in finding.detail

    def test_a_lost_picture_is_found(self, server: Server, tmp_path: Path) -> None:
        data_set, data_dir = release(server, tmp_path), tmp_path / "data"
        fetcher(server, data_dir).fetch(data_set, choose_parts(data_set, ("pathfinder128-outer",)))
        next((data_dir / "lra_release/pathfinder128").rglob("*.png")).unlink()
        (_, part) = verify(data_set, data_dir)
        assert part.verdict == "damaged"
        assert "expected 1 files of 3 bytes in all, got 0 of 0" in part.detail

    def test_a_damaged_ledger_says_what_to_do(self, here: Path) -> None:
        (here / LEDGER_FILE).write_text("{half")
        with pytest.raises(ValueError, match="delete it, then `spion-bench data verify`"):
            self.check(one_file(MD5), here)
