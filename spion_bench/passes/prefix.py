"""The prefix pass: the dense phase that SPION's variants and dense attention continue.

And the arguments with which it and the accuracy pass train.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spion_bench.measure.memory import clear_refs_problem, peak_meter, present_bytes
from spion_bench.passes.ranks import TrainingSession
from spion_bench.passes.session import Job, OnProgress
from spion_bench.passes.subject import Subject
from spion_bench.records import Measurement, TaskCell
from spion_bench.records.files import file_digest
from spion_bench.suite.metrics import single
from spion_bench.train import TrainJob, TrainState, train_prefix
from spion_bench.train.checkpoint import MANIFEST
from spion_bench.train.ranks import Ranks


def training_arguments(subject: Subject, ranks: Ranks, on_progress: OnProgress) -> dict[str, Any]:
    """Return the arguments that ``train`` and ``train_prefix`` share.

    Peak memory is measured where the system lets a process reset its high-water mark.
    """
    cell, settings = subject.cell, subject.settings
    device = cell.device
    can_measure = device != "cpu" or clear_refs_problem() is None
    return {
        "job": TrainJob(
            subject.task,
            settings,
            cell.method.variant,
            cell.seed,
            ranks.device(device),
            cell.method.blocks,
            ranks,
        ),
        "progress": on_progress,
        "peak_meter": peak_meter(device, present_bytes(device)) if can_measure else None,
    }


def memory_method(cell: TaskCell) -> str:
    """Return what a training's peak memory is, in words."""
    whose = "the process" if cell.processes == 1 else f"the first of {cell.processes} processes"
    return f"peak above what {whose} held before training"


class PrefixSession(TrainingSession):
    """A dense phase on a task; both files of its checkpoint are its artifacts."""

    def __init__(self, job: Job, on_progress: OnProgress) -> None:
        super().__init__(job, on_progress)
        self._folder = Path(job.out) / "artifacts" / job.cell.key
        self._state: TrainState | None = None

    def train(self, ranks: Ranks) -> None:
        """Train, or continue interrupted training."""
        self._state = train_prefix(
            **training_arguments(self._subject, ranks, self._on_progress), out_dir=self._folder
        )

    def result(self) -> Measurement:
        """Return what the dense phase cost, and its checkpoint."""
        if self._state is None:
            raise RuntimeError("nothing was trained; call measure() first")
        usage = self._state.usage["dense"]
        values = {
            "final_train_loss": self._state.train_loss[-1],
            "dense_wall_s": usage.wall_s,
            "dense_step_ms": usage.median_step_ms,
            "dense_peak_bytes": usage.peak_bytes,
        }
        files = [self._folder / MANIFEST, *self._folder.glob("*.safetensors")]
        changes = {
            "metrics": {n: single(n, value) for n, value in values.items() if value is not None},
            "artifacts": {f"{self._folder.name}/{file.name}": file_digest(file) for file in files},
        }
        return self.describe().model_copy(update=changes)
