"""Every kernel case, declared once; the kernel pass, pytest-benchmark and asv all read it.

A case states shapes and data; ``suite.implementations`` are what computes it. Cases with a given
pattern are attention cases, the others are pattern-generation cases. The shapes that are followed
over commits are those of ``asv_suite.cases``. Nothing here imports torch.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial

from spion_bench.asv_suite import cases as followed
from spion_bench.records.names import check_name
from spion_bench.suite.cases.case import KernelCase
from spion_bench.suite.cases.gpu import GPU_CASES
from spion_bench.suite.cases.peers import PEER_CASES
from spion_bench.suite.cases.sweeps import SWEEP_CASES

ATTENTION = ("block_attention", "pipeline", "dense_sdpa")
PATTERN = ("generate_pattern", "flood_fill", "python_walk")


_attention = partial(KernelCase, dtype="float32", implementations=ATTENTION)
_pattern = partial(
    KernelCase,
    batch=1,
    heads=1,
    head_dim=32,
    density=None,
    dtype="float32",
    implementations=PATTERN,
)
_FOLLOWED_MAP = followed.PATTERN["pattern_4096"]
_SMALL = "small enough for tests and for a first look"

CASES: dict[str, KernelCase] = {
    case.name: case
    for case in (
        *(
            _attention(name, **asdict(followed.ATTENTION[name]), reason=reason)
            for name, reason in (
                (
                    "attention_4096",
                    "the longest published length (text, retrieval) with the published head width",
                ),
                ("attention_2048", "the published shape of ListOps, two sequences"),
                ("attention_1024", "the published shape of image, four sequences"),
            )
        ),
        _attention("attention_256", 1, 2, 256, 32, 32, 0.2, reason=_SMALL),
        _pattern(
            "pattern_4096",
            length=_FOLLOWED_MAP.length,
            block_size=_FOLLOWED_MAP.block_size,
            reason="pattern generation from a given map at the longest published length",
        ),
        _pattern("pattern_256", length=256, block_size=32, reason=_SMALL),
        *SWEEP_CASES,
        *GPU_CASES,
        *PEER_CASES,
    )
}


def find_case(name: str) -> KernelCase:
    """Return the case called ``name``; UsageError suggests the nearest name."""
    return CASES[check_name("kernel case", name, CASES)]
