"""The steps pass: the gate on the task's shape, then two training steps; nothing is timed.

Two steps and not one: the second starts from gradients, optimiser state and buffers that the first
left behind.
"""

from __future__ import annotations

from typing import Any

from spion_bench.model.attention import UnsupportedError
from spion_bench.passes.session import Job, OnProgress
from spion_bench.passes.step.session import StepSession
from spion_bench.passes.step.training_step import TrainingStep
from spion_bench.passes.subject import check_training
from spion_bench.records import Measurement
from spion_bench.suite.metrics import single

STEPS = 2


class StepsSession(StepSession):
    """A method on a task.

    A method without a backward pass on the device passes the gate forward only and is then
    ``unsupported``.
    """

    def __init__(self, job: Job, on_progress: OnProgress) -> None:
        super().__init__(job, on_progress)
        self._found: dict[str, Any] = {}

    def measure(self) -> None:
        """Do two training steps.

        Raises:
            NonFiniteStepError: If a loss is not finite.
        """
        try:
            check_training(self._subject.cell, self._subject.example)
        except UnsupportedError as error:
            reason = f"{error}; its forward pass passed the gate"
            self._found = {"status": "unsupported", "reason": reason}
            return
        step = TrainingStep(self._subject)
        losses = [step.run() for _ in range(STEPS)]
        self._found["metrics"] = {
            "final_train_loss": single("final_train_loss", losses[-1]),
            "parameters": single("parameters", step.model.parameter_count()),
            **step.compile_metrics(),
        }

    def result(self) -> Measurement:
        """Return what came out."""
        return self.describe().model_copy(update={**self._found, "isolation": "warm"})
