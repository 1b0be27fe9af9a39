"""Longformer's attention as Hugging Face's transformers computes it.

Beltagy et al., "Longformer: The Long-Document Transformer", 2020 (arXiv 2004.05150): every token
attends to a window around it and to a few global tokens, which attend to all. The module is
``LongformerSelfAttention`` of ``transformers.models.longformer.modeling_longformer``. Deviation:
the paper projects global tokens with weights of their own; here they share the suite's
projections: every method has the same parameters.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from baselines.hugging_face.modules import EXTRA, Given, HuggingFaceAttention
from baselines.shared.band import check_window, window_mask
from baselines.shared.numbers import check_at_least
from baselines.shared.third_party import load_optional
from spion_bench.model.attention import Capabilities, UnsupportedError

MASK = 10_000.0  # the module's mask: below 0 is padding, above 0 a global token


class Clone(nn.Module):
    """Stands for the query projection: the module divides its result in place."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Return a copy."""
        return hidden_states.clone()


class LongformerHF(HuggingFaceAttention):
    """Window attention and global tokens through ``LongformerSelfAttention``.

    Args:
        window: Tokens of the window, half on either side, and the token itself
            besides; even. 512 is the default of the module and of Long Range Arena.
        n_global: How many tokens are global: the first ones.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(dtypes=(torch.float32,), padded_rows=False)
    caveats: ClassVar[tuple[str, ...]] = (
        "transformers' module as it is; its projections are replaced by the suite's q, k and v",
        "its separate projections of global tokens are not used: no parameters beyond the suite's",
        "computes chunks of twice the window and masks the rest: about twice the needed products",
        "its output is 0 at padding, where other methods attend to the real tokens",
        "runs on lengths that are multiples of the window only",
    )

    def __init__(self, window: int = 512, n_global: int = 0) -> None:
        super().__init__()
        check_window(window)
        check_at_least(0, n_global=n_global)
        self.window = window
        self.n_global = n_global
        self._library = load_optional(
            "transformers.models.longformer.modeling_longformer", extra=EXTRA
        )

    def check_length(self, length: int) -> None:
        """Raise UnsupportedError unless ``length`` is a multiple of the window."""
        if length % self.window:
            raise UnsupportedError(
                f"LongformerSelfAttention needs a length that is a multiple of the window of "
                f"{self.window} tokens, got {length}"
            )

    def token_mask(self, length: int, heads: int) -> Tensor:
        """Return the window and the global tokens, bool ``[L, L]``."""
        mask = window_mask(length, self.window // 2)
        mask[: self.n_global] = True
        mask[:, : self.n_global] = True
        return mask

    def build(self, heads: int, length: int, head_dim: int) -> nn.Module:
        """Return the library's module, without parameters of its own."""
        config = self._library.LongformerConfig(
            hidden_size=heads * head_dim,
            num_attention_heads=heads,
            attention_window=[self.window],
            attention_probs_dropout_prob=0.0,
        )
        module: nn.Module = self._library.LongformerSelfAttention(config, layer_id=0)
        module.query = Clone()
        for name in ("query_global", "key_global", "value_global"):
            setattr(module, name, nn.Identity())
        return module

    def attend(self, q: Tensor, k: Tensor, v: Tensor, key_padding_mask: Tensor | None) -> Tensor:
        """Call the module on ``q k v`` of shape ``[B, L, H * D]``; return the same shape."""
        for name, x in (("key", k), ("value", v)):
            turned = x.transpose(0, 1)  # the module works on [L, B, H * D]
            setattr(self.module, name, Given(turned))
            if self.n_global > 0:
                setattr(self.module, f"{name}_global", Given(turned))
        mask = q.new_zeros(q.shape[:2])
        mask[:, : self.n_global] = MASK
        if key_padding_mask is not None:
            mask = mask.masked_fill(~key_padding_mask, -MASK)
        (out,) = self.module(
            q,
            attention_mask=mask,
            is_index_masked=mask < 0,
            is_index_global_attn=mask > 0,
            is_global_attn=self.n_global > 0,
        )
        assert isinstance(out, Tensor)
        return out
