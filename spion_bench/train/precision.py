"""The arithmetic of a training step: what its products take, TF32, and a scaled loss.

The published code trains under float16 autocast with a scaled loss. Here that is one of four
settings. Weights, optimiser and residual stream are float32 in all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spion_bench.literals import Precision
from spion_bench.model.attention import UnsupportedError
from spion_bench.records.settings import PRODUCT_DTYPES


@dataclass(frozen=True)
class Arithmetic:
    """How a model computes on a device.

    Attributes:
        precision: ``"float32"``; ``"tf32"``: products of float32 rounded to TF32, CUDA only;
            ``"bfloat16"`` and ``"float16"``: under autocast, float16 with a scaled loss.
        device: Where it computes.
    """

    precision: Precision
    device: torch.device

    def __post_init__(self) -> None:
        if self.precision == "tf32" and self.device.type != "cuda":
            raise UnsupportedError(
                f"tf32 is a way in which CUDA GPUs multiply, {self.device.type} has none; choose "
                "float32, bfloat16 or float16"
            )

    @property
    def dtype(self) -> torch.dtype:
        """What the products take, the attention's among them."""
        dtype: torch.dtype = getattr(torch, PRODUCT_DTYPES[self.precision])
        return dtype

    def choose_products(self) -> None:
        """Tell torch whether products of float32 may be TF32, for the whole process."""
        torch.set_float32_matmul_precision("high" if self.precision == "tf32" else "highest")

    def autocast(self) -> torch.autocast:
        """Return the context of a forward pass; the backward pass runs outside of it."""
        is_half = self.dtype != torch.float32
        return torch.autocast(
            self.device.type, dtype=self.dtype if is_half else None, enabled=is_half
        )

    def scaler(self) -> torch.amp.GradScaler:
        """Return the loss's scale; it does nothing but for float16, whose gradients underflow."""
        is_scaled = self.precision == "float16"
        return torch.amp.GradScaler(self.device.type, enabled=is_scaled)

    def loss(self, model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross entropy of a batch in nat, float32."""
        with self.autocast():
            logits = model(inputs)
        return F.cross_entropy(logits.float(), labels)
