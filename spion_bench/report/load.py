"""Reads a records folder: the last outcome of every cell, and what its artifact file holds.

Nothing is left out in silence: damaged lines, replaced outcomes and unreadable artifact files are
all counted and named, and the report prints them.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spion_bench.records import PassName, Record, TaskInfo, latest_by_cell, read_records

BASELINE = "dense_sdpa"
"""The method that every ratio of a report is taken over."""

SHAPE_SETTINGS = ("B", "H", "L", "D", "block_size")
"""Settings of a kernel cell that say on what shape it ran."""


@dataclass(frozen=True)
class Curve:
    """The course of one training run.

    Attributes:
        step: Training step of each point, ``[n]``.
        sparse: Whether the point belongs to the sparse phase, bool ``[n]``.
        train_loss: Cross entropy (nat) of the batch, ``[n]``.
        dev_step: Step of each evaluation, ``[m]``.
        dev_accuracy: Accuracy on the dev set (0 to 1), ``[m]``.
    """

    step: NDArray[Any]
    sparse: NDArray[np.bool_]
    train_loss: NDArray[Any]
    dev_step: NDArray[Any]
    dev_accuracy: NDArray[Any]


@dataclass(frozen=True)
class Layer:
    """How one layer's pattern came about: attention map, pooled map, selection, kept blocks.

    ``attention`` is ``[m, m]`` (averaged down to at most 256 x 256); ``pooled``, ``selected`` and
    ``kept`` are ``[nb, nb]``. A block that is kept but not selected is there because the diagonal
    is always kept.
    """

    attention: NDArray[Any]
    pooled: NDArray[Any]
    selected: NDArray[np.bool_]
    kept: NDArray[np.bool_]


@dataclass(frozen=True)
class Artifact:
    """What one accuracy cell left beside its record."""

    curve: Curve
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Outcome:
    """The last record of one cell.

    A cell that failed early knows neither its task nor its shape; it takes them from a cell of
    the same records file with the same label, if there is one.

    Attributes:
        record: The record.
        file: The records file it came from.
        task: The cell's task; None for kernel cells.
        shape: A kernel cell's shape, ``B H L D block_size``; empty for the others.
        artifact: The arrays beside the record, if it has any.
    """

    record: Record
    file: str
    task: TaskInfo | None = None
    shape: dict[str, str] = field(default_factory=dict)
    artifact: Artifact | None = None

    @property
    def label(self) -> str:
        """What the plan called the cell's task and length, or kernel case."""
        return str(self.record.settings.get("label") or "")


@dataclass(frozen=True)
class RecordSet:
    """All that a report knows.

    Attributes:
        source: The records folder as the reader may know it (relative where possible).
        outcomes: One per cell and file, in the order of the cells' first records.
        files: Records files (relative to the folder) and how many valid records each holds.
        problems: One sentence for each damaged line and unreadable artifact.
    """

    source: str
    outcomes: tuple[Outcome, ...]
    files: dict[str, int]
    problems: tuple[str, ...] = field(default=())

    @property
    def n_replaced(self) -> int:
        """Earlier outcomes of cells that were run again; only the last one is reported."""
        return sum(self.files.values()) - len(self.outcomes)

    @cached_property
    def settings(self) -> dict[Setting, str]:
        """Every setting that occurs, in order, with the label a reader sees."""
        return _labels({setting_of(outcome) for outcome in self.outcomes})

    def ok(self, pass_name: PassName) -> list[Outcome]:
        """Return the outcomes of one pass that carry numbers."""
        return [
            outcome
            for outcome in self.outcomes
            if outcome.record.pass_name == pass_name and outcome.record.status == "ok"
        ]


@dataclass(frozen=True, order=True)
class Setting:
    """What must be equal before two numbers may be compared: same data, run and machine."""

    task: str
    length: int
    source: str
    device: str
    dtype: str
    profile: str
    machine: str
    file: str


def setting_of(outcome: Outcome) -> Setting:
    """Return the setting in which a cell ran."""
    record, task = outcome.record, outcome.task
    return Setting(
        task=task.name if task else "" if record.pass_name == "kernel" else outcome.label,
        length=task.length if task else int(outcome.shape.get("L", 0)),
        source=task.source if task else "",
        device=record.device,
        dtype=record.dtype,
        profile=record.profile,
        machine=record.environment.machine,
        file=outcome.file,
    )


