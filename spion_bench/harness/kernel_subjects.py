"""What computes a kernel case: each subject turns a case into callables to time.

A subject's callables are keyed by metric name. Inputs are drawn from the cell's seed, so that
every subject of a case works on the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from spion_bench.block_pattern import BlockPattern
from spion_bench.harness.cases import KernelCase, attention_flops
from spion_bench.harness.gate import AttentionFunction
from spion_bench.harness.synthetic import band_and_stripes
from spion_bench.model.attention import dense_attention
from spion_bench.ops import block_attention, diagonal_conv, flood_fill
from spion_bench.ops.block_attention import Implementation
from spion_bench.ops.reference_pattern import walk
from spion_bench.pattern.generate import average_pool, generate_pattern, quantile_threshold

MAP_QUANTILE = 0.99  # of the longest published tasks (text, retrieval)


@dataclass(frozen=True)
class Prepared:
    """A subject made ready on a case.

    Attributes:
        calls: Metric name in milliseconds to the call that is timed.
        attention: The function that the gate checks, or None for pattern generation.
        pattern: The pattern in use: the full one for dense attention.
        flops: Metric name to the modelled operations of its call.
    """

    calls: dict[str, Callable[[], object]]
    attention: AttentionFunction | None = None
    pattern: BlockPattern | None = None
    flops: dict[str, int] = field(default_factory=dict)


def prepare(subject: str, case: KernelCase, seed: int) -> Prepared:
    """Make ``subject`` ready to compute ``case``."""
    return SUBJECTS[subject](case, seed)


def case_pattern(case: KernelCase) -> BlockPattern:
    """Return the pattern of an attention case."""
    return band_and_stripes(case.length, case.block_size, case.n_blocks)


def case_inputs(case: KernelCase, seed: int) -> list[Tensor]:
    """Return q, k, v and the output's gradient, ``[B, H, L, D]`` each, normally distributed."""
    generator = torch.Generator().manual_seed(seed)
    size = (case.batch, case.heads, case.length, case.head_dim)
    dtype = getattr(torch, case.dtype)
    return [torch.randn(size, generator=generator).to(dtype) for _ in range(4)]


def case_map(case: KernelCase, seed: int) -> Tensor:
    """Return an ``[L, L]`` map of rows that sum to 1: noise with a bright diagonal and stripes."""
    generator = torch.Generator().manual_seed(seed)
    length = case.length
    scores = torch.randn(length, length, generator=generator)
    distance = torch.arange(length, dtype=torch.float32)
    scores -= (distance[:, None] - distance[None, :]).abs() / (length / 16)
    scores[:, :: length // 8] += 2
    return scores.softmax(dim=-1).to(getattr(torch, case.dtype))


def _attention(
    case: KernelCase, seed: int, attention: AttentionFunction, pattern: BlockPattern
) -> Prepared:
    q, k, v, dout = case_inputs(case, seed)
    leaf_q, leaf_k, leaf_v = (x.clone().requires_grad_() for x in (q, k, v))

    def forward() -> Tensor:
        return attention(q, k, v, None)

    def forward_backward() -> object:
        out = attention(leaf_q, leaf_k, leaf_v, None)
        return torch.autograd.grad(out, (leaf_q, leaf_k, leaf_v), dout)

    flops = {
        name: attention_flops(
            batch=case.batch,
            heads=case.heads,
            head_dim=case.head_dim,
            scores=pattern.nnzb * case.block_size**2,
            backward=name == "forward_backward_ms",
        )
        for name in ("forward_ms", "forward_backward_ms")
    }
    calls = {"forward_ms": forward, "forward_backward_ms": forward_backward}
    return Prepared(calls, attention, pattern, flops)


def _block_sparse(implementation: Implementation) -> Callable[[KernelCase, int], Prepared]:
    def make(case: KernelCase, seed: int) -> Prepared:
        pattern = case_pattern(case)

        def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
            return block_attention(
                q,
                k,
                v,
                pattern,
                pruned="minus_inf",
                key_padding_mask=mask,
                implementation=implementation,
            )

        return _attention(case, seed, attention, pattern)

    return make


def _dense_sdpa(case: KernelCase, seed: int) -> Prepared:
    full = BlockPattern.full(case.length, case.block_size)
    return _attention(case, seed, dense_attention, full)


def _generate_pattern(case: KernelCase, seed: int) -> Prepared:
    given = case_map(case, seed)

    def generate() -> BlockPattern:
        return generate_pattern(
            given, variant="CF", block_size=case.block_size, quantile=MAP_QUANTILE
        )

    return Prepared({"generate_pattern_ms": generate})


def _flood_fill(case: KernelCase, seed: int) -> Prepared:
    pooled, threshold = _pooled(case, seed)
    return Prepared({"walk_ms": lambda: flood_fill(pooled, threshold)})


def _python_walk(case: KernelCase, seed: int) -> Prepared:
    pooled, threshold = _pooled(case, seed)
    rows = pooled.tolist()
    return Prepared({"walk_ms": lambda: walk(rows, threshold)})


def _pooled(case: KernelCase, seed: int) -> tuple[Tensor, float]:
    pooled = average_pool(diagonal_conv(case_map(case, seed)), case.block_size)
    return pooled, quantile_threshold(pooled, MAP_QUANTILE)


SUBJECTS: dict[str, Callable[[KernelCase, int], Prepared]] = {
    "block_attention": _block_sparse("fused"),
    "pipeline": _block_sparse("pipeline"),
    "dense_sdpa": _dense_sdpa,
    "generate_pattern": _generate_pattern,
    "flood_fill": _flood_fill,
    "python_walk": _python_walk,
}
