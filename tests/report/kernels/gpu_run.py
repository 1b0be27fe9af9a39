"""Records of kernel cases on a GPU, with made-up times in proportion to made-up expected ones."""

from dataclasses import dataclass

from spion_bench.records import CudaTiming, GpuReadings, KernelShape, Spread
from tests.report.kernels.sweep_run import pattern_of
from tests.report.run_writer import ENVIRONMENT, metric, sampled

ON_A100 = ENVIRONMENT.model_copy(update={"gpu": "NVIDIA A100-SXM4-80GB", "gpu_driver": "580.1"})
GPU = GpuReadings(
    readings=40,
    sm_clock_mhz=Spread(lowest=1380, median=1395, highest=1410),
    throttle_reasons=[],
    throttled=0,
)
IMPLEMENTATIONS = (
    "block_attention",
    "pipeline",
    "flex",
    "csr_pipeline",
    "dense_sdpa",
    "dense_xformers",
)

# Implementation -> its time over the expected time of the fused operator.
TIMES = {"block_attention": 1.1, "pipeline": 3.0, "flex": 1.6, "csr_pipeline": 9, "dense_sdpa": 12}

# Implementation that the model knows -> expected forward time in ms; backward takes twice as long.
EXPECTED_MS = {"block_attention": 0.05, "pipeline": 0.15, "dense_sdpa": 0.6}


@dataclass(frozen=True)
class GpuCase:
    """A case at a task's shape."""

    name: str
    task: str
    precision: str
    dtype: str
    length: int

    @property
    def shape(self):
        nb = self.length // 64
        return KernelShape(
            batch=32, heads=2, length=self.length, head_dim=32, block_size=64, n_blocks=3 * nb - 2
        )


HALF = ("float16 or bfloat16", "float16")
CASES = {
    case.name: case
    for case in (
        GpuCase("gpu_image_16bit", "image", *HALF, 1024),
        GpuCase("gpu_image_3xtf32", "image", "float32 as 3xTF32", "float32", 1024),
        GpuCase("gpu_listops_16bit", "listops", *HALF, 2048),
    )
}


def add_gpu_case(writer, case, **of_implementations):
    """Add a cell per implementation; ``of_implementations`` changes what some of them get."""
    for implementation in IMPLEMENTATIONS:
        options = of_implementations.get(implementation, {})
        if implementation == "dense_xformers":
            options = {"status": "unsupported", "reason": "xformers is not installed"} | options
        add_gpu_cell(writer, case, implementation, **options)


def add_gpu_cell(
    writer,
    case,
    implementation,
    *,
    times=None,
    status="ok",
    reason=None,
    gpu=GPU,
    host_bound=(),
):
    asked = {
        "device": "cuda",
        "dtype": case.dtype,
        "sweeps": ["tasks"],
        "tasks": [case.task],
        "precision": case.precision,
        "measures": "passes",
    }
    measured = {"status": status, "reason": reason, "environment": ON_A100}
    if status == "ok":
        measured |= {
            "gpu": gpu,
            "cuda_timing": CudaTiming(
                l2=["cold", "warm"], l2_bytes=1, flush_bytes=2, host_bound=list(host_bound)
            ),
            "metrics": metrics_of(
                implementation, TIMES[implementation] if times is None else times
            ),
            "pattern": pattern_of(case.shape, implementation),
        }
    return writer.add_kernel(
        implementation, case=case.name, shape=case.shape, cell=asked, **measured
    )


def metrics_of(implementation, times):
    found = {}
    for factor, pass_ in ((1, "forward"), (2, "backward")):
        cold = times * factor * EXPECTED_MS["block_attention"]
        found[f"{pass_}_ms"] = sampled(cold, "ms")
        found[f"{pass_}_warm_ms"] = sampled(0.8 * cold, "ms")
        if implementation in EXPECTED_MS:
            expected = factor * EXPECTED_MS[implementation]
            bounds = {"low": 0.8 * expected, "high": 1.3 * expected}
            found[f"{pass_}_expected_ms"] = metric(expected, "ms", modelled=True, **bounds)
            found[f"{pass_}_floor_ms"] = metric(0.5 * expected, "ms", modelled=True)
    return found
