"""Records of the kernel sweeps, with made-up times that follow simple laws."""

import hashlib

from spion_bench.records import PatternInfo
from spion_bench.suite.cases.limits import refusal
from spion_bench.suite.cases.sweeps import SWEEP_CASES
from tests.report.run_writer import ENVIRONMENT, RunWriter, metric, sampled

SGEMM = 200.0  # GFLOP/s on two threads

# Subject -> share of SGEMM's rate over the scores that it computes.
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


def write_sweep_run(folder, cases=SWEEP_CASES):
    """Write one record per case and subject, left-out ones with their reason."""
    writer = RunWriter(folder)
    for case in cases:
        for subject in case.subjects:
            add_sweep_cell(writer, case, subject)
    return writer


def add_sweep_cell(writer, case, subject, **fields):
    reason = refusal(case, subject, cores=2)
    threads = case.threads or 2
    common = {
        "task": None,
        "label": case.name,
        "settings": case.settings(),
        "environment": ENVIRONMENT.model_copy(update={"threads": threads}),
    } | fields
    if reason:
        return writer.add("kernel", subject, status="unsupported", reason=reason, **common)
    if subject == "sliding_window":
        common["settings"] = common["settings"] | {"window": case.window}
    if "metrics" not in common:
        common["metrics"] = metrics_of(case, subject, threads)
    if case.has_pattern and subject not in ("sgemm", "memory_copy", "sliding_window"):
        common["pattern"] = pattern_of(case, subject)
    return writer.add("kernel", subject, **common)


def pattern_of(case, subject):
    n_blocks = case.nb**2 if subject.startswith("dense") else case.n_blocks
    return PatternInfo(
        source="synthetic",
        block_size=case.block_size,
        length=case.length,
        nnzb=[n_blocks],
        density=[n_blocks / case.nb**2],
    )


def metrics_of(case, subject, threads):
    seed = int(hashlib.sha256(f"{case.name}{subject}".encode()).hexdigest()[:6], 16)

    def some(value, unit, **options):
        return sampled(value, unit, n=6, seed=seed, **options)

    if subject == "sgemm":
        rate = SGEMM * threads / 2
        return {
            "matmul_ms": some(2e-6 * 2048**3 / rate, "ms"),
            "flops_rate_gflops": some(rate, "GFLOP/s", up=True),
        }
    if subject == "memory_copy":
        return {"copy_ms": some(20, "ms"), "bandwidth": some(26, "GB/s", up=True)}
    if subject == "pattern_from_qk":
        return {"pattern_from_qk_ms": some(180, "ms")}
    if case.measures == "memory":
        scores = 0 if subject == "block_attention" else case.n_blocks * case.block_size**2
        workspace = 8 * (2 * case.length * case.head_dim + scores) * 4
        return {
            "forward_backward_peak_bytes": metric(3 * workspace, "bytes"),
            "workspace_bytes": metric(workspace, "bytes"),
        }
    scores = case.n_blocks * case.block_size**2 if case.has_pattern else 0
    if subject.startswith("dense"):
        scores = case.length**2
    operations = case.head_dim * case.batch * case.heads * scores
    rate = SHARES[subject] * SGEMM * threads / 2
    found = {
        "forward_ms": some(4e-6 * operations / rate, "ms"),
        "forward_rate_gflops": some(rate, "GFLOP/s", up=True),
    }
    if "forward" not in subject:
        found["forward_backward_ms"] = some(14e-6 * operations / rate, "ms")
        found["flops_rate_gflops"] = some(rate, "GFLOP/s", up=True)
    return found
