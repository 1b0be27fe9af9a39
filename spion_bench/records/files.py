"""Files that others read while they are written: atomic replacement, checksums, locks."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from spion_bench.records.quote import quote

_CHUNK_BYTES = 1 << 20
_LEFTOVER_S = 3600.0


def replace_file(path: Path, content: bytes) -> None:
    """Write ``path`` atomically: whatever happens, it holds its old or its new content.

    Raises:
        OSError: If it cannot be written; ``path`` is then as it was, and nothing else is left.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    _remove_leftovers(path)


def _remove_leftovers(path: Path) -> None:
    """Remove what killed processes left of ``path``; a young file may be another writer's."""
    pattern = re.compile(rf"{re.escape(path.name)}\.[0-9]+\.tmp")
    for other in path.parent.iterdir():
        with suppress(OSError):
            if pattern.fullmatch(other.name) and time.time() - other.stat().st_mtime > _LEFTOVER_S:
                other.unlink()


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """Make ``path`` an empty folder and remove it, with all that is left in it, at the end.

    What an interrupted process left there is removed first. The caller renames what is finished.
    """
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of the folder ``path`` if the block succeeds.

    A block that fails leaves ``path`` as it was.
    """
    with scratch_folder(path.with_name(f".{path.name}.writing")) as work:
        yield work
        shutil.rmtree(path, ignore_errors=True)
        work.replace(path)


def file_digests(path: Path, *algorithms: str) -> list[str]:
    """Return the hex digests of a file, in the order of ``algorithms``; the file is read once."""
    digests = [hashlib.new(algorithm, usedforsecurity=False) for algorithm in algorithms]
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            for digest in digests:
                digest.update(chunk)
    return [digest.hexdigest() for digest in digests]


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Return the hex digest of a file."""
    return file_digests(path, algorithm)[0]


@contextmanager
def locked(path: Path, busy: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock file ``path``; the system releases it when its process ends, however it ends.

    Args:
        path: The lock file; it stays where it is.
        busy: Called if another process holds the lock, before waiting for it, with a text that
            names the file and, where known, the holder. It may raise to give up instead.

    Where the file system has no locks, the file's existence is one, and outlives a killed holder.
    """
    lock = FileLock(path)
    if not _acquired(lock):
        busy(f"lock file {path}{_holder(path)}")
        lock.acquire()
    try:
        own = f"{os.getpid()}\n{socket.gethostname()}\n"
        if not path.read_text(encoding="utf-8", errors="replace").startswith(f"{os.getpid()}\n"):
            path.write_text(own, encoding="utf-8")  # the other kind of lock says so already
        yield
    finally:
        lock.release()


def _holder(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")[:2]
    except OSError:
        return ""
    if len(lines) < 2 or not lines[0].isdecimal():
        return ""
    return (
        f", held by process {quote(lines[0])[1:-1]} on {quote(lines[1])[1:-1]}; if that process no "
        "longer runs, delete the file"
    )


def _acquired(lock: FileLock) -> bool:
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    return True
