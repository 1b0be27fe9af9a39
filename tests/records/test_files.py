import errno
import fcntl
import hashlib
import os
import re
import socket
import warnings

import filelock
import pytest

from spion_bench.records.files import (
    file_digest,
    file_digests,
    locked,
    replace_file,
    replaced_folder,
    scratch_folder,
)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "a.json"
    for content in (b"old", b"new"):
        replace_file(path, content)
        assert path.read_bytes() == content
    assert names_in(tmp_path) == ["a.json"]


def test_a_full_disk_keeps_the_old_file(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "a.json"
    replace_file(path, b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["a.json"]


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "arrays"
    for name in ("old", "new"):
        with replaced_folder(path) as work:
            assert names_in(work) == []
            (work / name).touch()
        assert names_in(path) == [name]
    assert names_in(tmp_path) == ["arrays"]


def test_a_folder_whose_writing_fails_is_kept(tmp_path):
    path = tmp_path / "arrays"
    path.mkdir()
    (path / "old").touch()

    def fail():
        with replaced_folder(path) as work:
            (work / "new").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert names_in(path) == ["old"]
    assert names_in(tmp_path) == ["arrays"]


def test_a_scratch_folder_starts_empty_and_is_removed(tmp_path):
    path = tmp_path / ".work"
    path.mkdir()
    (path / "interrupted").touch()
    with scratch_folder(path) as work:
        assert names_in(work) == []
        (work / "a").touch()
    assert not path.exists()


def test_digests_are_those_of_hashlib(tmp_path):
    path = tmp_path / "a"
    content = bytes(range(256)) * 10_000
    path.write_bytes(content)
    expected = [hashlib.sha256(content).hexdigest(), hashlib.md5(content).hexdigest()]
    assert file_digests(path, "sha256", "md5") == expected
    assert [file_digest(path), file_digest(path, "md5")] == expected


def held(holder):
    raise RuntimeError(f"another process holds it: {holder}")


def test_a_free_lock_is_taken_and_released(tmp_path):
    path = tmp_path / ".lock"
    for _ in range(2):
        with locked(path, held), pytest.raises(filelock.Timeout):
            filelock.FileLock(path).acquire(timeout=0)


def test_a_held_lock_may_be_refused(tmp_path):
    path = tmp_path / ".lock"
    with (
        filelock.FileLock(path),
        pytest.raises(RuntimeError, match="holds it"),
        locked(path, held),
    ):
        pytest.fail("entered although the lock is held")


def test_a_busy_lock_is_named_with_its_holder(tmp_path):
    path = tmp_path / ".lock"
    holder = f"lock file {path}, held by process {os.getpid()} on {socket.gethostname()}; if that"
    with (
        locked(path, held),
        pytest.raises(RuntimeError, match=re.escape(holder)),
        locked(path, held),
    ):
        pytest.fail("entered although the lock is held")


def test_without_locks_of_the_system_the_dead_holder_is_named(tmp_path, monkeypatch):
    def missing(descriptor, operation):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", missing)
    path = tmp_path / ".lock"
    path.write_text("4242\ndead-node\n", encoding="utf-8")
    message = r"held by process 4242 on dead-node; if that process no longer runs, delete the file"
    with (
        warnings.catch_warnings(action="ignore"),
        pytest.raises(RuntimeError, match=message),
        locked(path, held),
    ):
        pytest.fail("entered although the lock is held")
    path.unlink()
    with warnings.catch_warnings(action="ignore"), locked(path, held):
        assert path.read_text(encoding="utf-8").startswith(f"{os.getpid()}\n")


def test_what_a_killed_process_left_an_hour_ago_is_removed(tmp_path):
    names = ("a.json.12.tmp", "a.json.13.tmp", "b.json.12.tmp", "a.json.old.tmp")
    for name in names:
        (tmp_path / name).touch()
        if name != "a.json.13.tmp":  # somebody may be writing it
            os.utime(tmp_path / name, (0, 0))
    replace_file(tmp_path / "a.json", b"new")
    assert names_in(tmp_path) == sorted(["a.json", *names[1:]])


def test_a_held_lock_is_waited_for_if_busy_returns(tmp_path):
    path = tmp_path / ".lock"
    other = filelock.FileLock(path)
    other.acquire()
    with locked(path, lambda holder: other.release()), pytest.raises(filelock.Timeout):
        other.acquire(timeout=0)
