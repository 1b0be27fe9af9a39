"""Records as one tidy pandas DataFrame: a row per metric; ``results/README.md`` lists the columns.

A cell without numbers has one row whose ``metric`` is empty, so no cell is missing. Of a cell that
was run more than once, the last outcome counts.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from spion_bench.records.cell import KernelCell
from spion_bench.records.schema import Record
from spion_bench.records.store import latest_by_cell, read_records, record_files

_TEXT = ("key", "reason", "git_sha")
_CATEGORIES = (
    *("file", "pass", "profile", "label", "task", "source", "case", "method", "family", "role"),
    *("base", "variant", "native", "device", "dtype", "machine", "cpu", "gpu", "status"),
    *("metric", "unit", "transition_reason", "compile", "factor", "level"),
)
_INTEGERS = (
    *("length", "batch_size", "seed", "threads", "n_samples", "block_size", "nnzb"),
    *("transition_step", "processes"),
)
_NUMBERS = ("value", "low", "high", "density", "sparse_step_share")
_FLAGS = ("stand_in", "exact", "lower_is_better", "modelled", "is_spion")
_TIMES = ("started_at", "ended_at")
_DTYPES: dict[str, str] = {
    **dict.fromkeys(_TEXT, "string"),
    **dict.fromkeys(_CATEGORIES, "category"),
    **dict.fromkeys(_INTEGERS, "Int64"),
    **dict.fromkeys(_NUMBERS, "float64"),
    **dict.fromkeys(_FLAGS, "boolean"),
    **dict.fromkeys(_TIMES, "datetime64[ns, UTC]"),
}

COLUMNS = (
    *("file", "key", "pass", "profile", "label", "task", "source", "stand_in", "length", "case"),
    *("batch_size", "method", "family", "role", "base", "variant", "native", "exact", "seed"),
    *("factor", "level", "device", "dtype", "compile", "threads", "processes", "machine", "cpu"),
    *("gpu", "git_sha"),
    *("status", "reason"),
    *("metric", "value", "low", "high", "n_samples", "unit", "lower_is_better", "modelled"),
    *("block_size", "density", "nnzb", "transition_step", "transition_reason"),
    *("sparse_step_share", "is_spion", "started_at", "ended_at"),
)
"""The columns, in order."""


def records_frame(path: str | Path) -> pd.DataFrame:
    """Return the records of a file, or of every ``*.jsonl`` below a folder, as one frame.

    Args:
        path: The file or folder. ``file`` in the frame is relative to the folder.

    Returns:
        One row per metric, and one for each cell without numbers, in file order. A line that is
        not a record is named by a warning.

    Raises:
        FileNotFoundError: If ``path`` does not exist.
    """
    files, problems = read_files(Path(path))
    for problem in problems:
        warnings.warn(problem, stacklevel=2)
    return frame_of(
        (file, record) for file, found in files.items() for record in latest_by_cell(found).values()
    )


def read_files(path: Path) -> tuple[dict[str, list[Record]], list[str]]:
    """Read a JSON Lines file, or every ``*.jsonl`` below a folder.

    Returns:
        All valid records by file, named relative to the folder, and one sentence for each line
        that is not a record.

    Raises:
        FileNotFoundError: If ``path`` does not exist.
        OSError: If a file, or a folder below it, cannot be read.
    """
    root = path if path.is_dir() else path.parent
    found: dict[str, list[Record]] = {}
    problems: list[str] = []
    for file in record_files(path):
        name = file.relative_to(root).as_posix()
        found[name], damaged = read_records(file)
        problems += [line.replace(str(file), name, 1) for line in damaged]
    return found, problems


def frame_of(records: Iterable[tuple[str, Record]]) -> pd.DataFrame:
    """Return the frame of records, each given with the file that it came from."""
    rows = [row for file, record in records for row in _rows(file, record)]
    # Through "string", a column without a value has the type of the others.
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype(dict.fromkeys(_CATEGORIES, "string"))
    return frame.astype(_DTYPES)


def _rows(file: str, record: Record) -> list[dict[str, Any]]:
    shared = {"file": file, **_cell(record), **_measurement(record), **_environment(record)}
    metrics = [
        {
            "metric": name,
            **metric.model_dump(exclude={"samples"}),
            "n_samples": max(1, len(metric.samples)),
        }
        for name, metric in record.measurement.metrics.items()
    ]
    return [shared | metric for metric in metrics] or [shared]


def _cell(record: Record) -> dict[str, Any]:
    cell = record.cell
    shared = {
        **{name: getattr(cell, name) for name in ("key", "profile", "label", "seed", "device")},
        **{name: getattr(cell, name) for name in ("dtype", "threads")},
        "pass": cell.pass_name,
        "method": cell.method.name,
        "family": cell.method.family,
        "role": cell.method.role,
        "base": cell.method.base,
        "variant": cell.method.variant,
        "native": cell.method.native or None,
    }
    if isinstance(cell, KernelCell):
        shape = cell.shape
        of_case = {"case": cell.case, "length": shape.length, "batch_size": shape.batch}
        return {**shared, **of_case, "block_size": shape.block_size}
    settings, factor = cell.settings, cell.factor
    return {
        **shared,
        **{name: getattr(cell, name) for name in ("task", "length", "batch_size", "factor")},
        "level": None if settings is None or factor is None else str(cell.level(factor)),
        "processes": cell.processes,
        "compile": None if settings is None else settings.compile,
    }


def _measurement(record: Record) -> dict[str, Any]:
    measured = record.measurement
    found: dict[str, Any] = {"status": measured.status, "reason": measured.reason}
    if measured.task is not None:
        found |= {"source": measured.task.source, "stand_in": measured.task.stand_in}
    if measured.attention is not None:
        found["exact"] = measured.attention.exact
    if measured.pattern is not None:
        pattern = measured.pattern
        found |= {"block_size": pattern.block_size, "nnzb": sum(pattern.nnzb)}
        if pattern.density:
            found["density"] = sum(pattern.density) / len(pattern.density)
    if measured.transition is not None:
        transition = measured.transition
        found |= {
            "transition_step": transition.step,
            "transition_reason": transition.reason,
            "sparse_step_share": transition.sparse_step_share,
            "is_spion": transition.is_spion,
        }
    return found


def _environment(record: Record) -> dict[str, Any]:
    environment = record.environment
    return {
        **{name: getattr(environment, name) for name in ("machine", "cpu", "gpu", "git_sha")},
        "started_at": record.started_at,
        "ended_at": record.ended_at,
    }
