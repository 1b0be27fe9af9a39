"""CUDA tensors without a GPU: torch's fake tensors have a device, a dtype and a shape, no values.

What mixes devices raises, as on a GPU. ``HostWatch`` finds what a GPU would do silently and slowly:
tensors that are made on the host, which something then has to copy.

A build of torch without CUDA computes most forward passes this way and records no gradients. One
with CUDA records them, but its engine asks for a device: ``backward`` walks the recorded graph.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from spion_bench.native import library

CUDA = torch.device("cuda", 0)


@contextmanager
def fake_cuda() -> Iterator[FakeTensorMode]:
    """Make tensors fake; operators find fake kernels, and none is built for CUDA."""
    library.load()
    with (
        mock.patch.object(library, "load"),
        FakeTensorMode(allow_non_fake_inputs=True) as mode,
    ):
        yield mode


class HostWatch(TorchDispatchMode):
    """Notes every operation that reads or makes a tensor on the host.

    Attributes:
        found: Names of the operations, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        leaves = tree_leaves((args, kwargs, out))
        if any(isinstance(leaf, Tensor) and leaf.device.type == "cpu" for leaf in leaves):
            self.found.append(str(func))
        return out


def on_cuda(value: Any, made: dict[int, Any] | None = None) -> Any:
    """Return a copy of ``value`` in which every tensor is a fake one on the GPU.

    Modules, containers and data classes are followed, and the devices that they name: what a module
    has cached on the CPU is what it would have cached on a GPU. What was one object stays one.
    """
    made = {} if made is None else made
    if id(value) not in made:
        made[id(value)] = value, _on_cuda(value, made)  # held, or its id would be used again
    return made[id(value)][1]


def _on_cuda(value: Any, made: dict[int, Any]) -> Any:
    if isinstance(value, nn.Parameter):
        return nn.Parameter(on_cuda(value.detach(), made), value.requires_grad)
    if isinstance(value, Tensor):
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=CUDA)
    if isinstance(value, torch.device):
        return CUDA if value.type == "cpu" else value
    if isinstance(value, dict):
        return {on_cuda(key, made): on_cuda(item, made) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(on_cuda(item, made) for item in value)
    if is_data(value) or isinstance(value, nn.Module):
        copied = copy.copy(value)
        for name, item in vars(value).items():
            object.__setattr__(copied, name, on_cuda(item, made))
        return copied
    return value


def is_data(value: Any) -> bool:
    """Return whether ``value`` is an instance of a data class."""
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def held_tensors(value: Any) -> Iterator[Tensor]:
    """Yield every tensor that a module, a container or a data class holds."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from held_tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from held_tensors(item)
    elif is_data(value) or isinstance(value, nn.Module):
        yield from held_tensors(vars(value))


def backward(out: Tensor, gradient: Tensor) -> dict[Tensor, Tensor]:
    """Return the gradient of each leaf that ``out`` was computed from, without torch's engine.

    Every node of the graph is called once, after all that comes later in the forward pass.
    """
    root = out.grad_fn
    assert root is not None, "nothing was recorded"
    arrived: dict[Any, dict[int, Tensor]] = {root: {out.output_nr: gradient}}
    leaves: dict[Tensor, Tensor] = {}
    for node in _in_backward_order(root):
        given = arrived.pop(node, {})
        if hasattr(node, "variable") and given:
            leaves[node.variable] = given[0]
        elif given:
            for (following, place), gradient in _call(node, given):
                gradient = _fitted(gradient, following._input_metadata[place])
                places = arrived.setdefault(following, {})
                places[place] = places[place] + gradient if place in places else gradient
    return leaves


def _call(node: Any, given: dict[int, Tensor]) -> Iterator[tuple[tuple[Any, int], Tensor]]:
    """Yield where each gradient of a node's inputs goes, and it."""
    metadata = node._input_metadata
    grads = [given.get(index) for index in range(len(metadata))]
    following = node.next_functions
    if isinstance(node, torch.autograd.function.BackwardCFunction):  # written in Python
        zeros = [torch.zeros(m.shape, dtype=m.dtype, device=m.device) for m in metadata]
        found = node.apply(*[z if g is None else g for g, z in zip(grads, zeros, strict=True)])
        found = found if isinstance(found, tuple) else (found,)
        # It returns one for every argument; only those that are tensors are followed.
        found = [g for g, needed in zip(found, node.needs_input_grad, strict=True) if needed]
        following = [edge for edge in following if edge[0] is not None]
    else:
        found = node(*grads)
        found = found if isinstance(found, tuple) else (found,)
    for edge, gradient in zip(following, found, strict=True):
        if edge[0] is not None and gradient is not None:
            yield edge, gradient


def _fitted(gradient: Tensor, metadata: Any) -> Tensor:
    """Sum what was broadcast, as the engine does between two nodes."""
    return gradient.sum_to_size(metadata.shape).to(metadata.dtype)


def _in_backward_order(root: Any) -> list[Any]:
    order: list[Any] = []
    seen, waiting = set(), [(root, False)]
    while waiting:
        node, is_done = waiting.pop()
        if is_done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            waiting.append((node, True))
            waiting += [(following, False) for following, _ in node.next_functions if following]
    return order[::-1]
