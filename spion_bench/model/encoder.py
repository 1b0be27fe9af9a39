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
from spion_bench.ops import dropout
from spion_bench.records.settings import ModelConfig

PAD_ID = 0
EMBEDDING_STD = 0.02
DROPOUTS_PER_LAYER = 3
MAX_SEED = 2**62  # numbers are added to it

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
        self.qkv = nn.Linear(config.embedding_dim, 3 * width)
        self.attention = attention
        self.attention_out = nn.Linear(width, config.embedding_dim)
        self.feed_forward_norm = nn.LayerNorm(config.embedding_dim)
        self.feed_forward_in = nn.Linear(config.embedding_dim, config.hidden_dim)
        self.feed_forward_out = nn.Linear(config.hidden_dim, config.embedding_dim)

    def forward(self, x: Tensor, key_padding_mask: Tensor | None, seed: int = 0) -> Tensor:
        """Return the layer's output; ``x`` and it are ``[B, L, embedding_dim]``.

        In training, three masks of dropout are drawn from ``seed`` and the two numbers after it.
        """
        projected = self.qkv(self.attention_norm(x)).unflatten(2, (3, self.heads, -1))
        # Views, [B, H, L, D]; where they are taken apart decides that their gradients are put
        # together by one copy.
        q, k, v = (part.transpose(1, 2) for part in projected.unbind(2))
        attended = self.attention(q, k, v, key_padding_mask).transpose(1, 2).flatten(2)
        x = x + self._drop(self.attention_out(attended), seed)
        hidden = F.gelu(self.feed_forward_in(self.feed_forward_norm(x)))
        hidden = self._drop(hidden, seed + 1)
        return x + self._drop(self.feed_forward_out(hidden), seed + 2)

    def _drop(self, x: Tensor, seed: int) -> Tensor:
        return dropout(x, p=self.dropout, seed=seed) if self.training else x


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
        return self._encode(tokens, self._draw_seed())

    def _draw_seed(self) -> int:
        """Return a seed for the dropout of one forward pass, from torch's generator of the CPU."""
        return int(torch.randint(MAX_SEED, ())) if self.training and self.config.dropout else 0

    def _encode(self, tokens: Tensor, seed: int) -> Tensor:
        is_token = tokens != PAD_ID
        x = self.word_embedding(tokens) + self.position_embedding.weight[: tokens.shape[1]]
        if self.training:
            x = dropout(x, p=self.config.dropout, seed=seed)
        mask = is_token if self.config.mask_attention else None
        for index, layer in enumerate(self.layers):
            x = layer(x, mask, seed + 1 + index * DROPOUTS_PER_LAYER)
        x = self.final_norm(x)
        return mean_pool(x, is_token if self.config.mask_pooling else None)


def mean_pool(x: Tensor, is_token: Tensor | None) -> Tensor:
    """Average ``x`` ``[B, L, E]`` over all L positions, padding counted as zeros where given."""
    if is_token is not None:
        x = x * is_token.unsqueeze(2)
    return x.mean(dim=1)
