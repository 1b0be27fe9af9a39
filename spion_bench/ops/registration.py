"""How the operators' Python halves are registered: fake kernel, autograd and autocast rules.

The C++ half (``csrc``) defines the schemas and the CPU kernels; PyTorch needs the rest from Python
before ``torch.compile``, ``backward`` and ``autocast`` can work with an operator.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from spion_bench.native import library


def register_operator(
    name: str,
    *,
    fake: Callable[..., Any],
    backward: Callable[..., Any] | None = None,
    setup_context: Callable[..., None] | None = None,
) -> None:
    """Register the Python half of ``torch.ops.spion_bench.<name>`` once its library is loaded.

    The same half serves the emulated operator.

    Under ``torch.autocast`` the operator computes in float32, as the published code does (its
    attention runs with autocast off).

    Args:
        name: Operator name as in ``csrc/schema.cpp``.
        fake: Returns empty outputs of the right shape, for tracing.
        backward: Gradient formula ``(ops, ctx, *grads)``; ``ops`` is the namespace of ``torch.ops``
            that the forward pass ran in. Without one, a backward pass through the operator raises.
        setup_context: What the forward pass saves for ``backward``.
    """

    def refuse(ops: Any, ctx: Any, *grads: Any) -> None:
        raise RuntimeError(f"{name} is not differentiable")

    def register(namespace: str) -> None:
        op = f"{namespace}::{name}"
        gradient = partial(backward or refuse, getattr(torch.ops, namespace))
        torch.library.register_fake(op, fake)
        torch.library.register_autograd(op, gradient, setup_context=setup_context)
        for device in ("cpu", "cuda"):
            torch.library.register_autocast(op, device, torch.float32)

    for loaded in (library.CPU, library.EMULATED):
        loaded.after_load(partial(register, loaded.name))


def with_contiguous_rows(x: Tensor) -> Tensor:
    """Return ``x: [B, H, L, D]``, copied only if its last dimension is not contiguous.

    Gradients come in any layout, for instance expanded from a sum.
    """
    # Not x.contiguous(): it returns a tensor without elements as it is, whatever its strides.
    return x if x.stride(3) == 1 else x.clone(memory_format=torch.contiguous_format)
