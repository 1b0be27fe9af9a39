"""What other processes use of the CPUs while something is measured.

The CPUs' busy time, which the system counts, minus that of this process and all its descendants.
Time that a hypervisor took away (steal) is others' too.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

import psutil

from spion_bench.measure.machine import SHELL_CPUS

_BUSY = ("user", "nice", "system", "irq", "softirq", "steal")


@dataclass(frozen=True)
class CpuTime:
    """Seconds since some moment: on the clock, of all processes on the CPUs, and of our own."""

    wall: float
    busy: float
    own: float


class CpuTimes(Protocol):
    """Reads the times; tests replace it."""

    def __call__(self) -> CpuTime:
        """Return the times now."""


def read_cpu_times() -> CpuTime:
    """Return the times of the CPUs that this process was started on; 0 where /proc is hidden."""
    try:
        by_cpu = psutil.cpu_times(percpu=True)
        me = psutil.Process()
        family = (me, *me.children(recursive=True))
    except (OSError, psutil.Error):
        return CpuTime(time.monotonic(), 0.0, 0.0)
    ours = [times for cpu, times in enumerate(by_cpu) if cpu in SHELL_CPUS]
    busy = sum(getattr(times, name, 0.0) for times in ours for name in _BUSY)
    own = 0.0
    for process in family:
        try:
            own += sum(process.cpu_times()[:4])  # user, system, and both of children that ended
        except psutil.NoSuchProcess:
            continue
    return CpuTime(time.monotonic(), busy, own)


class Sampler(Protocol):
    """Says how many cores other processes used; tests replace it."""

    cpus: int

    def start(self) -> None:
        """Begin."""

    def stop(self) -> float | None:
        """Return the cores that others used since ``start``; None if the system does not say."""


class LoadSampler:
    """Says so from the times of the CPUs.

    Args:
        read: Reads the times.
        cpus: How many CPUs the times are of.
    """

    def __init__(self, read: CpuTimes = read_cpu_times, cpus: int = len(SHELL_CPUS)) -> None:
        self.cpus = cpus
        self._read = read
        self._start = read()

    def start(self) -> None:
        """Begin."""
        self._start = self._read()

    def stop(self) -> float | None:
        """Return the cores that others used since ``start``; None if the system does not say."""
        start, end = self._start, self._read()
        if end.busy == 0 or end.wall == start.wall:
            return None
        others = (end.busy - start.busy) - (end.own - start.own)
        return max(0.0, others / (end.wall - start.wall))
