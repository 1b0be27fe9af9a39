"""Reformer's LSH attention as Hugging Face's transformers computes it.

Kitaev et al., "Reformer: The Efficient Transformer", 2020 (arXiv 2001.04451): tokens are hashed,
sorted by bucket and attend within chunks of the sorted order. Queries and keys are one tensor, here
the suite's q; k is ignored. The module is ``LSHSelfAttention`` of
``transformers.models.reformer.modeling_reformer``; neither its reversible layers nor its models are
used.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from baselines.hugging_face.modules import EXTRA, Given, HuggingFaceAttention
from baselines.lsh.reformer import lsh_scores
from baselines.shared.numbers import check_at_least
from baselines.shared.third_party import load_optional
from spion_bench.model.attention import Capabilities, UnsupportedError


class ReformerHF(HuggingFaceAttention):
    """LSH attention through ``LSHSelfAttention``.

    Args:
        chunk: Tokens in a chunk of the sorted order; 64 is the module's default.
        n_hashes: Rounds of hashing.
        layer: Number of the layer, which seeds its hashes.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(dtypes=(torch.float32,), exact=False)
    caveats: ClassVar[tuple[str, ...]] = (
        "transformers' module as it is; its projections are replaced by the suite's q, k and v",
        "queries serve as keys: the suite's key projection is idle, its parameters still count",
        "approximates: tokens of different buckets do not see each other",
        "its default draws new hashes in every pass from torch's global stream; here they are "
        "fixed per layer (hash_seed), which makes the module reseed that stream, inside a fence",
        "with padding it waits for the device in every pass to count the real tokens",
        "runs on multiples of the chunk above one chunk only; up to one chunk it would silently "
        "compute dense attention",
    )

    def __init__(self, chunk: int = 64, n_hashes: int = 2, layer: int = 0) -> None:
        super().__init__()
        check_at_least(1, chunk=chunk, n_hashes=n_hashes)
        self.chunk = chunk
        self.n_hashes = n_hashes
        self.layer = layer
        self._library = load_optional("transformers.models.reformer.modeling_reformer", extra=EXTRA)

    def check_length(self, length: int) -> None:
        """Raise UnsupportedError if the module would fail or compute dense attention."""
        if length % self.chunk or length <= self.chunk:
            raise UnsupportedError(
                f"LSHSelfAttention with chunks of {self.chunk} tokens needs a multiple of them "
                f"above one chunk, got {length}"
            )

    def n_scores(self, length: int, heads: int) -> int:
        """Return the scores of all chunks and rounds, all heads together."""
        return heads * lsh_scores(length, chunk=self.chunk, n_hashes=self.n_hashes)

    def build(self, heads: int, length: int, head_dim: int) -> nn.Module:
        """Return the library's module, without parameters of its own."""
        config = self._library.ReformerConfig(
            hidden_size=heads * head_dim,
            num_attention_heads=heads,
            attention_head_size=head_dim,
            lsh_attn_chunk_length=self.chunk,
            num_hashes=self.n_hashes,
            hash_seed=self.layer,
            max_position_embeddings=length,
            lsh_attention_probs_dropout_prob=0.0,
            is_decoder=False,
        )
        module: nn.Module = self._library.LSHSelfAttention(config, layer_idx=0)
        module.query_key = nn.Identity()
        return module

    def attend(self, q: Tensor, k: Tensor, v: Tensor, key_padding_mask: Tensor | None) -> Tensor:
        """Call the module on ``q k v`` of shape ``[B, L, H * D]``; return the same shape."""
        self.module.value = Given(v)
        out = self.module(q, attention_mask=key_padding_mask).hidden_states
        assert isinstance(out, Tensor)
        return out
