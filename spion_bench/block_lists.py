"""Checks of the lists of blocks that a ``BlockPattern`` is made of."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from spion_bench.records.quote import quote


def check_integers(name: str, values: Any) -> list[int]:
    """Return ``values`` if they are a list of integers that int32 holds, else raise ValueError."""
    if not isinstance(values, list):
        raise ValueError(f"{name}: expected a list, got {quote(repr(values))}")
    for value in values:
        if type(value) is not int or not -(2**31) <= value < 2**31:
            raise ValueError(f"{name}: expected int32 numbers, got {quote(repr(value))}")
    return values


def check_tensors(crow: Tensor, col: Tensor) -> None:
    """Raise ValueError unless ``crow`` says where each row begins in ``col``."""
    for name, tensor in (("crow_indices", crow), ("col_indices", col)):
        if tensor.dtype != torch.int32 or tensor.ndim != 1:
            raise ValueError(
                f"{name}: expected a one-dimensional int32 tensor, "
                f"got {tensor.dtype} with shape {list(tensor.shape)}"
            )
    if crow.device != col.device:
        raise ValueError(
            f"col_indices: expected device {crow.device} as crow_indices, got {col.device}"
        )
    if crow.shape[0] < 2:
        raise ValueError("crow_indices: expected at least one block row, got an empty pattern")
    counts = crow.long().diff()  # in int32 a fall by more than 2^31 would wrap to a rise
    if int(crow[0]) != 0 or int(crow[-1]) != col.shape[0] or bool((counts < 0).any()):
        found = quote(crow.tolist(), 4)
        raise ValueError(
            f"crow_indices: expected to rise from 0 to nnzb={col.shape[0]}, got {found}"
        )


def check_columns(col: Tensor, rows: Tensor, nb_keys: int) -> None:
    """Raise ValueError unless the columns of each row ascend from 0 and below ``nb_keys``."""
    if col.numel() and (int(col.min()) < 0 or int(col.max()) >= nb_keys):
        raise ValueError(
            f"col_indices: expected values from 0 to {nb_keys - 1}, "
            f"got {int(col.min())} to {int(col.max())}"
        )
    if bool(((rows * nb_keys + col).diff() <= 0).any()):
        raise ValueError("col_indices: expected strictly ascending columns within each block row")
