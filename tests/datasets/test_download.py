from __future__ import annotations

import random
import shutil
import socket
from collections import namedtuple
from pathlib import Path

import pytest

from spion_bench.datasets.download import DownloadError, Patience, download
from spion_bench.datasets.partial import notes_of
from tests.datasets.server import Fault, Server

CONTENT = random.Random(0).randbytes(300_000)
PATIENT = Patience(attempts=3, first_wait_s=0.0, timeout_s=5.0)


def fetch(server: Server, folder: Path, size: int | None = None) -> bytes:
    server.files.setdefault("file", CONTENT)
    partial = folder / "file.part"
    download(f"{server.url}/file", partial, size=size, patience=PATIENT)
    return partial.read_bytes()


def test_a_file_arrives_as_it_is(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    server.files["file"] = CONTENT
    resumed = download(
        f"{server.url}/file",
        tmp_path / "file.part",
        size=len(CONTENT),
        on_progress=lambda done, total: seen.append((done, total)),
    )
    assert (tmp_path / "file.part").read_bytes() == CONTENT
    assert not resumed
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert server.ranges == [None]


def test_a_dropped_connection_goes_on_where_it_was(server: Server, tmp_path: Path) -> None:
    server.faults = [Fault(drop_after=100_000), Fault(drop_after=50_000)]
    assert fetch(server, tmp_path) == CONTENT
    assert server.ranges == [None, "bytes=100000-", "bytes=150000-"]


def test_the_attempts_are_counted_without_progress_only(server: Server, tmp_path: Path) -> None:
    server.faults = [Fault(drop_after=30_000)] * 8
    assert fetch(server, tmp_path) == CONTENT
    assert len(server.ranges) == 9


def test_another_process_goes_on_where_one_gave_up(server: Server, tmp_path: Path) -> None:
    server.faults = [Fault(drop_after=100_000), *[Fault(status=503)] * 3]
    with pytest.raises(DownloadError, match="answered 503"):
        fetch(server, tmp_path)
    assert fetch(server, tmp_path) == CONTENT
    assert server.ranges[-1] == "bytes=100000-"


def test_a_server_that_ignores_ranges_is_read_from_the_start(
    server: Server, tmp_path: Path
) -> None:
    server.faults = [Fault(drop_after=100_000), Fault(ignore_range=True)]
    assert fetch(server, tmp_path) == CONTENT


@pytest.mark.parametrize(
    ("changed", "etag"),
    [
        (CONTENT[::-1], '"two"'),
        (CONTENT[:50_000], None),  # now the range asked for does not exist: status 416
    ],
    ids=["changed", "shorter than what is there"],
)
def test_a_file_that_changed_meanwhile_is_read_from_the_start(
    server: Server, tmp_path: Path, changed: bytes, etag: str | None
) -> None:
    server.faults = [Fault(drop_after=100_000), *[Fault(status=503)] * 3]
    with pytest.raises(DownloadError):
        fetch(server, tmp_path)
    server.files["file"] = changed
    server.etag = etag or server.etag
    assert fetch(server, tmp_path) == changed


def test_without_a_version_to_compare_it_is_read_from_the_start(
    server: Server, tmp_path: Path
) -> None:
    server.faults = [Fault(drop_after=100_000, headers={"ETag": None})]
    assert fetch(server, tmp_path) == CONTENT
    assert server.ranges == [None, None]


def test_a_partial_answer_of_other_bytes_is_not_used(server: Server, tmp_path: Path) -> None:
    server.faults = [Fault(drop_after=100_000), Fault(shift=5)]
    assert fetch(server, tmp_path) == CONTENT
    assert server.ranges == [None, "bytes=100000-", None]


def test_a_whole_but_unchecked_download_is_not_fetched_twice(
    server: Server, tmp_path: Path
) -> None:
    fetch(server, tmp_path)
    assert fetch(server, tmp_path) == CONTENT
    assert len(server.ranges) == 1


def test_damaged_notes_mean_a_fresh_start(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(b"of something else")
    notes_of(tmp_path / "file.part").write_text("{half")
    assert fetch(server, tmp_path) == CONTENT
    assert server.ranges == [None]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault(status=404), "the server answered 404"),
        (Fault(status=403), "the server answered 403"),
        (Fault(headers={"Content-Type": "text/html; charset=utf-8"}), "sent a web page"),
        (Fault(headers={"Content-Length": None}), "does not state the file's length"),
        (Fault(headers={"Content-Length": "\xb2"}), "does not state the file's length"),
        (Fault(headers={"Content-Length": "9" * 5000}), "does not state the file's length"),
    ],
)
def test_what_cannot_get_better_is_not_tried_again(
    server: Server, tmp_path: Path, fault: Fault, message: str
) -> None:
    server.faults = [fault]
    with pytest.raises(DownloadError, match=rf"{server.url}/file: .*{message}"):
        fetch(server, tmp_path)
    assert len(server.ranges) == 1


def test_another_size_than_published_is_refused_before_it_is_read(
    server: Server, tmp_path: Path
) -> None:
    with pytest.raises(DownloadError, match="expected 5 bytes, the server offers 300000"):
        fetch(server, tmp_path, size=5)
    assert not (tmp_path / "file.part").exists()


def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.faults = [Fault(status=503), Fault(status=429)]
    assert fetch(server, tmp_path) == CONTENT


def test_nobody_there_is_told_after_the_last_attempt(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: every connection is refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/file"
        with pytest.raises(DownloadError, match="the server cannot be reached"):
            download(url, tmp_path / "file.part", patience=PATIENT)


def test_a_range_of_more_digits_than_any_file_has_is_not_used(
    server: Server, tmp_path: Path
) -> None:
    endless = {"Content-Range": f"bytes 100000-299999/{'9' * 5000}"}
    server.faults = [Fault(drop_after=100_000), Fault(headers=endless)]
    assert fetch(server, tmp_path) == CONTENT
    assert server.ranges == [None, "bytes=100000-", None]


def test_a_server_that_drips_is_given_up(server: Server, tmp_path: Path) -> None:
    server.files["file"] = CONTENT
    server.faults = [Fault(drip_s=0.01)] * 2
    hasty = Patience(attempts=2, first_wait_s=0.0, speed_window_s=0.1)
    with pytest.raises(DownloadError, match=r"\d+ bytes per second, expected 1000 or more"):
        download(f"{server.url}/file", tmp_path / "file.part", patience=hasty)
    assert len(server.ranges) == 2
    assert fetch(server, tmp_path) == CONTENT


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/hostname",
        "ftp://127.0.0.1/file",
        "/etc/hostname",
        "http://",
        "http://[::1/file",
        "http://host:port/file",
        f"http://{'a' * 64}.org/file",
        "http://host/a file",
        "http://host/\n",
    ],
)
def test_only_http_is_spoken(tmp_path: Path, url: str) -> None:
    with pytest.raises(ValueError, match="expected an http or https address"):
        download(url, tmp_path / "file.part")


def test_a_redirect_to_a_file_is_not_followed(server: Server, tmp_path: Path) -> None:
    server.faults = [Fault(status=302, headers={"Location": "file:///etc/hostname"})]
    with pytest.raises(DownloadError):
        fetch(server, tmp_path)
    assert not (tmp_path / "file.part").exists()


def test_too_small_a_disk_is_noticed_before_the_first_byte(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**6, 10**6 - 10**5, 10**5))
    with pytest.raises(OSError, match=r"0\.00 GB are free; make room"):
        fetch(server, tmp_path)
    assert not (tmp_path / "file.part").exists()
