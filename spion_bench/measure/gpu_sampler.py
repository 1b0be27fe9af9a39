"""The process that reads a GPU's state while another one measures; it imports little.

A byte on stdin opens a window or closes it; a JSON line answers each. Between them the state is
read once per interval. The first reading comes an interval after the window opened, and one during
which the window was closed is dropped: neither may show a GPU that does nothing.
"""

from __future__ import annotations

import json
import os
import select
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace

from spion_bench.measure.nvml import IDLE_BIT, NvmlError, NvmlGpu, pid_problem, throttle_reasons

BEGIN, END = b"b", b"e"

READINGS: dict[str, Callable[[NvmlGpu], int | None]] = {
    "sm_clock_mhz": NvmlGpu.sm_clock_mhz,
    "memory_clock_mhz": NvmlGpu.memory_clock_mhz,
    "temperature_c": NvmlGpu.temperature_c,
    "power_mw": NvmlGpu.power_mw,
    "utilisation_percent": NvmlGpu.utilisation_percent,
}


@dataclass
class Window:
    """What was read between two moments.

    Attributes:
        readings: How many readings were taken while the GPU worked.
        idle: How many others found it idle; of these only the process's memory counts.
        values: By reading, how often each value came.
        reasons: How often each reason of low clocks came; None if unknown.
        throttled: In how many readings there was any.
        process_peak_bytes: The most memory that the process had; None if unknown.
        problems: Why a reading was refused, by its name.
        is_mig: Whether the device may be a part of a GPU.
        problem: Why there are no readings at all.
    """

    readings: int = 0
    idle: int = 0
    values: dict[str, dict[int, int]] = field(default_factory=dict)
    reasons: dict[str, int] | None = None
    throttled: int = 0
    process_peak_bytes: int | None = None
    problems: dict[str, str] = field(default_factory=dict)
    is_mig: bool = False
    problem: str | None = None

    def to_line(self) -> bytes:
        """Return the window as a line of JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"


@dataclass
class Tally:
    """Counts readings, so that hours of them stay small.

    Args:
        gpu: What is read.
        pid: The process whose memory is read, or None.
    """

    gpu: NvmlGpu
    pid: int | None = None
    _found: Window = field(default_factory=Window)
    _unseen: str | None = None

    def read(self, is_over: Callable[[], bool]) -> None:
        """Take a reading, and drop it if the window was closed meanwhile."""
        bits = self.gpu.clock_bits()
        found = {name: read(self.gpu) for name, read in READINGS.items()}
        used = self._process_bytes()
        if is_over():
            return
        window = self._found
        if used is not None:
            window.process_peak_bytes = max(used, window.process_peak_bytes or 0)
        if bits is not None and bits & IDLE_BIT:
            window.idle += 1
            return
        window.readings += 1
        for name, value in found.items():
            if value is not None:
                counts = window.values.setdefault(name, {})
                counts[value] = counts.get(value, 0) + 1
        if bits is not None:
            reasons = throttle_reasons(bits)
            window.throttled += bool(reasons)
            window.reasons = dict(Counter(window.reasons or {}) + Counter(reasons))

    def window(self) -> Window:
        """Return what was read."""
        problems = dict(self.gpu.problems)
        is_unseen = self.pid is not None and self._found.process_peak_bytes is None
        if is_unseen and self._unseen is not None:
            problems.setdefault("process_peak_bytes", self._unseen)
        return replace(self._found, problems=problems, is_mig=self.gpu.is_mig)

    def _process_bytes(self) -> int | None:
        if self.pid is None:
            return None
        self._unseen = pid_problem()
        if self._unseen is not None:
            return None
        listed = self.gpu.process_bytes()
        if listed is None:
            return None
        if self.pid not in listed:
            self._unseen = f"process {self.pid} is not among the {len(listed)} that NVML lists"
        elif listed[self.pid] is None:
            self._unseen = f"NVML lists process {self.pid} without its memory"
        return listed.get(self.pid)


def serve(gpu: NvmlGpu, pid: int | None, interval_s: float) -> None:
    """Answer requests on stdin until there are no more."""

    def is_asked(seconds: float = 0.0) -> bool:
        return bool(select.select([0], [], [], seconds)[0])

    while os.read(0, 1) == BEGIN:
        tally = Tally(gpu, pid)
        _answer(Window())
        while not is_asked(interval_s):
            tally.read(is_asked)
        if os.read(0, 1) != END:
            return
        _answer(tally.window())


def _answer(window: Window) -> None:
    os.write(1, window.to_line())


def main() -> None:
    """Sample the GPU whose number, interval and, if wanted, process the arguments name."""
    uuid, interval_s, *pid = sys.argv[1:]
    try:
        with NvmlGpu(uuid) as gpu:
            serve(gpu, int(pid[0]) if pid else None, float(interval_s))
    except NvmlError as error:
        if os.read(0, 1):
            _answer(Window(problem=str(error)))
