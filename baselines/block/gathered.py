"""Block patterns in plain PyTorch: key blocks are gathered for every block row.

This is how BigBird computes its attention (Zaheer et al., "Big Bird: Transformers for Longer
Sequences", 2020, appendix D): rows that see every block are dense, all others gather theirs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from baselines.block.patterned import PatternedAttention
from baselines.shared.block_gather import Gather, gathered_attention, head_mask, split
from spion_bench.block_pattern import BlockPattern
from spion_bench.model.attention import dense_attention


@dataclass(frozen=True)
class _Rows:
    """The block rows of a pattern: those that see everything, and what the others gather.

    Attributes:
        full: int64 ``[n]``: rows that see every block.
        sparse: int64 ``[nb - n]``: the other rows.
        back: int64 ``[nb]``: where each row stands in full rows followed by sparse ones.
        gather: The key blocks of the sparse rows; None if there are none.
    """

    full: Tensor
    sparse: Tensor
    back: Tensor
    gather: Gather | None


class GatheredBlocks(PatternedAttention):
    """Attention over a ``BlockPattern`` through gathered blocks; see ``PatternedAttention``."""

    _rows: tuple[BlockPattern, _Rows] | None = None

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, pattern: BlockPattern
    ) -> Tensor:
        """Return the attention of sequences as long as the pattern, under a key padding mask."""
        if self._rows is None or self._rows[0] is not pattern:
            self._rows = (pattern, _split_rows(pattern))
        rows = self._rows[1]
        blocks = split(q, 2, pattern.block_size)
        parts = []
        if len(rows.full):
            full = blocks[:, :, rows.full].flatten(2, 3)
            parts.append(dense_attention(full, k, v, mask))
        if rows.gather is not None:
            out, _ = gathered_attention(
                blocks[:, :, rows.sparse].flatten(2, 3).flatten(0, 1),
                k.flatten(0, 1),
                v.flatten(0, 1),
                rows.gather,
                head_mask(mask, q.shape[1]),
                q.shape[3] ** -0.5,
            )
            parts.append(split(out, 0, q.shape[1]))
        if len(parts) == 1:
            return parts[0]
        found = split(torch.cat(parts, dim=2), 2, pattern.block_size)
        return found[:, :, rows.back].flatten(2, 3)


def _split_rows(pattern: BlockPattern) -> _Rows:
    counts = pattern.crow_indices.diff().long()
    is_full = counts == pattern.nb
    full, sparse = is_full.nonzero()[:, 0], (~is_full).nonzero()[:, 0]
    back = torch.cat([full, sparse]).argsort()
    if len(sparse) == 0:
        return _Rows(full, sparse, back, None)
    place = torch.arange(int(counts[sparse].max()), device=pattern.device)
    valid = place < counts[sparse, None]
    where = torch.where(valid, pattern.crow_indices[sparse, None] + place, 0)
    columns = pattern.col_indices[where].long()
    by_token = valid.repeat_interleave(pattern.block_size, dim=1)
    gather = Gather(pattern.block_size, columns, None if valid.all() else by_token)
    return _Rows(full, sparse, back, gather)
