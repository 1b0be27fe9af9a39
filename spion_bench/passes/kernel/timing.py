"""How a kernel cell takes its samples: by the CPU's clock, or on a GPU by events.

On a GPU each call is timed with L2 cleared before it. Where the passes of a training step are
measured, it is timed with L2 warm as well, under a name of its own (``forward_warm_ms``).
"""

from __future__ import annotations

from typing import Protocol

import torch

from spion_bench.measure.clock import sample_calls
from spion_bench.measure.cuda_clock import L2, CudaTimer
from spion_bench.model.attention import UnavailableError, UnsupportedError
from spion_bench.passes.kernel.prepared import Prepared
from spion_bench.records import CudaTiming
from spion_bench.records.settings import MeasureSettings
from spion_bench.suite.cases.case import KernelCase

Samples = dict[str, list[float]]


class Stopwatch(Protocol):
    """Takes the samples of one turn."""

    def turn(self, prepared: Prepared, settings: MeasureSettings) -> Samples:
        """Return new samples of every timed call, by metric name."""

    def timing(self) -> CudaTiming | None:
        """Return how they were taken, on a GPU."""


class CpuStopwatch:
    """Times calls that have finished their work when they return."""

    def turn(self, prepared: Prepared, settings: MeasureSettings) -> Samples:
        """Return new samples of every timed call, by metric name."""
        return sample_calls(prepared.calls, settings)

    def timing(self) -> None:
        """Return None: the clock is the CPU's."""


class GpuStopwatch:
    """Times calls by CUDA events.

    Args:
        l2: The states of L2 to time with.
        timer: Takes the samples; a new one of the current device by default.
    """

    def __init__(self, l2: tuple[L2, ...], timer: CudaTimer | None = None) -> None:
        self._l2 = l2
        self._timer = CudaTimer() if timer is None else timer

    def turn(self, prepared: Prepared, settings: MeasureSettings) -> Samples:
        """Return new samples of every timed call, by metric name."""
        samples = {}
        for name, call in prepared.calls.items():
            setup = prepared.setups.get(name)
            self._timer.warm_up(call, seconds=settings.warmup_s, setup=setup)
            for l2 in self._l2:
                samples[metric_name(name, l2)] = self._timer.sample_ms(
                    name,
                    call,
                    l2=l2,
                    seconds=settings.round_s,
                    min_samples=settings.min_samples,
                    setup=setup,
                )
        return samples

    def timing(self) -> CudaTiming:
        """Return how the samples were taken."""
        return CudaTiming(
            l2=list(self._l2),
            l2_bytes=self._timer.l2_bytes,
            flush_bytes=self._timer.flush_bytes,
            host_bound=sorted(self._timer.host_bound),
        )


def metric_name(call: str, l2: L2) -> str:
    """Return what the times of a call with L2 in some state are called."""
    return call if l2 == "cold" else call.replace("_ms", "_warm_ms")


def stopwatch(case: KernelCase, device: str) -> Stopwatch:
    """Return the stopwatch for the calls of a case, and set up the device for it.

    Raises:
        UnavailableError: If the device is missing.
        UnsupportedError: If the case is for a different one.
    """
    if case.device not in (None, device):
        raise UnsupportedError(f"{case.name} is a case for {case.device}; this run is on {device}")
    if device == "cpu":
        return CpuStopwatch()
    if not torch.cuda.is_available():
        raise UnavailableError(f"no CUDA device is available to torch {torch.__version__}")
    torch.set_float32_matmul_precision("high" if case.tf32 else "highest")
    return GpuStopwatch(("cold", "warm") if case.measures == "passes" else ("cold",))
