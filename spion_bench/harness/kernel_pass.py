"""The kernel pass: one operator on one kernel case, forward and backward."""

from __future__ import annotations

from spion_bench.harness import kernel_subjects
from spion_bench.harness.cases import find_case
from spion_bench.harness.gate import GateResult
from spion_bench.harness.kernel_attention import ATTENTIONS, LONGEST_CHECK, check_subject
from spion_bench.harness.kernel_case import KernelCase
from spion_bench.harness.kernel_subjects import Prepared, Setting
from spion_bench.harness.metrics import sampled
from spion_bench.harness.outcome import Job, Outcome
from spion_bench.harness.synthetic import BAND_AND_STRIPES
from spion_bench.measure.timing import sample_ms, warm_up
from spion_bench.records import MethodInfo, Metric, PatternInfo

# Name of a timed call -> name of its rate.
RATES = {
    "forward_ms": "forward_rate_gflops",
    "forward_backward_ms": "flops_rate_gflops",
    "matmul_ms": "flops_rate_gflops",
}


class KernelSession:
    """A subject made ready on a case; ``measure`` is called once per round."""

    def __init__(self, job: Job) -> None:
        cell = job.cell
        assert cell.case is not None, "a kernel cell names a case"
        self._cell = cell
        self._case = find_case(cell.case)
        self._prepared = kernel_subjects.prepare(cell.method, self._case, cell.seed)
        self._samples: dict[str, list[float]] = {name: [] for name in self._prepared.calls}

    def check(self) -> GateResult:
        """Run the gate on the case's shape, or on a shorter one if the case is long."""
        return check_kernel(self._cell.method, self._case, self._cell.seed)

    def measure(self) -> None:
        """Take this round's samples of every timed call."""
        settings = self._cell.measure
        for name, call in self._prepared.calls.items():
            warm_up(call, seconds=settings.warmup_s)
            self._samples[name] += sample_ms(
                call, seconds=settings.round_s, min_samples=settings.min_samples
            )

    def outcome(self) -> Outcome:
        """Return what was measured."""
        metrics = {name: sampled(name, samples) for name, samples in self._samples.items()}
        for name, flops in self._prepared.flops.items():
            metrics[RATES[name]] = self._rate(RATES[name], name, flops)
        for name, moved in self._prepared.moved_bytes.items():
            metrics["bandwidth"] = self._rate("bandwidth", name, moved)
        return kernel_outcome(
            self._cell.method,
            self._case,
            self._prepared,
            metrics,
            {"warmup_s": self._cell.measure.warmup_s},
        )

    def _rate(self, name: str, call: str, amount: int) -> Metric:
        """Return ``amount`` over the call's times, in billions per second."""
        return sampled(name, [amount / (ms * 1e6) for ms in self._samples[call]])


def check_kernel(subject: str, case: KernelCase, seed: int) -> GateResult:
    """Run the gate on a subject.

    Attention is compared with its oracle. Pattern operators are not: the tests compare them bit
    for bit.
    """
    if subject not in ATTENTIONS:
        return GateResult({}, None)
    return check_subject(subject, case, seed)


def kernel_outcome(
    subject: str,
    case: KernelCase,
    prepared: Prepared,
    metrics: dict[str, Metric],
    settings: dict[str, Setting],
) -> Outcome:
    """Return the outcome of a measured kernel cell."""
    checked = {"gate_length": min(case.length, LONGEST_CHECK)} if subject in ATTENTIONS else {}
    return Outcome(
        status="ok",
        method=MethodInfo(name=subject, parameters={"pruned": "minus_inf"}),
        metrics=metrics,
        pattern=_pattern_info(case, prepared),
        settings={**case.settings(), **prepared.settings, **checked, **settings},
    )


def _pattern_info(case: KernelCase, prepared: Prepared) -> PatternInfo | None:
    pattern = prepared.pattern
    if pattern is None:
        return None
    full = pattern.nnzb == pattern.nb**2
    named = "band" if case.pattern == "band" else BAND_AND_STRIPES
    return PatternInfo(
        source="every block" if full else f"synthetic {named}",
        block_size=pattern.block_size,
        length=pattern.length,
        nnzb=[pattern.nnzb],
        density=[pattern.density],
    )
