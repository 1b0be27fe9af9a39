"""Peak memory of a piece of work, framed by ``reset`` and ``peak_bytes``.

On the CPU the kernel's high-water mark of the resident size (``VmHWM``) is reset through
``/proc/self/clear_refs``. Unlike ``ru_maxrss`` it belongs to this process alone and can frame a
single training step. Heap reuse blurs it unless malloc returns freed memory at once, which
``MALLOC_ENVIRONMENT`` asks for; set it before the process starts. It slows a step down, so time
and memory are measured in different processes.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Protocol

import torch

MALLOC_ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "0",
    "MALLOC_ARENA_MAX": "1",
}

PROC_SELF = Path("/proc/self")


class PeakMeter(Protocol):
    """Measures the highest memory use between two points of a program."""

    def reset(self) -> None:
        """Start a new measurement."""

    def peak_bytes(self) -> int:
        """Return the highest use since ``reset``, in bytes."""


class CpuPeakMeter:
    """Peak resident size of this process since ``reset``, above ``baseline_bytes``.

    Attributes:
        baseline_bytes: What is subtracted, for example the resident size before the work. 0 gives
            the peak of the whole process, loaded libraries included.
    """

    def __init__(self, baseline_bytes: int = 0, proc: Path = PROC_SELF) -> None:
        self.baseline_bytes = baseline_bytes
        self._proc = proc

    def reset(self) -> None:
        """Hand freed heap back to the system, then lower the mark to the present size."""
        release_free_heap()
        (self._proc / "clear_refs").write_text("5", encoding="ascii")

    def peak_bytes(self) -> int:
        """Return the highest resident size since ``reset`` above the baseline, in bytes."""
        return max(0, _status_bytes(self._proc, "VmHWM") - self.baseline_bytes)


class CudaPeakMeter:
    """Peak of torch's CUDA allocator on one device since ``reset``, above ``baseline_bytes``."""

    def __init__(self, device: torch.device | str, baseline_bytes: int = 0) -> None:
        self._device = torch.device(device)
        self.baseline_bytes = baseline_bytes

    def reset(self) -> None:
        """Forget the earlier peak."""
        torch.cuda.synchronize(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)

    def peak_bytes(self) -> int:
        """Return the most bytes allocated at once since ``reset``, above the baseline."""
        torch.cuda.synchronize(self._device)
        return max(0, torch.cuda.max_memory_allocated(self._device) - self.baseline_bytes)


def resident_bytes(proc: Path = PROC_SELF) -> int:
    """Return the present resident size of this process in bytes."""
    return _status_bytes(proc, "VmRSS")


def present_bytes(device: str) -> int:
    """Return what this process holds now: resident bytes, or bytes allocated on a CUDA device."""
    return resident_bytes() if device == "cpu" else torch.cuda.memory_allocated(device)


def peak_meter(device: str, baseline_bytes: int = 0) -> PeakMeter:
    """Return the meter of ``"cpu"`` or of a CUDA device; it subtracts ``baseline_bytes``."""
    if device == "cpu":
        return CpuPeakMeter(baseline_bytes)
    return CudaPeakMeter(device, baseline_bytes)


def clear_refs_problem(proc: Path = PROC_SELF) -> str | None:
    """Return why peak memory cannot be measured on this CPU system, or None if it can."""
    try:
        CpuPeakMeter(proc=proc).reset()
        _status_bytes(proc, "VmHWM")
    except (OSError, ValueError) as error:
        return f"peak memory needs a writable {proc}/clear_refs and VmHWM in {proc}/status: {error}"
    return None


def release_free_heap() -> None:
    """Return freed heap memory to the system where the C library can (glibc's malloc_trim)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _status_bytes(proc: Path, field: str) -> int:
    for line in (proc / "status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"{proc}/status has no {field} line")
