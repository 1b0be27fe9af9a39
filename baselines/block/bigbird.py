"""BigBird's attention: a window, global blocks and random blocks.

Zaheer et al., "Big Bird: Transformers for Longer Sequences", 2020 (arXiv 2007.14062, section 2):
blocks of tokens attend to their neighbours, to the first and last block, and to random blocks; the
first and last block attend to all (its internal transformer construction, ITC). ``block_gather``
computes it: O(L) time and memory; no ``[L, L]`` matrix is ever built. Deviations:

- Random blocks are the same for all heads, in training and in evaluation, and at every step; seed
  and layer fix them. The published code draws them per head.
- A length that is no multiple of the block size is padded inside; the last block is then short.
"""

from __future__ import annotations

from typing import ClassVar

from baselines.block.gathered import GatheredBlocks
from spion_bench.model.attention import Capabilities


class BigBird(GatheredBlocks):
    """Exact attention over BigBird's blocks; on short sequences they become all blocks.

    Args:
        block_size: Tokens in a block; 64 as published.
        n_window: Blocks of the window in each row.
        n_random: Random blocks in each row; 3 as published.
        random_tokens: Random blocks lie in the first so many tokens; None: anywhere, as published.
        seed: Seed of the random blocks.
        layer: Number of the layer, which draws blocks of its own.
    """

    capabilities: ClassVar[Capabilities] = Capabilities()
    caveats: ClassVar[tuple[str, ...]] = (
        "random blocks are the same for all heads, and fixed by seed and layer",
        "the first and last block take the place of global tokens (ITC); no token is added",
        "plain PyTorch: gathered key blocks; scores are computed twice to save memory",
    )

    def __init__(
        self,
        block_size: int = 64,
        n_window: int = 3,
        n_random: int = 3,
        random_tokens: int | None = None,
        seed: int = 0,
        layer: int = 0,
    ) -> None:
        super().__init__(
            "bigbird_block",
            block_size,
            layer,
            n_window=n_window,
            n_random=n_random,
            random_tokens=random_tokens,
            seed=seed,
        )
