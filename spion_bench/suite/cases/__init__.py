"""Every kernel case, declared once; the kernel pass, pytest-benchmark and asv all read it.

A case states shapes and data; ``suite.implementations`` are what computes it. Cases with a given
pattern are attention cases, the others are pattern-generation cases. Nothing here imports torch.
"""

from __future__ import annotations

from spion_bench.records.names import check_name
from spion_bench.suite.cases.case import KernelCase
from spion_bench.suite.cases.gpu import GPU_CASES
from spion_bench.suite.cases.sweeps import SWEEP_CASES

ATTENTION = ("block_attention", "pipeline", "dense_sdpa")
PATTERN = ("generate_pattern", "flood_fill", "python_walk")

CASES: dict[str, KernelCase] = {
    case.name: case
    for case in (
        KernelCase(
            name="attention_4096",
            batch=1,
            heads=2,
            length=4096,
            head_dim=32,
            block_size=64,
            density=0.04,
            dtype="float32",
            implementations=ATTENTION,
            reason="the longest published length (text, retrieval) with the published head width",
        ),
        KernelCase(
            name="attention_256",
            batch=1,
            heads=2,
            length=256,
            head_dim=32,
            block_size=32,
            density=0.2,
            dtype="float32",
            implementations=ATTENTION,
            reason="small enough for tests and for a first look",
        ),
        KernelCase(
            name="pattern_4096",
            batch=1,
            heads=1,
            length=4096,
            head_dim=32,
            block_size=64,
            density=None,
            dtype="float32",
            implementations=PATTERN,
            reason="pattern generation from a given map at the longest published length",
        ),
        KernelCase(
            name="pattern_256",
            batch=1,
            heads=1,
            length=256,
            head_dim=32,
            block_size=32,
            density=None,
            dtype="float32",
            implementations=PATTERN,
            reason="small enough for tests and for a first look",
        ),
        *SWEEP_CASES,
        *GPU_CASES,
    )
}


def find_case(name: str) -> KernelCase:
    """Return the case called ``name``; UsageError suggests the nearest name."""
    return CASES[check_name("kernel case", name, CASES)]
