"""What a kernel case is: shapes and data, stated without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PatternKind = Literal["band+stripes", "band"]
Quantity = Literal["time", "passes", "memory"]

FLOAT32_TWIN = "_float32"
"""Ending of the subjects that compute a case of another dtype in float32."""


@dataclass(frozen=True)
class KernelCase:
    """One shape on which subjects are compared.

    Attributes:
        name: Unique name of the case.
        batch: Batch size B.
        heads: Number of heads H.
        length: Sequence length L in tokens.
        head_dim: Width of a head D.
        block_size: Side of a block S in tokens.
        density: Share of kept blocks of the ``band+stripes`` pattern; None if the pattern is a
            band, or if the case has no given pattern because it generates one.
        dtype: Name of the torch dtype of the inputs.
        subjects: Names of ``kernel_subjects.SUBJECTS`` that compute the case.
        reason: Why the case exists.
        pattern: ``"band"``: the diagonal and its two neighbours, three blocks per row.
        threads: CPU threads of the case, or None for those of the run.
        measures: The subjects' time; the times of the forward and the backward pass apart, as a
            training step on a GPU has them; or their peak memory.
        sweeps: The sweeps of the report's kernel page that the case is a point of.
        device: The device type that the case is for, or None for any.
        tasks: The tasks at whose published shape the case is, for the record.
        products: How the GPU model and the suite's CUDA kernels compute products, for the record.
        tf32: Whether torch is told that it may use TF32 for products of float32.
    """

    name: str
    batch: int
    heads: int
    length: int
    head_dim: int
    block_size: int
    density: float | None
    dtype: str
    subjects: tuple[str, ...]
    reason: str
    pattern: PatternKind = "band+stripes"
    threads: int | None = None
    measures: Quantity = "time"
    sweeps: tuple[str, ...] = ()
    device: str | None = None
    tasks: str = ""
    products: str = ""
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
        return max(self.nb, round(self.density * self.nb * self.nb))

    @property
    def window(self) -> int:
        """Neighbours per side of the token window that is as dense as the case's pattern."""
        tokens_per_row = self.n_blocks * self.block_size / self.nb
        return max(1, round((tokens_per_row - 1) / 2))

    def settings(self) -> dict[str, str | int | float | bool | None]:
        """Return what a record says about the case."""
        shape: dict[str, str | int | float | bool | None] = {
            "B": self.batch,
            "H": self.heads,
            "L": self.length,
            "D": self.head_dim,
            "block_size": self.block_size,
        }
        named = {
            "sweeps": " ".join(self.sweeps),
            "tasks": self.tasks,
            "products": self.products,
        }
        return shape | {name: words for name, words in named.items() if words}


def subject_dtype(case: KernelCase, subject: str) -> str:
    """Return the name of the torch dtype in which ``subject`` computes ``case``."""
    return "float32" if subject.endswith(FLOAT32_TWIN) else case.dtype


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
        scores: Scores per head: ``L * L``, or ``nnzb * S * S`` for a block pattern.
        backward: Whether to count the backward pass too.
    """
    per_score = 14 if backward else 4
    return per_score * head_dim * batch * heads * scores
