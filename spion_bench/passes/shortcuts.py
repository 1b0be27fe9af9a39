"""The shortcuts pass: what a predictor without attention reaches on a task's test examples."""

from __future__ import annotations

from pathlib import Path

from spion_bench.passes.session import Job, OnProgress
from spion_bench.passes.subject import load_data, task_info
from spion_bench.records import Measurement, TaskCell
from spion_bench.records.artifacts import Artifact, Curve, write_artifact
from spion_bench.records.statistics import wilson_interval
from spion_bench.suite.metrics import single
from spion_bench.tasks import load_spec


class ShortcutSession:
    """A shortcut predictor on a task. There is no attention, and so no gate.

    Raises:
        MissingDataError: If the task's data is missing.
        ValueError: If the cell is not one of a task.
    """

    def __init__(self, job: Job, on_progress: OnProgress) -> None:
        if not isinstance(job.cell, TaskCell):
            raise ValueError(f"cell {job.cell.key}: expected a task cell, got a kernel cell")
        self._cell, self._out = job.cell, Path(job.out)
        self._task = load_data(job.cell)
        self._found = self.describe()

    def describe(self) -> Measurement:
        """Return what is known before anything is learned."""
        return Measurement(status="ok", task=task_info(self._task))

    def measure(self) -> None:
        """Learn from the training examples, and answer the test examples."""
        task, name = self._task, self._cell.method.name
        (shortcut,) = (s for s in load_spec(task.name).shortcuts if s.name == name)
        correct = shortcut.predict(task.train, task.test) == task.test.labels
        n_correct, n = int(correct.sum()), len(correct)
        low, high = wilson_interval(n_correct, n)
        path = self._out / "artifacts" / f"{self._cell.key}.npz"
        digest = write_artifact(path, Artifact(Curve.empty(), test_correct=correct))
        changes = {
            "metrics": {
                "test_accuracy": single("test_accuracy", n_correct / n, low=low, high=high)
            },
            "artifacts": {path.name: digest},
        }
        self._found = self.describe().model_copy(update=changes)

    def result(self) -> Measurement:
        """Return what was found."""
        return self._found
