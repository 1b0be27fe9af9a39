"""How the operators' Python halves are registered: fake kernel, autograd and autocast rules.

The C++ half (``csrc``) defines the schemas and the CPU kernels; PyTorch needs the rest from Python
before ``torch.compile``, ``backward`` and ``autocast`` can work with an operator.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from spion_bench.native import library

Kernels = Literal["cpu", "cuda"]
EMULATED = library.EMULATED.name  # CUDA kernels on CPU tensors
_KEPT: list[torch.library.Library] = []  # a rule ends with its Library


def register_operator(
    name: str,
    *,
    fake: Callable[..., Any],
    backward: Callable[..., Any] | None = None,
    setup_context: Callable[..., None] | None = None,
    takes_half: tuple[Kernels, ...] = (),
) -> None:
    """Register the Python half of ``torch.ops.spion_bench.<name>`` once its library is loaded.

    The same half serves the emulated operator.

    Under ``torch.autocast`` the operator takes autocast's dtype where its kernels do, and float32
    elsewhere. A backward operator gets what the forward pass saved, and nothing is cast.

    Args:
        name: Operator name as in ``csrc/schema.cpp``.
        fake: Returns empty outputs of the right shape, for tracing.
        backward: Gradient formula ``(ops, ctx, *grads)``; ``ops`` is the namespace of ``torch.ops``
            that the forward pass ran in. Without one, a backward pass through the operator raises.
        setup_context: What the forward pass saves for ``backward``.
        takes_half: The kernels that take 16-bit floats.
    """

    def refuse(ops: Any, ctx: Any, *grads: Any) -> None:
        raise RuntimeError(f"{name} is not differentiable")

    def register(namespace: str) -> None:
        op = f"{namespace}::{name}"
        gradient = partial(backward or refuse, getattr(torch.ops, namespace))
        torch.library.register_fake(op, fake)
        torch.library.register_autograd(op, gradient, setup_context=setup_context)
        if name.endswith("_backward"):
            return
        for device in ("cpu", "cuda"):
            runs: Kernels = "cuda" if device == "cuda" or namespace == EMULATED else "cpu"
            if runs in takes_half:
                _follow_autocast(namespace, name, device)
            else:
                torch.library.register_autocast(op, device, torch.float32)

    for loaded in (library.CPU, library.EMULATED):
        loaded.after_load(partial(register, loaded.name))


def _follow_autocast(namespace: str, name: str, device: str) -> None:
    """Let an operator take autocast's dtype; ``register_autocast`` would fix one for good."""
    operator = getattr(getattr(torch.ops, namespace), name).default
    key = f"Autocast{torch._C._dispatch_key_for_device(device)}"
    autocast = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, key))

    def cast(value: Any) -> Any:
        is_cast = (
            isinstance(value, Tensor) and value.is_floating_point() and value.dtype != torch.float64
        )
        return value.to(torch.get_autocast_dtype(device)) if is_cast else value

    def kernel(*arguments: Any) -> Any:
        with torch._C._ExcludeDispatchKeyGuard(autocast):
            return operator(*map(cast, arguments))

    rules = torch.library.Library(namespace, "FRAGMENT")  # type: ignore[no-untyped-call]
    rules.impl(name, kernel, key)  # type: ignore[no-untyped-call]
    _KEPT.append(rules)


def with_contiguous_rows(x: Tensor) -> Tensor:
    """Return ``x: [B, H, L, D]``, copied only if its last dimension is not contiguous.

    Gradients come in any layout, for instance expanded from a sum.
    """
    # Not x.contiguous(): it returns a tensor without elements as it is, whatever its strides.
    return x if x.stride(3) == 1 else x.clone(memory_format=torch.contiguous_format)
