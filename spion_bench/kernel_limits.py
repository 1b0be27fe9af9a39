"""What the kernels take, by type of device; no torch.

The operators' checks, the plan and the workers read this table. ``csrc`` refuses the same, where
``torch.ops.spion_bench`` is called directly; the tests compare both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

# block_attention as one operator or as a pipeline of three, and attention_map.
Kernels = Literal["fused", "pipeline", "map"]


@dataclass(frozen=True)
class KernelLimits:
    """What the kernels of one type of device take.

    Attributes:
        device: What messages call it.
        block_sizes: Tokens in a block.
        max_head_dim: The widest head.
        max_batch_heads: Most batch items times heads.
        dtypes: Names of the torch dtypes, by kernels.
    """

    device: str
    block_sizes: tuple[int, ...]
    max_head_dim: int
    max_batch_heads: int
    dtypes: Mapping[Kernels, tuple[str, ...]]

    def refusal(
        self,
        *,
        head_dim: int = 1,
        batch_heads: int = 0,
        block_size: int | None = None,
        dtype: str | None = None,
        kernels: Kernels = "fused",
    ) -> str | None:
        """Return what the kernels expected instead, or None if they take what is given."""
        if dtype is not None and dtype not in (dtypes := self.dtypes[kernels]):
            return f"expected {' or '.join(dtypes)} on {self.device}, got {dtype}"
        if not 1 <= head_dim <= self.max_head_dim:
            return (
                f"expected a head width D from 1 to {self.max_head_dim} on {self.device}, "
                f"got {head_dim}"
            )
        if batch_heads > self.max_batch_heads:
            return (
                f"expected at most {self.max_batch_heads} batch items times heads on "
                f"{self.device}, got {batch_heads}"
            )
        if block_size is not None and block_size not in self.block_sizes:
            *most, last = map(str, self.block_sizes)
            return (
                f"expected blocks of {', '.join(most)} or {last} tokens on {self.device}, "
                f"got {block_size}"
            )
        return None


LIMITS: Mapping[str, KernelLimits] = {
    "cpu": KernelLimits(
        device="CPU",
        block_sizes=(8, 16, 32, 64, 128),
        max_head_dim=256,
        max_batch_heads=2**31 - 1,
        dtypes={
            "fused": ("float32", "float64", "bfloat16", "float16"),
            "pipeline": ("float32", "float64"),
            "map": ("float32", "float64"),
        },
    ),
    # Tensor cores work on 16 rows at a time; batch items times heads are the y of a grid; tiles of
    # 128 columns fill the shared memory. Every GPU from compute capability 8.0 on takes the same.
    "cuda": KernelLimits(
        device="CUDA",
        block_sizes=(16, 32, 64, 128),
        max_head_dim=128,
        max_batch_heads=65535,
        dtypes={
            "fused": ("float32", "bfloat16", "float16"),
            "pipeline": ("float32", "bfloat16", "float16"),
            "map": ("float32",),
        },
    ),
}
