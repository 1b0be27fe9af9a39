"""A classifier in training, through the public API; the loop and the optimiser are torch's."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spion_bench import BlockPattern, SpionAttention, generate_pattern

from .cases import StepShape
from .inputs import SEED, make_pattern

CLIP_VALUE = 1.0
LEARNING_RATE = 1e-3


def make_classifier(settings: dict[str, Any], pattern: BlockPattern | None) -> nn.Module:
    """Return the package's classifier, with SPION's attention over a pattern or dense.

    Raises:
        NotImplementedError: If the package has no classifier yet, which marks a benchmark as n/a.
    """
    try:
        module = import_module("spion_bench.model.classifier")
    except ModuleNotFoundError as error:
        raise NotImplementedError(f"this commit has no classifier: {error}") from error
    torch.manual_seed(SEED)
    config = module.ModelConfig(**settings)
    classifier: nn.Module = module.Classifier(
        config, lambda layer: SpionAttention("zero_logit", pattern)
    )
    return classifier


class Step:
    """One training step of the classifier on random tokens: forward, backward, clip, AdamW.

    Args:
        shape: Its shape.
        attention: ``"spion_cf"``, over as many blocks as SPION-CF keeps at most, or ``"dense"``.
    """

    def __init__(self, shape: StepShape, attention: str) -> None:
        length = shape.model["max_length"]
        pattern = None
        if attention == "spion_cf":
            pattern = make_pattern(length, shape.block_size, shape.n_blocks)
        self._model = make_classifier(shape.model_settings, pattern)
        self._optimiser = torch.optim.AdamW(self._model.parameters(), fused=True)
        size = (shape.batch, 2, length) if shape.model["two_towers"] else (shape.batch, length)
        self._tokens = torch.randint(1, shape.model["vocab_size"], size)
        self._labels = torch.randint(0, shape.model["n_classes"], (shape.batch,))

    def run(self) -> None:
        """Do one step."""
        update(self._model, self._optimiser, self._tokens, self._labels)

    def forget_gradients(self) -> None:
        """Free the gradients, as they are before a step."""
        self._optimiser.zero_grad(set_to_none=True)


def update(
    model: nn.Module, optimiser: torch.optim.Optimizer, tokens: Tensor, labels: Tensor
) -> None:
    """Do one step of training."""
    optimiser.zero_grad(set_to_none=True)
    loss = F.cross_entropy(model(tokens), labels)
    torch.autograd.backward(loss)
    nn.utils.clip_grad_value_(model.parameters(), CLIP_VALUE)
    optimiser.step()


def train_spion(
    settings: dict[str, Any],
    tokens: Tensor,
    labels: Tensor,
    *,
    steps: int,
    batch: int,
    block_size: int,
    quantile: float,
) -> nn.Module:
    """Train half of the steps densely, generate each layer's pattern, and train the other half."""
    model = make_classifier(settings, None)
    optimiser = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=True)
    batches = _batches(tokens, labels, batch)
    for _ in range(steps // 2):
        update(model, optimiser, *next(batches))
    layers = [layer for layer in model.modules() if isinstance(layer, SpionAttention)]
    for layer in layers:
        layer.watch()
    with torch.no_grad():
        model(next(batches)[0])
    for layer in layers:
        layer.pattern = generate_pattern(
            layer.take_map(), variant="CF", block_size=block_size, quantile=quantile
        )
    for _ in range(steps - steps // 2):
        update(model, optimiser, *next(batches))
    return model.eval()


def _batches(tokens: Tensor, labels: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(SEED)
    while True:
        order = torch.randperm(len(tokens), generator=generator)
        for chosen in torch.split(order, size):
            yield tokens[chosen], labels[chosen]
