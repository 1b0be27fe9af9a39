"""The places of a machine where workers run side by side: cores and GPUs of their own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from spion_bench.measure.machine import SHELL_CPUS
from spion_bench.records.names import UsageError


@dataclass(frozen=True)
class Place:
    """Where one worker runs.

    Attributes:
        cpus: The CPUs that it may use.
        gpus: What ``CUDA_VISIBLE_DEVICES`` calls its GPUs; None for work on the CPU.
    """

    cpus: frozenset[int]
    gpus: tuple[str, ...] | None = None


def places(
    workers: int, threads: int, gpus: Sequence[str] | None = None, *, processes: int = 1
) -> list[Place]:
    """Return ``workers`` places for as many processes each.

    A process has ``threads`` CPUs, and a GPU if some are given. No two places share any.

    Raises:
        UsageError: If the shell's CPUs or the GPUs are too few, with the most that fit, or the
            system binds no processes to CPUs.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise UsageError(
            "--workers, --processes-per-cell: this system binds no processes to CPUs; leave the "
            "options out"
        )
    cpus, each = sorted(SHELL_CPUS), threads * processes
    of = "" if processes == 1 else f" of {processes} processes"
    if workers * each > len(cpus):
        most = {
            "--workers": len(cpus) // each,
            "--threads": len(cpus) // (workers * processes),
            "--processes-per-cell": len(cpus) // (workers * threads) if processes > 1 else 0,
        }
        fitting = [f"{option} {count}" for option, count in most.items() if count]
        raise UsageError(
            f"--workers: {workers} workers{of} with {threads} threads each need {workers * each} "
            f"cores, and here are {len(cpus)}; ask for "
            + (" or ".join(fitting) or f"--workers 1 --threads {len(cpus)}")
        )
    if gpus is not None and workers * processes > len(gpus):
        fits = f"--workers {max(1, len(gpus) // processes)}"
        if processes > len(gpus):
            fits = f"--processes-per-cell {max(1, len(gpus))}"
        raise UsageError(
            f"--workers: {workers} workers{of} need a GPU each, and here are {len(gpus)}; ask for "
            f"{fits}"
        )
    return [
        Place(
            frozenset(cpus[i * each : (i + 1) * each]),
            None if gpus is None else tuple(gpus[i * processes : (i + 1) * processes]),
        )
        for i in range(workers)
    ]


def gpus_of_one_model() -> list[str]:
    """Return what ``CUDA_VISIBLE_DEVICES`` calls each GPU that torch sees.

    Raises:
        UsageError: If they differ: cells are planned for the first one's model.
    """
    import torch

    count = torch.cuda.device_count()
    models = {torch.cuda.get_device_name(i) for i in range(count)}
    if len(models) > 1:
        raise UsageError(
            f"--workers: expected GPUs of one model, got {', '.join(sorted(models))}; choose some "
            "with CUDA_VISIBLE_DEVICES"
        )
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    return named[:count] if named != [""] else [str(i) for i in range(count)]
