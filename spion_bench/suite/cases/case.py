"""What a kernel case is: shapes and data, stated without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from spion_bench.asv_suite.cases import kept_blocks
from spion_bench.records import KernelShape
from spion_bench.records.cell import PatternKind, Quantity


@dataclass(frozen=True)
class KernelCase:
    """One shape on which implementations are compared.

    Attributes:
        name: Unique name of the case.
        batch: Batch size B.
        heads: Number of heads H.
        length: Sequence length L in tokens.
        head_dim: Width of a head D.
        block_size: Tokens in a block.
        density: Share of kept blocks of the ``band+stripes`` pattern; None if the pattern is a
            band, or if the case has no given pattern because it generates one.
        dtype: Name of the torch dtype of the inputs.
        implementations: Names of the ``suite.implementations`` that compute the case.
        reason: Why the case exists.
        pattern: The kind of its given pattern. ``"band"``: the diagonal and its two neighbours,
            three blocks per row.
        threads: CPU threads of the case, or None for those of the run.
        measures: The implementations' time; the times of the forward and the backward pass apart,
            as a training step on a GPU has them; or their peak memory.
        sweeps: The sweeps of the report's kernel page that the case is a point of.
        device: The device type that the case is for, or None for any.
        tasks: The tasks at whose published shape the case is.
        precision: How products are computed, as the GPU model names it; "" where that is open.
        tf32: Whether torch may use TF32 for products of float32.
    """

    name: str
    batch: int
    heads: int
    length: int
    head_dim: int
    block_size: int
    density: float | None
    dtype: str
    implementations: tuple[str, ...]
    reason: str
    pattern: PatternKind = "band+stripes"
    threads: int | None = None
    measures: Quantity = "time"
    sweeps: tuple[str, ...] = ()
    device: str | None = None
    tasks: tuple[str, ...] = ()
    precision: str = ""
    tf32: bool = False

    @property
    def nb(self) -> int:
        """Number of block rows."""
        return self.length // self.block_size

    @property
    def has_pattern(self) -> bool:
        """Whether the case gives a pattern: whether it is an attention case."""
        return self.pattern == "band" or self.density is not None

    @property
    def n_blocks(self) -> int:
        """Number of kept blocks of the case's pattern; at least the diagonal."""
        if self.pattern == "band":
            return 3 * self.nb - 2
        if self.density is None:
            raise ValueError(f"case {self.name} has no given pattern")
        return kept_blocks(self.nb, self.density)

    @property
    def shape(self) -> KernelShape:
        """The case's shape, as records state it."""
        names = ("batch", "heads", "length", "head_dim", "block_size")
        return KernelShape(
            **{name: getattr(self, name) for name in names},
            n_blocks=self.n_blocks if self.has_pattern else None,
        )

    @property
    def window(self) -> int:
        """Tokens of the window that is as dense as the case's pattern; even."""
        tokens_per_row = self.n_blocks * self.block_size / self.nb
        return 2 * max(1, round((tokens_per_row - 1) / 2))

    def cell_fields(self) -> dict[str, Any]:
        """Return what a cell of this case states about it, by field of ``KernelCell``."""
        return {
            "case": self.name,
            "shape": self.shape,
            "pattern": self.pattern if self.has_pattern else None,
            "measures": self.measures,
            "sweeps": self.sweeps,
            "tasks": self.tasks,
            "precision": self.precision,
            "tf32": self.tf32,
        }


def attention_flops(
    *,
    batch: int,
    heads: int,
    head_dim: int,
    scores: int,
    backward: bool,
) -> int:
    """Return the floating-point operations of the products of attention, a model.

    Forward: two products of ``2 * D`` operations per score. Backward: five more (scores again, two
    for the gradient of q and k, two for probs and v). Softmax is not counted.

    Args:
        batch: Batch size.
        heads: Number of heads.
        head_dim: Width of a head D.
        scores: Scores per head: ``L * L``, or ``nnzb * block_size ** 2`` for a block pattern.
        backward: Whether to count the backward pass too.
    """
    per_score = 14 if backward else 4
    return per_score * head_dim * batch * heads * scores
