"""NVIDIA's block-sparse attention, forward and backward: ``cudnn.BSA`` of its frontend 1.32.

https://docs.nvidia.com/cudnn/operations/sparse_attention/bsa.md. An experimental interface, whose
kernels are compiled at the first call. It takes a list of key blocks for each block of queries,
with its length, and does not check them.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from baselines.peers.peer import HALF, Inputs, Peer, expected
from spion_bench.block_pattern import BlockPattern
from spion_bench.suite.method import UNPROVEN

Taken = dict[int, dict[int, tuple[int, ...]]]
# Major compute capability -> block size -> head widths, as the package's own checks state them.
FORWARD: Taken = {
    9: {64: (64, 96, 128), 128: (64, 96, 128)},
    10: {64: (128,), 128: (64, 96, 128)},
    11: {64: (128,), 128: (64, 96, 128)},
    12: {64: (128,), 128: (128,)},
}
BACKWARD: Taken = {
    9: {64: (128,), 128: (128,)},
    10: {64: (128,), 128: (64, 128)},
    11: {64: (128,), 128: (64, 128)},
}
BFLOAT16_ONLY = ((10, 64), (11, 64))  # forward passes of these


class CudnnBsa(Peer):
    """Block-sparse attention by ``cudnn.BSA``, differentiable."""

    caveats: ClassVar[tuple[str, ...]] = (
        UNPROVEN,
        "its backward pass makes the transposed lists again in every call",
    )
    package = "cudnn"
    extra = "cudnn-bsa"

    def shape_refusal(self, asked: Inputs) -> str | None:
        """Return what cudnn.BSA expected instead, or None."""
        (family, minor), dtype, head_dim, block_size, trains = asked
        takes = BACKWARD if trains else FORWARD
        what = "a backward pass" if trains else "a forward pass"
        if family not in takes:
            known = ", ".join(f"{major}.x" for major in takes)
            return f"expected compute capability {known} for {what}, got {family}.{minor}"
        on = f"for {what} on compute capability {family}.x"
        if dtype not in HALF:
            return f"expected bfloat16 or float16 {on}, got {str(dtype).removeprefix('torch.')}"
        if dtype != torch.bfloat16 and (trains or (family, block_size) in BFLOAT16_ONLY):
            return f"expected bfloat16 {on}, got {str(dtype).removeprefix('torch.')}"
        return expected("blocks", tuple(takes[family]), block_size, on) or expected(
            "a head width D", takes[family][block_size], head_dim, f"with these blocks {on}"
        )

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Run the forward kernel, and at a backward pass the backward kernel."""
        bound = self.prepared(*q.shape[:2])
        out: Tensor = _BlockSparse.apply(q, k, v, *bound)  # type: ignore[no-untyped-call]
        return out

    def prepare(self, batch: int, heads: int) -> tuple[Any, dict[str, Any], bool]:
        """Return the library, its lists for every head, and whether a row has no block."""
        index, counts = block_lists(self.pattern)
        lists = {
            "q2k_block_index": index.expand(batch, heads, -1, -1).contiguous(),
            "q2k_block_nums": counts.expand(batch, heads, -1).contiguous(),
            "sparse_block_size": self.pattern.block_size,
        }
        return self._library.BSA, lists, bool((counts == 0).any())


class _BlockSparse(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, library: Any, lists: dict[str, Any], empty: bool
    ) -> Tensor:
        result = library.block_sparse_attention_forward(
            q, k, v, **lists, allow_empty_block_nums=empty
        )
        out: Tensor = result["o_tensor"]
        ctx.save_for_backward(q, k, v, out, result["lse_tensor"])
        ctx.library, ctx.lists = library, lists
        return out

    @staticmethod
    def backward(ctx: Any, dout: Tensor) -> tuple[Tensor | None, ...]:
        result = ctx.library.block_sparse_attention_backward(
            dout.contiguous(), *ctx.saved_tensors, **ctx.lists
        )
        return result["dq_tensor"], result["dk_tensor"], result["dv_tensor"], None, None, None


def block_lists(pattern: BlockPattern) -> tuple[Tensor, Tensor]:
    """Return the key blocks of every query block, int32 ``[nb, most]``, and how many: ``[nb]``.

    What follows a row's own blocks is 0 and not read.
    """
    counts = pattern.crow_indices.diff()
    rows = pattern.row_indices().long()
    places = torch.arange(pattern.nnzb, device=pattern.device) - pattern.crow_indices[rows]
    index = counts.new_zeros(pattern.nb, max(1, int(counts.max())))
    index[rows, places] = pattern.col_indices
    return index, counts
