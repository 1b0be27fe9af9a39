"""FlashInfer's block-sparse attention, forward only: ``BlockSparseAttentionWrapper`` of 0.7.

https://docs.flashinfer.ai/api/sparse.html. It plans a pattern once, on the host, and compiles its
kernels at the first plan. It has no batch: the items of one stand below one another in a longer
sequence, with the pattern repeated along the diagonal.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from baselines.peers.peer import HALF, Inputs, Peer, capability, expected
from spion_bench.block_pattern import BlockPattern
from spion_bench.model.attention import Capabilities
from spion_bench.suite.method import UNPROVEN

WORKSPACE_BYTES = 128 * 2**20  # what its documentation recommends
HEAD_DIMS = (64, 128, 256)
# Major compute capability, block size, head width -> its kernels for exactly these; elsewhere it
# chooses between FlashAttention 2 and 3 itself.
BACKENDS = {
    (10, 64, 128): "vsa_sm100_blk64",
    (10, 128, 64): "vsa_sm100_blk128",
    (10, 128, 128): "vsa_sm100_blk128",
    (12, 64, 128): "vsa_sm120_blk64",
}


class FlashInfer(Peer):
    """Block-sparse attention by FlashInfer, without a backward pass."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        devices=("cuda",), dtypes=HALF, backward=False
    )
    caveats: ClassVar[tuple[str, ...]] = (
        UNPROVEN,
        "forward only, and keeps nothing that a backward pass would need",
        "the plan of a pattern is made once and is in no time",
    )
    package = "flashinfer"
    extra = "flashinfer"

    def __init__(self, pruned: str, pattern: BlockPattern | None) -> None:
        super().__init__(pruned, pattern)
        self._backend = ""

    def shape_refusal(self, asked: Inputs) -> str | None:
        """Return what FlashInfer expected instead, or None."""
        if asked.trains:
            return "it has no backward pass; compute without gradients"
        if asked.capability < (8, 0):
            major, minor = asked.capability
            return f"expected compute capability 8.0 or newer, got {major}.{minor}"
        if asked.dtype not in HALF:
            return f"expected bfloat16 or float16, got {str(asked.dtype).removeprefix('torch.')}"
        return expected("a head width D", HEAD_DIMS, asked.head_dim, "in its block-sparse kernels")

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Run the planned kernel."""
        batch, heads, length, width = q.shape
        wrapper = self.prepared(capability(q)[0], batch, heads, width, q.dtype, q.device)
        # [B, L, H, D] in memory: a view where inputs lie as they do in a training step.
        q, k, v = (x.transpose(1, 2).reshape(batch * length, heads, width) for x in (q, k, v))
        out: Tensor = wrapper.run(q, k, v)
        return out.view(batch, length, heads, width).transpose(1, 2)

    def details(self) -> dict[str, str]:
        """Return which of its kernels was asked for, once it was."""
        return {"backend": self._backend} if self._backend else {}

    def prepare(
        self,
        major: int,
        batch: int,
        heads: int,
        width: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> Any:
        """Return the package's wrapper with the pattern planned."""
        pattern, size = self.pattern, self.pattern.block_size
        backend = BACKENDS.get((major, size, width), "auto")
        workspace = torch.empty(WORKSPACE_BYTES, dtype=torch.uint8, device=device)
        wrapper = self._library.BlockSparseAttentionWrapper(workspace, backend=backend)
        indptr, indices = repeated(pattern, batch)
        wrapper.plan(
            indptr,
            indices,
            batch * pattern.length,
            batch * pattern.length,
            size,
            size,
            heads,
            heads,
            width,
            q_data_type=dtype,
            o_data_type=dtype,
        )
        self._backend = getattr(wrapper, "_backend", backend)  # what "auto" came to
        return wrapper


def repeated(pattern: BlockPattern, times: int) -> tuple[Tensor, Tensor]:
    """Return ``crow_indices`` and ``col_indices`` of a pattern repeated along the diagonal."""
    items = torch.arange(times, dtype=torch.int32, device=pattern.device)[:, None]
    crow = (pattern.crow_indices[1:] + items * pattern.nnzb).flatten()
    indptr = torch.cat([pattern.crow_indices[:1], crow])
    return indptr, (pattern.col_indices + items * pattern.nb).flatten()
