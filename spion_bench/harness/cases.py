"""Every kernel case, declared once; the kernel pass, pytest-benchmark and asv all read it.

A case states shapes and data; a subject is something that computes it. Cases with a ``density``
are attention cases, the others are pattern-generation cases. Nothing here imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from spion_bench.harness.names import check_name


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
        density: Share of kept blocks of the ``band+stripes`` pattern, or None if the case has no
            given pattern because it generates one.
        dtype: Name of the torch dtype of the inputs.
        subjects: Names of ``kernel_subjects.SUBJECTS`` that compute the case.
        reason: Why the case exists.
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

    @property
    def nb(self) -> int:
        """Number of block rows."""
        return self.length // self.block_size

    @property
    def n_blocks(self) -> int:
        """Number of kept blocks of the case's pattern; at least the diagonal."""
        if self.density is None:
            raise ValueError(f"case {self.name} has no given pattern")
        return max(self.nb, round(self.density * self.nb * self.nb))


ATTENTION_SUBJECTS = ("block_attention", "pipeline", "dense_sdpa")
PATTERN_SUBJECTS = ("generate_pattern", "flood_fill", "python_walk")

CASES: dict[str, KernelCase] = {
    case.name: case
    for case in (
        KernelCase(
            name="attention_4096",
            batch=1,
            heads=2,
            length=4096,
            head_dim=32,
            block_size=64,
            density=0.04,
            dtype="float32",
            subjects=ATTENTION_SUBJECTS,
            reason="the longest published length (text, retrieval) with the published head width",
        ),
        KernelCase(
            name="attention_256",
            batch=1,
            heads=2,
            length=256,
            head_dim=32,
            block_size=32,
            density=0.2,
            dtype="float32",
            subjects=ATTENTION_SUBJECTS,
            reason="small enough for tests and for a first look",
        ),
        KernelCase(
            name="pattern_4096",
            batch=1,
            heads=1,
            length=4096,
            head_dim=32,
            block_size=64,
            density=None,
            dtype="float32",
            subjects=PATTERN_SUBJECTS,
            reason="pattern generation from a given map at the longest published length",
        ),
        KernelCase(
            name="pattern_256",
            batch=1,
            heads=1,
            length=256,
            head_dim=32,
            block_size=32,
            density=None,
            dtype="float32",
            subjects=PATTERN_SUBJECTS,
            reason="small enough for tests and for a first look",
        ),
    )
}


def find_case(name: str) -> KernelCase:
    """Return the case called ``name``; UsageError suggests the nearest name."""
    return CASES[check_name("kernel case", name, CASES)]


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
