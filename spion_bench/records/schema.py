"""The record: what one cell asked for, what its worker measured, and where; typed, schema 2.

Measuring, storing and showing meet only here. A number that was not measured is absent, never 0;
NaN and infinity are numbers that were measured, and survive writing and reading. Schema 1 is read
through ``records.schema1``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, AwareDatetime, Field

from spion_bench.records.cell import Cell, Scalar, Stored
from spion_bench.records.metric import (
    CudaTiming,
    Environment,
    GpuReadings,
    Metric,
    Parallelism,
    TorchModes,
    Turn,
)

SCHEMA_VERSION: Final = 2

Status = Literal["ok", "oom", "timeout", "crash", "unsupported", "gate_failed", "nan", "skipped"]

FAILED_STATUSES: frozenset[Status] = frozenset({"oom", "timeout", "crash", "gate_failed", "nan"})


def _check_artifact(name: str) -> str:
    """Refuse a name that leads out of the folder of artifacts."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.name:
        raise ValueError(f"expected a path below the folder of artifacts, got {name!r}")
    return name


def _check_time(time: datetime) -> datetime:
    """Refuse a time that a table, which counts nanoseconds, could not hold."""
    if not _FIRST_YEAR <= time.year <= _LAST_YEAR:
        raise ValueError(f"expected a year from {_FIRST_YEAR} to {_LAST_YEAR}, got {time.year}")
    return time


_FIRST_YEAR, _LAST_YEAR = 1970, 2200
ArtifactName = Annotated[str, AfterValidator(_check_artifact)]
Time = Annotated[AwareDatetime, AfterValidator(_check_time)]


