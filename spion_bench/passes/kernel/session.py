"""The kernel pass: one operator on one kernel case, forward and backward."""

from __future__ import annotations

import torch

from spion_bench.passes.gate.oracle import GateResult
from spion_bench.passes.kernel import subjects as kernel_subjects
from spion_bench.passes.kernel.attention import ATTENTIONS, check_subject, checked_length
from spion_bench.passes.kernel.modelled import modelled_metrics
from spion_bench.passes.kernel.subjects import RATES, Prepared, Setting
from spion_bench.passes.kernel.timing import stopwatch
from spion_bench.passes.synthetic import BAND_AND_STRIPES
from spion_bench.records import MethodInfo, Metric, PatternInfo
from spion_bench.run.messages import Job, Outcome
from spion_bench.suite.cases import find_case
from spion_bench.suite.cases.case import KernelCase
from spion_bench.suite.metrics import sampled


class KernelSession:
    """A subject made ready on a case; ``measure`` is called once per round."""

    def __init__(self, job: Job) -> None:
        cell = job.cell
        assert cell.case is not None, "a kernel cell names a case"
        self._cell = cell
        self._case = find_case(cell.case)
        self._stopwatch = stopwatch(self._case, cell.device)
        self._prepared = kernel_subjects.prepare(cell.method, self._case, cell.seed, cell.device)
        self._samples: dict[str, list[float]] = {}

    def check(self) -> GateResult:
        """Run the gate on the case's shape, or on a shorter one if the case is long."""
        return check_kernel(self._cell.method, self._case, self._cell.seed, self._cell.device)

    def measure(self) -> None:
        """Take this round's samples of every timed call."""
        for name, samples in self._stopwatch.turn(self._prepared, self._cell.measure).items():
            self._samples.setdefault(name, []).extend(samples)

    def outcome(self) -> Outcome:
        """Return what was measured, and beside it what the GPU model says."""
        metrics = {name: sampled(name, samples) for name, samples in self._samples.items()}
        for name, flops in self._prepared.flops.items():
            metrics[RATES[name]] = self._rate(RATES[name], name, flops)
        for name, moved in self._prepared.moved_bytes.items():
            metrics["bandwidth"] = self._rate("bandwidth", name, moved)
        if self._cell.device == "cuda":
            gpu = torch.cuda.get_device_name()
            metrics |= modelled_metrics(self._case, self._cell.method, gpu)
        settings = {"warmup_s": self._cell.measure.warmup_s, **self._stopwatch.settings()}
        return kernel_outcome(self._cell.method, self._case, self._prepared, metrics, settings)

    def _rate(self, name: str, call: str, amount: int) -> Metric:
        """Return ``amount`` over the call's times, in billions per second."""
        return sampled(name, [amount / (ms * 1e6) for ms in self._samples[call]])


def check_kernel(subject: str, case: KernelCase, seed: int, device: str = "cpu") -> GateResult:
    """Run the gate on a subject.

    Attention is compared with its oracle. Pattern operators are not: the tests compare them bit
    for bit.
    """
    if subject not in ATTENTIONS:
        return GateResult({}, None)
    return check_subject(subject, case, seed, device)


def kernel_outcome(
    subject: str,
    case: KernelCase,
    prepared: Prepared,
    metrics: dict[str, Metric],
    settings: dict[str, Setting],
) -> Outcome:
    """Return the outcome of a measured kernel cell."""
    checked: dict[str, Setting] = {}
    if subject in ATTENTIONS:
        checked["gate_length"] = checked_length(case)
    return Outcome(
        status="ok",
        method=MethodInfo(name=subject, parameters={"pruned": "minus_inf"}),
        metrics=metrics,
        pattern=_pattern_info(case, prepared),
        settings={
            **case.settings(),
            **prepared.settings,
            **prepared.chosen(),
            **checked,
            **settings,
        },
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
