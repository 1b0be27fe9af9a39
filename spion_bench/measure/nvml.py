"""A GPU's clocks, and why they are low, as NVML reports them while something is measured.

A GPU lowers its clocks when it takes too much power or gets too hot. A time taken meanwhile is not
comparable, so the record states the reasons next to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from spion_bench.records import Clocks

# Bits of nvmlDeviceGetCurrentClocksEventReasons (NVML's header nvml.h) that slow a GPU down. Left
# out: idle, the clocks that the user set, the display's clocks.
THROTTLE_REASONS = {
    0x04: "sw_power_cap",
    0x08: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake_slowdown",
}
MISSING = "nvidia-ml-py is not installed; pip install 'spion_bench[gpu]'"


@dataclass(frozen=True)
class GpuState:
    """One reading.

    Attributes:
        sm_clock_mhz: Clock of the SMs.
        memory_clock_mhz: Clock of the memory.
        throttle_reasons: What slows the GPU down at this moment.
    """

    sm_clock_mhz: int
    memory_clock_mhz: int
    throttle_reasons: frozenset[str]


class ClockLog:
    """Readings over a measurement.

    Attributes:
        states: All readings in order.
        problem: Why there are none, or None.
    """

    def __init__(self) -> None:
        self.states: list[GpuState] = []
        self.problem: str | None = None
        self._nvml: Any = None
        try:
            import pynvml
        except ImportError:
            self.problem = MISSING
            return
        try:
            pynvml.nvmlInit()
            self._handle = nvml_handle(pynvml)
        except pynvml.NVMLError as error:
            self.problem = f"NVML: {error}"
        else:
            self._nvml = pynvml

    def read(self) -> None:
        """Add a reading; once NVML refuses one, there are no more."""
        if self.problem is not None:
            return
        try:
            self.states.append(_read(self._nvml, self._handle))
        except self._nvml.NVMLError as error:
            self.problem = f"NVML: {error}"

    def clocks(self) -> Clocks:
        """Return what a record says: clocks before and after, the lowest, reasons at any time.

        ``throttle_reasons`` is empty if nothing slowed the GPU down. Where the clocks could not be
        read, ``problem`` says why and nothing else is known.
        """
        if self.problem is not None or not self.states:
            return Clocks(problem=self.problem or "nothing was measured")
        first, last = self.states[0], self.states[-1]
        reasons = {reason for state in self.states for reason in state.throttle_reasons}
        return Clocks(
            sm_before_mhz=first.sm_clock_mhz,
            sm_after_mhz=last.sm_clock_mhz,
            sm_lowest_mhz=min(state.sm_clock_mhz for state in self.states),
            memory_after_mhz=last.memory_clock_mhz,
            throttle_reasons=sorted(reasons),
        )


def nvml_handle(nvml: Any, index: int = 0) -> Any:
    """Return NVML's handle of torch's device ``index``; the two may number GPUs differently."""
    if not torch.cuda.is_available():
        return nvml.nvmlDeviceGetHandleByIndex(index)
    return nvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(index).uuid}")


def _read(nvml: Any, handle: Any) -> GpuState:
    bits = int(nvml.nvmlDeviceGetCurrentClocksEventReasons(handle))
    return GpuState(
        sm_clock_mhz=int(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
        memory_clock_mhz=int(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM)),
        throttle_reasons=frozenset(name for bit, name in THROTTLE_REASONS.items() if bits & bit),
    )