class TaskInfo(Stored):
    """Which data a cell ran on.

    Attributes:
        name: The task.
        version: Version of the task, which changes with its examples.
        source: Where the data comes from.
        source_version: Version of the source.
        fingerprint: SHA-256 of the examples.
        stand_in: Whether this is other data than the task's published data.
        length: Sequence length in tokens.
        n_classes: Number of classes.
        n_train: Training examples.
        n_dev: Examples of the dev set.
        n_test: Examples of the test set.
        majority_share: Share of the largest class in the test set.
        description: How the data came about and how much of it is used, in words.
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


class AttentionInfo(Stored):
    """How the attention that ran describes itself.

    Attributes:
        exact: Whether it computes softmax attention over its mask without approximation.
        caveats: What a reader must know about its numbers.
        chosen: What it chose by itself while it ran, e.g. the operator of a library.
    """

    exact: bool = True
    caveats: list[str] = Field(default_factory=list)
    chosen: dict[str, str] = Field(default_factory=dict)


class GateError(Stored):
    """What the gate found for one result or property, against an oracle in float64.

    Attributes:
        name: The result (``out``, ``dq``, ``dk``, ``dv``) or the property.
        error: Its largest absolute error.
        budget: The largest allowed.
    """

    name: str
    error: float
    budget: float | None = None

    @property
    def is_within(self) -> bool:
        """Whether the error is allowed; NaN is not."""
        return self.budget is None or self.error <= self.budget


class PatternInfo(Stored):
    """The block patterns of a cell, layer by layer, and where they came from.

    Shares of what a pattern has in common with others compare it with patterns of as many blocks,
    the diagonal counted in; they are known of patterns made from a map that the cell kept.

    Attributes:
        source: Where the patterns come from.
        block_size: Rows and columns of a block, in tokens.
        length: Sequence length in tokens.
        nnzb: Kept blocks of each layer.
        density: Share of the blocks that each layer keeps.
        window_overlap: Share of the blocks that a window would keep as well.
        top_mass_overlap: Share of them that are among the blocks with the most attention.
        mass_kept: Share of the map's attention in the kept blocks.
        window_mass: Share of it in the blocks of the window.
        top_mass: Share of it in the blocks with the most attention.
    """

    source: str
    block_size: int
    length: int
    nnzb: list[int]
    density: list[float]
    window_overlap: list[float] = Field(default_factory=list)
    top_mass_overlap: list[float] = Field(default_factory=list)
    mass_kept: list[float] = Field(default_factory=list)
    window_mass: list[float] = Field(default_factory=list)
    top_mass: list[float] = Field(default_factory=list)


class TransitionInfo(Stored):
    """When and why a SPION run left the dense phase.

    Attributes:
        step: The step after which every layer is sparse.
        reason: ``criterion``: the maps had settled; ``forced``: they had not at the latest step.
        layer_steps: The step of each layer; they differ in the per-layer mode.
        change_percent: Per evaluation and layer, by how much the distance to the reference changed.
        sparse_step_share: Share of the steps that were sparse.
        is_spion: False under 40 % sparse steps: the run does not count as SPION.
    """

    step: int | None
    reason: Literal["criterion", "forced", "never"]
    layer_steps: list[int | None]
    change_percent: list[list[float | None]] = Field(default_factory=list)
    sparse_step_share: float
    is_spion: bool


class ChosenWeights(Stored):
    """Which weights were tested: the best of a phase.

    Attributes:
        phase: The phase.
        step: After how many steps.
    """

    phase: Literal["dense", "sparse"]
    step: int


class Measurement(Stored):
    """What a worker returns.

    Attributes:
        status: How the cell ended.
        reason: Why the status is not ``ok``.
        is_final: False if another try may end differently once packages, devices or cores are
            there that were missing: such an outcome is tried again at the next run.
        task: The data, once loaded.
        attention: How the attention describes itself, once built.
        metrics: Every number, by name.
        gate: What the gate found; empty if it was not run in this cell.
        gate_length: The sequence length at which the gate checked, where it is not the cell's.
        pattern: The block patterns in use.
        transition: When and why training turned sparse.
        tested: Which weights were tested.
        turn: The methods that took turns.
        parallelism: What the worker had to compute with; None where no time was taken.
        gpu: The GPU's state during the measurement; None on the CPU.
        cuda_timing: How times on a GPU were taken.
        modes: Torch's switches meanwhile; None in records from before they were kept.
        memory_method: How peak memory was measured.
        energy_method: How energy was measured.
        isolation: ``warm`` if the worker had served other cells before, else ``own``.
        busy_s: Seconds during which the worker had work to do.
        deviations: Sentences: what differs from the published procedure.
        artifacts: File name to sha256 of each file that the cell left.
        extra: Values that no code reads.
    """

    status: Status
    reason: str | None = None
    is_final: bool = True
    task: TaskInfo | None = None
    attention: AttentionInfo | None = None
    metrics: dict[str, Metric] = Field(default_factory=dict)
    gate: list[GateError] = Field(default_factory=list)
    gate_length: int | None = None
    pattern: PatternInfo | None = None
    transition: TransitionInfo | None = None
    tested: ChosenWeights | None = None
    turn: Turn | None = None
    parallelism: Parallelism | None = None
    gpu: GpuReadings | None = None
    cuda_timing: CudaTiming | None = None
    modes: TorchModes | None = None
    memory_method: str | None = None
    energy_method: str | None = None
    isolation: Literal["own", "warm"] = "own"
    busy_s: float = 0.0
    deviations: list[str] = Field(default_factory=list)
    artifacts: dict[ArtifactName, str] = Field(default_factory=dict)
    extra: dict[str, Scalar] = Field(default_factory=dict)

    def metric(self, name: str) -> Metric | None:
        """Return a metric, with the rounds of its samples where they can be told.

        A record that did not keep the sizes of rounds has one sample of each if there are as many.
        """
        metric = self.metrics.get(name)
        if metric is None or metric.round_sizes or self.turn is None:
            return metric
        if len(metric.samples) != self.turn.rounds:
            return metric
        return metric.model_copy(update={"round_sizes": [1] * self.turn.rounds})


class Record(Stored):
    """What is stored of one cell.

    Attributes:
        schema_version: Version of this schema.
        cell: What was asked.
        measurement: What was measured.
        environment: Where and with what.
        started_at: When it started.
        ended_at: When it ended.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    cell: Cell
    measurement: Measurement
    environment: Environment
    started_at: Time
    ended_at: Time

    @property
    def key(self) -> str:
        """The cell's key."""
        return self.cell.key

    @property
    def is_ok(self) -> bool:
        """Whether the cell gave its numbers."""
        return self.measurement.status == "ok"


def now() -> datetime:
    """Return the current time in UTC, the only clock records use."""
    return datetime.now(UTC)
