"""Energy of a piece of work: a GPU board's counter (NVML), or the counters of CPU packages (RAPL).

Both count all that their hardware does, idle power and other processes included. Counters move in
steps of up to a tenth of a second, so shorter work than ``WINDOW_S`` is repeated.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from spion_bench.measure.clock import Clock
from spion_bench.measure.gpu_watch import torch_uuid
from spion_bench.measure.nvml import NvmlError, NvmlGpu

WINDOW_S = 5.0
POWERCAP = Path("/sys/class/powercap")


class EnergyError(RuntimeError):
    """Energy cannot be measured here; the message says why in one sentence."""


class EnergyMeter(Protocol):
    """Counts joules.

    Attributes:
        method: How, in words for the record.
    """

    method: str

    def joules(self) -> dict[str, float]:
        """Return the joules used so far by domain: ``main``, and ``dram`` if it has its own."""


class NvmlMeter:
    """The energy counter of a GPU's board.

    Raises:
        EnergyError: If NVML, the GPU or the counter is not there, or MIG may share the board.
    """

    method = "NVML's energy counter of the whole board, idle power included"

    def __init__(self, uuid: str) -> None:
        try:
            self._gpu = NvmlGpu(uuid)
        except NvmlError as error:
            raise EnergyError(f"the GPU's energy counter: {error}") from error
        if self._gpu.is_mig:
            self._gpu.close()
            raise EnergyError("the energy counter is the whole board's, which MIG lets others use")
        self.joules()

    def joules(self) -> dict[str, float]:
        """Return the joules used so far.

        Raises:
            EnergyError: If the counter cannot be read.
        """
        counted = self._gpu.energy_mj()
        if counted is None:
            raise EnergyError(f"the GPU's energy counter: {self._gpu.problems['energy']}")
        return {"main": counted / 1e3}


@dataclass
class _Domain:
    """One counter of RAPL, in microjoules; it starts again at 0 beyond ``range_uj``."""

    kind: str
    folder: Path
    range_uj: int
    last_uj: int
    total_uj: int = 0

    def advance(self) -> None:
        now = _number(self.folder / "energy_uj")
        self.total_uj += now - self.last_uj + (self.range_uj if now < self.last_uj else 0)
        self.last_uj = now


class RaplMeter:
    """The energy counters of all CPU packages together, and those of their memory apart.

    Read it more often than a counter needs for a whole round: minutes at the highest power.

    Raises:
        EnergyError: If there is no such counter, or it may not be read.
    """

    def __init__(self, root: Path = POWERCAP) -> None:
        try:
            self._domains = list(_domains(root))
        except PermissionError as error:
            raise EnergyError(
                f"{error.filename} may be read by root only; run as root, or let this account "
                "read it"
            ) from error
        except (OSError, ValueError) as error:
            raise EnergyError(f"the CPU's energy counters cannot be read: {error}") from error
        packages = sum(domain.kind == "main" for domain in self._domains)
        if packages == 0:
            raise EnergyError(
                f"{root} has no energy counter of a CPU package, as in most virtual machines"
            )
        named = "1 CPU package" if packages == 1 else f"{packages} CPU packages"
        self.method = f"RAPL's counters of {named}, idle power and other processes included"

    def joules(self) -> dict[str, float]:
        """Return the joules used since the meter was made.

        Raises:
            EnergyError: If a counter cannot be read.
        """
        found: dict[str, float] = {}
        try:
            for domain in self._domains:
                domain.advance()
                found[domain.kind] = found.get(domain.kind, 0.0) + domain.total_uj / 1e6
        except (OSError, ValueError) as error:
            raise EnergyError(f"the CPU's energy counters cannot be read: {error}") from error
        return found


def _domains(root: Path) -> list[_Domain]:
    """Return the counters of packages and of their memory.

    Left out: parts of a package (core, uncore), which its own counter includes; the platform
    (psys), which includes packages; and a package's second interface (``intel-rapl-mmio``).
    """
    found = []
    for folder in sorted(root.glob("intel-rapl:*")):
        name = (folder / "name").read_text(encoding="ascii").strip()
        kind = "main" if name.startswith("package") else name
        if kind in ("main", "dram"):
            largest = _number(folder / "max_energy_range_uj")
            found.append(_Domain(kind, folder, largest, _number(folder / "energy_uj")))
    return found


def energy_meter(device: str) -> EnergyMeter:
    """Return what counts the energy of ``"cpu"`` or ``"cuda"``.

    Raises:
        EnergyError: If it cannot be measured here.
    """
    return RaplMeter() if device == "cpu" else NvmlMeter(torch_uuid())


@dataclass(frozen=True)
class Used:
    """What a piece of work used: how often it ran, for how long, and the joules by domain."""

    count: int
    seconds: float
    joules: dict[str, float]


def measure_energy(
    call: Callable[[], object],
    meter: EnergyMeter,
    *,
    seconds: float = WINDOW_S,
    clock: Clock = time.perf_counter,
) -> Used:
    """Repeat ``call``, which waits for its device itself, for at least ``seconds``.

    Raises:
        EnergyError: If the counter cannot be read, or did not move.
    """
    before, start, count = meter.joules(), clock(), 0
    while clock() - start < seconds:
        call()
        after = meter.joules()
        count += 1
    took = clock() - start
    spent = {domain: after[domain] - before[domain] for domain in after}
    if not spent["main"] > 0:
        raise EnergyError(f"the energy counter did not move in {took:.1f} s")
    return Used(count, took, spent)


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))
