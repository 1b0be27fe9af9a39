"""The sampling process for real, in front of the library that ``conftest`` builds."""

import os
import time

import pytest

from spion_bench.measure import gpu_watch
from spion_bench.measure.gpu_sampler import Tally
from spion_bench.measure.gpu_watch import GpuWatch, NoGpu
from spion_bench.measure.nvml import NvmlGpu
from spion_bench.records import GpuReadings, GpuRound, Spread
from tests.measure.conftest import UUID

IDLE, POWER = 0x01, 0x04
FLAT = {
    "sm_clock_mhz": Spread(lowest=1410, median=1410, highest=1410),
    "memory_clock_mhz": Spread(lowest=1593, median=1593, highest=1593),
    "temperature_c": Spread(lowest=61, median=61, highest=61),
    "power_w": Spread(lowest=301.5, median=301.5, highest=301.5),
    "utilisation_percent": Spread(lowest=98, median=98, highest=98),
}


def sample(watch, readings=3):
    """Hold a window open until its sampler has surely taken some readings."""
    with watch.window():
        time.sleep(0.01 * readings + 0.1)


def tally_of(*bits, stub, pid=None, closed=()):
    """Take readings with these bits; those whose place is in ``closed`` end after the window."""
    with NvmlGpu(UUID) as gpu:
        tally = Tally(gpu, pid)
        for place, each in enumerate(bits):
            stub.answer(nvmlDeviceGetCurrentClocksEventReasons=each)
            tally.read(lambda place=place: place in closed)
        return tally.window()


def test_windows_are_summarised_and_what_happens_between_them_is_not_in_it(stub):
    with GpuWatch(UUID, 0.01) as watch:
        sample(watch)
        stub.answer(sm_clock=300, nvmlDeviceGetTemperature=20)
        time.sleep(0.05)
        stub.answer(sm_clock=1410, nvmlDeviceGetTemperature=61)
        sample(watch)
        assert watch.last_round() == GpuRound(sm_clock_mhz=1410, throttle_reasons=[])
        found = watch.readings()
    assert found.readings >= 2
    rest = {"throttle_reasons": [], "throttled": 0, "interval_s": 0.01}
    assert found == GpuReadings(readings=found.readings, **FLAT, **rest)


def test_what_slows_the_gpu_down_is_counted_and_a_window_can_be_forgotten(stub):
    with GpuWatch(UUID, 0.01) as watch:
        sample(watch)
        stub.answer(nvmlDeviceGetCurrentClocksEventReasons=POWER, sm_clock=1200)
        sample(watch)
        last, both = watch.last_round(), watch.readings()
        watch.forget_last()
        first = watch.readings()
    assert (last.sm_clock_mhz, last.throttle_reasons) == (1200, ["sw_power_cap"])
    assert (both.sm_clock_mhz.lowest, both.throttle_reasons) == (1200, ["sw_power_cap"])
    assert 0 < both.throttled < both.readings
    assert (first.sm_clock_mhz.lowest, first.throttle_reasons, first.throttled) == (1410, [], 0)


def test_readings_of_an_idle_gpu_are_not_the_runs(stub):
    found = tally_of(IDLE, 0, IDLE, stub=stub)
    assert (found.readings, found.idle, found.values["sm_clock_mhz"]) == (1, 2, {1410: 1})
    stub.answer(nvmlDeviceGetCurrentClocksEventReasons=IDLE)
    with GpuWatch(UUID, 0.01) as watch:
        sample(watch)
        assert watch.last_round() == GpuRound()
        found = watch.readings()
    assert (found.readings, found.sm_clock_mhz) == (0, None)
    assert found.idle > 0
    assert "found it idle" in found.problem


def test_a_reading_during_which_the_window_was_closed_is_dropped(stub):
    found = tally_of(0, POWER, stub=stub, closed={1})
    assert (found.readings, found.reasons, found.throttled) == (1, {}, 0)


def test_a_window_shorter_than_an_interval_has_no_reading_and_says_so(stub):
    with GpuWatch(UUID, 5.0) as watch:
        with watch.window():
            pass
        problem = watch.readings().problem
    assert problem == "no reading while it worked, one every 5 s: 0 found it idle"


def test_one_refused_reading_leaves_the_others(stub):
    stub.refuse("nvmlDeviceGetPowerUsage", "no permission")
    with GpuWatch(UUID, 0.01) as watch:
        sample(watch)
        found = watch.readings()
    assert (found.power_w, found.problem) == (None, None)
    assert found.temperature_c == FLAT["temperature_c"]
    assert found.problems == {"power_w": "NVML: Insufficient Permissions"}


