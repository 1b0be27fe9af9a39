import subprocess
import sys
import time

import psutil
import pytest

from spion_bench.measure.load import CpuTime, LoadSampler, read_cpu_times


def sampler(*times):
    given = [CpuTime(0.0, 0.0, 0.0), *times]
    return LoadSampler(lambda: given.pop(0), cpus=2)


@pytest.mark.parametrize(
    ("end", "others"),
    [
        pytest.param(CpuTime(12.0, 103.0, 7.0), 0.5, id="busy 3 s of 2, of which 2 are ours"),
        pytest.param(CpuTime(12.0, 101.9, 7.0), 0.0, id="rounding of the clocks is no load"),
        pytest.param(CpuTime(12.0, 0.0, 7.0), None, id="the system counts nothing"),
    ],
)
def test_others_are_what_is_busy_and_not_ours(end, others):
    load = sampler(CpuTime(10.0, 100.0, 5.0), end)
    load.start()
    assert load.stop() == others


def test_the_work_of_children_is_ours(monkeypatch):
    before = read_cpu_times()
    burn = "import time; e = time.process_time() + 0.5\nwhile time.process_time() < e: pass"
    child = subprocess.Popen([sys.executable, "-c", burn])
    while child.poll() is None:
        time.sleep(0.05)
    after = read_cpu_times()
    assert after.own - before.own > 0.4
    assert after.busy - before.busy > 0.4
    assert after.wall > before.wall


def test_a_process_that_ends_meanwhile_is_left_out(monkeypatch):
    class Gone:
        def cpu_times(self):
            raise psutil.NoSuchProcess(1)

    monkeypatch.setattr(psutil.Process, "children", lambda self, recursive: [Gone()])
    assert read_cpu_times().own > 0


def test_without_proc_the_load_is_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    load = LoadSampler()
    load.start()
    assert load.stop() is None
