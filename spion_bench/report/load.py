"""Reads a records folder: the last outcome of every cell, and what its artifact file holds.

Damaged lines, replaced outcomes and unreadable artifact files are counted, named and printed.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from spion_bench.records import (
    KernelCell,
    Measurement,
    MethodInfo,
    PassName,
    Record,
    TaskCell,
    TaskInfo,
    latest_by_cell,
)
from spion_bench.records.artifacts import Artifact, read_artifact
from spion_bench.records.frame import frame_of, read_files
from spion_bench.report.parts import slug
from spion_bench.report.setting import Setting, label_settings, precision_of, ways_of
from spion_bench.report.style import Look, looks_of
from spion_bench.report.versions import versions_of
from spion_bench.report.words import plural


@dataclass(frozen=True)
class Outcome:
    """The last record of one cell.

    Attributes:
        record: The record.
        file: The records file it came from.
        task: The data of the cell, or of another of the same file, task and length if it failed
            before it loaded any; None for kernel cells.
        artifact: The arrays next to the record, if it has any.
        version: Its commit, where its file has records of the same cells by other code; else "".
        anchor: Names its entry on a page.
    """

    record: Record
    file: str
    task: TaskInfo | None = None
    artifact: Artifact | None = None
    version: str = ""
    anchor: str = ""

    @property
    def caveats(self) -> tuple[str, ...]:
        """What a reader must know about its numbers, each in a few words."""
        transition, turn = self.measured.transition, self.measured.turn
        is_trained = self.pass_name in ("accuracy", "shortcuts")
        found = {
            "forced transition": transition is not None and transition.reason == "forced",
            "load not sampled": self.pass_name == "speed" and (turn is None or turn.load is None),
            "stand-in data": is_trained and self.task is not None and self.task.stand_in,
        }
        return (*(name for name, holds in found.items() if holds), *(turn.marks if turn else ()))

    @property
    def cell(self) -> TaskCell | KernelCell:
        """What was asked."""
        return self.record.cell

    @property
    def method(self) -> MethodInfo:
        """The method, or the implementation of an operator."""
        return self.record.cell.method

    @property
    def measured(self) -> Measurement:
        """What was measured."""
        return self.record.measurement

    @property
    def pass_name(self) -> PassName:
        """The cell's pass."""
        return self.record.cell.pass_name

    @property
    def is_ok(self) -> bool:
        """Whether the cell gave its numbers."""
        return self.record.is_ok

    @cached_property
    def setting(self) -> Setting:
        """The setting in which the cell ran; a kernel case has no task."""
        cell = self.cell
        return Setting(
            task=cell.task if isinstance(cell, TaskCell) else "",
            length=cell.length if isinstance(cell, TaskCell) else cell.shape.length,
            source=self.task.source if self.task else "",
            device=cell.device,
            threads=cell.threads,
            precision=precision_of(cell),
            ways=ways_of(cell),
            profile=cell.profile,
            machine=self.record.environment.machine,
            version=self.version,
            file=self.file,
        )


@dataclass(frozen=True, eq=False)
class RecordSet:
    """Everything that a report is made from; equal to itself alone, so results can be kept for it.

    Attributes:
        source: The records folder, relative where possible.
        outcomes: One per cell and file, in the order of the cells' first records.
        files: Records files (relative to the folder) and how many valid records each holds.
        problems: One sentence for each damaged line and unreadable artifact.
    """

    source: str
    outcomes: tuple[Outcome, ...]
    files: dict[str, int]
    problems: tuple[str, ...] = ()

    @property
    def n_replaced(self) -> int:
        """Earlier outcomes of cells that were run again; only the last one is reported."""
        return sum(self.files.values()) - len(self.outcomes)

    @cached_property
    def settings(self) -> dict[Setting, str]:
        """Every setting that occurs, in order, with the label a reader sees."""
        return label_settings({outcome.setting for outcome in self.outcomes})

    @cached_property
    def frame(self) -> pd.DataFrame:
        """Every metric of every outcome, see ``records_frame``; ``setting`` is the label."""
        frame = frame_of((outcome.file, outcome.record) for outcome in self.outcomes)
        labels = {(o.file, o.record.key): self.label_of(o) for o in self.outcomes}
        places = zip(frame["file"], frame["key"], strict=True)
        return frame.assign(setting=[labels[place] for place in places])

    @cached_property
    def cells(self) -> pd.DataFrame:
        """One row of ``frame`` per outcome."""
        return self.frame.drop_duplicates(["file", "key"])

    @cached_property
    def looks(self) -> dict[str, Look]:
        """The colour and marker of every attention method, the same in all figures."""
        return looks_of(o.method for o in self.outcomes if o.pass_name != "kernel")

    def label_of(self, outcome: Outcome) -> str:
        """Return the label of an outcome's setting."""
        return self.settings[outcome.setting]

    def ok(self, pass_name: PassName) -> list[Outcome]:
        """Return the outcomes of one pass that carry numbers."""
        return [o for o in self.outcomes if o.pass_name == pass_name and o.is_ok]


