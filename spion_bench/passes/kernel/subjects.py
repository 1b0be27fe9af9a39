"""What computes a kernel case: each subject turns a case into callables to time.

A subject's callables are keyed by metric name. Inputs are drawn from the cell's seed, so that
every subject of a case works on the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from spion_bench.block_pattern import BlockPattern
from spion_bench.model.attention import UnsupportedError
from spion_bench.ops import attention_map, average_pool, diagonal_conv, flood_fill
from spion_bench.ops.reference.pattern import walk
from spion_bench.passes.kernel.attention import ATTENTIONS, bind
from spion_bench.pattern.generate import generate_pattern, quantile_threshold
from spion_bench.suite.cases.case import KernelCase, attention_flops, subject_dtype
from spion_bench.suite.cases.limits import FORWARD_ONLY

MAP_QUANTILE = 0.99  # of the longest published tasks (text, retrieval)
SGEMM_SIDE = 2048  # large enough for the library's best rate, small enough for many samples
COPY_BYTES = 2**28  # far beyond any cache

# Name of a timed call -> name of its rate.
RATES = {
    "forward_ms": "forward_rate_gflops",
    "forward_backward_ms": "flops_rate_gflops",
    "matmul_ms": "flops_rate_gflops",
}

Setting = str | int | float | bool | None


@dataclass(frozen=True)
class Prepared:
    """A subject made ready on a case.

    Attributes:
        calls: Metric name in milliseconds to the call that is timed.
        setups: Metric name to what has to run, untimed, before each such call.
        pattern: The block pattern in use: the full one for dense attention.
        flops: Metric name to the modelled operations of its call.
        moved_bytes: Metric name to the bytes that its call reads and writes.
        settings: What else a record says about the subject.
        chosen: Says, after it ran, what the subject chose by itself.
    """

    calls: dict[str, Callable[[], object]]
    setups: dict[str, Callable[[], object]] = field(default_factory=dict)
    pattern: BlockPattern | None = None
    flops: dict[str, int] = field(default_factory=dict)
    moved_bytes: dict[str, int] = field(default_factory=dict)
    settings: dict[str, Setting] = field(default_factory=dict)
    chosen: Callable[[], dict[str, Setting]] = dict


def prepare(subject: str, case: KernelCase, seed: int, device: str = "cpu") -> Prepared:
    """Make ``subject`` ready to compute ``case`` on a device.

    Raises:
        UnsupportedError: If the subject cannot compute the case.
    """
    return SUBJECTS[subject](case, seed, device)


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
    """Return an ``[L, L]`` map of rows that sum to 1: noise with a bright diagonal and stripes."""
    generator = torch.Generator().manual_seed(seed)
    length = case.length
    scores = torch.randn(length, length, generator=generator)
    distance = torch.arange(length, dtype=torch.float32)
    scores -= (distance[:, None] - distance[None, :]).abs() / (length / 16)
    scores[:, :: length // 8] += 2
    return scores.softmax(dim=-1).to(device, getattr(torch, case.dtype))


def _attention(subject: str, case: KernelCase, seed: int, device: str) -> Prepared:
    bound = bind(subject, case, device)
    attend = bound.function
    q, k, v, dout = case_inputs(case, seed, subject_dtype(case, subject), device)
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
    if case.measures == "passes":
        calls = {"forward_ms": record, "backward_ms": backward}
        setups = {"backward_ms": lambda: recorded.append(record())}
    elif subject not in FORWARD_ONLY:
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
        settings=bound.settings,
        chosen=lambda: bound.chosen(leaf_q, leaf_k, leaf_v),
    )


def _sgemm(case: KernelCase, seed: int, device: str) -> Prepared:
    """The limit of all rates: a large float32 matrix product of torch; ignores the case's shape."""
    generator = torch.Generator().manual_seed(seed)
    side = SGEMM_SIDE
    a, b = (torch.randn(side, side, generator=generator).to(device) for _ in range(2))
    return Prepared(
        {"matmul_ms": lambda: torch.mm(a, b)},
        flops={"matmul_ms": 2 * side**3},
        settings={"side": side},
    )


def _memory_copy(case: KernelCase, seed: int, device: str) -> Prepared:
    """The memory's bandwidth: a copy far larger than the caches; ignores the case's shape."""
    source = torch.ones(COPY_BYTES // 4, device=device)
    target = torch.empty_like(source)
    return Prepared(
        {"copy_ms": lambda: target.copy_(source)},
        moved_bytes={"copy_ms": 2 * COPY_BYTES},
        settings={"copied_bytes": COPY_BYTES},
    )


def _generate_pattern(case: KernelCase, seed: int, device: str) -> Prepared:
    given = case_map(case, seed, device)

    def generate() -> BlockPattern:
        return generate_pattern(
            given, variant="CF", block_size=case.block_size, quantile=MAP_QUANTILE
        )

    return Prepared({"generate_pattern_ms": generate})


def _pattern_from_qk(case: KernelCase, seed: int, device: str) -> Prepared:
    q, k = case_inputs(case, seed, device=device)[:2]

    def generate() -> BlockPattern:
        return generate_pattern(
            attention_map(q, k), variant="CF", block_size=case.block_size, quantile=MAP_QUANTILE
        )

    return Prepared({"pattern_from_qk_ms": generate})


def _flood_fill(case: KernelCase, seed: int, device: str) -> Prepared:
    pooled, threshold = _pooled(case, seed, device)
    return Prepared({"walk_ms": lambda: flood_fill(pooled, threshold)})


def _python_walk(case: KernelCase, seed: int, device: str) -> Prepared:
    if device != "cpu":
        raise UnsupportedError("plain Python runs on the CPU only")
    pooled, threshold = _pooled(case, seed, device)
    rows = pooled.tolist()
    return Prepared({"walk_ms": lambda: walk(rows, threshold)})


def _pooled(case: KernelCase, seed: int, device: str) -> tuple[Tensor, float]:
    pooled = average_pool(diagonal_conv(case_map(case, seed, device)), case.block_size)
    return pooled, quantile_threshold(pooled, MAP_QUANTILE)


SUBJECTS: dict[str, Callable[[KernelCase, int, str], Prepared]] = {
    **{subject: partial(_attention, subject) for subject in ATTENTIONS},
    "sgemm": _sgemm,
    "memory_copy": _memory_copy,
    "pattern_from_qk": _pattern_from_qk,
    "generate_pattern": _generate_pattern,
    "flood_fill": _flood_fill,
    "python_walk": _python_walk,
}
