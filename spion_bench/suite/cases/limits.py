"""Which subjects a kernel case leaves out, decided before anything runs and recorded with a reason.

Without these rules dense attention at 32768 tokens alone would outlast all other cases, or exhaust
the memory. The rules know only the case, so that they leave out the same on every machine; except
for threads and a GPU, which a machine has or has not. The limits of time and memory are the CPU's:
a GPU says itself when its memory is full. Nothing here imports torch.
"""

from __future__ import annotations

from spion_bench.suite.cases.case import KernelCase, attention_flops

LONGEST_CALL_FLOP = 4e11
"""Modelled operations of one call: some seconds on two cores of 2023."""

STORED_SCORES_BYTES = 2**30
"""Bytes of one stored score matrix over all heads; a training pass holds about four of them."""

FORWARD_ONLY = ("flex_forward", "dense_sdpa_forward")
DENSE = ("dense_sdpa", "dense_sdpa_forward", "dense_eager", "dense_xformers")
STORING_SCORES = ("dense_eager", "pipeline", "csr_pipeline", "sliding_window")
ATTENTION = (
    *("block_attention", "block_attention_float32", "pipeline", "csr_pipeline"),
    *(*DENSE, "flex", "flex_forward", "sliding_window"),
)


def refusal(
    case: KernelCase, subject: str, *, cores: int, device: str = "cpu", gpu: str | None = None
) -> str | None:
    """Return why ``subject`` is not measured on ``case``, or None if it is.

    Args:
        case: The case.
        subject: One of its subjects.
        cores: CPU cores that the run may use.
        device: ``"cpu"`` or ``"cuda"``.
        gpu: The name of the machine's GPU, or None if neither NVML nor torch found one.
    """
    if device == "cuda":
        return None if gpu else "no GPU: neither NVML nor torch found an NVIDIA GPU here"
    if case.threads is not None and case.threads > cores:
        return f"the case needs {case.threads} threads, this machine has {cores} cores"
    if subject not in ATTENTION:
        return None
    scores = _computed_scores(case, subject)
    stored = 4 * case.batch * case.heads * scores
    if subject in STORING_SCORES and stored > STORED_SCORES_BYTES:
        return (
            f"its stored scores would take {stored / 2**30:.1f} GiB, "
            f"the limit is {STORED_SCORES_BYTES / 2**30:g} GiB"
        )
    flops = attention_flops(
        batch=case.batch,
        heads=case.heads,
        head_dim=case.head_dim,
        scores=scores,
        backward=subject not in FORWARD_ONLY,
    )
    if flops > LONGEST_CALL_FLOP:
        return (
            f"one call would be {flops / 1e12:.2f} TFLOP (modelled), too long for a sweep; "
            f"the limit is {LONGEST_CALL_FLOP / 1e12:g} TFLOP"
        )
    return None


def _computed_scores(case: KernelCase, subject: str) -> int:
    """Return the scores that ``subject`` computes per head."""
    if subject in DENSE:
        return case.length**2
    if subject == "sliding_window":
        return case.length * (case.block_size + 2 * case.window)
    return case.n_blocks * case.block_size**2
