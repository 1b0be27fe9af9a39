"""Records: what one cell of a plan measured, one JSON object per line.

Measuring, storing and rendering meet only here. This module imports no torch, so that reports can
be built on any machine. A number that was not measured is absent, never 0.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, ValidationError

SCHEMA_VERSION: Final = 1

Status = Literal["ok", "oom", "timeout", "crash", "unsupported", "gate_failed", "nan", "skipped"]
PassName = Literal["gate", "steps", "speed", "memory", "energy", "accuracy", "kernel"]

FAILED_STATUSES: frozenset[Status] = frozenset({"oom", "timeout", "crash", "gate_failed", "nan"})


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class Metric(_Stored):
    """One measured number.

    ``value`` is the median of ``samples`` where samples exist. ``low`` and ``high`` bound its
    95 % interval. ``modelled`` marks a number that was computed rather than measured.
    """

    value: float
    unit: str
    lower_is_better: bool
    samples: list[float] = Field(default_factory=list)
    low: float | None = None
    high: float | None = None
    modelled: bool = False


class TaskInfo(_Stored):
    """Which data a cell ran on, and in words how it came about and how much of it is used.

    ``stand_in`` marks data that is not the task's published data.
    """

    name: str
    version: str
    source: str
    source_version: str
    fingerprint: str
    stand_in: bool
    length: int
    n_classes: int
    n_train: int
    n_dev: int
    n_test: int
    majority_share: float
    description: str = ""


class MethodInfo(_Stored):
    """The attention method, with every parameter that can change its numbers."""

    name: str
    parameters: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    exact: bool = True
    caveats: list[str] = Field(default_factory=list)


class PatternInfo(_Stored):
    """The block patterns of a cell, layer by layer, and where they came from."""

    source: str
    block_size: int
    length: int
    nnzb: list[int]
    density: list[float]


class TransitionInfo(_Stored):
    """When and why a SPION run left the dense phase.

    ``step`` is the step after which every layer is sparse; ``layer_steps`` tells them apart in the
    per-layer mode. A run with under 40 % sparse steps is ``is_spion = False`` and proves nothing.
    """

    step: int | None
    reason: Literal["criterion", "forced", "never"]
    layer_steps: list[int | None]
    change_percent: list[list[float | None]] = Field(default_factory=list)
    sparse_step_share: float
    is_spion: bool


class Environment(_Stored):
    """Where and with what a cell ran. A field that could not be read is None."""

    machine: str
    git_sha: str | None
    git_dirty: bool | None
    cpu: str
    cores: int
    memory_bytes: int
    threads: int
    cpu_capability: str | None
    kernel_path: str | None
    load_average: float | None
    os: str
    python: str
    torch: str
    compiler: str | None
    compiler_flags: list[str] = Field(default_factory=list)
    gpu: str | None = None
    gpu_driver: str | None = None
    gpu_sm_clock_mhz: int | None = None
    gpu_throttle_reasons: list[str] | None = None


class Record(_Stored):
    """Everything that one cell produced: a pass x task x method x seed x device x profile."""

    schema_version: Literal[1] = SCHEMA_VERSION
    cell_key: str
    pass_name: PassName
    profile: str
    task: TaskInfo | None
    method: MethodInfo
    seed: int
    device: str
    dtype: str
    status: Status
    reason: str | None = None
    metrics: dict[str, Metric] = Field(default_factory=dict)
    gate_errors: dict[str, float] = Field(default_factory=dict)
    pattern: PatternInfo | None = None
    transition: TransitionInfo | None = None
    settings: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    deviations: list[str] = Field(default_factory=list)
    artifacts: dict[str, str] = Field(default_factory=dict)
    started_at: datetime
    ended_at: datetime
    environment: Environment


def now() -> datetime:
    """Return the current time in UTC, the only clock records use."""
    return datetime.now(UTC)


def append_record(path: Path, record: Record) -> None:
    """Append ``record`` to the JSON Lines file ``path`` as one atomic line.

    Writers in several processes take turns through a lock file. If the disk fills up, the partial
    line is removed again, so that what was stored before stays readable.

    Raises:
        OSError: If the line could not be written, saying how to go on.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    line = (record.model_dump_json(exclude_none=False) + "\n").encode()
    with FileLock(f"{path}.lock"), open(path, "ab+") as file:
        start = file.seek(0, os.SEEK_END)
        if start > 0:
            file.seek(start - 1)
            if file.read(1) != b"\n":  # an earlier writer died within its line
                line = b"\n" + line
        try:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        except OSError as error:
            file.truncate(start)
            raise OSError(
                error.errno,
                f"could not store the record of cell {record.cell_key}: {error.strerror}; free "
                "some space and run the same command again, stored cells are kept",
                str(path),
            ) from error


def read_records(path: Path) -> tuple[list[Record], list[str]]:
    """Read a JSON Lines file, or every ``*.jsonl`` below a folder.

    Returns:
        The valid records in file order, and one sentence for each line that is not a record. A
        damaged line never hides the others.

    Raises:
        FileNotFoundError: If ``path`` does not exist.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such records file or folder; run `spion-bench run`")
    files = sorted(path.rglob("*.jsonl")) if path.is_dir() else [path]
    records: list[Record] = []
    problems: list[str] = []
    for file in files:
        for number, line in enumerate(file.read_bytes().split(b"\n"), start=1):
            if not line.strip():
                continue
            try:
                records.append(Record.model_validate(json.loads(line)))
            except (ValidationError, ValueError) as error:
                reason = str(error).splitlines()[0]
                problems.append(f"{file}:{number}: not a record, skipped ({reason})")
    return records, problems


def latest_by_cell(records: Iterable[Record]) -> dict[str, Record]:
    """Keep the last stored record of every cell; a retried cell replaces its earlier outcome."""
    return {record.cell_key: record for record in records}
