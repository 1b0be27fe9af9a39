"""From a layer's attention map to its block pattern: SPION's variants C, F and CF.

Stages (SPION figure "pattern generation"; SPION code, main_conv.py, main_ff.py, main_conv_ff.py):
attention map ``[L, L]`` -> diagonal filter -> average pooling, ``[nb, nb]`` -> selection of blocks
-> the diagonal is added. The variants differ only in which stages they use, see ``VARIANTS``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from spion_bench.block_pattern import BlockPattern, check_block_size
from spion_bench.literals import Selection, Variant
from spion_bench.ops.average_pool import average_pool
from spion_bench.ops.checks_pattern import check_square
from spion_bench.ops.diagonal_conv import diagonal_conv
from spion_bench.ops.flood_fill import flood_fill

PUBLISHED_FILTER_SIZE = 31  # the same for every task and variant


@dataclass(frozen=True)
class PatternVariant:
    """What a SPION variant does with an attention map.

    Attributes:
        filtered: Whether the map goes through the diagonal filter before pooling.
        choice: ``"fill"`` keeps the blocks above a quantile that a fill reaches; ``"top_k"`` keeps
            the largest blocks.
        parameter: The argument of ``generate_pattern`` that ``choice`` needs.
    """

    filtered: bool
    choice: Literal["fill", "top_k"]
    parameter: Literal["quantile", "density"]


VARIANTS: dict[Variant, PatternVariant] = {
    "C": PatternVariant(filtered=True, choice="top_k", parameter="density"),
    "F": PatternVariant(filtered=False, choice="fill", parameter="quantile"),
    "CF": PatternVariant(filtered=True, choice="fill", parameter="quantile"),
}


@dataclass(frozen=True)
class PatternStages:
    """A pattern and what it was made from.

    Attributes:
        pooled: ``[nb, nb]``, the (filtered and) pooled map, in the map's dtype.
        mask: bool ``[nb, nb]``, the chosen blocks, before the diagonal is forced.
        pattern: ``mask`` and the diagonal.
    """

    pooled: Tensor
    mask: Tensor
    pattern: BlockPattern


def generate_pattern(
    attention_map: Tensor,
    *,
    variant: Variant,
    block_size: int,
    quantile: float | None = None,
    density: float | None = None,
    filter_size: int = PUBLISHED_FILTER_SIZE,
    selection: Selection = "walk",
) -> BlockPattern:
    """Generate the block pattern of a layer from its attention map.

    The stages run where the map lies, with the same result on every device; so does the pattern.
    No gradient is tracked.

    Args:
        attention_map: ``[L, L]``, float32 or float64: the layer's attention probabilities,
            averaged over batch and heads. ``L`` is a multiple of ``block_size``.
        variant: ``"C"``, ``"F"`` or ``"CF"``, see ``VARIANTS``.
        block_size: Rows and columns of a block, in tokens; a power of two from 8 to 128.
        quantile: F and CF: blocks must exceed this quantile of all pooled values, 0 to 1.
        density: C: the share of blocks to aim at, above 0 and at most 1, see ``top_k_count``.
        filter_size: C and CF: length of the diagonal filter, odd; 31 in the published code.
        selection: F and CF: ``"walk"`` is the published fill, ``"connected"`` grows regions, see
            ``ops.flood_fill``.

    Arguments that the variant does not use are ignored.

    Raises:
        ValueError: If an argument is out of range, the variant's parameter is missing, or the map
            is not square, not a multiple of ``block_size`` long, or not finite.
    """
    stages = pattern_stages(
        attention_map, variant, block_size, quantile, density, filter_size, selection
    )
    return stages.pattern


def pattern_stages(
    attention_map: Tensor,
    variant: Variant,
    block_size: int,
    quantile: float | None = None,
    density: float | None = None,
    filter_size: int = PUBLISHED_FILTER_SIZE,
    selection: Selection = "walk",
) -> PatternStages:
    """Do what ``generate_pattern`` does, with its arguments, and keep the intermediate stages."""
    rules = _rules(variant)
    values = attention_map.detach()
    _check_map(values, block_size)
    if rules.filtered:
        values = diagonal_conv(values, filter_size)
    pooled = average_pool(values, block_size)
    _check_finite(pooled)
    if rules.choice == "top_k":
        mask = top_k_blocks(pooled, _required("density", density, variant))
    else:
        threshold = quantile_threshold(pooled, _required("quantile", quantile, variant))
        mask = flood_fill(pooled, threshold, selection=selection)
    diagonal = torch.eye(mask.shape[0], dtype=torch.bool, device=mask.device)
    return PatternStages(pooled, mask, BlockPattern.from_mask(mask | diagonal, block_size))


def quantile_threshold(pooled: Tensor, quantile: float) -> float:
    """Return the quantile of all values, interpolated linearly at ``quantile * (n - 1)``.

    It is interpolated on the CPU, which rounds alike for maps of every device.
    """
    if not 0 <= quantile <= 1:
        raise ValueError(f"quantile: expected a number from 0 to 1, got {quantile}")
    return float(torch.quantile(pooled.cpu().double().flatten(), quantile))


def top_k_count(nb: int, density: float) -> int:
    """Return how many blocks variant C picks before the diagonal is added.

    ``int(nb * nb * density - nb)``, as in the published code: the diagonal's blocks are subtracted,
    although many of the picked blocks lie on the diagonal themselves, so the pattern's density
    comes out below ``density``. Where the count would be negative, which the published code
    refuses, it is 0: only the diagonal is kept.
    """
    if not 0 < density <= 1:
        raise ValueError(f"density: expected a number above 0 and at most 1, got {density}")
    return max(0, int(nb * nb * density - nb))


def top_k_blocks(pooled: Tensor, density: float) -> Tensor:
    """Return the ``top_k_count`` largest blocks as bool ``[nb, nb]``; of equals, the first.

    First means row by row. The published code leaves the order of equals undefined.
    """
    order = torch.sort(pooled.flatten(), descending=True, stable=True).indices
    mask = torch.zeros(pooled.numel(), dtype=torch.bool, device=pooled.device)
    mask[order[: top_k_count(pooled.shape[0], density)]] = True
    return mask.view_as(pooled)


def _rules(variant: str) -> PatternVariant:
    for name, rules in VARIANTS.items():
        if name == variant:
            return rules
    raise ValueError(f"variant: expected one of {', '.join(VARIANTS)}, got {variant!r}")


def _required(name: str, value: float | None, variant: str) -> float:
    if value is None:
        raise ValueError(f"{name}: expected a number for variant {variant}, got None")
    return value


def _check_map(attention_map: Tensor, block_size: int) -> None:
    check_block_size(block_size)
    check_square("attention_map", attention_map, "[L, L]")
    length = attention_map.shape[0]
    if length % block_size:
        padded = -(-length // block_size) * block_size
        raise ValueError(
            f"attention_map: expected a length that is a multiple of block_size={block_size}, got "
            f"{length}; pad the sequences to {padded} or choose another block size"
        )


def _check_finite(pooled: Tensor) -> None:
    # Every value of the map takes part in a pooled sum, so one look at the small matrix suffices.
    if not bool(torch.isfinite(pooled).all()):
        raise ValueError(
            "attention_map: expected finite numbers, got NaN or infinity; "
            "the training has probably diverged"
        )
