"""A peer of the kernels: the paper's pipeline on element-wise CSR, through torch's cuSPARSE.

What SPION's published code does with cuSPARSE (``cusparseSDDMM``, a softmax per row,
``cusparseSpMM``), by torch's functions: ``sampled_addmm``, ``softmax`` and a product of a CSR
matrix with a dense one. On the CPU the same calls run torch's CPU kernels.

As there, one call serves all heads: their matrices are the diagonal blocks of one, ``[N, N]`` with
``N = B * H * L``. To be fast with what torch has, two things differ. Rows with equally many keys
lie together, so each such group is a rectangle for torch's own softmax (one read, one write).
And torch multiplies a transposed CSR matrix only after converting it, so the values are
permuted into a second, transposed matrix, whose indices are made once per pattern.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from spion_bench.block_pattern import BlockPattern
from spion_bench.model.attention import UnsupportedError

DTYPES = (torch.float32, torch.float64)


def bind_csr_pipeline(
    pattern: BlockPattern, dtype: torch.dtype
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Return attention over ``pattern``; its indices are made at the first call of each B * H.

    Raises:
        UnsupportedError: If torch has no sampled product for the dtype.
    """
    if dtype not in DTYPES:
        raise UnsupportedError(
            "torch's sampled product (sampled_addmm, cuSPARSE) supports float32 and float64, "
            f"not {str(dtype).removeprefix('torch.')}; the published code uses float32 only"
        )

    @functools.cache
    def made(batch_heads: int) -> CsrPipeline:
        return CsrPipeline(pattern, batch_heads)

    return lambda q, k, v: made(q.shape[0] * q.shape[1])(q, k, v)


class CsrPipeline:
    """Attention over a pattern by three sparse products, forward and backward.

    Args:
        pattern: The kept blocks; on the device of the inputs to come.
        batch_heads: Independent attentions B * H.
    """

    def __init__(self, pattern: BlockPattern, batch_heads: int) -> None:
        device, size = pattern.device, batch_heads * pattern.length
        groups = _rows_by_count(pattern)
        rows = torch.arange(size, device=device).view(batch_heads, pattern.nb, pattern.block_size)
        self.order = torch.cat([rows[:, blocks].flatten() for blocks, _ in groups])
        self.rectangles = [
            (batch_heads * len(blocks) * pattern.block_size, columns.shape[1])
            for blocks, columns in groups
        ]
        col = torch.cat([_columns(columns, pattern, batch_heads) for _, columns in groups])
        counts = torch.cat(
            [torch.full((height,), width, device=device) for height, width in self.rectangles]
        )
        crow = torch.zeros(size + 1, dtype=torch.int32, device=device)
        crow[1:] = counts.cumsum(0)
        self.places = torch.argsort(col, stable=True)  # where an entry of the transpose comes from
        t_crow = torch.zeros_like(crow)
        t_crow[1:] = torch.bincount(col, minlength=size).cumsum(0)
        t_col = torch.arange(size, dtype=torch.int32, device=device)
        t_col = t_col.repeat_interleave(counts)[self.places]
        self._indices, self._t_indices, self._size = (crow, col), (t_crow, t_col), (size, size)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, that its CSR support is in beta state
            self.matrix(torch.empty(len(col), device=device))

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return the attention of ``q k v: [B, H, L, D]``; differentiable."""
        out: Tensor = _CsrAttention.apply(q, k, v, self)  # type: ignore[no-untyped-call]
        return out

    def matrix(self, values: Tensor) -> Tensor:
        """Return the CSR matrix with one value per score of a kept block."""
        return torch.sparse_csr_tensor(*self._indices, values, size=self._size)

    def transposed(self, values: Tensor) -> Tensor:
        """Return the transpose of ``matrix(values)``, as CSR."""
        moved = values.index_select(0, self.places)
        return torch.sparse_csr_tensor(*self._t_indices, moved, size=self._size)

    def products(self, a: Tensor, b: Tensor, factor: float) -> Tensor:
        """Return ``factor * a @ b^T`` at the kept scores, as values."""
        values = a.new_zeros(len(self.places))
        matrix = self.matrix(values)
        torch.sparse.sampled_addmm(matrix, a, b.T, beta=0.0, alpha=factor, out=matrix)
        return matrix.values()

    def in_rectangles(self, values: Tensor) -> list[Tensor]:
        """Return views of values, one ``[rows, keys]`` for each number of keys."""
        sizes = [height * width for height, width in self.rectangles]
        parts = zip(torch.split(values, sizes), self.rectangles, strict=True)
        return [part.view(rectangle) for part, rectangle in parts]

    def rows(self, x: Tensor) -> Tensor:
        """Return ``[B, H, L, D]`` as ``[N, D]`` with the rows in the matrix's order."""
        return x.reshape(-1, x.shape[-1]).index_select(0, self.order)

    def heads(self, x: Tensor, like: Tensor) -> Tensor:
        """Return ``[N, D]`` in the matrix's order as ``[B, H, L, D]``."""
        return torch.empty_like(x).index_copy_(0, self.order, x).view(like.shape)


class _CsrAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, csr: CsrPipeline) -> Tensor:
        keys, values = (x.reshape(-1, x.shape[-1]) for x in (k, v))
        queries = csr.rows(q)
        scores = csr.products(queries, keys, 1 / math.sqrt(q.shape[-1]))
        probs = torch.empty_like(scores)
        pairs = zip(csr.in_rectangles(scores), csr.in_rectangles(probs), strict=True)
        for rows, out in pairs:
            torch.softmax(rows, dim=-1, out=out)
        ctx.csr = csr
        ctx.save_for_backward(queries, keys, values, probs)
        return csr.heads(csr.matrix(probs) @ values, q)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        (dout,) = grads
        csr: CsrPipeline = ctx.csr
        queries, keys, values, probs = ctx.saved_tensors
        dout_rows = csr.rows(dout)
        dv = csr.transposed(probs) @ dout_rows
        scale = 1 / math.sqrt(queries.shape[-1])
        dscores = csr.products(dout_rows, values, scale)  # the rest is linear in it
        triples = zip(csr.in_rectangles(dscores), csr.in_rectangles(probs), strict=True)
        for dprobs, out in triples:
            torch.ops.aten._softmax_backward_data.out(dprobs, out, -1, out.dtype, grad_input=dprobs)
        dq = csr.heads(csr.matrix(dscores) @ keys, dout)
        dk = csr.transposed(dscores) @ queries
        return dq, dk.view(dout.shape), dv.view(dout.shape), None


def _rows_by_count(pattern: BlockPattern) -> list[tuple[Tensor, Tensor]]:
    """Return block rows by their number of keys, and those keys as tokens ``[rows, keys]``."""
    counts = pattern.crow_indices.diff()
    within = torch.arange(pattern.block_size, device=pattern.device)
    groups = []
    for count in sorted(set(counts.tolist())):
        blocks = (counts == count).nonzero()[:, 0]
        places = pattern.crow_indices[blocks].long()[:, None] + torch.arange(
            count, device=pattern.device
        )
        columns = pattern.col_indices[places].long()[:, :, None] * pattern.block_size + within
        groups.append((blocks, columns.flatten(1)))
    return groups


def _columns(columns: Tensor, pattern: BlockPattern, batch_heads: int) -> Tensor:
    """Return the columns of all rows of a group, of all heads, int32."""
    heads = torch.arange(batch_heads, device=columns.device) * pattern.length
    shape = (batch_heads, len(columns), pattern.block_size, columns.shape[1])
    own = heads[:, None, None, None] + columns[None, :, None, :]
    return own.expand(shape).flatten().to(torch.int32)
