import pytest
import torch

from spion_bench.measure.cuda_clock import CudaTimer
from spion_bench.model.attention import UnavailableError, UnsupportedError
from spion_bench.passes.kernel.prepared import Prepared
from spion_bench.passes.kernel.session import KernelSession
from spion_bench.passes.kernel.timing import CpuStopwatch, GpuStopwatch, stopwatch
from spion_bench.records import CudaTiming
from spion_bench.records.settings import MeasureSettings
from spion_bench.suite.cases import find_case
from spion_bench.suite.metrics import sampled
from tests.measure.fake_gpu import L2_BYTES, FakeGpu
from tests.passes.kernel.jobs import kernel_job, on_progress

SETTINGS = MeasureSettings(rounds=1, warmup_s=0.0, round_s=0.0, min_samples=2)


def test_a_turn_on_a_gpu_times_each_pass_with_cold_and_warm_cache():
    gpu = FakeGpu()
    watch = GpuStopwatch(("cold", "warm"), CudaTimer("cpu", gpu, gpu.clock))
    prepared = Prepared(
        {
            "forward_ms": lambda: gpu.enqueue("forward", 20e-6),
            "backward_ms": lambda: gpu.enqueue("backward", 70e-6),
        },
        {"backward_ms": lambda: gpu.enqueue("setup", 20e-6)},
    )
    samples = watch.turn(prepared, SETTINGS)
    assert samples == {
        "forward_ms": pytest.approx([0.02] * 2),
        "forward_warm_ms": pytest.approx([0.02] * 2),
        "backward_ms": pytest.approx([0.07] * 2),
        "backward_warm_ms": pytest.approx([0.07] * 2),
    }
    assert gpu.log.count("setup") == gpu.log.count("backward")
    assert [sampled(name, found).unit for name, found in samples.items()] == ["ms"] * 4
    assert watch.timing() == CudaTiming(
        l2=["cold", "warm"], l2_bytes=L2_BYTES, flush_bytes=4 * L2_BYTES, host_bound=[]
    )


def test_on_the_cpu_the_clock_is_that_of_the_cpu():
    watch = stopwatch(find_case("sweep_base"), "cpu")
    assert isinstance(watch, CpuStopwatch)
    assert watch.timing() is None


def test_a_case_is_not_measured_on_another_device_than_its_own():
    with pytest.raises(UnsupportedError, match="gpu_image_tf32 is a case for cuda; this run is on"):
        stopwatch(find_case("gpu_image_tf32"), "cpu")
    with pytest.raises(UnsupportedError, match="sweep_base is a case for cpu"):
        stopwatch(find_case("sweep_base"), "cuda")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("case", ["attention_256", "gpu_image_16bit"])
def test_a_session_on_a_gpu_that_is_not_there_is_unsupported(tmp_path, case):
    job = kernel_job(tmp_path, case, "block_attention", device="cuda")
    with pytest.raises(UnavailableError, match="no CUDA device is available"):
        KernelSession(job, on_progress)


def test_a_session_on_a_gpu_adds_what_the_model_says(tmp_path, monkeypatch):
    """The session as on an A100, except that its work runs on the CPU in simulated time."""
    gpu = FakeGpu()
    watch = GpuStopwatch(("cold", "warm"), CudaTimer("cpu", gpu, gpu.clock))
    case = find_case("gpu_image_16bit")
    monkeypatch.setattr("spion_bench.passes.kernel.session.stopwatch", lambda case, device: watch)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA A100-SXM4-80GB")
    calls = {name: lambda: gpu.enqueue("work", 1e-4) for name in ("forward_ms", "backward_ms")}
    monkeypatch.setattr(
        "spion_bench.passes.kernel.session.prepare",
        lambda *arguments: Prepared(calls, flops={"forward_ms": 10**9}),
    )
    job = kernel_job(tmp_path, case.name, "block_attention", device="cuda")
    session = KernelSession(job, on_progress)
    session.measure()
    session.measure()
    outcome = session.result()
    modelled = {name for name, metric in outcome.metrics.items() if metric.modelled}
    passes = ("forward", "backward")
    assert modelled == {f"{p}_{what}_ms" for p in passes for what in ("expected", "floor")}
    measured = {f"{p}{state}_ms" for p in passes for state in ("", "_warm")}
    assert outcome.metrics.keys() == modelled | measured | {"forward_rate_gflops"}
    assert outcome.metrics["forward_rate_gflops"].value == pytest.approx(1e4)
    assert (job.cell.tasks, job.cell.precision) == (("image",), "16bit")
    assert outcome.cuda_timing.l2 == ["cold", "warm"]
    assert outcome.gate_length == 1024
