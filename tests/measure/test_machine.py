import os
import platform
import subprocess
import sys
from types import SimpleNamespace

from spion_bench.measure import machine
from spion_bench.measure.machine import (
    SHELL_CPUS,
    cpu_model,
    load_average,
    memory_kills,
    memory_shortage,
    shell_affinity,
    usable_cpus,
)


def test_cpu_model_is_read_without_double_spaces(tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\nmodel name\t: Some  CPU @ 2 GHz\n")
    assert cpu_model(path) == "Some CPU @ 2 GHz"


def test_cpu_model_falls_back_to_the_machine_type(tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\n")
    assert cpu_model(path) == platform.machine()
    assert cpu_model(tmp_path / "none") == platform.machine()


def test_only_cores_that_the_process_may_use_count(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5, 7})
    assert usable_cpus() == {3, 5, 7}


def test_memory_that_workers_fill_is_said(monkeypatch):
    def has(available):
        memory = SimpleNamespace(total=24 << 30, available=available)
        monkeypatch.setattr(machine.psutil, "virtual_memory", lambda: memory)
        return memory_shortage(38)

    assert has(2 << 30) is None
    assert has(1 << 30).startswith("38 workers of the turn leave 1.00 of 24.0 GiB of memory, in")


def test_systems_without_affinity_or_load(monkeypatch):
    monkeypatch.delattr(machine.os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cpus() == {0}
    with shell_affinity():
        pass  # there is nothing to set

    def no_load():
        raise OSError

    monkeypatch.setattr(os, "getloadavg", no_load)
    assert load_average() is None


def test_kills_for_memory_are_counted_where_the_system_says(tmp_path):
    file = tmp_path / "vmstat"
    assert memory_kills(file) is None
    file.write_text("pgfault 7\noom_kill 3\n")
    assert memory_kills(file) == 3
    file.write_text("pgfault 7\n")
    assert memory_kills(file) is None


def test_a_process_that_torch_bound_to_one_cpu_starts_workers_on_all():
    say = "import os; print(len(os.sched_getaffinity(0)))"
    body = f"""
import os, subprocess, sys
import spion_bench
from spion_bench.measure.machine import available_cores, shell_affinity
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])  # as OMP_PROC_BIND=true does
with shell_affinity():
    subprocess.run([sys.executable, "-c", {say!r}])
print(available_cores(), len(os.sched_getaffinity(0)), flush=True)
"""
    done = subprocess.run([sys.executable, "-c", body], capture_output=True, text=True, check=True)
    cpus = len(SHELL_CPUS)
    assert sorted(done.stdout.split("\n")) == ["", *sorted([str(cpus), f"{cpus} 1"])]
