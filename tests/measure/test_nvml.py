"""The real nvidia-ml-py in front of a library that the tests build; see ``conftest``."""

import os
import subprocess
import sys

import pytest

from spion_bench.measure.nvml import (
    FIRST_PID_NAMESPACE,
    MISSING,
    NvmlError,
    NvmlGpu,
    pid_problem,
    throttle_reasons,
)
from tests import ROOT
from tests.measure.conftest import UUID

READINGS = {
    "name": "Some GPU",
    "driver": "600.1",
    "sm_clock_mhz": 1410,
    "memory_clock_mhz": 1593,
    "temperature_c": 61,
    "power_mw": 301500,
    "utilisation_percent": 98,
    "clock_bits": 0,
    "energy_mj": 5000,
    "process_bytes": {},
}
QUERIES = {
    "name": "nvmlDeviceGetName",
    "driver": "nvmlSystemGetDriverVersion",
    "sm_clock_mhz": "sm_clock",
    "memory_clock_mhz": "memory_clock",
    "temperature_c": "nvmlDeviceGetTemperature",
    "power_mw": "nvmlDeviceGetPowerUsage",
    "utilisation_percent": "nvmlDeviceGetUtilizationRates",
    "clock_bits": "nvmlDeviceGetCurrentClocksEventReasons",
    "energy_mj": "nvmlDeviceGetTotalEnergyConsumption",
    "process_bytes": "nvmlDeviceGetComputeRunningProcesses",
}


def read_all(gpu):
    return {name: getattr(gpu, name)() for name in READINGS}


def test_every_reading_is_what_the_library_says(stub):
    with NvmlGpu(UUID) as gpu:
        assert read_all(gpu) == READINGS
        assert (gpu.problems, gpu.is_mig) == ({}, False)


@pytest.mark.parametrize("error", ["not supported", "no permission", "gpu lost"])
@pytest.mark.parametrize("reading", READINGS)
def test_a_refused_query_costs_its_own_reading_alone(stub, reading, error):
    stub.refuse(QUERIES[reading], error)
    with NvmlGpu(UUID) as gpu:
        assert read_all(gpu) == {**READINGS, reading: None}
        [reason] = gpu.problems.values()
    words = {"no permission": "Insufficient Permissions", "gpu lost": "GPU is lost"}
    assert words.get(error, "Not Supported") in reason


def test_a_refused_query_is_not_tried_again(stub):
    stub.refuse("sm_clock", "no permission")
    with NvmlGpu(UUID) as gpu:
        assert gpu.sm_clock_mhz() is None
        stub.answer(sm_clock=1410)
        assert gpu.sm_clock_mhz() is None
        assert gpu.memory_clock_mhz() == 1593


def test_a_gpu_that_is_lost_meanwhile_keeps_what_was_read(stub):
    with NvmlGpu(UUID) as gpu:
        assert gpu.temperature_c() == 61
        for query in QUERIES.values():
            stub.refuse(query, "gpu lost")
        assert set(read_all(gpu).values()) == {None}
        assert len(gpu.problems) == len(QUERIES)


def test_functions_that_an_old_driver_lacks_cost_their_readings_alone(old_stub):
    with NvmlGpu(UUID) as gpu:
        lacking = dict.fromkeys(("clock_bits", "energy_mj", "process_bytes"))
        assert read_all(gpu) == {**READINGS, **lacking}
        assert all("unction" in reason for reason in gpu.problems.values())
        assert len(gpu.problems) == 3


@pytest.mark.parametrize(
    ("raised", "reason"),
    [(AttributeError("no nvmlDeviceGetName"), "no nvml"), (OSError("not mapped"), "not mapped")],
)
def test_a_binding_that_does_not_fit_costs_the_reading_alone(stub, monkeypatch, raised, reason):
    def fail(handle):
        raise raised

    monkeypatch.setattr("pynvml.nvmlDeviceGetName", fail)
    with NvmlGpu(UUID) as gpu:
        assert read_all(gpu) == {**READINGS, "name": None}
        assert reason in gpu.problems["name"]


