"""How good a model is on a split."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from spion_bench.tasks.task import Split
from spion_bench.train.data import to_batch
from spion_bench.train.precision import Arithmetic
from spion_bench.train.ranks import ALONE, Ranks


def evaluate(
    model: nn.Module,
    split: Split,
    batch_size: int,
    arithmetic: Arithmetic,
    ranks: Ranks = ALONE,
) -> tuple[float, NDArray[np.bool_]]:
    """Return the mean cross entropy over ``split``, and which examples are answered correctly.

    Several processes take the batches in turn and return what one process does, to the bit.
    """
    model.eval()
    starts = range(0, len(split), batch_size)
    losses = torch.zeros(len(starts), dtype=torch.float64)
    correct = torch.zeros(len(split), dtype=torch.int32)
    with torch.no_grad():
        for number in range(ranks.rank, len(starts), ranks.count):
            chosen = slice(starts[number], starts[number] + batch_size)
            inputs, labels = to_batch(split, chosen, arithmetic.device)
            with arithmetic.autocast():
                logits = model(inputs).float()
            losses[number] = F.cross_entropy(logits, labels, reduction="sum")
            correct[chosen] = (logits.argmax(dim=1) == labels).int().cpu()
    total = 0.0
    for loss in ranks.joined(losses).tolist():  # in order, as rounding depends on it
        total += loss
    return total / len(split), ranks.joined(correct).bool().numpy()
