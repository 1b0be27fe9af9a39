"""SPION under ``transformers.Trainer``; needs the extra ``hf``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from spion_bench.conversion.controller import SpionController


class SpionTrainerCallback(TrainerCallback):  # type: ignore[misc]
    """Counts the trainer's steps, saves the controller into every checkpoint and resumes from it.

    ``Trainer(model, ..., callbacks=[SpionTrainerCallback(sparsify(model, ...))])``

    Args:
        controller: What ``sparsify`` returned.
        resume_from: The checkpoint that ``train(resume_from_checkpoint=...)`` is given, where it is
            not in the trainer's own output folder.
    """

    def __init__(self, controller: SpionController, resume_from: Path | str | None = None) -> None:
        self.controller = controller
        self.resume_from = resume_from

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Where the trainer resumed, go on from the same checkpoint.

        Raises:
            CheckpointError: If the checkpoint holds no state of SPION, or a damaged one.
            ValueError: If the trainer is to load its best model at the end.
        """
        if args.load_best_model_at_end:
            raise ValueError(
                "load_best_model_at_end: expected False; the best checkpoint may be of the dense "
                "phase, and its weights would get the patterns of the last: load it yourself"
            )
        if state.global_step > 0:
            known = self.resume_from
            self.controller.load(_folder(args, state) if known is None else Path(known) / "spion")

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Count the optimiser step."""
        self.controller.step()

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Store the controller's state in the checkpoint's folder."""
        if state.is_world_process_zero:
            self.controller.save(_folder(args, state))


def _folder(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(args.output_dir) / f"checkpoint-{state.global_step}" / "spion"
