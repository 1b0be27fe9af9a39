from types import SimpleNamespace

import pytest

from spion_bench.measure.cuda_clock import FLUSH_TIMES_L2, MAX_SAMPLES, CudaTimer
from tests.measure.fake_gpu import L2_BYTES, FakeGpu


@pytest.fixture
def gpu():
    return FakeGpu()


@pytest.fixture
def timer(gpu):
    made = CudaTimer("cpu", gpu, gpu.clock)
    assert made._buffer.nbytes == made.flush_bytes == FLUSH_TIMES_L2 * L2_BYTES
    made._buffer = SimpleNamespace(sum=lambda: gpu.enqueue("flush", 50e-6))
    return made


def take(timer, call, **options):
    return timer.sample_ms(
        "call_ms", call, **{"l2": "warm", "seconds": 0.0, "min_samples": 3} | options
    )


@pytest.mark.parametrize("host_s", [5e-6, 100e-6, 3e-3])
def test_a_sample_is_the_devices_time_however_slowly_the_host_launches(gpu, timer, host_s):
    def call():
        for _ in range(3):
            gpu.enqueue("kernel", 10e-6, host_s)

    assert take(timer, call) == pytest.approx([0.03] * 3)
    assert timer.host_bound == set()


def test_a_call_that_waits_for_the_device_is_timed_with_its_waiting_and_named(gpu, timer):
    def call():
        gpu.enqueue("kernel", 10e-6)
        gpu.synchronize()
        gpu.enqueue("kernel", 10e-6, 100e-6)

    assert take(timer, call) == pytest.approx([0.12] * 3)
    assert timer.host_bound == {"call_ms"}


def test_cold_means_that_the_cache_is_cleared_between_the_setup_and_the_first_event(gpu, timer):
    def setup():
        gpu.enqueue("setup", 1e-6)

    def call():
        gpu.enqueue("call", 1e-6)

    take(timer, call, l2="cold", min_samples=1, setup=setup)
    take(timer, call, l2="warm", min_samples=1, setup=setup)
    cold = ["setup", "flush", "spin", "event", "call", "event"]
    assert gpu.log == [*cold, *(name for name in cold if name != "flush")]


def test_sampling_goes_on_until_the_time_is_over_but_not_for_ever(gpu, timer):
    assert 3 < len(take(timer, lambda: gpu.enqueue("call", 1e-3), seconds=0.02)) < MAX_SAMPLES
    assert len(take(timer, lambda: gpu.enqueue("call", 1e-6), seconds=9.0)) == MAX_SAMPLES


def test_warm_up_waits_for_each_call(gpu, timer):
    timer.warm_up(
        lambda: gpu.enqueue("call", 0.3), seconds=1.0, setup=lambda: gpu.enqueue("setup", 0.0)
    )
    assert gpu.log == ["setup", "call"] * 4
    assert gpu.host >= gpu.free_at
