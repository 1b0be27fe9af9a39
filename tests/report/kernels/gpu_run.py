"""Records of the GPU's kernel cases, with made-up times in proportion to the model's."""

from spion_bench.gpu_model.devices import A100
from spion_bench.passes.kernel.modelled import modelled_metrics
from spion_bench.suite.cases.gpu import GPU_CASES
from tests.report.run_writer import ENVIRONMENT, sampled
from tests.report.sweep_run import pattern_of

ON_A100 = ENVIRONMENT.model_copy(update={"gpu": A100.driver_name, "gpu_driver": "580.1"})
CLOCKS = {
    "sm_clock_mhz_before": 1410,
    "sm_clock_mhz_after": 1395,
    "sm_clock_mhz_lowest": 1380,
    "memory_clock_mhz_after": 1593,
    "throttle_reasons": "",
    "host_bound": "",
}
CASES = {case.name: case for case in GPU_CASES}

# Subject -> its time over the expected time of the fused operator.
TIMES = {"block_attention": 1.1, "pipeline": 3.0, "flex": 1.6, "csr_pipeline": 9, "dense_sdpa": 12}


def add_gpu_case(writer, case, **of_subjects):
    """Add a cell per subject; ``of_subjects`` changes what ``add_gpu_cell`` gets for some."""
    for subject in case.subjects:
        options = of_subjects.get(subject, {})
        if subject == "dense_xformers":
            options = {"status": "unsupported", "reason": "xformers is not installed"} | options
        add_gpu_cell(writer, case, subject, **options)


def add_gpu_cell(writer, case, subject, *, times=None, measured=CLOCKS, status="ok", reason=None):
    found = {
        "task": None,
        "label": case.name,
        "device": "cuda",
        "dtype": case.dtype,
        "environment": ON_A100,
        "settings": case.settings() | (measured if status == "ok" else {}),
        "status": status,
        "reason": reason,
    }
    if status == "ok":
        found["metrics"] = metrics_of(case, subject, TIMES[subject] if times is None else times)
        found["pattern"] = pattern_of(case, subject)
    return writer.add("kernel", subject, **found)


def metrics_of(case, subject, times):
    expected = modelled_metrics(case, "block_attention", A100.driver_name)
    found = modelled_metrics(case, subject, A100.driver_name)
    for pass_ in ("forward", "backward"):
        cold = times * expected[f"{pass_}_expected_ms"].value
        found[f"{pass_}_ms"] = sampled(cold, "ms")
        found[f"{pass_}_warm_ms"] = sampled(0.8 * cold, "ms")
    return found
