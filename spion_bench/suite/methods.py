"""The attention methods of the suite, as data, and how to build them.

A method is named here once and loaded by its ``"module:object"`` name, so that listing methods
imports nothing heavy and the suite itself never imports a baseline.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from spion_bench.records.names import check_name
from spion_bench.records.settings import SpionConfig

if TYPE_CHECKING:
    from spion_bench.block_pattern import BlockPattern
    from spion_bench.model.attention import Attention

Variant = Literal["CF", "C", "F"]
Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class Method:
    """One attention method.

    Attributes:
        name: What users, records and reports call it.
        summary: One line for ``spion-bench list``.
        factory: ``"module:object"``; calling the object gives one layer's ``Attention``.
        variant: SPION's pattern variant, or None for a method without learned patterns.
        devices: Device types this version of the suite can run it on.
        arguments: Keyword arguments of the factory.
        spion_arguments: Names of SPION settings that the factory takes as well, for methods that
            are to use the task's block size or as many keys as SPION keeps.
        takes_layer: Whether the factory also takes ``layer``, the layer's number, for example to
            seed each layer's random blocks.
    """

    name: str
    summary: str
    factory: str
    variant: Variant | None = None
    devices: tuple[str, ...] = ("cpu",)
    arguments: Mapping[str, Scalar] = field(default_factory=dict)
    spion_arguments: tuple[str, ...] = ()
    takes_layer: bool = False

    def parameters(self, spion: SpionConfig) -> dict[str, Scalar]:
        """Return every parameter of the method that can change its numbers."""
        found = self.factory_arguments(spion)
        if self.variant is not None:
            found = {**found, "variant": self.variant, **spion.model_dump()}
        return found

    def factory_arguments(self, spion: SpionConfig) -> dict[str, Scalar]:
        """Return the keyword arguments of the factory that are the same for every layer."""
        return {**self.arguments, **{name: getattr(spion, name) for name in self.spion_arguments}}


_SPION = "spion_bench.model.attention:SpionAttention"

_SPION_VARIANTS: tuple[tuple[str, str, Variant], ...] = (
    ("spion_c", "SPION-C: diagonal filter, top-k blocks", "C"),
    ("spion_f", "SPION-F: flood fill on the unfiltered map", "F"),
    ("spion_cf", "SPION-CF: diagonal filter, then flood fill", "CF"),
)

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
        Method(
            "sliding_window",
            "a window of 512 tokens",
            "baselines.sliding_window:SlidingWindow",
            devices=("cpu", "cuda"),
            arguments={"window": 512},
        ),
        Method(
            "sliding_window@matched",
            "a window with as many keys as SPION-CF keeps at most",
            "baselines.sliding_window:MatchedSlidingWindow",
            devices=("cpu", "cuda"),
            spion_arguments=("block_size", "quantile"),
        ),
        Method(
            "longformer",
            "Longformer: a window of 512 tokens and a global one",
            "baselines.longformer:Longformer",
            devices=("cpu", "cuda"),
            arguments={"window": 512, "n_global": 1},
        ),
        Method(
            "longformer@matched",
            "Longformer with a window with as many keys as SPION-CF keeps at most",
            "baselines.longformer:MatchedLongformer",
            devices=("cpu", "cuda"),
            spion_arguments=("block_size", "quantile"),
        ),
        Method(
            "longformer@window128",
            "Longformer with a window of 128 tokens, for sequences of 512 and 1024",
            "baselines.longformer:Longformer",
            devices=("cpu", "cuda"),
            arguments={"window": 128, "n_global": 1},
        ),
        Method(
            "bigbird",
            "BigBird: window, global and random blocks of 64 tokens",
            "baselines.bigbird:BigBird",
            devices=("cpu", "cuda"),
            arguments={"block_size": 64, "n_window": 3, "n_random": 3},
            takes_layer=True,
        ),
        Method(
            "bigbird@spion_block",
            "BigBird with blocks of SPION's size, for sequences of 512 and 1024",
            "baselines.bigbird:BigBird",
            devices=("cpu", "cuda"),
            arguments={"n_window": 3, "n_random": 3},
            spion_arguments=("block_size",),
            takes_layer=True,
        ),
        Method(
            "reformer",
            "Reformer: LSH attention, two rounds, chunks of 64 tokens",
            "baselines.reformer:Reformer",
            devices=("cpu", "cuda"),
            arguments={"chunk": 64, "n_hashes": 2},
            takes_layer=True,
        ),
        Method(
            "sparse_transformer@strided",
            "Sparse Transformer: local blocks and blocks a stride apart",
            "baselines.sparse_transformer:SparseTransformer",
            devices=("cpu", "cuda"),
            arguments={"pattern": "strided", "block_size": 64},
        ),
        Method(
            "sparse_transformer@fixed",
            "Sparse Transformer: groups of blocks and a summary block of each",
            "baselines.sparse_transformer:SparseTransformer",
            devices=("cpu", "cuda"),
            arguments={"pattern": "fixed", "block_size": 64},
        ),
        Method(
            "longformer_hf",
            "Hugging Face's Longformer attention: a window of 512 tokens",
            "baselines.longformer_hf:LongformerHF",
            devices=("cpu", "cuda"),
            arguments={"window": 512, "n_global": 0},
        ),
        Method(
            "bigbird_hf",
            "Hugging Face's BigBird attention: window, global and random blocks",
            "baselines.bigbird_hf:BigBirdHF",
            devices=("cpu", "cuda"),
            arguments={"block_size": 64, "n_random": 3},
            takes_layer=True,
        ),
        Method(
            "reformer_hf",
            "Hugging Face's Reformer attention: LSH, queries serve as keys",
            "baselines.reformer_hf:ReformerHF",
            devices=("cpu", "cuda"),
            arguments={"chunk": 64, "n_hashes": 2},
            takes_layer=True,
        ),
        Method(
            "xformers_fmha",
            "exact dense attention through xFormers' memory-efficient operators",
            "baselines.xformers_fmha:XformersFmha",
            devices=("cuda",),
        ),
        Method(
            "xformers_window",
            "a window of 512 tokens through xFormers, in bfloat16",
            "baselines.xformers_fmha:XformersWindow",
            devices=("cuda",),
            arguments={"window": 512},
        ),
        Method(
            "flex",
            "SPION-CF on PyTorch's FlexAttention instead of the suite's kernel",
            "baselines.flex:Flex",
            "CF",
            devices=("cpu", "cuda"),
        ),
        *(
            Method(name, summary, _SPION, variant, devices=("cpu", "cuda"))
            for name, summary, variant in _SPION_VARIANTS
        ),
        *(
            Method(
                f"spion+{pattern}",
                f"SPION's kernel on {summary}, in SPION's block size",
                "baselines.patterned:SpionKernel",
                devices=("cpu", "cuda"),
                arguments={"pattern": pattern},
                spion_arguments=("block_size",),
                takes_layer=True,
            )
            for pattern, summary in (
                ("window_block", "the blocks of a window of 512 tokens"),
                ("longformer_block", "the blocks of Longformer's window and global token"),
                ("bigbird_block", "BigBird's blocks"),
                ("strided", "Sparse Transformer's strided pattern"),
                ("fixed", "Sparse Transformer's fixed pattern"),
            )
        ),
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
    arguments: dict[str, Any] = dict(method.factory_arguments(spion))

    def make(layer: int) -> Attention:
        own: dict[str, Any] = {"layer": layer} if method.takes_layer else {}
        if method.variant is not None:
            own["pruned"] = spion.pruned
            own["pattern"] = None if patterns is None else patterns[layer]
        attention: Attention = factory(**arguments, **own)
        return attention

    return make


def load_object(name: str) -> Any:
    """Import the object that ``"module:object"`` names."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)
