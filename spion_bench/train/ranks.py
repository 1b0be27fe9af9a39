"""The processes that train one model together, each on its share of every batch.

DistributedDataParallel averages their gradients. Everything else that decides how training goes on
(losses, attention maps, the moment of a checkpoint) is made equal in all of them here, to the bit.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Ranks:
    """The processes of a training, and which of them this is.

    Every method but ``share`` is called by all processes at the same place.

    Attributes:
        rank: The number of this process, from 0. The first one writes files and records.
        count: The number of processes.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0

    def share(self, chosen: NDArray[Any]) -> NDArray[Any]:
        """Return this process's part of a batch; the parts are of one size and in rank order."""
        size = len(chosen) // self.count
        return chosen[self.rank * size : (self.rank + 1) * size]

    def device(self, kind: str) -> torch.device:
        """Return where this process trains: each has a GPU of its own."""
        has_own = kind == "cuda" and self.count > 1
        return torch.device(kind, self.rank) if has_own else torch.device(kind)

    def replica(self, model: nn.Module) -> nn.Module:
        """Return what computes a training loss: the model, with gradients averaged over all."""
        if self.count == 1:
            return model
        # A control without attention leaves projections unused. Buffers are equal in all processes
        # as they are; torch 2.13 renamed the option that keeps them from being sent at every step.
        known = inspect.signature(DistributedDataParallel).parameters
        option = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
        options: dict[str, Any] = {option: False, "find_unused_parameters": True}
        return DistributedDataParallel(model, **options)

    def seed(self, seed: int) -> None:
        """Let each process draw dropout of its own from now on; the first one's does not change."""
        if self.rank:
            torch.manual_seed(seed + (self.rank << 32))

    def mean(self, x: Tensor) -> Tensor:
        """Return the average of ``x``, the same bits in all processes."""
        if self.count == 1:
            return x
        total = x.clone()
        dist.all_reduce(total)
        dist.broadcast(total, src=0)
        return total / self.count

    def mean_of(self, value: float) -> float:
        """Return the average of a number."""
        if self.count == 1:
            return value
        return float(self.mean(torch.tensor(value, dtype=torch.float64)))

    def joined(self, parts: Tensor) -> Tensor:
        """Return the sum of ``parts``, of which each process knows some and has 0 for the rest."""
        if self.count > 1:
            dist.all_reduce(parts)
        return parts

    def of_first(self, flag: bool) -> bool:
        """Return what the first process says."""
        if self.count == 1:
            return flag
        said = torch.tensor(int(flag))
        dist.broadcast(said, src=0)
        return bool(said)

    def gathered(self, x: Tensor) -> list[Tensor]:
        """Return every process's ``x``, a CPU tensor of one shape and dtype, in rank order."""
        if self.count == 1:
            return [x]
        found = [torch.empty_like(x) for _ in range(self.count)]
        dist.all_gather(found, x)
        return found

    def wait(self) -> None:
        """Wait until all processes are here."""
        self.mean_of(0.0)


ALONE = Ranks()
"""A training in one process."""


@contextmanager
def meeting(rank: int, count: int, place: Path) -> Iterator[Ranks]:
    """Join the other processes on this machine, in a file of their own.

    Args:
        rank: The number of this process.
        count: How many there are.
        place: The file; it does not exist before they meet.
    """
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    where = f"file://{place}"
    dist.init_process_group(backend, init_method=where, rank=rank, world_size=count)
    try:
        yield Ranks(rank, count)
    finally:
        dist.destroy_process_group()
