"""What a worker really got to compute with: CPUs, quota, OpenMP's team, and threads seen running.

Settings only ask. An affinity that was inherited, a container's quota or a library that bound its
threads gives less, and every number would be slower without a trace.
"""

from __future__ import annotations

import time
from pathlib import Path

import torch

from spion_bench.measure.machine import usable_cpus
from spion_bench.records.metric import Parallelism

PROBE_S = 0.05
PROBE_NUMBERS = 1 << 20  # enough for torch to split a call among all threads
RUNNING_SHARE = 0.2  # of the busiest thread's time; the threads of a call have equal parts
QUOTA_TOLERANCE = 0.01


def prove(threads: int) -> Parallelism:
    """Return what this process can compute with; call it where the measured work will run.

    Args:
        threads: The threads that were asked for.
    """
    return Parallelism(
        asked=threads,
        cpus=len(usable_cpus()),
        quota=cpu_quota(),
        team=torch.get_num_threads(),
        running=_threads_seen_running(),
    )


def shortage(found: Parallelism) -> str | None:
    """Return what is missing and the remedy, or None if the worker got what was asked."""
    asked = found.asked
    if found.cpus < asked:
        return (
            f"threads: expected {asked} CPUs, but this process may use {found.cpus}; start it on "
            f"more (`taskset`, the container's cpuset), or ask for `--threads {found.cpus}`"
        )
    if found.quota is not None and found.quota < asked - QUOTA_TOLERANCE:
        return (
            f"threads: expected {asked} cores, but the control group grants {found.quota:g}; raise "
            f"its CPU quota, or ask for `--threads {max(1, int(found.quota))}`"
        )
    if found.team != asked:
        return f"threads: expected an OpenMP team of {asked}, got {found.team}"
    if found.running is not None and found.running != asked:
        return (
            f"threads: expected {asked} running in a parallel call, saw {found.running}; look for "
            "settings that bind or limit threads in what starts the worker"
        )
    return None


def cpu_quota(
    root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> float | None:
    """Return the cores that this process's control groups grant; None if they set no limit.

    Args:
        root: Where control groups are mounted, of version 2, or of version 1 with ``cpu`` below.
        own: Lists the groups of this process.
    """
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found: list[float] = []
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if not controllers:
            mounts = [root, root / "unified"]
        elif "cpu" in controllers.split(","):
            mounts = [root / "cpu", root / controllers]
        else:
            continue
        for mount in mounts:
            # A limit of any group above holds too; inside a container, the mount is the group.
            below = mount / name.lstrip("/")
            for folder in {mount, below, *below.parents} - set(mount.parents):
                found += _limit_of(folder)
    return min(found, default=None)


def _limit_of(folder: Path) -> list[float]:
    """Return the limit that one control group sets, if any, in cores."""
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
        else:
            quota, period = (
                (folder / f"cpu.cfs_{name}_us").read_text(encoding="utf-8").strip()
                for name in ("quota", "period")
            )
    except (OSError, ValueError):
        return []
    return [] if quota == "max" or int(quota) <= 0 else [int(quota) / int(period)]


def _threads_seen_running() -> int | None:
    """Return how many threads share a parallel call; None where the system does not say.

    They are counted by the time that each spent on a CPU, so other load does not matter.
    """
    numbers = torch.zeros(PROBE_NUMBERS)
    numbers.exp_()  # starts the team
    before = _time_by_thread()
    end = time.perf_counter() + PROBE_S
    while time.perf_counter() < end:
        numbers.zero_().exp_()
    after = _time_by_thread()
    spent = [ns - before.get(thread, 0) for thread, ns in after.items()]
    if not spent or max(spent) <= 0:
        return None
    return sum(ns > RUNNING_SHARE * max(spent) for ns in spent)


def _time_by_thread() -> dict[str, int]:
    """Return the nanoseconds that each thread of this process has spent on a CPU."""
    found = {}
    for folder in Path("/proc/self/task").glob("*"):
        try:
            found[folder.name] = int((folder / "schedstat").read_text(encoding="utf-8").split()[0])
        except (OSError, ValueError, IndexError):
            continue
    return found
