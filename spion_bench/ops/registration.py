"""How the operators' Python halves are registered: fake kernel, autograd and autocast rules.

The C++ half (``csrc``) defines the schemas and the CPU kernels; PyTorch needs the rest from Python
before ``torch.compile``, ``backward`` and ``autocast`` can work with an operator.

PyTorch does not apply registered gradients inside the transforms of ``torch.func``, and takes an
operator without a forward-mode derivative for a constant. There each operator runs as an
``autograd.Function`` instead, which knows both.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd import forward_ad

from spion_bench.native import library

Kernels = Literal["cpu", "cuda"]
EMULATED = library.EMULATED.name  # CUDA kernels on CPU tensors
_KEPT: list[torch.library.Library] = []  # a rule ends with its Library
# Of each loaded operator, by its qualified name.
_functions: dict[str, type[torch.autograd.Function]] = {}


def register_operator(
    name: str,
    fake: Callable[..., Any],
    backward: Callable[..., Any] | None = None,
    setup_context: Callable[..., None] | None = None,
    *,
    takes_half: tuple[Kernels, ...] = (),
) -> None:
    """Register the Python half of ``torch.ops.spion_bench.<name>`` once its library is loaded.

    The same half serves the emulated operator.

    Under ``torch.autocast`` the operator takes autocast's dtype where its kernels do, and float32
    elsewhere. A backward operator gets what the forward pass saved, and nothing is cast.

    Args:
        name: Operator name as in ``csrc/schema.cpp``.
        fake: Returns empty outputs of the right shape, for tracing.
        backward: Gradient formula ``(ops, ctx, *grads)``; ``ops`` has the operators of the library
            that the forward pass ran in. Without one, a backward pass through the operator raises.
        setup_context: What the forward pass saves for ``backward``.
        takes_half: The kernels that take 16-bit floats.
    """

    def refuse(ops: Any, ctx: Any, *grads: Any) -> None:
        raise RuntimeError(f"{name} is not differentiable")

    def register(namespace: str) -> None:
        op = f"{namespace}::{name}"
        gradient = partial(backward or refuse, _Operators(namespace))
        torch.library.register_fake(op, fake)
        torch.library.register_autograd(op, gradient, setup_context=setup_context)
        _functions[op] = _function_of(namespace, name, gradient, setup_context)
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


def operator(name: str) -> Any:
    """Return what to call for ``torch.ops.spion_bench.<name>`` of this backend.

    Raises:
        RuntimeError: If the backend lacks it.
    """
    return _transformable(library.operator(name))


def run(name: str, *arguments: Any) -> Tensor:
    """Return what ``operator(name)`` gives, for an operator of one result."""
    out: Tensor = operator(name)(*arguments)
    return out


def _transformable(op: Any) -> Any:
    is_transformed = torch._C._are_functorch_transforms_active()
    if is_transformed or forward_ad._current_level >= 0:
        return _functions[op._qualified_op_name].apply
    return op


class _Operators:
    """The operators of a namespace of ``torch.ops``."""

    def __init__(self, namespace: str) -> None:
        self._namespace = getattr(torch.ops, namespace)

    def __getattr__(self, name: str) -> Any:
        return _transformable(getattr(self._namespace, name))


def _function_of(
    namespace: str,
    name: str,
    gradient: Callable[..., Any],
    setup: Callable[..., None] | None,
) -> type[torch.autograd.Function]:
    op = getattr(getattr(torch.ops, namespace), name)

    class Operator(torch.autograd.Function):
        @staticmethod
        def forward(*args: Any) -> Any:
            return op(*args)

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            if setup is not None:
                setup(ctx, inputs, output)

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            return gradient(ctx, *grads)

        @staticmethod
        def jvp(ctx: Any, *tangents: Any) -> Any:
            raise NotImplementedError(
                f"{name} has no forward-mode derivative; take the reverse mode, e.g. "
                "torch.func.vjp or jacrev"
            )

        @staticmethod
        def vmap(info: Any, in_dims: tuple[Any, ...], *args: Any) -> tuple[Any, Any]:
            # One call for each, so that all see what they would see alone, also of dropout.
            def of(index: int) -> Any:
                chosen = (
                    x if dim is None else x.select(dim, index)
                    for x, dim in zip(args, in_dims, strict=True)
                )
                return Operator.apply(*chosen)  # type: ignore[no-untyped-call]

            outs = [of(index) for index in range(info.batch_size)]
            if isinstance(outs[0], Tensor):
                return torch.stack(outs), 0
            return tuple(map(torch.stack, zip(*outs, strict=True))), (0,) * len(outs[0])

    return Operator


def with_contiguous_rows(x: Tensor) -> Tensor:
    """Return ``x: [B, H, L, D]``, copied only if its last dimension is not contiguous.

    Gradients come in any layout, for instance expanded from a sum.
    """
    # Not x.contiguous(): it returns a tensor without elements as it is, whatever its strides.
    return x if x.stride(3) == 1 else x.clone(memory_format=torch.contiguous_format)
