"""The gate pass: is a method correct on a task's shape?"""

from __future__ import annotations

from spion_bench.passes.gate.oracle import GateResult
from spion_bench.passes.session import Job, OnProgress
from spion_bench.passes.subject import prepare_subject
from spion_bench.records import Measurement


class GateSession:
    """The check is the whole measurement."""

    def __init__(self, job: Job, on_progress: OnProgress) -> None:
        self._subject = prepare_subject(job)

    def check(self) -> GateResult:
        """Run the gate."""
        return self._subject.check()

    def describe(self) -> Measurement:
        """Return what is known before the gate is run."""
        return self._subject.describe()

    def measure(self) -> None:
        """Do nothing more."""

    def result(self) -> Measurement:
        """Return what the gate was run on."""
        return self._subject.describe()
