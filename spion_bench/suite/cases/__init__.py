"""Every kernel case, declared once; the kernel pass, pytest-benchmark and asv all read it.

A case states shapes and data; ``suite.implementations`` are what computes it. Cases with a given
pattern are attention cases, the others are pattern-generation cases. The shapes that are followed
over commits are those of ``asv_suite.cases``. Nothing here imports torch.
"""

from __future__ import annotations

from dataclasses import asdict

from spion_bench.asv_suite import cases as followed
from spion_bench.records.names import check_name
from spion_bench.suite.cases.case import KernelCase
from spion_bench.suite.cases.gpu import GPU_CASES
from spion_bench.suite.cases.peers import PEER_CASES
from spion_bench.suite.cases.sweeps import SWEEP_CASES

ATTENTION = ("block_attention", "pipeline", "dense_sdpa")
PATTERN = ("generate_pattern", "flood_fill", "python_walk")


def _attention(name: str, reason: str) -> KernelCase:
    return KernelCase(
        name=name,
        **asdict(followed.ATTENTION[name]),
        dtype="float32",
        implementations=ATTENTION,
        reason=reason,
    )


def _pattern(name: str, length: int, block_size: int, reason: str) -> KernelCase:
    return KernelCase(
        name=name,
        batch=1,
        heads=1,
        length=length,
        head_dim=32,
        block_size=block_size,
        density=None,
        dtype="float32",
        implementations=PATTERN,
        reason=reason,
    )


_FOLLOWED_MAP = followed.PATTERN["pattern_4096"]

CASES: dict[str, KernelCase] = {
    case.name: case
    for case in (
        _attention(
            "attention_4096",
            "the longest published length (text, retrieval) with the published head width",
        ),
        _attention("attention_2048", "the published shape of ListOps, two sequences"),
        _attention("attention_1024", "the published shape of image, four sequences"),
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
        _pattern(
            "pattern_4096",
            _FOLLOWED_MAP.length,
            _FOLLOWED_MAP.block_size,
            "pattern generation from a given map at the longest published length",
        ),
        _pattern("pattern_256", 256, 32, "small enough for tests and for a first look"),
        *SWEEP_CASES,
        *GPU_CASES,
        *PEER_CASES,
    )
}


def find_case(name: str) -> KernelCase:
    """Return the case called ``name``; UsageError suggests the nearest name."""
    return CASES[check_name("kernel case", name, CASES)]
