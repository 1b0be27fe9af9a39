"""SPION's kernel on the patterns of other methods: separates pattern and kernel."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from baselines.block.patterned import PatternedAttention
from spion_bench.block_pattern import BlockPattern
from spion_bench.model.attention import Capabilities
from spion_bench.ops import block_attention


class SpionKernel(PatternedAttention):
    """``block_attention`` on another method's pattern; pruned scores do not exist."""

    capabilities: ClassVar[Capabilities] = Capabilities()
    caveats: ClassVar[tuple[str, ...]] = (
        "another method's pattern on SPION's kernel: it shows what the pattern is worth, not how "
        "fast that method's own code is",
        "the pattern is that of whole blocks, and one for all heads",
    )

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, pattern: BlockPattern
    ) -> Tensor:
        """Return the attention of sequences as long as the pattern, under a key padding mask."""
        return block_attention(q, k, v, pattern, pruned="minus_inf", key_padding_mask=mask)
