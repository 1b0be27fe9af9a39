"""Live progress of a run, reported at a rate that costs nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from spion_bench.train.usage import Phase

STEP_INTERVAL_S = 0.1


@dataclass(frozen=True)
class ProgressEvent:
    """What a run is doing.

    Attributes:
        phase: The phase it is in.
        step: Completed steps.
        total_steps: Steps of the whole run.
        loss: The last training loss; None before the first step or with a message.
        dev_accuracy: Set right after an evaluation.
        message: Something worth a line, for example a wait for another process.
    """

    phase: Phase
    step: int
    total_steps: int
    loss: float | None
    dev_accuracy: float | None = None
    message: str | None = None


Progress = Callable[[ProgressEvent], None]


class Reporter:
    """Calls a progress callback: steps at most ten times a second, everything else always."""

    def __init__(self, progress: Progress | None, total_steps: int) -> None:
        self._progress = progress
        self._total_steps = total_steps
        self._last_call = -STEP_INTERVAL_S

    def step(self, phase: Phase, step: int, loss: float) -> None:
        """Report a completed step, unless the last call was a moment ago."""
        if time.monotonic() - self._last_call >= STEP_INTERVAL_S:
            self.emit(phase, step, loss)

    def emit(
        self,
        phase: Phase,
        step: int,
        loss: float | None = None,
        dev_accuracy: float | None = None,
        message: str | None = None,
    ) -> None:
        """Report an event in any case."""
        self._last_call = time.monotonic()
        if self._progress is not None:
            event = ProgressEvent(phase, step, self._total_steps, loss, dev_accuracy, message)
            self._progress(event)
