"""Readers of file formats: members of tar archives and IDX arrays, without trusting the file.

Nothing is unpacked to disk and nothing is unpickled. A damaged file is an error that states its
size and sha256, so two users can compare what they have.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import math
import re
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from spion_bench.records.files import file_digest

# tarfile raises ValueError for numbers it cannot read, RecursionError for names of names of names.
_READ_ERRORS = (EOFError, OSError, tarfile.TarError, zlib.error, RecursionError)
_IDX_UNSIGNED_BYTE = 0x08
_CHUNK_BYTES = 1 << 20
_MAX_IDX_BYTES = 1 << 26  # the largest file there is has 47 MB


def damaged(path: Path, problem: str, remedy: str) -> ValueError:
    """Return the error for a data file that is not what it should be."""
    return ValueError(
        f"{path}: {problem} (the file has {path.stat().st_size} bytes, "
        f"sha256 {file_digest(path)}); {remedy}"
    )


def open_text(path: Path) -> TextIO:
    """Open ASCII or UTF-8, with or without a byte-order mark, for reading lines as they are stored.

    Bytes that are no UTF-8 become ``U+FFFD``, which no format here allows: readers name the line.

    Raises:
        ValueError: If the file begins with the mark of another encoding.
    """
    with path.open("rb") as file:
        begin = file.read(4)
    if begin[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        raise ValueError(f"{path}: expected UTF-8, got UTF-16 or UTF-32; save it as UTF-8")
    return open(path, encoding="utf-8-sig", errors="replace", newline="")


def read_tar_members(
    path: Path, names: Sequence[str], *, max_bytes: int, remedy: str
) -> list[bytes]:
    """Return the contents of the named members of a gzipped tar archive, in the order asked for.

    Members are read into memory by their exact names. All others are skipped, whatever their
    paths, and none is written to disk.

    Args:
        path: The archive.
        names: Full member names.
        max_bytes: A member larger than this is refused before it is read.
        remedy: How to fix it, for the error message.

    Raises:
        ValueError: If the archive is damaged, or a member is missing, too large or no plain file.
    """
    contents = dict(
        _read_members(path, lambda name: name in names, max_bytes=max_bytes, remedy=remedy)
    )
    for name in names:
        if name not in contents:
            raise damaged(path, f"has no member {name}", remedy)
    return [contents[name] for name in names]


def read_matching_members(
    path: Path, pattern: re.Pattern[str], *, max_bytes: int, remedy: str
) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the members whose whole name matches, in the archive's order.

    As with ``read_tar_members``, nothing else is read and nothing is written to disk.

    Raises:
        ValueError: If the archive is damaged, or a matching member is too large or no plain file.
    """
    return _read_members(
        path, lambda name: bool(pattern.fullmatch(name)), max_bytes=max_bytes, remedy=remedy
    )


def _read_members(
    path: Path, is_wanted: Callable[[str], bool], *, max_bytes: int, remedy: str
) -> Iterator[tuple[str, bytes]]:
    try:
        with gzip.open(path) as stream:
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                while (member := _next_member(archive)) is not None:
                    if is_wanted(member.name):
                        yield member.name, _member_bytes(path, archive, member, max_bytes, remedy)
            while stream.read(_CHUNK_BYTES):  # gzip checks its checksum where the file ends
                pass
    except _READ_ERRORS as error:
        raise damaged(path, f"cannot be read as a gzipped tar archive: {error}", remedy) from error


def _next_member(archive: tarfile.TarFile) -> tarfile.TarInfo | None:
    try:
        return archive.next()
    except ValueError as error:
        raise tarfile.ReadError(str(error)) from error


def _member_bytes(
    path: Path, archive: tarfile.TarFile, member: tarfile.TarInfo, max_bytes: int, remedy: str
) -> bytes:
    if member.size > max_bytes:
        problem = f"{member.name} has {member.size} bytes, at most {max_bytes} expected"
        raise damaged(path, problem, remedy)
    file = archive.extractfile(member) if member.isreg() else None
    if file is None:
        raise damaged(path, f"{member.name} is not a plain file", remedy)
    return file.read()


def read_idx(path: Path, *, n_dims: int, content_md5: str | None, remedy: str) -> NDArray[np.uint8]:
    """Read a gzipped IDX file of unsigned bytes (the MNIST format).

    The header is two zero bytes, the element type, the number of dimensions, and each dimension
    as a big-endian 32-bit integer.

    Args:
        path: The ``.gz`` file.
        n_dims: Dimensions expected.
        content_md5: md5 expected of the uncompressed bytes; None skips this check. The file
            itself has no fixed checksum: distributors compress the same content differently.
        remedy: How to fix it, for the error message.

    Raises:
        ValueError: If the file is damaged, or its format or content is not the one expected.
    """
    try:
        with gzip.open(path) as file:
            content = file.read(_MAX_IDX_BYTES + 1)
    except _READ_ERRORS as error:
        raise damaged(path, f"cannot be read as a gzip file: {error}", remedy) from error
    if len(content) > _MAX_IDX_BYTES:
        raise damaged(path, f"unpacks to more than {_MAX_IDX_BYTES} bytes", remedy)
    magic = bytes((0, 0, _IDX_UNSIGNED_BYTE, n_dims))
    start = 4 + 4 * n_dims
    if content[:4] != magic or len(content) < start:
        problem = f"is no IDX file: expected to begin with {magic.hex()}, got {content[:4].hex()}"
        raise damaged(path, problem, remedy)
    shape = struct.unpack(f">{n_dims}I", content[4:start])
    expected = start + math.prod(shape)
    if len(content) != expected:
        problem = f"expected {expected} bytes for shape {list(shape)}, got {len(content)}"
        raise damaged(path, problem, remedy)
    actual_md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if content_md5 is not None and actual_md5 != content_md5:
        problem = f"expected content of md5 {content_md5}, got {actual_md5}"
        raise damaged(path, problem, remedy)
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
