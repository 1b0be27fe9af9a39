"""Converts Hugging Face models through transformers' attention interface (5.x)."""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor, nn

from spion_bench.conversion.layer import SUBMODULE, ConvertedAttention
from spion_bench.model.attention import dense_attention

INTERFACE = "spion"


def is_model(model: nn.Module) -> bool:
    """Whether ``model`` is a Hugging Face model with a choice of attention."""
    return hasattr(model, "set_attn_implementation")


def attention_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Return the self-attention modules that call the attention interface, by name."""
    return {name: module for name, module in model.named_modules() if _is_self_attention(module)}


def use_interface(model: nn.Module) -> None:
    """Register SPION with transformers and make ``model`` use it.

    Raises:
        ValueError: If the model does not support the attention interface.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import flash_attention_mask

    AttentionInterface.register(INTERFACE, _attention)
    # The mask of flash attention: bool [B, L] of real tokens, or None where all are.
    AttentionMaskInterface.register(INTERFACE, flash_attention_mask)
    model.set_attn_implementation(INTERFACE)  # type: ignore[operator]


def _is_self_attention(module: nn.Module) -> bool:
    forward = inspect.unwrap(type(module).forward)
    names = getattr(forward, "__code__", None)
    calls_interface = names is not None and "ALL_ATTENTION_FUNCTIONS" in names.co_names
    return calls_interface and "encoder_hidden_states" not in inspect.signature(forward).parameters


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    is_causal: bool | None = None,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    if sliding_window is not None:
        raise ValueError(
            f"sliding_window: expected None, got {sliding_window}; SPION learns its own pattern: "
            "configure the model without a window"
        )
    mask = None if attention_mask is None else attention_mask.bool()
    causal = is_causal if is_causal is not None else getattr(module, "is_causal", False)

    def dense() -> tuple[Tensor, None]:
        return join(dense_attention(query, key, value, mask, dropout, causal, scaling))

    def join(out: Tensor) -> tuple[Tensor, None]:
        return out.transpose(1, 2), None

    layer = getattr(module, SUBMODULE, None)
    if layer is None:
        return dense()
    assert isinstance(layer, ConvertedAttention)
    return layer.attend(
        query,
        key,
        value,
        dense=dense,
        join=join,
        key_padding_mask=mask,
        scale=scaling,
        dropout_p=dropout,
        causal=causal,
    )
