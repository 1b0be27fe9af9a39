"""How long a cell should take: from earlier runs on this machine, else from committed records."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from spion_bench.records import KernelCell, Record, TaskCell, read_records

Source = Literal["this machine", "committed records", "similar committed records"]
COMMITTED = Path(__file__).resolve().parents[2] / "results" / "records"


@dataclass(frozen=True)
class Expected:
    """How long a cell should take.

    Attributes:
        seconds: The median of earlier cells.
        source: Where they were measured: here, or on another machine by the commits' authors; a
            similar cell is one with another method.
    """

    seconds: float
    source: Source


def expect(
    cells: Sequence[TaskCell | KernelCell], records: Iterable[Record]
) -> dict[str, Expected | None]:
    """Return by key how long each cell should take; None where nothing like it was measured.

    Args:
        cells: Cells of a plan.
        records: What the folder of results holds; only those of the cell's machine count.
    """
    own = _busy(records, _here)
    found: dict[str, Expected | None] = {}
    for cell in cells:
        tries: tuple[tuple[Source, Callable[[], dict[tuple[str, ...], float]], _Kind], ...] = (
            ("this machine", lambda: own, _here),
            ("committed records", lambda: committed(_same), _same),
            ("similar committed records", lambda: committed(_similar), _similar),
        )
        found[cell.key] = next(
            (
                Expected(seconds, source)
                for source, known, kind in tries
                if (seconds := known().get(kind(cell))) is not None
            ),
            None,
        )
    return found


_Kind = Callable[[TaskCell | KernelCell], tuple[str, ...]]


@cache
def committed(kind: _Kind) -> dict[tuple[str, ...], float]:
    """Return the seconds of each kind of cell in the committed records; none without a checkout."""
    return _busy(read_records(COMMITTED)[0] if COMMITTED.is_dir() else (), kind)


def _busy(records: Iterable[Record], kind: _Kind) -> dict[tuple[str, ...], float]:
    found: dict[tuple[str, ...], list[float]] = {}
    for record in records:
        if record.is_ok and record.measurement.busy_s > 0:
            found.setdefault(kind(record.cell), []).append(record.measurement.busy_s)
    return {each: statistics.median(seconds) for each, seconds in found.items()}


def _here(cell: TaskCell | KernelCell) -> tuple[str, ...]:
    return (*_same(cell), cell.machine)


def _same(cell: TaskCell | KernelCell) -> tuple[str, ...]:
    return (*_similar(cell), cell.method.name)


def _similar(cell: TaskCell | KernelCell) -> tuple[str, ...]:
    settings = cell.settings if isinstance(cell, TaskCell) else None
    how = "none" if settings is None else settings.compile
    processes = cell.processes if isinstance(cell, TaskCell) else 1
    return (cell.profile, cell.pass_name, cell.label, cell.device, how, str(processes))
