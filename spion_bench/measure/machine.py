"""The machine, as far as it can be described without torch."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def available_cores() -> int:
    """Return how many CPU cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_kills(vmstat: Path = Path("/proc/vmstat")) -> int | None:
    """Return how many processes the system has killed for want of memory; None if unknown."""
    try:
        lines = vmstat.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return None
    counts = [int(line.split()[1]) for line in lines if line.startswith("oom_kill ")]
    return counts[0] if counts else None


def load_average() -> float | None:
    """Return the one-minute load average, or None where the system has none."""
    try:
        return os.getloadavg()[0]
    except OSError:
        return None


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the CPU's model name, or the machine type where the system does not say."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.machine()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return " ".join(value.split())
    return platform.machine()
