"""SPION under Lightning; needs the extra ``lightning``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from spion_bench.conversion.controller import SpionController


class SpionLightningCallback(Callback):  # type: ignore[misc]
    """Counts the optimiser's steps; its state travels in Lightning's checkpoints.

    ``Trainer(callbacks=[SpionLightningCallback(sparsify(module.model, ...))])``
    """

    def __init__(self, controller: SpionController) -> None:
        self.controller = controller
        self._seen = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count from the step at which training starts or resumes."""
        self._seen = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count an optimiser step, if this batch ended one."""
        if trainer.global_step > self._seen:
            self._seen = trainer.global_step
            self.controller.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the controller's state for Lightning's checkpoint."""
        return self.controller.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a checkpoint; Lightning has loaded the model's state dict before."""
        self.controller.load_state_dict(state_dict)
