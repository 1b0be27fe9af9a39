"""The attention operators in plain PyTorch, any dtype and device: the definition of correct.

Clear and slow: scores are laid out as dense ``[B, H, L, L]`` matrices. Gradients come from
autograd. Arguments are trusted, shapes are those of the operators of the same names. For long
sequences ``block_attention_by_rows`` is the oracle: it never forms an ``[L, L]`` matrix.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from spion_bench.block_pattern import BlockPattern
from spion_bench.literals import Pruned
from spion_bench.ops.reference.dropout import dropout_keep_mask, dropout_keep_scale


def to_tiles(dense: Tensor, pattern: BlockPattern) -> Tensor:
    """Pick the kept blocks of ``[..., L, L]``: tiles ``[..., nnzb, S, S]``."""
    nb, size = pattern.nb, pattern.block_size
    blocks = dense.reshape(*dense.shape[:-2], nb, size, nb, size).transpose(-3, -2)
    return blocks[..., pattern.row_indices().long(), pattern.col_indices.long(), :, :]


def to_dense(tiles: Tensor, pattern: BlockPattern) -> Tensor:
    """Put tiles ``[..., nnzb, S, S]`` back in place: ``[..., L, L]``, 0 where nothing is kept."""
    nb, size = pattern.nb, pattern.block_size
    index = pattern.row_indices().long() * nb + pattern.col_indices.long()
    blocks = tiles.new_zeros(*tiles.shape[:-3], nb * nb, size, size)
    blocks = blocks.index_copy(-3, index, tiles)
    blocks = blocks.reshape(*tiles.shape[:-3], nb, nb, size, size).transpose(-3, -2)
    return blocks.reshape(*tiles.shape[:-3], nb * size, nb * size)


def softmax_rows(scores: Tensor, n_absent: Tensor | int) -> tuple[Tensor, Tensor]:
    """Softmax over the last dimension, with ``n_absent`` more scores of 0 in each denominator.

    Args:
        scores: ``[..., C]``; -inf means that there is no such score.
        n_absent: Broadcastable to ``[...]``; scores of 0 that belong to no column.

    Returns:
        Probabilities ``[..., C]`` and the logarithm of the denominators ``[...]``. A row with an
        empty denominator gets probabilities 0 and +inf.
    """
    absent = torch.as_tensor(n_absent, dtype=scores.dtype, device=scores.device)
    lowest = scores.new_full((*scores.shape[:-1], 1), -math.inf)
    highest = torch.cat([scores.detach(), lowest], dim=-1).amax(-1)  # a row may have no column
    highest = torch.where(absent > 0, highest.clamp(min=0.0), highest)
    highest = highest.masked_fill(highest == -math.inf, 0.0)
    weights = torch.exp(scores - highest[..., None])
    # Where a score is absent, the highest is at least 0; elsewhere exp could overflow to 0 * inf.
    denominator = weights.sum(-1) + absent * torch.exp(-highest.clamp(min=0.0))
    empty = denominator == 0
    denominator = denominator.masked_fill(empty, 1.0)
    lse = (highest + denominator.log()).masked_fill(empty, math.inf)
    return weights / denominator[..., None], lse


def block_sddmm(q: Tensor, k: Tensor, pattern: BlockPattern, *, scale: float) -> Tensor:
    """Return ``scale * q k^T`` inside the kept blocks, as tiles."""
    return to_tiles(scale * (q @ k.mT), pattern)


def block_softmax(
    scores: Tensor, pattern: BlockPattern, *, pruned: Pruned, key_padding_mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return probabilities (tiles) and log-sum-exp ``[B, H, L]``.

    ``zero_logit`` is the row sum of the SPION code, written exactly: ``P_rc = exp(z_c) /
    (sum_c exp(z_c) + (L - n_r))`` where n_r columns of row r are stored, padded or not.
    """
    stored = pattern.to_token_mask()
    real = stored if key_padding_mask is None else stored & key_padding_mask[:, None, None, :]
    dense = to_dense(scores, pattern).masked_fill(~real, -math.inf)
    n_absent = (~stored).sum(-1) if pruned == "zero_logit" else 0
    probs, lse = softmax_rows(dense, n_absent)
    return to_tiles(probs, pattern), lse


def block_spmm(probs: Tensor, v: Tensor, pattern: BlockPattern) -> Tensor:
    """Return ``P v``, ``[B, H, L, D]``."""
    return to_dense(probs, pattern) @ v


def block_spmm_transposed(probs: Tensor, v: Tensor, pattern: BlockPattern) -> Tensor:
    """Return ``P^T v``, ``[B, H, L, D]``."""
    return to_dense(probs, pattern).mT @ v


def block_dropout(probs: Tensor, pattern: BlockPattern, *, p: float, seed: int) -> Tensor:
    """Return ``probs`` with dropped entries 0 and kept ones scaled."""
    tokens = torch.arange(pattern.length, device=probs.device)
    n_batch_heads = probs.shape[0] * probs.shape[1]
    keep = dropout_keep_mask(n_batch_heads, tokens, tokens, p=p, seed=seed)
    keep = to_tiles(keep.reshape(*probs.shape[:2], *keep.shape[1:]), pattern)
    return (probs * dropout_keep_scale(p)).masked_fill(~keep, 0.0)


