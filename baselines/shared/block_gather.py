"""Attention of query blocks over gathered key blocks, in plain PyTorch: what the baselines share.

BigBird's blocks and LSH chunks both let a block of queries see a few blocks of keys. The scores of
some blocks at a time are computed, used and thrown away, and computed again in the backward pass,
as FlashAttention does it (Dao et al., "FlashAttention", 2022, section 3.1). So peak memory holds no
scores beyond one tile, however long the sequence is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Scores of a tile: on the CPU they stay in the cache from one operation to the next; on a GPU the
# tile is large enough to fill it.
TILE_SCORES = {"cpu": 2**18, "cuda": 2**26}


@dataclass(frozen=True)
class Gather:
    """Which key blocks each query block sees.

    Attributes:
        block_size: Tokens in a block, of queries and of keys.
        columns: int64 ``[n_rows, m]``: the key blocks of each query block.
        valid: bool ``[n_rows, m * block_size]``: False where a gathered key does not count; None:
            all count.
        bias: ``[block_size, m * block_size]``, added to the scores of every query block; ``-inf``
            takes a score out. None: nothing is added.
    """

    block_size: int
    columns: Tensor
    valid: Tensor | None = None
    bias: Tensor | None = None

    def to(self, device: torch.device) -> Gather:
        """Return the same on ``device``."""

        def move(x: Tensor | None) -> Tensor | None:
            return None if x is None else x.to(device)

        return Gather(self.block_size, self.columns.to(device), move(self.valid), move(self.bias))


def split(x: Tensor, dim: int, size: int) -> Tensor:
    """View dimension ``dim`` of ``x`` as two: groups of ``size``."""
    return x.view(*x.shape[:dim], -1, size, *x.shape[dim + 1 :])


def pad_length(x: Tensor, multiple: int) -> Tensor:
    """Append zeros (False) to dimension 1 of ``x`` until it is a multiple of ``multiple``."""
    missing = -x.shape[1] % multiple
    if missing == 0:
        return x
    return torch.cat([x, x.new_zeros(x.shape[0], missing, *x.shape[2:])], dim=1)


def head_mask(key_padding_mask: Tensor | None, heads: int) -> Tensor | None:
    """Repeat a bool ``[B, L]`` mask for every head: ``[B * H, L]``."""
    return None if key_padding_mask is None else key_padding_mask.repeat_interleave(heads, dim=0)


def gathered_attention(
    q: Tensor, k: Tensor, v: Tensor, gather: Gather, key_mask: Tensor | None, scale: float
) -> tuple[Tensor, Tensor]:
    """Attend from each block of queries to the keys that ``gather`` names.

    Args:
        q: ``[N, n_rows * block_size, D]``, N = batch items times heads.
        k: ``[N, n_blocks * block_size, D]``.
        v: Like ``k``.
        gather: The key blocks of each query block.
        key_mask: bool ``[N, n_blocks * block_size]``, True = real key; None: all are.
        scale: Factor of the scores.

    Returns:
        The output, like ``q``, and the logarithm of each row's denominator, ``[N, rows]``, float32
        for 16-bit inputs. A row without any key gives 0, and a logarithm far below all others.
        Differentiable once.
    """
    out, lse = _GatheredAttention.apply(q, k, v, gather, key_mask, scale)  # type: ignore[no-untyped-call]
    return out, lse


@dataclass(frozen=True)
class _Tile:
    """Some batch-heads and some query blocks: what is computed at a time."""

    gather: Gather
    heads: slice
    rows: slice

    def take_rows(self, x: Tensor) -> Tensor:
        """``[N, rows, ...]`` to ``[n, g, block_size, ...]``, a view."""
        return split(x, 1, self.gather.block_size)[self.heads, self.rows]

    def take_keys(self, x: Tensor) -> Tensor:
        """``[N, keys, ...]`` to ``[n, g, m * block_size, ...]``, a copy."""
        x = x[self.heads]
        columns = self.gather.columns[self.rows]
        blocks = split(x, 1, self.gather.block_size).index_select(1, columns.flatten())
        return split(blocks, 1, columns.shape[1]).flatten(2, 3)

    def add_to_keys(self, total: Tensor, part: Tensor) -> None:
        """Add ``[n, g, m * block_size, D]`` to where ``take_keys`` took it from."""
        columns = self.gather.columns[self.rows]
        blocks = split(part, 2, self.gather.block_size).flatten(1, 2)
        total = split(total[self.heads], 1, self.gather.block_size)
        total.index_add_(1, columns.flatten(), blocks)

    def scores(self, q: Tensor, k: Tensor, key_mask: Tensor | None, scale: float) -> Tensor:
        """Return ``scale * q k^T`` with the bias, and the lowest number where there is no key.

        The lowest number instead of -inf: its weight is exactly 0 next to any key, and a row
        without keys becomes uniform, not NaN; ``alive`` finds it.
        """
        gather = self.gather
        scores = ((q * scale) @ k.mT).to(_summed_in(q))
        if gather.bias is not None:
            scores += gather.bias
        if gather.valid is None and key_mask is None:
            return scores
        is_key = self.is_key(key_mask)
        nothing = torch.zeros((), dtype=scores.dtype, device=scores.device)
        lowest = torch.full_like(nothing, torch.finfo(scores.dtype).min)
        return scores.add_(torch.where(is_key, nothing, lowest)[:, :, None])

    def is_key(self, key_mask: Tensor | None) -> Tensor:
        """Return which gathered keys are real, bool ``[n or 1, g, m * block_size]``."""
        found = None if key_mask is None else self.take_keys(key_mask)
        if self.gather.valid is not None:
            valid = self.gather.valid[self.rows][None]
            found = valid if found is None else found & valid
        assert found is not None
        return found

    def alive(self, key_mask: Tensor) -> Tensor:
        """Return which rows have a key, bool ``[n, g, block_size, 1]``."""
        is_key = self.is_key(key_mask)
        if self.gather.bias is None:
            return is_key.any(dim=-1)[:, :, None, None]
        open_to = (self.gather.bias > -math.inf).float()
        return (is_key.float() @ open_to.mT > 0)[..., None]


def _tiles(gather: Gather, q: Tensor) -> Iterator[_Tile]:
    n_heads, n_rows = q.shape[0], gather.columns.shape[0]
    keys = gather.columns.shape[1] * gather.block_size
    n_blocks = max(1, TILE_SCORES[q.device.type] // (gather.block_size * keys))
    rows_step = min(n_rows, n_blocks)
    heads_step = max(1, n_blocks // rows_step)
    for head in range(0, n_heads, heads_step):
        for row in range(0, n_rows, rows_step):
            yield _Tile(gather, slice(head, head + heads_step), slice(row, row + rows_step))


def _summed_in(x: Tensor) -> torch.dtype:
    """Return in what scores are summed: float32 for 16-bit inputs, else their own type."""
    return torch.promote_types(x.dtype, torch.float32)


class _GatheredAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        gather: Gather,
        key_mask: Tensor | None,
        scale: float,
    ) -> tuple[Tensor, Tensor]:
        out, lse = torch.empty_like(q), q.new_empty(q.shape[:2], dtype=_summed_in(q))
        for tile in _tiles(gather, q):
            probs = tile.scores(tile.take_rows(q), tile.take_keys(k), key_mask, scale)
            top = probs.amax(dim=-1, keepdim=True)
            probs.sub_(top).exp_()
            total = probs.sum(dim=-1, keepdim=True)
            part = (probs.to(v.dtype) @ tile.take_keys(v)).div_(total)
            if key_mask is not None:
                part.masked_fill_(~tile.alive(key_mask), 0)
            tile.take_rows(out).copy_(part)
            tile.take_rows(lse).copy_(total.log_().add_(top).squeeze(-1))
        ctx.save_for_backward(q, k, v, lse)
        ctx.settings = (gather, key_mask, scale)
        return out, lse

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dout: Tensor, dlse: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, lse = ctx.saved_tensors
        gather, key_mask, scale = ctx.settings
        dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for tile in _tiles(gather, q):
            rows, keys = tile.take_rows(q), tile.take_keys(k)
            probs = tile.scores(rows, keys, key_mask, scale)
            probs.sub_(tile.take_rows(lse)[..., None]).exp_()
            dout_rows, dlse_rows = tile.take_rows(dout), tile.take_rows(dlse)[..., None]
            if key_mask is not None:
                dead = ~tile.alive(key_mask)
                dout_rows = dout_rows.masked_fill(dead, 0)
                dlse_rows = dlse_rows.masked_fill(dead, 0)
            tile.add_to_keys(dv, probs.to(dout.dtype).mT @ dout_rows)
            dscores = (dout_rows @ tile.take_keys(v).mT).to(probs.dtype).mul_(probs)
            # Summed over the keys, not dout * out over D: so a row's only key gets exactly 0.
            inner = dscores.sum(dim=-1, keepdim=True).sub_(dlse_rows)
            dscores.addcmul_(probs, inner, value=-1)
            dscores = dscores.to(q.dtype)
            tile.take_rows(dq).copy_((dscores @ keys).mul_(scale))
            tile.add_to_keys(dk, (dscores.mT @ rows).mul_(scale))
        return dq, dk, dv, None, None, None