def load_records(records_dir: Path) -> RecordSet:
    """Read every ``*.jsonl`` below ``records_dir`` and the artifacts beside each file.

    Raises:
        FileNotFoundError: If the folder does not exist.
        ValueError: If it holds no valid record, with the reasons.
    """
    if not records_dir.exists():
        raise FileNotFoundError(f"records_dir: {records_dir} does not exist; run `spion-bench run`")
    root = records_dir if records_dir.is_dir() else records_dir.parent
    paths = sorted(records_dir.rglob("*.jsonl")) if records_dir.is_dir() else [records_dir]
    outcomes: list[Outcome] = []
    problems: list[str] = []
    files: dict[str, int] = {}
    for path in paths:
        records, damaged = read_records(path)
        label = path.relative_to(root).as_posix()
        files[label] = len(records)
        problems += [line.replace(str(path), label, 1) for line in damaged]
        last = list(latest_by_cell(records).values())
        by_label = {r.settings.get("label"): r for r in last if r.task or _shape(r)}
        for record in last:
            artifact, problem = _read_artifact(record, path.parent / "artifacts")
            known = by_label.get(record.settings.get("label"), record)
            task, shape = record.task or known.task, _shape(record) or _shape(known)
            outcomes.append(Outcome(record, label, task, shape, artifact))
            problems += [problem] if problem else []
    if not outcomes:
        found = f"found {len(problems)} damaged lines ({problems[0]})" if problems else "found none"
        raise ValueError(
            f"records_dir: expected at least one record in {records_dir}, {found}; "
            f"run `spion-bench run --out {records_dir}` first"
        )
    return RecordSet(_readable(records_dir), tuple(outcomes), files, tuple(problems))


def _shape(record: Record) -> dict[str, str]:
    settings = record.settings
    return {name: str(settings[name]) for name in SHAPE_SETTINGS if name in settings}


def _readable(path: Path) -> str:
    relative = os.path.relpath(path.resolve())
    return path.name if relative.startswith("..") else Path(relative).as_posix()


def _read_artifact(record: Record, folder: Path) -> tuple[Artifact | None, str]:
    """Return the record's artifact, or None and why it cannot be shown ("" if it has none)."""
    for name, sha256 in record.artifacts.items():
        if not name.endswith(".npz"):
            continue
        path = folder / Path(name).name
        problem = f"artifacts/{path.name}: not shown ({{}}), named by cell {record.cell_key}"
        try:
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() != sha256:
                return None, problem.format("its sha256 is not the recorded one")
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                return _parse_artifact(dict(arrays)), ""
        except KeyError as error:
            return None, problem.format(f"array {error} is missing")
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            return None, problem.format(type(error).__name__)
    return None, ""


def _parse_artifact(arrays: dict[str, NDArray[Any]]) -> Artifact:
    curve = Curve(
        step=arrays["curve_step"],
        sparse=arrays["curve_phase"] == 1,
        train_loss=arrays["curve_train_loss"],
        dev_step=arrays["curve_dev_step"],
        dev_accuracy=arrays["curve_dev_accuracy"],
    )
    layers: list[Layer] = []
    while f"layer{len(layers)}_map" in arrays:
        name = f"layer{len(layers)}"
        crow = arrays[f"{name}_crow_indices"]
        kept = np.zeros((len(crow) - 1, len(crow) - 1), dtype=bool)
        rows = np.repeat(np.arange(len(crow) - 1), np.diff(crow))
        kept[rows, arrays[f"{name}_col_indices"]] = True
        layers.append(
            Layer(
                attention=arrays[f"{name}_map"],
                pooled=arrays[f"{name}_pooled"],
                selected=arrays[f"{name}_mask"].astype(bool),
                kept=kept,
            )
        )
    return Artifact(curve, tuple(layers))


def _labels(settings: Iterable[Setting]) -> dict[Setting, str]:
    """Name each setting by task and length, and by whatever else is needed to tell two apart."""
    ordered = sorted(settings, key=lambda setting: (not setting.task, setting))
    extras: tuple[Callable[[Setting], str], ...] = (
        lambda s: s.source,
        lambda s: s.device,
        lambda s: s.dtype,
        lambda s: f"profile {s.profile}",
        lambda s: s.machine,
        lambda s: s.file,
    )
    needed = [extra for extra in extras if _tells_apart(extra, ordered)]
    return {s: ", ".join([_base_label(s), *(extra(s) for extra in needed)]) for s in ordered}


def _base_label(setting: Setting) -> str:
    name = setting.task or "random input"
    return f"{name}, L\u00a0=\u00a0{setting.length}" if setting.length else name


def _tells_apart(extra: Callable[[Setting], str], settings: list[Setting]) -> bool:
    seen: dict[str, set[str]] = {}
    for setting in settings:
        seen.setdefault(_base_label(setting), set()).add(extra(setting))
    return any(len(values) > 1 for values in seen.values())
