"""The classifier: one encoder and a small head, for one sequence or a pair of them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spion_bench.model.attention import Attention
from spion_bench.model.encoder import Encoder, EncoderLayer, MakeAttention
from spion_bench.records.settings import ModelConfig

_PAIR_VECTORS = {"products": 4, "concatenated": 2}


class Classifier(nn.Module):
    """Encoder, then ``Linear -> ReLU -> Linear`` (SPION code: ``models/model_LRA.py``).

    A pair of sequences runs through the same encoder, one after the other, and the head sees
    ``[a, b, a * b, a - b]``, or ``[a, b]`` if ``config.pair_features`` says so. The same torch seed
    gives the same weights for every method.
    """

    def __init__(self, config: ModelConfig, make_attention: MakeAttention) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config, make_attention)
        n_vectors = _PAIR_VECTORS[config.pair_features] if config.two_towers else 1
        self.head_in = nn.Linear(n_vectors * config.embedding_dim, config.hidden_dim)
        self.head_out = nn.Linear(config.hidden_dim, config.n_classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits ``[B, n_classes]``.

        Args:
            tokens: int64 ``[B, L]``, or ``[B, 2, L]`` for pairs.

        Raises:
            ValueError: If ``tokens`` has a different dtype or shape.
        """
        self._check(tokens)
        if self.config.two_towers:
            first, second = self.encoder(tokens[:, 0]), self.encoder(tokens[:, 1])
            features = [first, second]
            if self.config.pair_features == "products":
                features += [first * second, first - second]
            pooled = torch.cat(features, dim=1)
        else:
            pooled = self.encoder(tokens)
        logits: Tensor = self.head_out(F.relu(self.head_in(pooled)))
        return logits

    def attention_layers(self) -> list[Attention]:
        """Return the attention modules, first layer first."""
        layers = [layer for layer in self.encoder.layers if isinstance(layer, EncoderLayer)]
        return [layer.attention for layer in layers]

    def parameter_count(self) -> int:
        """Return the number of trained numbers."""
        return sum(parameter.numel() for parameter in self.parameters())

    def size_bytes(self) -> int:
        """Return the bytes that the weights and buffers take."""
        return sum(weight.nbytes for weight in self.state_dict().values())

    def _check(self, tokens: Tensor) -> None:
        expected = "[B, 2, L]" if self.config.two_towers else "[B, L]"
        is_pair = tokens.ndim == 3 and tokens.shape[1] == 2
        fits = is_pair if self.config.two_towers else tokens.ndim == 2
        if tokens.dtype != torch.int64 or not fits:
            raise ValueError(
                f"tokens: expected int64 {expected} (two_towers={self.config.two_towers}), got "
                f"{tokens.dtype} {list(tokens.shape)}"
            )