def load_records(records_dir: Path) -> RecordSet:
    """Read every ``*.jsonl`` below ``records_dir`` and the artifacts next to each file.

    Raises:
        FileNotFoundError: If the folder does not exist.
        ValueError: If it holds no valid record, with the reasons.
    """
    if not records_dir.exists():
        raise FileNotFoundError(f"records_dir: {records_dir} does not exist; run `spion-bench run`")
    root = records_dir if records_dir.is_dir() else records_dir.parent
    files, problems = read_files(records_dir)
    outcomes: list[Outcome] = []
    anchors: Counter[str] = Counter()
    for name, records in files.items():
        last = list(latest_by_cell(records).values())
        versions = versions_of(last)
        tasks = {
            (record.measurement.task.name, record.measurement.task.length): record.measurement.task
            for record in last
            if record.measurement.task is not None
        }
        for record in last:
            artifact, problem = _read_artifact(record, (root / name).parent / "artifacts")
            cell, task = record.cell, record.measurement.task
            if task is None and isinstance(cell, TaskCell):
                task = tasks.get((cell.task, cell.length))
            anchor = slug("cell", record.key)
            anchors[anchor] += 1  # another file may hold the same cell
            anchor += f"-{anchors[anchor]}" * (anchors[anchor] > 1)
            version = versions.get(record.key, "")
            outcomes.append(Outcome(record, name, task, artifact, version, anchor))
            problems += [problem] if problem else []
    if not outcomes:
        found = f"found {len(problems)} damaged lines ({problems[0]})" if problems else "found none"
        raise ValueError(
            f"records_dir: expected at least one record in {records_dir}, {found}; "
            f"run `spion-bench run --out {records_dir}` first"
        )
    counts = {name: len(records) for name, records in files.items()}
    return RecordSet(_readable(records_dir), tuple(outcomes), counts, tuple(problems))


def provenance(outcomes: Iterable[Outcome]) -> str:
    """Return which records something was made from: how many, which passes, which file."""
    found = list(outcomes)
    passes = Counter(outcome.pass_name for outcome in found).items()
    parts = ", ".join(f"{name} {count}" for name, count in passes)
    files = ", ".join(sorted({outcome.file for outcome in found}))
    return f"From {plural(len(found), 'record')} ({parts}) in {files}."


def _readable(path: Path) -> str:
    near = os.path.relpath(path.resolve())
    return path.name if near.startswith("..") else Path(near).as_posix()


def _read_artifact(record: Record, folder: Path) -> tuple[Artifact | None, str]:
    """Return the record's artifact, or None and why it cannot be shown ("" if it has none)."""
    for name, sha256 in record.measurement.artifacts.items():
        if not name.endswith(".npz"):
            continue
        path = folder / Path(name).name
        try:
            return read_artifact(path, sha256), ""
        except ValueError as error:
            reason = str(error).removeprefix(f"{path}: ")
        except OSError as error:
            reason = type(error).__name__
        return None, f"artifacts/{path.name}: not shown ({reason}); it belongs to cell {record.key}"
    return None, ""
