"""What every session on a task shares: a subject that is prepared, checked and described."""

from __future__ import annotations

from spion_bench.passes.gate.oracle import GateResult
from spion_bench.passes.session import Job, OnProgress
from spion_bench.passes.subject import prepare_subject
from spion_bench.records import Measurement


class TaskSession:
    """A method made ready on a task.

    Raises:
        UnsupportedError, MissingDataError, ValueError: See ``prepare_subject``.
    """

    def __init__(self, job: Job, on_progress: OnProgress) -> None:
        self._subject = prepare_subject(job)
        self._description = self._subject.describe()
        self._on_progress = on_progress

    def check(self) -> GateResult:
        """Run the gate on the task's shape and the cell's patterns."""
        return self._subject.check()

    def describe(self) -> Measurement:
        """Return what is known before anything is measured."""
        return self._description
