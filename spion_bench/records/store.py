"""The output folder of a run: its records, its lock, and what earlier runs left in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from spion_bench.records import Record, append_record, read_records
from spion_bench.run.interrupts import deferred_interrupts
from spion_bench.suite.plan import Cell

if TYPE_CHECKING:
    from collections.abc import Iterable

DONE = frozenset({"ok", "unsupported"})


class BusyError(RuntimeError):
    """Another run is using the output folder."""


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
        lock = FileLock(self.out / ".run.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise BusyError(
                f"{self.out}: another run is writing here; wait for it to end or choose another "
                "--out"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def latest(self, key: str) -> Record | None:
        """Return the last record of a cell, or None."""
        return next((r for r in reversed(self.records) if r.cell_key == key), None)

    def is_done(self, cell: Cell) -> bool:
        """Return whether a cell needs no new run."""
        record = self.latest(cell.key)
        return record is not None and record.status in DONE

    def append(self, record: Record) -> None:
        """Store a record; a Ctrl-C during the write takes effect after it."""
        with deferred_interrupts():
            append_record(self.records_file, record)
            self.records.append(record)

    def learned_patterns(self, cell: Cell, length: int, block_size: int) -> Record | None:
        """Return the accuracy record whose patterns fit ``cell``: same task, seed and method.

        Args:
            cell: A speed or memory cell.
            length: Its sequence length.
            block_size: Its block size.
        """
        for record in reversed(self.records):
            if (
                record.pass_name == "accuracy"
                and record.status == "ok"
                and record.method.name == cell.method
                and record.seed == cell.seed
                and record.task is not None
                and (record.task.name, record.task.length) == (cell.task, length)
                and record.pattern is not None
                and record.pattern.block_size == block_size
                and self.artifact(record).exists()
            ):
                return record
        return None

    def artifact(self, record: Record) -> Path:
        """Return where the artifact of an accuracy record lies."""
        return self.out / "artifacts" / f"{record.cell_key}.npz"

    def forget(self, cells: Iterable[Cell]) -> None:
        """Delete the checkpoints and shared dense prefixes that ``cells`` would resume from."""
        for cell in cells:
            for folder in (f"checkpoints/{cell.key}", f"prefixes/{cell.code}"):
                shutil.rmtree(self.out / folder, ignore_errors=True)