def test_the_memory_of_the_process_is_its_highest_even_when_idle(stub, monkeypatch):
    monkeypatch.setattr("spion_bench.measure.gpu_sampler.pid_problem", lambda: None)
    stub.answer(nvmlDeviceGetComputeRunningProcesses=42)
    found = tally_of(IDLE, 0, stub=stub, pid=42)
    assert (found.process_peak_bytes, found.problems) == (42000, {})
    assert tally_of(0, stub=stub).process_peak_bytes is None  # that was not asked for


@pytest.mark.parametrize(
    ("answers", "pid", "reason"),
    [
        ({}, 42, "process 42 is not among the 0 that NVML lists"),
        ({"nvmlDeviceGetComputeRunningProcesses": 7}, 42, "not among the 1 that NVML lists"),
        (
            {"nvmlDeviceGetComputeRunningProcesses": 42, "bytes_unknown": 1},
            42,
            "NVML lists process 42 without its memory",
        ),
    ],
)
def test_memory_that_nvml_does_not_tell_is_missing_with_a_reason(
    stub, monkeypatch, answers, pid, reason
):
    monkeypatch.setattr("spion_bench.measure.gpu_sampler.pid_problem", lambda: None)
    stub.answer(**answers)
    found = tally_of(0, stub=stub, pid=pid)
    assert found.process_peak_bytes is None
    assert reason in found.problems["process_peak_bytes"]


def test_in_a_container_no_other_process_is_taken_for_ours(stub, monkeypatch):
    monkeypatch.setattr("spion_bench.measure.gpu_sampler.pid_problem", lambda: "in a container")
    stub.answer(nvmlDeviceGetComputeRunningProcesses=os.getpid())
    found = tally_of(0, stub=stub, pid=os.getpid())
    assert found.process_peak_bytes is None
    assert found.problems == {"process_peak_bytes": "in a container"}


def test_without_a_gpu_there_is_a_reason_and_no_error(stub):
    stub.refuse("nvmlInit", "not loaded")
    with GpuWatch(UUID, 0.01) as watch:
        for _ in range(2):
            sample(watch)
        assert watch.last_round() == GpuRound()
        assert watch.readings().problem == "NVML: Driver Not Loaded"
        assert watch.process_peak_bytes() is None


def test_a_sampler_that_dies_is_a_reason_and_no_error(stub):
    with GpuWatch(UUID, 0.01) as watch:
        sample(watch)
        watch._process.kill()
        watch._process.wait()
        sample(watch)
        found = watch.readings()
    assert found.readings > 0
    assert "the sampling process does not answer" in found.problem


def test_a_sampler_that_hangs_is_not_waited_for(stub, monkeypatch):
    monkeypatch.setattr(gpu_watch, "ANSWER_S", 0.2)
    monkeypatch.setattr(gpu_watch, "BOOT", "import time; time.sleep(60)")
    with GpuWatch(UUID, 0.01) as watch:
        sample(watch)
        assert "nothing came within 0.2 s" in watch.readings().problem
    assert watch._process.returncode is not None


@pytest.mark.parametrize(
    "line", ["[]", "null", "{", "\\xff", '{"values": []}', '{"readings": "x"}']
)
def test_a_sampler_that_answers_nonsense_is_a_reason_and_no_error(monkeypatch, line):
    boot = (
        f"import os; os.read(0, 1); os.write(1, {line!r}.encode('latin-1') + b'\\n'); os.read(0, 1)"
    )
    monkeypatch.setattr(gpu_watch, "BOOT", boot)
    with GpuWatch(UUID, 0.01) as watch:
        with watch.window():
            pass
        assert watch.last_round() == GpuRound()
        assert "the sampling process does not answer" in watch.readings().problem


def test_a_sampler_that_cannot_start_is_a_reason_and_no_error(monkeypatch):
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with GpuWatch(UUID, 0.01) as watch:
        with watch.window():
            pass
        assert "the sampling process does not start" in watch.readings().problem


def test_hours_of_readings_stay_small(stub):
    with NvmlGpu(UUID) as gpu:
        tally = Tally(gpu)
        for _ in range(500):
            tally.read(lambda: False)
        line = tally.window().to_line()
    assert gpu_watch.WINDOW.validate_json(line).readings == 500
    assert len(line) < 1000


def test_without_a_gpu_nothing_is_sampled():
    with NoGpu() as watch:
        with watch.window():
            pass
        watch.forget_last()
        found = (watch.last_round(), watch.readings(), watch.process_peak_bytes())
    assert found == (None, None, None)
