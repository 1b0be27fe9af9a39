"""Files that others read while they are written: atomic replacement, checksums, locks; once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


def replace_file(path: Path, content: bytes) -> None:
    """Write ``path`` so that it holds either its old or its new content, whatever happens.

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


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Return the hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


@contextmanager
def locked(path: Path, busy: Callable[[], None]) -> Iterator[None]:
    """Hold the lock file ``path``; the system releases it when its process ends, however it ends.

    Args:
        path: The lock file; it stays where it is.
        busy: Called if another process holds the lock, before waiting for it. It may raise to
            give up instead.
    """
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        busy()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
