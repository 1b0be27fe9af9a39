"""Making an implementation ready on a case: for the kernel pass, asv and pytest-benchmark."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from spion_bench.passes.kernel.attention import bind
from spion_bench.passes.kernel.prepared import RATES, Prepared, case_inputs
from spion_bench.suite.cases.case import KernelCase, attention_flops
from spion_bench.suite.implementations import Implementation
from spion_bench.suite.method import load_object


def prepare(
    implementation: Implementation, case: KernelCase, seed: int, device: str = "cpu"
) -> Prepared:
    """Make ``implementation`` ready to compute ``case`` on a device.

    Raises:
        UnsupportedError: If it cannot compute the case.
    """
    if implementation.operator == "attention":
        return _prepare_attention(implementation, case, seed, device)
    prepared: Prepared = load_object(implementation.build)(case, seed, device)
    return prepared


def _prepare_attention(
    implementation: Implementation, case: KernelCase, seed: int, device: str
) -> Prepared:
    bound = bind(implementation, case, device)
    attend = bound.function
    q, k, v, dout = case_inputs(case, seed, implementation.computes_in(case), device)
    leaf_q, leaf_k, leaf_v = (x.clone().requires_grad_() for x in (q, k, v))
    recorded: list[Tensor] = []

    def forward() -> Tensor:
        return attend(q, k, v)

    def forward_backward() -> object:
        out = attend(leaf_q, leaf_k, leaf_v)
        return torch.autograd.grad(out, (leaf_q, leaf_k, leaf_v), dout)

    def record() -> Tensor:
        return attend(leaf_q, leaf_k, leaf_v)

    def backward() -> object:
        return torch.autograd.grad(recorded.pop(), (leaf_q, leaf_k, leaf_v), dout)

    calls: dict[str, Callable[[], object]] = {"forward_ms": forward}
    setups: dict[str, Callable[[], object]] = {}
    if case.measures == "passes" and not implementation.forward_only:
        calls = {"forward_ms": record, "backward_ms": backward}
        setups = {"backward_ms": lambda: recorded.append(record())}
    elif not implementation.forward_only:
        calls["forward_backward_ms"] = forward_backward
    flops = {
        name: attention_flops(
            batch=case.batch,
            heads=case.heads,
            head_dim=case.head_dim,
            scores=bound.scores,
            backward=name == "forward_backward_ms",
        )
        for name in calls
        if name in RATES
    }
    return Prepared(
        calls,
        setups,
        bound.pattern,
        flops,
        attention=lambda: bound.describe(leaf_q, leaf_k, leaf_v),
    )
