"""What each phase of a run cost: wall time, validation time and peak memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch

Phase = Literal["dense", "pattern", "sparse"]


class PeakMeter(Protocol):
    """Measures peak memory; the harness injects one (``measure.memory`` has them)."""

    def reset(self) -> None:
        """Start over from the present memory use."""

    def peak_bytes(self) -> int | None:
        """Return the peak since ``reset``, or None where the system does not report it."""


@dataclass
class PhaseUsage:
    """The cost of one phase.

    Attributes:
        wall_s: Seconds of training steps (``"pattern"``: of attention maps, transition tests and
            pattern generation). Validation and storing checkpoints are not in it.
        validation_s: Seconds of the evaluations on the dev set.
        step_s: Seconds of every training step, in order.
        peak_bytes: Highest memory use outside validation; None if it was not measured.
    """

    wall_s: float = 0.0
    validation_s: float = 0.0
    step_s: list[float] = field(default_factory=list)
    peak_bytes: int | None = None

    @property
    def steps(self) -> int:
        """Number of training steps."""
        return len(self.step_s)

    @property
    def median_step_ms(self) -> float | None:
        """Median milliseconds of a training step; None for a phase without steps."""
        return statistics.median(self.step_s) * 1e3 if self.step_s else None


class UsageClock:
    """Adds measured pieces of work to the usage of their phases.

    Peak memory is read once per stretch of pieces of the same phase, because resetting the meter
    may slow down what follows; ``pause`` ends a stretch before work that belongs to no phase.
    """

    def __init__(
        self, usage: dict[Phase, PhaseUsage], device: torch.device, meter: PeakMeter | None
    ) -> None:
        self._usage = usage
        self._device = device
        self._meter = meter
        self._stretch: Phase | None = None

    @contextmanager
    def work(self, phase: Phase, *, is_step: bool = False) -> Iterator[None]:
        """Count the enclosed work towards ``phase``, as one training step if ``is_step``."""
        if self._stretch != phase:
            self.pause()
            self._stretch = phase
            if self._meter is not None:
                self._meter.reset()
        start = self._now()
        yield
        seconds = self._now() - start
        self._usage[phase].wall_s += seconds
        if is_step:
            self._usage[phase].step_s.append(seconds)

    @contextmanager
    def validation(self, phase: Phase) -> Iterator[None]:
        """Count the enclosed work as validation during ``phase``."""
        self.pause()
        start = self._now()
        yield
        self._usage[phase].validation_s += self._now() - start

    def pause(self) -> None:
        """Take the peak of the present stretch, if there is one, and end it."""
        if self._stretch is None:
            return
        usage = self._usage[self._stretch]
        peak = None if self._meter is None else self._meter.peak_bytes()
        if peak is not None:
            usage.peak_bytes = max(peak, usage.peak_bytes or 0)
        self._stretch = None

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()
