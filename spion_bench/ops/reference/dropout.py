"""The dropout mask in plain PyTorch: Philox4x32-10 in int64 arithmetic.

Philox is the counter-based generator of Salmon et al., "Parallel random numbers: as easy as 1, 2,
3" (SC 2011), with the constants of that paper: every output is a pure function of key and counter.
"""

from __future__ import annotations

import torch
from torch import Tensor

_WORD = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10

_VALUES = 1 << 16  # dropout compares 16-bit values
_COLUMNS_PER_COUNTER = 8  # the eight 16-bit values of four words


def philox4x32_10(counter: tuple[Tensor, ...], key: tuple[int, int]) -> tuple[Tensor, ...]:
    """Return the four output words of each counter.

    Args:
        counter: Four int64 tensors, broadcastable, each holding values of 32 bits.
        key: Two numbers of 32 bits.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        high0, low0 = _multiply(c0, _MULTIPLIERS[0])
        high1, low1 = _multiply(c2, _MULTIPLIERS[1])
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + _KEY_STEPS[0]) & _WORD, (k1 + _KEY_STEPS[1]) & _WORD
    return c0, c1, c2, c3


def _multiply(x: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Return the high and the low word of a 32 x 32 bit product."""
    product = x * factor  # wraps in int64, which keeps all 64 bits
    return (product >> 32) & _WORD, product & _WORD


def dropout_threshold(p: float) -> int:
    """Return the 16-bit threshold below which a value means "dropped"."""
    return round(p * _VALUES)


def dropout_keep_scale(p: float) -> float:
    """Return one over the true keep probability."""
    return _VALUES / (_VALUES - dropout_threshold(p))


def dropout_keep_mask(
    n_batch_heads: int, rows: Tensor, columns: Tensor, *, p: float, seed: int
) -> Tensor:
    """Return which entries of the dense ``[B * H, L, L]`` probabilities dropout keeps.

    The layout of the counter and of the eight values in its words is stated at
    ``ops.block_dropout``.

    Args:
        n_batch_heads: ``B * H``.
        rows: int64 ``[R]``, query positions.
        columns: int64 ``[C]``, key positions.
        p: Drop probability.
        seed: Key of the generator, 64 bits.

    Returns:
        bool ``[B * H, R, C]``.
    """
    batch_head = torch.arange(n_batch_heads, device=rows.device)[:, None, None]
    counter = (
        (columns // _COLUMNS_PER_COUNTER)[None, None, :],
        rows[None, :, None],
        batch_head,
        torch.zeros_like(batch_head),
    )
    words = torch.stack(philox4x32_10(counter, (seed & _WORD, (seed >> 32) & _WORD)), dim=-1)
    within = columns % _COLUMNS_PER_COUNTER
    word = (within // 2)[None, None, :, None].expand(*words.shape[:-1], 1)
    chosen = words.gather(-1, word).squeeze(-1)
    values = (chosen >> (16 * (within % 2))) & (_VALUES - 1)
    return values >= dropout_threshold(p)
