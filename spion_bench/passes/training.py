"""The arguments with which the accuracy and the prefix pass train."""

from __future__ import annotations

from typing import Any

import torch

from spion_bench.measure.memory import clear_refs_problem, peak_meter, present_bytes
from spion_bench.passes.session import OnProgress
from spion_bench.passes.subject import Subject
from spion_bench.train import TrainJob, TrainSettings


def training_arguments(subject: Subject, on_progress: OnProgress) -> dict[str, Any]:
    """Return the arguments that ``train`` and ``train_prefix`` share.

    Peak memory is measured where the system lets a process reset its high-water mark.
    """
    cell, settings = subject.cell, subject.settings
    device = cell.device
    can_measure = device != "cpu" or clear_refs_problem() is None
    asked = TrainSettings(
        settings.model, settings.train, settings.spion, settings.recipe, settings.precision
    )
    return {
        "job": TrainJob(subject.task, asked, cell.method.variant, cell.seed, torch.device(device)),
        "progress": on_progress,
        "peak_meter": peak_meter(device, present_bytes(device)) if can_measure else None,
    }
