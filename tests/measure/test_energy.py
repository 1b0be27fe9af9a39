from itertools import count

import pytest

from spion_bench.measure import energy
from spion_bench.measure.energy import (
    EnergyError,
    NvmlMeter,
    RaplMeter,
    energy_meter,
    measure_energy,
)
from tests.measure.conftest import UUID

RANGE_UJ = 262_143_328_850


class Powercap:
    """A tree as /sys/class/powercap has it: every domain a folder of the same level."""

    def __init__(self, root):
        self.root = root

    def add(self, folder, name, energy_uj, range_uj=RANGE_UJ):
        path = self.root / folder
        path.mkdir(parents=True)
        (path / "name").write_text(f"{name}\n")
        (path / "max_energy_range_uj").write_text(f"{range_uj}\n")
        self.set(folder, energy_uj)

    def set(self, folder, energy_uj):
        (self.root / folder / "energy_uj").write_text(f"{energy_uj}\n")


@pytest.fixture
def powercap(tmp_path):
    (tmp_path / "intel-rapl").mkdir()  # the control type itself
    tree = Powercap(tmp_path)
    tree.add("intel-rapl:0", "package-0", 1_000_000)
    tree.add("intel-rapl:0:0", "core", 700_000)
    tree.add("intel-rapl:0:1", "dram", 5_000_000)
    tree.add("intel-rapl:1", "package-1", 2_000_000)
    tree.add("intel-rapl:1:0", "dram", 0)
    tree.add("intel-rapl:2", "psys", 9_000_000)
    tree.add("intel-rapl-mmio:0", "package-0", 1_000_000)
    return tree


def test_packages_are_summed_memory_is_apart_and_nothing_counts_twice(powercap):
    meter = RaplMeter(powercap.root)
    assert meter.joules() == {"main": 0.0, "dram": 0.0}
    powercap.set("intel-rapl:0", 4_000_000)
    powercap.set("intel-rapl:1", 3_000_000)
    powercap.set("intel-rapl:1:0", 500_000)
    for other in ("intel-rapl:0:0", "intel-rapl:2", "intel-rapl-mmio:0"):
        powercap.set(other, 90_000_000)
    assert meter.joules() == {"main": 4.0, "dram": 0.5}
    assert meter.method.startswith("RAPL's counters of 2 CPU packages")


def test_a_counter_that_started_again_is_not_lost(powercap):
    meter = RaplMeter(powercap.root)
    for _ in range(3):  # three times around, seen each time
        powercap.set("intel-rapl:0", RANGE_UJ)
        meter.joules()
        powercap.set("intel-rapl:0", 0)
        meter.joules()
    powercap.set("intel-rapl:0", 1_000_000)
    assert meter.joules()["main"] == pytest.approx(3 * RANGE_UJ / 1e6)


def test_a_cpu_without_a_counter_of_its_memory_has_none(tmp_path):
    Powercap(tmp_path).add("intel-rapl:0", "package-0", 1)
    assert RaplMeter(tmp_path).joules() == {"main": 0.0}


def test_counters_that_only_root_may_read_are_said_to_be(powercap, monkeypatch):
    read = energy._number

    def refuse(path):
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(energy, "_number", refuse)
    with pytest.raises(EnergyError, match=r"intel-rapl:0/energy_uj may be read by root only"):
        RaplMeter(powercap.root)


def test_a_machine_without_counters_says_so(tmp_path):
    for root in (tmp_path, tmp_path / "missing"):
        with pytest.raises(EnergyError, match="no energy counter of a CPU package"):
            RaplMeter(root)


def test_a_counter_that_is_no_number_is_an_error_not_a_joule(powercap):
    meter = RaplMeter(powercap.root)
    powercap.set("intel-rapl:0", "")
    with pytest.raises(EnergyError, match="cannot be read"):
        meter.joules()
    with pytest.raises(EnergyError, match="cannot be read"):
        RaplMeter(powercap.root)


def test_the_gpus_counter_is_in_millijoules(stub):
    meter = NvmlMeter(UUID)
    assert meter.joules() == {"main": 5.0}
    stub.refuse("nvmlDeviceGetTotalEnergyConsumption", "gpu lost")
    with pytest.raises(EnergyError, match="GPU is lost"):
        meter.joules()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda s: s.refuse("nvmlInit", "not loaded"),
            "counter: NVML: Driver Not Loaded",
        ),
        (lambda s: s.answer(nvmlDeviceGetMigMode=1), "MIG lets others use"),
        (
            lambda s: s.refuse("nvmlDeviceGetTotalEnergyConsumption", "not supported"),
            "Not Supported",
        ),
        (
            lambda s: s.refuse("nvmlDeviceGetTotalEnergyConsumption", "no permission"),
            "Insufficient Permissions",
        ),
    ],
)
def test_a_gpu_without_an_energy_counter_of_ours_says_why(stub, change, reason):
    change(stub)
    with pytest.raises(EnergyError, match=reason):
        NvmlMeter(UUID)


def test_an_old_driver_has_no_energy_counter(old_stub):
    with pytest.raises(EnergyError, match="Function Not Found"):
        NvmlMeter(UUID)


def test_the_meter_is_that_of_the_device(monkeypatch, stub, powercap):
    monkeypatch.setattr(energy, "torch_uuid", lambda: UUID)
    assert isinstance(energy_meter("cuda"), NvmlMeter)
    monkeypatch.setattr(RaplMeter.__init__, "__defaults__", (powercap.root,))
    assert isinstance(energy_meter("cpu"), RaplMeter)


class Meter:
    """Counts 3 J a call."""

    method = "made up"

    def __init__(self, step=3.0):
        self.read = count()
        self.step = step

    def joules(self):
        return {"main": self.step * next(self.read), "dram": 1.0}


def test_work_is_repeated_for_the_whole_window():
    now = count()
    used = measure_energy(lambda: None, Meter(), seconds=5.0, clock=lambda: next(now))
    assert used.seconds >= 5
    assert used.joules == {"main": 3.0 * used.count, "dram": 0.0}


def test_a_counter_that_stands_still_is_no_number():
    now = count()
    with pytest.raises(EnergyError, match="did not move in"):
        measure_energy(lambda: None, Meter(0.0), seconds=5.0, clock=lambda: next(now))
