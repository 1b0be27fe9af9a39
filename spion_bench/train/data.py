"""The order in which a run sees its examples, and what is fed to the model."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from spion_bench.tasks.task import Split


class EpochOrder:
    """An endless stream of examples, shuffled anew in every epoch and cut into batches.

    Batches run across the border of two epochs, so none is ever smaller and every example is seen
    once per epoch. Step, seed and size determine a batch completely: a run's data position is its
    step, and resuming needs nothing else. The orders come from generators of their own, so they
    do not depend on what the model draws.
    """

    def __init__(self, n_examples: int, batch_size: int, seed: int) -> None:
        if n_examples < 1:
            raise ValueError(f"n_examples: expected at least one example, got {n_examples}")
        self.n_examples = n_examples
        self.batch_size = batch_size
        self.seed = seed
        self._epoch = -1
        self._permutation = np.empty(0, dtype=np.int64)

    def position(self, step: int) -> tuple[int, int]:
        """Return the epoch, and the position in it, of the first example of ``step``."""
        return divmod(step * self.batch_size, self.n_examples)

    def indices(self, step: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Return the examples of training step ``step`` (from 0) as int64 ``[batch_size]``."""
        epoch, start = self.position(step)
        taken = [self._shuffled(epoch)[start : start + self.batch_size]]
        missing = self.batch_size - len(taken[0])
        while missing:
            epoch += 1
            taken.append(self._shuffled(epoch)[:missing])
            missing -= len(taken[-1])
        return np.concatenate(taken)

    def _shuffled(self, epoch: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        if epoch != self._epoch:
            mixed = np.random.SeedSequence((self.seed, epoch)).generate_state(1, np.uint64)[0]
            generator = torch.Generator().manual_seed(int(mixed))
            self._permutation = torch.randperm(self.n_examples, generator=generator).numpy()
            self._epoch = epoch
        return self._permutation


def to_batch(
    split: Split, chosen: np.ndarray[tuple[int], np.dtype[np.int64]] | slice, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return int64 inputs (``[B, L]`` or ``[B, 2, L]``) and labels ``[B]`` on ``device``."""
    inputs = torch.from_numpy(split.inputs[chosen].astype(np.int64))
    labels = torch.from_numpy(split.labels[chosen].astype(np.int64))
    return inputs.to(device), labels.to(device)
