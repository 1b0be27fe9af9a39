"""Building a method's attention from what its cell states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from spion_bench.block_pattern import BlockPattern
from spion_bench.literals import Pruned
from spion_bench.model.attention import Attention
from spion_bench.records import MethodInfo
from spion_bench.records.settings import SpionConfig
from spion_bench.suite.method import load_object


def attention_maker(
    info: MethodInfo, spion: SpionConfig, patterns: Sequence[BlockPattern] | None = None
) -> Callable[[int], Attention]:
    """Return the function that builds the method's attention for layer 0, 1, ...

    Args:
        info: What to build, its arguments resolved.
        spion: SPION's settings; ignored by methods without a variant.
        patterns: One pattern per layer, or None to start in SPION's dense phase.
    """

    def make(layer: int) -> Attention:
        pattern = None if patterns is None else patterns[layer]
        return build_attention(info, layer=layer, pruned=spion.pruned, pattern=pattern)

    return make


def build_attention(
    info: MethodInfo, *, layer: int, pruned: Pruned, pattern: BlockPattern | None
) -> Attention:
    """Build the method's attention for one layer.

    Args:
        info: What to build, its arguments resolved.
        layer: Number of the layer; ignored by methods whose layers are alike.
        pruned: What a pruned score counts as; ignored, as is ``pattern``, by methods without a
            variant.
        pattern: The layer's pattern, or None for SPION's dense phase.
    """
    own: dict[str, Any] = {"layer": layer} if info.takes_layer else {}
    if info.variant is not None:
        own |= {"pruned": pruned, "pattern": pattern}
    attention: Attention = load_object(info.factory)(**info.arguments, **own)
    return attention
