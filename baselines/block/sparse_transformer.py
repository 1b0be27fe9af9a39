"""Sparse Transformer's attention: local blocks, and blocks a stride apart or at fixed places.

Child et al., "Generating Long Sequences with Sparse Transformers", 2019 (arXiv 1904.10509, section
4.2 and 5.2: both parts in each head). O(L * sqrt(L)) time with a stride of the root of the length.
Deviations:

- The paper's model is causal; here every token also sees later ones, as an encoder needs.
- The pattern is one of whole blocks (``block_patterns``), as in the paper's block-sparse kernels,
  but the stride is counted in blocks, not in tokens.
- The paper's kernels are for GPUs; here key blocks are gathered in plain PyTorch. The same pattern
  on the suite's kernel is ``spion+strided`` and ``spion+fixed``.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from baselines.block.gathered import GatheredBlocks
from spion_bench.model.attention import Capabilities


class SparseTransformer(GatheredBlocks):
    """Exact attention over the strided or the fixed pattern.

    Args:
        pattern: ``"strided"`` or ``"fixed"``.
        block_size: Tokens in a block.
        stride: Stride in blocks; None: the root of the number of blocks.
    """

    capabilities: ClassVar[Capabilities] = Capabilities()
    caveats: ClassVar[tuple[str, ...]] = (
        "not causal, unlike the paper's model: tokens see later ones too",
        "the stride is counted in blocks; with it the cost grows as L to the power of 1.5",
        "plain PyTorch: gathered key blocks; scores are computed twice to save memory",
    )

    def __init__(
        self,
        pattern: Literal["strided", "fixed"] = "strided",
        block_size: int = 64,
        stride: int | None = None,
    ) -> None:
        super().__init__(pattern, block_size, stride=stride)
