"""Converts modules that call ``scaled_dot_product_attention``, ``nn.MultiheadAttention`` included.

A forward pre-hook puts a torch function mode in place that takes over the module's one call; the
forward hook removes it. Hooks also keep PyTorch's encoder layers off their fused inference path,
which would pass by the module.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from spion_bench.conversion.layer import SUBMODULE, Call, ConvertedAttention

_MULTI_HEAD = inspect.signature(F.multi_head_attention_forward)


class _TakeOver(TorchFunctionMode):
    """Passes a module's attention on to a converted layer, and counts its calls."""

    def __init__(self, layer: ConvertedAttention) -> None:
        super().__init__()
        self.layer = layer
        self.n_calls = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        attend: Callable[..., Any]
        if func is F.scaled_dot_product_attention:
            attend = _attend
        elif func is F.multi_head_attention_forward:
            attend = _attend_with_projections
        else:
            return func(*args, **kwargs)
        self.n_calls += 1
        return attend(self.layer, lambda: func(*args, **kwargs), *args, **kwargs)


class _Hooks:
    """The two hooks of a converted module; a copy of the model copies them with their layer."""

    def __init__(self, layer: ConvertedAttention) -> None:
        self.layer = layer
        self.modes: list[_TakeOver] = []

    def enter(self, module: nn.Module, args: Any) -> None:
        mode = _TakeOver(self.layer)
        self.modes.append(mode)
        mode.__enter__()  # type: ignore[no-untyped-call]

    def leave(self, module: nn.Module, args: Any, output: Any) -> None:
        mode = self.modes.pop()
        mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        # After an exception inside the forward pass there is no output: let it pass.
        if output is not None and mode.n_calls != 1:
            raise RuntimeError(
                f"{self.layer.name}: expected one call of scaled_dot_product_attention in a "
                f"forward pass, got {mode.n_calls}; name the modules that call it once"
            )


def convert(module: nn.Module, layer: ConvertedAttention) -> None:
    """Let ``layer`` take over the call of ``scaled_dot_product_attention`` inside ``module``."""
    hooks = _Hooks(layer)
    module.add_module(SUBMODULE, layer)
    module.register_forward_pre_hook(hooks.enter)
    module.register_forward_hook(hooks.leave, always_call=True)


def _attend(
    layer: ConvertedAttention,
    dense: Callable[[], Tensor],
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    mask = _key_padding(layer.name, attn_mask, query)
    call = Call(query, key, value, mask, scale, dropout_p, is_causal)
    return layer.attend(call, dense=dense, join=lambda out: out)


def _attend_with_projections(
    layer: ConvertedAttention, dense: Callable[[], tuple[Tensor, None]], *args: Any, **kwargs: Any
) -> tuple[Tensor, None]:
    """Do what ``F.multi_head_attention_forward`` does; its sequences come as ``[L, B, E]``."""
    bound = _MULTI_HEAD.bind(*args, **kwargs)
    bound.apply_defaults()
    call = bound.arguments
    _check_multi_head(layer.name, call)
    mask = call["key_padding_mask"]
    if mask is not None:
        mask = ~mask if mask.dtype == torch.bool else _kept(layer.name, mask)
    layer.check_lengths(call["query"].shape[0], call["key"].shape[0])
    if not layer.needs_heads:
        return dense()
    weights = call["in_proj_weight"].chunk(3)
    biases = [None] * 3 if call["in_proj_bias"] is None else call["in_proj_bias"].chunk(3)
    inputs = (call[name] for name in ("query", "key", "value"))
    if layer.pattern is None:
        # A map needs no gradient; and a forward pass that is computed again, for checkpointed
        # activations, is not watched again and has to save the same tensors.
        inputs = (x.detach() for x in inputs)
        weights = [weight.detach() for weight in weights]
        biases = [None if bias is None else bias.detach() for bias in biases]
    q, k, v = (
        _split_heads(F.linear(x, weight, bias), call["num_heads"])
        for x, weight, bias in zip(inputs, weights, biases, strict=True)
    )

    def join(out: Tensor) -> tuple[Tensor, None]:
        joined = out.permute(2, 0, 1, 3).flatten(2)
        return F.linear(joined, call["out_proj_weight"], call["out_proj_bias"]), None

    dropout_p = call["dropout_p"] if call["training"] else 0.0
    return layer.attend(Call(q, k, v, mask, None, dropout_p, False), dense=dense, join=join)


def _split_heads(x: Tensor, heads: int) -> Tensor:
    """View ``[L, B, H * D]`` as ``[B, H, L, D]``."""
    return x.view(x.shape[0], x.shape[1], heads, -1).permute(1, 2, 0, 3)


def _check_multi_head(name: str, call: Mapping[str, Any]) -> None:
    reasons = {
        "needs [B, L, E], got one sequence without a batch": call["query"].ndim != 3,
        "cannot return weights; pass need_weights=False": call["need_weights"],
        "takes key_padding_mask, no attn_mask": call["attn_mask"] is not None,
        "takes keys and values as wide as the queries": call["use_separate_proj_weight"],
        "takes no bias_k, bias_v, add_zero_attn, static_k or static_v": call["add_zero_attn"]
        or any(call[key] is not None for key in ("bias_k", "bias_v", "static_k", "static_v")),
    }
    for reason, applies in reasons.items():
        if applies:
            raise ValueError(f"{name}: a converted nn.MultiheadAttention {reason}")


def _kept(name: str, mask: Tensor) -> Tensor:
    """Return which keys a mask of 0 and "minus infinity" keeps.

    Raises:
        ValueError: If it has other values, which would add to scores.
    """
    kept = mask == 0
    _require(
        ~(kept ^ (mask > torch.finfo(mask.dtype).min)).any(),
        f"{name}: attn_mask, key_padding_mask: expected bool, or 0 and minus infinity; got "
        "values that add to scores",
    )
    return kept


def _require(holds: Tensor, message: str) -> None:
    """Raise unless ``holds``, a bool of a mask's values, is true.

    In a compiled function a ValueError would break the graph; there the graph raises RuntimeError.
    """
    if torch.compiler.is_compiling():
        torch._assert_async(holds, message)
    elif not bool(holds):
        raise ValueError(message)


def _key_padding(name: str, mask: Tensor | None, q: Tensor) -> Tensor | None:
    """Return the mask as bool ``[B, L]``.

    Raises:
        ValueError: If the mask is not the same for all queries and heads.
    """
    if mask is None:
        return None
    length = mask.shape[-1]
    by_row = mask.broadcast_to((*q.shape[:2], mask.shape[-2], length))
    keys = by_row[:, 0, 0, :]
    _require(
        (by_row == keys[:, None, None, :]).all(),
        f"{name}: attn_mask differs between queries or heads; a converted layer takes key "
        "padding, and causal attention as is_causal=True",
    )
    kept = keys if mask.dtype == torch.bool else _kept(name, keys)
    return kept.expand(q.shape[0], length)
