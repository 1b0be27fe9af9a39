"""What every session shares that runs single training steps, or checks for those that do."""

from __future__ import annotations

from spion_bench.passes.gate.oracle import GateResult
from spion_bench.passes.session import Job, OnProgress
from spion_bench.passes.step.compiled import CHECKED_EXAMPLES, check_compiled, joined
from spion_bench.passes.task_session import TaskSession


class StepSession(TaskSession):
    """A method made ready on a task; its encoder may be compiled.

    It keeps the examples of one batch: the workers of a turn are all there at once, and whole tasks
    would fill the memory.
    """

    def __init__(self, job: Job, on_progress: OnProgress) -> None:
        super().__init__(job, on_progress)
        batch = self._subject.settings.measure.batch_size
        self._subject = self._subject.with_few_examples(max(batch, CHECKED_EXAMPLES))

    def check(self) -> GateResult:
        """Run the gate on the method, and on the compiled model where the cell has one."""
        found = super().check()
        if found.reason is not None or self._subject.settings.compile == "none":
            return found
        return joined(found, check_compiled(self._subject))
