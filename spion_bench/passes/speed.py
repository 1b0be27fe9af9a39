"""The speed pass: time of one training step, and of attention alone, on the CPU or the device."""

from __future__ import annotations

from collections.abc import Callable

from spion_bench.measure.clock import sample_calls
from spion_bench.passes.session import Job, OnProgress, RoundSamples
from spion_bench.passes.step.session import StepSession
from spion_bench.passes.step.training_step import TrainingStep
from spion_bench.records import Measurement
from spion_bench.suite.metrics import single


class SpeedSession(StepSession):
    """A method made ready on a task; ``measure`` takes one round."""

    def __init__(self, job: Job, on_progress: OnProgress) -> None:
        super().__init__(job, on_progress)
        self._step = TrainingStep(self._subject)
        self._calls: dict[str, Callable[[], object]] = {
            "train_step_ms": self._step.run,
            "forward_ms": self._step.run_forward,
        }
        if self._step.compile_s is None:  # within a compiled encoder there is none alone
            self._calls["attention_ms"] = self._step.run_attention
        self.rounds = RoundSamples()

    def measure(self) -> None:
        """Take this round's samples of every timed call."""
        self.rounds.add(sample_calls(self._calls, self._subject.settings.measure))

    def result(self) -> Measurement:
        """Return what was measured."""
        model, metrics = self._step.model, self.rounds.metrics()
        for name, value in (
            ("attention_flops_per_step", self._step.attention_flops()),
            ("parameters", model.parameter_count()),
            ("model_bytes", model.size_bytes()),
        ):
            metrics[name] = single(name, value)
        metrics |= self._step.compile_metrics()
        return self.describe().model_copy(update={"metrics": metrics})
