"""Unpacking an archive of unknown origin.

Only plain files are written, each created new in a fresh folder, so no member can follow a link
or replace a file. One hostile member, wanted or not, makes the whole archive refused. Everything is
bounded: files, bytes, bytes compared with the archive's own size, and the length of headers.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import tarfile
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from spion_bench.datasets.foreign import is_foreign
from spion_bench.records.files import scratch_folder

_CHUNK_BYTES = 1 << 18
_MAX_HEADER_BYTES = 1 << 20  # of one member, long names and all
_MAX_RATIO = 50  # texts compress to a tenth; pictures hardly at all
_SMALL_BYTES = 1 << 20  # below this the ratio says nothing: a tar's own padding is all zeros
_READ_ERRORS = (EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError)
# What tarfile lets through: of numbers it cannot read, and of long names of long names.
_HEADER_ERRORS = (ValueError, OverflowError, RecursionError)


class UnsafeArchiveError(ValueError):
    """An archive is damaged, or holds what an attacker might put there and no data set needs."""


@dataclass(frozen=True)
class Unpacked:
    """What was written of one part."""

    n_files: int
    n_bytes: int


def unpack(
    archive: Path,
    data_dir: Path,
    folders: Collection[str],
    *,
    max_bytes: int,
    max_files: int,
    on_progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> dict[str, Unpacked]:
    """Unpack some folders of a gzipped tar archive into ``data_dir``, all of them or none.

    Args:
        archive: The archive; it is read to its end, where gzip checks its content.
        data_dir: Where the folders appear, by a rename, once everything was read.
        folders: Paths of folders in the archive.
        max_bytes: Most bytes of the whole unpacked content.
        max_files: Most members of the archive.
        on_progress: Called with the archive's bytes read and all of its bytes.

    Returns:
        Files and bytes of each folder.

    Raises:
        UnsafeArchiveError: If the archive is damaged or hostile, or a folder is not in it.
        FileExistsError: If a folder already exists.
    """
    for folder in folders:
        if (data_dir / folder).exists():
            raise FileExistsError(f"{data_dir / folder} already exists; remove it first")
    try:
        with scratch_folder(data_dir / f".{archive.name}.unpacking") as work:
            found = _write_members(archive, work, folders, max_bytes, max_files, on_progress)
            for folder in folders:
                if found[folder].n_files == 0:
                    raise UnsafeArchiveError(f"{archive}: holds no files in {folder}")
            for folder in folders:
                (data_dir / folder).parent.mkdir(parents=True, exist_ok=True)
                os.replace(work / folder, data_dir / folder)
    except _READ_ERRORS as error:
        raise UnsafeArchiveError(
            f"{archive}: cannot be read as a gzipped tar archive: {error}"
        ) from error
    return found


def _write_members(
    archive: Path,
    work: Path,
    folders: Collection[str],
    max_bytes: int,
    max_files: int,
    on_progress: Callable[[int, int | None], None],
) -> dict[str, Unpacked]:
    size = archive.stat().st_size
    found = {folder: Unpacked(0, 0) for folder in folders}
    with open(archive, "rb") as raw, gzip.open(raw) as stream:
        metered = _Metered(stream, archive, min(max_bytes, _MAX_RATIO * size + _SMALL_BYTES))
        for number, (member, tar) in enumerate(_members(metered, archive)):
            if number >= max_files:
                raise UnsafeArchiveError(f"{archive}: holds more than {max_files} members")
            path = _safe_path(archive, member)
            folder = next((f for f in folders if path.is_relative_to(f)), None)
            if is_foreign(member.name):
                folder = None  # read to its end like all others, and not written
            metered.expect(member.size, member.name)
            content = tar.extractfile(member)
            if content is None:  # a folder; the folders of files are made with them
                continue
            _copy(content, None if folder is None else work / path)
            if folder is not None:
                was = found[folder]
                found[folder] = Unpacked(was.n_files + 1, was.n_bytes + member.size)
            on_progress(raw.tell(), size)
    return found


def _members(metered: _Metered, archive: Path) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
    """Yield every member with the open archive, then read on to gzip's checksum."""
    metered.allow_header()
    with tarfile.open(fileobj=metered, mode="r|") as tar:
        while (member := _next_member(tar, archive)) is not None:
            if not (member.isreg() or member.isdir()) or member.issparse():
                kind = "a link" if member.issym() or member.islnk() else "no plain file"
                raise UnsafeArchiveError(f"{archive}: {member.name!r} is {kind}; not unpacked")
            metered.allow_all()
            yield member, tar
            cast(Any, tar).members.clear()  # else millions of entries fill the memory
            metered.allow_header()
    metered.allow_all()
    while metered.read(_CHUNK_BYTES):
        pass


def _next_member(tar: tarfile.TarFile, archive: Path) -> tarfile.TarInfo | None:
    try:
        return tar.next()
    except UnsafeArchiveError:
        raise
    except _HEADER_ERRORS as error:
        raise UnsafeArchiveError(f"{archive}: a member's header is damaged: {error}") from error


class _Metered(io.RawIOBase):
    """A stream that ends with an error where more comes out of it than was allowed."""

    def __init__(self, stream: gzip.GzipFile, archive: Path, max_bytes: int) -> None:
        self._stream = stream
        self._archive = archive
        self._max_bytes = max_bytes
        self._count = 0
        self._limit = max_bytes

    def allow_header(self) -> None:
        self._limit = min(self._max_bytes, self._count + _MAX_HEADER_BYTES)

    def allow_all(self) -> None:
        self._limit = self._max_bytes

    def expect(self, size: int, name: str) -> None:
        """Refuse a member before it is read if there is no room for what it claims to be."""
        if self._count + size > self._max_bytes:
            raise UnsafeArchiveError(
                f"{self._archive}: {name!r} has {size} bytes, the archive may unpack to "
                f"{self._max_bytes} in all"
            )

    def read(self, size: int = -1, /) -> bytes:
        content = self._stream.read(size)
        self._count += len(content)
        if self._count > self._limit:
            where = "" if self._limit == self._max_bytes else ", where a header should have ended"
            raise UnsafeArchiveError(
                f"{self._archive}: unpacks to more than {self._limit} bytes{where}"
            )
        return content


def _safe_path(archive: Path, member: tarfile.TarInfo) -> PurePosixPath:
    """Return a member's path if it stays inside the folder that it is unpacked to."""
    path = PurePosixPath(member.name)
    is_plain = not any(character in member.name for character in "\\\0:")
    if path.is_absolute() or ".." in path.parts or not is_plain:
        raise UnsafeArchiveError(
            f"{archive}: {member.name!r} leads out of the folder; not unpacked"
        )
    return path


def _copy(content: IO[bytes], path: Path | None) -> None:
    """Write a member to a new file; without a path its bytes are only read."""
    with contextlib.ExitStack() as stack:
        file = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                file = stack.enter_context(open(path, "xb"))
            except FileExistsError:
                raise UnsafeArchiveError(f"{path.name}: twice in the archive") from None
        while chunk := content.read(_CHUNK_BYTES):
            if file is not None:
                file.write(chunk)
