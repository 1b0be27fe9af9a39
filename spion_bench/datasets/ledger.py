"""What is known about the files in a data folder: ``downloads.json``.

A file without a published checksum can only be compared with the sha256 of its first download
(trust on first use): a later change is noticed, a wrong first download is not.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from spion_bench.datasets.data_set import DataFile
from spion_bench.records.files import file_digests, replace_file
from spion_bench.records.settings import Settings, describe_problems

LEDGER_FILE = "downloads.json"

Basis = Literal["published", "first use"]


class FileEntry(Settings):
    """One file as it was when it was last checked.

    Attributes:
        size: Bytes.
        mtime_ns: Time of its last change; with the size it shows whether the file changed since.
        sha256: sha256 of its content, in hexadecimal digits.
        basis: Whether that content matched a published checksum, or was only the first seen.
        url: Where it was downloaded from; None if it was put there by hand.
        checked_at: UTC, ISO 8601.
    """

    size: int
    mtime_ns: int
    sha256: str
    basis: Basis
    url: str | None
    checked_at: str

    @property
    def evidence(self) -> str:
        """What the check rests on, as a sentence."""
        if self.basis == "published":
            return "matches the published checksum"
        return f"no checksum is published; sha256 {self.sha256} recorded (trust on first use)"


class PartEntry(Settings):
    """One unpacked folder: its files and bytes, and the sha256 of its archive."""

    n_files: int
    n_bytes: int
    archive_sha256: str


class Ledger(Settings):
    """All entries of a data folder, by path."""

    version: Literal[1] = 1
    files: dict[str, FileEntry] = Field(default_factory=dict)
    parts: dict[str, PartEntry] = Field(default_factory=dict)


def read_ledger(data_dir: Path) -> Ledger:
    """Return what is known of ``data_dir``; nothing if no ledger is there.

    Raises:
        ValueError: If the ledger is damaged.
    """
    path = data_dir / LEDGER_FILE
    if not path.exists():
        return Ledger()
    try:
        return Ledger.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ValueError(
            f"{path}: not a list of downloads: {describe_problems(error)}; delete it, then "
            "`spion-bench data verify` writes a new one"
        ) from error


def write_ledger(data_dir: Path, ledger: Ledger) -> None:
    """Replace the ledger of ``data_dir`` in one step."""
    text = ledger.model_dump_json(indent=1) + "\n"
    replace_file(data_dir / LEDGER_FILE, text.encode())


def record_file(data_dir: Path, file: DataFile, entry: FileEntry) -> None:
    """Set the entry of one file."""
    ledger = read_ledger(data_dir)
    write_ledger(data_dir, ledger.model_copy(update={"files": {**ledger.files, file.path: entry}}))


def record_part(data_dir: Path, folder: str, entry: PartEntry) -> None:
    """Set the entry of one unpacked folder."""
    ledger = read_ledger(data_dir)
    write_ledger(data_dir, ledger.model_copy(update={"parts": {**ledger.parts, folder: entry}}))


def new_entry(path: Path, sha256: str, basis: Basis, url: str | None) -> FileEntry:
    """Return the entry of a file that was just checked."""
    found = path.stat()
    return FileEntry(
        size=found.st_size,
        mtime_ns=found.st_mtime_ns,
        sha256=sha256,
        basis=basis,
        url=url,
        checked_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def digests(path: Path, checksum: str | None) -> tuple[str, str | None]:
    """Return a file's sha256 and, in the form of ``checksum``, its ``"algorithm:digest"``."""
    if checksum is None:
        return file_digests(path, "sha256")[0], None
    algorithm = checksum.partition(":")[0]
    sha256, other = file_digests(path, "sha256", algorithm)
    return sha256, f"{algorithm}:{other}"
