"""Dropout of activations by the counter-based generator."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from spion_bench.native import library
from spion_bench.ops import checks
from spion_bench.ops.registration import run

TILE = 32
"""Rows and columns of the tiles in which the elements are laid."""


def dropout(x: Tensor, *, p: float, seed: int) -> Tensor:
    """Set each element to 0 with probability ``p`` and scale the kept ones to compensate.

    What is dropped depends only on the seed and on an element's place in contiguous order, so
    nothing is stored for the backward pass, and a recomputed forward pass drops the same. The
    elements fill tiles of 32 x 32 in turn, which are the diagonal of a pattern; see
    ``block_dropout`` for the generator and for the resolution of ``p``. The CPU computes 16-bit
    floats in float32.

    Differentiable in ``x``. Oracle: ``reference.dropout``.

    Args:
        x: Floats of any shape.
        p: Drop probability, 0 to 65535/65536, resolved to multiples of 1/65536.
        seed: 0 to 2**63 - 1.

    Raises:
        ValueError: If an argument does not fit, naming it.
    """
    checks.check_dropout(p, seed)
    dtypes = library.dtypes(x.device, "pipeline")
    checks.check_float("x", x, library.dtypes(x.device, "fused"))
    if p == 0.0 or x.numel() == 0:
        return x
    flat = x.reshape(-1).to(x.dtype if x.dtype in dtypes else torch.float32)
    n_tiles, n_last = -(-x.numel() // TILE**2), x.numel() % TILE**2
    if n_last:
        flat = F.pad(flat, (0, TILE**2 - n_last))
    rows = torch.arange(n_tiles + 1, dtype=torch.int32, device=x.device)
    tiles = flat.view(1, 1, n_tiles, TILE, TILE)
    flat = run("block_dropout", tiles, rows, rows[:-1], TILE, p, seed).view(-1)
    if n_last:
        flat = flat[: x.numel()]
    return flat.view(x.shape).to(x.dtype)
