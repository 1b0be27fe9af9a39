from types import SimpleNamespace

import pytest
import torch

from spion_bench.measure.cuda_clock import CudaTimer
from spion_bench.model.attention import UnsupportedError
from spion_bench.passes.kernel.memory import KernelMemorySession
from spion_bench.passes.kernel.session import KernelSession
from spion_bench.passes.kernel.subjects import Prepared
from spion_bench.passes.kernel.timing import CpuStopwatch, GpuStopwatch, stopwatch
from spion_bench.suite.cases import find_case
from spion_bench.suite.metrics import sampled
from spion_bench.suite.profile import MeasureSettings
from tests.cells import tiny_job
from tests.measure.fake_gpu import L2_BYTES, FakeGpu

SETTINGS = MeasureSettings(rounds=1, warmup_s=0.0, round_s=0.0, min_samples=2)


class FakeClocks:
    """Counts its readings."""

    def __init__(self):
        self.reads = 0

    def read(self):
        self.reads += 1

    def settings(self):
        return {"throttle_reasons": "sw_power_cap"}


def test_a_turn_on_a_gpu_times_each_pass_with_cold_and_warm_cache_and_reads_the_clocks():
    gpu, clocks = FakeGpu(), FakeClocks()
    watch = GpuStopwatch(("cold", "warm"), CudaTimer("cpu", gpu, gpu.clock), clocks)
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
    assert clocks.reads == 5
    assert [sampled(name, found).unit for name, found in samples.items()] == ["ms"] * 4
    assert watch.settings() == {
        "timer": "CUDA events",
        "l2": "cold, warm",
        "l2_bytes": L2_BYTES,
        "flush_bytes": 4 * L2_BYTES,
        "host_bound": "",
        "throttle_reasons": "sw_power_cap",
    }


def test_on_the_cpu_the_clock_is_that_of_the_cpu():
    watch = stopwatch(find_case("sweep_base"), "cpu")
    assert isinstance(watch, CpuStopwatch)
    assert watch.settings() == {}


def test_a_case_is_not_measured_on_another_device_than_its_own():
    with pytest.raises(UnsupportedError, match="gpu_image_tf32 is a case for cuda; this run is on"):
        stopwatch(find_case("gpu_image_tf32"), "cpu")
    with pytest.raises(UnsupportedError, match="sweep_base is a case for cpu"):
        stopwatch(find_case("sweep_base"), "cuda")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("case", ["attention_256", "gpu_image_16bit"])
def test_a_session_on_a_gpu_that_is_not_there_is_unsupported(tmp_path, case):
    job = tiny_job(tmp_path, "kernel", "block_attention", case=case, device="cuda")
    with pytest.raises(UnsupportedError, match="no CUDA device is available"):
        KernelSession(job)


def test_memory_is_not_measured_on_a_gpu(tmp_path):
    changes = {"case": "sweep_memory_L1024", "device": "cuda"}
    with pytest.raises(UnsupportedError, match="on the CPU only"):
        KernelMemorySession(tiny_job(tmp_path, "kernel", "block_attention", **changes))


def test_a_session_on_a_gpu_lays_the_model_beside_its_times(tmp_path, monkeypatch):
    """The session as on an A100, but that its work runs on the CPU and its time is simulated."""
    gpu = FakeGpu()
    watch = GpuStopwatch(("cold", "warm"), CudaTimer("cpu", gpu, gpu.clock), FakeClocks())
    case = find_case("gpu_image_16bit")
    monkeypatch.setattr("spion_bench.passes.kernel.session.stopwatch", lambda case, device: watch)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA A100-SXM4-80GB")
    calls = {name: lambda: gpu.enqueue("work", 1e-4) for name in ("forward_ms", "backward_ms")}
    monkeypatch.setattr(
        "spion_bench.passes.kernel.session.kernel_subjects",
        SimpleNamespace(prepare=lambda *arguments: Prepared(calls, flops={"forward_ms": 10**9})),
    )
    job = tiny_job(tmp_path, "kernel", "block_attention", case=case.name, device="cuda")
    session = KernelSession(job)
    session.measure()
    session.measure()
    outcome = session.outcome()
    modelled = {name for name, metric in outcome.metrics.items() if metric.modelled}
    passes = ("forward", "backward")
    assert modelled == {f"{p}_{what}_ms" for p in passes for what in ("expected", "floor")}
    measured = {f"{p}{state}_ms" for p in passes for state in ("", "_warm")}
    assert outcome.metrics.keys() == modelled | measured | {"forward_rate_gflops"}
    assert outcome.metrics["forward_rate_gflops"].value == pytest.approx(1e4)
    assert outcome.settings["tasks"] == "image"
    assert outcome.settings["throttle_reasons"] == "sw_power_cap"
    assert outcome.settings["gate_length"] == 1024