def dropout(x: Tensor, *, p: float, seed: int) -> Tensor:
    """Return ``x`` with dropped elements 0 and kept ones scaled; 32 in a row, 1024 in a tile."""
    n_tiles = -(-x.numel() // 1024)
    tiles = F.pad(x.flatten(), (0, n_tiles * 1024 - x.numel())).view(1, 1, n_tiles, 32, 32)
    dropped = block_dropout(tiles, BlockPattern.band(n_tiles * 32, 32, 0), p=p, seed=seed)
    return dropped.flatten()[: x.numel()].view(x.shape)


def block_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    pattern: BlockPattern,
    *,
    pruned: Pruned,
    causal: bool = False,
    key_padding_mask: Tensor | None = None,
    scale: float | None = None,
    dropout_p: float = 0.0,
    dropout_seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """Return the attention output ``[B, H, Lq, D]`` and the log-sum-exp ``[B, H, Lq]``.

    ``zero_logit`` adds one score of 0 for every key that the query sees (all keys, or with
    ``causal`` those at or before it) outside the kept blocks.
    """
    scale = 1.0 / math.sqrt(q.shape[-1]) if scale is None else scale
    batch, heads, n_queries, _ = q.shape
    k, v = (x.repeat_interleave(heads // max(x.shape[1], 1), dim=1) for x in (k, v))
    queries, keys = (torch.arange(x.shape[2], device=q.device) for x in (q, k))
    seen = torch.ones(n_queries, keys.shape[0], dtype=torch.bool, device=q.device)
    if causal:
        seen = keys <= queries[:, None]
    kept = pattern.to_token_mask().view(pattern.groups, pattern.length, pattern.key_length)
    kept = kept[:, :n_queries, : keys.shape[0]].repeat_interleave(heads // pattern.groups, dim=0)
    real = (seen & kept).expand(batch, -1, -1, -1)
    if key_padding_mask is not None:
        real = real & key_padding_mask[:, None, None, :]
    scores = (scale * (q @ k.mT)).masked_fill(~real, -math.inf)
    probs, lse = softmax_rows(scores, (seen & ~kept).sum(-1) if pruned == "zero_logit" else 0)
    if dropout_p > 0.0:
        keep = dropout_keep_mask(batch * heads, queries, keys, p=dropout_p, seed=dropout_seed)
        probs = probs * dropout_keep_scale(dropout_p)
        probs = probs.masked_fill(~keep.view(probs.shape), 0.0)
    return probs @ v, lse


def block_attention_by_rows(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    pattern: BlockPattern,
    *,
    pruned: Pruned,
    key_padding_mask: Tensor | None = None,
    scale: float | None = None,
    dropout_p: float = 0.0,
    dropout_seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """Return the same as ``block_attention`` in float64, one block row after the other.

    Of self-attention without ``causal``, by one pattern of the sequence's length for all heads.

    Memory follows the kept blocks, ``B * H * nnzb * S * S`` scores, so long sequences with
    sparse patterns fit. The upcast is part of the graph: gradients arrive in the inputs' dtype.
    """
    scale = 1.0 / math.sqrt(q.shape[-1]) if scale is None else scale
    q, k, v = q.double(), k.double(), v.double()
    batch, heads, length, _ = q.shape
    size = pattern.block_size
    within = torch.arange(size, device=q.device)
    crow = pattern.crow_indices.tolist()
    outs, lses = [], []
    for block_row in range(pattern.nb):
        rows = block_row * size + within
        kept = pattern.col_indices[crow[block_row] : crow[block_row + 1]].long()
        columns = (kept[:, None] * size + within).flatten()
        scores = scale * (q[:, :, rows] @ k[:, :, columns].mT)
        if key_padding_mask is not None:
            real = key_padding_mask[:, None, None, columns]
            scores = scores.masked_fill(~real, -math.inf)
        n_absent = length - columns.shape[0] if pruned == "zero_logit" else 0
        probs, lse = softmax_rows(scores, n_absent)
        if dropout_p > 0.0:
            keep = dropout_keep_mask(batch * heads, rows, columns, p=dropout_p, seed=dropout_seed)
            probs = probs * dropout_keep_scale(dropout_p)
            probs = probs.masked_fill(~keep.reshape(probs.shape), 0.0)
        outs.append(probs @ v[:, :, columns])
        lses.append(lse)
    return torch.cat(outs, dim=2), torch.cat(lses, dim=2)


def attention_map(
    q: Tensor, k: Tensor, *, key_padding_mask: Tensor | None = None, scale: float | None = None
) -> Tensor:
    """Return the dense attention probabilities averaged over batch and heads, ``[L, L]``."""
    scale = 1.0 / math.sqrt(q.shape[-1]) if scale is None else scale
    scores = scale * (q @ k.mT)
    if key_padding_mask is not None:
        scores = scores.masked_fill(~key_padding_mask[:, None, None, :], -math.inf)
    probs, _ = softmax_rows(scores, 0)
    return probs.mean(dim=(0, 1))
