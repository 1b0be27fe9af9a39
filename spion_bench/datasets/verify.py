"""Checking the files of a data folder: against published checksums, or the first download."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from spion_bench.datasets.data_set import DataFile, DataSet
from spion_bench.datasets.foreign import is_foreign
from spion_bench.datasets.ledger import (
    FileEntry,
    Ledger,
    PartEntry,
    digests,
    new_entry,
    read_ledger,
    record_file,
)

ABSENT, PARTIAL = "not here", "partly downloaded"

Verdict = Literal["ok", "unproven", "missing", "damaged"]


@dataclass(frozen=True)
class Finding:
    """One file, unpacked folder or prepared task: whether it can be trusted, and why.

    ``"unproven"`` is a file without a published checksum that was not downloaded here: its sha256
    is recorded from now on, but nothing says that it is the right file.
    """

    path: str
    verdict: Verdict
    detail: str


def state(data_set: DataSet, data_dir: Path, ledger: Ledger) -> str:
    """Return in short which files of a data set are present, without reading them."""
    files = [file for file in data_set.files if (data_dir / file.path).exists()]
    parts = data_set.unpacking.parts if data_set.unpacking else {}
    unpacked = [name for name, folder in parts.items() if (data_dir / folder).exists()]
    is_partial = any((data_dir / f"{file.path}.part").exists() for file in data_set.files)
    if not files and not unpacked:
        return PARTIAL if is_partial else ABSENT
    found = []
    if len(files) == len(data_set.files):
        entries = [_current(data_dir / file.path, ledger.files.get(file.path)) for file in files]
        found.append("here, not verified")
        if all(entries):
            proven = all(entry and entry.basis == "published" for entry in entries)
            found = ["verified" if proven else "here, as first recorded"]
    elif files:
        found.append(f"{len(files)} of {len(data_set.files)} files")
    if unpacked:
        found.append(f"unpacked: {', '.join(unpacked)}")
    return "; ".join(found)


def verify(data_set: DataSet, data_dir: Path) -> Iterator[Finding]:
    """Read every file of a data set and compare; record what was found.

    An archive that was unpacked and then deleted is not missing.
    """
    ledger = read_ledger(data_dir)
    parts = data_set.unpacking.parts if data_set.unpacking else {}
    unpacked = [folder for folder in parts.values() if (data_dir / folder).exists()]
    for file in data_set.files:
        if (data_dir / file.path).exists() or not unpacked:
            yield _verify_file(file, data_dir, ledger.files.get(file.path))
    for folder in unpacked:
        yield _verify_part(folder, data_dir, ledger.parts.get(folder))


def _verify_file(file: DataFile, data_dir: Path, before: FileEntry | None) -> Finding:
    path = data_dir / file.path
    if not path.exists():
        return Finding(
            file.path, "missing", f"`spion-bench data fetch` downloads it from {file.url}"
        )
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        return Finding(file.path, "damaged", f"expected {file.size} bytes, got {size}; delete it")
    sha256, found = digests(path, file.checksum)
    if file.checksum is not None and found != file.checksum:
        return Finding(file.path, "damaged", f"expected {file.checksum}, got {found}; delete it")
    if file.checksum is None and before is not None and sha256 != before.sha256:
        detail = f"changed since {before.checked_at}: sha256 was {before.sha256}, is {sha256}"
        return Finding(file.path, "damaged", detail)
    url = before.url if before else None
    entry = new_entry(path, sha256, "published" if file.checksum else "first use", url)
    record_file(data_dir, file, entry)
    is_known = file.checksum is not None or before is not None
    if is_known and file.checksum is None:
        return Finding(file.path, "ok", "as first recorded; no checksum is published")
    return Finding(file.path, "ok" if is_known else "unproven", entry.evidence)


def _verify_part(folder: str, data_dir: Path, before: PartEntry | None) -> Finding:
    if before is None:
        return Finding(folder, "unproven", "was not unpacked here; nothing to compare with")
    n_files, n_bytes = _measure(data_dir / folder)
    if (n_files, n_bytes) != (before.n_files, before.n_bytes):
        detail = (
            f"expected {before.n_files} files of {before.n_bytes} bytes in all, got {n_files} of "
            f"{n_bytes}; delete the folder and fetch it again"
        )
        return Finding(folder, "damaged", detail)
    return Finding(folder, "ok", f"{n_files} files, as unpacked")


def _measure(folder: Path) -> tuple[int, int]:
    """Return the number of files below a folder and their bytes."""
    sizes = [
        os.path.getsize(os.path.join(parent, name))
        for parent, _, names in os.walk(folder)
        for name in names
        if not is_foreign(name)  # a file browser may have added it since
    ]
    return len(sizes), sum(sizes)


def _current(path: Path, entry: FileEntry | None) -> FileEntry | None:
    """Return the entry if it was made of the file as it is now."""
    found = path.stat()
    is_same = entry is not None and (entry.size, entry.mtime_ns) == (
        found.st_size,
        found.st_mtime_ns,
    )
    return entry if is_same else None
