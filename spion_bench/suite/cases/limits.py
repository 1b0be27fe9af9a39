"""Which implementations a kernel case leaves out, decided before anything runs, with a reason.

Without these rules dense attention at 32768 tokens alone would outlast all other cases, or exhaust
the memory. The rules know only the case, so they leave out the same on every machine; except for
threads and a GPU, which not every machine has. The limits of time and memory are the CPU's: a
GPU says itself when its memory is full. Nothing here imports torch.
"""

from __future__ import annotations

from typing import NamedTuple

from spion_bench.suite.cases.case import KernelCase, attention_flops
from spion_bench.suite.implementations import Implementation

LONGEST_CALL_FLOP = 4e11
"""Modelled operations of one call: some seconds on two cores of 2023."""

STORED_SCORES_BYTES = 2**30
"""Bytes of one stored score matrix over all heads; a training pass holds about four of them."""


class Refusal(NamedTuple):
    """Why an implementation is not measured on a case.

    Attributes:
        reason: A sentence for the record.
        is_final: False if a machine with more cores, or with a GPU, would measure it.
    """

    reason: str
    is_final: bool


def refusal(
    case: KernelCase,
    implementation: Implementation,
    *,
    cores: int,
    device: str = "cpu",
    gpu: str | None = None,
) -> Refusal | None:
    """Return why ``implementation`` is not measured on ``case``, or None if it is.

    Args:
        case: The case.
        implementation: One of its implementations.
        cores: CPU cores that the run may use.
        device: ``"cpu"`` or ``"cuda"``.
        gpu: The name of the machine's GPU, or None if neither NVML nor torch found one.
    """
    if device == "cuda":
        missing = "no GPU: neither NVML nor torch found an NVIDIA GPU here"
        return None if gpu else Refusal(missing, is_final=False)
    if case.threads is not None and case.threads > cores:
        needs = f"the case needs {case.threads} threads, this machine has {cores} cores"
        return Refusal(needs, is_final=False)
    if implementation.operator != "attention":
        return None
    scores = computed_scores(case, implementation)
    stored = 4 * case.batch * case.heads * scores
    if implementation.stores_scores and stored > STORED_SCORES_BYTES:
        return Refusal(
            f"its stored scores would take {stored / 2**30:.1f} GiB, "
            f"the limit is {STORED_SCORES_BYTES / 2**30:g} GiB",
            is_final=True,
        )
    flops = attention_flops(
        batch=case.batch,
        heads=case.heads,
        head_dim=case.head_dim,
        scores=scores,
        backward=not implementation.forward_only,
    )
    if flops > LONGEST_CALL_FLOP:
        return Refusal(
            f"one call would be {flops / 1e12:.2f} TFLOP (modelled), too long for a sweep; "
            f"the limit is {LONGEST_CALL_FLOP / 1e12:g} TFLOP",
            is_final=True,
        )
    return None


def computed_scores(case: KernelCase, implementation: Implementation) -> int:
    """Return the scores that ``implementation`` computes per head."""
    if implementation.scores == "all":
        return case.length**2
    if implementation.scores == "window":
        return case.length * (case.block_size + case.window)
    return case.n_blocks * case.block_size**2
