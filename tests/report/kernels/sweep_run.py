"""Records of the kernel sweeps, with made-up times that follow simple laws.

The cases are the report's own copy of the sweeps that it knows: one factor at a time around a base.
"""

import hashlib
from dataclasses import dataclass

from spion_bench.records import KernelShape, PatternInfo
from tests.report.run_writer import ENVIRONMENT, RunWriter, method_info, metric, sampled

SGEMM = 200.0  # GFLOP/s on two threads
CORES = 2
LONGEST_CALL_FLOP = 4e11

# Implementation -> share of SGEMM's rate over the scores that it computes.
SHARES = {
    "block_attention": 0.72,
    "block_attention_float32": 0.72,
    "pipeline": 0.5,
    "dense_sdpa": 0.7,
    "dense_sdpa_forward": 0.7,
    "dense_eager": 0.35,
    "flex_forward": 0.4,
    "sliding_window": 0.2,
}
SPARSE = ("block_attention", "pipeline")
WITH_DENSE = (*SPARSE, "dense_sdpa")
WITH_FLEX = (*WITH_DENSE, "flex_forward")
EVERY = (*SPARSE, "dense_sdpa", "dense_eager", "flex_forward", "sliding_window")
RATED = (*SPARSE, "flex_forward", "sgemm")


@dataclass(frozen=True)
class Case:
    """One kernel case; ``density`` None is a band of three blocks per row."""

    name: str
    sweeps: str
    implementations: tuple[str, ...]
    density: float | None = 0.04
    has_pattern: bool = True
    heads: int = 8
    length: int = 4096
    head_dim: int = 64
    block_size: int = 64
    threads: int | None = None
    dtype: str = "float32"
    measures: str = "time"

    @property
    def nb(self):
        return self.length // self.block_size

    @property
    def n_blocks(self):
        if self.density is None:
            return 3 * self.nb - 2
        return max(self.nb, round(self.density * self.nb * self.nb))

    @property
    def window(self):
        return max(1, round((self.n_blocks * self.block_size / self.nb - 1) / 2))

    @property
    def shape(self):
        return KernelShape(
            batch=1,
            heads=self.heads,
            length=self.length,
            head_dim=self.head_dim,
            block_size=self.block_size,
            n_blocks=self.n_blocks if self.has_pattern else None,
        )


def _band(name, sweeps, implementations, **changes):
    return Case(f"sweep_band_{name}", sweeps, implementations, density=None, **changes)


SWEEP_CASES = (
    Case(
        "sweep_base",
        "base length head_dim block_size density heads",
        (*EVERY, "sgemm", "memory_copy"),
    ),
    *(Case(f"sweep_L{n}", "length", EVERY, length=n) for n in (1024, 2048, 8192, 16384, 32768)),
    *(
        Case(f"sweep_D{n}", "head_dim", implementations, head_dim=n)
        for n, implementations in {
            16: WITH_DENSE,
            32: WITH_FLEX,
            80: WITH_DENSE,
            128: WITH_FLEX,
        }.items()
    ),
    *(Case(f"sweep_block{n}", "block_size", SPARSE, block_size=n) for n in (8, 16, 32, 128)),
    *(
        Case(f"sweep_density{100 * density:g}", "density", WITH_FLEX, density=density)
        for density in (0.02, 0.08, 0.16, 0.32, 1.0)
    ),
    *(Case(f"sweep_heads{n}", "heads", WITH_DENSE, heads=n) for n in (1, 2, 16)),
    *(
        Case(f"sweep_threads{n}", "threads", (*WITH_DENSE, "sgemm"), threads=n)
        for n in (1, 2, 4, 8)
    ),
    _band("D64_b64", "rate per_block", RATED),
    _band("D32_b64", "rate", RATED, head_dim=32),
    _band("D32_b32", "rate", RATED, head_dim=32, block_size=32),
    _band("L1024", "per_block", SPARSE, length=1024),
    _band("L32768", "per_block", SPARSE, length=32768),
    Case("sweep_speedup_L4096", "speedup", (*WITH_DENSE, "dense_eager"), head_dim=32),
    Case(
        "sweep_speedup_L16384",
        "speedup",
        WITH_DENSE,
        head_dim=32,
        length=16384,
        density=0.01,
        heads=2,
    ),
    Case(
        "sweep_bfloat16", "dtype", ("block_attention", "block_attention_float32"), dtype="bfloat16"
    ),
    Case("sweep_from_qk", "from_qk", ("pattern_from_qk", "dense_sdpa_forward"), has_pattern=False),
    *(
        Case(f"sweep_memory_L{n}", "memory", WITH_DENSE, length=n, measures="memory")
        for n in (1024, 4096, 16384)
    ),
)


