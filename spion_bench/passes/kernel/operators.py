"""The operators of kernel cases that are no attention: pattern generation, and the limits."""

from __future__ import annotations

import torch
from torch import Tensor

from spion_bench.block_pattern import BlockPattern
from spion_bench.model.attention import UnsupportedError
from spion_bench.ops import attention_map, average_pool, diagonal_conv, flood_fill
from spion_bench.ops.reference.pattern import walk
from spion_bench.passes.kernel.prepared import Prepared, case_inputs, case_map
from spion_bench.pattern.generate import generate_pattern, quantile_threshold
from spion_bench.suite.cases.case import KernelCase

MAP_QUANTILE = 0.99  # of the longest published tasks (text, retrieval)
SGEMM_SIDE = 2048  # large enough for the library's best rate, small enough for many samples
COPY_BYTES = 2**28  # far beyond any cache


def prepare_sgemm(case: KernelCase, seed: int, device: str) -> Prepared:
    """Prepare a large float32 matrix product of torch; it ignores the case's shape."""
    generator = torch.Generator().manual_seed(seed)
    side = SGEMM_SIDE
    a, b = (torch.randn(side, side, generator=generator).to(device) for _ in range(2))
    return Prepared(
        {"matmul_ms": lambda: torch.mm(a, b)},
        flops={"matmul_ms": 2 * side**3},
        extra={"side": side},
    )


def prepare_memory_copy(case: KernelCase, seed: int, device: str) -> Prepared:
    """Prepare a copy far larger than the caches; it ignores the case's shape."""
    source = torch.ones(COPY_BYTES // 4, device=device)
    target = torch.empty_like(source)
    return Prepared(
        {"copy_ms": lambda: target.copy_(source)},
        moved_bytes={"copy_ms": 2 * COPY_BYTES},
        extra={"copied_bytes": COPY_BYTES},
    )


def prepare_generate_pattern(case: KernelCase, seed: int, device: str) -> Prepared:
    """Prepare SPION-CF's pattern generation from a given map."""
    given = case_map(case, seed, device)

    def generate() -> BlockPattern:
        return generate_pattern(
            given, variant="CF", block_size=case.block_size, quantile=MAP_QUANTILE
        )

    return Prepared({"generate_pattern_ms": generate})


def prepare_pattern_from_qk(case: KernelCase, seed: int, device: str) -> Prepared:
    """Prepare SPION-CF's pattern generation from q and k."""
    q, k = case_inputs(case, seed, device=device)[:2]

    def generate() -> BlockPattern:
        return generate_pattern(
            attention_map(q, k), variant="CF", block_size=case.block_size, quantile=MAP_QUANTILE
        )

    return Prepared({"pattern_from_qk_ms": generate})


def prepare_flood_fill(case: KernelCase, seed: int, device: str) -> Prepared:
    """Prepare the walk over a pooled map."""
    pooled, threshold = _pooled(case, seed, device)
    return Prepared({"walk_ms": lambda: flood_fill(pooled, threshold)})


def prepare_python_walk(case: KernelCase, seed: int, device: str) -> Prepared:
    """Prepare the same walk in plain Python.

    Raises:
        UnsupportedError: On any device but the CPU.
    """
    if device != "cpu":
        raise UnsupportedError("plain Python runs on the CPU only")
    pooled, threshold = _pooled(case, seed, device)
    rows = pooled.tolist()
    return Prepared({"walk_ms": lambda: walk(rows, threshold)})


def _pooled(case: KernelCase, seed: int, device: str) -> tuple[Tensor, float]:
    pooled = average_pool(diagonal_conv(case_map(case, seed, device)), case.block_size)
    return pooled, quantile_threshold(pooled, MAP_QUANTILE)
