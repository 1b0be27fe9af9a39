import sys
import types

import pytest
import torch

from spion_bench.measure import nvml as gpu_state
from spion_bench.measure.nvml import MISSING, ClockLog, nvml_handle
from spion_bench.records import Clocks

IDLE, USER_CLOCKS, POWER, THERMAL = 0x01, 0x02, 0x04, 0x20


def fake_nvml(readings=(), *, problem=None):
    """NVML that reports ``(SM clock, reasons)`` one after the other, or fails in ``init``."""
    module = types.ModuleType("pynvml")
    module.NVMLError = type("NVMLError", (Exception,), {})
    module.NVML_CLOCK_SM, module.NVML_CLOCK_MEM = 1, 2
    left = list(readings)

    def init():
        if problem:
            raise module.NVMLError(problem)

    def reasons(handle):
        if not left:
            raise module.NVMLError("Not Supported")
        return left[0][1]

    module.nvmlInit = init
    module.nvmlDeviceGetHandleByIndex = lambda index: f"number {index}"
    module.nvmlDeviceGetHandleByUUID = lambda uuid: uuid
    module.nvmlDeviceGetCurrentClocksEventReasons = reasons
    module.nvmlDeviceGetClockInfo = lambda handle, clock: (
        1593 if clock == 2 else left.pop(0)[0] if len(left) > 1 else left[0][0]
    )
    return module


def log_of(monkeypatch, nvml, reads):
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    log = ClockLog()
    for _ in range(reads):
        log.read()
    return log.clocks()


def test_clocks_before_and_after_and_what_slowed_the_gpu_down_in_between(monkeypatch):
    readings = [(1410, IDLE), (1200, POWER | USER_CLOCKS), (1005, THERMAL | POWER), (1300, IDLE)]
    assert log_of(monkeypatch, fake_nvml(readings), 4) == Clocks(
        sm_before_mhz=1410,
        sm_after_mhz=1300,
        sm_lowest_mhz=1005,
        memory_after_mhz=1593,
        throttle_reasons=["sw_power_cap", "sw_thermal_slowdown"],
    )


def test_idling_and_the_users_own_clocks_are_no_throttling(monkeypatch):
    clocks = log_of(monkeypatch, fake_nvml([(1410, IDLE | USER_CLOCKS)]), 1)
    assert clocks.throttle_reasons == []


@pytest.mark.parametrize(
    ("nvml", "reason"),
    [
        (None, MISSING),
        (fake_nvml(problem="Driver Not Loaded"), "NVML: Driver Not Loaded"),
        (fake_nvml(), "NVML: Not Supported"),
    ],
)
def test_clocks_that_cannot_be_read_are_no_numbers_but_a_reason(monkeypatch, nvml, reason):
    assert log_of(monkeypatch, nvml, 2) == Clocks(problem=reason)


def test_nvml_is_asked_for_the_gpu_that_torch_uses(monkeypatch):
    assert nvml_handle(fake_nvml(), 1) == "number 1"
    device = types.SimpleNamespace(uuid="ab-cd")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gpu_state.torch.cuda, "get_device_properties", lambda index: device)
    assert nvml_handle(fake_nvml(), 1) == "GPU-ab-cd"
