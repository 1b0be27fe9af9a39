"""The output folder of a run: its records file, its lock, and the index of what is done.

Records are appended one by one to ``records.jsonl``; the last line of a cell counts.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from filelock import FileLock
from pydantic import ValidationError

from spion_bench.records.artifacts import is_artifact
from spion_bench.records.cell import CellBase
from spion_bench.records.files import file_digest, locked
from spion_bench.records.names import UsageError
from spion_bench.records.schema import Record
from spion_bench.records.schema1 import Schema1Reader

DONE = frozenset({"ok", "unsupported"})


class BusyError(RuntimeError):
    """Another run is using the output folder."""


def append_record(path: Path, record: Record) -> None:
    """Append ``record`` to the JSON Lines file ``path`` as one atomic line.

    Writers in several processes take turns through a lock file. If the disk fills up, the partial
    line is removed again, and what was stored before stays readable.

    Raises:
        OSError: If the line could not be written, saying how to go on.
        ValueError: If the record could not be read back; nothing is written then.
    """
    text = record.model_dump_json()
    if Record.model_validate_json(text).model_dump_json() != text:
        raise ValueError(f"cell {record.key}: its record would not survive writing and reading")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Unbuffered: a buffer that could not be written would be written again by what follows.
        with FileLock(f"{path}.lock"), open(path, "ab+", buffering=0) as file:
            _append_line(file, text.encode() + b"\n")
    except OSError as error:
        raise OSError(
            error.errno,
            f"could not store the record of cell {record.key}: {error.strerror or error}; free "
            "some space and run the same command again, stored cells are kept",
            str(path),
        ) from error


def _append_line(file: FileIO, line: bytes) -> None:
    start = file.seek(0, os.SEEK_END)
    if start > 0 and os.pread(file.fileno(), 1, start - 1) != b"\n":
        line = b"\n" + line  # an earlier writer died within its line
    rest = memoryview(line)
    try:
        while rest:
            rest = rest[file.write(rest) :]
        os.fsync(file.fileno())
    except OSError:
        os.ftruncate(file.fileno(), start)
        raise


def read_records(path: Path) -> tuple[list[Record], list[str]]:
    """Read a JSON Lines file, or every ``*.jsonl`` below a folder; schema 1 is converted.

    Returns:
        The valid records in file order, and one sentence for each line that is not a record. A
        damaged line never hides the others.

    Raises:
        FileNotFoundError: If ``path`` does not exist.
        OSError: If a file, or a folder below it, cannot be read.
    """
    records: list[Record] = []
    problems: list[str] = []
    for file in record_files(path):
        lines = file.read_bytes().split(b"\n")
        earlier = Schema1Reader(lines)
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                records.append(earlier.read(line) or Record.model_validate_json(line))
            except (ValidationError, ValueError, RecursionError) as error:
                reason = str(error).splitlines()[0]
                problems.append(f"{file}:{number}: not a record, skipped ({reason})")
    return records, problems


def record_files(path: Path) -> list[Path]:
    """Return ``path`` if it is a file, else every ``*.jsonl`` below it, sorted.

    Raises:
        FileNotFoundError: If ``path`` does not exist.
        OSError: If a folder cannot be read; ``Path.rglob`` would pass over it.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such records file or folder; run `spion-bench run`")
    if not path.is_dir():
        return [path]

    def refuse(error: OSError) -> None:
        raise error

    return sorted(
        Path(folder, name)
        for folder, _, names in os.walk(path, onerror=refuse)
        for name in names
        if name.endswith(".jsonl")
    )


def open_stores(*paths: Path) -> list[Store]:
    """Return the folders of records at or below each path, each once.

    Raises:
        UsageError: If there are none.
        OSError: If a file, or a folder below a path, cannot be read.
    """
    files = [f for path in paths for f in record_files(path) if f.name == "records.jsonl"]
    stores = [Store(folder) for folder in {f.resolve(): f.parent for f in files}.values()]
    if not any(store.records for store in stores):
        listed = ", ".join(map(str, paths))
        raise UsageError(f"{listed}: expected records.jsonl with records at or below it")
    return stores


def latest_by_cell(records: Iterable[Record]) -> dict[str, Record]:
    """Keep the last stored record of every cell; a retried cell replaces its earlier outcome."""
    return {record.key: record for record in records}


class Store:
    """Records and files below one output folder.

    Attributes:
        out: The folder.
        records: Every stored record, oldest first.
        problems: One sentence for each damaged line of the records file.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.records: list[Record] = []
        self.problems: list[str] = []
        if self.records_file.exists():
            self.records, self.problems = read_records(self.records_file)
        self._latest = latest_by_cell(self.records)

    @property
    def records_file(self) -> Path:
        """Where the records are."""
        return self.out / "records.jsonl"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder's lock.

        Raises:
            BusyError: If another run holds it.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        with locked(self.out / ".run.lock", self._refuse):
            self._sweep()
            yield

    def _refuse(self, holder: str) -> None:
        raise BusyError(
            f"{self.out}: another run is writing here; wait for it to end or choose another --out "
            f"({holder})"
        )

    def _sweep(self) -> None:
        """Remove what killed runs left half written; no other run is writing now."""
        for folder in ("checkpoints", "artifacts"):
            for leftover in (self.out / folder).rglob("*.tmp"):
                leftover.unlink(missing_ok=True)

    def latest(self, key: str) -> Record | None:
        """Return the last record of a cell, or None."""
        return self._latest.get(key)

    def is_done(self, cell: CellBase) -> bool:
        """Return whether a cell needs no new run.

        An outcome that depends on what this machine lacks is never final, and a cell is not done
        while a file that it left is missing or damaged.
        """
        record = self.latest(cell.key)
        return record is not None and self.is_settled(record)

    def is_settled(self, record: Record) -> bool:
        """Return whether a record's outcome is final and all that it left is there."""
        found = record.measurement
        return found.status in DONE and found.is_final and not self.damaged(record)

    def damaged(self, record: Record) -> list[str]:
        """Return the names of a record's artifacts that are missing or not what was stored."""
        left = record.measurement.artifacts
        return [name for name, sha256 in left.items() if not self._is_intact(name, sha256)]

    def append(self, record: Record) -> None:
        """Store a record."""
        append_record(self.records_file, record)
        self.records.append(record)
        self._latest[record.key] = record

    def artifact(self, name: str) -> Path:
        """Return where an artifact of that name lies."""
        return self.out / "artifacts" / name

    def _is_intact(self, name: str, sha256: str) -> bool:
        """Return whether an artifact is there with the recorded content, and can be read."""
        path = self.artifact(name)
        if path.suffix == ".npz":
            return is_artifact(path, sha256)
        try:
            return file_digest(path) == sha256
        except OSError:
            return False

    def discard_damaged(self, cell: CellBase) -> list[str]:
        """Delete the damaged artifacts of a cell that is to be run again; return their names.

        A folder of artifacts is deleted as a whole: its files belong together.
        """
        record = self.latest(cell.key)
        damaged = [] if record is None else self.damaged(record)
        for name in damaged:
            path = self.artifact(name)
            path.unlink(missing_ok=True)
            if path.parent != self.out / "artifacts":
                shutil.rmtree(path.parent, ignore_errors=True)
        return damaged

    def forget(self, cells: Iterable[CellBase]) -> None:
        """Delete the checkpoints that ``cells`` would resume from, or others continue."""
        for cell in cells:
            for folder in ("checkpoints", "artifacts"):
                shutil.rmtree(self.out / folder / cell.key, ignore_errors=True)
