"""BigBird's attention as Hugging Face's transformers computes it.

Zaheer et al., "Big Bird: Transformers for Longer Sequences", 2020 (arXiv 2007.14062): blocks of
tokens attend to their neighbours, to the first and last block, and to random blocks; the first and
last block attend to all. The module is ``BigBirdBlockSparseAttention`` of
``transformers.models.big_bird.modeling_big_bird``, defects included; see the caveats.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from baselines.hugging_face.modules import EXTRA, Given, HuggingFaceAttention
from baselines.shared.third_party import load_optional
from spion_bench.model.attention import Capabilities, UnsupportedError


class BigBirdHF(HuggingFaceAttention):
    """Window, global and random blocks through ``BigBirdBlockSparseAttention``.

    Args:
        block_size: Tokens in a block; 64 is the module's default.
        n_random: Random blocks in a block row; 3 is the module's default.
        layer: Number of the layer, which seeds its random blocks as ``BigBirdModel`` does it.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(dtypes=(torch.float32,), exact=False)
    caveats: ClassVar[tuple[str, ...]] = (
        "transformers' module as it is; its projections are replaced by the suite's q, k and v",
        "always builds a dense [B, H, L, L] matrix that nothing needs, so its memory and part of "
        "its time grow with the square of L",
        "evaluates another function than it trains: in evaluation all random blocks are block 0, "
        "which then counts more than once in the softmax",
        "draws its random blocks again in every training pass, from NumPy's global stream that it "
        "reseeds with the layer's number; here inside a fence",
        "at lengths 1024, 3072 and 4096 its random blocks lie in the first 1024 tokens only",
        "masks by adding -10000 to scores; its output is 0 at padding",
        "runs on multiples of the block size above (5 + 2 n_random) blocks only; below that the "
        "library's models fall back to dense attention",
    )

    def __init__(self, block_size: int = 64, n_random: int = 3, layer: int = 0) -> None:
        super().__init__()
        if block_size < 1:
            raise ValueError(f"block_size: expected at least 1 token, got {block_size}")
        if n_random < 1:
            raise ValueError(
                f"n_random: expected at least 1 random block, got {n_random}; the module cannot "
                "do without"
            )
        self.block_size = block_size
        self.n_random = n_random
        self.layer = layer
        self._library = load_optional("transformers.models.big_bird.modeling_big_bird", extra=EXTRA)

    def check_length(self, length: int) -> None:
        """Raise UnsupportedError if the library would fail or fall back to dense attention."""
        longest_dense = (5 + 2 * self.n_random) * self.block_size
        if length % self.block_size or length <= longest_dense:
            raise UnsupportedError(
                f"BigBirdBlockSparseAttention with blocks of {self.block_size} tokens and "
                f"{self.n_random} random ones needs a multiple of the block size above "
                f"{longest_dense} tokens, got {length}"
            )

    def n_scores(self, length: int, heads: int) -> int:
        """Return the scores that the module computes, all heads together.

        The first and last block row see all blocks, their neighbours four and the random ones, all
        others five and the random ones.
        """
        n_blocks = length // self.block_size
        per_row = 5 + self.n_random
        kept = 2 * n_blocks + 2 * (per_row - 1) + (n_blocks - 4) * per_row
        return heads * kept * self.block_size**2

    def build(self, heads: int, length: int, head_dim: int) -> nn.Module:
        """Return the library's module, without parameters of its own."""
        config = self._library.BigBirdConfig(
            hidden_size=heads * head_dim,
            num_attention_heads=heads,
            block_size=self.block_size,
            num_random_blocks=self.n_random,
            max_position_embeddings=length,
            attention_probs_dropout_prob=0.0,
        )
        module: nn.Module = self._library.BigBirdBlockSparseAttention(config, seed=self.layer)
        module.query = nn.Identity()
        return module

    def attend(self, q: Tensor, k: Tensor, v: Tensor, key_padding_mask: Tensor | None) -> Tensor:
        """Call the module on ``q k v`` of shape ``[B, L, H * D]``; return the same shape."""
        self.module.key, self.module.value = Given(k), Given(v)
        mask = q.new_ones(q.shape[:2]) if key_padding_mask is None else key_padding_mask.to(q.dtype)
        blocked, band, rows, columns = (
            self._library.BigBirdModel.create_masks_for_block_sparse_attn(mask, self.block_size)
        )
        out, _ = self.module(
            q,
            band_mask=band,
            from_mask=rows,
            to_mask=columns,
            from_blocked_mask=blocked,
            to_blocked_mask=blocked,
        )
        assert isinstance(out, Tensor)
        return out
