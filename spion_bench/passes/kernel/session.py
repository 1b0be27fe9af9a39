"""The kernel pass: one implementation of an operator on one kernel case."""

from __future__ import annotations

import torch

from spion_bench.passes.gate.oracle import GateResult
from spion_bench.passes.kernel.attention import check_implementation, checked_length
from spion_bench.passes.kernel.implementations import prepare
from spion_bench.passes.kernel.memory import (
    METHOD,
    PEAK,
    check_memory,
    frame_pass,
    memory_metrics,
    output_bytes,
)
from spion_bench.passes.kernel.modelled import modelled_metrics
from spion_bench.passes.kernel.prepared import RATES, Prepared
from spion_bench.passes.kernel.timing import stopwatch
from spion_bench.passes.session import Job, OnProgress, RoundSamples
from spion_bench.passes.synthetic import BAND_AND_STRIPES, describe_patterns
from spion_bench.records import KernelCell, Measurement, Metric, PatternInfo
from spion_bench.records.settings import MeasureSettings
from spion_bench.suite.cases import find_case
from spion_bench.suite.cases.case import KernelCase
from spion_bench.suite.implementations import find_implementation
from spion_bench.suite.metrics import sampled


class KernelSession:
    """An implementation made ready on a case; ``measure`` is called once per round.

    Raises:
        UnsupportedError: If it cannot compute the case.
    """

    def __init__(self, job: Job, on_progress: OnProgress) -> None:
        cell = job.cell
        assert isinstance(cell, KernelCell), "the kernel pass runs kernel cells"
        self._cell = cell
        self._case = find_case(cell.case)
        self._implementation = find_implementation(cell.method.name)
        self._measures_memory = cell.measures == "memory"
        if self._measures_memory:
            check_memory(cell.device)
        self._stopwatch = stopwatch(self._case, cell.device)
        self._prepared = prepare(self._implementation, self._case, cell.seed, cell.device)
        self.rounds = RoundSamples()

    def check(self) -> GateResult:
        """Run the gate on the case's shape, or on a shorter one if the case is long."""
        cell = self._cell
        return check_implementation(self._implementation, self._case, cell.seed, cell.device)

    def describe(self) -> Measurement:
        """Return what is known before anything is measured."""
        return Measurement(status="ok", pattern=_pattern_info(self._case, self._prepared))

    def measure(self) -> None:
        """Take this round's samples of every timed call, or frame one pass."""
        if self._measures_memory:
            self.rounds.add({PEAK: [frame_pass(self._prepared)]})
        else:
            settings = self._cell.measure or MeasureSettings()
            self.rounds.add(self._stopwatch.turn(self._prepared, settings))

    def result(self) -> Measurement:
        """Return what was measured, and what the GPU model says of it."""
        case, prepared = self._case, self._prepared
        is_attention = self._implementation.operator == "attention"
        extra = dict(prepared.extra)
        if self._measures_memory:
            metrics = memory_metrics(case, self.rounds.metrics()[PEAK])
            extra["output_bytes"] = output_bytes(case)
        else:
            metrics = self._times_and_rates()
        return Measurement(
            status="ok",
            attention=prepared.attention() if prepared.attention else None,
            metrics=metrics,
            gate_length=checked_length(case) if is_attention else None,
            pattern=_pattern_info(case, prepared),
            cuda_timing=self._stopwatch.timing(),
            memory_method=METHOD if self._measures_memory else None,
            extra=extra,
        )

    def _times_and_rates(self) -> dict[str, Metric]:
        metrics = self.rounds.metrics()
        for name, flops in self._prepared.flops.items():
            metrics[RATES[name]] = self._rate(RATES[name], name, flops)
        for name, moved in self._prepared.moved_bytes.items():
            metrics["bandwidth"] = self._rate("bandwidth", name, moved)
        if self._cell.device == "cuda":
            gpu = torch.cuda.get_device_name()
            metrics |= modelled_metrics(self._case, self._implementation.name, gpu)
        return metrics

    def _rate(self, name: str, call: str, amount: int) -> Metric:
        """Return ``amount`` over the call's times, in billions per second."""
        rates = [amount / (ms * 1e6) for ms in self.rounds.samples(call)]
        return sampled(name, rates, self.rounds.sizes(call))


def _pattern_info(case: KernelCase, prepared: Prepared) -> PatternInfo | None:
    pattern = prepared.pattern
    if pattern is None:
        return None
    full = pattern.nnzb == pattern.nb**2
    named = "band" if case.pattern == "band" else BAND_AND_STRIPES
    return describe_patterns([pattern], "every block" if full else f"synthetic {named}")
