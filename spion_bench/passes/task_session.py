"""What every session on a task shares: a subject that is prepared, checked and described."""

from __future__ import annotations

from spion_bench.passes.gate.oracle import GateResult
from spion_bench.passes.session import Job, Tell
from spion_bench.passes.subject import prepare_subject
from spion_bench.records import Measurement


class TaskSession:
    """A method made ready on a task.

    Raises:
        UnsupportedError, MissingDataError, ValueError: See ``prepare_subject``.
    """

    def __init__(self, job: Job, tell: Tell) -> None:
        self._subject = prepare_subject(job)
        self._tell = tell

    def check(self) -> GateResult:
        """Run the gate on the task's shape and the cell's patterns."""
        return self._subject.check()

    def describe(self) -> Measurement:
        """Return what is known before anything is measured."""
        return self._subject.describe()
