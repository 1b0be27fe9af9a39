"""The attention methods of the suite, as data, and how to build them.

A method is named here once and loaded by its ``"module:object"`` name, so that listing methods
imports nothing heavy and the suite itself never imports a baseline.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from spion_bench.harness.names import check_name
from spion_bench.tasks.config import SpionConfig

if TYPE_CHECKING:
    from spion_bench.block_pattern import BlockPattern
    from spion_bench.model.attention import Attention

Variant = Literal["CF", "C", "F"]


@dataclass(frozen=True)
class Method:
    """One attention method.

    Attributes:
        name: What users, records and reports call it.
        summary: One line for ``spion-bench list``.
        factory: ``"module:object"``; calling the object gives one layer's ``Attention``.
        variant: SPION's pattern variant, or None for a method without learned patterns.
        devices: Device types this version of the suite can run it on.
    """

    name: str
    summary: str
    factory: str
    variant: Variant | None = None
    devices: tuple[str, ...] = ("cpu",)

    def parameters(self, spion: SpionConfig) -> dict[str, str | int | float | bool | None]:
        """Return every parameter of the method that can change its numbers."""
        if self.variant is None:
            return {}
        return {"variant": self.variant, **spion.model_dump()}


_SPION = "spion_bench.model.attention:SpionAttention"

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            "dense_sdpa",
            "exact dense attention through torch's scaled_dot_product_attention",
            "baselines.dense_sdpa:DenseSdpa",
            devices=("cpu", "cuda"),
        ),
        Method(
            "dense_eager",
            "exact dense attention that stores the [B, H, L, L] probabilities",
            "baselines.dense_eager:DenseEager",
            devices=("cpu", "cuda"),
        ),
        Method("spion_c", "SPION-C: diagonal filter, top-k blocks", _SPION, "C"),
        Method("spion_f", "SPION-F: flood fill on the unfiltered map", _SPION, "F"),
        Method("spion_cf", "SPION-CF: diagonal filter, then flood fill", _SPION, "CF"),
    )
}


def find_method(name: str) -> Method:
    """Return the method called ``name``; UsageError suggests the nearest name."""
    return METHODS[check_name("method", name, METHODS)]


def attention_maker(
    method: Method, spion: SpionConfig, patterns: Sequence[BlockPattern] | None = None
) -> Callable[[int], Attention]:
    """Return the function that builds the method's attention for layer 0, 1, ...

    Args:
        method: What to build.
        spion: SPION's parameters; ignored by methods without a variant.
        patterns: One pattern per layer, or None to start in SPION's dense phase.
    """
    factory = load_object(method.factory)

    def make(layer: int) -> Attention:
        if method.variant is None:
            attention: Attention = factory()
        else:
            pattern = None if patterns is None else patterns[layer]
            attention = factory(pruned=spion.pruned, pattern=pattern)
        return attention

    return make


def load_object(name: str) -> Any:
    """Import the object that ``"module:object"`` names."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)
