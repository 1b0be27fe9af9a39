"""The record: what one cell asked for, what its worker measured, and where; typed, schema 2.

Measuring, storing and showing meet only here. A number that was not measured is absent, never 0;
NaN and infinity are numbers that were measured, and survive writing and reading. Schema 1 is read
through ``records.schema1``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from spion_bench.literals import RecipeName, Variant
from spion_bench.records.settings import MeasureSettings, ModelConfig, SpionConfig, TrainConfig

SCHEMA_VERSION: Final = 2

Status = Literal["ok", "oom", "timeout", "crash", "unsupported", "gate_failed", "nan", "skipped"]
PassName = Literal["gate", "steps", "prefix", "accuracy", "speed", "memory", "energy", "kernel"]
Family = Literal["dense", "spion", "sparse", "low_rank", "hashing", "control", "operator", "limit"]
Role = Literal["subject", "reference", "rival", "isolates", "control", "limit"]
Origin = Literal["lra", "skyformer", "paper", "hf", "ours"]
PatternKind = Literal["band+stripes", "band"]
Quantity = Literal["time", "passes", "memory"]
Scalar = str | int | float | bool | None

FAILED_STATUSES: frozenset[Status] = frozenset({"oom", "timeout", "crash", "gate_failed", "nan"})


class Stored(BaseModel):
    """Base of everything that a record holds: immutable, no unknown keys, NaN and infinity kept."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")


class MethodInfo(Stored):
    """A method, or an implementation of an operator, with every fact that the registry states.

    Attributes:
        name: What users, records and reports call it.
        family: What kind of attention it is; orders and colours every table and figure.
        role: What it is there for: ``subject`` (SPION), ``reference`` (dense attention), ``rival``,
            ``isolates`` (tells pattern, budget and kernel apart), ``control``, ``limit``.
        base: The name without its variant.
        summary: One line.
        native: Whose kernel it runs, e.g. ``"block_attention"`` or ``"PyTorch"``.
        factory: ``"module:object"`` that builds it.
        variant: SPION's pattern variant, or None for a method without learned patterns.
        devices: Device types on which this version of the suite can run it.
        arguments: Keyword arguments of the factory, resolved for the cell.
        origins: Where each argument's value comes from.
        takes_layer: Whether the factory also takes the number of the layer.
        shares_prefix: Whether its dense training is SPION's, bit for bit.
    """

    name: str
    family: Family
    role: Role
    base: str
    summary: str = ""
    native: str = ""
    factory: str = ""
    variant: Variant | None = None
    devices: tuple[str, ...] = ()
    arguments: dict[str, Scalar] = Field(default_factory=dict)
    origins: dict[str, Origin] = Field(default_factory=dict)
    takes_layer: bool = False
    shares_prefix: bool = False


class CellBase(Stored):
    """What every cell of a plan states; all of it is resolved once, when the plan is made.

    Attributes:
        key: Readable prefix and a hash of everything that can change the cell's numbers.
        pass_name: What is measured.
        profile: Name of the profile that planned it.
        label: Task and length, or kernel case, as messages and tables call it.
        method: The method, or the implementation of an operator.
        seed: Seed of everything random.
        device: ``"cpu"`` or ``"cuda"``.
        dtype: Name of the torch dtype that is computed in.
        threads: CPU threads of the worker.
        timeout_s: How long the worker may be busy, in seconds.
        code: Hash of the sources that can change the cell's numbers.
        turn: Cells of an interleaved pass with the same turn are measured together.
    """

    key: str
    pass_name: PassName
    profile: str
    label: str
    method: MethodInfo
    seed: int
    device: str
    dtype: str
    threads: int
    timeout_s: float
    code: str
    turn: str = ""


class TaskSettings(Stored):
    """Everything that a task's cell is configured by.

    Attributes:
        options: Options of the task's loader.
        model: The encoder and its classifier.
        train: The training loop.
        spion: The patterns, and the moment at which they are made.
        recipe: The training recipe.
        measure: How times and memory are measured.
    """

    options: dict[str, bool | int | float | str]
    model: ModelConfig
    train: TrainConfig
    spion: SpionConfig
    recipe: RecipeName
    measure: MeasureSettings


class TaskCell(CellBase):
    """A cell that runs a method on a task.

    Attributes:
        task: Name of the task.
        length: Sequence length in tokens.
        batch_size: Sequences per training step; None for the gate, and where unknown.
        settings: How it is configured; None for a record of schema 1, which did not keep it.
        data_dir: Folder with downloaded data sets, or None.
        gate: Key of the gate cell that must be ok before this one is measured; None for cells
            that check themselves.
        parent: Key of the cell that this one continues, or None.
    """

    kind: Literal["task"] = "task"
    task: str
    length: int
    batch_size: int | None = None
    settings: TaskSettings | None = None
    data_dir: str | None = None
    gate: str | None = None
    parent: str | None = None

    def resolved(self) -> TaskSettings:
        """Return the settings.

        Raises:
            ValueError: If the record is of schema 1: such a cell cannot be run again as it was.
        """
        if self.settings is None:
            raise ValueError(f"cell {self.key}: a record of schema 1 does not keep its settings")
        return self.settings


