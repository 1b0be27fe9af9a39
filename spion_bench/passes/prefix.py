"""The prefix pass: the dense phase that SPION's variants and dense attention continue."""

from __future__ import annotations

from pathlib import Path

from spion_bench.measure.memory import clear_refs_problem, peak_meter, present_bytes
from spion_bench.passes.gate.oracle import GateResult
from spion_bench.passes.session import Job, OnProgress
from spion_bench.passes.subject import prepare_subject
from spion_bench.records import Measurement
from spion_bench.records.files import file_digest
from spion_bench.suite.metrics import single
from spion_bench.train import TrainSettings, TrainState, train_prefix
from spion_bench.train.checkpoint import MANIFEST


class PrefixSession:
    """A dense phase on a task; its checkpoint is the artifact, named by its manifest.

    The manifest states the checksum of the file with the weights.
    """

    def __init__(self, job: Job, on_progress: OnProgress) -> None:
        self._subject = prepare_subject(job)
        self._on_progress = on_progress
        self._folder = Path(job.out) / "artifacts" / job.cell.key
        self._state: TrainState | None = None

    def check(self) -> GateResult:
        """Run the gate on the task's shape."""
        return self._subject.check()

    def describe(self) -> Measurement:
        """Return what is known before training."""
        return self._subject.describe()

    def measure(self) -> None:
        """Train, or continue interrupted training.

        Raises:
            NonFiniteLossError: If a training loss is NaN or infinite.
        """
        subject = self._subject
        cell, settings = subject.cell, subject.settings
        can_measure = cell.device != "cpu" or clear_refs_problem() is None
        self._state = train_prefix(
            subject.task,
            TrainSettings(settings.model, settings.train, settings.spion, settings.recipe),
            variant=cell.method.variant,
            seed=cell.seed,
            device=cell.device,
            out_dir=self._folder,
            progress=self._on_progress,
            peak_meter=peak_meter(cell.device, present_bytes(cell.device)) if can_measure else None,
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
        manifest = self._folder / MANIFEST
        changes = {
            "metrics": {n: single(n, value) for n, value in values.items() if value is not None},
            "artifacts": {f"{self._folder.name}/{MANIFEST}": file_digest(manifest)},
        }
        return self._subject.describe().model_copy(update=changes)
