"""The band that a sliding window is: its mask, and the check of its size."""

from __future__ import annotations

import torch
from torch import Tensor


def check_window(window: int) -> None:
    """Raise ValueError unless ``window`` is an even number of at least 2 tokens."""
    if window < 2 or window % 2:
        raise ValueError(f"window: expected an even number of at least 2, got {window}")


def window_mask(length: int, half: int, dilation: int = 1) -> Tensor:
    """Return which keys are in each query's window, bool ``[L, L]``.

    Args:
        length: Sequence length L in tokens.
        half: Keys on either side, ``dilation`` tokens apart.
        dilation: Step between neighbouring keys.
    """
    place = torch.arange(length)
    distance = place - place[:, None]
    return (distance.abs() <= half * dilation) & (distance % dilation == 0)
