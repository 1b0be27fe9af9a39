"""The memory pass: peak memory of one training step, in a process that does nothing else.

The number is the peak resident size during the step above the resident size before it, with
weights and optimiser state in place and gradients freed: activations, gradients and scratch
memory. Steps are framed one by one, one in a round, after a warm-up step; that they agree is the
check that neither heap reuse nor a lazily loaded library is in the number.

On a GPU the number is the allocator's. Steps are then repeated until the sampling process has
surely seen what NVML says of the whole process: the context, the libraries' workspaces and what
the allocator keeps are in that one.
"""

from __future__ import annotations

from spion_bench.measure.clock import warm_up
from spion_bench.measure.memory import (
    clear_refs_problem,
    peak_meter,
    present_bytes,
    release_free_heap,
)
from spion_bench.model.attention import UnavailableError
from spion_bench.passes.session import Job, OnProgress, RoundSamples
from spion_bench.passes.step.session import StepSession
from spion_bench.passes.step.training_step import TrainingStep
from spion_bench.records import Measurement
from spion_bench.suite.metrics import single

SAMPLED_S = 0.3

METHODS = {
    "cpu": "VmHWM above the resident size before the step, malloc tuned to free at once",
    "cuda": "torch CUDA allocator, above the bytes allocated before the step",
}


class MemorySession(StepSession):
    """A method made ready on a task.

    Raises:
        UnavailableError: If this system does not let a process reset its high-water mark.
    """

    def __init__(self, job: Job, on_progress: OnProgress) -> None:
        super().__init__(job, on_progress)
        self._device = job.cell.device
        if self._device == "cpu" and (problem := clear_refs_problem()):
            raise UnavailableError(problem)
        self.rounds = RoundSamples()
        self._step: TrainingStep | None = None

    def measure(self) -> None:
        """Frame a step, after one to warm up in the first round."""
        if self._step is None:
            self._step = TrainingStep(self._subject)
            self._step.run()
        self.rounds.add({"train_step_peak_bytes": [self._framed(self._step)]})

    def result(self) -> Measurement:
        """Return what was measured."""
        if self._step is None:
            raise RuntimeError("nothing was measured; call measure() first")
        model = self._step.model
        metrics = {
            **self.rounds.metrics(),
            **self._step.compile_metrics(),
            "parameters": single("parameters", model.parameter_count()),
            "model_bytes": single("model_bytes", model.size_bytes()),
        }
        changes = {"metrics": metrics, "memory_method": METHODS[self._device]}
        return self.describe().model_copy(update=changes)

    def _framed(self, step: TrainingStep) -> float:
        step.forget_gradients()
        release_free_heap()
        meter = peak_meter(self._device, present_bytes(self._device))
        meter.reset()
        step.run()
        peak = float(meter.peak_bytes())
        if self._device != "cpu":
            warm_up(step.run, seconds=SAMPLED_S)
        return peak
