"""The gate pass: is a method correct on a task's shape?"""

from __future__ import annotations

from spion_bench.passes.step.session import StepSession
from spion_bench.records import Measurement


class GateSession(StepSession):
    """The check is the whole measurement."""

    def measure(self) -> None:
        """Do nothing more."""

    def result(self) -> Measurement:
        """Return what the gate was run on."""
        return self.describe()
