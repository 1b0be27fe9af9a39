"""The CPU's cases of the ``kernels`` profile: one factor at a time around one base case.

Next to the sweeps stand the cases whose ratios are the kernels' goals: rates on a band of three
blocks per row, speed-ups over dense attention, and so on. A case names the sweeps it belongs to;
the report finds its figures by these names and by the shapes. Nothing here imports torch.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from spion_bench.asv_suite import cases as followed
from spion_bench.suite.cases.case import KernelCase

SPARSE = ("block_attention", "pipeline")
WITH_DENSE = (*SPARSE, "dense_sdpa")
WITH_FLEX = (*WITH_DENSE, "flex_forward")
EVERY = (*SPARSE, "dense_sdpa", "dense_eager", "flex_forward", "sliding_window")
RATED = (*SPARSE, "flex_forward", "sgemm")

BASE = KernelCase(
    name="sweep_base",
    **asdict(followed.ATTENTION["sweep_base"]),
    dtype="float32",
    implementations=(*EVERY, "sgemm", "memory_copy"),
    reason="the centre of all sweeps",
    sweeps=("base", "length", "head_dim", "block_size", "density", "heads"),
    device="cpu",
)


def _case(
    name: str, sweeps: str, implementations: tuple[str, ...], reason: str, **changes: Any
) -> KernelCase:
    """Return the base case with a name of its own and some fields changed."""
    return replace(
        BASE,
        name=f"sweep_{name}",
        sweeps=tuple(sweeps.split()),
        implementations=implementations,
        reason=reason,
        **changes,
    )


def _band(name: str, sweeps: str, implementations: tuple[str, ...], **changes: Any) -> KernelCase:
    reason = "three blocks per row, on which rates and times per block are counted"
    return _case(name, sweeps, implementations, reason, density=None, pattern="band", **changes)


LENGTHS = (1024, 2048, 8192, 16384, 32768)
HEAD_DIMS = {16: WITH_DENSE, 32: WITH_FLEX, 80: WITH_DENSE, 128: WITH_FLEX}
BLOCK_SIZES = {8: SPARSE, 16: SPARSE, 32: (*SPARSE, "flex_forward"), 128: (*SPARSE, "flex_forward")}
DENSITIES = {0.02: WITH_DENSE, 0.08: WITH_FLEX, 0.16: WITH_DENSE, 0.32: WITH_FLEX, 1.0: WITH_DENSE}
BATCH_HEADS = (1, 2, 16)
THREADS = (1, 2, 4, 8)
MEMORY_LENGTHS = (1024, 4096, 16384)

SWEEP_CASES: tuple[KernelCase, ...] = (
    BASE,
    *(_case(f"L{length}", "length", EVERY, "sequence length", length=length) for length in LENGTHS),
    *(
        _case(f"D{head_dim}", "head_dim", names, "width of a head", head_dim=head_dim)
        for head_dim, names in HEAD_DIMS.items()
    ),
    *(
        _case(f"block{size}", "block_size", names, "tokens in a block", block_size=size)
        for size, names in BLOCK_SIZES.items()
    ),
    *(
        _case(f"density{100 * density:g}", "density", names, "kept blocks", density=density)
        for density, names in DENSITIES.items()
    ),
    *(
        _case(f"heads{heads}", "heads", WITH_DENSE, "independent attentions B*H", heads=heads)
        for heads in BATCH_HEADS
    ),
    *(
        _case(
            f"threads{threads}",
            "threads",
            (*WITH_DENSE, "sgemm"),
            "CPU threads",
            threads=threads,
        )
        for threads in THREADS
    ),
    _band("band_D64_b64", "rate per_block", RATED),
    _band("band_D32_b64", "rate", RATED, head_dim=32),
    _band("band_D32_b32", "rate", RATED, head_dim=32, block_size=32),
    _band("band_L1024", "per_block", SPARSE, length=1024),
    _band("band_L32768", "per_block", SPARSE, length=32768),
    _case(
        "speedup_L4096",
        "speedup",
        (*WITH_DENSE, "dense_eager"),
        "the speed-up at a density of 4 % with the published head width",
        head_dim=32,
    ),
    _case(
        "speedup_L16384",
        "speedup",
        WITH_DENSE,
        "the speed-up at a density of 1 %; two heads, as dense attention takes seconds",
        head_dim=32,
        length=16384,
        density=0.01,
        heads=2,
    ),
    _case(
        "bfloat16",
        "dtype",
        ("block_attention", "block_attention_float32"),
        "16-bit inputs against the same values in float32",
        dtype="bfloat16",
    ),
    _case(
        "from_qk",
        "from_qk",
        ("pattern_from_qk", "dense_sdpa_forward"),
        "pattern generation from q and k next to one dense forward pass",
        density=None,
    ),
    *(
        _case(
            f"memory_L{length}",
            "memory",
            WITH_DENSE,
            "peak memory of one forward and backward pass",
            length=length,
            measures="memory",
        )
        for length in MEMORY_LENGTHS
    ),
)