def write_sweep_run(folder, cases=SWEEP_CASES, more=()):
    """Write one record per case and implementation, left-out ones with their reason.

    ``more`` are further implementations of every attention case with a pattern.
    """
    writer = RunWriter(folder)
    for case in cases:
        for implementation in (*case.implementations, *(more if case.has_pattern else ())):
            add_sweep_cell(writer, case, implementation)
    return folder


def add_sweep_cell(writer, case, implementation, **fields):
    threads = case.threads or 2
    info = method_info(implementation)
    if implementation == "sliding_window":
        info = info.model_copy(update={"arguments": {"window": case.window}})
    common = {
        "case": case.name,
        "shape": case.shape,
        "cell": {"sweeps": case.sweeps.split(), "dtype": case.dtype, "measures": case.measures},
        "environment": ENVIRONMENT.model_copy(update={"threads": threads}),
    } | fields
    reason = refusal(case, implementation)
    if reason:
        return writer.add_kernel(info, status="unsupported", reason=reason, **common)
    if "metrics" not in common:
        common["metrics"] = metrics_of(case, implementation, threads)
    if case.has_pattern and implementation not in ("sgemm", "memory_copy", "sliding_window"):
        common["pattern"] = pattern_of(case.shape, implementation)
    return writer.add_kernel(info, **common)


def refusal(case, implementation):
    if case.threads is not None and case.threads > CORES:
        return f"the case needs {case.threads} threads, this machine has {CORES} cores"
    operations = 14 * case.head_dim * case.heads * case.length**2
    if (
        implementation.startswith("dense")
        and implementation in SHARES
        and operations > LONGEST_CALL_FLOP
    ):
        return f"one call would be {operations / 1e12:.2f} TFLOP (modelled), too long for a sweep"
    return None


def pattern_of(shape, implementation):
    n_blocks = shape.nb**2 if implementation.startswith("dense") else shape.n_blocks
    return PatternInfo(
        source="synthetic",
        block_size=shape.block_size,
        length=shape.length,
        nnzb=[n_blocks],
        density=[n_blocks / shape.nb**2],
    )


def metrics_of(case, implementation, threads):
    seed = int(hashlib.sha256(f"{case.name}{implementation}".encode()).hexdigest()[:6], 16)

    def some(value, unit, **options):
        return sampled(value, unit, n=6, seed=seed, **options)

    if implementation == "sgemm":
        rate = SGEMM * threads / 2
        return {
            "matmul_ms": some(2e-6 * 2048**3 / rate, "ms"),
            "flops_rate_gflops": some(rate, "GFLOP/s", up=True),
        }
    if implementation == "memory_copy":
        return {"copy_ms": some(20, "ms"), "bandwidth": some(26, "GB/s", up=True)}
    if implementation == "pattern_from_qk":
        return {"pattern_from_qk_ms": some(180, "ms")}
    if case.measures == "memory":
        scores = 0 if implementation == "block_attention" else case.n_blocks * case.block_size**2
        workspace = 8 * (2 * case.length * case.head_dim + scores) * 4
        return {
            "forward_backward_peak_bytes": metric(3 * workspace, "bytes"),
            "workspace_bytes": metric(workspace, "bytes"),
        }
    scores = case.n_blocks * case.block_size**2 if case.has_pattern else 0
    if implementation.startswith("dense"):
        scores = case.length**2
    operations = case.head_dim * case.heads * scores
    rate = SHARES.get(implementation, 0.3) * SGEMM * threads / 2
    found = {
        "forward_ms": some(4e-6 * operations / rate, "ms"),
        "forward_rate_gflops": some(rate, "GFLOP/s", up=True),
    }
    if "forward" not in implementation:
        found["forward_backward_ms"] = some(14e-6 * operations / rate, "ms")
        found["flops_rate_gflops"] = some(rate, "GFLOP/s", up=True)
    return found


def case_named(name):
    return next(case for case in SWEEP_CASES if case.name == name)
