"""The pattern operators in plain PyTorch and Python: the definition of correct.

Slow on purpose. Each function states one published rule as directly as it can be stated; the
operators of the same names must agree with it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from spion_bench.literals import Selection


def diagonal_conv(attention_map: Tensor, filter_size: int = 31) -> Tensor:
    """Convolve a map with a ``filter_size`` x ``filter_size`` identity matrix, zero padded.

    ``attention_map``: ``[L, L]``. Returns ``[L, L]`` in the map's dtype; computed in float64.
    """
    kernel = torch.eye(filter_size, dtype=torch.float64)
    image = attention_map.double()[None, None]
    filtered = F.conv2d(image, kernel[None, None], padding=filter_size // 2)
    return filtered[0, 0].to(attention_map.dtype)


def average_pool(attention_map: Tensor, block_size: int) -> Tensor:
    """Average the blocks of ``[L, L]``: ``[nb, nb]`` in the same dtype; computed in float64."""
    nb = attention_map.shape[0] // block_size
    blocks = attention_map.double().view(nb, block_size, nb, block_size)
    return blocks.mean(dim=(1, 3)).to(attention_map.dtype)


def flood_fill(pooled: Tensor, threshold: float, *, selection: Selection = "walk") -> Tensor:
    """Return the cells of ``pooled`` (``[nb, nb]``) that the selection keeps, bool ``[nb, nb]``."""
    kept = walk if selection == "walk" else connected
    mask = torch.zeros(pooled.shape, dtype=torch.bool)
    for row, col in kept(pooled.tolist(), threshold):
        mask[row, col] = True
    return mask


def walk(pooled: list[list[float]], threshold: float) -> set[tuple[int, int]]:
    """Return the cells that the published walk keeps, seed by seed and step by step.

    Every seed of the first row, then of the first column, walks its whole path (SPION code calls
    this flood fill and writes it as a recursion). The map has a border of zeros below and to the
    right; a path ends there, and border cells are not part of the result.
    """
    nb = len(pooled)
    padded = [[*row, 0.0] for row in pooled] + [[0.0] * (nb + 1)]
    seeds = [(0, col) for col in range(nb)] + [(row, 0) for row in range(nb)]
    kept = set()
    for seed in seeds:
        for row, col in walk_path(padded, seed):
            if row < nb and col < nb and padded[row][col] > threshold:
                kept.add((row, col))
    return kept


def walk_path(padded: list[list[float]], seed: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the cells that a walk from ``seed`` steps on, the seed itself excluded.

    ``padded``: the map with its border of zeros, ``[nb + 1, nb + 1]``. Each step goes to the
    largest of the neighbours below, to the right and diagonally below: right wins a tie with
    below, the diagonal wins a tie with either.
    """
    nb = len(padded) - 1
    path = []
    row, col = seed
    while row < nb and col < nb:
        below, right = padded[row + 1][col], padded[row][col + 1]
        straight = (row + 1, col) if below > right else (row, col + 1)
        if max(below, right) > padded[row + 1][col + 1]:
            row, col = straight
        else:
            row, col = row + 1, col + 1
        path.append((row, col))
    return path


def connected(pooled: list[list[float]], threshold: float) -> set[tuple[int, int]]:
    """Return the cells above ``threshold`` that are 4-connected to the diagonal through such cells.

    The diagonal cells are where the growth starts, whatever their own value. Grows by one ring of
    neighbours at a time until nothing is added.
    """
    nb = len(pooled)
    above = {(r, c) for r in range(nb) for c in range(nb) if pooled[r][c] > threshold}
    diagonal = {(i, i) for i in range(nb)}
    reached = diagonal
    while True:
        neighbours = {
            (r + dr, c + dc) for r, c in reached for dr, dc in ((-1, 0), (1, 0), (0, -1), (0, 1))
        }
        grown = reached | (neighbours & above)
        if grown == reached:
            return reached & above
        reached = grown
