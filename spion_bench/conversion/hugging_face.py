"""Converts Hugging Face models through transformers' attention interface (5.x)."""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor, nn

from spion_bench.conversion.layer import SUBMODULE, Call, ConvertedAttention
from spion_bench.model.attention import dense_attention

INTERFACE = "spion"
CHANGE_SCORES = ("softcap", "s_aux", "position_bias")
_WEIGHTS = (
    "output_attentions: expected False, got True; block-sparse attention stores no weights, the "
    "controller's stages hold the pooled maps"
)
CROSS = ("encoder_attn", "crossattention", "EncDecAttention")


def is_model(model: nn.Module) -> bool:
    """Whether ``model`` is a Hugging Face model with a choice of attention."""
    return hasattr(model, "set_attn_implementation")


def attention_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Return the self-attention modules that call the attention interface, by name."""
    return {
        name: module
        for name, module in model.named_modules()
        if _is_self_attention(module) and name.rpartition(".")[2] not in CROSS
    }


def use_interface(model: nn.Module) -> None:
    """Register SPION with transformers and make ``model`` use it.

    Raises:
        ValueError: If the model does not support the attention interface, or is to return weights.
    """
    if getattr(getattr(model, "config", None), "output_attentions", False):
        raise ValueError(_WEIGHTS)
    from transformers import AttentionInterface, AttentionMaskInterface, masking_utils

    plain = (masking_utils.causal_mask_function, masking_utils.bidirectional_mask_function)

    def mask(*args: Any, mask_function: Any = plain[0], **kwargs: Any) -> Any:
        """Return flash attention's mask: bool [B, L] of real tokens, or None where all are."""
        if mask_function not in plain:
            raise ValueError(
                "attention_mask: expected key padding, got a mask that differs between queries "
                "(packed sequences, windows or chunks); SPION learns its own pattern"
            )
        return masking_utils.flash_attention_mask(*args, mask_function=mask_function, **kwargs)

    AttentionInterface.register(INTERFACE, _attention)
    AttentionMaskInterface.register(INTERFACE, mask)
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
    **others: Any,
) -> tuple[Tensor, None]:
    if sliding_window is not None:
        raise ValueError(
            f"sliding_window: expected None, got {sliding_window}; SPION learns its own pattern: "
            "configure the model without a window"
        )
    changing = [name for name in CHANGE_SCORES if others.get(name) is not None]
    if changing:
        raise ValueError(
            f"{', '.join(changing)}: expected None; a converted layer computes plain softmax "
            "attention"
        )
    if others.get("output_attentions"):
        raise ValueError(_WEIGHTS)
    if attention_mask is not None and attention_mask.ndim != 2:
        raise ValueError(
            f"attention_mask: expected [B, L], True or 1 for real tokens, got "
            f"{list(attention_mask.shape)}"
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
    call = Call(query, key, value, mask, scaling, dropout, causal)
    return layer.attend(call, dense=dense, join=join)
