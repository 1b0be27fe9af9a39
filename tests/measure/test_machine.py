import os
import platform

from spion_bench.measure import machine
from spion_bench.measure.machine import available_cores, cpu_model, load_average, memory_kills


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
    assert available_cores() == 3


def test_systems_without_affinity_or_load(monkeypatch):
    monkeypatch.delattr(machine.os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cores() == 1

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
