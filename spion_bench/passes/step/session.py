"""What every session shares that runs single training steps, or checks for those that do."""

from __future__ import annotations

from spion_bench.passes.gate.oracle import GateResult
from spion_bench.passes.step.compiled import check_compiled, joined
from spion_bench.passes.task_session import TaskSession


class StepSession(TaskSession):
    """A method made ready on a task; its encoder may be compiled."""

    def check(self) -> GateResult:
        """Run the gate on the method, and on the compiled model where the cell has one."""
        found = super().check()
        if found.reason is not None or self._subject.settings.compile == "none":
            return found
        return joined(found, check_compiled(self._subject))
