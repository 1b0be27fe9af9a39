"""Cells: what a plan asks for, all of it resolved once, when the plan is made.

A cell is one line of a plan, measured by one worker, and part of one record.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from spion_bench.literals import Blocks, Precision, RecipeName, Variant
from spion_bench.records.settings import (
    MeasureSettings,
    ModelConfig,
    SpionConfig,
    TrainConfig,
    check_whole_numbers,
)

PassName = Literal[
    "gate",
    "steps",
    "shortcuts",
    "prefix",
    "accuracy",
    "speed",
    "breakdown",
    "memory",
    "energy",
    "kernel",
    "compare",
]
Family = Literal[
    "dense",
    "spion",
    "sparse",
    "low_rank",
    "hashing",
    "control",
    "shortcut",
    "operator",
    "limit",
]
Role = Literal["subject", "reference", "rival", "isolates", "control", "limit"]
Origin = Literal["lra", "skyformer", "paper", "hf", "ours"]
PatternKind = Literal["band+stripes", "band"]
Quantity = Literal["time", "passes", "memory"]
Compile = Literal["none", "default"]
Factor = Literal[
    "spion.block_size",
    "spion.quantile",
    "spion.density",
    "spion.filter_size",
    "spion.selection",
    "spion.pruned",
    "spion.transition_threshold_percent",
    "train.latest_transition_step",
    "method.variant",
]
Scalar = str | int | float | bool | None


class Stored(BaseModel):
    """Base of everything that a record holds: immutable, no unknown keys, NaN and infinity kept."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")

    @model_validator(mode="after")
    def _check_numbers(self) -> Self:
        check_whole_numbers(self)
        return self


class MethodInfo(Stored):
    """A method, or an implementation of an operator, with every fact that the registry states.

    Attributes:
        name: What users, records and reports call it.
        family: What kind of attention it is; orders and colours every table and figure.
        role: Its purpose: ``subject`` (SPION), ``reference`` (dense attention), ``rival``,
            ``isolates`` (separates pattern and kernel), ``control``, ``limit``.
        base: The name without its variant.
        summary: One line.
        native: Whose kernel it runs, e.g. ``"block_attention"`` or ``"PyTorch"``.
        factory: ``"module:object"`` that builds it.
        variant: SPION's pattern variant, or None for a method without learned patterns.
        blocks: Where a method with a variant keeps its blocks: where its pattern has them
            (``own``), or as many in each layer in a ``window``, at ``random``, or where the
            unfiltered map has the most attention (``top_mass``).
        devices: Device types on which this version of the suite can run it.
        arguments: Keyword arguments of the factory, resolved for the cell.
        origins: Where each argument's value comes from.
        takes_layer: Whether the factory also takes the number of the layer.
        shares_prefix: Whether its dense training is SPION's, bit for bit.
        requires: Packages that it runs beyond the suite's own dependencies.
    """

    name: str
    family: Family
    role: Role
    base: str
    summary: str = ""
    native: str = ""
    factory: str = ""
    variant: Variant | None = None
    blocks: Blocks = "own"
    devices: tuple[str, ...] = ()
    arguments: dict[str, Scalar] = Field(default_factory=dict)
    origins: dict[str, Origin] = Field(default_factory=dict)
    takes_layer: bool = False
    shares_prefix: bool = False
    requires: tuple[str, ...] = ()


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
        dtype: Name of the torch dtype of what products take.
        threads: CPU threads of each process that measures.
        timeout_s: How long the worker may be busy, in seconds, see ``suite.profile.CellGroup``.
        code: Hash of the sources that can change the cell's numbers.
        turn: Cells of an interleaved pass with the same turn are measured together.
        machine: CPU model and cores, and the GPU of a cell for one, on which it is to be measured;
            "" in records that did not keep it.
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
    machine: str = ""


class TaskSettings(Stored):
    """Everything that a task's cell is configured by.

    Attributes:
        options: Options of the task's loader.
        model: The encoder and its classifier.
        train: The training loop.
        spion: The patterns, and the moment at which they are made.
        recipe: The training recipe.
        precision: In what the model multiplies, in training and timing.
        compile: Whether the encoder is compiled: ``"default"`` is torch.compile's default mode.
        measure: How times and memory are measured.
    """

    options: dict[str, bool | int | float | str]
    model: ModelConfig
    train: TrainConfig
    spion: SpionConfig
    recipe: RecipeName
    precision: Precision = "float32"
    compile: Compile = "none"
    measure: MeasureSettings


class TaskCell(CellBase):
    """A cell that runs a method on a task.

    Attributes:
        kind: Tells it from a kernel's cell.
        task: Name of the task.
        length: Sequence length in tokens.
        batch_size: Sequences per training step; None for the gate, and where unknown.
        settings: How it is configured; None for a record of schema 1, which did not keep it.
        data_dir: Folder with downloaded data sets, or None.
        processes: How many train together, each on its share of every batch.
        gate: Key of the gate cell that must be ok before this one is measured; None for cells
            that check themselves.
        parent: Key of the cell that this one continues, or None.
        factor: The setting in which it differs on purpose from the other cells of its profile, task
            and length, or None; see ``level``.
    """

    kind: Literal["task"] = "task"
    task: str
    length: int
    batch_size: int | None = None
    settings: TaskSettings | None = None
    data_dir: str | None = None
    processes: PositiveInt = 1
    gate: str | None = None
    parent: str | None = None
    factor: Factor | None = None

    def level(self, factor: Factor) -> str | float:
        """Return the cell's value of a setting that an ablation varies."""
        section, _, name = factor.partition(".")
        owner = self.method if section == "method" else getattr(self.resolved(), section)
        found: str | float = getattr(owner, name)
        return found

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

    Attributes:
        batch: Sequences.
        heads: Heads of each.
        length: Tokens.
        head_dim: Width of a head.
        block_size: Rows and columns of a block, in tokens.
        n_blocks: Kept blocks per head; None where the case generates its pattern.
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
        kind: Tells it from a task's cell.
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