@pytest.mark.parametrize("answer", [None, "full", float("nan"), float("inf"), object()])
def test_an_answer_that_is_no_number_costs_the_reading_alone(stub, monkeypatch, answer):
    monkeypatch.setattr("pynvml.nvmlDeviceGetPowerUsage", lambda handle: answer)
    monkeypatch.setattr("pynvml.nvmlDeviceGetComputeRunningProcesses", lambda handle: [answer])
    with NvmlGpu(UUID) as gpu:
        assert read_all(gpu) == {**READINGS, "power_mw": None, "process_bytes": None}
        assert sorted(gpu.problems) == ["power_w", "process_peak_bytes"]


def test_text_is_text_whatever_the_binding_returns(stub, monkeypatch):
    monkeypatch.setattr("pynvml.nvmlDeviceGetName", lambda handle: b"Some \xff GPU")
    with NvmlGpu(UUID) as gpu:
        assert gpu.name() == "Some \ufffd GPU"


def test_a_shutdown_that_fails_loses_nothing(stub):
    stub.refuse("nvmlShutdown", "gpu lost")
    with NvmlGpu(UUID) as gpu:
        assert gpu.name() == "Some GPU"


def test_a_mig_instance_is_asked_for_its_processes_and_its_board_for_the_rest(stub):
    stub.answer(
        **{f"MIG-{UUID}": 9, f"GPU-{UUID}": 0},
        nvmlDeviceIsMigDeviceHandle=1,
        nvmlDeviceGetDeviceHandleFromMigDeviceHandle=7,
        processes_of_instance=42,
    )
    with NvmlGpu(UUID) as gpu:
        assert gpu.is_mig
        expected = {"utilisation_percent": None, "process_bytes": {42: 42000}}
        assert read_all(gpu) == {**READINGS, **expected}


def test_a_gpu_that_is_split_is_not_ours_alone(stub):
    stub.answer(nvmlDeviceGetMigMode=1)
    with NvmlGpu(UUID) as gpu:
        assert gpu.is_mig
    stub.refuse("nvmlDeviceGetMigMode", "not supported")
    with NvmlGpu(UUID) as gpu:
        assert (gpu.is_mig, gpu.problems) == (False, {})


def test_processes_are_listed_with_their_memory_if_it_is_known(stub):
    stub.answer(nvmlDeviceGetComputeRunningProcesses=42)
    with NvmlGpu(UUID) as gpu:
        assert gpu.process_bytes() == {42: 42000}
        stub.answer(bytes_unknown=1)
        assert gpu.process_bytes() == {42: None}


def test_a_gpu_that_nvml_does_not_know_is_named(stub):
    with pytest.raises(NvmlError, match=r"Not Found \(GPU-other\)"):
        NvmlGpu("other")


def test_no_driver_and_no_permission_to_start_are_said(stub):
    for error, text in (("not loaded", "Driver Not Loaded"), ("no permission", "Permission")):
        stub.refuse("nvmlInit", error)
        with pytest.raises(NvmlError, match=text):
            NvmlGpu()


def test_without_the_binding_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(NvmlError) as found:
        NvmlGpu()
    assert str(found.value) == MISSING


@pytest.mark.parametrize("library", ["missing", "wrong ELF class", "no library"])
def test_a_library_that_cannot_be_loaded_is_no_traceback(tmp_path, stub_libraries, library):
    path = tmp_path / "libnvidia-ml.so.1"
    if library == "wrong ELF class":
        content = bytearray(stub_libraries["present"].read_bytes())
        content[4] = 1  # ELFCLASS32
        path.write_bytes(content)
    elif library == "no library":
        path.write_text("INPUT(libfoo.so)")
    code = (
        "from spion_bench.measure.nvml import NvmlError, NvmlGpu\n"
        "try:\n    NvmlGpu()\nexcept NvmlError as error:\n    print(error)"
    )
    environment = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "NVML: NVML Shared Library Not Found\n"


def test_a_process_in_a_container_has_another_number_than_nvml_knows(tmp_path, monkeypatch):
    assert "--pid=host" in pid_problem(tmp_path)
    assert pid_problem(tmp_path / "missing") is None
    first = os.stat_result((0, FIRST_PID_NAMESPACE, *[0] * 8))
    monkeypatch.setattr("pathlib.Path.stat", lambda path: first)
    assert pid_problem() is None


def test_idling_and_the_users_own_clocks_slow_nothing_down():
    assert throttle_reasons(0x01 | 0x02) == []
    assert throttle_reasons(0x24) == ["sw_power_cap", "sw_thermal_slowdown"]
