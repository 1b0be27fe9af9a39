"""Files that others read while they are written: atomic replacement, checksums, locks."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

_CHUNK_BYTES = 1 << 20


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
def locked(path: Path, busy: Callable[[], None]) -> Iterator[None]:
    """Hold the lock file ``path``; the system releases it when its process ends, however it ends.

    Args:
        path: The lock file; it stays where it is.
        busy: Called if another process holds the lock, before waiting for it. It may raise to
            give up instead.
    """
    lock = FileLock(path)
    if not _acquired(lock):
        busy()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _acquired(lock: FileLock) -> bool:
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    return True
