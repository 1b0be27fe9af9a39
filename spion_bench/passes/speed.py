"""The speed pass: time of one training step, and of attention alone, on the CPU or the device."""

from __future__ import annotations

from spion_bench.measure.clock import sample_ms, warm_up
from spion_bench.passes.session import Job, OnProgress, RoundSamples
from spion_bench.passes.task_session import TaskSession
from spion_bench.passes.training_step import TrainingStep
from spion_bench.records import Measurement
from spion_bench.suite.metrics import single


class SpeedSession(TaskSession):
    """A method made ready on a task; ``measure`` takes one round."""

    def __init__(self, job: Job, on_progress: OnProgress) -> None:
        super().__init__(job, on_progress)
        self._step = TrainingStep(self._subject)
        self._calls = {
            "train_step_ms": self._step.run,
            "forward_ms": self._step.run_forward,
            "attention_ms": self._step.run_attention,
        }
        self.rounds = RoundSamples()

    def measure(self) -> None:
        """Take this round's samples of every timed call."""
        settings = self._subject.settings.measure
        samples = {}
        for name, call in self._calls.items():
            warm_up(call, seconds=settings.warmup_s)
            samples[name] = sample_ms(
                call, seconds=settings.round_s, min_samples=settings.min_samples
            )
        self.rounds.add(samples)

    def result(self) -> Measurement:
        """Return what was measured."""
        step = self._step
        metrics = self.rounds.metrics()
        metrics["attention_flops_per_step"] = single(
            "attention_flops_per_step", step.attention_flops()
        )
        metrics["parameters"] = single("parameters", step.model.parameter_count())
        metrics["model_bytes"] = single("model_bytes", step.model.size_bytes())
        return self.describe().model_copy(update={"metrics": metrics})
