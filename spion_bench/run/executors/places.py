"""The places of a machine where workers run side by side: cores of their own, and a GPU each."""

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
        gpu: What ``CUDA_VISIBLE_DEVICES`` calls its GPU; None for work on the CPU.
    """

    cpus: frozenset[int]
    gpu: str | None = None


def places(workers: int, threads: int, gpus: Sequence[str] | None = None) -> list[Place]:
    """Return ``workers`` places with ``threads`` CPUs each, and a GPU each if some are given.

    No two share a CPU or a GPU.

    Raises:
        UsageError: If the shell's CPUs or the GPUs are too few, with the most that fit, or the
            system binds no processes to CPUs.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise UsageError("--workers: this system binds no processes to CPUs; leave the option out")
    cpus = sorted(SHELL_CPUS)
    if workers * threads > len(cpus):
        fitting = [f"--workers {len(cpus) // threads}"] if threads <= len(cpus) else []
        fitting += [f"--threads {len(cpus) // workers}"] if workers <= len(cpus) else []
        raise UsageError(
            f"--workers: {workers} workers with {threads} threads each need {workers * threads} "
            f"cores, and here are {len(cpus)}; ask for {' or '.join(fitting)}"
        )
    if gpus is not None and workers > len(gpus):
        raise UsageError(
            f"--workers: {workers} workers need a GPU each, and here are {len(gpus)}; ask for "
            f"--workers {max(1, len(gpus))}"
        )
    return [
        Place(frozenset(cpus[i * threads : (i + 1) * threads]), None if gpus is None else gpus[i])
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
