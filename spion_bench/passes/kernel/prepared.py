"""What an implementation made ready on a case is, and the numbers that it works on.

Inputs are drawn from the cell's seed: every implementation of a case works on the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from spion_bench.asv_suite.inputs import bright_map
from spion_bench.block_pattern import BlockPattern
from spion_bench.records import AttentionInfo
from spion_bench.records.cell import Scalar
from spion_bench.suite.cases.case import KernelCase

# Name of a timed call -> name of its rate.
RATES = {
    "forward_ms": "forward_rate_gflops",
    "forward_backward_ms": "flops_rate_gflops",
    "matmul_ms": "flops_rate_gflops",
}


@dataclass(frozen=True)
class Prepared:
    """An implementation made ready on a case.

    Attributes:
        calls: Metric name in milliseconds to the call that is timed.
        setups: Metric name to what has to run, untimed, before each such call.
        pattern: The block pattern in use: the full one for dense attention.
        flops: Metric name to the modelled operations of its call.
        moved_bytes: Metric name to the bytes that its call reads and writes.
        attention: How attention describes itself after it ran; None for other operators.
        extra: What else a record keeps.
    """

    calls: dict[str, Callable[[], object]]
    setups: dict[str, Callable[[], object]] = field(default_factory=dict)
    pattern: BlockPattern | None = None
    flops: dict[str, int] = field(default_factory=dict)
    moved_bytes: dict[str, int] = field(default_factory=dict)
    attention: Callable[[], AttentionInfo] | None = None
    extra: dict[str, Scalar] = field(default_factory=dict)


def case_inputs(
    case: KernelCase, seed: int, dtype: str | None = None, device: str = "cpu"
) -> list[Tensor]:
    """Return q, k, v and the output's gradient, ``[B, H, L, D]`` each, normally distributed.

    Where the passes of a training step are measured, they lie in memory as they do in one:
    ``[B, L, H, D]``.

    Args:
        case: States the shape.
        seed: Seed of the numbers, which do not depend on the device.
        dtype: Name of the torch dtype; the case's by default.
        device: Where the tensors will be.
    """
    generator = torch.Generator().manual_seed(seed)
    size = (case.batch, case.heads, case.length, case.head_dim)
    chosen = getattr(torch, dtype or case.dtype)
    drawn = [torch.randn(size, generator=generator).to(device, chosen) for _ in range(4)]
    if case.measures == "passes":
        drawn = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in drawn]
    return drawn


def case_map(case: KernelCase, seed: int, device: str = "cpu") -> Tensor:
    """Return ``asv_suite.inputs.bright_map`` of a case, ``[L, L]``."""
    return bright_map(case.length, seed).to(device, getattr(torch, case.dtype))
