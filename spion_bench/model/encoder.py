"""The Transformer encoder of SPION's experiments, with the attention method injected.

Pre-norm layers, learned positions, GELU, no attention dropout (SPION code:
``models/model_transformer.py``). Everything but the attention itself is the same for all methods.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spion_bench.model.attention import Attention
from spion_bench.records.settings import ModelConfig

PAD_ID = 0
EMBEDDING_STD = 0.02

MakeAttention = Callable[[int], Attention]


class EncoderLayer(nn.Module):
    """One pre-norm layer: attention, then a feed-forward network, each with a residual.

    ``x += dropout(Wo(attention(LN(x))))``, then ``x += dropout(W2(dropout(GELU(W1(LN(x))))))``.
    """

    def __init__(self, config: ModelConfig, attention: Attention) -> None:
        super().__init__()
        width = config.heads * config.head_dim
        self.heads = config.heads
        self.dropout = config.dropout
        self.attention_norm = nn.LayerNorm(config.embedding_dim)
        self.query = nn.Linear(config.embedding_dim, width)
        self.key = nn.Linear(config.embedding_dim, width)
        self.value = nn.Linear(config.embedding_dim, width)
        self.attention = attention
        self.attention_out = nn.Linear(width, config.embedding_dim)
        self.feed_forward_norm = nn.LayerNorm(config.embedding_dim)
        self.feed_forward_in = nn.Linear(config.embedding_dim, config.hidden_dim)
        self.feed_forward_out = nn.Linear(config.hidden_dim, config.embedding_dim)

    def forward(self, x: Tensor, key_padding_mask: Tensor | None) -> Tensor:
        """Return the layer's output; ``x`` and it are ``[B, L, embedding_dim]``."""
        normed = self.attention_norm(x)
        attended = self.attention(
            self._split_heads(self.query(normed)),
            self._split_heads(self.key(normed)),
            self._split_heads(self.value(normed)),
            key_padding_mask,
        )
        attended = attended.transpose(1, 2).flatten(2)
        x = x + self._drop(self.attention_out(attended))
        hidden = self._drop(F.gelu(self.feed_forward_in(self.feed_forward_norm(x))))
        return x + self._drop(self.feed_forward_out(hidden))

    def _split_heads(self, x: Tensor) -> Tensor:
        """View ``[B, L, H * D]`` as ``[B, H, L, D]`` without copying."""
        return x.view(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


class Encoder(nn.Module):
    """Token ids ``[B, L]`` to one vector per sequence, ``[B, embedding_dim]``.

    The sum of word and position embeddings runs through the layers and a final LayerNorm, is set
    to zero at padding if ``config.mask_pooling``, and is averaged over **all** positions, padding
    included, as in the published code.
    """

    def __init__(self, config: ModelConfig, make_attention: MakeAttention) -> None:
        super().__init__()
        self.config = config
        self.word_embedding = nn.Embedding(config.vocab_size, config.embedding_dim)
        self.position_embedding = nn.Embedding(config.max_length, config.embedding_dim)
        nn.init.normal_(self.word_embedding.weight, std=EMBEDDING_STD)
        nn.init.normal_(self.position_embedding.weight, std=EMBEDDING_STD)
        self.layers = nn.ModuleList()
        for index in range(config.layers):
            # A method may have parameters of its own. Drawing them inside a fence keeps the other
            # weights of a seed the same for every method.
            with torch.random.fork_rng(devices=[]):
                attention = make_attention(index)
            self.layers.append(EncoderLayer(config, attention))
        self.final_norm = nn.LayerNorm(config.embedding_dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Encode int64 ``tokens`` of shape ``[B, L]``; id 0 is padding.

        Raises:
            ValueError: If the sequence is longer than the position table.
        """
        length = tokens.shape[1]
        if length > self.config.max_length:
            raise ValueError(
                f"tokens: expected at most max_length={self.config.max_length} positions, got "
                f"{length}; raise max_length in the model's configuration or cut the sequence"
            )
        is_token = tokens != PAD_ID
        x = self.word_embedding(tokens) + self.position_embedding.weight[:length]
        x = F.dropout(x, self.config.dropout, self.training)
        for layer in self.layers:
            x = layer(x, is_token if self.config.mask_attention else None)
        x = self.final_norm(x)
        return mean_pool(x, is_token if self.config.mask_pooling else None)


def mean_pool(x: Tensor, is_token: Tensor | None) -> Tensor:
    """Average ``x`` ``[B, L, E]`` over all L positions, padding counted as zeros where given."""
    if is_token is not None:
        x = x * is_token.unsqueeze(2)
    return x.mean(dim=1)
