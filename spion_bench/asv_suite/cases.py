"""The shapes that are followed, and the blocks of their patterns; imports nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class AttentionShape:
    """Inputs ``[batch, heads, length, head_dim]``, and a pattern that keeps a share of the blocks.

    Attributes:
        density: Share of all blocks that the pattern keeps, see ``kept_blocks``.
    """

    batch: int
    heads: int
    length: int
    head_dim: int
    block_size: int
    density: float


ATTENTION = {
    "attention_4096": AttentionShape(1, 2, 4096, 32, 64, 0.04),  # text, retrieval
    "attention_2048": AttentionShape(2, 2, 2048, 32, 64, 0.05),  # ListOps
    "attention_1024": AttentionShape(4, 2, 1024, 32, 32, 0.07),  # image
    "sweep_base": AttentionShape(1, 8, 4096, 64, 64, 0.04),  # the centre of the kernels' sweeps
}


@dataclass(frozen=True)
class PatternShape:
    """A map ``[length, length]``, from which SPION-CF chooses blocks."""

    length: int
    block_size: int
    quantile: float


PATTERN = {"pattern_4096": PatternShape(4096, 64, 0.99)}


@dataclass(frozen=True)
class StepShape:
    """One training step of the classifier.

    Attributes:
        batch: Examples in a step.
        model: What the published settings of the tasks differ in, see ``model_settings``.
        block_size: Tokens in a block.
        n_blocks: Kept blocks: the most that the published quantile can keep.
    """

    batch: int
    model: dict[str, Any]
    block_size: int
    n_blocks: int

    @property
    def model_settings(self) -> dict[str, Any]:
        """The settings of the classifier, as ``ModelConfig`` takes them."""
        shared = {"embedding_dim": 64, "hidden_dim": 128, "heads": 2, "head_dim": 32}
        return {**shared, "dropout": 0.1, "mask_pooling": True, **self.model}


def _model(
    layers: int, vocab_size: int, length: int, n_classes: int, *, pairs: bool, masked: bool
) -> dict[str, Any]:
    return {
        "layers": layers,
        "vocab_size": vocab_size,
        "max_length": length,
        "n_classes": n_classes,
        "two_towers": pairs,
        "mask_attention": masked,
    }


STEPS = {
    "retrieval": StepShape(1, _model(2, 512, 4096, 2, pairs=True, masked=True), 64, 105),
    "listops": StepShape(2, _model(4, 32, 2048, 10, pairs=False, masked=True), 64, 53),
    "image": StepShape(4, _model(2, 256, 1024, 10, pairs=False, masked=False), 32, 73),
}


def kept_blocks(nb: int, density: float) -> int:
    """Return how many of ``nb * nb`` blocks a density keeps; at least the diagonal."""
    return max(nb, round(density * nb * nb))


def blocks_off_diagonal(nb: int, count: int) -> list[tuple[int, int]]:
    """Return rows and columns of the first ``count`` blocks off the diagonal, without randomness.

    They come in turn from the two neighbouring diagonals, spread over the sequence, and from
    vertical stripes: the two shapes that attention maps of trained encoders show.

    Args:
        nb: Number of block rows.
        count: How many.
    """
    spread = sorted(range(nb - 1), key=lambda i: (i % 4, i))
    band = [cell for i in spread for cell in ((i, i + 1), (i + 1, i))]
    columns = sorted(range(nb), key=lambda c: (c * 7 + 3) % nb)  # far-apart columns come first
    stripes = [(r, c) for c in columns for r in range(nb) if abs(r - c) > 1]
    turns = [cell for pair in zip(band, stripes, strict=False) for cell in pair]
    shorter = min(len(band), len(stripes))
    return (turns + band[shorter:] + stripes[shorter:])[:count]
