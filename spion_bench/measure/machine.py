"""The machine, as far as it can be described without torch."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil

# Threads that wait sleep instead of spinning. With spinning, one busy program next to the
# measurement made training steps six times slower, some methods more than others.
OMP_WAIT_POLICY = "PASSIVE"

# Settings of thread pools that a worker does not take from the user's shell.
THREADING = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "BLIS_", "VECLIB_", "NUMEXPR_")

LEAST_FREE_SHARE: Final = 0.05
"""Of the memory, what must be left once all workers of a turn are ready."""

GIB: Final = 1 << 30


def usable_cpus() -> frozenset[int]:
    """Return the CPUs that the system lets this thread use."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


SHELL_CPUS = usable_cpus()
"""The CPUs that this process was started on. Importing torch may bind it to fewer: to one, where
the environment asks OpenMP to bind threads. The package imports this module first."""


def available_cores() -> int:
    """Return how many CPU cores the user's shell may use."""
    return len(SHELL_CPUS)


@contextmanager
def shell_affinity() -> Iterator[None]:
    """Give this thread, and every process that it starts meanwhile, the shell's CPUs."""
    if not hasattr(os, "sched_getaffinity"):
        yield
        return
    here = os.sched_getaffinity(0)
    os.sched_setaffinity(0, SHELL_CPUS)
    try:
        yield
    finally:
        os.sched_setaffinity(0, here)


def worker_environment(threads: int) -> dict[str, str]:
    """Return the environment variables of a process that measures with so many threads."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(THREADING)},
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": OMP_WAIT_POLICY,
    }


def machine_name() -> str:
    """Return the CPU's model and how many cores this process may use; hosts have no names here."""
    return f"{cpu_model()} x {available_cores()}"


def memory_kills(vmstat: Path = Path("/proc/vmstat")) -> int | None:
    """Return how many processes the system has killed for want of memory; None if unknown."""
    try:
        lines = vmstat.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return None
    counts = [int(line.split()[1]) for line in lines if line.startswith("oom_kill ")]
    return counts[0] if counts else None


def memory_shortage(workers: int) -> str | None:
    """Return why nothing can be timed beside so many waiting workers, or None if it can.

    Where hardly any memory is left, the system reads programs from disk again and again.
    """
    memory = psutil.virtual_memory()
    if memory.available >= LEAST_FREE_SHARE * memory.total:
        return None
    return (
        f"{workers} workers of the turn leave {memory.available / GIB:.2f} of "
        f"{memory.total / GIB:.1f} GiB of memory, in which no number can be trusted; expected at "
        f"least {LEAST_FREE_SHARE:.0%}: close other programs, or measure fewer methods (--method)"
    )


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
