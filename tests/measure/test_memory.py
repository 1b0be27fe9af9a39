import json
import os
import subprocess
import sys

import pytest
import torch

from spion_bench.measure import memory
from spion_bench.measure.memory import (
    MALLOC_ENVIRONMENT,
    CpuPeakMeter,
    CudaPeakMeter,
    clear_refs_problem,
    peak_meter,
    present_bytes,
    resident_bytes,
)

MIB = 1024 * 1024

# In a process with tuned malloc: what the meter says about a known allocation that is freed again,
# after a larger one before the reset.
ALLOCATE = """
import json, torch
from spion_bench.measure.memory import CpuPeakMeter, release_free_heap, resident_bytes
torch.ones(64, 1024, 1024).sum()  # 256 MiB, before the frame
def work():
    torch.ones(16, 1024, 1024).sum()  # 64 MiB
work()
release_free_heap()
meter = CpuPeakMeter(resident_bytes())
meter.reset()
work()
print(json.dumps([meter.peak_bytes(), resident_bytes() - meter.baseline_bytes]))
"""


@pytest.fixture
def proc(tmp_path):
    (tmp_path / "status").write_text("Name:\tx\nVmHWM:\t   3000 kB\nVmRSS:\t   2000 kB\n")
    (tmp_path / "clear_refs").write_text("")
    return tmp_path


def test_reset_writes_the_code_that_lowers_the_mark(proc):
    CpuPeakMeter(proc=proc).reset()
    assert (proc / "clear_refs").read_text() == "5"


def test_peak_is_above_the_baseline(proc):
    assert CpuPeakMeter(proc=proc).peak_bytes() == 3000 * 1024
    assert CpuPeakMeter(1000 * 1024, proc).peak_bytes() == 2000 * 1024
    assert CpuPeakMeter(9000 * 1024, proc).peak_bytes() == 0


def test_resident_size_is_read_in_bytes(proc):
    assert resident_bytes(proc) == 2000 * 1024


def test_a_fit_system_has_no_problem(proc):
    assert clear_refs_problem(proc) is None


def test_missing_field_is_a_problem_that_names_it(proc):
    (proc / "status").write_text("Name:\tx\n")
    assert "no VmHWM line" in clear_refs_problem(proc)


def test_missing_folder_is_a_problem_that_names_it(tmp_path):
    assert str(tmp_path / "none") in clear_refs_problem(tmp_path / "none")


@pytest.mark.skipif(clear_refs_problem() is not None, reason="clear_refs is not writable here")
def test_framed_peak_of_a_known_allocation_in_a_tuned_process():
    answer = subprocess.run(
        [sys.executable, "-c", ALLOCATE],
        env={**os.environ, **MALLOC_ENVIRONMENT},
        capture_output=True,
        text=True,
        check=True,
    )
    peak, left = json.loads(answer.stdout)
    assert peak == pytest.approx(64 * MIB, abs=2 * MIB)
    assert left < 2 * MIB


def test_the_cpu_meter_measures_this_process():
    before = present_bytes("cpu")
    meter = peak_meter("cpu", before)
    assert isinstance(meter, CpuPeakMeter)
    assert before > 10 * MIB


def test_the_cuda_meter_reads_the_allocator(monkeypatch):
    calls = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: calls.append("synchronize"))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: calls.append("reset"))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 500)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 200)
    meter = peak_meter("cuda", present_bytes("cuda"))
    assert isinstance(meter, CudaPeakMeter)
    meter.reset()
    assert meter.peak_bytes() == 300
    assert calls == ["synchronize", "reset", "synchronize"]


def test_a_libc_without_malloc_trim_is_no_error(monkeypatch):
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())
    memory.release_free_heap()
