"""Benchmark and reproducibility suite for SPION, layer-wise sparse training of Transformers.

The public names are loaded on first use, so importing a part that needs no torch
(``spion_bench.records``, ``spion_bench.report``) does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import spion_bench.measure.machine  # noqa: F401  # notes the CPUs before torch may bind to fewer

if TYPE_CHECKING:
    from spion_bench.block_pattern import BlockPattern
    from spion_bench.conversion.sparsify import sparsify
    from spion_bench.model.attention import SpionAttention
    from spion_bench.ops.block_attention import block_attention
    from spion_bench.pattern.generate import generate_pattern
    from spion_bench.records.frame import records_frame

__version__ = "0.1.0"

__all__ = [
    "BlockPattern",
    "SpionAttention",
    "block_attention",
    "generate_pattern",
    "records_frame",
    "sparsify",
]

_HOME = {
    "BlockPattern": "spion_bench.block_pattern",
    "SpionAttention": "spion_bench.model.attention",
    "block_attention": "spion_bench.ops",
    "generate_pattern": "spion_bench.pattern.generate",
    "records_frame": "spion_bench.records.frame",
    "sparsify": "spion_bench.conversion.sparsify",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