class KernelShape(Stored):
    """The shape of one kernel case: ``q k v`` are ``[batch, heads, length, head_dim]``.

    ``n_blocks`` is the number of kept blocks per head; None where the case generates its pattern.
    """

    batch: int
    heads: int
    length: int
    head_dim: int
    block_size: int
    n_blocks: int | None = None

    @property
    def nb(self) -> int:
        """Number of block rows."""
        return self.length // self.block_size

    @property
    def density(self) -> float | None:
        """Share of the blocks that is kept; None without a given pattern."""
        return None if self.n_blocks is None else self.n_blocks / self.nb**2


class KernelCell(CellBase):
    """A cell that runs an implementation of an operator on a kernel case.

    Attributes:
        case: Name of the case.
        shape: Its shape.
        pattern: The kind of its given pattern, or None if it generates one.
        measures: Times of whole calls, of the passes of a training step, or peak memory.
        sweeps: The sweeps that the case is a point of.
        tasks: The tasks at whose published shape the case is.
        precision: How products are computed, as the GPU model names it; "" where that is open.
        tf32: Whether torch may use TF32 for products of float32.
        measure: How times are measured; None for a record of schema 1.
    """

    kind: Literal["kernel"] = "kernel"
    case: str
    shape: KernelShape
    pattern: PatternKind | None = None
    measures: Quantity = "time"
    sweeps: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    precision: str = ""
    tf32: bool = False
    measure: MeasureSettings | None = None


Cell = Annotated[TaskCell | KernelCell, Field(discriminator="kind")]


class Metric(Stored):
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


class TaskInfo(Stored):
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


class AttentionInfo(Stored):
    """What the attention that ran says of itself.

    Attributes:
        exact: Whether it computes softmax attention over its mask without approximation.
        caveats: What to know about its numbers.
        chosen: What it chose by itself while it ran, e.g. the operator of a library.
    """

    exact: bool = True
    caveats: list[str] = Field(default_factory=list)
    chosen: dict[str, str] = Field(default_factory=dict)


class GateError(Stored):
    """The largest absolute error of one result, or of one property, and the largest allowed."""

    name: str
    error: float
    budget: float | None = None

    @property
    def is_within(self) -> bool:
        """Whether the error is allowed; NaN is not."""
        return self.budget is None or self.error <= self.budget


class PatternInfo(Stored):
    """The block patterns of a cell, layer by layer, and where they came from."""

    source: str
    block_size: int
    length: int
    nnzb: list[int]
    density: list[float]


class TransitionInfo(Stored):
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


class ChosenWeights(Stored):
    """Which weights were tested: the best of a phase, after so many steps."""

    phase: Literal["dense", "sparse"]
    step: int


class Turn(Stored):
    """The methods that took turns with a cell, itself included, and in how many rounds."""

    methods: list[str]
    rounds: int


class Clocks(Stored):
    """A GPU's clocks in MHz while a cell was measured, and what slowed it down at any time.

    ``problem`` says why they could not be read; the other fields are then None.
    """

    sm_before_mhz: int | None = None
    sm_after_mhz: int | None = None
    sm_lowest_mhz: int | None = None
    memory_after_mhz: int | None = None
    throttle_reasons: list[str] | None = None
    problem: str | None = None


class CudaTiming(Stored):
    """How times on a GPU were taken.

    Attributes:
        l2: The states of L2 in which calls were timed.
        l2_bytes: Size of L2.
        flush_bytes: How much was read to clear it.
        host_bound: The calls whose times contain waiting for the host.
    """

    l2: list[str]
    l2_bytes: int
    flush_bytes: int
    host_bound: list[str]


class Measurement(Stored):
    """What a worker returns.

    Attributes:
        status: How the cell ended.
        reason: Why the status is not ``ok``.
        is_final: False if another try may end differently once packages, devices or cores are
            there that were missing: such an outcome is tried again at the next run.
        task: The data, once loaded.
        attention: What the attention says of itself, once built.
        metrics: Every number, by name.
        gate: What the gate found; empty if it was not run in this cell.
        gate_length: The sequence length at which the gate checked, where it is not the cell's.
        pattern: The block patterns in use.
        transition: When and why training turned sparse.
        tested: Which weights were tested.
        turn: Who took turns.
        clocks: The GPU's clocks meanwhile.
        cuda_timing: How times on a GPU were taken.
        memory_method: How peak memory was measured.
        isolation: ``warm`` if the worker had served other cells before, else ``own``.
        busy_s: Seconds during which the worker had work to do.
        deviations: Sentences: what differs from the published procedure.
        artifacts: File name to sha256 of each file that the cell left.
        extra: What nothing reads.
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
    clocks: Clocks | None = None
    cuda_timing: CudaTiming | None = None
    memory_method: str | None = None
    isolation: Literal["own", "warm"] = "own"
    busy_s: float = 0.0
    deviations: list[str] = Field(default_factory=list)
    artifacts: dict[str, str] = Field(default_factory=dict)
    extra: dict[str, Scalar] = Field(default_factory=dict)


class Environment(Stored):
    """Where and with what a cell ran. A field that could not be read is None."""

    machine: str
    git_sha: str | None
    git_dirty: bool | None
    cpu: str
    cores: int
    memory_bytes: int
    threads: int
    omp_wait_policy: str | None = None
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


class Record(Stored):
    """What is stored of one cell: what was asked, what was measured, where and when."""

    schema_version: Literal[2] = SCHEMA_VERSION
    cell: Cell
    measurement: Measurement
    environment: Environment
    started_at: datetime
    ended_at: datetime

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
